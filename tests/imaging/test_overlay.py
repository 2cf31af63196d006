"""Overlays show the mask where it is, and a legend that fits any prompt."""

import tracemalloc

import numpy as np
import pytest

from askmask import Mask
from askmask.imaging import overlay
from askmask.imaging.overlay import (
    COLOURS,
    MORE,
    Layer,
    blend,
    draw,
    edge_of,
    palette,
    standing_out,
    to_image,
)

RGB = np.full((400, 500, 3), 128, np.uint8)


def test_inside_is_tinted_outside_is_untouched_and_the_picture_is_on_top():
    array = np.zeros((400, 500), bool)
    array[100:200, 100:250] = True
    drawn = np.asarray(draw(RGB, [Layer([Mask.from_array(array)], "a box", "score 0.90")]))
    assert drawn.shape[1] == 500 and drawn.shape[0] > 400
    inside, outside = drawn[150, 175].astype(int), drawn[300, 400]
    assert (outside == 128).all()
    tint = next(c for c in COLOURS if (drawn[100, 150] == c).all())  # the outline has the plain colour
    assert np.abs(inside - (0.55 * 128 + 0.45 * np.array(tint))).max() <= 1
    assert (drawn[400:] != drawn[401, 1]).any()  # something is written in the legend


@pytest.mark.parametrize("title", ["", "x" * 900, "où est 杯子? 🙂", "a\nb\tc", "word " * 100])
def test_any_prompt_fits_the_legend(title):
    assert draw(RGB, [Layer([], title)]).width == 500


def test_small_pictures_are_enlarged_until_words_can_be_read():
    image = draw(np.zeros((20, 30, 3), np.uint8), [Layer([Mask.full((20, 30))], "all")])
    assert image.width >= 384


@pytest.mark.parametrize("ground", COLOURS)
def test_a_colour_never_lies_on_its_own_kind(ground):
    rgb = np.full((60, 60, 3), ground, np.uint8)
    array = np.zeros((60, 60), bool)
    array[20:40, 20:40] = True
    chosen = COLOURS[standing_out(rgb, array, COLOURS)]
    assert np.abs(np.subtract(chosen, ground)).sum() > 200
    drawn = np.asarray(
        draw(rgb, [Layer([Mask.from_array(array)], "a"), Layer([Mask.from_array(~array)], "b")])
    )
    scale = drawn.shape[1] // 60
    inside, beside = (drawn[y * scale, y * scale].astype(int) for y in (30, 10))
    assert np.abs(inside - beside).sum() > 20  # two layers, two colours


def test_the_edge_is_one_pixel_wide_and_includes_the_pictures_border():
    area = np.zeros((9, 9), bool)
    area[0:5, 2:7] = True
    assert edge_of(area).sum() == 16 and edge_of(area)[0, 4] and not edge_of(area)[2, 4]


def test_many_colours_differ():
    colours = palette(40).astype(int)
    apart = np.abs(colours[:, None] - colours[None]).sum(-1) + 999 * np.eye(40, dtype=int)
    assert len(colours) == 40 and apart.min() > 12


def test_nothing_found_has_no_swatch_in_the_legend():
    with_mask = np.asarray(draw(RGB, [Layer([Mask.full((400, 500))], "")]))
    without = np.asarray(draw(RGB, [Layer([], "")]))
    assert any((with_mask[405:] == c).all(-1).sum() > 40 for c in COLOURS)
    assert not any((without[405:] == c).all(-1).any() for c in COLOURS)


def test_a_needle_of_a_picture_is_drawn_small_enough_for_memory(monkeypatch):
    monkeypatch.setattr(overlay, "MOST_SHEET_PX", 1 << 20)
    array = np.zeros((30_000, 1), bool)
    array[5] = True
    sheet = draw(np.zeros((30_000, 1, 3), np.uint8), [Layer([Mask.from_array(array)], "a speck")])
    assert sheet.width * sheet.height < 2 << 20


@pytest.mark.parametrize("share_of_pixels", [0.02, 0.5, 1.0])
def test_a_large_area_is_painted_piece_by_piece(share_of_pixels):
    """A strip of 40000 x 1000 took 16 s and gigabytes: every pixel of the area was copied out twice."""
    rng = np.random.default_rng(0)
    canvas = rng.integers(0, 256, (300, 4000, 3)).astype(np.float32)
    area = rng.random((300, 4000)) < share_of_pixels
    area[:20] = area[:, :30] = False
    expected = canvas.copy()
    expected[area] = (1 - 0.45) * expected[area] + 0.45 * np.array((0, 158, 115), np.float32)
    tracemalloc.start()
    blend(canvas, area, (0, 158, 115), 0.45)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (canvas == expected).all() and most < 4 << 20
    assert (np.asarray(to_image(canvas)) == expected.round().clip(0, 255).astype(np.uint8)).all()
    untouched = canvas.copy()
    blend(canvas, np.zeros((300, 4000), bool), (255, 0, 0), 0.5)
    assert (canvas == untouched).all()


# -- colours ------------------------------------------------------------------------------------------------

# Vienot, Brettel and Mollon 1999: a simulation of its own, not the one by which colours are chosen.
LMS = np.array([[17.8824, 43.5161, 4.11935], [3.45565, 27.1554, 3.86714], [0.0299566, 0.184309, 1.46709]])
RED_BLIND = np.array([[0, 2.02344, -2.52581], [0, 1, 0], [0, 0, 1]])
GREEN_BLIND = np.array([[1, 0, 0], [0.494207, 0, 1.24827], [0, 0, 1]])
EYES = {"usual": np.eye(3), "red-blind": RED_BLIND, "green-blind": GREEN_BLIND}


def lab(rgb, eyes: str) -> np.ndarray:
    """CIELAB of sRGB as some eyes see it."""
    share = np.asarray(rgb, float) / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    linear = (linear @ (np.linalg.inv(LMS) @ EYES[eyes] @ LMS).T).clip(0, 1)
    xyz = linear @ np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]).T
    f = np.where((t := xyz / (0.9505, 1, 1.089)) > 0.008856, np.cbrt(t), 7.787 * t + 16 / 116)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], -1)


def difference(a, b, eyes: str) -> float:
    return float(np.linalg.norm(lab(a, eyes) - lab(b, eyes)))


GROUNDS = {
    "grass": (60, 130, 50), "sky": (110, 170, 220), "tomato": (200, 50, 40), "banana": (240, 210, 60),
    "skin": (225, 180, 150), "wood": (120, 80, 45),
    "white": (255, 255, 255), "black": (0, 0, 0), "grey": (128, 128, 128),
}  # fmt: skip


def drawn_colours(rgb: np.ndarray, count: int) -> list[tuple[int, ...]]:
    """Draw so many squares side by side and read the colours of their outlines off the picture."""
    layers = []
    for number in range(count):
        array = np.zeros(rgb.shape[:2], bool)
        array[40:60, 20 + 60 * number : 50 + 60 * number] = True
        layers.append(Layer([Mask.from_array(array)], f"prompt {number}"))
    drawn = np.asarray(draw(rgb, layers))
    return [tuple(map(int, drawn[40, 35 + 60 * number])) for number in range(count)]


@pytest.mark.parametrize("eyes", EYES)
@pytest.mark.parametrize("ground", GROUNDS)
def test_layers_differ_from_each_other_and_from_what_they_lie_on(ground, eyes):
    rgb = np.full((100, 400, 3), GROUNDS[ground], np.uint8)
    colours = drawn_colours(rgb, 6)
    assert set(colours) <= {*COLOURS, *MORE} and len(set(colours)) == 6
    assert min(difference(c, GROUNDS[ground], eyes) for c in colours) > 20
    assert min(difference(a, b, eyes) for n, a in enumerate(colours) for b in colours[:n]) > 15


@pytest.mark.parametrize("eyes", EYES)
def test_each_edge_counts_for_itself(eyes):
    """Six squares on six grounds: each outline shows on its own."""
    rgb = np.zeros((100, 400, 3), np.uint8)
    grounds = list(GROUNDS.values())[:6]
    for number, ground in enumerate(grounds):
        rgb[:, 5 + 60 * number : 65 + 60 * number] = ground
    for colour, ground in zip(drawn_colours(rgb, 6), grounds, strict=True):
        assert difference(colour, ground, eyes) > 20


def test_many_layers_are_drawn_in_colours_that_differ():
    rgb = np.full((100, 2500, 3), 128, np.uint8)
    assert len(set(drawn_colours(rgb, 40))) == 40
