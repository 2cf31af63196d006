"""The words of Vicuna's conversations, as LLaVA-1.5 shows them a picture, with the signs of masks.

    <s>A chat ... questions. USER: <image>
     the red one ASSISTANT: I see [OBJ] the red mug [SEG].</s>USER: its lid ASSISTANT: ...

A sentencepiece tokenizer puts a space before whatever it reads, and takes one away from whatever it writes. Pieces of a
conversation are read and written apart, so that here each gets something before it, which is cut off again.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from askmask.errors import CheckpointError
from askmask.model.miras.front import Framing
from askmask.model.qwen import written
from askmask.model.seams import Tokens
from askmask.model.talk.words import TalkWords, padded

# The line that Vicuna was trained with before every conversation.
SYSTEM = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions."
)
USER, ASSISTANT = "USER:", " ASSISTANT:"
IMAGE = "<image>"
BEFORE, LETTER = (
    "\n",
    "a",
)  # what pieces are read after, which joins no token, and what they are written after


class VicunaWords(TalkWords):
    """A Llama tokenizer with the signs of a conversation and the picture's own added."""

    opening = " "

    def __init__(self, folder: str | Path, framing: Framing, grid: int, rows: int):
        """`grid`: patches a side; `rows`: of the table of embeddings."""
        from transformers import AutoTokenizer

        self.tokenizer: Any = AutoTokenizer.from_pretrained(
            str(folder), local_files_only=True, trust_remote_code=False
        )
        self._turn = threading.Lock()
        self.framing, self.grid = framing, grid
        known: Any = self.tokenizer
        if known.eos_token_id is None or known.convert_tokens_to_ids(IMAGE) in (None, known.unk_token_id):
            raise CheckpointError(f"{folder}: the tokenizer needs an end of sequence and {IMAGE}")
        self.image_id: int = known.convert_tokens_to_ids(IMAGE)
        self.end_id: int = known.eos_token_id
        pads = (known.pad_token_id, known.unk_token_id, known.eos_token_id)
        self.pad_id: int = next(number for number in pads if number is not None)
        self.find_signs(folder)
        if self.first > rows:
            raise CheckpointError(
                f"{folder}: the tokenizer has {self.first} tokens of its own",
                got=f"{rows} rows in the weights",
            )
        self._before, self._letter = self._raw(BEFORE), self._raw(LETTER)
        self._apart = self._raw(BEFORE + LETTER)[len(self._before) :] != self._letter

    def picture(self, rgb: np.ndarray) -> tuple[Tensor, Tensor]:
        """Turn uint8 [H, W, 3] into pixels [1, 3, S, S], and the grid [1, 3] of its patches."""
        return self.framing.pixels(rgb), torch.tensor([[1, self.grid, self.grid]])

    def head(self, grid: Tensor) -> list[int]:
        """Write all up to the end of the picture's line."""
        start = self.tokenizer.bos_token_id
        ids = [] if start is None else [start]
        ids += self._raw(f"{SYSTEM} {USER} ")
        return [*ids, *[self.image_id] * int(grid.prod()), *self._ids("\n")]

    def bare(self, prompt: str) -> list[int]:
        """Write the words of a prompt; special tokens that someone types are words like others."""
        return written(prompt, lambda text: self._ids(f" {text}", split_special_tokens=True))

    def tail(self, prompt: str) -> list[int]:
        """Write the words of a prompt; nothing closes them."""
        return self.bare(prompt)

    def tokens(self, prompts: list[str]) -> Tokens:
        """Bring some prompts together."""
        return Tokens(*padded([self.tail(prompt) for prompt in prompts], self.pad_id))

    def pairs(self, pictures: list[np.ndarray], prompts: list[str]) -> Tokens:
        """Refuse: see `TalkPromptEncoder.encode_pairs`."""
        raise TypeError("a network that talks is trained by `askmask train conversation`")

    @property
    def user(self) -> list[int]:
        """What stands before the user's words in all turns but the first."""
        return self._ids(USER)

    @property
    def after(self) -> list[int]:
        """What comes between the user's words and the answer."""
        return self._ids(ASSISTANT)

    @property
    def closing(self) -> list[int]:
        """Nothing stands after the end of an answer."""
        return []

    def text(self, ids: Sequence[int]) -> str:
        """Return words as text; bytes that are none become U+FFFD."""
        if not ids or not self._apart:
            return super().text(ids)
        return super().text([*self._letter, *ids])[len(LETTER) :]

    def _ids(self, text: str, **how: Any) -> list[int]:
        if not text or not self._apart:
            return self._raw(text, **how)
        return self._raw(BEFORE + text, **how)[len(self._before) :]

    def _raw(self, text: str, **how: Any) -> list[int]:
        with self._turn:
            ids: list[int] = self.tokenizer(text, add_special_tokens=False, **how).input_ids
        return ids
