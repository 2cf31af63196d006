"""Intersection over union of hard masks: the one place where it is computed, for arrays, tensors and counts.

What two empty masks score is the caller's to say, because published scorers differ (evaluation/protocols.py); here
it is 1 unless told: they agree. Works on NumPy arrays and torch tensors alike and imports neither's framework.
"""

from __future__ import annotations

from typing import Any


def ratio(intersection: Any, union: Any, *, both_empty: float = 1.0, epsilon: float = 0.0) -> Any:
    """Return intersection / (union + epsilon) of counts, elementwise; `both_empty` where the union is 0."""
    empty = union == 0
    return intersection / (union + empty + epsilon) + both_empty * empty


def counts(one: Any, other: Any, counted: Any = True) -> tuple[Any, Any]:
    """Return (intersection, union) in pixels of bool masks [..., H, W], over the pixels `counted`."""
    return (one & other & counted).sum((-2, -1)), ((one | other) & counted).sum((-2, -1))


def iou(one: Any, other: Any, counted: Any = True, *, both_empty: float = 1.0) -> Any:
    """Return the IoU [...] of bool masks [..., H, W] over the pixels `counted`."""
    return ratio(*counts(one, other, counted), both_empty=both_empty)
