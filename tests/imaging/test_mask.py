"""Mask: a value that survives every representation, and obeys the algebra of sets."""

import io
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image
from pycocotools import mask as coco

from askmask import Mask
from askmask.errors import MaskError
from askmask.imaging.mask import _clipped, union_of

arrays = hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, max_side=24))
pairs = hnp.array_shapes(min_dims=2, max_dims=2, max_side=16).flatmap(
    lambda shape: st.tuples(hnp.arrays(bool, shape), hnp.arrays(bool, shape))
)


def grid(*rows: str) -> np.ndarray:
    return np.array([[cell == "#" for cell in row] for row in rows])


@given(arrays)
def test_every_form_gives_the_same_mask_back(array):
    mask = Mask.from_array(array)
    assert (mask.to_array() == array).all()
    assert mask.to_array().dtype == bool
    assert mask.area == array.sum()
    assert Mask.from_dict(mask.to_dict()) == mask
    assert Mask.from_png(mask.to_png()) == mask
    runs = coco.frPyObjects(mask.to_dict() | {"counts": _runs(array)}, *mask.size)
    assert runs["counts"].decode() == mask.counts
    assert Mask.from_dict({"size": mask.size, "counts": _runs(array)}) == mask


@given(pairs)
def test_set_algebra_equals_numpy(pair):
    a, b = pair
    left, right = Mask.from_array(a), Mask.from_array(b)
    assert ((left | right).to_array() == (a | b)).all()
    assert ((left & right).to_array() == (a & b)).all()
    assert ((left - right).to_array() == (a & ~b)).all()
    assert ((~left).to_array() == ~a).all()
    union = (a | b).sum()
    assert left.iou(right) == pytest.approx((a & b).sum() / union if union else 1.0)
    assert left.iou(right) == right.iou(left)
    assert left.iou(right) == Mask.from_array(a[::-1, ::-1]).iou(Mask.from_array(b[::-1, ::-1]))
    assert (left.iou(right) == 1) == (a == b).all()


@given(arrays)
@settings(max_examples=60)
def test_polygons_by_the_even_odd_rule_are_the_mask(array):
    filled = np.zeros(array.shape, bool)
    for loop in Mask.from_array(array).polygons():
        xs, ys = loop[::2], loop[1::2]
        for k in range(len(xs)):
            n = (k + 1) % len(xs)
            assert (xs[k] == xs[n]) != (ys[k] == ys[n])  # only along pixel edges
            if xs[k] == xs[n]:
                low, high = sorted((int(ys[k]), int(ys[n])))
                filled[low:high, int(xs[k]) :] ^= True
    assert (filled == array).all()


@given(arrays)
@settings(max_examples=60, deadline=None)
def test_parts_are_the_connected_regions_each_with_its_own_holes(array):
    ndimage = pytest.importorskip("scipy.ndimage", reason="labels the regions to compare with")
    labels, count = ndimage.label(array)
    regions = {tuple(map(tuple, np.argwhere(labels == n + 1).tolist())) for n in range(count)}
    rows, columns = np.mgrid[: array.shape[0], : array.shape[1]] + 0.5
    found = set()
    for rings in Mask.from_array(array).parts():
        filled = np.zeros(array.shape, bool)
        for ring in rings:
            assert len(set(ring)) == len(ring) >= 4  # touches itself nowhere
            for (x0, y0), (x1, y1) in zip(ring, [*ring[1:], ring[0]], strict=True):
                filled ^= (columns > x0) & (x0 == x1) & (rows > min(y0, y1)) & (rows < max(y0, y1))
        found.add(tuple(map(tuple, np.argwhere(filled).tolist())))
    assert found == regions


def test_the_outlines_of_sixty_thousand_specks_are_found_in_a_moment():
    specks = Mask.from_array(np.random.default_rng(0).random((800, 1100)) < 0.08)
    start = time.process_time()
    assert len(specks.parts()) > 55_000
    assert time.process_time() - start < 4  # it was seven, and grew with the square of their number


def test_boxes_are_half_open_and_none_for_the_empty_mask():
    assert Mask.from_array(grid("....", ".##.", "..#.")).box == (1, 1, 3, 3)
    assert Mask.empty((3, 4)).box is None
    assert Mask.full((3, 4)).box == (0, 0, 4, 3)


def test_empty_masks_agree():
    empty = Mask.empty((5, 7))
    assert empty.iou(empty) == 1.0
    assert empty.iou(Mask.full((5, 7))) == 0.0
    assert not empty and union_of([], (5, 7)) == empty


def test_polygon_input_follows_coco():
    square = [[1, 1, 4, 1, 4, 3, 1, 3]]
    assert (
        Mask.from_polygons(square, (5, 6)).to_array()
        == grid("......", ".###..", ".###..", "......", "......")
    ).all()


def test_png_is_black_and_white_and_any_luminance_counts():
    mask = Mask.from_array(grid("#.", ".#"))
    assert set(np.unique(np.asarray(Image.open(io.BytesIO(mask.to_png()))))) == {0, 255}
    buffer = io.BytesIO()
    Image.fromarray(np.array([[1, 0], [0, 200]], np.uint8)).save(buffer, "PNG")
    assert Mask.from_png(buffer.getvalue()) == mask


@pytest.mark.parametrize(
    "broken",
    [
        {"size": [2, 2], "counts": [1, 2]},  # covers 3 of 4 pixels
        {"size": [2, 2], "counts": [5, -1]},
        {"size": [2, 2], "counts": "zzzzzzzzzzzzzzzzzzzz"},
        {"size": [2, 2], "counts": "é"},
        {"size": [2, 2], "counts": "1\n"},
        {"size": [2, 2], "counts": None},
        {"size": [0, 2], "counts": []},
        {"size": [1 << 20, 1 << 20], "counts": [1 << 40]},
        {"size": [2], "counts": [2]},
        {"counts": [4]},
        [4],
        None,
    ],
)
def test_untrusted_codes_are_refused_not_decoded(broken):
    with pytest.raises(MaskError):
        Mask.from_dict(broken)


def test_masks_of_different_pictures_do_not_mix():
    with pytest.raises(MaskError, match=r"sizes \(2, 3\) and \(3, 2\)"):
        Mask.empty((2, 3)).iou(Mask.empty((3, 2)))


def _runs(array: np.ndarray) -> list[int]:
    flat = array.T.reshape(-1)
    edges = np.flatnonzero(np.diff(flat)) + 1
    runs = np.diff([0, *edges, len(flat)]).tolist()
    return [0, *runs] if flat[0] else runs


@pytest.mark.parametrize("value", [1e9, 1e300, float("nan"), float("inf"), -1e9])
def test_polygons_that_would_crash_the_c_code_are_refused(value):
    with pytest.raises(MaskError, match="far outside"):
        Mask.from_polygons([[0, 0, value, 0, 5, 5]], (10, 10))


@pytest.mark.parametrize("counts", [[4], [4, 0], [2, 0, 2], [4, 0, 0]])
def test_equal_pixels_are_equal_masks_however_they_were_coded(counts):
    mask = Mask.from_dict({"size": [2, 2], "counts": counts})
    assert mask == Mask.empty((2, 2))
    assert Mask.from_dict({"size": [2, 2], "counts": [0, 0, 0, *counts]}) == ~mask


@pytest.mark.parametrize("broken", [{"size": [float("inf"), 2]}, {"counts": [float("inf")]}])
def test_infinite_numbers_are_refused(broken):
    with pytest.raises(MaskError):
        Mask.from_dict({"size": [2, 2], "counts": [4]} | broken)


def test_arrays_and_polygons_of_other_libraries():
    torch = pytest.importorskip("torch", reason="tensors of torch are among the arrays")

    assert Mask.from_array(torch.ones(5, 5, dtype=torch.bfloat16)) == Mask.full((5, 5))
    corners = np.array([[0, 0], [4, 0], [4, 4], [0, 4]])
    assert Mask.from_polygons([corners], (5, 5)) == Mask.from_polygons([corners.ravel().tolist()], (5, 5))


@pytest.mark.parametrize(
    "make",
    [
        lambda: Mask.from_array(np.full((5, 5), np.nan)),
        lambda: Mask.from_array([["a", "b"]]),
        lambda: Mask.from_array([[1, 2], [3]]),
        lambda: Mask.from_array(None),
        lambda: Mask.from_polygons([["a"] * 6], (5, 5)),
        lambda: Mask.from_polygons([[[1, 2], [3]]], (5, 5)),
        lambda: Mask.from_polygons([[0, 0, 1, 1, 10**400, 3]], (5, 5)),
        lambda: Mask.from_polygons([[0, 0, 1, 1, 3, 3]], 5),
        lambda: Mask.empty((2.5, 3)),
        lambda: Mask((1, 1 << 28), ""),
    ],
)
def test_what_is_no_mask_is_an_error_of_ours(make):
    with pytest.raises(MaskError):
        make()


@pytest.mark.parametrize(
    "broken",
    [
        {"counts": [2.9, 2.0]}, {"counts": {"4": 0}}, {"counts": True}, {"counts": ["4"]}, {"counts": [True, 3]},
        {"size": [2.0, 2]}, {"size": True}, {"counts": "0" * 1_000_000}, {"counts": [0] * 100_000 + [4]},
    ],
)  # fmt: skip
def test_numbers_of_a_code_are_whole_and_as_many_as_the_pixels_need(broken):
    with pytest.raises(MaskError):
        Mask.from_dict({"size": [2, 2], "counts": [4]} | broken)


def test_polygons_far_outside_are_clipped_not_walked():
    random = np.random.default_rng(0)
    corners = random.uniform(-60_000, 60_000, (100_000, 2))
    began = time.process_time()
    Mask.from_polygons([corners], (12, 16))
    assert time.process_time() - began < 10
    # The same star with few corners is drawn exactly and clipped alike.
    star = [[-5_000, -5_000], [5_000, 4_000], [-4_000, 5_000], [6_000, -3_000]]
    exact = Mask.from_polygons([star], (40, 50))
    clipped = Mask.from_polygons([_clipped(np.array(star, float), (40, 50))], (40, 50))
    assert exact.iou(clipped) > 0.97


def test_numpy_reads_a_mask_as_its_pixels():
    """It made an array of one object."""
    pixels = np.arange(12).reshape(3, 4) % 5 == 0
    mask = Mask.from_array(pixels)
    assert np.array_equal(np.asarray(mask), pixels) and np.asarray(mask).dtype == bool
    assert np.array(mask, np.uint8).sum() == 3 and np.mean(mask) == 0.25
    if np.lib.NumpyVersion(np.__version__) >= "2.0.0":
        with pytest.raises(ValueError, match="decoded"):
            np.array(mask, copy=False)
