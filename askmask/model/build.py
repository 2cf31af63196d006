"""Build a network from its config: the one place that knows which back-ends exist."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from accelerate import init_empty_weights

from askmask.errors import CheckpointError
from askmask.model.config import NetConfig
from askmask.model.net import AskMaskNet

if TYPE_CHECKING:
    from askmask.model.talk.encoder import TalkPromptEncoder

TOKENIZER = "tokenizer"  # the folder beside the weights
# While it builds without weights, accelerate changes how every module of the process takes parameters. Who builds
# or puts weights in holds this.
BUILDING = threading.Lock()


def build_net(config: NetConfig, folder: str | Path, *, published_text: bool = False) -> AskMaskNet:
    """Build the network of a config, its weights not yet there (meta device). `folder` holds the tokenizer."""
    if config.backend not in BACKENDS:
        raise CheckpointError(
            "no such back-end", got=repr(config.backend), do=f"Known: {', '.join(BACKENDS)}."
        )
    # Buffers are real: those that are not saved (rotary frequencies) are computed while building.
    with BUILDING, init_empty_weights(include_buffers=False):
        return BACKENDS[config.backend](config, Path(folder), published_text)


def _sam2_qwen(config: NetConfig, folder: Path, published_text: bool) -> AskMaskNet:
    if config.conversation is not None:
        return _talking(config, folder, published_text)
    from askmask.model.adapter import Adapter
    from askmask.model.qwen import QwenPromptEncoder
    from askmask.model.sam2 import Sam2Segmenter

    with nothing_drawn():
        segmenter = Sam2Segmenter(dict(config.segmenter))
        prompt_encoder = QwenPromptEncoder(
            dict(config.prompt_encoder), config.lora, folder / TOKENIZER, published_text=published_text
        )
    return AskMaskNet(segmenter, prompt_encoder, Adapter(prompt_encoder.width, segmenter.channels))


def _talking(config: NetConfig, folder: Path, published_text: bool) -> AskMaskNet:
    from askmask.model.talk.qwen import QwenTalkEncoder

    with nothing_drawn():
        encoder = QwenTalkEncoder(dict(config.prompt_encoder), config.lora, folder / TOKENIZER)
    return _talk_net(config, encoder, published_text)


def _miras(config: NetConfig, folder: Path, published_text: bool) -> AskMaskNet:
    from askmask.model.miras.encoder import MirasEncoder

    with nothing_drawn():
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
    with nothing_drawn():
        segmenter = Sam2Segmenter(dict(config.segmenter))
    kind = TalkAdapter if talk.refers else AlignedAdapter
    return TalkNet(segmenter, encoder, kind(talk, encoder.width, segmenter.channels))


@contextmanager
def nothing_drawn() -> Iterator[None]:
    """Keep transformers from drawing initial weights: there is no storage for them, and it is half of the time.

    For who holds BUILDING.
    """
    from transformers import PreTrainedModel

    kept = PreTrainedModel.initialize_weights
    # As BUILDING is held, nobody else builds.
    PreTrainedModel.initialize_weights = lambda self: None  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        PreTrainedModel.initialize_weights = kept  # type: ignore[method-assign]


def _mini(config: NetConfig, folder: Path, published_text: bool) -> AskMaskNet:
    from askmask.model.mini.config import MiniConfig
    from askmask.model.mini.net import Mini

    return Mini(MiniConfig.from_dict(dict(config.segmenter)))


BACKENDS = {"sam2-qwen2.5-vl": _sam2_qwen, "sam2-miras": _miras, "mini": _mini}
