"""The named protocols: how each published scorer turns counts into scores. Counting itself is the meter's.

Every score is a ratio of sums over items, so a protocol is a table of per-item terms [n, TERMS] and the two
epsilons of its source. The same `scores_of` serves the whole set, any group and every bootstrap resample.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from askmask.errors import SettingError
from askmask.evaluation.meter import Row
from askmask.imaging.overlap import ratio

THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9)
TERMS = (
    "n", "iou", "intersection", "union", "predicted", "true", "targeted", "none", "none_right", "target_right",
    "iou_target", "P", "R", "F1", "box_hit", *(f"hit@{t}" for t in THRESHOLDS),
)  # fmt: skip
_AT = {name: index for index, name in enumerate(TERMS)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """One scorer's conventions. `epsilon` is added to a mask's union, `pooled_epsilon` to the sum of unions.

    `both_empty` is the one rule for an empty mask against an empty one; `flag_rules` say who decides that a model
    found nothing: "none" the mask alone, "empties" a statement empties the mask, "rela" as ReLA has it.
    """

    name: str
    source: str
    epsilon: float = 0.0
    pooled_epsilon: float = 0.0
    both_empty: float = 1.0
    flag_rules: str = "none"
    use_ignore: bool = False
    canvas: bool = False
    empty_scores_null: bool = True  # cIoU of a set without any pixel: null, or what the epsilon makes of it
    answered_only: bool = False  # also as its source does: items whose answer holds no mask left out


PROTOCOLS = {
    p.name: p
    for p in (
        Protocol(
            name="askmask", source="this project: exact ratios", use_ignore=True, flag_rules="empties"
        ),
        Protocol(
            name="converseg", source="ConverSeg, eval.py", epsilon=1e-10, pooled_epsilon=1e-10,
            empty_scores_null=False,
        ),
        Protocol(
            name="lisa", source="LISA, train_ds.py validate (foreground class)", epsilon=1e-5, pooled_epsilon=1e-10,
            use_ignore=True, empty_scores_null=False,
        ),
        Protocol(name="rela", source="ReLA / gRefCOCO, refer_evaluation.py", both_empty=0.0, flag_rules="rela"),
        Protocol(
            name="segllm", source="SegLLM, evaluation in its trainer", epsilon=1e-4, both_empty=0.0, canvas=True
        ),
        Protocol(
            name="prist", source="PRIST / MIRAS, eval_multiturn.py and table definitions", answered_only=True
        ),
    )
}  # fmt: skip
# What training watches: the mask counts also where the model says that nothing is there.
UNGATED = replace(PROTOCOLS["askmask"], name="askmask-ungated", flag_rules="none")


def protocol_named(name: str) -> Protocol:
    """Return a protocol by name."""
    if not isinstance(name, str) or name not in PROTOCOLS:
        raise SettingError("no such protocol", got=repr(name), do=f"Choose of {', '.join(PROTOCOLS)}.")
    return PROTOCOLS[name]


def terms_of(rows: Sequence[Row], protocol: Protocol, *, min_pixels: int = 0) -> np.ndarray:
    """Return the per-item terms [n, TERMS], float64 holding exact integers wherever a term is a count.

    Where a model says nothing of "no target", that is derived: at most `min_pixels` predicted pixels.
    """
    inter, pred, true = (
        np.array([getattr(row, name) for row in rows], np.float64)
        for name in ("intersection", "predicted", "true")
    )
    none = np.array([row.no_target for row in rows], bool)
    said = np.array(
        [row.predicted <= min_pixels if row.said_none is None else row.said_none for row in rows], bool
    )
    if protocol.flag_rules == "empties":
        inter, pred = np.where(said, 0, inter), np.where(said, 0, pred)
    union = pred + true - inter
    iou = ratio(inter, union, both_empty=protocol.both_empty, epsilon=protocol.epsilon)
    if protocol.flag_rules == "rela":
        # Rightly said: 1 and no pixels. Wrongly said: no intersection, but the union of the raw mask stays.
        iou = np.where(none, said, np.where(said, 0, iou)).astype(np.float64)
        union = np.where(none & said, 0, union)
        inter, pred = np.where(said, 0, inter), np.where(said, 0, pred)
    table = np.zeros((len(rows), len(TERMS)))
    share_p = np.divide(inter, pred, out=(true == 0).astype(np.float64), where=pred > 0)
    share_r = np.divide(inter, true, out=(pred == 0).astype(np.float64), where=true > 0)
    total = share_p + share_r
    box = np.array([2 * row.box_intersection > row.box_union for row in rows], np.float64)
    columns = {
        "n": np.ones(len(rows)), "iou": iou, "intersection": inter, "union": union, "predicted": pred, "true": true,
        "iou_target": ~none * iou, "targeted": ~none, "none": none,
        "none_right": none & said, "target_right": ~none & ~said,
        "P": share_p, "R": share_r, "box_hit": box,
        "F1": np.divide(2 * share_p * share_r, total, out=np.zeros(len(rows)), where=total > 0),
    }  # fmt: skip
    # Thresholds are held against the exact ratio: an epsilon must not turn 1/2 into a miss at 0.5.
    exact = ratio(inter, union, both_empty=0.0)
    columns |= {f"hit@{t}": ~none & (exact >= t) for t in THRESHOLDS}
    for name, column in columns.items():
        table[:, _AT[name]] = column
    return table


def sum_terms(table: np.ndarray) -> np.ndarray:
    """Sum over items [n, TERMS] -> [TERMS], correctly rounded, so that no order of items shows in any bit."""
    return np.array([math.fsum(column) for column in table.T])


def scores_of(sums: np.ndarray, protocol: Protocol) -> dict[str, np.ndarray]:
    """Turn sums [..., TERMS] into scores [...]; NaN where a score is undefined."""

    def term(name: str) -> np.ndarray:
        return sums[..., _AT[name]]

    n, inter, union = term("n"), term("intersection"), term("union")
    pooled = _ratio(inter, union + protocol.pooled_epsilon)
    if not protocol.empty_scores_null:
        pooled = np.where(n > 0, pooled, np.nan)
    mean_p, mean_r = _ratio(term("P"), n), _ratio(term("R"), n)
    scores = {
        "gIoU": _ratio(term("iou"), n),
        "cIoU": pooled,
        "gIoU_target": _ratio(term("iou_target"), term("targeted")),
        "N_acc": _ratio(term("none_right"), term("none")),
        "T_acc": _ratio(term("target_right"), term("targeted")),
    }
    scores |= {f"Pr@{t}": _ratio(term(f"hit@{t}"), term("targeted")) for t in THRESHOLDS}
    scores |= {
        "P_micro": _ratio(inter, term("predicted")),
        "R_micro": _ratio(inter, term("true")),
        "F1_micro": _ratio(2 * inter, term("predicted") + term("true")),
        "P_macro": mean_p,
        "R_macro": mean_r,
        "F1_macro": np.where(mean_p + mean_r == 0, 0.0, _ratio(2 * mean_p * mean_r, mean_p + mean_r)),
        "F1_mean": _ratio(term("F1"), n),
    }
    if protocol.canvas:
        scores["box_acc@0.5"] = _ratio(term("box_hit"), n)
    return scores


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    above, below = np.asarray(above, np.float64), np.asarray(below, np.float64)
    ratio: np.ndarray = np.divide(
        above, below, out=np.full(np.broadcast(above, below).shape, np.nan), where=below > 0
    )
    return ratio
