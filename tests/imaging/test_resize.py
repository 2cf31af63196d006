"""Letterboxing: bit for bit what OpenCV gave the published demo."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from askmask.imaging.files import read_picture
from askmask.imaging.resize import Letterbox, resize_as_opencv


@pytest.mark.parametrize("name", ["cars_1140x760", "groceries_320x214", "truck_portrait_225x300"])
def test_the_demo_square_to_the_bit(golden, name):
    picture = read_picture(golden / "images" / f"{name}.png")
    wanted = np.asarray(Image.open(golden / "infer" / f"{name}__demo_square.png").convert("RGB"))
    assert (Letterbox.of(picture.size, 1024).pad(picture.rgb) == wanted).all()


def test_the_demo_padding_numbers(golden):
    for case in json.loads((golden / "facts.json").read_text())["infer_demo"]:
        pad, size = case["pad_meta"], read_picture(golden / "images" / case["image"]).size
        box = Letterbox.of(size, 1024)
        assert (box.inner, box.top, box.left) == ((pad["new_h"], pad["new_w"]), pad["top"], pad["left"])


@given(st.integers(1, 3000), st.integers(1, 3000), st.integers(8, 1024))
def test_the_picture_lies_inside_the_square_and_touches_two_sides(height, width, side):
    box = Letterbox.of((height, width), side)
    assert box.rows.stop <= side and box.columns.stop <= side
    assert max(box.inner) == side
    assert min(box.inner) >= 1


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 60), st.integers(0, 255))
def test_a_flat_picture_stays_flat(height, width, side, value):
    flat = np.full((height, width, 3), value, np.uint8)
    for size in ((side, side), (1, side), (side, 1)):
        assert (resize_as_opencv(flat, size) == value).all()


def test_halving_averages_blocks():
    pixels = np.arange(32, dtype=np.uint8).reshape(4, 8, 1)
    means = pixels.reshape(2, 2, 4, 2).mean((1, 3))
    assert np.abs(resize_as_opencv(pixels, (2, 4))[..., 0] - means).max() <= 0.5
