"""Overlays show the mask where it is, and a legend that fits any prompt."""

import numpy as np
import pytest

from askmask import Mask
from askmask.imaging import overlay
from askmask.imaging.overlay import COLOURS, Layer, draw, edge_of, palette, standing_out

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
