"""What a model sees of masks: a region filled, outlined and framed in a tint that stands out, or many numbered.

The tint is chosen per region from the picture's own colours, since red on a red car shows nothing; its name goes
into the instructions. The frame keeps a gap to the mask, so that it is not read as part of it.
"""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from askmask.imaging.mask import Mask

TINTS = {
    "red": (255, 20, 20),
    "green": (0, 235, 60),
    "blue": (30, 60, 255),
    "yellow": (255, 235, 0),
    "magenta": (255, 0, 220),
    "cyan": (0, 225, 255),
}
FILL = 0.5
FRAME_GAP_PX = 3


def tint_for(rgb: np.ndarray, inside: np.ndarray) -> str:
    """Return the name of the tint farthest from the region's colours (10th percentile of distances)."""
    pixels = rgb[inside].astype(np.float32)
    if not len(pixels):
        return "red"
    pixels = pixels[:: max(1, len(pixels) // 2000)]

    def clearness(name: str) -> float:
        return float(np.percentile(np.abs(pixels - np.array(TINTS[name])).sum(axis=1), 10))

    best = max(TINTS, key=clearness)
    # Red is what verifiers have seen most; another tint must be clearly better to replace it.
    return "red" if clearness("red") > 0.8 * clearness(best) else best


def mark(rgb: np.ndarray, mask: Mask, tint: str) -> np.ndarray:
    """Return the picture (any scale of the mask's) with the mask filled, outlined and framed in `tint`."""
    inside = fit(mask, rgb.shape[:2])
    colour = np.array(TINTS[tint], dtype=np.float32)
    marked = rgb.astype(np.float32)
    marked[inside] = (1 - FILL) * marked[inside] + FILL * colour
    marked[inside & ~ndimage.binary_erosion(inside)] = colour
    marked = marked.round().astype(np.uint8)
    rows, columns = np.nonzero(inside.any(axis=1))[0], np.nonzero(inside.any(axis=0))[0]
    if len(rows):
        x0, y0 = int(columns[0]) - FRAME_GAP_PX, int(rows[0]) - FRAME_GAP_PX
        x1, y1 = int(columns[-1]) + FRAME_GAP_PX, int(rows[-1]) + FRAME_GAP_PX
        # A side that would touch the mask at the picture's edge is not drawn.
        ImageDraw.Draw(image := Image.fromarray(marked)).rectangle((x0, y0, x1, y1), outline=TINTS[tint])
        marked = np.array(image)
    return marked


def mark_numbered(rgb: np.ndarray, masks: dict[int, Mask]) -> np.ndarray:
    """Return the picture with every mask tinted and outlined in its own colour and its number on it."""
    marked = rgb.astype(np.float32)
    inside = {number: fit(mask, rgb.shape[:2]) for number, mask in masks.items()}
    colours = {
        number: np.array(list(TINTS.values())[i % len(TINTS)], dtype=np.float32)
        for i, number in enumerate(sorted(masks))
    }
    for number in sorted(masks, key=lambda n: -inside[n].sum()):  # small ones on top
        region = inside[number]
        marked[region] = 0.65 * marked[region] + 0.35 * colours[number]
        marked[region & ~ndimage.binary_erosion(region)] = colours[number]
    image = Image.fromarray(marked.round().astype(np.uint8))
    draw = ImageDraw.Draw(image)
    size = max(10, min(rgb.shape[:2]) // 24)
    font = ImageFont.load_default(size)
    for number in sorted(masks):
        if not inside[number].any():
            continue
        depth = ndimage.distance_transform_edt(np.pad(inside[number], 1))[1:-1, 1:-1]
        y, x = (int(v) for v in np.unravel_index(int(depth.argmax()), depth.shape))
        box = draw.textbbox((x, y), str(number), font=font, anchor="mm")
        draw.rectangle((box[0] - 2, box[1] - 2, box[2] + 2, box[3] + 2), fill=(0, 0, 0))
        draw.text((x, y), str(number), fill=(255, 255, 255), font=font, anchor="mm")
    return np.array(image)


def fit(mask: Mask, size: tuple[int, ...]) -> np.ndarray:
    """Return the mask as bool [H, W] at `size`; a non-empty mask keeps at least one pixel."""
    array = mask.to_array()
    if array.shape == tuple(size):
        return array
    image = Image.fromarray(array.astype(np.uint8) * 255)
    small = np.asarray(image.resize((size[1], size[0]), Image.Resampling.BOX)) >= 128
    if array.any() and not small.any():
        y, x = (int(v.mean()) for v in np.nonzero(array))
        small = small.copy()
        small[y * size[0] // array.shape[0], x * size[1] // array.shape[1]] = True
    return small
