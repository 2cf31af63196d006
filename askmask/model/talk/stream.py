"""Streams of numbers that grow turn by turn, and dialogues brought together for training. Letters as in net.py."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from askmask.model.talk.words import Said, Span, TalkWords, padded


@dataclass(frozen=True)
class Mark:
    """A mask of a reply: where its signs stand among the tokens of stream `row`."""

    row: int
    ref: int  # where there is one, else its [SEG]
    seg: int
    first: int  # its [OBJ]; its [SEG] if it has no words
    mask: int = -1  # its number in the conversation, where it is known


class Stream:
    """What has been written of one conversation since its cache, or since its picture."""

    def __init__(self, words: TalkWords, slots: tuple[int, int], head: Sequence[int] = ()):
        """`head`: the tokens of the picture, where no cache holds them; `slots`: of `MaskMemory`."""
        self.words, self.slots = words, slots
        self.ids = list(head)
        self.places: list[tuple[int, int]] = []  # for each [MASK] and [BOX]: which mask, which of its tokens
        self.masks, self.begun = 0, False  # remembered so far; whether a turn was written
        self.marks: list[Mark] = []
        self.about: list[tuple[int, ...]] = []  # for each mark, the masks that its prompt refers to
        self.said: list[tuple[int, int]] = []  # [start, end) of each reply
        self.spoken: list[tuple[int, ...]] = []  # for each mark, those and what its prompt speaks of untold
        self._meant: tuple[int, ...] = ()
        self._spoken: tuple[int, ...] = ()

    def fork(self) -> Stream:
        """Return a stream that goes on from here, with nothing written yet."""
        other = Stream(self.words, self.slots)
        other.masks, other.begun = self.masks, self.begun
        return other

    done = fork  # what a memory keeps once its cache holds what was written

    def asked(self, text: str, meant: Sequence[int] = (), spoken: Sequence[int] = ()) -> None:
        """Write a turn of the user. Raises PromptError if it is too long.

        `meant`: numbers of the masks it is told to refer to; `spoken`: those that it speaks of besides.
        """
        self.asked_in(self.words.tail(text), meant)
        self._spoken = (*meant, *(number for number in spoken if number not in meant))

    def asked_in(self, ids: Sequence[int], meant: Sequence[int] = ()) -> None:
        """Write a turn whose words are tokens already, with what closes it."""
        self.ids += self.words.before(len(meant), self.slots, begun=self.begun)
        self._place(meant)
        self.ids += [*ids, *self.words.after]
        self.begun, self._meant, self._spoken = True, tuple(meant), tuple(meant)

    def answered(
        self, reply: str, spans: Sequence[Span], *, nothing: bool = False, taught: bool = True
    ) -> None:
        """Write a reply with a mask at each of `spans`, and the places where these are remembered.

        `taught`: training looks at it, as at all that the network should have said.
        """
        ids, order = self.words.answer(reply, spans, nothing=nothing)
        if taught:
            self.replied(ids, order)
        else:
            self.ids += ids
        self.ids += [*self.words.closing, *self.words.memory(len(order), self.slots)]
        self._place([self.masks + number for number in order])
        self.masks += len(order)

    def replied(self, ids: Sequence[int], order: Sequence[int] = ()) -> Said:
        """Write a reply as it was made, number by number, and return how it reads.

        `order`: numbers of its masks among those that will be remembered of it, where they are known.
        """
        start, said = len(self.ids), self.words.read(ids)
        for at, phrase in enumerate(said.marks):
            number = self.masks + order[at] if order else -1
            seg = start + phrase.last
            self.marks.append(Mark(0, seg - self.words.refers, seg, start + phrase.first, number))
            self.about.append(self._meant)
            self.spoken.append(self._spoken)
        self.ids += ids
        self.said.append((start, len(self.ids)))
        return said

    def marks_in(self, row: int) -> list[Mark]:
        """Return the masks of the replies, as of stream `row` of a batch."""
        return [replace(mark, row=row) for mark in self.marks]

    def _place(self, masks: Sequence[int]) -> None:
        self.places += [(mask, slot) for mask in masks for slot in range(sum(self.slots))]

    @staticmethod
    def together(streams: Sequence[Stream], offsets: Sequence[int] = ()) -> tuple[Tensor, Tensor, Tensor]:
        """Return ids and which are real, [B, L], and places [P, 2] in reading order.

        `offsets`: what to add to the numbers of each stream's masks; () where all share one memory.
        """
        ids, real = padded([stream.ids for stream in streams], streams[0].words.pad_id)
        shifts = offsets or [0] * len(streams)
        pairs = zip(streams, shifts, strict=True)
        places = [(mask + shift, slot) for stream, shift in pairs for mask, slot in stream.places]
        return ids, real, torch.tensor(places, dtype=torch.long).reshape(-1, 2)


@dataclass(frozen=True)
class Talks:
    """B whole dialogues with their replies; masks are numbered through all of them."""

    ids: Tensor  # [B, L]
    real: Tensor  # [B, L] bool
    said: Tensor  # [B, L] bool: numbers of replies
    places: Tensor  # [P, 2]
    patches: Tensor  # of the pictures, one for each dialogue
    grids: Tensor  # [B, 3]
    owner: tuple[int, ...]  # for each remembered mask, its dialogue
    marks: tuple[Mark, ...]
    about: tuple[
        tuple[int, ...], ...
    ]  # for each mark, numbers of the masks that its prompt is told to refer to
    spoken: tuple[tuple[int, ...], ...]  # and of those that it speaks of

    @classmethod
    def of(cls, streams: Sequence[Stream], patches: Tensor, grids: Tensor) -> Talks:
        """Bring streams together that begin with their pictures."""
        offsets = [sum(stream.masks for stream in streams[:row]) for row in range(len(streams))]
        ids, real, places = Stream.together(streams, offsets)
        said = torch.zeros_like(real)
        for row, stream in enumerate(streams):
            for start, end in stream.said:
                said[row, start:end] = True
        rows = list(zip(range(len(streams)), streams, offsets, strict=True))
        return cls(
            ids,
            real,
            said,
            places,
            patches,
            grids,
            tuple(row for row, stream, _ in rows for _ in range(stream.masks)),
            tuple(
                replace(mark, mask=mark.mask + shift) for row, s, shift in rows for mark in s.marks_in(row)
            ),
            tuple(tuple(n + shift for n in numbers) for _, s, shift in rows for numbers in s.about),
            tuple(tuple(n + shift for n in numbers) for _, s, shift in rows for numbers in s.spoken),
        )
