"""Overlays show the mask where it is, and a legend that fits any prompt."""

import numpy as np
import pytest

from askmask import Mask
from askmask.imaging.overlay import COLOURS, Layer, draw

RGB = np.full((400, 500, 3), 128, np.uint8)


def test_inside_is_tinted_outside_is_untouched_and_the_picture_is_on_top():
    array = np.zeros((400, 500), bool)
    array[100:200, 100:250] = True
    drawn = np.asarray(draw(RGB, [Layer([Mask.from_array(array)], "a box", "score 0.90")]))
    assert drawn.shape[1] == 500 and drawn.shape[0] > 400
    inside, outside = drawn[150, 175].astype(int), drawn[300, 400]
    assert (outside == 128).all()
    assert np.abs(inside - (0.55 * 128 + 0.45 * np.array(COLOURS[0]))).max() <= 1
    assert (drawn[400:] != drawn[401, 1]).any()  # something is written in the legend


@pytest.mark.parametrize("title", ["", "x" * 900, "où est 杯子? 🙂", "a\nb\tc", "word " * 100])
def test_any_prompt_fits_the_legend(title):
    assert draw(RGB, [Layer([], title)]).width == 500


def test_small_pictures_are_enlarged_until_words_can_be_read():
    image = draw(np.zeros((20, 30, 3), np.uint8), [Layer([Mask.full((20, 30))], "all")])
    assert image.width >= 384
