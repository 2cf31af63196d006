"""NeuralBackend: any AskMaskNet behind the seam, the large one and `mini` alike.

Owns the way from a picture's pixels to the network's input and from its output to masks in the picture's pixels, by a
protocol. What else is asked at the same time cannot change an answer.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, is_dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch

from askmask.answer import Answer
from askmask.backend import Asked, Done, Event, Found, Keep, State, View, Words
from askmask.backends.instances import Part, split
from askmask.backends.looked_over import looked_over
from askmask.conversation import Prompt, Reference, Round, Segment, said
from askmask.errors import AskMaskError, PromptError
from askmask.history import chain_of
from askmask.imaging.files import Picture
from askmask.imaging.mask import Mask
from askmask.model.config import NetConfig
from askmask.model.net import AskMaskNet, Look
from askmask.model.protocols import Protocol
from askmask.model.seams import MAX_PROMPT_CHARS, Marks, MaskOutput, PastRound, Piece, Reply
from askmask.model.threads import at_most
from askmask.references import EXPLICIT, mentions

OUT_OF_MEMORY = ("allocate memory", "out of memory")  # as the processor and Apple's GPU say it
AT_ONCE = 64  # prompts that go through the language side together
# Masks that conversations remember together: what is made of each takes memory.
REMEMBERED_AT_ONCE = 2048
FORGETS = "this model answers every prompt alone: what the prompt refers to was not used"
WORDS_ALONE = "this model remembers words, no masks: what the prompt refers to was not used"
UNSHOWN = "what the prompt refers to is no part of the conversation the model was shown: it was not used"
GARBLED = "the words of the reply are not tied to its masks"
SURE = 0.5  # least probability of a reference that the words alone gave


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


@dataclass(frozen=True, eq=False)
class NeuralState(State):
    """A conversation as the network remembers it."""

    memory: Any = None  # what the network made of the rounds; None before the first, or if it forgets
    remembered: tuple[str, ...] = ()  # ids of the remembered masks, by their numbers in the memory
    owners: tuple[str, ...] = ()  # id of the round that gave each

    @cached_property
    def nbytes(self) -> int:  # type: ignore[override]
        """Memory of its tensors."""
        return _bytes_of(self.memory)

    def meant(self, prompt: Prompt) -> list[int]:
        """Return the numbers of the remembered masks that a prompt refers to, by their ids or their rounds'."""
        names = set(prompt.refers_to)
        pairs = zip(self.remembered, self.owners, strict=True)
        return [number for number, pair in enumerate(pairs) if names & set(pair)]


class NeuralBackend:
    """A network with its weights, a protocol and a device."""

    def __init__(
        self,
        net: AskMaskNet,
        config: NetConfig,
        protocol: Protocol,
        *,
        fingerprint: str = "",
        threshold: float | None = None,
    ):
        """`threshold` of presence, from which something counts as found, instead of the one the config names."""
        self.net, self.config, self.protocol = net, config, protocol
        self.threshold = config.presence_threshold if threshold is None else threshold
        self.name, self.protocol_name, self.fingerprint = config.name, protocol.name, fingerprint

    @property
    def score_trained(self) -> bool:
        """Whether training stands behind the scores of answers to words."""
        return bool(self.config.trained_heads.get("score")) and not self.protocol.best_of_three

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

    def begin(self, view: View) -> NeuralState:
        """Begin a conversation."""
        return NeuralState(view)

    def extend(self, state: State, round: Round) -> NeuralState:
        """Remember a round: its words, and its masks whoever made them."""
        assert isinstance(state, NeuralState) and isinstance(state.view, NeuralView)
        segments = round.segments or ()
        later = replace(state, rounds=(*state.rounds, round))
        if not self.net.remembers:
            return later
        with memory_guard(f"a round of {len(segments)} masks"), at_most(self.net.threads):
            past = PastRound(
                round.text,
                round.reply or "",
                self._square(segments, state.view.picture),
                tuple(segment.span for segment in segments),
                tuple(state.meant(round.prompt)),
                round.segments == (),
            )
            memory = self.net.remember(state.view.look, state.memory, past)
        return replace(
            later,
            memory=memory,
            remembered=(*state.remembered, *(segment.id for segment in segments)),
            owners=(*state.owners, *(round.id for _ in segments)),
        )

    def _square(self, segments: Sequence[Segment], picture: Picture) -> torch.Tensor:
        """Bring masks to the network's square: [m, 4h, 4w] in 0..1."""
        side = self.net.segmenter.mask_size
        covers = [
            self.protocol.mask_cover(segment.mask.to_array(), picture, side).clamp(0, 1)
            for segment in segments
        ]
        return (torch.stack(covers) if covers else torch.zeros(0, side, side)).to(self.net.device)

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
                asked[rows[last]].state.view is view
                and asked[rows[last]].prompt.marks == marks
                and _remembered(asked, rows[first : last + 1]) <= REMEMBERED_AT_ONCE
            ):
                last += 1
            yield from self._answer_group(view, [(row, asked[row]) for row in rows[first:last]], keep)
            first = last

    def _answer_group(self, view: View, group: list[tuple[int, Asked]], keep: Keep) -> Iterator[Event]:
        """Answer prompts about one picture: all in words, or one of marks."""
        assert isinstance(view, NeuralView)
        spent, outs = 0.0, list[MaskOutput]()
        steps = self._steps(view, [one for _, one in group], keep.words)
        while True:
            start = time.perf_counter()
            # Not around the yields: between them the thread is the caller's.
            with memory_guard(f"{len(group)} prompts at once"), at_most(self.net.threads):
                step = next(steps, None)
            spent += time.perf_counter() - start
            if step is None:
                break
            if isinstance(step, Piece):
                yield Words(group[step.row][0], step.text)
            else:
                outs.append(step)
        seconds = {"picture": view.seconds, "prompt": spent / len(group)}
        for number, (row, one) in enumerate(group):
            parts = [(out, query) for out in outs for query in (out.row == number).nonzero()[:, 0].tolist()]
            with at_most(self.net.threads):
                reply = next((out.replies[number] for out in outs if out.replies is not None), None)
                answer = self._read(reply, parts, view, one, seconds, keep)
            yield from (Found(row, segment) for segment in answer.segments)
            yield Done(row, answer)

    def _steps(self, view: NeuralView, asked: list[Asked], words: bool) -> Iterator[Piece | MaskOutput]:
        """Run the network over prompts about one picture: words as they come, and masks."""
        if (prompt := asked[0].prompt).marks:
            for marks in self._marks(prompt, view.picture):
                yield self._point(view, marks)
            return
        states = [one.state for one in asked]
        remembered = [state if isinstance(state, NeuralState) else NeuralState(view) for state in states]
        tokens = self.net.prompt_encoder.words.tokens([one.prompt.text for one in asked])
        memories = [state.memory for state in remembered]
        meant = [state.meant(one.prompt) for state, one in zip(remembered, asked, strict=True)]
        chains = [chain_of(one.prompt, state.rounds) for state, one in zip(states, asked, strict=True)]
        if not words:
            yield self.net.ask(
                view.look, tokens, memories, meant, chains, multimask=self.protocol.best_of_three
            )
            return
        yield from self.net.stream(
            view.look,
            tokens,
            memories,
            meant,
            chains,
            multimask=self.protocol.best_of_three,
            least=self.config.presence_threshold if self._trained(prompt).get("presence") else 0.0,
            earlier=[said(state.rounds) for state in states],
        )

    def _trained(self, prompt: Prompt) -> Mapping[str, bool]:
        """Say which heads training has supervised: for mask token 0, and for words."""
        return {} if self.protocol.best_of_three or prompt.marks else self.config.trained_heads

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
        reply: Reply | None,
        parts: list[tuple[MaskOutput, int]],
        view: NeuralView,
        one: Asked,
        seconds: dict[str, float],
        keep: Keep,
    ) -> Answer:
        """Turn what the network gave for one prompt into an Answer in picture pixels."""
        start = time.perf_counter()
        prompt = one.prompt
        trained = self._trained(prompt)
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
            pieces = [Part(logits > 0, 1.0, -1)]
            if out.objects is not None and out.chosen is not None:
                pieces = split(logits > 0, out.objects, out.chosen[query])
            segments += [_segment(piece, score, reply, out, query) for piece in pieces if piece.mask.any()]
            if keep.alternatives:
                others = [k for k in out.scores[query].argsort(descending=True).tolist() if k != chosen]
                for k in others:
                    mask = Mask.from_array(self._restored(out, query, k, view.picture) > 0)
                    alternatives.append(
                        Segment(mask=mask, source="predicted", score=_unit(out.scores[query, k]))
                    )
        found = bool(segments) and (not knows_presence or presence >= self.threshold)
        notices = view.notices + self.net.unread(_described(one)) + self._unused(one)
        if reply is not None and reply.trouble:
            notices += (f"{GARBLED}: {reply.trouble}",)
        alone = reply is not None and reply.alone
        found = found and not alone
        notices += looked_over(segments if found else (), named=reply is not None and bool(reply.spans))
        return Answer(
            round=Round(
                prompt=prompt,
                segments=None if alone else tuple(segments) if found else (),
                reply=reply.text or None if reply is not None else None,
                references=_references(one, parts),
            ),
            size=view.picture.size,
            score=overall,
            presence=presence,
            presence_trained=knows_presence,
            score_trained=bool(trained.get("score")),
            found=found,
            model=self.name,
            protocol=self.protocol_name,
            threshold=self.threshold if knows_presence else None,
            mask_token=chosen + self.protocol.best_of_three,
            alternatives=tuple(alternatives),
            notices=notices,
            timings=seconds | {"mask": time.perf_counter() - start},
            logits=logits if keep.logits else None,
            picture=view.picture,
        )

    def _unused(self, one: Asked) -> tuple[str, ...]:
        """Say so where a prompt refers to something that could not be used."""
        if not one.prompt.refers_to:
            return ()
        if not self.net.remembers:
            return (FORGETS,)
        if not self.net.refers:
            return (WORDS_ALONE,)
        segments = (segment.id for round in one.state.rounds for segment in round.segments or ())
        shown = {*segments, *(round.id for round in one.state.rounds)}  # a round may have found nothing
        return () if shown.issuperset(one.prompt.refers_to) else (UNSHOWN,)

    def _restored(self, out: MaskOutput, query: int, which: int, picture: Picture) -> np.ndarray:
        """Return one mask's logits in the picture's pixels, float32 [H, W]."""
        side = self.net.segmenter.image_size
        return self.protocol.restore(out.logits[query, which : which + 1], picture, side)[0]


def _described(one: Asked) -> str:
    """Return the words of a prompt without those that name an earlier answer: "m2", "instance 2", a user's name."""
    text, kept, at = one.prompt.text, [], 0
    for mention in mentions(text, one.state.rounds, EXPLICIT):
        if mention.ids:
            kept.append(text[at : mention.start])
            at = mention.end
    return " ".join((*kept, text[at:]))


def _remembered(asked: Sequence[Asked], rows: Sequence[int]) -> int:
    """Return how many remembered masks some prompts take to answer together: each as many as the longest."""
    return len(rows) * max(len(getattr(asked[row].state, "remembered", ())) for row in rows)


def _references(one: Asked, parts: list[tuple[MaskOutput, int]]) -> tuple[Reference, ...]:
    """Return the remembered segments that a prompt names, or that its words were surely taken to speak of."""
    if not isinstance(one.state, NeuralState) or not parts:
        return ()
    out, query = parts[0]
    if out.references is None:
        return ()
    chances, given = out.references[query].tolist(), set(one.state.meant(one.prompt))
    return tuple(
        Reference(name, chances[number], number in given)
        for number, name in enumerate(one.state.remembered)
        if number in given or chances[number] >= SURE
    )


def _segment(part: Part, score: float, reply: Reply | None, out: MaskOutput, query: int) -> Segment:
    """Make a segment of a part of an answer's mask, with the words of the reply that name it."""
    at = -1 if out.named is None or part.number < 0 else int(out.named[query, part.number])
    at = at if out.span is None else int(out.span[query])
    span = reply.spans[at] if reply is not None and 0 <= at < len(reply.spans) else None
    return Segment(
        mask=Mask.from_array(part.mask),
        source="predicted",
        score=score * part.likely,
        phrase=None if reply is None or span is None else reply.text[slice(*span)] or None,
        span=span,
    )


def _unit(score: torch.Tensor) -> float:
    if math.isnan(score):
        raise AskMaskError(
            "the network computed NaN instead of a score", do="Check the weights with `askmask doctor`."
        )
    return min(1.0, max(0.0, float(score)))


def _bytes_of(value: Any) -> int:
    """Add up the tensors inside dataclasses, what they have worked out, sequences and key-value caches, each once."""
    return sum(size for _, size in {(one.data_ptr(), one.nbytes) for one in _tensors_in(value)})


def _tensors_in(value: Any) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
        return
    inside: Iterable[Any] = ()
    if is_dataclass(value):
        inside = vars(value).values()
    elif isinstance(value, (tuple, list)):
        inside = value
    elif hasattr(value, "layers"):  # transformers' caches
        inside = [getattr(layer, name, None) for layer in value.layers for name in ("keys", "values")]
    for one in inside:
        yield from _tensors_in(one)


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
