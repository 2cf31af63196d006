"""Scores by round, by hand."""

import pytest

from askmask.evaluation.meter import Row
from askmask.evaluation.rounds import round_scores


def row(name, conversation=None, **groups):
    counts = {"intersection": 0, "predicted": 0, "true": 1, "no_target": False}
    return Row(id=name, conversation=conversation, groups=groups, **counts)


def rows(talks):
    items = [(name, n, iou) for name, values in talks.items() for n, iou in enumerate(values, 1)]
    return [row(f"{name}#{n}", name, round=str(n)) for name, n, _ in items], [iou for *_, iou in items]


def test_the_population_is_the_same_for_every_round_of_a_row():
    data = round_scores(*rows({"a": [1.0, 0.5, 0.0], "b": [0.5, 0.5], "c": [0.0]}), resamples=100)
    two, three = data["common"]["2"], data["common"]["3"]
    assert (two["n"], three["n"]) == (2, 1)
    assert [value[0] for value in two["gIoU"].values()] == [0.75, 0.5]  # without c
    assert [value[0] for value in three["gIoU"].values()] == [1.0, 0.5, 0.0]
    assert two["fall"][0] == pytest.approx(0.25) and three["fall"][0] == 0.75
    low, high = two["gIoU"]["1"][1:]
    assert 0.5 <= low <= 0.75 <= high <= 1.0


def test_what_a_wrong_first_round_costs():
    data = round_scores(
        *rows({"a": [1.0, 0.9], "b": [0.6, 0.7], "c": [0.1, 0.2], "d": [0.0, 0.0]}), resamples=200
    )
    second = data["after_round_1"]["2"]
    assert second["right"] == [2, pytest.approx(0.8)] and second["wrong"] == [2, pytest.approx(0.1)]
    mean, low, high = second["difference"]
    assert mean == pytest.approx(0.7) and 0.49 <= low <= mean <= high <= 0.91


def test_prompts_asked_alone_have_no_rounds_and_odd_numbers_cost_nothing():
    assert round_scores([row("x")], [0.0]) == {}
    odd = [row(f"x{n}", "a", round=n) for n in ("1", "999999999", "two")]
    assert round_scores(odd, [0.0, 0.0, 0.0])["common"] == {}
    assert round_scores(*rows({"a": [1.0, 1.0]}), resamples=0)["common"]["2"]["fall"] == [0.0, None, None]
