"""Predictions of any model: strict reading of the prediction JSONL, by id.

One row of a prediction file (a field with ? may be absent):

    {"id": "a1", "masks": [RLE or "path/of/mask.png", ...], "no_target"?: false, "score"?: 0.93,
     "mask_scores"?: [0.97, ...], "text"?: "..."}

RLE is COCO's {"size": [height, width], "counts": compressed text or list of run lengths}. A path is relative to
the file's folder and stays inside it; in its PNG every pixel whose luminance is not zero belongs to the mask.
Files come from anybody: sizes are checked before anything is decoded.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from askmask.errors import AskMaskError, DataError
from askmask.evaluation.truth import mask_list, mask_of_size, read_id
from askmask.imaging.mask import Mask, union_of
from askmask.runs.json_text import read_rows

MAX_MASKS = 1_000  # in one answer; matching them one to one is cubic


@dataclass(frozen=True, slots=True)
class Prediction:
    """One answer: its masks at picture size, whether it said that nothing matches, confidence, words."""

    id: str
    masks: tuple[Mask, ...] = ()
    no_target: bool | None = None  # None: the model makes no such statement
    score: float | None = None
    text: str | None = None
    scores: tuple[float, ...] | None = None  # of each mask

    @property
    def mask_scores(self) -> tuple[float, ...] | None:
        """The score of each mask; of a single one, the answer's. None where a mask has none."""
        if self.no_target or not self.masks:
            return ()
        if self.scores is None and self.score is not None and len(self.masks) == 1:
            return (self.score,)
        return self.scores

    def mask(self, size: tuple[int, int]) -> Mask:
        """Return the union of the masks."""
        return self.masks[0] if len(self.masks) == 1 else union_of(self.masks, size)

    def to_dict(self) -> dict[str, Any]:
        """Return the row of the prediction format."""
        data: dict[str, Any] = {"id": self.id, "masks": [mask.to_dict() for mask in self.masks]}
        for name in ("no_target", "score", "text"):
            if getattr(self, name) is not None:
                data[name] = getattr(self, name)
        return data if self.scores is None else data | {"mask_scores": list(self.scores)}


class PredictionFiles:
    """Prediction files (one, or all `predictions*.jsonl` of a folder) as a mapping from id to Prediction.

    Opening reads every line once and keeps the rows; masks are decoded when asked for. Raises DataError for an
    unreadable line or an id that occurs twice. `sha256` is the hash of the files' bytes in order of name.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        files = sorted(self.path.glob("predictions*.jsonl")) if self.path.is_dir() else [self.path]
        if not files:
            raise DataError("the folder holds no predictions*.jsonl", got=self.path)
        self._rows: dict[str, tuple[Path, int, dict[str, Any]]] = {}  # id -> file, line number, row
        digest = hashlib.sha256()
        for file in files:
            for number, row in read_rows(file, on_line=digest.update):
                name = read_id(row, f"{file}, line {number}: a prediction")
                if name in self._rows:
                    other, line, _ = self._rows[name]
                    raise DataError(
                        f"id {name!r} is predicted twice: {other}, line {line} and {file}, line {number}",
                        do="Keep one; which one counts is not ours to guess.",
                    )
                self._rows[name] = file, number, row
        self.sha256 = digest.hexdigest()

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, name: object) -> bool:
        return name in self._rows

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def get(self, name: str, size: tuple[int, int]) -> Prediction | None:
        """Return the prediction for a picture of `size`, None if there is none.

        Raises DataError naming file and line for anything that is not as documented, also another size.
        """
        if name not in self._rows:
            return None
        file, number, row = self._rows[name]
        try:
            return prediction_of_row(row, size, folder=file.parent)
        except AskMaskError as error:
            raise DataError(f"{file}, line {number}: {error}") from error


def prediction_of_row(row: Mapping[str, Any], size: tuple[int, int], *, folder: Path) -> Prediction:
    """Read one row of the prediction format for a picture of `size`."""
    name = str(row["id"])
    no_target = row.get("no_target")
    if no_target is not None and not isinstance(no_target, bool):
        raise DataError(f'id {name!r}: "no_target" must be true, false or absent', got=repr(no_target)[:80])
    values = row.get("masks")
    values = [] if values is None and no_target else mask_list(values, name)
    if len(values) > MAX_MASKS:
        raise DataError(f"id {name!r}: more than {MAX_MASKS} masks", got=len(values))
    score = None if row.get("score") is None else _finite(row["score"], f'id {name!r}: "score"')
    scores = row.get("mask_scores")
    if scores is not None:
        if not isinstance(scores, list) or len(scores) != len(values):
            raise DataError(
                f'id {name!r}: "mask_scores" must be a list of one number for each of {len(values)} masks',
                got=repr(scores)[:80],
            )
        scores = tuple(_finite(value, f'id {name!r}: each of "mask_scores"') for value in scores)
    text = row.get("text")
    if text is not None and not isinstance(text, str):
        raise DataError(f'id {name!r}: "text" must be text', got=repr(text)[:80])
    masks = tuple(
        _mask_of_png(value, size, name, folder) if isinstance(value, str) else mask_of_size(value, size, name)
        for value in values
    )
    return Prediction(name, masks, no_target, score, text, scores)


def _finite(value: Any, what: str) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):  # a whole number of 400 digits, too
        number = math.nan
    if type(value) not in (int, float) or not math.isfinite(number):
        raise DataError(f"{what} must be a finite number", got=repr(value)[:80])
    return number


def _mask_of_png(value: str, size: tuple[int, int], name: str, folder: Path) -> Mask:
    """Read a PNG inside `folder` only: a prediction file must not make us read the rest of the disk."""
    inside = PurePosixPath(value.replace("\\", "/"))
    try:
        folder = folder.resolve()
        path = (folder / inside).resolve()
        regular = path.is_file()  # not a fifo, which would wait for ever
    except (OSError, ValueError) as error:  # a zero byte, a loop of links
        raise DataError(f"id {name!r}: a mask's path cannot be read", got=ascii(value)[:120]) from error
    if inside.is_absolute() or ".." in inside.parts or not path.is_relative_to(folder):
        raise DataError(
            f"id {name!r}: a mask's path must stay inside the prediction file's folder",
            got=repr(value)[:120],
            do="Move the PNG files beside the predictions and give relative paths.",
        )
    if path.suffix.lower() != ".png":
        raise DataError(f"id {name!r}: a mask's path must end in .png", got=repr(value)[:120])
    if not regular:
        raise DataError(f"id {name!r}: the mask's file cannot be read", got=ascii(str(path)))
    _check_png_size(path, size, name)
    return Mask.from_png(path)


def _check_png_size(path: Path, size: tuple[int, int], name: str) -> None:
    """Hold the size in the PNG's header against the picture's before any pixel is decoded."""
    try:
        with path.open("rb") as file:
            header = file.read(24)
    except OSError as error:
        raise DataError(f"id {name!r}: the mask's file cannot be read", got=path) from error
    if header[:8] != b"\x89PNG\r\n\x1a\n" or header[12:16] != b"IHDR":
        raise DataError(f"id {name!r}: not a PNG file", got=path)
    found = [int.from_bytes(header[20:24], "big"), int.from_bytes(header[16:20], "big")]
    if found != list(size):
        raise DataError(
            f"id {name!r}: the PNG must have the picture's size {list(size)} (height, width)",
            got=f"{found} in {path}",
        )
