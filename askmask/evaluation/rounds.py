"""Scores of dialogues by round: over all of them, over a common population, and what a wrong first round costs.

Few dialogues have many rounds, so that scores "by round" over all compare different dialogues. A common population is
the dialogues that have every round up to one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from askmask.evaluation.bootstrap import intervals, mean_interval
from askmask.evaluation.meter import Row

RIGHT = 0.5  # least IoU of a round that counts as right
MOST_ROUNDS = 50

Ious = dict[str, dict[int, float]]  # conversation -> round, from 1 -> IoU


def round_scores(
    rows: Sequence[Row], ious: Sequence[float], *, resamples: int = 1000, seed: int = 0
) -> dict[str, Any]:
    """Return {"common": ..., "after_round_1": ...} of the rows that are rounds of dialogues; {} without any.

    common: {last round: {"n": dialogues, "gIoU": {round: [mean, low, high]}, "fall": [...]}}, where "fall" is round 1
    minus the mean of the later ones. after_round_1: {round: {"right": [n, gIoU], "wrong": [n, gIoU], "difference":
    [mean, low, high]}}; hard pictures are hard in every round, so a difference is no cause.
    """
    talks: Ious = {}
    for row, iou in zip(rows, ious, strict=True):
        if row.conversation is not None and row.groups.get("round", "").isdecimal():
            talks.setdefault(row.conversation, {})[int(row.groups["round"])] = float(iou)
    if not any(len(talk) > 1 for talk in talks.values()):
        return {}
    numbers = sorted({n for talk in talks.values() for n in talk if 2 <= n <= MOST_ROUNDS})
    common = {str(upto): _common(talks, upto, resamples, seed) for upto in numbers}
    after = {str(number): _after_first(talks, number, resamples, seed) for number in numbers}
    return {
        "common": {upto: part for upto, part in common.items() if part is not None},
        "after_round_1": {number: part for number, part in after.items() if part is not None},
    }


def _common(talks: Ious, upto: int, resamples: int, seed: int) -> dict[str, Any] | None:
    whole = {name: talk for name, talk in sorted(talks.items()) if all(n in talk for n in range(1, upto + 1))}
    if not whole:
        return None

    def mean(values: Sequence[float]) -> list[float | None]:
        if not resamples:
            return [float(np.mean(values)), None, None]
        return list(mean_interval(values, list(whole), resamples=resamples, seed=seed))

    numbers = range(1, upto + 1)
    falls = [talk[1] - float(np.mean([talk[n] for n in numbers[1:]])) for talk in whole.values()]
    means = {str(number): mean([talk[number] for talk in whole.values()]) for number in numbers}
    return {"n": len(whole), "gIoU": means, "fall": mean(falls)}


def _after_first(talks: Ious, number: int, resamples: int, seed: int) -> dict[str, Any] | None:
    both = {name: talk for name, talk in sorted(talks.items()) if 1 in talk and number in talk}
    right = [talk[1] >= RIGHT for talk in both.values()]
    values = np.array([talk[number] for talk in both.values()])
    if not both:
        return None
    flags = np.array(right)
    result: dict[str, Any] = {
        name: [int(part.sum()), float(values[part].mean()) if part.any() else None]
        for name, part in (("right", flags), ("wrong", ~flags))
    }
    if flags.any() and not flags.all():
        terms = np.stack([values * flags, flags, values * ~flags, ~flags], axis=1).astype(float)

        def difference(sums: np.ndarray) -> dict[str, np.ndarray]:
            with np.errstate(invalid="ignore", divide="ignore"):
                return {"it": sums[:, 0] / sums[:, 1] - sums[:, 2] / sums[:, 3]}

        spread = intervals(terms, list(both), difference, resamples=resamples, seed=seed).get("it")
        result["difference"] = [
            float(values[flags].mean() - values[~flags].mean()),
            *(spread or [None, None]),
        ]
    return result
