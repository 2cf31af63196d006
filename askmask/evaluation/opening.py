"""Open whatever holds ground truth: a JSONL, our own files, or a data set by name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from askmask.errors import DataError
from askmask.evaluation.text_scores import Reference, references_of
from askmask.evaluation.truth import Truth, read_truths, truths_of
from askmask.formats import open_dataset
from askmask.formats.catalogue import kind_of
from askmask.notes import Notes
from askmask.runs.content_hash import sha256
from askmask.runs.json_text import read_json
from askmask.runs.manifest import MANIFEST


def open_truths(source: str | Path, notes: Notes | None = None) -> Iterator[Truth]:
    """Yield the labelled items of a ground-truth JSONL, of own files, or of NAME:ROOT[@SPLIT].

    A malformed line of a ground-truth JSONL raises DataError, as does a source without any labelled item. What a
    reader of data sets leaves out, `notes` counts.
    """
    path = Path(source)
    if path.is_file() and path.suffix == ".jsonl" and kind_of(path) == "truth":
        return _some(read_truths(path), source)
    return _some(truths_of(open_dataset(str(source), notes=notes)), source)


def _some(truths: Iterator[Truth], source: str | Path) -> Iterator[Truth]:
    empty = True
    for truth in truths:
        empty = False
        yield truth
    if empty:
        raise DataError(
            "the ground truth holds no labelled item", got=source, do="Check the path and the split."
        )


def open_references(source: str | Path) -> Iterator[Reference]:
    """Yield the gold replies of the same sources, of rounds without mask too."""
    path = Path(source)
    if path.is_file() and path.suffix == ".jsonl" and kind_of(path) == "truth":
        return (Reference(truth.id, truth.reply) for truth in read_truths(path) if truth.reply)
    return references_of(open_dataset(str(source)))


def truth_hash(source: str | Path) -> str | None:
    """Return the SHA-256 of a ground-truth file's bytes, None where the source is more than one file."""
    return sha256(source) if Path(source).is_file() else None


def run_facts(predictions: str | Path) -> dict[str, str]:
    """Return what the run that wrote a folder of predictions says of itself: model, protocol, history, ..."""
    path = Path(predictions) / MANIFEST
    manifest = read_json(path) if path.is_file() else None
    facts = manifest.get("facts") if isinstance(manifest, dict) else None
    facts = facts if isinstance(facts, dict) else {}
    return {key: value for key, value in facts.items() if isinstance(value, str)}
