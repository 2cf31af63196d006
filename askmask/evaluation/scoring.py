"""Join predictions with ground truth, count, and compute one protocol's scores."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any

import numpy as np

from askmask import __version__
from askmask.errors import DataError
from askmask.evaluation.average_precision import average_precision
from askmask.evaluation.bootstrap import intervals
from askmask.evaluation.meter import Meter, Row, count
from askmask.evaluation.predictions import PredictionFiles
from askmask.evaluation.protocols import TERMS, Protocol, protocol_named, scores_of, sum_terms, terms_of
from askmask.evaluation.rounds import round_scores
from askmask.evaluation.truth import Truth
from askmask.imaging.overlap import ratio
from askmask.notes import Notes

SHOWN_IDS = 20  # of the missing and unknown ones, in notes
SIZES = ("none", "small", "medium", "large")
GROUP_ORDER = ("asked", "concept", "round", "turn", "length", "hard", "size", "family", "split")


@dataclass(frozen=True)
class Scored:
    """The counts of a run under one protocol, and what did not fit together."""

    protocol: Protocol
    meter: Meter
    missing: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    min_pixels: int = 0
    hashes: dict[str, str] = field(default_factory=dict)
    predictions: PredictionFiles | None = field(default=None, repr=False, compare=False)

    def to_dict(self, *, resamples: int = 1000, seed: int = 0) -> dict[str, Any]:
        """Return all scores, 0 to 1 and None where undefined, ready for JSON."""
        rows = self.meter.rows
        data: dict[str, Any] = {
            "protocol": self.protocol.name,
            "n": len(rows),
            "n_missing": len(self.missing),
            "n_unknown": len(self.unknown),
            "n_no_target": sum(row.no_target for row in rows),
        }
        data |= self.scores(rows)
        data |= self._extras(rows)
        if apart := self.apart():
            data["apart"] = {
                name: part.to_dict(resamples=resamples, seed=seed) for name, part in apart.items()
            }
        data["groups"] = {"concept": {}, "round": {}} | {
            key: {
                value: {"n": len(part), "n_missing": sum(row.missing for row in part)}
                | self.scores(part)
                | {"intervals": self.intervals(part, resamples=resamples, seed=seed)}
                for value, part in groups.items()
            }
            for key, groups in grouped(rows).items()
        }
        if rounds := round_scores(rows, self.ious(rows).tolist(), resamples=resamples, seed=seed):
            data["rounds"] = rounds
        data["intervals"] = self.intervals(rows, resamples=resamples, seed=seed)
        data["bootstrap"] = {
            "resamples": resamples, "seed": seed, "level": 0.95,
            "over": "conversations" if any(row.conversation for row in rows) else "items",
        }  # fmt: skip
        data["notes"] = [*self.notes, *_notes(self, rows)]
        data["missing_ids"], data["unknown_ids"] = (
            list(self.missing[:SHOWN_IDS]),
            list(self.unknown[:SHOWN_IDS]),
        )
        return data | {"hashes": dict(self.hashes), "askmask": __version__, "versions": versions()}

    def apart(self) -> dict[str, Scored]:
        """Return the prompts asked alone and the rounds of dialogues, each as a run; {} unless there are both."""
        parts = grouped(self.meter.rows).get("asked", {})
        if len(parts) < 2:
            return {}
        return {
            name: Scored(
                self.protocol,
                Meter(rows),
                tuple(row.id for row in rows if row.missing),
                min_pixels=self.min_pixels,
            )
            for name, rows in parts.items()
        }

    def terms(self, rows: Sequence[Row]) -> np.ndarray:
        """Return the protocol's per-item terms [n, TERMS]."""
        return terms_of(rows, self.protocol, min_pixels=self.min_pixels)

    def ious(self, rows: Sequence[Row]) -> np.ndarray:
        """Return each row's IoU [n] under the protocol."""
        return self.terms(rows)[:, TERMS.index("iou")]

    def scores(self, rows: Sequence[Row]) -> dict[str, float | None]:
        """Return the scores of some of the rows."""
        return defined(scores_of(sum_terms(self.terms(rows)), self.protocol))

    def intervals(self, rows: Sequence[Row], *, resamples: int, seed: int) -> dict[str, list[float] | None]:
        """Return bootstrap intervals for some of the rows, whole conversations resampled together."""
        return intervals(
            self.terms(rows), clusters(rows), lambda sums: scores_of(sums, self.protocol),
            resamples=resamples, seed=seed,
        )  # fmt: skip

    def _extras(self, rows: Sequence[Row]) -> dict[str, Any]:
        extras: dict[str, Any] = {}
        if any(len(row.pairs) > 1 for row in rows):
            pairs = [pair for row in rows for pair in row.pairs]
            if pairs:
                extras["matched"] = matched_scores(pairs)
        detections = [row.detections for row in rows if row.detections is not None]
        if any(detections) and len(detections) == len(rows):
            extras |= average_precision(detections, sum(row.true_masks for row in rows))
        if self.protocol.answered_only:
            # The published script skips dialogues whose answer holds no mask; ours scores them.
            answered = [row for row in rows if row.answered]
            extras["answered_only"] = {"n": len(answered), "gIoU": self.scores(answered)["gIoU"]}
        return extras


def score(
    predictions: PredictionFiles,
    truths: Iterable[Truth],
    *,
    protocol: str | Protocol = "askmask",
    min_pixels: int = 0,
    left_out: Notes | None = None,
    on_item: Callable[[Truth], None] | None = None,
) -> Scored:
    """Score predictions against ground truth, one item at a time.

    `left_out` is what the reader of `truths` counts while they are read; it goes into the notes of the scores.

    Every truth counts once: one without prediction is scored as the empty mask and counted as missing.
    Predictions for unknown ids are counted and not scored. Raises DataError for what is malformed, for masks
    of another size than the picture, and for ids that occur twice on either side.
    """
    protocol = protocol_named(protocol) if isinstance(protocol, str) else protocol
    meter, missing, notes = Meter(), [], []
    ignored = 0
    for truth in truths:
        prediction = predictions.get(truth.id, truth.size)
        if prediction is None:
            missing.append(truth.id)
        meter.add(
            count(truth, prediction, use_ignore=protocol.use_ignore, canvas=protocol.canvas, pairs=True)
        )
        ignored += truth.ignore is not None
        if on_item is not None:
            on_item(truth)
    if not len(meter):
        raise DataError("the ground truth holds no labelled item", do="Check the path and the split.")
    unknown = tuple(sorted(name for name in predictions if name not in meter))
    if ignored and not protocol.use_ignore:
        notes.append(
            f"{ignored} items carry an ignored region; protocol {protocol.name} knows none and counts those pixels."
        )
    if len(unknown) == len(predictions) and len(predictions):
        notes.append(
            f"No predicted id occurs in the ground truth: predicted e.g. {unknown[0]!r}, true e.g. {missing[0]!r}."
        )
    if left_out is not None:
        notes += [f"Not in the ground truth that was read: {line}" for line in left_out.lines()]
    hashes = {"predictions": predictions.sha256}
    return Scored(protocol, meter, tuple(missing), unknown, tuple(notes), min_pixels, hashes, predictions)


def versions() -> dict[str, str]:
    """Return the versions that a score depends on."""
    return {
        "askmask": __version__,
        "numpy": np.__version__,
        "pycocotools": metadata.version("pycocotools"),
        "python": platform.python_version(),
    }


def matched_scores(pairs: Sequence[tuple[int, int]]) -> dict[str, float | int | None]:
    """Score single masks matched one to one: mean and pooled IoU over pairs and over masks without partner."""
    inter, union = sum(i for i, _ in pairs), sum(u for _, u in pairs)
    values = [ratio(i, u) for i, u in pairs]
    return {
        "n_masks": len(pairs),
        "gIoU": sum(values) / len(values) if values else None,
        "cIoU": inter / union if union else None,
    }


def clusters(rows: Sequence[Row]) -> list[str]:
    """Name the cluster of each row: its conversation, else itself."""
    return [f"i {row.id}" if row.conversation is None else f"c {row.conversation}" for row in rows]


def grouped(rows: Sequence[Row]) -> dict[str, dict[str, list[Row]]]:
    """Sort rows into {grouping: {value: rows}}; numbers in order of size, names alphabetically."""
    groups: dict[str, dict[str, list[Row]]] = {}
    for row in rows:
        for key, value in row.groups.items():
            groups.setdefault(key, {}).setdefault(str(value), []).append(row)
    return {
        key: dict(sorted(groups[key].items(), key=lambda item: _value_place(item[0])))
        for key in sorted(groups, key=lambda key: (_place(key, GROUP_ORDER), key))
    }


def _place(name: str, order: tuple[str, ...]) -> int:
    return order.index(name) if name in order else len(order)


def _value_place(value: str) -> tuple[int, bool, int, str]:
    number = value.isascii() and value.isdecimal() and len(value) < 20
    return (_place(value, SIZES), not number, int(value) if number else 0, value)


def telling_groups(data: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the groups worth a table: not those whose one value holds every item."""
    return {
        key: values
        for key, values in data["groups"].items()
        if values and any(part["n"] < data["n"] for part in values.values())
    }


def defined(scores: dict[str, np.ndarray]) -> dict[str, float | None]:
    """Return plain numbers, None for what is undefined."""
    return {name: float(value) if np.isfinite(value) else None for name, value in scores.items()}


def _notes(scored: Scored, rows: Sequence[Row]) -> list[str]:
    notes = []
    if scored.missing:
        notes.append(
            f"{len(scored.missing)} of {len(rows)} items have no prediction: scored as the empty mask."
        )
    if scored.unknown:
        notes.append(
            f"{len(scored.unknown)} predictions name an id the ground truth does not have: not scored."
        )
    derived = sum(row.said_none is None and not row.missing for row in rows)
    if derived and any(row.no_target for row in rows):
        notes.append(
            f'{derived} predictions make no "no_target" statement: taken from the mask '
            f"(at most {scored.min_pixels} px predicted means none)."
        )
    return notes
