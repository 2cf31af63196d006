"""TalkNet: a language model that sees, and SAM2, in a conversation. Remembers masks; replies in words and masks.

    once per round:   memory, words, reply, masks -> memory: the stream grows, its key-value cache is kept
    once per prompt:  words -> reply, number by number -> the whole reply read once more -> masks

The second reading makes training and use the same function of the same numbers: `converse` reads whole dialogues so,
`stream` reads one round after its cached past.

Letters as in model/seams.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from askmask.model.net import AskMaskNet, Look
from askmask.model.protocols import MASK_LOGIT
from askmask.model.sam2 import Sam2Segmenter
from askmask.model.seams import Features, MaskOutput, PastRound, Piece, Reply, Tokens
from askmask.model.talk.adapter import Asked, TalkAdapter
from askmask.model.talk.aligned import AlignedAdapter
from askmask.model.talk.encoder import TalkPrefix, TalkPromptEncoder, Written
from askmask.model.talk.memory import Seen
from askmask.model.talk.saying import Making
from askmask.model.talk.stream import Mark, Stream, Talks
from askmask.model.talk.words import Said


@dataclass(frozen=True)
class Memory:
    """One conversation so far."""

    prefix: TalkPrefix
    masks: Tensor  # [M, 4h, 4w] in the order they came
    tokens: Tensor  # [M, slots, D]
    stream: Stream


@dataclass(frozen=True)
class Shown:
    """Masks that replies show."""

    out: MaskOutput  # of (REF, SEG)
    again: MaskOutput | None  # of (REF, PAD): what each is about; None from a network that does not say so


class TalkNet(AskMaskNet):
    """The large network, with a memory and a voice."""

    segmenter: Sam2Segmenter
    prompt_encoder: TalkPromptEncoder
    adapter: TalkAdapter | AlignedAdapter
    remembers = True

    def __init__(
        self, segmenter: Sam2Segmenter, encoder: TalkPromptEncoder, adapter: TalkAdapter | AlignedAdapter
    ):
        super().__init__(segmenter, encoder, adapter)
        self.refers = encoder.words.refers = adapter.config.refers

    @torch.no_grad()
    def look(self, rgb: np.ndarray, pixels: Tensor) -> Look:
        """Encode one picture; see `AskMaskNet.look`."""
        features = self.segmenter.encode(pixels[None].to(self.device))
        return Look(features, self.prompt_encoder.begin(rgb, self.adapter.signs))

    # -- remembering ----------------------------------------------------------------------------------------

    @torch.no_grad()
    def remember(self, look: Look, memory: Memory | None, round: PastRound) -> Memory:
        """Return the memory after one more round; the old one stays as it is."""
        before = memory or self._nothing(look)
        stream = before.stream.fork()
        stream.asked(round.text, round.meant)
        stream.answered(round.reply, round.spans or (None,) * len(round.masks), nothing=round.nothing)
        fresh = self.memory_of(round.masks, [0] * len(round.masks), [before.prefix.seen], look.features)
        tokens = torch.cat([before.tokens, fresh])
        written = self._written([stream], tokens)
        prefix = before.prefix
        _, cache = self.prompt_encoder.go_on(prefix, written, self.adapter.signs)
        grown = written.ids.shape[1]
        return Memory(
            TalkPrefix(
                cache, prefix.length + grown, prefix.next_position + grown, prefix.seen, prefix.picture
            ),
            torch.cat([before.masks, round.masks]),
            tokens,
            stream.done(),
        )

    def _nothing(self, look: Look) -> Memory:
        side, slots = self.segmenter.mask_size, sum(self.adapter.memory.slots)
        none = torch.zeros(0, side, side, device=self.device)
        words, memory = self.prompt_encoder.words, self.adapter.memory
        return Memory(look.prefix, none, none.new_zeros(0, slots, memory.width), Stream(words, memory.slots))

    def memory_of(
        self, masks: Tensor, row: Sequence[int], seen: Sequence[Seen], features: Features
    ) -> Tensor:
        """Encode masks [M, 4h, 4w], each of a picture of `seen`, to [M, slots, D]."""
        memory: Tensor = self.adapter.memory(masks, row, seen, features, self.prompt_encoder.digits)
        return memory

    def _written(self, streams: Sequence[Stream], tokens: Tensor) -> Written:
        ids, real, places = Stream.together(streams)
        return Written(ids.to(self.device), real.to(self.device), tokens, places.to(self.device))

    # -- answering ------------------------------------------------------------------------------------------

    def ask(
        self,
        look: Look,
        tokens: Tokens,
        memories: Sequence[Any] = (),
        meant: Sequence[Sequence[int]] = (),
        chains: Sequence[Sequence[int]] = (),
        *,
        multimask: bool = False,
    ) -> MaskOutput:
        """Answer B prompts about one picture; see `AskMaskNet.ask`."""
        *_, out = self.stream(look, tokens, memories, meant, multimask=multimask)
        assert isinstance(out, MaskOutput)
        return out

    @torch.no_grad()
    def stream(
        self,
        look: Look,
        tokens: Tokens,
        memories: Sequence[Any] = (),
        meant: Sequence[Sequence[int]] = (),
        chains: Sequence[Sequence[int]] = (),
        *,
        multimask: bool = False,
        least: float = 0.0,
        earlier: Sequence[str] = (),
    ) -> Iterator[Piece | MaskOutput]:
        """Answer B prompts in words and masks; see `AskMaskNet.stream`. All that was said before is heard."""
        kept = list(memories) or [None] * len(tokens)
        names = [*meant] or [()] * len(tokens)
        groups: dict[int, list[int]] = {}
        for row, memory in enumerate(kept):
            groups.setdefault(id(memory), []).append(row)
        parts: list[MaskOutput] = []
        replies: list[Reply] = [Reply("")] * len(tokens)
        for rows in groups.values():
            memory = kept[rows[0]] or self._nothing(look)
            streams = []
            for row in rows:
                stream = memory.stream.fork()
                stream.asked_in(tokens.ids[row][tokens.real[row]].tolist(), names[row])
                streams.append(stream)
            making = Making(
                self.prompt_encoder, self.adapter, memory.prefix, self._written(streams, memory.tokens)
            )
            for piece in making:
                yield Piece(rows[piece.row], piece.text)
            out, said = self._read_again(
                look, memory, streams, making.ids, [names[row] for row in rows], multimask
            )
            at = torch.tensor(rows, device=self.device)
            parts.append(replace(out, row=at[out.row]))
            for row, one, ids in zip(rows, said, making.ids, strict=True):
                replies[row] = _reply(one, ids)
        yield _joined(parts, tuple(replies))

    def _read_again(
        self,
        look: Look,
        memory: Memory,
        streams: Sequence[Stream],
        replies: Sequence[Sequence[int]],
        meant: Sequence[Sequence[int]],
        multimask: bool,
    ) -> tuple[MaskOutput, list[Said]]:
        """Read prompts with the replies that were made to them, and draw what these show."""
        said = [stream.replied(ids) for stream, ids in zip(streams, replies, strict=True)]
        written = self._written(streams, memory.tokens)
        states, _ = self.prompt_encoder.go_on(memory.prefix, written, self.adapter.signs)
        marks = [mark for row, stream in enumerate(streams) for mark in stream.marks_in(row)]
        about = [memory.masks[list(meant[mark.row])] for mark in marks]
        pictures = memory.prefix.picture.expand(len(streams), -1)
        shown = self.show(look.features, states, marks, about, pictures, multimask=multimask)
        number = [n for one in said for n in range(len(one.marks))]
        spans = torch.tensor(number, dtype=torch.long, device=self.device)
        references = None
        if shown.again is not None:
            references = _overlaps(shown.again, memory.masks, [meant[mark.row] for mark in marks])
        return replace(shown.out, span=spans, references=references), said

    def show(
        self,
        features: Features,
        states: Tensor,
        marks: Sequence[Mark],
        about: Sequence[Tensor],
        pictures: Tensor,
        *,
        multimask: bool = False,
    ) -> Shown:
        """Decode the masks of replies whose tokens have `states` [B, L, D]. The one place where this is done.

        `about`: for each of `marks`, the masks [n, 4h, 4w] that its prompt refers to, n = 0 where to none; `pictures`
        [B, D]: the state of each picture's last token.
        """
        if not marks:
            return Shown(self._none(3 if multimask else 1), self._none(1) if self.refers else None)
        asked = self._asked(states, marks)
        if self.adapter.config.read == "picture":
            one = pictures[asked.row]
            asked = replace(asked, ref=one, seg=one, words=one[:, None].expand_as(asked.words))
        if isinstance(self.adapter, AlignedAdapter):
            targets = self.adapter.targets(asked, self.segmenter.unmarked)
            return Shown(self.segmenter.decode(features, targets, multimask=multimask), None)
        targets = self.adapter.targets(asked, self._injected(about))
        return Shown(
            self.segmenter.decode(features, targets, multimask=multimask),
            self.segmenter.decode(features, self.adapter.references_again(asked), multimask=False),
        )

    def _asked(self, states: Tensor, marks: Sequence[Mark]) -> Asked:
        longest = max(mark.seg - mark.first + 1 for mark in marks)
        places = torch.tensor([(m.row, m.ref, m.seg, m.first) for m in marks], dtype=torch.long)
        row, ref, seg, first = places.to(states.device).unbind(1)
        spots = first[:, None] + torch.arange(longest, device=states.device)  # [Q, T]
        real = spots <= seg[:, None]
        words = states[row[:, None], torch.where(real, spots, seg[:, None])]
        return Asked(states[row, ref], states[row, seg], words, real, row)

    def _injected(self, about: Sequence[Tensor]) -> Tensor | None:
        """Return what masks referred to add to the decoder's dense prompts, [Q, C, h, w]; None if nothing does."""
        if self.adapter.config.inject == "none" or not any(len(one) for one in about):
            return None
        side = self.segmenter.mask_size
        masks = torch.stack([one.amax(0) if len(one) else one.new_zeros(side, side) for one in about])
        refers = torch.tensor([len(one) > 0 for one in about], device=masks.device)[:, None, None, None]
        if self.adapter.config.inject == "native":
            added = self.segmenter.model.prompt_encoder.mask_embed(MASK_LOGIT * (2 * masks[:, None] - 1))
        else:
            assert isinstance(self.adapter, TalkAdapter)
            added = self.adapter.refer(masks)
        return torch.where(refers, added, torch.zeros_like(added))

    def _none(self, alternatives: int) -> MaskOutput:
        side, device = self.segmenter.mask_size, self.device
        none = torch.zeros(0, alternatives, device=device)
        logits = torch.zeros(0, alternatives, side, side, device=device)
        return MaskOutput(logits, none, none[:, 0], torch.zeros(0, dtype=torch.long, device=device))

    # -- whole dialogues ------------------------------------------------------------------------------------

    def converse(self, features: Features, talks: Talks, masks: Tensor) -> tuple[Tensor, Shown]:
        """Read B dialogues with their replies; return states [B, L, D] and what all their replies show.

        `features` has a row for each. `masks` [M, 4h, 4w] are those remembered, by the numbers of `talks`: true ones,
        or others in their place.
        """
        encoder = self.prompt_encoder
        seen = encoder.see(talks.patches, talks.grids)
        memory = self.memory_of(masks, talks.owner, seen, features)
        written = Written(
            talks.ids.to(self.device), talks.real.to(self.device), memory, talks.places.to(self.device)
        )
        states = encoder.read(written, self.adapter.signs, talks.patches, talks.grids, seen)
        about = [masks[list(numbers)] for numbers in talks.about]
        pictures = states[torch.arange(len(states)), encoder.last_of_picture(written.ids)]
        return states, self.show(features, states, talks.marks, about, pictures)

    def next_logits(self, states: Tensor) -> Tensor:
        """Return logits of the number after each of states [n, D], [n, V]."""
        return self.prompt_encoder.next(states, self.adapter.sayable)


def _reply(said: Said, ids: Sequence[int]) -> Reply:
    alone = bool(said.trouble) or not (said.phrases or said.nothing)
    return Reply(said.text, tuple(phrase.span for phrase in said.marks), alone, said.trouble, tuple(ids))


def _overlaps(again: MaskOutput, masks: Tensor, meant: Sequence[Sequence[int]]) -> Tensor:
    """Return for each mask how well it gives back the remembered ones that its prompt refers to together, [Q, M].

    Of others nothing is said: where a prompt refers to nothing, training says nothing of (REF, PAD).
    """
    found = again.scores.new_zeros(len(again.row), len(masks))
    for query, numbers in enumerate(meant):
        if numbers:
            true, mine = masks[list(numbers)].amax(0) > 0.5, again.logits[query, 0] > 0
            found[query, list(numbers)] = (true & mine).sum() / (true | mine).sum().clamp(min=1)
    return found


def _joined(parts: Sequence[MaskOutput], replies: tuple[Reply, ...]) -> MaskOutput:
    """Bring the answers of groups together; their memories may hold more or fewer masks."""
    most = max((part.references.shape[1] for part in parts if part.references is not None), default=0)
    tensors: dict[str, Any] = {}
    for name in ("logits", "scores", "presence_logits", "row", "span", "references"):
        values = [getattr(part, name) for part in parts]
        if any(value is None for value in values):
            continue
        if name == "references":
            values = [F.pad(value, (0, most - value.shape[1])) for value in values]
        tensors[name] = torch.cat(values)
    return MaskOutput(**tensors, replies=replies)
