"""What passes between the parts of the network, and what a part must offer. Names no back-end.

Letters: B batch (prompts), L their tokens, C decoder channels, D language width, T language states, Q masks asked of
the decoder (0..N of a prompt), N prompt tokens of one, K alternatives for one mask, O objects known in the picture,
M masks remembered of a conversation, H W picture pixels, S side of the network's square input, h w feature cells.

    once per picture:   rgb -> prepare -> encode -> Features;   rgb, Features -> prefix -> Prefix
    once per round:     Look, Memory, PastRound -> Memory
    once per prompt:    words -> tokenizer -> Tokens;   Prefix, Tokens -> TokenStates -> adapter -> Prompts
                        points, boxes, drawn masks -> Marks -> Prompts
                        Features, Prompts -> MaskOutput

No text enters the network: a tokenizer turns it into numbers before, in a data worker if need be.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

MAX_PROMPT_CHARS = 32_768  # 256 of Qwen's longest tokens (128 spaces): longer text cannot fit


@dataclass(frozen=True)
class Features:
    """A picture as the mask decoder sees it: maps [1 or B, C_i, h_i, w_i], finest first, the last with C."""

    maps: tuple[Tensor, ...]

    def rows(self, index: Tensor) -> Features:
        """Select along the batch."""
        return Features(tuple(m[index] for m in self.maps))


@dataclass(frozen=True)
class Tokens:
    """B prompts as numbers, as a language back-end reads them."""

    ids: Tensor  # [B, L]
    real: Tensor  # [B, L] bool; the rest is padding

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Marks:
    """What is marked on a picture for one mask; coordinates are in sides of the network's square input, x first."""

    points: Tensor  # [P, 2]
    inside: Tensor  # [P] bool: part of what is meant, or not
    box: Tensor | None = None  # [4]: x0, y0, x1, y1
    mask: Tensor | None = None  # [4h, 4w] logits of a mask to begin from


@dataclass(frozen=True)
class PastRound:
    """A round that was answered, as a network may remember it."""

    text: str  # of the prompt; "" where only marks were given
    reply: str
    masks: (
        Tensor  # [m, 4h, 4w] in 0..1: how much of each cell of the network's square each of its masks covers
    )
    spans: tuple[
        tuple[int, int] | None, ...
    ] = ()  # where in the reply each mask stands; () or None: not known
    meant: tuple[int, ...] = ()  # numbers of the remembered masks that the prompt referred to
    nothing: bool = False  # it was answered that nothing matches


@dataclass(frozen=True)
class TokenStates:
    """Language states of B prompts: which become sparse prompt tokens, and which one the dense prompt."""

    states: Tensor  # [B, T, D]
    sparse: Tensor  # [B, T] bool
    dense_at: Tensor  # [B] index into T


@dataclass(frozen=True)
class Prompts:
    """Prompts in the decoder's language. Rows of `sparse` where `sparse_mask` is False are padding."""

    sparse: Tensor  # [Q, N, C]
    sparse_mask: Tensor  # [Q, N] bool
    dense: Tensor  # [Q, C], or [Q, C, h, w] where a back-end paints object evidence
    row: Tensor  # [Q] which prompt of the batch each asks for


@dataclass(frozen=True)
class Piece:
    """More of the reply to prompt `row` of the batch."""

    row: int
    text: str


@dataclass(frozen=True)
class Reply:
    """What a network says to one prompt."""

    text: str
    spans: tuple[
        tuple[int, int], ...
    ] = ()  # the place of each phrase that names something shown: [start, end)
    alone: bool = False  # words alone, such as a question back: nothing is said about pixels
    trouble: str = ""  # how it breaks the rules of replies; it then has no spans
    ids: tuple[int, ...] = ()  # as the network wrote it, where these can be read once more


@dataclass(frozen=True)
class MaskOutput:
    """Masks of B prompts, before they are taken back to picture pixels."""

    logits: Tensor  # [Q, K, 4h, 4w]; a mask is where they are > 0
    scores: Tensor  # [Q, K] predicted IoU, about 0..1
    presence_logits: Tensor  # [Q]; sigmoid = probability that anything in the picture matches
    row: Tensor  # [Q] which prompt of the batch each mask answers
    # Where a back-end knows the picture's objects: their soft masks, and a logit for each to be in the answer.
    objects: Tensor | None = None  # [O, h', w']
    chosen: Tensor | None = None  # [Q, O]
    # Where a back-end remembers: the probability of each remembered mask that the prompt speaks of it.
    references: Tensor | None = None  # [Q, M]
    # Where a back-end speaks: the reply to each prompt of the batch, and which of its spans names each object, or -1.
    replies: tuple[Reply, ...] | None = None
    named: Tensor | None = None  # [Q, O]
    span: Tensor | None = None  # [Q] or, where masks are asked for one by one, which span names each, or -1

    def rows(self, index: Tensor) -> MaskOutput:
        """Select masks."""
        chosen: dict[str, Any] = {
            name: value[index] if isinstance(value, Tensor) and name != "objects" else value
            for name, value in self._fields().items()
        }
        return MaskOutput(**chosen)

    def and_(self, other: MaskOutput) -> MaskOutput:
        """Return these masks and those of another answer about the same picture."""
        more = other._fields()
        both: dict[str, Any] = {
            name: torch.cat([value, more[name]]) if isinstance(value, Tensor) and name != "objects" else value
            for name, value in self._fields().items()
        }
        return MaskOutput(**both)

    def _fields(self) -> dict[str, Any]:
        return {one.name: getattr(self, one.name) for one in fields(self)}


class Segmenter(Protocol):
    """The visual back-end: picture -> features once, features + prompts -> masks."""

    channels: int  # C
    image_size: int  # S
    mask_size: int  # 4h = 4w, the side of the logits it gives

    def prepare(self, rgb: np.ndarray, *, letterbox: bool) -> Tensor:
        """Turn uint8 [H, W, 3] into the network's input [3, S, S]."""

    def encode(self, pixels: Tensor) -> Features:
        """Encode [B, 3, S, S]."""

    def mark(self, marks: Marks) -> Prompts:
        """Turn marks on a picture into the prompts of one mask. Raises PromptError for what it cannot take."""

    def decode(self, features: Features, prompts: Prompts, *, multimask: bool) -> MaskOutput:
        """Return Q masks by the supervised token (K = 1), or with `multimask` three alternatives for each.

        `features` has one row for all prompts (same picture) or one row per prompt of the batch.
        """


class Tokenizer(Protocol):
    """Words -> numbers, without the network: safe to run in a data worker."""

    def tokens(self, prompts: list[str]) -> Tokens:
        """Read B prompts about a picture that is already encoded. Raises PromptError for one too long."""

    def pairs(self, pictures: list[np.ndarray], prompts: list[str]) -> Tokens:
        """Read B prompts each with its picture, uint8 [H, W, 3]."""


class PromptEncoder(Protocol):
    """The language back-end: sees picture and words together."""

    width: int  # D

    @property
    def words(self) -> Tokenizer:
        """What turns prompts into the tokens it reads."""

    def prefix(self, rgb: np.ndarray, features: Features) -> Any:
        """Do the part that depends on the picture alone; the result serves any number of prompts."""

    def encode(self, prefix: Any, tokens: Any) -> TokenStates:
        """Encode B prompts about the picture of `prefix`; each row as if it were alone."""

    def encode_pairs(self, features: Features, tokens: Any) -> TokenStates:
        """Encode B prompts, each about a picture of its own, with gradients; `features` has one row a prompt."""


def pad_rows(rows: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Stack [N_i, C] rows into [B, N, C] with zeros, and say which are real: bool [B, N]."""
    padded = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)  # [B, N, C]
    lengths = torch.tensor([len(row) for row in rows], device=padded.device)
    return padded, torch.arange(padded.shape[1], device=padded.device)[None] < lengths[:, None]
