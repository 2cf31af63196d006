"""Pictures of a run: found, read upright, identified by content.

A picture is known by the hash of its upright pixels, so a renamed, moved or re-wrapped file is the same picture.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from askmask.errors import PictureError
from askmask.imaging.files import SUFFIXES, list_pictures, read_picture
from askmask.vlm.pictures import pixel_hash


@dataclass(frozen=True)
class Picture:
    """One upright picture in memory: `rgb` uint8 [H, W, 3] and where it came from."""

    path: str
    rgb: np.ndarray

    @classmethod
    def read(cls, path: str | Path) -> Picture:
        """Read a file; raises PictureError for anything that is no plain picture."""
        return cls(str(path), read_picture(path).rgb)

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        return self.rgb.shape[0], self.rgb.shape[1]

    @cached_property
    def sha256(self) -> str:
        """Hash of size and pixels."""
        return pixel_hash(self.rgb)


def find_pictures(source: Path) -> list[Path]:
    """List picture files: one file, a folder (all levels, sorted, hidden ones left out), or a text list.

    Raises PictureError where there are none.
    """
    found = list(_found(source))
    if not found:
        raise PictureError("no pictures there", got=source)
    return found


def _found(source: Path) -> Iterator[Path]:
    if source.is_dir():
        yield from list_pictures(source)
    elif source.suffix.lower() in SUFFIXES and source.is_file():
        yield source
    elif source.suffix.lower() == ".txt" and source.is_file():
        try:
            lines = source.read_text(encoding="utf-8-sig").splitlines()
        except UnicodeDecodeError as error:
            raise PictureError(f"{source} is no UTF-8 text", do="Save the list of paths as UTF-8.") from error
        for line in lines:
            if line.strip():
                path = Path(line.strip())
                yield path if path.is_absolute() else source.parent / path
    else:
        raise PictureError(
            "no pictures there", got=source, do="Give a folder, a picture file, or a .txt list of paths."
        )
