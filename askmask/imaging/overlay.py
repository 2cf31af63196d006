"""Draw masks on pictures: fill, outline, and a legend below. Pillow and numpy; knows no model and no answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from askmask.imaging.mask import Mask, union_of

# Distinct for colour-blind eyes too (Okabe and Ito 2008), vivid ones first.
COLOURS = (
    (0, 158, 115),
    (230, 159, 0),
    (86, 180, 233),
    (204, 121, 167),
    (213, 94, 0),
    (240, 228, 66),
    (0, 114, 178),
)
FILL = 0.45
SMALLEST_SIDE = 384  # smaller pictures are enlarged before drawing, so that outline and words can be read
FONTS = (
    "NotoSansCJK-Regular.ttc",
    "Arial Unicode.ttf",
    "DejaVuSans.ttf",
    "Arial.ttf",
    "LiberationSans-Regular.ttf",
)


Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@dataclass(frozen=True, slots=True)
class Layer:
    """What to draw in one colour: masks, and the two texts of its legend line."""

    masks: Sequence[Mask]
    title: str
    note: str = ""


def draw(rgb: np.ndarray, layers: Sequence[Layer]) -> Image.Image:
    """Draw layers over uint8 [H, W, 3] in turn, the legend on a band below the picture."""
    height, width = rgb.shape[:2]
    scale = max(1, -(-SMALLEST_SIDE // max(height, width)))
    canvas = np.repeat(np.repeat(rgb, scale, 0), scale, 1).astype(np.float32)
    thickness = max(1, round(max(canvas.shape[:2]) / 400))
    for index, layer in enumerate(layers):
        colour = np.array(COLOURS[index % len(COLOURS)], np.float32)
        area = _grow(union_of(layer.masks, (height, width)).to_array(), scale)
        canvas[area] = canvas[area] * (1 - FILL) + colour * FILL
        for mask in layer.masks:
            inside = _grow(mask.to_array(), scale)
            edge = inside & ~_erode(inside, thickness)
            halo = _dilate(inside, thickness) & ~inside
            canvas[halo] = 255
            canvas[edge] = colour
    picture = Image.fromarray(canvas.clip(0, 255).astype(np.uint8))
    return _with_legend(picture, layers)


def _with_legend(picture: Image.Image, layers: Sequence[Layer]) -> Image.Image:
    size = int(np.clip(picture.width / 36, 13, 40))
    font, pad = font_of(size), size // 2
    room = picture.width - 4 * pad - size
    lines: list[tuple[int | None, str]] = []
    for index, layer in enumerate(layers):
        text = " ".join(layer.title.split())[:400] or "(no words)"
        wrapped = _wrap(f"{text}   [{layer.note}]" if layer.note else text, font, room)
        lines += [(index if n == 0 else None, line) for n, line in enumerate(wrapped)]
    step = round(size * 1.45)
    sheet = Image.new("RGB", (picture.width, picture.height + 2 * pad + step * len(lines)), (250, 250, 250))
    sheet.paste(picture)
    pen = ImageDraw.Draw(sheet)
    top = picture.height + pad
    for number, (colour, line) in enumerate(lines):
        y = top + number * step
        if colour is not None:
            box = (pad, y + step // 2 - size // 2, pad + size, y + step // 2 + size // 2)
            pen.rectangle(box, fill=COLOURS[colour % len(COLOURS)], outline=(60, 60, 60))
        pen.text((2 * pad + size, y + step // 2), line, font=font, fill=(20, 20, 20), anchor="lm")
    return sheet


def _wrap(text: str, font: Font, room: int) -> list[str]:
    lines, line = [], ""
    for word in text.split(" "):
        while font.getlength(word) > room and len(word) > 1:  # one long word: cut it
            cut = max(1, int(len(word) * room / font.getlength(word)))
            lines += [line] if line else []
            lines, line, word = [*lines, word[:cut]], "", word[cut:]
        if line and font.getlength(f"{line} {word}") > room:
            lines, line = [*lines, line], word
        else:
            line = f"{line} {word}" if line else word
    return [*lines, line] if line.strip() else lines or [""]


@lru_cache(maxsize=16)
def font_of(size: int) -> Font:
    """Return a font of a height in pixels: one of the system's with many scripts, else Pillow's own."""
    for name in FONTS:
        try:
            return ImageFont.truetype(name, size)
        except OSError:
            continue
    for path in sorted(Path("/usr/share/fonts").rglob("*CJK*.tt[cf]"))[:1]:
        return ImageFont.truetype(str(path), size)
    return ImageFont.load_default(size)


def _grow(area: np.ndarray, scale: int) -> np.ndarray:
    return np.repeat(np.repeat(area, scale, 0), scale, 1)


def _dilate(area: np.ndarray, steps: int) -> np.ndarray:
    for _ in range(steps):
        padded = np.pad(area, 1)
        area = area | padded[:-2, 1:-1] | padded[2:, 1:-1] | padded[1:-1, :-2] | padded[1:-1, 2:]
    return area


def _erode(area: np.ndarray, steps: int) -> np.ndarray:
    return ~_dilate(~area, steps)
