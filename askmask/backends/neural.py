"""NeuralBackend: any AskMaskNet behind the seam, the large one and `mini` alike.

Owns the way from a picture's pixels to the network's input and from its output to masks in the picture's pixels, by a
protocol. What else is asked at the same time cannot change an answer.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import numpy as np
import torch

from askmask.answer import Answer
from askmask.backend import Asked, Done, Event, Found, Keep, State, View
from askmask.backends.instances import split
from askmask.conversation import Prompt, Round, Segment
from askmask.errors import AskMaskError, PromptError
from askmask.imaging.files import Picture
from askmask.imaging.mask import Mask
from askmask.model.config import NetConfig
from askmask.model.net import AskMaskNet, Look
from askmask.model.protocols import Protocol
from askmask.model.seams import MAX_PROMPT_CHARS, Marks, MaskOutput
from askmask.model.threads import at_most

OUT_OF_MEMORY = ("allocate memory", "out of memory")  # as the processor and Apple's GPU say it
AT_ONCE = 64  # prompts that go through the language side together
FORGETS = "this model answers every prompt alone: what the prompt refers to was not used"


@dataclass(frozen=True)
class NeuralView:
    """One picture, encoded."""

    picture: Picture
    look: Look
    notices: tuple[str, ...]
    seconds: float

    @property
    def nbytes(self) -> int:
        """Memory of its tensors."""
        return self.picture.rgb.nbytes + _bytes_of(self.look)


class NeuralBackend:
    """A network with its weights, a protocol and a device."""

    def __init__(self, net: AskMaskNet, config: NetConfig, protocol: Protocol, *, fingerprint: str = ""):
        self.net, self.config, self.protocol = net, config, protocol
        self.name, self.protocol_name, self.fingerprint = config.name, protocol.name, fingerprint

    def check(self, prompt: Prompt) -> Prompt:
        """Return the prompt if it can be asked. Raises PromptError."""
        text = prompt.text
        if not isinstance(text, str):
            raise PromptError("a prompt must be text", got=type(text).__name__)
        if any("\ud800" <= letter <= "\udfff" for letter in text[:MAX_PROMPT_CHARS]):
            raise PromptError(
                "the prompt holds bytes that are not text", got=ascii(text[:60]), do="Use UTF-8."
            )
        if prompt.marks:
            if text.strip():
                raise PromptError(
                    "this model takes either words or marks on the picture, not both at once",
                    got=f"{text[:60]!r} with marks",
                    do="Ask with the words alone, or with the marks alone.",
                )
            if len(prompt.masks) > 1 or (prompt.boxes[1:] and (prompt.points or prompt.masks)):
                raise PromptError("points and a drawn mask go with one box at most, and with one drawn mask")
            return prompt
        if self.protocol.published_text:  # cuts long prompts and takes empty ones
            return prompt
        if not text.strip():
            raise PromptError("the prompt is empty", do="Say what to look for.")
        if len(text) > MAX_PROMPT_CHARS:
            raise PromptError(
                f"a prompt has at most {MAX_PROMPT_CHARS} characters", got=len(text), do="Shorten it."
            )
        return prompt

    def look(self, picture: Picture) -> NeuralView:
        """Encode a picture."""
        start = time.perf_counter()
        with (
            memory_guard(f"a picture of {picture.size[1]} x {picture.size[0]} px"),
            at_most(self.net.threads),
        ):
            rgb, letterbox = self.protocol.rgb(picture), self.protocol.letterbox
            look = self.net.look(picture.rgb, self.net.segmenter.prepare(rgb, letterbox=letterbox))
        return NeuralView(picture, look, self.net.notices(look), time.perf_counter() - start)

    def begin(self, view: View) -> State:
        """Begin a conversation."""
        return State(view)

    def extend(self, state: State, round: Round) -> State:
        """Remember a round. Today's networks do not read it; a state is what one with memory would read."""
        return state.with_round(round)

    def answer(self, asked: Sequence[Asked], keep: Keep) -> Iterator[Event]:
        """Answer prompts; those about one picture go through the network together."""
        views = {id(one.state.view): row for row, one in reversed(list(enumerate(asked)))}
        rows = sorted(
            range(len(asked)), key=lambda n: (views[id(asked[n].state.view)], asked[n].prompt.marks, n)
        )
        first = 0
        while first < len(rows):
            view, marks = asked[rows[first]].state.view, asked[rows[first]].prompt.marks
            last = first + 1
            while last < min(len(rows), first + (1 if marks else AT_ONCE)) and (
                asked[rows[last]].state.view is view and asked[rows[last]].prompt.marks == marks
            ):
                last += 1
            yield from self._answer_group(view, [(row, asked[row].prompt) for row in rows[first:last]], keep)
            first = last

    def _answer_group(self, view: View, group: list[tuple[int, Prompt]], keep: Keep) -> Iterator[Event]:
        """Answer prompts about one picture: all in words, or one of marks."""
        assert isinstance(view, NeuralView)
        start = time.perf_counter()
        with memory_guard(f"{len(group)} prompts at once"), at_most(self.net.threads):
            if group[0][1].marks:
                outs = [self._point(view, marks) for marks in self._marks(group[0][1], view.picture)]
            else:
                tokens = self.net.prompt_encoder.words.tokens([prompt.text for _, prompt in group])
                outs = [self.net.ask(view.look, tokens, multimask=self.protocol.best_of_three)]
        seconds = {"picture": view.seconds, "prompt": (time.perf_counter() - start) / len(group)}
        for number, (row, prompt) in enumerate(group):
            parts = [(out, query) for out in outs for query in (out.row == number).nonzero()[:, 0].tolist()]
            with at_most(self.net.threads):  # not around the yields: between them the thread is the caller's
                answer = self._read(parts, view, prompt, seconds, keep)
            yield from (Found(row, segment) for segment in answer.segments)
            yield Done(row, answer)

    def _point(self, view: NeuralView, marks: Marks) -> MaskOutput:
        return self.net.point(view.look, marks, multimask=self.protocol.best_of_three)

    def _marks(self, prompt: Prompt, picture: Picture) -> list[Marks]:
        """Bring marks from pixels of the upright picture to sides of the network's square: one Marks per mask."""
        side = self.net.segmenter.image_size
        points = self.protocol.to_square(
            np.array([p[:2] for p in prompt.points]).reshape(-1, 2), picture, side
        )
        boxes = self.protocol.to_square(np.array(prompt.boxes).reshape(-1, 2), picture, side).reshape(-1, 4)
        boxes = np.concatenate(
            [np.minimum(boxes[:, :2], boxes[:, 2:]), np.maximum(boxes[:, :2], boxes[:, 2:])], 1
        )
        device = self.net.device
        mask = None
        if prompt.masks:
            mask = self.protocol.mask_logits(prompt.masks[0].to_array(), picture, side // 4).to(device)
        shared = (
            torch.tensor(points, dtype=torch.float32, device=device),
            torch.tensor([p[2] for p in prompt.points], dtype=torch.bool, device=device),
        )
        if not len(boxes):
            return [Marks(*shared, None, mask)]
        return [Marks(*shared, torch.tensor(box, dtype=torch.float32, device=device), mask) for box in boxes]

    def _read(
        self,
        parts: list[tuple[MaskOutput, int]],
        view: NeuralView,
        prompt: Prompt,
        seconds: dict[str, float],
        keep: Keep,
    ) -> Answer:
        """Turn what the network gave for one prompt into an Answer in picture pixels."""
        start = time.perf_counter()
        # Training supervises the heads for mask token 0, and for words.
        trained = {} if self.protocol.best_of_three or prompt.marks else self.config.trained_heads
        knows_presence = bool(trained.get("presence"))
        segments: list[Segment] = []
        alternatives: list[Segment] = []
        overall, chosen, logits = 0.0, 0, None
        presence = max((float(out.presence_logits[q].float().sigmoid()) for out, q in parts), default=0.0)
        for out, query in parts:
            chosen = int(self.protocol.choose(out.scores[query : query + 1].float().cpu())[0])
            logits = self._restored(out, query, chosen, view.picture)
            if np.isnan(logits).any() or math.isnan(presence):  # would read as "nothing found"
                raise AskMaskError(
                    "the network computed NaN instead of a mask",
                    do="Load with dtype='bfloat16' or 'float32', or check the weights with `askmask doctor`.",
                )
            score = _unit(out.scores[query, chosen])
            overall = max(overall, score)
            pieces = [(logits > 0, 1.0)]
            if out.objects is not None and out.chosen is not None:
                pieces = split(logits > 0, out.objects, out.chosen[query])
            segments += [
                Segment(mask=Mask.from_array(piece), source="predicted", score=score * likely)
                for piece, likely in pieces
                if piece.any()
            ]
            if keep.alternatives:
                others = [k for k in out.scores[query].argsort(descending=True).tolist() if k != chosen]
                for k in others:
                    mask = Mask.from_array(self._restored(out, query, k, view.picture) > 0)
                    alternatives.append(
                        Segment(mask=mask, source="predicted", score=_unit(out.scores[query, k]))
                    )
        found = bool(segments) and (not knows_presence or presence >= self.config.presence_threshold)
        notices = view.notices + self.net.unread(prompt.text) + ((FORGETS,) if prompt.refers_to else ())
        return Answer(
            round=Round(prompt=prompt, segments=tuple(segments) if found else ()),
            size=view.picture.size,
            score=overall,
            presence=presence,
            presence_trained=knows_presence,
            score_trained=bool(trained.get("score")),
            found=found,
            model=self.name,
            protocol=self.protocol_name,
            mask_token=chosen + self.protocol.best_of_three,
            alternatives=tuple(alternatives),
            notices=notices,
            timings=seconds | {"mask": time.perf_counter() - start},
            logits=logits if keep.logits else None,
            picture=view.picture,
        )

    def _restored(self, out: MaskOutput, query: int, which: int, picture: Picture) -> np.ndarray:
        """Return one mask's logits in the picture's pixels, float32 [H, W]."""
        side = self.net.segmenter.image_size
        return self.protocol.restore(out.logits[query, which : which + 1], picture, side)[0]


def _unit(score: torch.Tensor) -> float:
    if math.isnan(score):
        raise AskMaskError(
            "the network computed NaN instead of a score", do="Check the weights with `askmask doctor`."
        )
    return min(1.0, max(0.0, float(score)))


def _bytes_of(value: Any) -> int:
    """Add up the tensors inside dataclasses, sequences and key-value caches."""
    if isinstance(value, torch.Tensor):
        return value.nbytes
    if is_dataclass(value):
        return sum(_bytes_of(getattr(value, one.name)) for one in fields(value))
    if isinstance(value, (tuple, list)):
        return sum(map(_bytes_of, value))
    if hasattr(value, "layers"):  # transformers' caches
        return sum(
            _bytes_of([getattr(layer, "keys", None), getattr(layer, "values", None)])
            for layer in value.layers
        )
    return 0


@contextmanager
def memory_guard(what: str) -> Iterator[None]:
    """Say in one line when memory ran out, and what to do."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        text = str(error)
        if isinstance(error, (MemoryError, torch.OutOfMemoryError)) or any(
            sign in text for sign in OUT_OF_MEMORY
        ):
            raise AskMaskError(
                f"out of memory for {what}",
                got=text.splitlines()[0] if text else type(error).__name__,
                do="Ask fewer at once, use a smaller picture, or load with dtype='bfloat16'.",
            ) from error
        raise
