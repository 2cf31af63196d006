"""Fit a picture into a square with black bars, bit for bit as OpenCV resizes, and take results back.

The published demo shrinks with INTER_AREA and grows with INTER_LINEAR on 8-bit pixels. Both are short enough
to state here, which spares users a second OpenCV beside the one they have. Source: OpenCV 4, resize.cpp.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Letterbox:
    """Where a picture of (height, width) `inner` sits in a square of `side` pixels."""

    side: int
    inner: tuple[int, int]
    top: int
    left: int

    @classmethod
    def of(cls, size: tuple[int, int], side: int) -> Letterbox:
        """Fit (height, width) `size` into the square, centred; of an odd rest the bottom and right get more."""
        scale = side / max(size)
        height, width = (min(side, max(1, round(length * scale))) for length in size)
        return cls(side, (height, width), (side - height) // 2, (side - width) // 2)

    def pad(self, rgb: np.ndarray) -> np.ndarray:
        """Resize uint8 [H, W, 3] to `inner` and set it into a black square [side, side, 3]."""
        square = np.zeros((self.side, self.side, rgb.shape[2]), np.uint8)
        square[self.rows, self.columns] = resize_as_opencv(rgb, self.inner)
        return square

    @property
    def rows(self) -> slice:
        """The picture's rows in the square."""
        return slice(self.top, self.top + self.inner[0])

    @property
    def columns(self) -> slice:
        """The picture's columns in the square."""
        return slice(self.left, self.left + self.inner[1])


def resize_as_opencv(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize uint8 [H, W, C]: by area if `size` is smaller on both sides, else linearly in fixed point."""
    if pixels.shape[:2] == tuple(size):
        return pixels
    if size[0] <= pixels.shape[0] and size[1] <= pixels.shape[1]:
        return _shrink_by_area(pixels, size)
    return _grow_linearly(pixels, size)


def _shrink_by_area(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    # Tap by tap in single precision: OpenCV's order of sums decides pixels that fall on a half.
    wide = np.zeros((pixels.shape[0], size[1], pixels.shape[2]), np.float32)
    for index, weight in zip(*_area_taps(pixels.shape[1], size[1]), strict=True):
        wide += pixels[:, index].astype(np.float32) * weight[None, :, None]
    small = np.zeros((*size, pixels.shape[2]), np.float32)
    for index, weight in zip(*_area_taps(pixels.shape[0], size[0]), strict=True):
        small += wide[index] * weight[:, None, None]
    return np.rint(small).clip(0, 255).astype(np.uint8)


def _area_taps(source: int, target: int) -> tuple[np.ndarray, np.ndarray]:
    """Source index and share of each tap of each target pixel, both [taps, target]; unused taps weigh 0."""
    scale = source / target
    taps: list[list[tuple[int, float]]] = []
    for start in np.arange(target) * scale:
        end = start + scale
        width = min(scale, source - start)
        last = min(int(np.floor(end)), source - 1)
        first = min(int(np.ceil(start)), last)
        row = [(index, 1.0 / width) for index in range(first, last)]
        # Slivers below 1e-3 are left out, as OpenCV does.
        if first - start > 1e-3:
            row.insert(0, (first - 1, (first - start) / width))
        if end - last > 1e-3:
            row.append((last, min(end - last, 1.0, width) / width))
        taps.append(row)
    depth = max(map(len, taps))
    padded = np.array([row + [(0, 0.0)] * (depth - len(row)) for row in taps])  # [target, taps, 2]
    return padded[:, :, 0].T.astype(np.int64), padded[:, :, 1].T.astype(np.float32)


def _grow_linearly(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    top, bottom, rows0, rows1 = _linear_taps(pixels.shape[0], size[0])
    left, right, columns0, columns1 = _linear_taps(pixels.shape[1], size[1])
    # Past the border OpenCV gives columns one tap of full weight, but rows two taps of the same pixels.
    outside = left == right
    columns0, columns1 = np.where(outside, 2048, columns0), np.where(outside, 0, columns1)
    source = pixels.astype(np.int32)
    # 11-bit weights; OpenCV drops 4 bits before the vertical product, 16 after it, and rounds the last 2.
    wide = source[:, left] * columns0[None, :, None] + source[:, right] * columns1[None, :, None]
    upper = ((wide[top] >> 4) * rows0[:, None, None]) >> 16
    lower = ((wide[bottom] >> 4) * rows1[:, None, None]) >> 16
    return ((upper + lower + 2) >> 2).clip(0, 255).astype(np.uint8)


def _linear_taps(source: int, target: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    position = ((np.arange(target) + 0.5) * (1.0 / (target / source)) - 0.5).astype(np.float32)
    first = np.floor(position).astype(np.int64)
    fraction = position - first.astype(np.float32)
    weight0 = np.rint((1.0 - fraction) * 2048).astype(np.int32)
    weight1 = np.rint(fraction * 2048).astype(np.int32)
    return first.clip(0, source - 1), (first + 1).clip(0, source - 1), weight0, weight1
