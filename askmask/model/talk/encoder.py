"""A language model as a conversation needs it: its head, the rows of signs, and embeddings in the place of tokens.

What is a model's own: how it sees pictures and counts positions. `qwen.py` beside this has Qwen2.5-VL's.

Letters: B streams, L their tokens, D width, V numbers that a reply may hold.
"""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from askmask.model.seams import Features
from askmask.model.talk.memory import Seen
from askmask.model.talk.words import BOX, MASK, OBJ, SIGNS, TalkWords, check_length

LETTERS = "0123456789,"  # of boxes in words


@dataclass(frozen=True)
class TalkPrefix:
    """What the language side knows of a conversation so far; nothing in it is ever changed."""

    cache: Any  # key-value cache, batch 1
    length: int  # tokens in it
    next_position: int  # of the next token, as the model counts
    seen: Seen
    picture: Tensor  # [1, D], state of the picture's last token


@dataclass(frozen=True)
class Written:
    """B streams of tokens, and what stands in the place of some."""

    ids: Tensor  # [B, L]
    real: Tensor  # [B, L] bool; padding is at the end
    memory: Tensor  # [M, slots, D] of all remembered masks
    places: Tensor  # [P, 2]: which mask, which of its tokens, for each [MASK] and [BOX] in reading order


class TalkPromptEncoder(nn.Module):
    """The language back-end of conversations."""

    words: TalkWords
    width: int  # D
    base: Any  # the model, of which `language` reads vectors
    head: nn.Linear | None  # None: the embeddings
    _cache_argument: str  # its name among the arguments of `language`

    @property
    def table(self) -> Tensor:
        """The embeddings of the tokenizer's own tokens."""
        table: Tensor = self.base.get_input_embeddings().weight
        return table

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.table.device

    # -- what a language model brings -------------------------------------------------------------------------

    @property
    @abstractmethod
    def language(self) -> Any:
        """What reads vectors."""

    @abstractmethod
    def see(self, pixels: Tensor, grids: Tensor) -> list[Seen]:
        """Encode pictures as `words.picture` cuts them, one row of `grids` for each."""

    @abstractmethod
    def positions(self, ids: Tensor, real: Tensor, grids: Tensor) -> tuple[Tensor, int]:
        """Return positions of streams [B, L] that begin with a picture, and how far the first's are from 1-D."""

    @abstractmethod
    def counted(self, places: Tensor) -> Tensor:
        """Return positions of words, 1-D [B, n], as the model takes them."""

    # -- reading ----------------------------------------------------------------------------------------------

    def begin(self, rgb: np.ndarray, signs: Tensor) -> TalkPrefix:
        """Run the template and the picture, uint8 [H, W, 3]."""
        pixels, grid = self.words.picture(rgb)
        ids = torch.tensor([self.words.head(grid)], device=self.device)
        seen = self.see(pixels, grid)
        written = Written(
            ids, torch.ones_like(ids, dtype=torch.bool), ids.new_zeros(0, 0, self.width), ids.new_zeros(0, 2)
        )
        positions, delta = self.positions(ids, written.real, grid)
        out = self._run(self.embed(written, signs, seen), positions, None, None, True)
        picture = out.last_hidden_state[torch.arange(1), self.last_of_picture(ids)]
        return TalkPrefix(out[self._cache_argument], ids.shape[1], ids.shape[1] + delta, seen[0], picture)

    def last_of_picture(self, ids: Tensor) -> Tensor:
        """Return the place of the picture's last token in streams [B, L], [B]."""
        there = ids.eq(self.words.image_id).int()
        return ids.shape[1] - 1 - there.flip(1).argmax(1)

    def embed(self, written: Written, signs: Tensor, seen: Sequence[Seen] = ()) -> Tensor:
        """Return the vectors of streams, [B, L, D]: of words, signs, pictures and remembered masks."""
        ids, first = written.ids, self.words.first
        own, shown = ids >= first, ids.eq(self.words.image_id)
        vectors = self.base.get_input_embeddings()(ids.masked_fill(own | shown, 0))
        rows = signs.to(vectors.dtype)[(ids - first).clamp(min=0, max=len(SIGNS) - 1)]
        vectors = torch.where(own[..., None], rows, vectors)
        if seen:
            pictures = torch.cat([one.tokens for one in seen]).to(vectors.dtype)
            vectors = vectors.masked_scatter(shown[..., None], pictures)
        if len(written.places):
            mask, slot = written.places.unbind(1)
            there = (ids.eq(first + MASK) | ids.eq(first + BOX)).nonzero(as_tuple=True)
            vectors = vectors.index_put(there, written.memory[mask, slot].to(vectors.dtype))
        return vectors

    def read(
        self, written: Written, signs: Tensor, pixels: Tensor, grids: Tensor, seen: Sequence[Seen]
    ) -> Tensor:
        """Return the states of whole streams, [B, L, D], each of which begins with its picture."""
        positions, _ = self.positions(written.ids, written.real, grids)
        vectors = self.embed(written, signs, seen)
        states: Tensor = self._run(vectors, positions, written.real.long(), None, False).last_hidden_state
        return states

    def go_on(self, prefix: TalkPrefix, written: Written, signs: Tensor) -> tuple[Tensor, Any]:
        """Return the states of what comes after `prefix`, [B, L, D], and the cache with it, batch B."""
        batch, length = written.ids.shape
        check_length(prefix.length + length)
        cache = copy.deepcopy(prefix.cache)
        if batch > 1:
            cache.batch_repeat_interleave(batch)
        out = self.step(
            prefix, cache, self.embed(written, signs), written.real, torch.zeros(batch, dtype=torch.long)
        )
        return out, cache

    def step(self, prefix: TalkPrefix, cache: Any, vectors: Tensor, real: Tensor, start: Tensor) -> Tensor:
        """Run more vectors [B, n, D] into a cache that goes on from `prefix`, and return their states.

        `real` [B, L] of all tokens after the prefix, these n at the end; `start` [B]: place of their first.
        """
        batch, count = vectors.shape[:2]
        places = start.to(vectors.device)[:, None] + torch.arange(count, device=vectors.device)
        before = torch.ones(batch, prefix.length, dtype=torch.long, device=vectors.device)
        attention = torch.cat([before, real.to(vectors.device).long()], 1)
        positions = self.counted(places + prefix.next_position)
        states: Tensor = self._run(vectors, positions, attention, cache, True).last_hidden_state
        return states

    def _run(
        self, vectors: Tensor, positions: Tensor, attention: Tensor | None, cache: Any, keep: bool
    ) -> Any:
        return self.language(
            inputs_embeds=vectors.to(self.language.norm.weight.dtype),  # tables that train are wider
            position_ids=positions,
            attention_mask=attention,
            use_cache=keep,
            **({self._cache_argument: cache} if cache is not None else {}),
        )

    def next(self, states: Tensor, sayable: Tensor) -> Tensor:
        """Return the logits of what comes next, [n, V], from states [n, D]. `sayable`: rows of the signs of replies."""
        table = self.table if self.head is None else self.head.weight
        words = F.linear(states.to(table.dtype), table[: self.words.first])
        never = words.new_full((len(words), OBJ), -torch.inf)
        signs = F.linear(states, sayable.to(states.dtype))
        assert signs.shape[1] == len(SIGNS) - OBJ
        return torch.cat([words.float(), never.float(), signs.float()], 1)

    @property
    def digits(self) -> Tensor:
        """Vectors of the digits and a comma, [11, D], for boxes in words."""
        numbers = torch.tensor([self.words._ids(letter)[0] for letter in LETTERS], device=self.device)
        vectors: Tensor = self.base.get_input_embeddings()(numbers)
        return vectors

    def prefix(self, rgb: np.ndarray, features: Features | None = None) -> Any:
        """Refuse, as `encode_pairs` does."""
        raise TypeError("a network that talks begins a conversation with `begin`")

    def encode(self, prefix: Any, tokens: Any) -> Any:
        """Refuse, as `encode_pairs` does."""
        raise TypeError("a network that talks is asked through `TalkNet`")

    def encode_pairs(self, features: Features | None, tokens: Any) -> Any:
        """Refuse: prompts of a network that talks are read as conversations of one round, by `TalkNet`."""
        raise TypeError("a network that talks is trained by `askmask train conversation`")
