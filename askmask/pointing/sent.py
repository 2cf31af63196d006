"""The picture as it is sent, of a size that servers leave as it is, and the way from its pixels back.

Servers resize what they do not like and models then answer in pixels nobody sees; so sides are multiples of the
model's patches, and the number of image tokens lies where models see best (1024 to 2048, says Qwen's staff).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from askmask.pointing.conventions import Convention
from askmask.vlm.pictures import SentPicture

TOKENS = 1024  # at least; 28 x 28 or 32 x 32 px each: .8 or 1.05 megapixels, below the caps of local servers
MOST_SIDES = 3.0  # a longer side beyond so many shorter ones is padded: models misplace things in strips
PADDING = (127, 127, 127)


@dataclass(frozen=True)
class Sent:
    """A picture as sent. `scale` (x, y): pixels sent for each pixel of the picture; padding is right or below."""

    picture: SentPicture
    original: tuple[int, int]  # (height, width) of the picture
    scale: tuple[float, float]

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) as sent."""
        return self.picture.size

    @property
    def nbytes(self) -> int:
        """Memory of its pixels."""
        return self.picture.rgb.nbytes


@dataclass
class Clip:
    """Brings places back into the picture's pixels, clipped to it; counts those that lay outside."""

    sent: Sent
    convention: Convention
    places: int = 0
    outside: int = field(default=0)

    def back(self, first: float, second: float) -> tuple[float, float]:
        """Return (x, y) in pixels of the picture from two numbers as the model wrote them."""
        x, y = self.convention.xy(first, second, self.sent.size)
        x, y = x / self.sent.scale[0], y / self.sent.scale[1]
        height, width = self.sent.original
        # Half a percent beyond the edge is rounding, not another convention.
        slack_x, slack_y = width * 0.005 + 1, height * 0.005 + 1
        self.places += 1
        self.outside += not (-slack_x <= x <= width + slack_x and -slack_y <= y <= height + slack_y)
        return min(max(x, 0.0), float(width)), min(max(y, 0.0), float(height))


def size_to_send(
    size: tuple[int, int], multiple: int, tokens: int = TOKENS
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return (height, width) to send and, in it, of the picture itself; the rest is padding."""
    height, width = size
    padded = max(height, width / MOST_SIDES), max(width, height / MOST_SIDES)
    scale = math.sqrt(tokens * multiple * multiple / (padded[0] * padded[1]))
    whole = [max(multiple, math.ceil(side * scale / multiple - 1e-6) * multiple) for side in padded]
    inner = [
        full if side == pad else max(1, min(full, round(side * scale)))
        for full, side, pad in zip(whole, (height, width), padded, strict=True)
    ]
    return (whole[0], whole[1]), (inner[0], inner[1])


def to_send(rgb: np.ndarray, convention: Convention, name: str = "the picture") -> Sent:
    """Resize uint8 [H, W, 3] for a model; smaller pictures are enlarged, strips padded in grey."""
    size = (rgb.shape[0], rgb.shape[1])
    whole, inner = size_to_send(size, convention.multiple)
    image = Image.fromarray(rgb)
    if inner != size:
        image = image.resize((inner[1], inner[0]), Image.Resampling.LANCZOS)
    if inner != whole:
        canvas = Image.new("RGB", (whole[1], whole[0]), PADDING)
        canvas.paste(image, (0, 0))
        image = canvas
    return Sent(SentPicture(np.array(image), name), size, (inner[1] / size[1], inner[0] / size[0]))
