"""SAM2 through transformers as a promptable segmenter: boxes batched over pictures, a point grid for everything.

Not run with the released weights in this repository's tests (they cannot be fetched there); the code path is run
with tiny random weights. Grid, scores and stability follow SAM2's automatic mask generator (points_per_side 64,
predicted IoU 0.8, stability 0.95 at offset 1, suppression 0.7).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from askmask.errors import MissingExtra
from askmask.imaging.mask import Mask
from askmask.segmenters.segmenter import BoxXyxy, ScoredMask, suppress

POINTS_PER_SIDE = 64
LEAST_SCORE, LEAST_STABILITY = 0.8, 0.95
POINTS_AT_ONCE = 64


class Sam2Segmenter:
    """A `Sam2Model` with its preprocessing. `folder` is a model folder or Hub name."""

    def __init__(
        self,
        folder: str = "facebook/sam2-hiera-large",
        *,
        device: str = "cpu",
        model: Any = None,
        points_per_side: int = POINTS_PER_SIDE,
        least_score: float = LEAST_SCORE,
        least_stability: float = LEAST_STABILITY,
    ):
        try:
            import torch
            from transformers import Sam2Model
        except ImportError as error:
            raise MissingExtra("transformers", "engine") from error
        self._torch = torch
        model = model or Sam2Model.from_pretrained(folder)
        self._model = model.to(device).eval()  # type: ignore[arg-type]  # transformers' wrapper of `to` hides self
        self._device = device
        self._side = int(self._model.config.prompt_encoder_config.image_size)
        self._points, self._least = points_per_side, (least_score, least_stability)

    def segment_boxes(self, rgb: np.ndarray, boxes_xyxy: Sequence[BoxXyxy]) -> list[ScoredMask]:
        """Return SAM2's single mask and its predicted IoU for each box."""
        return self.segment_batch([(rgb, boxes_xyxy)])[0] if boxes_xyxy else []

    def segment_batch(self, jobs: Sequence[tuple[np.ndarray, Sequence[BoxXyxy]]]) -> list[list[ScoredMask]]:
        """Encode all pictures in one pass, then decode the boxes of each."""
        torch = self._torch
        with torch.inference_mode():
            pixels = torch.stack([self._prepare(rgb) for rgb, _ in jobs]).to(self._device)  # [B, 3, S, S]
            embeddings = self._encode(pixels)
            results = []
            for row, (rgb, boxes) in enumerate(jobs):
                own = [level[row : row + 1] for level in embeddings]
                scaled = self._scaled(np.asarray(boxes, np.float32).reshape(-1, 2, 2), rgb).reshape(1, -1, 4)
                output = self._model(
                    image_embeddings=own,
                    input_boxes=torch.from_numpy(scaled).to(self._device),
                    multimask_output=False,
                )
                results.append(self._read(output, rgb.shape[:2]))
        return results

    def everything(self, rgb: np.ndarray) -> list[ScoredMask]:
        """Return confident, stable masks of a grid of points, near duplicates suppressed."""
        torch = self._torch
        centres = (np.arange(self._points, dtype=np.float32) + 0.5) / self._points * self._side
        grid = np.stack(np.meshgrid(centres, centres), -1).reshape(-1, 1, 2)  # [P, 1, 2]
        found: list[ScoredMask] = []
        with torch.inference_mode():
            embeddings = self._encode(self._prepare(rgb)[None].to(self._device))
            for start in range(0, len(grid), POINTS_AT_ONCE):
                points = torch.from_numpy(grid[start : start + POINTS_AT_ONCE])[None].to(self._device)
                output = self._model(
                    image_embeddings=embeddings,
                    input_points=points,
                    input_labels=torch.ones(points.shape[:3], dtype=torch.int64, device=self._device),
                    multimask_output=True,
                )
                found += self._read(output, rgb.shape[:2], filtered=True)
        return suppress(found)

    def _prepare(self, rgb: np.ndarray):
        torch = self._torch
        chw = torch.from_numpy(np.ascontiguousarray(rgb)).permute(2, 0, 1)[None].float() / 255
        chw = torch.nn.functional.interpolate(
            chw, (self._side, self._side), mode="bilinear", antialias=True, align_corners=False
        )
        mean = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
        std = torch.tensor([0.229, 0.224, 0.225])[:, None, None]
        return (chw[0] - mean) / std

    def _encode(self, pixels: Any) -> list[Any]:
        """Return the three feature maps of [B, 3, S, S], finest first.

        The library's get_image_embeddings does so for one picture only: its `view` of a permuted map fails for more.
        """
        maps = list(self._model.get_image_features(pixels, return_dict=True).fpn_hidden_states)
        maps[-1] = maps[-1] + self._model.no_memory_embedding
        sizes = self._model.backbone_feature_sizes
        return [
            level.permute(1, 2, 0).reshape(len(pixels), -1, *size)
            for level, size in zip(maps, sizes, strict=True)
        ]

    def _scaled(self, points: np.ndarray, rgb: np.ndarray) -> np.ndarray:
        return points * np.array([self._side / rgb.shape[1], self._side / rgb.shape[0]], np.float32)

    def _read(self, output: Any, size: tuple[int, ...], *, filtered: bool = False) -> list[ScoredMask]:
        torch = self._torch
        logits = output.pred_masks.flatten(0, 2)  # [N, 4h, 4w]
        scores = output.iou_scores.flatten()  # [N]
        if filtered:
            high = (logits > 1.0).flatten(1).sum(1).float()
            low = (logits > -1.0).flatten(1).sum(1).float().clamp(min=1)
            keep = (scores >= self._least[0]) & (high / low >= self._least[1])
            logits, scores = logits[keep], scores[keep]
        masks = []
        for one, score in zip(logits, scores, strict=True):
            full = torch.nn.functional.interpolate(
                one[None, None].float(), tuple(size), mode="bilinear", align_corners=False
            )[0, 0]
            masks.append((Mask.from_array((full > 0).cpu().numpy()), round(float(score), 4)))
        return masks
