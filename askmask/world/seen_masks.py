"""Read a mask off two pictures: the original and the same with a region filled, outlined and framed.

Knows nothing of colours or line widths: what differs is marked, and what is thin and outermost is the frame.
"""

from __future__ import annotations

import numpy as np
from PIL import Image
from scipy import ndimage

LEAST_CHANGE = 26  # grey levels; twice what JPEG at quality 92 does beside an outline
THIN = 2.5  # px, half the width of a line


def seen_mask(original: np.ndarray, marked: np.ndarray) -> np.ndarray:
    """Return bool [H, W]: the marked region without its frame."""
    changed = np.abs(original.astype(np.int16) - marked.astype(np.int16)).max(axis=2) >= LEAST_CHANGE
    components, count = ndimage.label(changed, structure=np.ones((3, 3)))
    if not count:
        return changed
    rows, columns = np.nonzero(changed.any(axis=1))[0], np.nonzero(changed.any(axis=0))[0]
    depth = ndimage.distance_transform_edt(np.pad(changed, 1))[1:-1, 1:-1]
    deepest = ndimage.maximum(depth, components, np.arange(1, count + 1))
    region = np.zeros_like(changed)
    for number, place in enumerate(ndimage.find_objects(components), start=1):
        outermost = (
            place[0].start == rows[0]
            or place[0].stop == rows[-1] + 1
            or place[1].start == columns[0]
            or place[1].stop == columns[-1] + 1
        )
        if not (outermost and deepest[number - 1] < THIN):
            region |= components == number
    if not region.any():
        return changed  # a region as thin as a line
    # Pixels that already had the tint's colour show no change: they are holes of a few pixels.
    return ndimage.binary_closing(np.pad(region, 2))[2:-2, 2:-2] | region


def shrink_mask(mask: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """Return bool [H, W] at the size a model was sent."""
    if mask.shape == tuple(size):
        return mask
    image = Image.fromarray(mask.astype(np.uint8) * 255)
    return np.asarray(image.resize((size[1], size[0]), Image.Resampling.BOX)) >= 128
