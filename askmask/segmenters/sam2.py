"""SAM2 as a promptable segmenter: boxes batched over pictures, a grid of points for everything.

Not run with the released weights in this repository's tests (they cannot be fetched there); the code path is run
with tiny random weights. Grid, scores and stability follow SAM2's automatic mask generator (points_per_side 64,
predicted IoU 0.8, stability 0.95 at offset 1, suppression 0.7).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import Sam2Model

from askmask.errors import CheckpointError, MissingExtra
from askmask.imaging.mask import Mask
from askmask.model.sam2 import Sam2Segmenter
from askmask.model.seams import Features
from askmask.segmenters.segmenter import BoxXyxy, Marked, ScoredMask, suppress

HUB_NAME = "facebook/sam2-hiera-large"
POINTS_PER_SIDE = 64
LEAST_SCORE, LEAST_STABILITY = 0.8, 0.95
POINTS_AT_ONCE = 64


class PromptableSam2:
    """`model`: a Sam2Model, a folder of one, or a Hub name that was fetched before."""

    def __init__(
        self,
        model: str | Sam2Model = HUB_NAME,
        *,
        device: str = "cpu",
        points_per_side: int = POINTS_PER_SIDE,
        least_score: float = LEAST_SCORE,
        least_stability: float = LEAST_STABILITY,
    ):
        loaded = strictly_loaded(model) if isinstance(model, str) else model
        self.net = Sam2Segmenter(loaded).to(device).eval()
        self._device = device
        self._points, self._least = points_per_side, (least_score, least_stability)

    def segment_boxes(self, rgb: np.ndarray, boxes_xyxy: Sequence[BoxXyxy]) -> list[ScoredMask]:
        """Return SAM2's single mask and its predicted IoU for each box."""
        return self.segment_batch([(rgb, boxes_xyxy)])[0] if boxes_xyxy else []

    @torch.inference_mode()
    def segment_batch(self, jobs: Sequence[tuple[np.ndarray, Sequence[BoxXyxy]]]) -> list[list[ScoredMask]]:
        """Encode all pictures in one pass, then decode the boxes of each."""
        features = self._encode([rgb for rgb, _ in jobs])
        results = []
        for row, (rgb, boxes) in enumerate(jobs):
            own = Features(tuple(level[row : row + 1] for level in features.maps))
            scale = np.array(
                [self.net.image_size / rgb.shape[1], self.net.image_size / rgb.shape[0]], np.float32
            )
            scaled = (np.asarray(boxes, np.float32).reshape(-1, 2, 2) * scale).reshape(-1, 4)
            logits, scores = self.net.decode_geometry(
                own, boxes=torch.from_numpy(scaled).to(self._device), multimask=False
            )
            results.append(self._read(logits, scores, rgb.shape[:2]))
        return results

    @torch.inference_mode()
    def encode(self, rgb: np.ndarray) -> tuple[Features, tuple[int, int]]:
        """Encode a picture."""
        return self._encode([rgb]), (rgb.shape[0], rgb.shape[1])

    @torch.inference_mode()
    def draw(self, encoded: tuple[Features, tuple[int, int]], marked: Sequence[Marked]) -> list[ScoredMask]:
        """Return a mask and its predicted IoU for each; the best of three where one point is all there is."""
        features, (height, width) = encoded
        scale = np.array([self.net.image_size / width, self.net.image_size / height], np.float32)
        masks: list[ScoredMask] = []
        for one in marked:
            points = np.array([p[:2] for p in one.points], np.float32).reshape(1, -1, 2) * scale
            box = None if one.box is None else np.array(one.box, np.float32).reshape(1, 2, 2) * scale
            labels = np.array([[p[2] for p in one.points]], np.int64)
            logits, scores = self.net.decode_geometry(
                features,
                points=torch.from_numpy(points).to(self._device) if one.points else None,
                labels=torch.from_numpy(labels).to(self._device) if one.points else None,
                boxes=None if box is None else torch.from_numpy(box.reshape(1, 4)).to(self._device),
                multimask=box is None and len(one.points) == 1,
            )
            drawn = self._read(logits, scores, (height, width))
            masks.append(max(drawn, key=lambda pair: pair[1]))
        return masks

    @torch.inference_mode()
    def everything(self, rgb: np.ndarray) -> list[ScoredMask]:
        """Return confident, stable masks of a grid of points, near duplicates suppressed."""
        centres = (np.arange(self._points, dtype=np.float32) + 0.5) / self._points * self.net.image_size
        grid = torch.from_numpy(np.stack(np.meshgrid(centres, centres), -1).reshape(-1, 1, 2))  # [P, 1, 2]
        features = self._encode([rgb])
        found: list[ScoredMask] = []
        for points in grid.to(self._device).split(POINTS_AT_ONCE):
            labels = torch.ones(points.shape[:2], dtype=torch.int64, device=self._device)
            logits, scores = self.net.decode_geometry(features, points=points, labels=labels, multimask=True)
            found += self._read(logits, scores, rgb.shape[:2], filtered=True)
        return suppress(found)

    def _encode(self, pictures: Sequence[np.ndarray]) -> Features:
        pixels = torch.stack([self.net.prepare(rgb, letterbox=False) for rgb in pictures])  # [B, 3, S, S]
        return self.net.encode(pixels.to(self._device))

    def _read(
        self, logits: Tensor, scores: Tensor, size: tuple[int, ...], *, filtered: bool = False
    ) -> list[ScoredMask]:
        logits, scores = logits.flatten(0, 1), scores.flatten()  # [N, h, w], [N]
        if filtered:
            high = (logits > 1.0).flatten(1).sum(1).float()
            low = (logits > -1.0).flatten(1).sum(1).float().clamp(min=1)
            keep = (scores >= self._least[0]) & (high / low >= self._least[1])
            logits, scores = logits[keep], scores[keep]
        masks = []
        for one, score in zip(logits, scores, strict=True):
            full = F.interpolate(one[None, None].float(), tuple(size), mode="bilinear", align_corners=False)[
                0, 0
            ]
            masks.append((Mask.from_array((full > 0).cpu().numpy()), round(float(score), 4)))
        return masks


def strictly_loaded(folder: str) -> Any:
    """Load SAM 2, SAM 2.1, EdgeTAM or SAM 3's tracker from a folder. Raises CheckpointError if a weight is missing."""
    from transformers import AutoConfig, EdgeTamModel, Sam3TrackerModel

    kinds: dict[str, Any] = {"edgetam": EdgeTamModel, "sam3": Sam3TrackerModel, "sam2": Sam2Model}
    try:
        name = AutoConfig.from_pretrained(folder, local_files_only=True).model_type
        kind = next((kind for prefix, kind in kinds.items() if name.startswith(prefix)), None)
        if kind is None:
            raise CheckpointError("SAM 2, SAM 2.1, EdgeTAM or SAM 3 is wanted", got=name)
        model, loading = kind.from_pretrained(folder, local_files_only=True, output_loading_info=True)
    except ImportError as error:  # EdgeTAM's encoder
        raise MissingExtra("timm", "edgetam") from error
    except (OSError, ValueError, KeyError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(
            "these weights cannot be loaded", got=str(error).splitlines()[0][:200]
        ) from error
    # The published files hold a video model too: what is too much does no harm, what is missing does.
    missing = sorted(loading["missing_keys"]) + sorted(map(str, loading["mismatched_keys"]))
    if missing:
        raise CheckpointError(
            f"{len(missing)} weights are missing and would be random", got=missing[0], do="Fetch them anew."
        )
    return model
