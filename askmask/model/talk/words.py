"""The stream of a conversation as numbers: what is written for each turn, and how a reply is read back.

    picture  words  [answer]  memory  |  references  words  [answer]  memory  |  ...

    answer:      I see [OBJ] the red mug [REF][SEG] and ... <|im_end|>     [NONE]: nothing in the picture matches
    memory:      for each mask of the answer, in order: [MASK] ... [BOX]   in their place stand embeddings
    references:  the memory of each mask that the turn is about, once more

Nothing is ever written in the middle, so that what is cached stays good. [REF] goes before each [SEG]: its state says
what the mask is about. Signs are found by their numbers; those that a user types are words.
Source: SegLLM (ICLR 2025) for the memory; MIRAS (ACL 2025) for the span.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from askmask.errors import CheckpointError, PromptError
from askmask.model.grammar import Phrase, PhraseReader, told
from askmask.model.seams import Tokens

SIGNS = ("[MASK]", "[BOX]", "[OBJ]", "[REF]", "[SEG]", "[NONE]")
MASK, BOX, OBJ, REF, SEG, NONE = range(len(SIGNS))
LONGEST_REPLY = 512  # numbers; what is longer is cut
MOST_MASKS = 32  # in one reply
MOST_TOKENS = 16_384  # of a conversation, picture included

Span = tuple[int, int] | None


@dataclass(frozen=True)
class Said:
    """A reply as it was read."""

    text: str
    phrases: tuple[Phrase, ...]
    nothing: bool  # it says that nothing matches
    trouble: str = ""  # how it breaks the rules; its phrases then count for nothing

    @property
    def marks(self) -> tuple[Phrase, ...]:
        """The masks that it shows."""
        return () if self.trouble else self.phrases


class TalkWords(ABC):
    """A tokenizer with the signs of a conversation added. How turns look besides is the language model's own."""

    tokenizer: Any
    image_id: int  # of each token of the picture
    end_id: int  # of the end of a turn
    pad_id: int
    opening = ""  # what a reply that has words begins with, and is no part of its text
    refers = True  # whether [REF] stands before each [SEG]
    _turn: threading.Lock  # of those who use the tokenizer

    # -- what a language model brings -------------------------------------------------------------------------

    @abstractmethod
    def picture(self, rgb: np.ndarray) -> tuple[Tensor, Tensor]:
        """Cut uint8 [H, W, 3] into what the language side sees, and the grid [1, 3] of that (1, rows, columns)."""

    @abstractmethod
    def head(self, grid: Tensor) -> list[int]:
        """Write all up to the end of the picture."""

    @abstractmethod
    def bare(self, prompt: str) -> list[int]:
        """Write the words of a prompt. Raises PromptError for too many."""

    @abstractmethod
    def tail(self, prompt: str) -> list[int]:
        """Write the words of a prompt, and what closes the user's turn."""

    @abstractmethod
    def tokens(self, prompts: list[str]) -> Tokens:
        """Bring the `tail` of some prompts together."""

    @abstractmethod
    def pairs(self, pictures: list[np.ndarray], prompts: list[str]) -> Tokens:
        """Bring whole turns together, each with its picture."""

    @property
    @abstractmethod
    def user(self) -> list[int]:
        """What stands before the user's words in all turns but the first."""

    @property
    @abstractmethod
    def after(self) -> list[int]:
        """What comes between the user's words and the answer."""

    @property
    @abstractmethod
    def closing(self) -> list[int]:
        """What stands between the end of an answer and the memory of its masks."""

    @abstractmethod
    def _ids(self, text: str, **how: Any) -> list[int]:
        """Write text as it is."""

    # -- the signs --------------------------------------------------------------------------------------------

    def find_signs(self, folder: str | Path) -> None:
        """Find the numbers of the signs in the tokenizer of a folder. Raises CheckpointError if it lacks them."""
        found = self.tokenizer.convert_tokens_to_ids(list(SIGNS))
        self.first: int = found[0] or 0  # number of the first sign; those before it are the tokenizer's own
        if found != list(range(self.first, self.first + len(SIGNS))) or self.first < 1:
            raise CheckpointError(f"{folder}: the tokenizer lacks the signs of a conversation", got=found)
        special = {*self.tokenizer.all_special_ids, self.image_id} - {self.end_id}
        self._sayable = torch.tensor([n not in special for n in range(self.size)])
        self._sayable[self.first :] = torch.tensor([sign >= OBJ for sign in range(len(SIGNS))])

    @property
    def sayable(self) -> Tensor:
        """What a reply may hold, [V] bool: words, and the signs of replies."""
        allowed = self._sayable.clone()
        allowed[self.sign(REF)] = self.refers
        return allowed

    @property
    def size(self) -> int:
        """How many numbers there are, the signs last."""
        return self.first + len(SIGNS)

    def sign(self, sign: int) -> int:
        """Return the number of a sign."""
        return self.first + sign

    # -- writing --------------------------------------------------------------------------------------------

    def before(self, references: int, slots: tuple[int, int], *, begun: bool) -> list[int]:
        """Write what comes before the words of a turn: `references` masks. `begun`: it is not the first turn.

        `slots`: how many tokens for a mask and for its box.
        """
        return [*(self.user if begun else ()), *self.memory(references, slots)]

    def memory(self, masks: int, slots: tuple[int, int]) -> list[int]:
        """Write the places of some masks."""
        return ([self.sign(MASK)] * slots[0] + [self.sign(BOX)] * slots[1]) * masks

    def answer(
        self, text: str, spans: Sequence[Span], *, nothing: bool = False
    ) -> tuple[list[int], list[int]]:
        """Write a reply to its end of turn, with a mask for each of `spans` (None: at the end of the text).

        Also returns the masks' numbers in the order in which they stand in the reply.
        """
        places = [(len(text), len(text)) if span is None else span for span in spans]
        order = sorted(range(len(places)), key=lambda number: (places[number][::-1], number))
        shift = len(self.opening) if text else 0
        text = self.opening[:shift] + text
        places = [(start + shift, end + shift) for start, end in places]
        ids: list[int] = [self.sign(NONE)] if nothing else []
        at, last = 0, None
        for number in order:
            start, end = (min(max(0, place), len(text)) for place in places[number])
            if (start, end) != last:  # else one more mask of the same words
                start = max(start, at)
                words = text[start:end]
                if words.strip():
                    # The space before a word belongs to it, as in all text that the tokenizer learnt from.
                    space = text[at:start].endswith(" ")
                    ids += self._plain(text[at : start - space])
                    ids += [self.sign(OBJ), *self._plain(text[start - space : end])]
                else:
                    ids += self._plain(text[at:end])
                at, last = max(at, end), (start, end)
            ids += [self.sign(REF), self.sign(SEG)] if self.refers else [self.sign(SEG)]
        return [*ids, *self._plain(text[at:]), self.end_id], order

    def _plain(self, text: str) -> list[int]:
        return self._ids(text, split_special_tokens=True) if text else []

    # -- reading --------------------------------------------------------------------------------------------

    def read(self, ids: Sequence[int]) -> Said:
        """Read the numbers of a reply; see `Said.trouble`."""
        reader, text = PhraseReader(bare=True), ""
        words: list[int] = []
        nothing = ended = False
        for at, number in enumerate(ids):
            if number < self.first and number != self.end_id:
                words.append(number)
                continue
            piece = self.text(words)
            if words:
                reader.words(len(text) + len(piece) - len(piece.lstrip()))
            text, words = text + piece, []
            sign = number - self.first
            if number == self.end_id:
                ended = True
                break
            if sign == OBJ:
                reader.obj(at)
            elif sign == SEG:
                if not self.refers or (at and ids[at - 1] == self.sign(REF)):
                    reader.seg(at, len(text))
                else:
                    reader.troubles.append("a mask does not say what it is about")
            elif sign == NONE:
                nothing = True
            elif sign == REF:
                if at + 1 >= len(ids) or ids[at + 1] != self.sign(SEG):
                    reader.troubles.append("what a mask is about stands without the mask")
            else:
                reader.troubles.append("it writes what only a memory may hold")
        text += self.text(words)
        reader.end()
        troubles = [*reader.troubles, *([] if ended else ["it has no end"])]
        if nothing and reader.phrases:
            troubles.append("it shows what it says is not there")
        shift = len(self.opening) if self.opening and text.startswith(self.opening) else 0
        phrases = [
            replace(one, span=(max(0, one.span[0] - shift), max(0, one.span[1] - shift)))
            for one in reader.phrases
        ]
        return Said(text[shift:], tuple(phrases), nothing, told(troubles))

    def text(self, ids: Sequence[int]) -> str:
        """Return words as text; bytes that are none become U+FFFD."""
        if not ids:
            return ""
        with self._turn:
            found: str = self.tokenizer.decode(list(ids), clean_up_tokenization_spaces=False)
        return found


def check_length(tokens: int) -> None:
    """Raise PromptError for a conversation that has grown too long."""
    if tokens > MOST_TOKENS:
        raise PromptError(
            f"a conversation has at most {MOST_TOKENS} tokens, the picture's included",
            got=tokens,
            do="Begin a new one, or delete rounds.",
        )


class Writer:
    """Text of a reply as its numbers come: letters are held back until they are whole."""

    def __init__(self, words: TalkWords):
        self.words, self.kept, self.shown = words, list[int](), ""
        self._opening = words.opening

    def add(self, number: int) -> str:
        """Take one more number; return what that adds to the text."""
        piece = self._more(number)
        if piece:
            piece, self._opening = piece.removeprefix(self._opening), ""
        return piece

    def _more(self, number: int) -> str:
        if number >= self.words.first or number == self.words.end_id:
            piece, self.kept = self.words.text(self.kept)[len(self.shown) :], []
            self.shown = ""
            return piece
        self.kept.append(number)
        text = self.words.text(self.kept)
        if text.endswith("�"):
            return ""
        piece, self.shown = text[len(self.shown) :], text
        return piece


def padded(rows: Sequence[Sequence[int]], pad: int) -> tuple[Tensor, Tensor]:
    """Bring rows of numbers to one length, and say which are real: both [B, L]."""
    longest = max(map(len, rows))
    ids = torch.tensor([[*row, *[pad] * (longest - len(row))] for row in rows])
    lengths = torch.tensor([len(row) for row in rows])
    return ids, torch.arange(longest)[None] < lengths[:, None]
