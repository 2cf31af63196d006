"""What a model sees of masks: a region filled, outlined and framed in a tint that stands out, or many numbered.

The tint is chosen per region from the picture's own colours; its name goes into the instructions. The frame keeps a
gap to the mask, so that it is not read as part of it.
"""

from __future__ import annotations

import numpy as np
from PIL import ImageDraw, ImageFont
from scipy import ndimage

from askmask.imaging.mask import Mask
from askmask.imaging.overlay import fit, paint, standing_out, to_image

# Red first: verifiers have seen most of it.
TINTS = {
    "red": (255, 20, 20),
    "green": (0, 235, 60),
    "blue": (30, 60, 255),
    "yellow": (255, 235, 0),
    "magenta": (255, 0, 220),
    "cyan": (0, 225, 255),
}
FILL, NUMBERED_FILL = 0.5, 0.35
FRAME_GAP_PX = 3


def tint_for(rgb: np.ndarray, inside: np.ndarray) -> str:
    """Return the name of the tint that stands out from the region's colours."""
    return list(TINTS)[standing_out(rgb, inside, list(TINTS.values()))]


def mark(rgb: np.ndarray, mask: Mask, tint: str) -> np.ndarray:
    """Return the picture (any scale of the mask's) with the mask filled, outlined and framed in `tint`."""
    inside = fit(mask, rgb.shape[:2])
    marked = rgb.astype(np.float32)
    paint(marked, inside, TINTS[tint], FILL)
    image = to_image(marked)
    rows, columns = np.nonzero(inside.any(axis=1))[0], np.nonzero(inside.any(axis=0))[0]
    if len(rows):
        x0, y0 = int(columns[0]) - FRAME_GAP_PX, int(rows[0]) - FRAME_GAP_PX
        x1, y1 = int(columns[-1]) + FRAME_GAP_PX, int(rows[-1]) + FRAME_GAP_PX
        # A side that would touch the mask at the picture's edge is not drawn.
        ImageDraw.Draw(image).rectangle((x0, y0, x1, y1), outline=TINTS[tint])
    return np.array(image)


def mark_numbered(rgb: np.ndarray, masks: dict[int, Mask]) -> np.ndarray:
    """Return the picture with every mask tinted and outlined in its own colour and its number on it."""
    marked = rgb.astype(np.float32)
    inside = {number: fit(mask, rgb.shape[:2]) for number, mask in masks.items()}
    tints = list(TINTS.values())
    colours = {number: tints[i % len(tints)] for i, number in enumerate(sorted(masks))}
    for number in sorted(masks, key=lambda n: -inside[n].sum()):  # small ones on top
        paint(marked, inside[number], colours[number], NUMBERED_FILL)
    image = to_image(marked)
    draw = ImageDraw.Draw(image)
    size = max(10, min(rgb.shape[:2]) // 24)
    font = ImageFont.load_default(size)
    for number in sorted(masks):
        if not inside[number].any():
            continue
        ((rows, columns),) = ndimage.find_objects(inside[number].astype(np.uint8))
        depth = ndimage.distance_transform_edt(np.pad(inside[number][rows, columns], 1))[1:-1, 1:-1]
        y, x = (int(v) for v in np.unravel_index(int(depth.argmax()), depth.shape))
        y, x = y + rows.start, x + columns.start
        box = draw.textbbox((x, y), str(number), font=font, anchor="mm")
        draw.rectangle((box[0] - 2, box[1] - 2, box[2] + 2, box[3] + 2), fill=(0, 0, 0))
        draw.text((x, y), str(number), fill=(255, 255, 255), font=font, anchor="mm")
    return np.array(image)
