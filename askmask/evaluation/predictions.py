"""Predictions of any model: strict reading of the prediction JSONL, by id.

One row of a prediction file (a field with ? may be absent):

    {"id": "a1", "masks": [RLE or "path/of/mask.png", ...], "no_target"?: false, "score"?: 0.93, "text"?: "..."}

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
from typing import Any, BinaryIO

from askmask.errors import AskMaskError, DataError
from askmask.evaluation.truth import mask_list, mask_of_size
from askmask.imaging.mask import Mask, union_of
from askmask.runs.json_text import MAX_LINE_BYTES, locate_rows, parse_row

MAX_MASKS = 1_000  # in one answer; matching them one to one is cubic


@dataclass(frozen=True, slots=True)
class Prediction:
    """One answer: its masks at picture size, whether it said that nothing matches, confidence, words."""

    id: str
    masks: tuple[Mask, ...] = ()
    no_target: bool | None = None  # None: the model makes no such statement
    score: float | None = None
    text: str | None = None

    def mask(self, size: tuple[int, int]) -> Mask:
        """Return the union of the masks."""
        return self.masks[0] if len(self.masks) == 1 else union_of(self.masks, size)

    def to_dict(self) -> dict[str, Any]:
        """Return the row of the prediction format."""
        data: dict[str, Any] = {"id": self.id, "masks": [mask.to_dict() for mask in self.masks]}
        for name in ("no_target", "score", "text"):
            if getattr(self, name) is not None:
                data[name] = getattr(self, name)
        return data


class PredictionFiles:
    """Prediction files (one, or all `predictions*.jsonl` of a folder) as a mapping from id to Prediction.

    Opening reads them once, keeps id -> place, and raises DataError for an unreadable line or an id that occurs
    twice. Use as a context manager.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.files = sorted(self.path.glob("predictions*.jsonl")) if self.path.is_dir() else [self.path]
        if not self.files:
            raise DataError("the folder holds no predictions*.jsonl", got=self.path)
        self._places: dict[str, tuple[int, int, int]] = {}  # id -> file, line number, byte offset
        for index, file in enumerate(self.files):
            for number, offset, row in locate_rows(file):
                name = row.get("id")
                if not isinstance(name, str) or not name:
                    raise DataError(
                        f'{file}, line {number}: a prediction needs a text "id"', got=repr(name)[:80]
                    )
                if name in self._places:
                    other, line, _ = self._places[name]
                    raise DataError(
                        f"id {name!r} is predicted twice: {self.files[other]}, line {line} and {file}, line {number}",
                        do="Keep one; which one counts is not ours to guess.",
                    )
                self._places[name] = index, number, offset
        self._open: dict[int, BinaryIO] = {}

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, name: object) -> bool:
        return name in self._places

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __enter__(self) -> PredictionFiles:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the files."""
        for file in self._open.values():
            file.close()
        self._open.clear()

    def get(self, name: str, size: tuple[int, int]) -> Prediction | None:
        """Return the prediction for a picture of `size`, None if there is none.

        Raises DataError naming file and line for anything that is not as documented, also another size.
        """
        if name not in self._places:
            return None
        index, number, offset = self._places[name]
        if index not in self._open:
            self._open[index] = self.files[index].open("rb")
        self._open[index].seek(offset)
        place = f"{self.files[index]}, line {number}"
        row = parse_row(self._open[index].readline(MAX_LINE_BYTES + 1), place)
        try:
            return prediction_of_row(row, size, folder=self.files[index].parent)
        except AskMaskError as error:
            raise DataError(f"{place}: {error}") from error

    def sha256(self) -> str:
        """Hash the bytes of all files in order of name."""
        digest = hashlib.sha256()
        for file in self.files:
            with file.open("rb") as stream:
                while block := stream.read(1 << 20):
                    digest.update(block)
        return digest.hexdigest()


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
    score = row.get("score")
    if score is not None and (
        not isinstance(score, (int, float)) or isinstance(score, bool) or not math.isfinite(score)
    ):
        raise DataError(f'id {name!r}: "score" must be a finite number', got=repr(score)[:80])
    text = row.get("text")
    if text is not None and not isinstance(text, str):
        raise DataError(f'id {name!r}: "text" must be text', got=repr(text)[:80])
    masks = tuple(
        _mask_of_png(value, size, name, folder) if isinstance(value, str) else mask_of_size(value, size, name)
        for value in values
    )
    return Prediction(name, masks, no_target, None if score is None else float(score), text)


def _mask_of_png(value: str, size: tuple[int, int], name: str, folder: Path) -> Mask:
    """Read a PNG inside `folder` only: a prediction file must not make us read the rest of the disk."""
    inside = PurePosixPath(value.replace("\\", "/"))
    folder = folder.resolve()
    path = (folder / inside).resolve()
    if inside.is_absolute() or ".." in inside.parts or not path.is_relative_to(folder):
        raise DataError(
            f"id {name!r}: a mask's path must stay inside the prediction file's folder",
            got=repr(value)[:120],
            do="Move the PNG files beside the predictions and give relative paths.",
        )
    if path.suffix.lower() != ".png":
        raise DataError(f"id {name!r}: a mask's path must end in .png", got=repr(value)[:120])
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
