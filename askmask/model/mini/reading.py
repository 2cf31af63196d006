"""What the words say by themselves, before any look at the picture: the kind of request and the names in it.

A name is a category, colour, attribute or part that the dense heads know; a request may say it ("the red mugs") or
deny it ("but not the red ones"). Matched with what each region is by the same names, words reach pixels at once.
One summary of all words cannot tell many nouns apart ("no red mugs, just the blue box"), so every word is read by
itself, too: which names it gives, and in which role.
Trained on what the world knows of each prompt. Letters as in seams.py; K kinds, N names, O regions, T words.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from askmask.model.mini.config import MiniConfig
from askmask.model.mini.perception import part_names

GROUPS = 4  # of names: categories, colours, attributes, parts
MATCHES = 2 * GROUPS  # numbers per region: how it matches what is said, and what is denied
ROLES = 3  # of a word: it says, it denies, it names what is spoken of ("left of the mug")
RARELY = -5.0  # logit of a name that no word gives


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
        self.kind = nn.Linear(config.language_width, len(config.kinds))
        self.names = nn.Linear(config.language_width, 2 * sum(self.sizes))
        nn.init.constant_(self.names.bias, -3.0)  # most names are not spoken of
        self.word_names = nn.Linear(config.language_width, sum(self.sizes)) if config.word_roles else None
        self.role = nn.Linear(config.language_width, ROLES) if config.word_roles else None
        if self.word_names is not None:
            nn.init.zeros_(self.word_names.weight)
            nn.init.zeros_(self.word_names.bias)

    def forward(self, summary: Tensor, words: Tensor, real: Tensor) -> Read:
        """Summary [B, D], words [B, T, D], which of them are real [B, T] bool -> Read."""
        said, denied = self.names(summary).chunk(2, 1)
        if self.word_names is None or self.role is None:
            return Read(self.kind(summary), said, denied)
        role = self.role(words).tanh() * real[..., None]
        given = torch.einsum("btr,btn->brn", role, self.word_names(words))
        return Read(self.kind(summary), said + given[:, 0], denied + given[:, 1], RARELY + given[:, 2])

    def match(self, read: Read, chances: Tensor) -> Tensor:
        """Compare with the chance of each name in each region [B, O, N]: [B, O, MATCHES]."""
        found = []
        for logits in (read.said, read.denied):
            both = chances * logits.sigmoid()[:, None]
            found += [part.sum(-1) for part in both.split(self.sizes, -1)]
        return torch.stack(found, -1)
