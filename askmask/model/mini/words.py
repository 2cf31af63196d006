"""Words to vectors without a vocabulary file: a hashed whole word plus its hashed letter groups.

A word never seen in training still has the mean of its letter groups ("rollable" shares most with "roll"), after
Bojanowski et al., "Enriching word vectors with subword information", 2017.
"""

from __future__ import annotations

import re
from functools import lru_cache
from zlib import crc32

import torch
from torch import Tensor, nn

_WORD = re.compile(r"\w+|[^\w\s]")
_GROUPS = (3, 4, 5)


def split(prompt: str, limit: int) -> list[str]:
    """Return the prompt's words and signs in lower case, at most `limit`; at least one (possibly "")."""
    return _WORD.findall(prompt.lower())[:limit] or [""]


@lru_cache(maxsize=50_000)
def word_hash(word: str) -> int:
    """Return a number that depends on the whole word."""
    return crc32(word.encode("utf-8", "replace"))


@lru_cache(maxsize=50_000)
def piece_hashes(word: str) -> tuple[int, ...]:
    """Return a number for each group of 3 to 5 letters, the word's ends marked."""
    marked = f"<{word[:40]}>"
    groups = [marked[i : i + n] for n in _GROUPS for i in range(len(marked) - n + 1)]
    return tuple(crc32(group.encode("utf-8", "replace")) for group in groups or [marked])


class WordEmbedding(nn.Module):
    """Prompts -> [B, T, D] and which words are real [B, T]."""

    def __init__(self, words: int, pieces: int, width: int, limit: int):
        super().__init__()
        self.words, self.pieces, self.limit = words, pieces, limit
        self.word = nn.Embedding(words, width)
        self.piece = nn.EmbeddingBag(pieces, width, mode="mean")
        self.place = nn.Parameter(torch.zeros(limit, width))
        nn.init.normal_(self.word.weight, std=0.3)
        nn.init.normal_(self.piece.weight, std=0.6)
        nn.init.normal_(self.place, std=0.1)

    def forward(self, prompts: list[str], drop: float = 0.0) -> tuple[Tensor, Tensor]:
        """Embed. In training, `drop` of the words lose their own vector, and a third as many go unread."""
        rows = [split(prompt, self.limit) for prompt in prompts]
        flat = [word for row in rows for word in row]
        device = self.word.weight.device
        words = torch.tensor([word_hash(word) % self.words for word in flat], device=device)
        groups = [piece_hashes(word) for word in flat]
        starts = torch.tensor([0, *(len(group) for group in groups[:-1])], device=device).cumsum(0)
        pieces = torch.tensor([h % self.pieces for group in groups for h in group], device=device)
        whole = self.word(words)
        if drop:
            whole = whole * (torch.rand(len(flat), 1, device=device) >= drop)
        vectors = whole + self.piece(pieces, starts)
        places = torch.tensor([i for row in rows for i in range(len(row))], device=device)
        vectors = vectors + self.place[places]
        longest = max(map(len, rows))
        real = torch.zeros(len(rows), longest, dtype=torch.bool, device=device)
        for number, row in enumerate(rows):
            real[number, : len(row)] = True
        placed = real.clone()
        if drop:
            real &= (torch.rand(real.shape, device=device) >= drop / 3) | (real.sum(1, keepdim=True) < 3)
        padded = torch.zeros(len(rows), longest, vectors.shape[1], device=device)
        return padded.masked_scatter(placed[:, :, None], vectors), real
