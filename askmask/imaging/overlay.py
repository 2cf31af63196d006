"""The one painter of masks: fill, outline, colours that stand out, legends and contact sheets.

Pillow and numpy; knows no model and no answer. A canvas is float32 [H, W, 3] in 0..255, painted in place.
"""

from __future__ import annotations

import colorsys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from askmask.imaging.colour import clearest
from askmask.imaging.lettering import NO_FONT, Lettering
from askmask.imaging.mask import Mask

Colour = tuple[int, int, int]
# Distinct for colour-blind eyes too (Okabe and Ito 2008), vivid ones first.
COLOURS: tuple[Colour, ...] = (
    (0, 158, 115),
    (230, 159, 0),
    (86, 180, 233),
    (204, 121, 167),
    (213, 94, 0),
    (240, 228, 66),
    (0, 114, 178),
)
# For further layers: what is lighter, darker or of another hue than those, to colour-blind eyes as well.
MORE: tuple[Colour, ...] = (
    (255, 255, 255),
    (20, 20, 60),
    (170, 255, 60),
    (150, 0, 130),
    (255, 190, 170),
    (0, 70, 60),
    (130, 70, 20),
    (0, 235, 235),
)
FILL = 0.45
NARROWEST_SHEET = 320  # px; a legend needs room for words
SMALLEST_SIDE = 384  # smaller pictures are enlarged before drawing, so that outline and words can be read
THINNEST, THICKEST = 2, 12  # px of an outline; of one pixel nobody sees the colour
BAND_PX = 1 << 16  # what is worked on at once
DENSE = 0.15  # share of a band's pixels from which it is faster to compute all of them
MOST_SHEET_PX = 64 << 20  # larger sheets are drawn smaller


@dataclass(frozen=True, slots=True)
class Layer:
    """What to draw in one colour: masks, and the two texts of its legend line."""

    masks: Sequence[Mask]
    title: str
    note: str = ""


def blend(canvas: np.ndarray, area: np.ndarray, colour: Sequence[float], share: float) -> None:
    """Mix `colour` into the canvas where `area` [H, W] is: bool, or float 0..1 for soft edges."""
    paint = np.array(colour, np.float32)
    if area.dtype != bool:
        alpha = share * area[..., None].astype(np.float32)
        canvas[:] = canvas * (1 - alpha) + paint * alpha
        return
    place = _around(area, 0)
    if place is None:
        return
    canvas, area = canvas[place], area[place]
    for band in _bands(area.shape):
        pixels, inside = canvas[band], area[band]
        if inside.mean() > DENSE:
            np.copyto(pixels, (1 - share) * pixels + share * paint, where=inside[..., None])
        else:
            pixels[inside] = (1 - share) * pixels[inside] + share * paint


def paint(canvas: np.ndarray, area: np.ndarray, colour: Sequence[float], share: float = 0.5) -> None:
    """Fill a bool area [H, W] with a tint and outline it, one pixel wide, inside."""
    blend(canvas, area, colour, share)
    canvas[edge_of(area)] = np.array(colour, np.float32)


def edge_of(area: np.ndarray) -> np.ndarray:
    """Return the pixels of a bool area that have a neighbour (of four) outside it or outside the picture."""
    around = np.pad(area, 1)
    inner = around[:-2, 1:-1] & around[2:, 1:-1] & around[1:-1, :-2] & around[1:-1, 2:]
    return area & ~inner


def grown(area: np.ndarray, steps: int) -> np.ndarray:
    """Return a bool area grown by `steps` pixels in the four directions."""
    for _ in range(steps):
        padded = np.pad(area, 1)
        area = area | padded[:-2, 1:-1] | padded[2:, 1:-1] | padded[1:-1, :-2] | padded[1:-1, 2:]
    return area


def standing_out(rgb: np.ndarray, area: np.ndarray, colours: Sequence[Sequence[int]]) -> int:
    """Return which colour is clearest on an area's own: the first, unless another is clearer by a quarter.

    Clear: far from even the nearest tenth of the pixels. Red on a red car shows nothing.
    """
    pixels = rgb[area].astype(np.float32)
    if not len(pixels):
        return 0
    pixels = pixels[:: max(1, len(pixels) // 2000)]
    clearness = [float(np.percentile(np.abs(pixels - np.array(c)).sum(axis=1), 10)) for c in colours]
    best = int(np.argmax(clearness))
    return 0 if clearness[0] > 0.8 * clearness[best] else best


def palette(count: int) -> np.ndarray:
    """Return colours that can be told apart, uint8 [count, 3]: COLOURS, then hues far from one another."""
    more = (
        colorsys.hls_to_rgb(n * 0.618034 % 1, (0.45, 0.65, 0.55)[n % 3], 0.75)
        for n in range(count - len(COLOURS))
    )
    drawn = [*COLOURS, *((round(r * 255), round(g * 255), round(b * 255)) for r, g, b in more)]
    return np.array(drawn[:count], np.uint8)


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


def to_image(canvas: np.ndarray) -> Image.Image:
    """Return a canvas as a picture."""
    pixels = np.empty(canvas.shape, np.uint8)
    for band in _bands(canvas.shape):
        pixels[band] = canvas[band].round().clip(0, 255)
    return Image.fromarray(pixels)


def contact_sheet(
    tiles: Sequence[Image.Image], columns: int, *, gap: int = 0, paper: Colour = (255, 255, 255)
) -> Image.Image:
    """Lay tiles out in rows, as if all had the size of the largest."""
    width, height = max(t.width for t in tiles) + gap, max(t.height for t in tiles) + gap
    page = Image.new("RGB", (columns * width + gap, -(-len(tiles) // columns) * height + gap), paper)
    for number, tile in enumerate(tiles):
        page.paste(tile, (gap + number % columns * width, gap + number // columns * height))
    return page


def draw(rgb: np.ndarray, layers: Sequence[Layer]) -> Image.Image:
    """Draw layers over uint8 [H, W, 3] in turn, the legend on a band below the picture.

    Each layer gets a colour that shows on the pixels under its edge and beside those of earlier layers, to colour-blind
    eyes as well.
    """
    rgb = _bounded(rgb)
    scale = max(1, -(-SMALLEST_SIDE // max(rgb.shape[:2])))
    canvas = _enlarged(rgb, scale).astype(np.float32)
    thickness = min(THICKEST, max(THINNEST, round(max(canvas.shape[:2]) / 400)))
    colours: list[Colour] = []
    for layer in layers:
        areas = [fit(mask, rgb.shape[:2]) for mask in layer.masks]
        whole = np.logical_or.reduce(areas) if areas else np.zeros(rgb.shape[:2], bool)
        colours.append(colour_for(rgb, whole, colours))
        blend(canvas, _enlarged(whole, scale), colours[-1], FILL)
        for area in areas:
            _outline(canvas, _enlarged(area, scale), colours[-1], thickness)
    return _with_legend(to_image(canvas), layers, colours)


def colour_for(rgb: np.ndarray, area: np.ndarray, taken: Sequence[Colour]) -> Colour:
    """Return a colour for an area [H, W] of `rgb` [H, W, 3]: one that shows on it and beside those taken by others."""
    unused = [c for c in (*COLOURS, *MORE) if c not in taken]
    if not unused:  # more layers than colours that anybody could tell apart: at least none twice in a row
        unused = [tuple(c) for c in palette(len(taken) + 12).tolist() if tuple(c) not in taken]  # type: ignore[misc]
    if not area.any():
        return unused[0]
    return unused[clearest(rgb[edge_of(area) | (grown(area, 1) & ~area)], taken, unused)]


def _outline(canvas: np.ndarray, area: np.ndarray, colour: Colour, thickness: int) -> None:
    """Outline an area inside in its colour and outside in white."""
    place = _around(area, thickness)  # growing all of the picture would be slow
    if place is None:
        return
    area, canvas = area[place], canvas[place]
    canvas[grown(area, thickness) & ~area] = 255
    canvas[area & grown(~area, thickness)] = np.array(colour, np.float32)


def _around(area: np.ndarray, margin: int) -> tuple[slice, slice] | None:
    """Return rows and columns of a bool area's box with a margin; None where it is empty."""
    rows, columns = np.nonzero(area.any(axis=1))[0], np.nonzero(area.any(axis=0))[0]
    if not len(rows):
        return None
    return np.s_[
        max(0, rows[0] - margin) : rows[-1] + margin + 1,
        max(0, columns[0] - margin) : columns[-1] + margin + 1,
    ]


def _bands(size: Sequence[int]) -> Iterator[slice]:
    """Yield the rows of an array [H, W, ...] in turn, few enough to stay in the processor's cache."""
    rows = max(1, BAND_PX // max(1, size[1]))
    return (slice(top, top + rows) for top in range(0, size[0], rows))


def _bounded(rgb: np.ndarray) -> np.ndarray:
    """Return the picture so small that its sheet with the legend fits into memory."""
    height, width = rgb.shape[:2]
    while height * max(width, NARROWEST_SHEET) > MOST_SHEET_PX:
        height, width = max(1, height // 2), max(1, width // 2)
    if (height, width) == rgb.shape[:2]:
        return rgb
    return np.asarray(Image.fromarray(rgb).resize((width, height), Image.Resampling.BOX))


def _enlarged(array: np.ndarray, scale: int) -> np.ndarray:
    return array if scale == 1 else np.repeat(np.repeat(array, scale, 0), scale, 1)


def _with_legend(picture: Image.Image, layers: Sequence[Layer], colours: Sequence[Colour]) -> Image.Image:
    width = max(picture.width, NARROWEST_SHEET)
    size = int(np.clip(width / 36, 13, 40))
    letters, pad = Lettering(size), size // 2
    room = width - 4 * pad - size
    lines: list[tuple[int | None, str]] = []
    for index, layer in enumerate(layers):
        text = " ".join(layer.title.split())[:400] or "(no words)"
        text = letters.shown(f"{text}   [{layer.note}]" if layer.note else text)
        wrapped = _wrap(text, letters, room)
        lines += [(index if n == 0 else None, line) for n, line in enumerate(wrapped)]
    if letters.lacking:
        lines += [(None, line) for line in _wrap(f"({NO_FONT})", letters, room)]
    step = round(size * 1.45)
    sheet = Image.new("RGB", (width, picture.height + 2 * pad + step * len(lines)), (250, 250, 250))
    sheet.paste(picture)
    pen = ImageDraw.Draw(sheet)
    top = picture.height + pad
    for number, (colour, line) in enumerate(lines):
        y = top + number * step
        if colour is not None and any(layers[colour].masks):  # nothing drawn, nothing to look up
            box = (pad, y + step // 2 - size // 2, pad + size, y + step // 2 + size // 2)
            pen.rectangle(box, fill=colours[colour], outline=(60, 60, 60))
        letters.draw(pen, (2 * pad + size, y + step // 2), line, (20, 20, 20))
    return sheet


def _wrap(text: str, letters: Lettering, room: int) -> list[str]:
    lines, line = [], ""
    for word in text.split(" "):
        while letters.length(word) > room and len(word) > 1:  # one long word: cut it
            cut = max(1, int(len(word) * room / letters.length(word)))
            lines += [line] if line else []
            lines, line, word = [*lines, word[:cut]], "", word[cut:]
        if line and letters.length(f"{line} {word}") > room:
            lines, line = [*lines, line], word
        else:
            line = f"{line} {word}" if line else word
    return [*lines, line] if line.strip() else lines or [""]
