"""mini's modules as ONNX graphs: the same numbers in less time.

    export_graphs   modules -> FOLDER/encoder.onnx, blend, perception, choice, choice_after, decoder (onnx, onnxscript)
    run_graphs      a network whose modules are those graphs (onnxruntime); it answers, and cannot be trained

In PyTorch stay what reads words by themselves, what finds the objects, and what pools under earlier masks: loops and
sorting make poor graphs, and they take a small part of the time. Letters as in seams.py.
"""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import fields
from io import StringIO
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from askmask.errors import CheckpointError, MissingExtra
from askmask.model.mini.decoder import MaskDecoder, Painted
from askmask.model.mini.encoder import pyramid
from askmask.model.mini.language import WHOLE, Choice, Language, Seen
from askmask.model.mini.memory import References, pad_memories
from askmask.model.mini.net import Mini, MiniPrefix
from askmask.model.mini.perception import Percept
from askmask.model.mini.reading import Read
from askmask.model.net import AskMaskNet
from askmask.model.seams import Features, MaskOutput, Prompts

MOST = 4096  # prompts at once, and tokens of one: a bound that the exporter wants
LARGEST = 1 << 28  # bytes of a file
SEEN = tuple(one.name for one in fields(Seen))
CHOSEN, REMEMBERED = ("states", "select", "gate", "presence", "of", "order", "place"), ("spoken", "among")
AGAIN = "Make it again: askmask onnx MODEL OUT."
CLOSE = 1e-3  # how far a graph's numbers may be from PyTorch's, in parts of `_size`
# A module, tensors that it may be given, and which of their sizes may change (None: none).
Example: TypeAlias = tuple[nn.Module, tuple[Tensor, ...], tuple[Any, ...]]


class _Decode(nn.Module):
    """The mask decoder, tensors in and out."""

    def __init__(self, decoder: MaskDecoder):
        super().__init__()
        self.decoder = decoder

    def forward(self, *given: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Maps y2, y4, y8 of one picture, then what `_painted` lists."""
        y2, y4, y8, sparse, real, dense, paint, presence = given
        prompts = Painted(sparse, real, dense, torch.zeros_like(presence).long(), paint, presence)
        out = self.decoder(Features((y2, y4, y8)), prompts)
        return out.logits, out.scores, out.presence_logits


class _Call(nn.Module):
    """Any module: the exporter wants sizes of all arguments in one form."""

    def __init__(self, module: nn.Module):
        super().__init__()
        self.module = module

    def forward(self, *given: Tensor) -> Any:
        """Call it."""
        return self.module(*given)


class _Perceive(nn.Module):
    """The dense heads, tensors in and out."""

    def __init__(self, perception: nn.Module):
        super().__init__()
        self.perception = perception

    def forward(self, *maps: Tensor) -> tuple[Tensor, ...]:
        """Maps y2, y4, y8 -> the fields of Percept, in order."""
        return _values(self.perception(maps))


class _Choose(nn.Module):
    """Words and regions to the choice of regions, tensors in and out; after earlier rounds, or without."""

    def __init__(self, language: Language, after: bool):
        super().__init__()
        self.language, self.after = language, after

    def forward(self, *given: Tensor) -> tuple[Tensor, ...]:
        """Fields of Seen, words, which are real, fields of Read, then of References -> CHOSEN, fields of Choice."""
        seen, end = Seen(*given[: len(SEEN)]), len(SEEN) + 6
        words, real, *read = given[len(SEEN) : end]
        references = References(*given[end:]) if self.after else None
        choice = self.language.choose(seen, words, real, Read(*read), references)
        return tuple(getattr(choice, name) for name in (CHOSEN + REMEMBERED if self.after else CHOSEN))


def _values(data: Any) -> tuple[Tensor, ...]:
    return tuple(getattr(data, one.name) for one in fields(data))


def _painted(prompts: Painted) -> tuple[Tensor, ...]:
    return prompts.sparse, prompts.sparse_mask, prompts.dense, prompts.paint, prompts.presence


@torch.no_grad()
def export_graphs(net: Mini, folder: Path) -> None:
    """Write the graphs of a network. Raises MissingExtra, or CheckpointError where one does not compute the same."""
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise MissingExtra("onnxscript", "onnx") from error
    folder.mkdir(parents=True, exist_ok=True)
    for name, (module, given, sizes) in _examples(net).items():
        with _quiet():
            torch.onnx.export(
                module.eval(),
                given,
                str(folder / f"{name}.onnx"),
                input_names=[f"given_{number}" for number in range(len(given))],
                dynamic_shapes=(sizes,),
                dynamo=True,
                external_data=False,
                verbose=False,
            )
        _compare(name, module, given, Graph(folder / f"{name}.onnx"))


def _compare(name: str, module: nn.Module, given: tuple[Tensor, ...], graph: Graph) -> None:
    """Raise CheckpointError unless a graph computes what a module does."""
    mine, apart = module(*given), math.inf
    mine = (mine,) if isinstance(mine, Tensor) else mine
    try:
        pairs = [(one, other.view_as(one)) for one, other in zip(mine, graph(*given), strict=True)]
        gaps = [((one - other).abs() / _size(one)).max() for one, other in pairs]
        apart = float(torch.stack(gaps).max())  # NaN if any is: then it is not close
        got = f"{apart:.1e} apart"
    except Exception as error:  # of a stranger's file: other inputs, other sizes
        got = f"{type(error).__name__}: {str(error)[:200]}"
    if not apart < CLOSE:
        raise CheckpointError(f"the graph of the {name} is not of these weights", got=got, do=AGAIN)


def _size(numbers: Tensor) -> Tensor:
    """Return by what gaps are measured: a large number, of a mask that nothing uses, may not hide them in others."""
    return numbers.abs() + numbers.abs().mean().clamp(min=1e-6)


def _examples(net: Mini) -> dict[str, Example]:
    """Return what each graph is made of, and held against."""
    side, segmenter = net.config.image_size, net.segmenter
    pixels = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0)) * 2 - 1
    maps = pyramid(Features(segmenter.encoder(pixels)))
    encoder, language = net.prompt_encoder, net.language
    tokens = encoder.words.tokens(["the red mug left of the box", "all of them"])
    features = segmenter.encode(pixels)
    prefix = encoder.prefix(None, features)
    painted = net.adapter(encoder.encode(prefix, tokens))
    batch, length = torch.export.Dim("masks", min=1, max=MOST), torch.export.Dim("tokens", min=1, max=MOST)
    still = (None,) * 3
    found: dict[str, Example] = {
        "encoder": (_Call(segmenter.encoder), (pixels,), (None,)),
        "perception": (_Perceive(encoder.perception), maps, still),
        "decoder": (
            _Decode(segmenter.decoder),
            (*maps, *_painted(painted)),
            (*still, {0: batch, 1: length}, {0: batch, 1: length}, *({0: batch},) * 3),
        ),
    }
    if net.config.composes and net.config.word_roles:  # the first weights chose otherwise
        found |= _examples_of_choice(net, prefix, features, language._understood(tokens, 0.0, None, 0.0))
    if segmenter.blend is not None:
        found["blend"] = (_Call(segmenter.blend), (pixels, maps[0]), (None, None))
    return found


def _examples_of_choice(
    net: Mini, prefix: MiniPrefix, features: Features, understood: tuple[Tensor, Tensor, Read]
) -> dict[str, Example]:
    """Return those of the choice of regions: "choice", and "choice_after" earlier rounds."""
    words, real, read = understood
    regions = prefix.seen.states.shape[1]
    most = most_regions(net)
    batch, length, count = (
        torch.export.Dim(name, min=1, max=size)
        for name, size in (("prompts", MOST), ("words", net.config.max_words + 1), ("regions", most))
    )
    of_regions = {
        "bias": {0: batch, 3: count, 4: count},
        "pairs": {0: batch, 1: count, 2: count},
        "facts": {0: batch, 1: count, 2: count},
    }
    changing = [of_regions.get(name, {0: batch, 1: count}) for name in SEEN]
    changing += [{0: batch, 1: length}, {0: batch, 1: length}, *({0: batch},) * 4]
    given = [one.contiguous() for one in _values(prefix.seen.expand(len(words)))]
    given += [words, real, *_values(read)]
    found: dict[str, Example] = {}
    found["choice"] = (_Choose(net.language, False), tuple(given), tuple(changing))
    room = WHOLE - net.config.max_words - 1 - most
    if net.config.remembers and room > 2:
        shown = torch.zeros(2, *prefix.parts.shape[-2:])
        shown[0, 4:12, 4:12] = shown[1, 8:20, 2:9] = 1.0
        memory = net.prompt_encoder.remember(prefix, features, None, shown)
        references = pad_memories([memory, memory], [(), (1,)], regions)
        assert references is not None
        masks = torch.export.Dim("masks", min=1, max=room)
        of_masks: list[dict[int, Any]] = [{0: batch, 1: masks} for _ in fields(References)]
        for number in (1, 2):  # relation and overlap: to regions
            of_masks[number] = {0: batch, 1: masks, 2: count}
        both = tuple(given) + _values(references), tuple(changing) + tuple(of_masks)
        found["choice_after"] = (_Choose(net.language, True), *both)
    return found


def most_regions(net: Mini) -> int:
    """Return how many regions a picture may have."""
    return net.config.max_objects + max(1, len(net.config.stuff))


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's progress and its warnings about itself from the user."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), redirect_stdout(StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


@torch.no_grad()
def run_graphs(net: AskMaskNet, folder: Path) -> Mini:
    """Put graphs in the place of a network's modules, once they were seen to compute the same.

    Raises MissingExtra, or CheckpointError naming a file.
    """
    if not isinstance(net, Mini):
        raise CheckpointError(f"{folder}: only small networks like mini have graphs", got=type(net).__name__)
    graphs = {}
    for name, (module, given, _) in _examples(net).items():
        graphs[name] = Graph(folder / f"{name}.onnx")
        _compare(name, module, given, graphs[name])
    segmenter = net.segmenter
    if "choice" in graphs:
        net.language.graphs = _Chooser(net.language, graphs["choice"], graphs.get("choice_after"))
    segmenter.decoder = _Decoder(graphs["decoder"], segmenter.decoder.waves)  # type: ignore[assignment]
    if segmenter.blend is not None:
        segmenter.blend = _Blend(graphs["blend"])  # type: ignore[assignment]
    segmenter.encoder = _Encoder(graphs["encoder"])  # type: ignore[assignment]
    net.prompt_encoder.perception = _Perception(graphs["perception"])  # type: ignore[assignment]
    return net


class Graph(nn.Module):
    """An ONNX file, tensors in and out, on one thread of the processor."""

    def __init__(self, path: Path):
        super().__init__()
        try:
            import onnxruntime
        except ImportError as error:
            raise MissingExtra("onnxruntime", "onnx") from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            if (size := path.stat().st_size) > LARGEST:
                raise CheckpointError(f"{path} is too large for a graph of mini", got=size)
            self.session = onnxruntime.InferenceSession(
                path.read_bytes(), options, providers=["CPUExecutionProvider"]
            )
        except CheckpointError:
            raise
        except Exception as error:  # a file that is not there, or one of the library's own classes
            raise CheckpointError(
                f"{path} is no graph that can be run", got=str(error)[:200], do=AGAIN
            ) from error
        self.names = [one.name for one in self.session.get_inputs()]

    def forward(self, *given: Tensor) -> tuple[Tensor, ...]:
        """Run it."""
        arrays = {
            name: one.detach().contiguous().numpy() for name, one in zip(self.names, given, strict=True)
        }
        return tuple(torch.from_numpy(found) for found in self.session.run(None, arrays))


class _Encoder(nn.Module):
    """Pixels of B pictures -> maps, picture by picture: graphs have the size of one."""

    def __init__(self, graph: Graph):
        super().__init__()
        self.graph = graph

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        return tuple(torch.cat(one) for one in zip(*(self.graph(row[None]) for row in pixels), strict=True))


class _Blend(_Encoder):
    def forward(self, pixels: Tensor, y2: Tensor) -> Tensor:  # type: ignore[override]
        pairs = zip(pixels, y2, strict=True)
        return torch.cat([self.graph(one[None], map_[None])[0] for one, map_ in pairs])


class _Perception(_Encoder):
    def forward(self, maps: tuple[Tensor, ...]) -> Percept:  # type: ignore[override]
        rows = (self.graph(*(map_[row : row + 1] for map_ in maps)) for row in range(len(maps[0])))
        return Percept(*(torch.cat(one) for one in zip(*rows, strict=True)))


class _Decoder(nn.Module):
    """Features and Prompts -> MaskOutput."""

    waves: Tensor

    def __init__(self, graph: Graph, waves: Tensor):
        super().__init__()
        self.graph = graph
        self.register_buffer("waves", waves)  # clicks are placed by the decoder's

    def forward(self, features: Features, prompts: Prompts) -> MaskOutput:
        """Decode masks of one picture."""
        assert isinstance(prompts, Painted) and len(features.maps[0]) == 1
        logits, scores, presence = self.graph(*pyramid(features), *_painted(prompts))
        return MaskOutput(logits, scores, presence, prompts.row)


class _Chooser:
    """What `Language.choose` is asked, by graphs; more than they take is done without."""

    def __init__(self, language: Language, alone: Graph, after: Graph | None):
        self.language, self.alone, self.after = language, alone, after

    def __call__(
        self, seen: Seen, words: Tensor, real: Tensor, read: Read, references: References | None
    ) -> Choice:
        graph = self.alone if references is None else self.after
        known = [real, seen.real] if references is None else [real, seen.real, references.real]
        if graph is None or sum(one.shape[1] for one in known) > WHOLE:
            return self.language.choose(seen, words, real, read, references)
        given = (*_values(seen), words, real, *_values(read))
        found = graph(*given, *(() if references is None else _values(references)))
        names = CHOSEN if references is None else CHOSEN + REMEMBERED
        sparse = torch.cat([real, seen.real], 1)
        sparse[:, 0] = False
        chosen: dict[str, Any] = dict(zip(names, found, strict=True))
        states, rows = chosen.pop("states"), torch.zeros(len(words), dtype=torch.long)
        return Choice(states, sparse, rows, read=read, **chosen)
