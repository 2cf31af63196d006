"""Polygons painted as OpenCV paints them, pixel for pixel, and COCO's rule beside it."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from askmask.errors import DataError, MaskError
from askmask.formats.polygons import mask_of_coco, paint_polygon
from askmask.imaging.mask import Mask

GOLDEN = json.loads(Path(__file__).with_name("opencv_polygons.json").read_text())


def painted(points, size):
    canvas = np.zeros(size, np.uint8)
    paint_polygon(canvas, points)
    return canvas


@pytest.mark.parametrize("index", range(len(GOLDEN["polygons"])))
def test_as_opencv(index):
    row = GOLDEN["polygons"][index]
    expected = Mask.from_dict(row["mask"])
    assert Mask.from_array(painted(row["points"], expected.size)) == expected


def test_fill_and_outline_by_hand():
    square = [[1, 1], [3.9, 1], [3.9, 3.9], [1, 3.9]]  # corners are cut to 1 and 3: three by three pixels
    assert painted(square, (5, 5)).tolist() == [
        [0, 0, 0, 0, 0],
        [0, 1, 1, 1, 0],
        [0, 1, 1, 1, 0],
        [0, 1, 1, 1, 0],
        [0, 0, 0, 0, 0],
    ]
    # COCO's rule gives the square between the corners: two pixels less on each axis would be wrong here.
    assert mask_of_coco([[1, 1, 3, 1, 3, 3, 1, 3]], (5, 5)).area == 4
    assert painted([[2, 3]], (5, 5)).sum() == 1
    assert painted([[0, 0], [4, 4]], (5, 5)).tolist() == np.eye(5, dtype=int).tolist()


corner = st.tuples(st.integers(-20, 40), st.integers(-20, 40))


@settings(max_examples=80, deadline=None)
@given(st.lists(corner, min_size=1, max_size=8))
def test_outside_corners_give_the_exact_shape_cropped(points):
    wide = painted([(x + 30, y + 30) for x, y in points], (80, 80))
    assert (painted(points, (18, 20)) == wide[30:48, 30:50]).all()


def test_self_crossing_shapes_follow_the_even_odd_rule():
    canvas = painted(
        [[0, 0], [10, 0], [10, 10], [0, 10], [0, 0], [3, 3], [7, 3], [7, 7], [3, 7], [3, 3]], (11, 11)
    )
    assert canvas[5, 5] == 0 and canvas[5, 1] == 1


@pytest.mark.parametrize(
    "points", [[], [1, 2], [[1, 2, 3]], [["a", "b"]], [[1, float("nan")]], [[1e12, 0]], None, [[1, 2], [3]]]
)
def test_what_is_no_polygon_is_refused(points):
    with pytest.raises(DataError, match="polygon"):
        painted(points, (4, 4))


def test_coco_segmentations_in_all_their_forms():
    runs = {"size": [2, 3], "counts": [1, 2, 3]}
    text = Mask.from_dict(runs).counts
    for counts in ([1, 2, 3], text, text.encode()):
        assert mask_of_coco({"size": [2, 3], "counts": counts}, (2, 3)).area == 2
    with pytest.raises(DataError, match="size"):
        mask_of_coco(runs, (3, 2))
    with pytest.raises(MaskError, match="three x, y pairs"):
        mask_of_coco([[0, 0, 1, 1]], (4, 4))
    broken = [[0, 0, 1, 1], [0, 0, 3, 0, 3, 3, 0], [0, 0, 2, 0, 2, 2, 0, 2]]
    assert mask_of_coco(broken, (4, 4), drop_invalid=True).area == 4
    with pytest.raises(DataError, match="polygons or a run-length code"):
        mask_of_coco("12", (4, 4))
