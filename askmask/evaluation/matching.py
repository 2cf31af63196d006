"""One-to-one matching of an answer's single masks to the true ones, by greatest total IoU. Knows no files."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from askmask.imaging.mask import Mask
from askmask.imaging.overlap import ratio


def match(
    predicted: Sequence[Mask], true: Sequence[Mask], ignore: Mask | None = None
) -> list[tuple[int, int]]:
    """Return (intersection, union) in pixels of every matched pair and of every mask left over.

    Pairs maximise the sum of IoU. A true mask without partner gives (0, its area), and so does a predicted one:
    spurious masks cost. Empty masks are left out first: an answer of one empty mask is an answer of none.
    """
    if ignore:
        kept = ~ignore
        predicted, true = [mask & kept for mask in predicted], [mask & kept for mask in true]
    predicted, true = [mask for mask in predicted if mask], [mask for mask in true if mask]
    inter, areas_a, areas_b = intersections(predicted, true)
    union = areas_a[:, None] + areas_b[None] - inter
    pairs = [(i, j) for i, j in assign(ratio(inter, union)) if inter[i, j] > 0]
    rest_a = set(range(len(predicted))) - {i for i, _ in pairs}
    rest_b = set(range(len(true))) - {j for _, j in pairs}
    return (
        [(int(inter[i, j]), int(union[i, j])) for i, j in pairs]
        + [(0, int(areas_a[i])) for i in sorted(rest_a)]
        + [(0, int(areas_b[j])) for j in sorted(rest_b)]
    )


def intersections(
    predicted: Sequence[Mask], true: Sequence[Mask]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return pixels of each pair's intersection [N, M] and the areas [N] and [M], int64."""
    both = np.array([[(a & b).area for b in true] for a in predicted], np.int64)
    areas_a, areas_b = (np.array([mask.area for mask in masks], np.int64) for masks in (predicted, true))
    return both.reshape(len(predicted), len(true)), areas_a, areas_b


def assign(gain: np.ndarray) -> list[tuple[int, int]]:
    """Choose min(N, M) entries of [N, M], no two in a row or column, with the greatest sum.

    The Hungarian method with potentials (shortest augmenting paths), O(N^2 M); no scipy for one function.
    """
    if gain.shape[0] > gain.shape[1]:
        return sorted((i, j) for j, i in assign(gain.T))
    rows, columns = gain.shape
    cost = -gain
    row_potential, column_potential = np.zeros(rows + 1), np.zeros(columns + 1)
    row_of = np.zeros(columns + 1, np.int64)  # 1-based; 0 = free
    for row in range(1, rows + 1):
        row_of[0], column = row, 0
        least = np.full(columns + 1, np.inf)
        came_from = np.zeros(columns + 1, np.int64)
        done = np.zeros(columns + 1, bool)
        while row_of[column]:
            done[column] = True
            i = row_of[column]
            reduced = cost[i - 1] - row_potential[i] - column_potential[1:]
            better = ~done[1:] & (reduced < least[1:])
            least[1:][better] = reduced[better]
            came_from[1:][better] = column
            nearest = int(np.argmin(np.where(done, np.inf, least)))
            delta = least[nearest]
            row_potential[row_of[done]] += delta
            column_potential[done] -= delta
            least[~done] -= delta
            column = nearest
        while column:
            row_of[column] = row_of[came_from[column]]
            column = int(came_from[column])
    return sorted((int(row_of[j]) - 1, j - 1) for j in range(1, columns + 1) if row_of[j])
