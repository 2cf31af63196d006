"""What mini shows where it speaks: the choice of its words and the pointers of its reply brought together.

The rule. The mask is the choice's, as without a reply. Each of its pieces belongs to the phrase that points at it most
surely; a piece that no phrase points at belongs to none. A reply that breaks the rules, or of which a phrase points at
nothing that is shown, is told as such, and its words stay without masks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from askmask.model.mini.language import NEVER, lifted, picked
from askmask.model.mini.reply_words import ALONE, Said
from askmask.model.mini.speech import Known, Speech, padded
from askmask.model.seams import Reply


@dataclass(frozen=True)
class Spoken:
    """Replies to B prompts, read once more by the network that made them."""

    replies: tuple[Reply, ...]
    row: Tensor  # [S] whose phrase each is, of replies that can be read
    number: Tensor  # [S] which phrase of its reply
    point: Tensor  # [S, O] logits

    def of(self, row: int) -> Tensor:
        """Return which of S are the phrases of a row."""
        return (self.row == row).nonzero()[:, 0]

    def named(self, row: int) -> Tensor:
        """Return which phrase of a reply names each region most surely, or -1, [O]."""
        mine = self.of(row)
        if not len(mine) or self.replies[row].trouble:
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
    row, point = uttered.row[kept], uttered.point[kept]
    point = point.masked_fill(~known.real[row][:, -point.shape[1] :], NEVER) if len(kept) else point
    point = lifted(point)
    shown = ((point > 0) & picked(known.select)[row]).any(1)
    astray = set(row[~shown].tolist())
    replies = tuple(_reply(one, number in astray) for number, one in enumerate(said))
    return Spoken(replies, row, number.to(row.device), point)


def _reply(said: Said, astray: bool) -> Reply:
    trouble = said.trouble or ("it names what is not shown" if astray else "")
    spans = () if trouble else tuple(phrase.span for phrase in said.phrases)
    return Reply(said.text, spans, said.kind == ALONE and not trouble, trouble)
