"""What passes between the parts of the network, and what a part must offer. Names no back-end.

Letters: B batch (prompts), C decoder channels, D language width, T language tokens, N prompt tokens, K masks,
H W picture pixels, S side of the network's square input, h w feature cells.

    once per picture:   rgb -> prepare -> encode -> Features;   rgb, Features -> prefix -> Prefix
    once per prompt:    Prefix, prompt -> TokenStates -> adapter -> Prompts;   Features, Prompts -> MaskOutput
"""

from __future__ import annotations

from dataclasses import dataclass, replace
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
class TokenStates:
    """Language states of B prompts: which become sparse prompt tokens, and which one the dense prompt."""

    states: Tensor  # [B, T, D]
    sparse: Tensor  # [B, T] bool
    dense_at: Tensor  # [B] index into T


@dataclass(frozen=True)
class Prompts:
    """Prompts in the decoder's language. Rows of `sparse` where `sparse_mask` is False are padding."""

    sparse: Tensor  # [B, N, C]
    sparse_mask: Tensor  # [B, N] bool
    dense: Tensor  # [B, C], or [B, C, h, w] where a back-end paints object evidence

    def without_dense(self) -> Prompts:
        """Leave the sparse tokens alone to say what is meant (an ablation)."""
        return replace(self, dense=torch.zeros_like(self.dense))


@dataclass(frozen=True)
class MaskOutput:
    """Masks of B prompts, before they are taken back to picture pixels."""

    logits: Tensor  # [B, K, 4h, 4w]; a mask is where they are > 0
    scores: Tensor  # [B, K] predicted IoU, about 0..1
    presence_logits: Tensor  # [B]; sigmoid = probability that anything in the picture matches


class Segmenter(Protocol):
    """The visual back-end: picture -> features once, features + prompts -> masks."""

    channels: int  # C
    image_size: int  # S

    def prepare(self, rgb: np.ndarray, *, letterbox: bool) -> Tensor:
        """Turn uint8 [H, W, 3] into the network's input [3, S, S]."""

    def encode(self, pixels: Tensor) -> Features:
        """Encode [B, 3, S, S]."""

    def decode(self, features: Features, prompts: Prompts, *, multimask: bool) -> MaskOutput:
        """Return one mask per prompt (the supervised token), or with `multimask` the three alternatives.

        `features` has one row for all prompts (same picture) or one row per prompt.
        """


class PromptEncoder(Protocol):
    """The language back-end: sees picture and words together."""

    width: int  # D

    def prefix(self, rgb: np.ndarray, features: Features) -> Any:
        """Do the part that depends on the picture alone; the result serves any number of prompts."""

    def encode(self, prefix: Any, prompts: list[str]) -> TokenStates:
        """Encode B prompts about the picture of `prefix`; each row as if it were alone."""

    def encode_pairs(
        self, pictures: list[np.ndarray | None], features: Features, prompts: list[str]
    ) -> TokenStates:
        """Encode B (picture, prompt) pairs in one batch, with gradients; `features` has one row a pair."""


def pad_rows(rows: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Stack [N_i, C] rows into [B, N, C] with zeros, and say which are real: bool [B, N]."""
    padded = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)  # [B, N, C]
    lengths = torch.tensor([len(row) for row in rows], device=padded.device)
    return padded, torch.arange(padded.shape[1], device=padded.device)[None] < lengths[:, None]
