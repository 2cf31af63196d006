"""Words to vectors without a vocabulary file: a hashed whole word plus its hashed letter groups.

A word never seen in training still has the mean of its letter groups ("rollable" shares most with "roll"), after
Bojanowski et al., "Enriching word vectors with subword information", 2017.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from zlib import crc32

import numpy as np
import torch
from torch import Tensor, nn

from askmask.model.mini.vocabulary import Vocabulary, plain
from askmask.model.seams import Tokens

_WORD = re.compile(r"\w+|[^\w\s]")
_GROUPS = (3, 4, 5)
# Letters: words are kept with their hashes, and a reply of another model may be one word of megabytes.
LONGEST_WORD = 100
MOST_HEARD, MOST_OF_A_TEXT = 96, 24  # words of earlier rounds, in all and of each prompt or reply
FARTHEST = 7  # rounds ago; what is farther is taken to be as far


def split(prompt: str, limit: int) -> list[str]:
    """Return the prompt's words and signs in one spelling, at most `limit`; at least one (possibly "")."""
    found = islice(_WORD.finditer(plain(prompt)), limit)
    return [one[0][:LONGEST_WORD] for one in found] or [""]


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


@dataclass(frozen=True)
class MiniTokens(Tokens):
    """Prompts as hashes of their words (`ids`) and of their words' letter groups, W words in all."""

    pieces: Tensor  # [P] of all words, one after another
    starts: Tensor  # [W] where each word's begin
    strange: Tensor  # [B] bool: with a word that was never taught


@dataclass(frozen=True)
class Said:
    """The words of a conversation so far: of each round its prompt and the reply to it."""

    rounds: tuple[tuple[str, str], ...] = ()

    def then(self, prompt: str, reply: str) -> Said:
        """Return it after one more round."""
        return Said((*self.rounds, (prompt, reply)))

    def only(self, rounds: Iterable[int]) -> Said:
        """Return it as if only these rounds had been, in this order."""
        return Said(tuple(self.rounds[number] for number in rounds))

    def without_reply(self) -> Said:
        """Return it without the reply to the last prompt."""
        return Said((*self.rounds[:-1], *((prompt, "") for prompt, _ in self.rounds[-1:])))

    def latest_first(self) -> Iterator[str]:
        """Yield what is heard of it: the last reply, then the prompts."""
        if self.rounds:
            yield self.rounds[-1][1]
        for prompt, _ in self.rounds[: -FARTHEST - 1 : -1]:
            yield prompt


UNSAID = Said()


@dataclass(frozen=True)
class Earlier:
    """What was said before each of B prompts: the words of its conversation, and how many rounds ago each was said."""

    tokens: MiniTokens  # [B, H]
    place: Tensor  # [B, H] of each word in its text
    ago: Tensor  # [B, H] 1 = the user, a round ago; 0 = the reply to that


class WordHasher:
    """mini's tokenizer: hashes, and whether the vocabulary has every word."""

    def __init__(self, words: int, pieces: int, limit: int, vocabulary: Iterable[str] = ()):
        self.words, self.pieces, self.limit = words, pieces, limit
        self.vocabulary = Vocabulary(vocabulary)

    def tokens(self, prompts: list[str]) -> MiniTokens:
        """Read B prompts of at most `limit` words; what is beyond goes unread."""
        strange = torch.tensor([self.vocabulary.strange(prompt) for prompt in prompts])
        return self._tokens([self._read(prompt, self.limit) for prompt in prompts], strange)

    def _read(self, text: str, limit: int) -> list[str]:
        read = (word for one in split(text, limit) for word in self.vocabulary.read_as(one).split() or [one])
        return list(islice(read, limit))

    def earlier(self, said: Sequence[Said]) -> Earlier | None:
        """Read what was said before B prompts, of each at most MOST_HEARD words, the latest; None if nothing was."""
        rows: list[list[tuple[str, int, int]]] = []
        most = min(MOST_OF_A_TEXT, self.limit)  # it knows no places beyond those of a prompt
        for one in said:
            texts = enumerate(one.latest_first())
            words = [(w, at, ago) for ago, text in texts for at, w in enumerate(self._read(text, most)) if w]
            rows.append(words[:MOST_HEARD])
        longest = max(map(len, rows), default=0)
        if not longest:
            return None
        place, ago = torch.zeros(2, len(rows), longest, dtype=torch.long)
        for number, row in enumerate(rows):
            for column, (_, at, rounds) in enumerate(row):
                place[number, column], ago[number, column] = at, min(rounds, FARTHEST)
        tokens = self._tokens([[word for word, _, _ in row] for row in rows], torch.zeros(len(rows)).bool())
        return Earlier(tokens, place, ago)

    def _tokens(self, rows: list[list[str]], strange: Tensor) -> MiniTokens:
        longest = max(map(len, rows))
        hashes = [[word_hash(word) % self.words for word in row] for row in rows]
        groups = [piece_hashes(word) for row in rows for word in row]
        return MiniTokens(
            torch.tensor([row + [0] * (longest - len(row)) for row in hashes]),
            torch.tensor([[n < len(row) for n in range(longest)] for row in rows]),
            torch.tensor([piece % self.pieces for group in groups for piece in group]),
            torch.tensor([0, *(len(group) for group in groups[:-1])]).cumsum(0),
            strange,
        )

    def pairs(self, pictures: list[np.ndarray], prompts: list[str]) -> MiniTokens:
        """Read B prompts; mini's language side sees pictures through the features alone."""
        return self.tokens(prompts)


class WordEmbedding(nn.Module):
    """MiniTokens -> [B, L, D] and which words are read [B, L]."""

    def __init__(self, words: int, pieces: int, width: int, limit: int):
        super().__init__()
        self.word = nn.Embedding(words, width)
        self.piece = nn.EmbeddingBag(pieces, width, mode="mean")
        self.place = nn.Parameter(torch.zeros(limit, width))
        nn.init.normal_(self.word.weight, std=0.3)
        nn.init.normal_(self.piece.weight, std=0.6)
        nn.init.normal_(self.place, std=0.1)

    def forward(
        self, tokens: MiniTokens, drop: float = 0.0, place: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Embed; `place` [B, L] of each word in its text, in order if none is given.

        In training, `drop` of the words lose their own vector, and a third as many go unread.
        """
        device = self.word.weight.device
        ids, placed = tokens.ids.to(device), tokens.real.to(device)  # [B, L]
        whole = self.word(ids[placed])  # [W, D]
        if drop:
            whole = whole * (torch.rand(len(whole), 1, device=device) >= drop)
        vectors = whole + self.piece(tokens.pieces.to(device), tokens.starts.to(device))
        vectors = vectors + self.place[placed.nonzero()[:, 1] if place is None else place.to(device)[placed]]
        read = placed
        if drop:
            read = placed & (
                (torch.rand(placed.shape, device=device) >= drop / 3) | (placed.sum(1, keepdim=True) < 3)
            )
        padded = torch.zeros(*ids.shape, vectors.shape[1], device=device)
        return padded.masked_scatter(placed[:, :, None], vectors), read
