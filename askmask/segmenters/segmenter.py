"""Promptable segmenters: what the engine needs of one, and every one opened by its name.

Masks have the size of the picture given.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from askmask.errors import SettingError
from askmask.imaging.mask import Mask

ScoredMask = tuple[Mask, float]
BoxXyxy = tuple[float, float, float, float]
SAM2 = {  # name -> on the Hub
    "sam2": "facebook/sam2-hiera-large",
    "sam2.1-tiny": "facebook/sam2.1-hiera-tiny",
    "sam2.1-small": "facebook/sam2.1-hiera-small",
    "sam2.1-base-plus": "facebook/sam2.1-hiera-base-plus",
    "sam2.1-large": "facebook/sam2.1-hiera-large",
    "edgetam": "yonigozlan/EdgeTAM-hf",
    "sam3": "facebook/sam3",
}
NAMES = ("classical", "mini", *SAM2)


@runtime_checkable
class PromptableSegmenter(Protocol):
    """Boxes -> one mask each; and everything there is, without a prompt."""

    def segment_boxes(self, rgb: np.ndarray, boxes_xyxy: Sequence[BoxXyxy]) -> list[ScoredMask]:
        """Return a mask and a score in [0, 1] for each box, in order; `rgb` uint8 [H, W, 3]."""

    def everything(self, rgb: np.ndarray) -> list[ScoredMask]:
        """Return masks of all that the segmenter can tell apart, without near duplicates."""


@dataclass(frozen=True, slots=True)
class Marked:
    """What one mask is asked for by: a box, points (x, y, inside), or both, in pixels of the picture."""

    box: BoxXyxy | None = None
    points: tuple[tuple[float, float, bool], ...] = ()


class Drawer(PromptableSegmenter, Protocol):
    """A segmenter that encodes a picture once, and then draws one mask for each set of marks."""

    def encode(self, rgb: np.ndarray) -> Any:
        """Encode uint8 [H, W, 3]."""

    def draw(self, encoded: Any, marked: Sequence[Marked]) -> list[ScoredMask]:
        """Return a mask and a score in [0, 1] for each."""


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


def open_segmenter(
    name: str,
    *,
    at: str | None = None,
    device: str = "cpu",
    confirm: Callable[[str], bool] | None = None,
) -> Drawer:
    """Make a segmenter. `at`: its model folder or Hub name; `confirm` is asked before weights are fetched.

    Raises SettingError for an unknown name, CheckpointError for weights that are not there.
    """
    if name == "classical":
        from askmask.segmenters.classical import ClassicalSegmenter

        return ClassicalSegmenter()
    if name == "mini":
        from askmask.loading import load
        from askmask.model.mini.net import Mini
        from askmask.segmenters.mini import PromptableMini

        model = load(at or "mini", device=device, confirm=confirm)
        net = getattr(model.backend, "net", None)
        if not isinstance(net, Mini):
            raise SettingError("the segmenter is not a mini", got=at, do="Name the folder of a mini.")
        return PromptableMini(net)
    if name in SAM2:
        from askmask.hub import fetch_weights
        from askmask.segmenters.sam2 import PromptableSam2

        return PromptableSam2(str(fetch_weights(at or SAM2[name], confirm=confirm)), device=device)
    raise SettingError("unknown segmenter", got=repr(name), do=f"Use one of: {', '.join(NAMES)}.")
