"""Read other people's data files: size limits, and errors that name file and row."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image

from askmask.errors import AskMaskError, DataError
from askmask.imaging.files import MAX_PICTURE_PIXELS

MAX_JSON_BYTES = 4 << 30  # the largest published annotation file is below 2 GB
_SIDEWAYS = {5, 6, 7, 8}  # EXIF orientations that exchange height and width


def read_json(path: str | Path, *, encodings: tuple[str, ...] = ("utf-8",), kind: type = dict) -> Any:
    """Read a JSON file of the top-level `kind`, trying the encodings in order.

    Raises DataError naming the file for what is absent, too large, undecodable, no JSON, or of another kind.
    """
    path = Path(path)
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise DataError(f"{path}: larger than {MAX_JSON_BYTES >> 30} GB")
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise DataError("no such file", got=path, do="Check the root folder and the split.") from error
    except IsADirectoryError as error:
        raise DataError("a file is needed", got=f"the folder {path}") from error
    for encoding in encodings:
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        try:
            value = json.loads(text.removeprefix("\ufeff"))
        except (json.JSONDecodeError, RecursionError) as error:
            raise DataError(f"{path}: not JSON", got=error) from error
        if not isinstance(value, kind):
            raise DataError(f"{path}: a JSON {kind.__name__} is needed", got=type(value).__name__)
        return value
    raise DataError(f"{path}: not text in {' or '.join(encodings)}", got=repr(data[:40]))


@contextmanager
def naming(place: str) -> Iterator[None]:
    """Turn whatever a malformed row raises into a DataError that begins with `place`."""
    try:
        yield
    except KeyError as error:
        raise DataError(f"{place}: a field is missing", got=f"no {error}") from error
    except AskMaskError as error:
        raise DataError(f"{place}: {error}") from error
    except (TypeError, ValueError, AttributeError, IndexError) as error:
        raise DataError(f"{place}: not as documented", got=error) from error


def picture_size(path: str | Path) -> tuple[int, int]:
    """Return (height, width) of the upright picture from the file's header alone."""
    try:
        with Image.open(path) as image:
            width, height = image.size
            if image.getexif().get(0x0112) in _SIDEWAYS:
                width, height = height, width
    except FileNotFoundError as error:
        raise DataError("no such picture", got=path) from error
    except Exception as error:  # Pillow's readers raise nearly anything on damaged headers
        raise DataError("not a picture that can be read", got=f"{path} ({error})") from error
    if width * height > MAX_PICTURE_PIXELS:
        raise DataError(f"a picture of more than {MAX_PICTURE_PIXELS} pixels", got=f"{width} x {height}")
    return height, width


def inside(folder: Path, name: Any) -> Path:
    """Join a path that a file gives to its folder; an absolute one stands as it is."""
    if not isinstance(name, str) or not name or "\0" in name:
        raise DataError("a path is needed", got=repr(name)[:80])
    return folder / name
