"""Average precision of scored masks by COCO's definition, every prompt taken as a picture and a category.

A detection is matched greedily, in order of score, to the free true mask with the highest IoU of at least the
threshold; one that lies in an ignored region counts neither way, as COCO's crowds. Precision is made monotone and
averaged over 101 recalls. Source: Lin et al. 2014, and COCO's own evaluation code, whose ties and limits are kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from askmask.evaluation.matching import intersections
from askmask.imaging.mask import Mask
from askmask.imaging.overlap import ratio

THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0, 1, 101)
MOST = 100  # detections of one prompt that count, the best-scored

# (score, at which thresholds it matches a true mask, at which it counts neither way), the last two as bits
Detection = tuple[float, int, int]


def detections_of(
    masks: Sequence[Mask], scores: Sequence[float], true: Sequence[Mask], ignore: Mask | None
) -> tuple[Detection, ...]:
    """Match the scored masks of one prompt; empty masks are left out first."""
    order = sorted((i for i, mask in enumerate(masks) if mask), key=lambda i: -scores[i])[:MOST]
    true = [mask for mask in true if mask]
    both, area, true_area = intersections([masks[i] for i in order], true)
    overlap = ratio(both, area[:, None] + true_area[None] - both)
    if ignore:
        inside, _, _ = intersections([masks[i] for i in order], [ignore])
        overlap = np.concatenate([overlap, ratio(inside, area[:, None])], axis=1)
    hits, void = [0] * len(order), [0] * len(order)
    for bit, threshold in enumerate(THRESHOLDS):
        taken: set[int] = set()
        for number in range(len(order)):
            chosen, best = -1, min(threshold, 1 - 1e-10)
            for place, value in enumerate(overlap[number, : len(true)]):
                if place not in taken and value >= best:
                    chosen, best = place, value
            if chosen >= 0:
                taken.add(chosen)
                hits[number] |= 1 << bit
            elif ignore and overlap[number, -1] >= best:
                void[number] |= 1 << bit
    return tuple((float(scores[i]), hits[n], void[n]) for n, i in enumerate(order))


def average_precision(detections: Sequence[Sequence[Detection]], true_masks: int) -> dict[str, Any]:
    """Return AP (mean over IoU .50:.05:.95) and AP50, None without any true mask."""
    if not true_masks:
        return {"AP": None, "AP50": None}
    found = [one for some in detections for one in some]
    score = np.array([score for score, _, _ in found])
    order = np.argsort(-score, kind="stable")
    hits, void = (np.array([one[place] for one in found], np.int64)[order] for place in (1, 2))
    values = []
    for bit in range(len(THRESHOLDS)):
        hit = (hits >> bit & 1).astype(bool)
        right = np.cumsum(hit)
        wrong = np.cumsum(~hit & ~(void >> bit & 1).astype(bool))
        precision = right / np.maximum(right + wrong, np.spacing(1))
        precision = np.maximum.accumulate(precision[::-1])[::-1]
        place = np.searchsorted(right / true_masks, RECALLS, side="left")
        values.append(np.append(precision, 0.0)[place].mean())
    return {"AP": float(np.mean(values)), "AP50": float(values[0])}
