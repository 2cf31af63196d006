"""Build a network from its config: the one place that knows which back-ends exist."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn
from torch.overrides import TorchFunctionMode

from askmask.errors import CheckpointError
from askmask.model.config import NetConfig
from askmask.model.net import AskMaskNet

if TYPE_CHECKING:
    from askmask.model.talk.encoder import TalkPromptEncoder

TOKENIZER = "tokenizer"  # the folder beside the weights
# While one is built without weights, all modules of the process take parameters by our function. Who builds or puts
# weights in holds this.
BUILDING = threading.Lock()


class _NothingDrawn(TorchFunctionMode):
    """Leaves out drawing what has no storage: it is done in Python, and first imports torch's whole compiler."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        given = dict(kwargs or {})
        if (
            getattr(func, "__name__", "") in _DRAW
        ):  # by name: transformers puts its own in the place of torch's
            drawn = given["tensor"] if "tensor" in given else args[0]
            if drawn.is_meta:
                return drawn
        return func(*args, **given)


_DRAW = {"kaiming_uniform_", "normal_", "trunc_normal_", "uniform_"}


@contextmanager
def without_weights() -> Iterator[None]:
    """Build modules whose parameters have no storage (meta device); buffers are real.

    Those that are not saved (rotary frequencies) are computed while building. What other threads build meanwhile has
    its weights: accelerate's `init_empty_weights` took them from those, too.
    """
    with BUILDING:
        builder, register = threading.get_ident(), nn.Module.register_parameter

        def take(module: nn.Module, name: str, param: nn.Parameter | None) -> None:
            register(module, name, param)
            # One that is tied was emptied where it was made first.
            if param is not None and not param.is_meta and threading.get_ident() == builder:
                empty = nn.Parameter(param.to("meta"), requires_grad=param.requires_grad)
                module._parameters[name] = empty

        nn.Module.register_parameter = take  # type: ignore[method-assign, assignment]
        try:
            with _NothingDrawn():
                yield
        finally:
            nn.Module.register_parameter = register  # type: ignore[method-assign]


def build_net(config: NetConfig, folder: str | Path, *, published_text: bool = False) -> AskMaskNet:
    """Build the network of a config, its weights not yet there (meta device). `folder` holds the tokenizer."""
    if config.backend not in BACKENDS:
        raise CheckpointError(
            "no such back-end", got=repr(config.backend)[:80], do=f"Known: {', '.join(BACKENDS)}."
        )
    with without_weights():
        return BACKENDS[config.backend](config, Path(folder), published_text)


def _sam2_qwen(config: NetConfig, folder: Path, published_text: bool) -> AskMaskNet:
    if config.conversation is not None:
        return _talking(config, folder, published_text)
    from askmask.model.adapter import Adapter
    from askmask.model.qwen import QwenPromptEncoder
    from askmask.model.sam2 import Sam2Segmenter

    segmenter = Sam2Segmenter(dict(config.segmenter))
    prompt_encoder = QwenPromptEncoder(
        dict(config.prompt_encoder), config.lora, folder / TOKENIZER, published_text=published_text
    )
    return AskMaskNet(segmenter, prompt_encoder, Adapter(prompt_encoder.width, segmenter.channels))


def _talking(config: NetConfig, folder: Path, published_text: bool) -> AskMaskNet:
    from askmask.model.talk.qwen import QwenTalkEncoder

    encoder = QwenTalkEncoder(dict(config.prompt_encoder), config.lora, folder / TOKENIZER)
    return _talk_net(config, encoder, published_text)


def _miras(config: NetConfig, folder: Path, published_text: bool) -> AskMaskNet:
    from askmask.model.miras.encoder import MirasEncoder

    encoder = MirasEncoder(config.prompt_encoder, config.lora, folder / TOKENIZER)
    return _talk_net(config, encoder, published_text)


def _talk_net(config: NetConfig, encoder: TalkPromptEncoder, published_text: bool) -> AskMaskNet:
    from askmask.model.sam2 import Sam2Segmenter
    from askmask.model.talk.adapter import TalkAdapter
    from askmask.model.talk.aligned import AlignedAdapter
    from askmask.model.talk.config import TalkConfig
    from askmask.model.talk.net import TalkNet

    if published_text or config.protocol != "native":
        raise CheckpointError("a network that talks has the protocol native alone", do="Load it with that.")
    talk = TalkConfig.from_dict(config.conversation or {})
    segmenter = Sam2Segmenter(dict(config.segmenter))
    kind = TalkAdapter if talk.refers else AlignedAdapter
    return TalkNet(segmenter, encoder, kind(talk, encoder.width, segmenter.channels))


def _mini(config: NetConfig, folder: Path, published_text: bool) -> AskMaskNet:
    from askmask.model.mini.config import MiniConfig
    from askmask.model.mini.net import Mini

    return Mini(MiniConfig.from_dict(dict(config.segmenter)))


BACKENDS = {"sam2-qwen2.5-vl": _sam2_qwen, "sam2-miras": _miras, "mini": _mini}
