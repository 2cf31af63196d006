"""IoU: one value for arrays, tensors, run-length masks and counts; two empty masks score what the caller says."""

import numpy as np
import pytest

from askmask.imaging.mask import Mask
from askmask.imaging.overlap import counts, iou, ratio

torch = pytest.importorskip("torch", reason="the same function is held against tensors")


def test_arrays_tensors_and_masks_agree():
    random = np.random.default_rng(0)
    one, other = random.random((2, 6, 5, 7)) < random.random((2, 6, 1, 1))
    expected = [
        (a & b).sum() / (a | b).sum() if (a | b).any() else 1.0 for a, b in zip(one, other, strict=True)
    ]
    assert iou(one, other).tolist() == expected
    assert iou(torch.from_numpy(one), torch.from_numpy(other)).tolist() == pytest.approx(expected)
    assert [Mask.from_array(a).iou(Mask.from_array(b)) for a, b in zip(one, other, strict=True)] == expected


def test_only_counted_pixels_count():
    one, other = np.ones((4, 4), bool), np.zeros((4, 4), bool)
    one[2:], other[:3] = False, True
    counted = np.zeros((4, 4), bool)
    counted[:2] = True
    assert counts(one, other, counted) == (8, 8) and iou(one, other, counted) == 1.0
    assert iou(one, other) == 8 / 12


@pytest.mark.parametrize("kind", [int, np.int64, lambda n: torch.tensor(n)])
def test_two_empty_masks_score_what_the_caller_says(kind):
    assert ratio(kind(0), kind(0)) == 1.0
    assert ratio(kind(0), kind(0), both_empty=0.0) == 0.0
    assert ratio(kind(0), kind(7), both_empty=0.5) == 0.0
    assert ratio(kind(3), kind(4), epsilon=1.0) == 0.6
