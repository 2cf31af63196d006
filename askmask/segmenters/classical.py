"""A segmenter without weights: colour models inside and outside a box, smoothed; regions by colour for the pool.

In the spirit of GrabCut (Rother, Kolmogorov and Blake 2004), with small k-means palettes for the mixtures and
smoothed likelihoods for the graph cut: numpy and scipy, deterministic, any machine. It follows things that differ
in colour from what surrounds their box. It is no match for SAM2; it lets the engine run anywhere.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image
from scipy import ndimage

from askmask.errors import PromptError
from askmask.imaging.mask import Mask
from askmask.segmenters.segmenter import BoxXyxy, Marked, ScoredMask, suppress

WORK_PX = 256  # longer side at which it works
ROUNDS = 4
PALETTE = 5
SAME_COLOUR = 20.0  # grey levels around a point outside
SMALLEST_SHARE = 0.0015  # of the picture: smaller regions are not offered


class ClassicalSegmenter:
    """Box -> mask by colour; `everything` by quantised colour and connectedness."""

    def segment_boxes(self, rgb: np.ndarray, boxes_xyxy: Sequence[BoxXyxy]) -> list[ScoredMask]:
        """Return a mask and how clearly it stands out, for each box."""
        lab, scale = _working_copy(rgb)
        return [self._segment(rgb.shape[:2], lab, scale, box) for box in boxes_xyxy]

    def encode(self, rgb: np.ndarray) -> np.ndarray:
        """Return the picture: nothing is known of it beforehand."""
        return rgb

    def draw(self, encoded: np.ndarray, marked: Sequence[Marked]) -> list[ScoredMask]:
        """Return a mask for each box, less the pieces of it that lie apart from the points inside, if any are hit.

        Points without a box get one of a quarter of the picture around the first. What has the colour around a point
        outside is left out.
        """
        results: list[ScoredMask] = []
        height, width = encoded.shape[:2]
        lab, scale = _working_copy(encoded)
        for one in marked:
            inside = [(x, y) for x, y, within in one.points if within]
            box = one.box
            if box is None:
                if not inside:
                    raise PromptError("a box, or a point inside, is needed")
                x, y = inside[0]
                box = (
                    max(0.0, x - width / 8), max(0.0, y - height / 8),
                    min(float(width), x + width / 8), min(float(height), y + height / 8),
                )  # fmt: skip
            outside = [(x * scale, y * scale) for x, y, within in one.points if not within]
            mask, score = self._segment((height, width), lab, scale, box, outside)
            results.append((_hit(mask, inside), score))
        return results

    def everything(self, rgb: np.ndarray) -> list[ScoredMask]:
        """Return connected regions of like colour, coarse and fine."""
        lab, _ = _working_copy(rgb)
        found: list[ScoredMask] = []
        smooth = ndimage.gaussian_filter(lab, (1.0, 1.0, 0))
        contrast = ndimage.gaussian_gradient_magnitude(lab[..., 0], 1.0)
        for colours in (4, 8, 14):
            labels = _nearest(smooth, _palette(smooth.reshape(-1, 3), colours))[0]
            for colour in range(colours):
                parts, count = ndimage.label(labels == colour)
                sizes = np.bincount(parts.ravel(), minlength=count + 1)
                places = ndimage.find_objects(parts)
                for part in np.nonzero(sizes[1:] > SMALLEST_SHARE * labels.size)[0]:
                    place = places[part]
                    region = ndimage.binary_closing(np.pad(parts[place] == part + 1, 2))
                    region = ndimage.binary_fill_holes(region)[2:-2, 2:-2]
                    edge = region & ~ndimage.binary_erosion(region)
                    score = float(np.clip(contrast[place][edge].mean() / 12, 0, 1))
                    whole = _paste(region, lab.shape[:2], place[1].start, place[0].start)
                    found.append((Mask.from_array(whole), round(score, 4)))
        # Compared while small, enlarged after: the pool of a large picture would take seconds otherwise.
        return [(_to_mask(mask.to_array(), rgb.shape[:2]), score) for mask, score in suppress(found)]

    def _segment(
        self,
        size: tuple[int, ...],
        lab: np.ndarray,
        scale: float,
        box: BoxXyxy,
        outside: Sequence[tuple[float, float]] = (),
    ) -> ScoredMask:
        height, width = lab.shape[:2]
        x0, y0 = int(max(0, box[0] * scale)), int(max(0, box[1] * scale))
        x1 = int(min(width, max(x0 + 1, np.ceil(box[2] * scale))))
        y1 = int(min(height, max(y0 + 1, np.ceil(box[3] * scale))))
        # What surrounds the box is background; a wide ring, so that it has the colours found inside too.
        ring = max(4, int(0.35 * max(x1 - x0, y1 - y0)))
        wx0, wy0, wx1, wy1 = (
            max(0, x0 - ring),
            max(0, y0 - ring),
            min(width, x1 + ring),
            min(height, y1 + ring),
        )
        window = lab[wy0:wy1, wx0:wx1]
        inside = np.zeros(window.shape[:2], bool)
        inside[y0 - wy0 : y1 - wy0, x0 - wx0 : x1 - wx0] = True
        for x, y in outside:
            inside &= ~_like(window, x - wx0, y - wy0)
        if inside.all() or inside.sum() < 4:
            return _to_mask(_paste(inside, lab.shape[:2], wx0, wy0), size), 0.3
        region = inside & _ellipse(x0 - wx0, y0 - wy0, x1 - wx0, y1 - wy0, window.shape[:2])
        region = region if region.any() else inside
        evidence = np.zeros(window.shape[:2])
        for _ in range(ROUNDS):
            near = _nearest(window, _palette(window[region], PALETTE))[1]
            far = _nearest(window, _palette(window[~inside], PALETTE))[1]
            evidence = ndimage.gaussian_filter(far - near, 1.0)
            grown = inside & (evidence > 0)
            if grown.sum() < 0.03 * inside.sum():
                break
            region = grown
        region = ndimage.binary_fill_holes(
            ndimage.binary_opening(region, iterations=1) | (region & (evidence > 10))
        )
        parts, count = ndimage.label(region)
        if count > 1:
            sizes = ndimage.sum_labels(region, parts, np.arange(1, count + 1))
            region = np.isin(parts, np.nonzero(sizes >= 0.2 * sizes.max())[0] + 1)
        region &= inside
        if not region.any():
            region = inside & _ellipse(x0 - wx0, y0 - wy0, x1 - wx0, y1 - wy0, window.shape[:2])
        score = float(np.clip(evidence[region].mean() / 30, 0, 1))
        return _to_mask(_paste(region, lab.shape[:2], wx0, wy0), size), round(score, 4)


def _working_copy(rgb: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the picture as CIELAB-like float32 [h, w, 3], and the scale."""
    height, width = rgb.shape[:2]
    scale = min(1.0, WORK_PX / max(height, width))
    image = Image.fromarray(rgb)
    if scale < 1:
        image = image.resize(
            (max(1, round(width * scale)), max(1, round(height * scale))), Image.Resampling.BOX
        )
    array = np.asarray(image, dtype=np.float32)
    luma = array @ np.array([0.299, 0.587, 0.114], np.float32)
    # Lightness counts half: shading changes it within one thing.
    return np.stack([0.5 * luma, array[..., 0] - luma, array[..., 2] - luma], axis=-1), scale


def _palette(pixels: np.ndarray, colours: int) -> np.ndarray:
    """Return cluster centres [k, 3] by k-means from evenly spread starting points; deterministic."""
    pixels = pixels.reshape(-1, 3)
    pixels = pixels[:: max(1, len(pixels) // 1500)]
    order = np.argsort(pixels @ np.array([1.0, 0.7, 0.4], np.float32), kind="stable")
    starts = np.linspace(0, len(pixels) - 1, min(colours, len(pixels))).astype(int)
    centres = pixels[order[starts]]
    for _ in range(5):
        labels = _nearest(pixels, centres)[0]
        centres = np.stack(
            [
                pixels[labels == k].mean(axis=0) if (labels == k).any() else centres[k]
                for k in range(len(centres))
            ]
        )
    return centres


def _nearest(pixels: np.ndarray, centres: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the index of and the distance to the nearest centre for [..., 3]."""
    flat = pixels.reshape(-1, 3)
    squares = (flat**2).sum(1)[:, None] - 2 * flat @ centres.T + (centres**2).sum(1)  # [N, k]
    index = squares.argmin(axis=1)
    nearest = np.sqrt(np.maximum(squares[np.arange(len(flat)), index], 0))
    return index.reshape(pixels.shape[:-1]), nearest.reshape(pixels.shape[:-1])


def _ellipse(x0: int, y0: int, x1: int, y1: int, size: tuple[int, ...]) -> np.ndarray:
    y, x = np.ogrid[: size[0], : size[1]]
    rx, ry = max(1.0, (x1 - x0) / 2), max(1.0, (y1 - y0) / 2)
    return ((x + 0.5 - (x0 + x1) / 2) / rx) ** 2 + ((y + 0.5 - (y0 + y1) / 2) / ry) ** 2 <= 0.7


def _like(window: np.ndarray, x: float, y: float) -> np.ndarray:
    """Return the connected part around a place that has its colour, as bool [h, w]; none for a place off the window."""
    height, width = window.shape[:2]
    if not (0 <= x < width and 0 <= y < height):
        return np.zeros((height, width), bool)
    near = np.linalg.norm(window - window[int(y), int(x)], axis=-1) < SAME_COLOUR
    parts, _ = ndimage.label(near)
    return parts == parts[int(y), int(x)]


def _paste(region: np.ndarray, size: tuple[int, ...], x: int, y: int) -> np.ndarray:
    whole = np.zeros(size, bool)
    whole[y : y + region.shape[0], x : x + region.shape[1]] = region
    return whole


def _hit(mask: Mask, points: Sequence[tuple[float, float]]) -> Mask:
    """Return the connected pieces that points lie in; the whole mask where they hit none."""
    parts, count = ndimage.label(mask.to_array())
    height, width = mask.size
    hit = {int(parts[min(int(y), height - 1), min(int(x), width - 1)]) for x, y in points} - {0}
    return Mask.from_array(np.isin(parts, list(hit))) if hit and len(hit) < count else mask


def _to_mask(region: np.ndarray, size: tuple[int, ...]) -> Mask:
    if region.shape != tuple(size):
        image = Image.fromarray(region.astype(np.uint8) * 255)
        region = np.asarray(image.resize((size[1], size[0]), Image.Resampling.BILINEAR)) >= 128
    return Mask.from_array(region)
