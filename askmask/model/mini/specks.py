"""Specks: pieces of a few pixels beside a mask, which show little to the eye and spoil its box.

The size was chosen on validation views: up to it more of their pixels are wrong than right.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

PIXELS = 5  # at most, of the network's square
SMALL = 20  # so many times smaller than the largest piece of the mask


def without_specks(logits: Tensor) -> Tensor:
    """Turn specks of masks [Q, K, S, S] into "not in the mask"."""
    if not len(logits):
        return logits
    found = np.stack([specks(mask) for mask in (logits > 0).flatten(0, 1).cpu().numpy()])
    if not found.any():
        return logits
    return torch.where(torch.from_numpy(found).to(logits.device).view_as(logits), -logits.abs(), logits)


def specks(mask: np.ndarray) -> np.ndarray:
    """Return which pixels of a mask, bool [H, W], belong to specks."""
    row, first, last = runs(mask)
    piece = joined(row, first, last, mask.shape[1])
    sizes = np.bincount(piece, last - first, minlength=1)
    small = (sizes <= PIXELS) & (sizes * SMALL < sizes.max())
    found = np.zeros_like(mask)
    for run in np.flatnonzero(small[piece]):
        found[row[run], first[run] : last[run]] = True
    return found


def runs(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return row, first column and column after the last of each run of pixels, in reading order."""
    steps = np.diff(np.pad(mask, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    (row, first), (_, last) = np.nonzero(steps == 1), np.nonzero(steps == -1)
    return row, first, last


def joined(row: np.ndarray, first: np.ndarray, last: np.ndarray, width: int) -> np.ndarray:
    """Return the number of a run that stands for its piece, for each run: runs that touch, corners too, are one."""
    line = width + 2  # columns of one row before those of the next
    below = np.searchsorted((row * line + last), (row + 1) * line + first)
    beyond = np.searchsorted((row * line + first), (row + 1) * line + last, side="right")
    parent = list(range(len(row)))

    def root(run: int) -> int:
        while parent[run] != run:
            parent[run] = run = parent[parent[run]]
        return run

    for run, (begin, end) in enumerate(zip(below.tolist(), beyond.tolist(), strict=True)):
        for other in range(begin, end):
            parent[root(other)] = root(run)
    return np.array([root(run) for run in range(len(parent))], np.int64)
