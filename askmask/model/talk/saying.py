"""Making replies: number by number, the likeliest each time, until they end, grow too long or go round in circles.

What comes of it need not keep the rules of replies: `TalkWords.read` says so.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

from askmask.model.grammar import circles
from askmask.model.seams import Piece
from askmask.model.talk.adapter import TalkAdapter
from askmask.model.talk.aligned import AlignedAdapter
from askmask.model.talk.encoder import TalkPrefix, TalkPromptEncoder, Written
from askmask.model.talk.words import LONGEST_REPLY, MOST_MASKS, SEG, Writer


class Making:
    """Replies to B prompts that go on from one conversation; iterate for their words, then read `ids`."""

    def __init__(
        self,
        encoder: TalkPromptEncoder,
        adapter: TalkAdapter | AlignedAdapter,
        prefix: TalkPrefix,
        written: Written,
    ):
        self.encoder, self.adapter, self.prefix, self.written = encoder, adapter, prefix, written
        count = len(written.ids)
        self.ids: list[list[int]] = [[] for _ in range(count)]
        self.writers = [Writer(encoder.words) for _ in range(count)]
        self.done = [False] * count

    def __iter__(self) -> Iterator[Piece]:
        encoder, written, signs = self.encoder, self.written, self.adapter.signs
        words = encoder.words
        states, cache = encoder.go_on(self.prefix, written, signs)
        real, length = written.real, written.real.sum(1)  # [B, L], [B]
        latest = states[torch.arange(len(states), device=states.device), length - 1]  # [B, D]
        sayable = words.sayable.to(latest.device)
        for at in range(LONGEST_REPLY):
            logits = encoder.next(latest, self.adapter.sayable).masked_fill(~sayable, -torch.inf)
            going = [not done for done in self.done]
            yield from self._add(logits.argmax(1).tolist())
            if all(self.done) or at == LONGEST_REPLY - 1:
                break
            numbers = [ids[-1] if on else words.pad_id for ids, on in zip(self.ids, going, strict=True)]
            ids = torch.tensor(numbers, device=latest.device)[:, None]
            more = torch.tensor(going, device=latest.device)[:, None]
            real = torch.cat([real, more], 1)
            none = ids.new_zeros(0, 2)
            vectors = encoder.embed(Written(ids, more, written.memory, none), signs)
            latest = encoder.step(self.prefix, cache, vectors, real, length + at)[:, 0]
        for row, writer in enumerate(self.writers):
            if rest := writer.add(words.end_id):
                yield Piece(row, rest)

    def _add(self, numbers: list[int]) -> Iterator[Piece]:
        words = self.encoder.words
        for row, number in enumerate(numbers):
            if self.done[row]:
                continue
            ids = self.ids[row]
            ids.append(number)
            masks = ids.count(words.sign(SEG))
            self.done[row] = number == words.end_id or masks > MOST_MASKS or circles(ids)
            if piece := self.writers[row].add(number):
                yield Piece(row, piece)
