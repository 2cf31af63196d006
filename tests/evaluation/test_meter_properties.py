"""What must hold for any masks: against plain numpy, order, sharding, flips, duplicates."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from askmask.errors import DataError
from askmask.evaluation.matching import assign
from askmask.evaluation.meter import Meter
from askmask.evaluation.protocols import PROTOCOLS, protocol_named
from askmask.evaluation.scoring import Scored

bools = hnp.arrays(bool, (5, 7))
items = st.lists(st.tuples(bools, bools, bools, st.sampled_from([None, True, False])), min_size=1, max_size=6)


def fill(entries, names=None):
    meter = Meter()
    for index, (a, b, ignore, said) in enumerate(entries):
        meter.update(a, b, ignore=ignore, said_none=said, id=str(index) if names is None else names[index])
    return meter


def all_scores(meter):
    return {p: Scored(protocol_named(p), meter).to_dict(resamples=5) for p in PROTOCOLS}


@settings(max_examples=40, deadline=None)
@given(items)
def test_counts_equal_plain_numpy(entries):
    for row, (a, b, ignore, _) in zip(fill(entries).rows, entries, strict=True):
        keep = ~ignore
        assert row.intersection == (a & b & keep).sum()
        assert row.union == ((a | b) & keep).sum()
        assert (row.predicted, row.true) == ((a & keep).sum(), (b & keep).sum())
        assert row.no_target is not bool(b.any())


@settings(max_examples=60, deadline=None)
@given(hnp.arrays(bool, st.tuples(st.integers(1, 30), st.integers(1, 30))))
def test_the_canvas_is_nearest_neighbour_resizing(mask):
    meter = Meter()
    row = meter.update(mask, mask, canvas=True)
    drawn = [max(1, int(side * 1024 / max(mask.shape) + 0.5)) for side in mask.shape]
    take = [
        ((np.arange(n) + 0.5) * (side / n)).astype(int) for n, side in zip(drawn, mask.shape, strict=True)
    ]
    assert row.intersection == row.predicted == row.true == mask[np.ix_(*take)].sum()


@settings(max_examples=12, deadline=None)
@given(items, st.randoms(use_true_random=False))
def test_order_and_sharding_leave_no_trace(entries, random):
    names = [f"n{i}" for i in range(len(entries))]
    whole = all_scores(fill(entries, names))
    order = list(range(len(entries)))
    random.shuffle(order)
    cut = random.randint(0, len(order))
    parts = [
        fill([entries[i] for i in part], [names[i] for i in part]) for part in (order[:cut], order[cut:])
    ]
    assert all_scores(parts[0] + parts[1]) == whole == all_scores(parts[1] + parts[0])  # bit for bit


@settings(max_examples=12, deadline=None)
@given(items)
def test_flipping_every_picture_changes_nothing(entries):
    flipped = [(a[:, ::-1], b[:, ::-1], ignore[:, ::-1], said) for a, b, ignore, said in entries]
    assert all_scores(fill(flipped)) == all_scores(fill(entries))


@settings(max_examples=12, deadline=None)
@given(items)
def test_scores_lie_between_zero_and_one(entries):
    for result in all_scores(fill(entries)).values():
        for name in result["intervals"]:
            assert result[name] is None or 0 <= result[name] <= 1
            bounds = result["intervals"][name]
            assert bounds is None or 0 <= bounds[0] <= bounds[1] <= 1


@settings(max_examples=10, deadline=None)
@given(bools)
def test_a_perfect_answer_scores_one(mask):
    result = all_scores(fill([(mask, mask, np.zeros_like(mask), None)]))
    for name, scores in result.items():
        if mask.any():
            assert scores["gIoU"] == pytest.approx(1, abs=1e-4) and scores["cIoU"] == pytest.approx(1)
        else:
            assert scores["gIoU"] == (0 if name == "segllm" else 1)


def test_an_id_counted_twice_is_an_error():
    entry = (np.ones((2, 2), bool), np.ones((2, 2), bool), np.zeros((2, 2), bool), None)
    with pytest.raises(DataError, match="scored twice"):
        fill([entry, entry], ["a", "a"])
    with pytest.raises(DataError, match="'a' is scored twice"):
        fill([entry], ["a"]) + fill([entry], ["a"])


@settings(max_examples=40, deadline=None)
@given(hnp.arrays(float, st.tuples(st.integers(0, 4), st.integers(0, 5)), elements=st.floats(0, 1)))
def test_assignment_is_the_best_of_all(gain):
    from itertools import permutations

    pairs = assign(gain)
    few, many = sorted(gain.shape)
    assert len(pairs) == len({i for i, _ in pairs}) == len({j for _, j in pairs}) == few
    table = gain if gain.shape[0] <= gain.shape[1] else gain.T
    best = max(sum(table[i, j] for i, j in enumerate(p)) for p in permutations(range(many), few))
    assert sum(gain[i, j] for i, j in pairs) == pytest.approx(best)
