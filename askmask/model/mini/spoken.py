"""What mini shows where it speaks: the choice of its words and the pointers of its reply brought together.

The rule. Where the phrases of a reply together point at the regions that were chosen, and at the same part of them,
the mask is the choice's, as without a reply, and each of its pieces belongs to the phrase that points at it most
surely. Where they point at fewer or at others, the reply decides: each phrase is painted and decoded for itself, so
that what is shown is what is said. A reply that breaks the rules decides nothing, and its words stay without masks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from askmask.model.mini.language import NEVER, Choice, lifted, picked
from askmask.model.mini.reply_words import ALONE, FOUND, Said
from askmask.model.mini.speech import Known, Speech, padded
from askmask.model.seams import Reply


@dataclass(frozen=True)
class Spoken:
    """Replies to B prompts, read once more by the network that made them."""

    replies: tuple[Reply, ...]
    agrees: tuple[bool, ...]  # whether the choice's mask is what a reply says
    row: Tensor  # [S] whose phrase each is, of replies that can be read
    number: Tensor  # [S] which phrase of its reply
    point: Tensor  # [S, O] logits
    gate: Tensor  # [S, P] logits

    def of(self, row: int) -> Tensor:
        """Return which of S are the phrases of a row."""
        return (self.row == row).nonzero()[:, 0]

    def named(self, row: int) -> Tensor:
        """Return which phrase of a reply names each region most surely, or -1, [O]."""
        mine = self.of(row)
        if not len(mine):
            return torch.full((self.point.shape[1],), -1, device=self.point.device)
        at = self.point[mine].argmax(0)
        meant = (self.point[mine] > 0).any(0)
        return torch.where(meant, self.number[mine][at], -1)


def read_again(speech: Speech, known: Known, ids: Sequence[Sequence[int]]) -> Spoken:
    """Read the numbers of B replies as in training, and say what their phrases point at."""
    said = [speech.vocabulary.read(row) for row in ids]
    uttered = speech(known, padded(ids).to(known.states.device))
    places = {
        (row, phrase.last): number
        for row, one in enumerate(said)
        for number, phrase in enumerate(one.phrases)
        if not one.trouble
    }
    ends = list(zip(uttered.row.tolist(), uttered.last.tolist(), strict=True))
    kept = torch.tensor([at for at, end in enumerate(ends) if end in places], dtype=torch.long)
    kept = kept.to(known.states.device)
    number = torch.tensor([places[end] for end in ends if end in places], dtype=torch.long)
    row, point, gate = uttered.row[kept], uttered.point[kept], uttered.gate[kept]
    point = point.masked_fill(~known.real[row][:, -point.shape[1] :], NEVER) if len(kept) else point
    spoken = Spoken((), (), row, number.to(row.device), lifted(point), gate)
    replies = tuple(_reply(one) for one in said)
    return replace(
        spoken,
        replies=replies,
        agrees=tuple(
            bool(one.trouble) or one.kind != FOUND or _agrees(spoken, known, number)
            for number, one in enumerate(said)
        ),
    )


def _reply(said: Said) -> Reply:
    spans = () if said.trouble else tuple(phrase.span for phrase in said.phrases)
    return Reply(said.text, spans, said.kind == ALONE and not said.trouble, said.trouble)


def _agrees(spoken: Spoken, known: Known, row: int) -> bool:
    """Whether the phrases of a row point at what was chosen, and at the same part."""
    mine = spoken.of(row)
    together = (spoken.point[mine] > 0).any(0)
    same_part = (spoken.gate[mine].argmax(1) == known.gate[row].argmax()).all()
    return bool((together == picked(known.select[row : row + 1])[0]).all() and same_part)


def phrases_of(choice: Choice, spoken: Spoken, mine: Tensor) -> Choice:
    """Return a choice for each of some phrases: what it points at in the place of what the words chose."""
    rows = choice.rows(spoken.row[mine])
    return replace(rows, select=spoken.point[mine], gate=spoken.gate[mine])
