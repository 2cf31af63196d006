"""What the words say by themselves, before any look at the picture: the kind of request and the names in it.

A name is a category, colour, attribute or part that the dense heads know; a request may say it ("the red mugs") or
deny it ("but not the red ones"). Matched with what each region is by the same names, words reach pixels at once.
One summary of all words cannot tell which noun is which ("no red mugs, just the blue box"), so every word is read by
itself: which names it gives, and in which role. Roles hang on the order of words, which a recurrent layer learns to
follow sooner than attention does.
Trained on what the world knows of each prompt. Letters as in seams.py; K kinds, N names, O regions, T words.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from askmask.model.mini.config import MiniConfig
from askmask.model.mini.perception import part_names

GROUPS = 4  # of names: categories, colours, attributes, parts
MATCHES = 2 * GROUPS  # numbers per region: how it matches what is said, and what is denied
ROLES = 3  # of a word: it says, it denies, it names what is spoken of ("left of the mug")
RARELY = -4.0  # logit at which a word gives a name, before anything is learnt
LEAST, MOST = 1e-4, 15.0  # of what words give, so that its logit is a number


def names_of(config: MiniConfig) -> tuple[str, ...]:
    """Return the N names in the order of a region's evidence."""
    return (*config.categories, *config.colours, *config.attributes, *part_names(config))


@dataclass(frozen=True)
class Read:
    """What B prompts say."""

    kind: Tensor  # [B, K] logits
    said: Tensor  # [B, N] logits
    denied: Tensor  # [B, N] logits
    of: Tensor | None = None  # [B, N] logits: names of what is spoken of; None without roles of words

    def rows(self, index: Tensor) -> Read:
        """Select along the batch."""
        of = None if self.of is None else self.of[index]
        return Read(self.kind[index], self.said[index], self.denied[index], of)


class Reading(nn.Module):
    """Words and their summary -> Read."""

    def __init__(self, config: MiniConfig):
        super().__init__()
        parts = (config.categories, config.colours, config.attributes, part_names(config))
        self.sizes = [len(part) for part in parts]
        width, names = config.language_width, sum(self.sizes)
        self.kind = nn.Linear(width, len(config.kinds))
        self.by_word = ByWord(width, names) if config.word_roles else None
        if self.by_word is None:
            self.names = nn.Linear(width, 2 * names)
            nn.init.constant_(self.names.bias, -3.0)  # most names are not spoken of

    def forward(self, summary: Tensor, words: Tensor, real: Tensor) -> Read:
        """Summary [B, D], words [B, T, D], which of them are real [B, T] bool -> Read."""
        if self.by_word is not None:
            return Read(self.kind(summary), *self.by_word(words, real).unbind(1))
        return Read(self.kind(summary), *self.names(summary).chunk(2, 1))

    def match(self, read: Read, chances: Tensor) -> Tensor:
        """Compare with the chance of each name in each region [B, O, N]: [B, O, MATCHES]."""
        found = []
        for logits in (read.said, read.denied):
            both = chances * logits.sigmoid()[:, None]
            found += [part.sum(-1) for part in both.split(self.sizes, -1)]
        return torch.stack(found, -1)


class ByWord(nn.Module):
    """Words -> logits of the names they give in each role: the sum over words of (its role) x (the names it gives)."""

    def __init__(self, width: int, names: int):
        super().__init__()
        self.order = nn.GRU(width, width // 2, batch_first=True, bidirectional=True)
        self.role = nn.Linear(2 * (width // 2), ROLES)
        self.names = nn.Linear(width, names)
        nn.init.normal_(self.names.weight, std=0.05)
        nn.init.constant_(self.names.bias, RARELY)

    def forward(self, words: Tensor, real: Tensor) -> Tensor:
        """[B, T, D] and which of them are read [B, T] -> [B, ROLES, N]."""
        length = words.shape[1]
        places = torch.arange(1, length + 1, device=real.device)
        # What lies behind the last word must not be heard backwards.
        ends = (real * places).amax(1).clamp(min=1)
        packed = pack_padded_sequence(
            words * real[..., None], ends.cpu(), batch_first=True, enforce_sorted=False
        )
        heard, _ = pad_packed_sequence(self.order(packed)[0], batch_first=True, total_length=length)
        role = self.role(heard).sigmoid() * real[..., None]
        given = torch.einsum("btr,btn->brn", role, F.softplus(self.names(words))).clamp(LEAST, MOST)
        return given.expm1().log()  # the logit of 1 - exp(-given): that any word gives the name
