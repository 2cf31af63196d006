"""PromptableSegmenter: what stage 2 and 3 need of a segmentation model. Masks have the size of the picture given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np

from askmask.imaging.mask import Mask

ScoredMask = tuple[Mask, float]
BoxXyxy = tuple[float, float, float, float]


@runtime_checkable
class PromptableSegmenter(Protocol):
    """Boxes -> one mask each; and everything there is, without a prompt."""

    def segment_boxes(self, rgb: np.ndarray, boxes_xyxy: Sequence[BoxXyxy]) -> list[ScoredMask]:
        """Return a mask and a score in [0, 1] for each box, in order; `rgb` uint8 [H, W, 3]."""

    def everything(self, rgb: np.ndarray) -> list[ScoredMask]:
        """Return masks of all that the segmenter can tell apart, without near duplicates."""


@runtime_checkable
class BatchedSegmenter(PromptableSegmenter, Protocol):
    """A segmenter that gains from several pictures at once (one GPU pass)."""

    def segment_batch(self, jobs: Sequence[tuple[np.ndarray, Sequence[BoxXyxy]]]) -> list[list[ScoredMask]]:
        """Return what `segment_boxes` would for each job."""


def suppress(masks: list[ScoredMask], iou: float = 0.7) -> list[ScoredMask]:
    """Keep the best-scored of masks that overlap by more than `iou` (the paper's pool uses 0.7)."""
    kept: list[ScoredMask] = []
    for mask, score in sorted(masks, key=lambda pair: -pair[1]):
        if mask and all(mask.iou(other) <= iou for other, _ in kept):
            kept.append((mask, score))
    return kept
