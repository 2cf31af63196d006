"""Meter: whole-number counts of every scored item, mergeable in any order.

Knows no protocol's formula.

Only integers are kept, so that shards add up exactly and any protocol can be computed afterwards from the rows.
Notation: A predicted mask, B true mask, V the pixels not ignored.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import numpy as np

from askmask.errors import DataError
from askmask.evaluation.average_precision import Detection, detections_of
from askmask.evaluation.matching import match
from askmask.evaluation.predictions import Prediction
from askmask.evaluation.truth import Truth
from askmask.imaging.mask import Mask

CANVAS = 1024  # pixels: side of the square on which SegLLM compares


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Counts of one item, in pixels."""

    id: str
    intersection: int  # |A and B and V|
    predicted: int  # |A and V|
    true: int  # |B and V|
    no_target: bool  # rightly nothing matches (B is empty before anything is ignored)
    said_none: bool | None = None  # what the model said of that; None: it makes no such statement
    missing: bool = False  # no prediction for this id: scored as the empty mask
    answered: bool = True  # the prediction holds at least one mask
    box_intersection: int = 0  # of the tight boxes; counted for the canvas only
    box_union: int = 0
    score: float | None = None  # the model's confidence, kept for the report
    conversation: str | None = None
    groups: Mapping[str, str] = field(default_factory=dict)
    pairs: tuple[tuple[int, int], ...] = ()  # (intersection, union) of matched single masks
    true_masks: int = 0
    detections: tuple[Detection, ...] | None = None  # of each predicted mask; None: masks without scores

    @property
    def union(self) -> int:
        """|(A or B) and V|."""
        return self.predicted + self.true - self.intersection

    def to_dict(self) -> dict[str, Any]:
        """Return a form ready for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Row:
        """Read what `to_dict` wrote. Raises DataError for counts that no masks can have."""
        names = {f.name for f in fields(cls)}
        if not names >= data.keys() or not isinstance(data.get("id"), str):
            raise DataError("not a row of counts", got=repr(data)[:80])
        try:
            pairs = tuple((both, either) for both, either in data.get("pairs", ()))
            found = data.get("detections")
            found = None if found is None else tuple((score, hits, void) for score, hits, void in found)
            row = cls(**{**data, "pairs": pairs, "detections": found})
            row._check()
        except (TypeError, ValueError, AttributeError, OverflowError) as error:
            raise DataError(f"id {data['id']!r}: impossible counts", got=repr(dict(data))[:200]) from error
        return row

    def _check(self) -> None:
        detections = self.detections or ()
        whole = [self.intersection, self.predicted, self.true, self.box_intersection, self.box_union]
        whole += [self.true_masks, *(n for pair in self.pairs for n in pair)]
        whole += [n for _, hits, void in detections for n in (hits, void)]
        shares = [(self.intersection, self.predicted), (self.intersection, self.true)]
        shares += [(self.box_intersection, self.box_union), *self.pairs]
        flags = [self.no_target, self.missing, self.answered, self.said_none or False]
        scores = [score for score in (self.score, *(d[0] for d in detections)) if score is not None]
        texts = [self.conversation or "", *self.groups.keys(), *self.groups.values()]
        if not (
            all(type(n) is int and 0 <= n <= 1 << 40 for n in whole)
            and all(part <= all_ for part, all_ in shares)
            and all(type(flag) is bool for flag in flags)
            and all(type(score) in (int, float) and math.isfinite(score) for score in scores)
            and all(isinstance(text, str) for text in texts)
            and (not self.no_target or self.true == 0)
        ):
            raise ValueError


class Meter:
    """Rows of counts; `a + b` merges two meters, and an id counted twice is an error."""

    def __init__(self, rows: Iterable[Row] = ()):
        self._rows: dict[str, Row] = {}
        for row in rows:
            self.add(row)

    def add(self, row: Row) -> None:
        """Add one row. Raises DataError if its id is already there."""
        if row.id in self._rows:
            raise DataError(f"id {row.id!r} is scored twice", do="Give every item its own id.")
        self._rows[row.id] = row

    def update(
        self,
        predicted: Mask | np.ndarray,
        true: Mask | np.ndarray,
        *,
        ignore: Mask | np.ndarray | None = None,
        said_none: bool | None = None,
        id: str | None = None,
        groups: Mapping[str, str] | None = None,
        conversation: str | None = None,
        canvas: bool = False,
    ) -> Row:
        """Count one pair of masks (or bool arrays [H, W]) of one size and return its row; see `count`."""
        predicted, true = _as_mask(predicted), _as_mask(true)
        truth = Truth(
            id=f"item {len(self) + 1}" if id is None else id,
            size=true.size,
            masks=(true,),
            ignore=None if ignore is None else _as_mask(ignore),
            conversation=conversation,
            groups=groups or {},
        )
        row = count(truth, Prediction(truth.id, (predicted,), said_none), canvas=canvas)
        self.add(row)
        return row

    @property
    def rows(self) -> list[Row]:
        """The rows, sorted by id: the order of counting leaves no trace."""
        return [self._rows[name] for name in sorted(self._rows)]

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, name: object) -> bool:
        return name in self._rows

    def __add__(self, other: Meter) -> Meter:
        return Meter([*self._rows.values(), *other._rows.values()])


def count(
    truth: Truth,
    prediction: Prediction | None,
    *,
    use_ignore: bool = True,
    canvas: bool = False,
    pairs: bool = False,
) -> Row:
    """Count one item in run-length form; nothing is ever decoded to pixels.

    A missing prediction (None) counts as the empty mask. With `canvas` pixels are those of SegLLM's 1024 square.
    With `pairs` single masks are matched too (see `matching`).
    """
    missing = prediction is None
    answer = Prediction(truth.id) if prediction is None else prediction
    a, b = answer.mask(truth.size), truth.mask
    for mask in (a, truth.ignore):
        if mask is not None and mask.size != truth.size:
            raise DataError(f"id {truth.id!r}: a mask of another size than {truth.size}", got=mask.size)
    ignore = truth.ignore if use_ignore else None
    area_b = truth.area
    if ignore:
        kept = ~ignore
        a, b = a & kept, b & kept
        area_b = b.area
    both = a & b
    area_a, area_both = a.area, both.area
    matched: tuple[tuple[int, int], ...] = ()
    if pairs and max(len(answer.masks), len(truth.masks)) > 1:
        matched = tuple(match(answer.masks, truth.masks, ignore)) or ((0, 0),)
    elif pairs:
        matched = ((area_both, area_a + area_b - area_both),)
    box_both = box_union = 0
    if canvas:
        box_both, box_union = _box_counts(a, b)
        area_both, area_a, area_b = (_canvas_area(mask) for mask in (both, a, b))
    detections = None
    if pairs and answer.mask_scores is not None:
        detections = detections_of(answer.masks, answer.mask_scores, truth.masks, truth.ignore)
    groups = dict(truth.groups) | {"size": truth.size_group}
    return Row(
        id=truth.id,
        intersection=area_both,
        predicted=area_a,
        true=area_b,
        no_target=truth.no_target,
        said_none=answer.no_target,
        missing=missing,
        answered=bool(answer.masks),
        box_intersection=box_both,
        box_union=box_union,
        score=answer.score,
        conversation=truth.conversation,
        groups=groups,
        pairs=matched,
        true_masks=sum(map(bool, truth.masks)),
        detections=detections,
    )


def _as_mask(value: Mask | np.ndarray) -> Mask:
    return value if isinstance(value, Mask) else Mask.from_array(value)


def _canvas_area(mask: Mask) -> int:
    """Area after nearest-neighbour resizing of the longest side to 1024 pixels (the rest is padding).

    Resizing repeats or drops whole rows and columns, so it is enough to weigh each by how often it is drawn.
    """
    height = mask.size[0]
    scale = CANVAS / max(mask.size)
    sources = []  # for rows, then columns: from which line each of the canvas's is drawn, in order
    for side in mask.size:
        drawn = max(1, int(side * scale + 0.5))
        sources.append(((np.arange(drawn) + 0.5) * (side / drawn)).astype(np.int64))
    rows, columns = sources
    # Weight of all pixels before each end of a run, in the order of the code: column by column.
    column, row = np.divmod(np.cumsum(mask.runs()), height)
    before, after = (np.searchsorted(columns, column + more) for more in (0, 1))
    weight = before * len(rows) + (after - before) * np.searchsorted(rows, row)
    return int(weight[1::2].sum() - weight[: 2 * (len(weight) // 2) : 2].sum())


def _box_counts(a: Mask, b: Mask) -> tuple[int, int]:
    """Return intersection and union of the two tight boxes, in pixels."""
    box_a, box_b = a.box, b.box
    areas = [0 if box is None else (box[2] - box[0]) * (box[3] - box[1]) for box in (box_a, box_b)]
    if box_a is None or box_b is None:
        return 0, sum(areas)
    width = min(box_a[2], box_b[2]) - max(box_a[0], box_b[0])
    height = min(box_a[3], box_b[3]) - max(box_a[1], box_b[1])
    both = max(width, 0) * max(height, 0)
    return both, sum(areas) - both
