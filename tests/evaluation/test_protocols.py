"""Each protocol against fixtures worked out by hand on 8 x 8 grids; expected numbers are fractions."""

import numpy as np
import pytest

from askmask.evaluation.meter import Meter, count
from askmask.evaluation.predictions import Prediction
from askmask.evaluation.protocols import PROTOCOLS, protocol_named
from askmask.evaluation.scoring import Scored
from askmask.evaluation.truth import Truth
from askmask.imaging.mask import Mask

SIZE = (8, 8)
NOTHING = np.zeros(SIZE, bool)


def columns(first, last):
    """The pixels of columns first .. last - 1: 8 pixels each."""
    array = np.zeros(SIZE, bool)
    array[:, first:last] = True
    return array


def scores(meter, protocol, **kwargs):
    return Scored(protocol_named(protocol), meter, **kwargs).to_dict(resamples=0)


def meter_of(*pairs, canvas=False):
    """Pairs are (predicted, true) or (predicted, true, said_none)."""
    meter = Meter()
    for predicted, true, *said in pairs:
        meter.update(predicted, true, said_none=said[0] if said else None, canvas=canvas)
    return meter


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_half_overlap_is_one_third(protocol):
    meter = meter_of((columns(0, 4), columns(2, 6)))  # I 16, U 48
    result = scores(meter, protocol)
    assert result["gIoU"] == pytest.approx(1 / 3, abs=1e-6 + 1e-4 / 48)
    assert result["cIoU"] == pytest.approx(1 / 3, abs=1e-6)
    assert result["P_micro"] == result["R_micro"] == result["F1_micro"] == 0.5
    assert result["N_acc"] is None and result["T_acc"] == 1.0


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_mean_and_pooled_iou_differ(protocol):
    # Item 1: I 1, U 2. Item 2: I = U = 40. Mean 3/4, pooled 41/42.
    one, two = NOTHING.copy(), NOTHING.copy()
    one[0, 0], two[0, :2] = True, True
    meter = meter_of((one, two), (columns(0, 5), columns(0, 5)))
    result = scores(meter, protocol)
    assert result["gIoU"] == pytest.approx(0.75, abs=3e-5)  # SegLLM's 1e-4 shows on an item of two pixels
    assert result["cIoU"] == pytest.approx(41 / 42, abs=1e-6)
    assert result["Pr@0.5"] == 1.0  # >=, and no epsilon turns 1/2 into a miss
    assert result["Pr@0.6"] == 0.5


# The table of metrics: true and predicted both empty, false alarm of 8 px, 8 px missed, and one right item so
# that pooled scores are defined. Expected IoU of the three, then pooled I and U over all four items.
EMPTY_CASES = {
    "askmask": ((1, 0, 0), 16, 16 + 8 + 8),
    "converseg": ((1, 0, 0), 16, 16 + 8 + 8),
    "lisa": ((1, 0, 0), 16, 16 + 8 + 8),
    "prist": ((1, 0, 0), 16, 16 + 8 + 8),
    "segllm": ((0, 0, 0), 16, 16 + 8 + 8),
    "rela": (
        (1, 0, 0),
        16,
        16 + 8 + 8,
    ),  # flags derived from the mask: (nt, none) TP, (nt, mask) FN, (t, none) FP
}


@pytest.mark.parametrize("protocol", EMPTY_CASES)
def test_empty_cases_without_a_flag(protocol):
    ious, inter, union = EMPTY_CASES[protocol]
    right = (columns(0, 2), columns(0, 2))
    meter = meter_of((NOTHING, NOTHING), (columns(0, 1), NOTHING), (NOTHING, columns(0, 1)), right)
    result = scores(meter, protocol)
    assert result["gIoU"] == pytest.approx((sum(ious) + 1) / 4, abs=4e-6)
    assert result["cIoU"] == pytest.approx(inter / union, abs=1e-6)
    assert result["N_acc"] == 0.5 and result["T_acc"] == 0.5


@pytest.mark.parametrize(
    ("protocol", "alone", "pooled"),
    [
        ("askmask", 1, None),
        ("converseg", 1, 0),
        ("lisa", 1, 0),
        ("rela", 1, None),
        ("segllm", 0, None),
        ("prist", 1, None),
    ],
)
def test_only_empty_against_empty(protocol, alone, pooled):
    result = scores(meter_of((NOTHING, NOTHING)), protocol)
    assert result["gIoU"] == alone
    assert result["cIoU"] == pooled  # ConverSeg and LISA divide 0 by their epsilon; elsewhere it is undefined
    assert result["Pr@0.5"] is None and result["T_acc"] is None and result["N_acc"] == 1.0


def test_rela_table_of_flags():
    true, raw = columns(0, 4), columns(2, 6)  # |A or B| = 48, |A and B| = 16, |A| = 32
    cases = [
        # predicted, true, said none -> IoU, I, U
        (raw, NOTHING, True, 1, 0, 0),
        (raw, NOTHING, False, 0, 0, 32),
        (raw, true, True, 0, 0, 48),  # the raw mask stays in the union
        (raw, true, False, 1 / 3, 16, 48),
        (NOTHING, NOTHING, False, 0, 0, 0),  # the mask is right, the flag decides
        (NOTHING, true, False, 0, 0, 32),
    ]
    for predicted, truth, said, iou, inter, union in cases:
        result = scores(meter_of((predicted, truth, said)), "rela")
        assert result["gIoU"] == pytest.approx(iou)
        assert result["cIoU"] == (pytest.approx(inter / union) if union else None)
    result = scores(meter_of(*(case[:3] for case in cases)), "rela")
    assert result["gIoU"] == pytest.approx((1 + 1 / 3) / 6)
    assert result["cIoU"] == pytest.approx(16 / (32 + 48 + 48 + 32))
    assert result["N_acc"] == pytest.approx(1 / 3) and result["T_acc"] == pytest.approx(2 / 3)
    assert result["Pr@0.5"] == 0.0


def test_the_flag_empties_the_mask_in_askmask_and_is_unknown_to_the_mask_scorers():
    meter = meter_of((columns(2, 6), columns(0, 4), True))
    assert scores(meter, "askmask")["cIoU"] == 0.0
    assert scores(meter, "askmask")["T_acc"] == 0.0
    assert scores(meter, "converseg")["cIoU"] == pytest.approx(1 / 3)
    right = meter_of((columns(2, 6), NOTHING, True))
    assert scores(right, "askmask")["gIoU"] == 1.0 and scores(right, "askmask")["N_acc"] == 1.0
    assert scores(right, "lisa")["gIoU"] == 0.0


@pytest.mark.parametrize(
    ("protocol", "expected"),
    [("lisa", 1.0), ("askmask", 1.0), ("converseg", 4 / 6), ("rela", 4 / 6), ("prist", 4 / 6)],
)
def test_an_ignored_region_covers_the_error(protocol, expected):
    truth = Truth(
        id="a",
        size=SIZE,
        masks=(Mask.from_array(columns(0, 4)),),
        ignore=Mask.from_array(columns(4, 6)),
    )
    row = count(
        truth, Prediction("a", (Mask.from_array(columns(0, 6)),)), use_ignore=PROTOCOLS[protocol].use_ignore
    )
    result = scores(Meter([row]), protocol)
    assert result["gIoU"] == pytest.approx(expected, abs=1e-6)
    assert result["cIoU"] == pytest.approx(expected, abs=1e-6)


def test_a_prediction_wholly_inside_the_ignored_region_counts_as_empty():
    truth = Truth(id="a", size=SIZE, masks=(), ignore=Mask.from_array(columns(4, 6)))
    row = count(truth, Prediction("a", (Mask.from_array(columns(4, 5)),)))
    result = scores(Meter([row]), "lisa")
    assert (row.predicted, row.union) == (0, 0)
    assert result["gIoU"] == 1.0 and result["N_acc"] == 1.0


def test_overlapping_masks_of_one_item_count_once():
    truth = Truth(id="a", size=SIZE, masks=tuple(map(Mask.from_array, (columns(0, 3), columns(2, 4)))))
    answer = Prediction("a", tuple(map(Mask.from_array, (columns(0, 2), columns(1, 4)))))
    row = count(truth, answer, pairs=True)
    assert (row.intersection, row.predicted, row.true) == (32, 32, 32)
    # Matched one to one by greatest total IoU: (0-2, 0-3) 16/24 and (1-4, 2-4) 16/24.
    assert sorted(row.pairs) == [(16, 24), (16, 24)]


def test_matching_lets_spurious_and_missed_masks_cost():
    truth = Truth(id="a", size=SIZE, masks=tuple(map(Mask.from_array, (columns(0, 2), columns(4, 6)))))
    answer = Prediction("a", tuple(map(Mask.from_array, (columns(4, 6), columns(7, 8)))))
    result = scores(Meter([count(truth, answer, pairs=True)]), "askmask")
    assert result["matched"] == {"n_masks": 3, "gIoU": pytest.approx(1 / 3), "cIoU": pytest.approx(16 / 40)}


def test_segllm_compares_on_its_canvas():
    # 6 x 4 pixels -> 1024 x 683: rows are drawn 170 or 171 times, columns 170 or 171 times.
    true = np.zeros((6, 4), bool)
    true[:, :2] = True
    full = np.ones((6, 4), bool)
    rows, cols = np.arange(1024), np.arange(683)
    take = np.ix_(((rows + 0.5) * 6 / 1024).astype(int), ((cols + 0.5) * 4 / 683).astype(int))
    inter, union = int((true & full)[take].sum()), int((true | full)[take].sum())
    row = meter_of((full, true), canvas=True).rows[0]
    assert (row.intersection, row.union) == (inter, union)
    result = scores(Meter([row]), "segllm")
    assert result["gIoU"] == pytest.approx(inter / (union + 1e-4), abs=1e-12)
    assert result["box_acc@0.5"] == 0.0  # the tight boxes overlap by exactly one half: SegLLM asks for more


def test_segllm_reports_by_round_and_prist_what_was_answered():
    meter = Meter()
    meter.update(columns(0, 4), columns(0, 4), groups={"round": "1"}, conversation="a", id="a#1")
    meter.update(columns(0, 4), columns(4, 8), groups={"round": "2"}, conversation="a", id="a#2")
    meter.update(columns(0, 2), columns(0, 4), groups={"round": "1"}, conversation="b", id="b#1")
    rounds = scores(meter, "segllm")["groups"]["round"]
    assert list(rounds) == ["1", "2"] and rounds["1"]["n"] == 2
    assert rounds["1"]["gIoU"] == pytest.approx(0.75, abs=1e-5)
    assert rounds["1"]["cIoU"] == pytest.approx(48 / 64)
    assert rounds["2"]["gIoU"] == 0.0


def test_prist_micro_and_macro():
    # Item 1: I 16, |A| 32, |B| 16 -> P 1/2, R 1. Item 2: nothing predicted of 32 px -> P 0, R 0.
    truth = [
        Truth(id=n, size=SIZE, masks=(Mask.from_array(m),))
        for n, m in (("a", columns(0, 2)), ("b", columns(0, 4)))
    ]
    rows = [count(truth[0], Prediction("a", (Mask.from_array(columns(0, 4)),))), count(truth[1], None)]
    result = scores(Meter(rows), "prist", missing=("b",))
    assert result["n_missing"] == 1
    assert (result["P_micro"], result["R_micro"]) == (0.5, pytest.approx(16 / 48))
    assert result["F1_micro"] == pytest.approx(2 * 16 / (32 + 48))
    assert (result["P_macro"], result["R_macro"]) == (0.25, 0.5)
    assert result["F1_macro"] == pytest.approx(2 * 0.25 * 0.5 / 0.75)
    assert result["F1_mean"] == pytest.approx((2 * 0.5 / 1.5) / 2)
    assert result["answered_only"] == {
        "n": 1,
        "gIoU": 0.5,
    }  # the published script drops what was not answered
    assert result["gIoU"] == 0.25
