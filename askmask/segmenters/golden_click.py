"""The golden click: any drawer that was trained, or needs no training, draws a plain disc on a plain ground."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from askmask.imaging.mask import Mask
from askmask.imaging.overlap import iou
from askmask.segmenters.segmenter import Drawer, Marked

SIZE = 240, 320  # (height, width)
DISC = (180, 60, 280, 160)  # x0, y0, x1, y1
ENOUGH = 0.8  # IoU by its box and a point inside


def golden_click(drawer: Drawer) -> float:
    """Return the IoU of the disc with what is drawn by its box and its middle."""
    image = Image.new("RGB", (SIZE[1], SIZE[0]), (200, 200, 196))
    ImageDraw.Draw(image).rectangle(
        (40, 120, 120, 200), fill=(40, 70, 200)
    )  # something else, not to be drawn
    ImageDraw.Draw(image).ellipse((DISC[0], DISC[1], DISC[2] - 1, DISC[3] - 1), fill=(200, 40, 30))
    truth = Image.new("L", image.size, 0)
    ImageDraw.Draw(truth).ellipse((DISC[0], DISC[1], DISC[2] - 1, DISC[3] - 1), fill=255)
    middle = ((DISC[0] + DISC[2]) / 2, (DISC[1] + DISC[3]) / 2, True)
    box = tuple(map(float, DISC))
    ((mask, _),) = drawer.draw(
        drawer.encode(np.array(image)), [Marked(box=(box[0], box[1], box[2], box[3]), points=(middle,))]
    )
    return iou(mask.to_array(), Mask.from_array(np.array(truth) > 0).to_array())
