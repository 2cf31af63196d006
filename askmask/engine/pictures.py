"""Pictures of a run: found, read upright, identified by content, shrunk and encoded for a model.

A picture is known by the hash of its upright pixels, so a renamed, moved or re-wrapped file is the same picture.
"""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image

from askmask.errors import PictureError
from askmask.imaging.files import SUFFIXES, list_pictures, read_picture

JPEG_QUALITY = 92


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


@dataclass(frozen=True)
class SentPicture:
    """A picture as a model gets it. Its identity is its pixels before encoding, not the encoder's bytes."""

    rgb: np.ndarray
    name: str  # "original", "marked", ...

    @cached_property
    def sha256(self) -> str:
        """Hash of size and pixels."""
        return pixel_hash(self.rgb)

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        return self.rgb.shape[0], self.rgb.shape[1]

    @cached_property
    def jpeg(self) -> bytes:
        """JPEG without chroma subsampling: thin coloured outlines survive."""
        buffer = io.BytesIO()
        Image.fromarray(self.rgb).save(buffer, format="JPEG", quality=JPEG_QUALITY, subsampling=0)
        return buffer.getvalue()

    @property
    def data_url(self) -> str:
        """The JPEG as a data URL."""
        return "data:image/jpeg;base64," + base64.b64encode(self.jpeg).decode("ascii")


def pixel_hash(rgb: np.ndarray) -> str:
    """Return the SHA-256 of uint8 [H, W, 3] with its size."""
    digest = hashlib.sha256(f"{rgb.shape[0]}x{rgb.shape[1]}:".encode())
    digest.update(np.ascontiguousarray(rgb).data)
    return digest.hexdigest()


def shrink(rgb: np.ndarray, longest_px: int) -> np.ndarray:
    """Return the picture with its longer side at most `longest_px`; smaller ones are left as they are."""
    height, width = rgb.shape[:2]
    scale = longest_px / max(height, width)
    if scale >= 1:
        return rgb
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(Image.fromarray(rgb).resize(size, Image.Resampling.LANCZOS))


def difference_hash(rgb: np.ndarray) -> int:
    """Return a 64-bit perceptual hash (dHash): which of neighbouring cells of a 9 x 8 grey picture is brighter."""
    grey = np.asarray(Image.fromarray(rgb).convert("L").resize((9, 8), Image.Resampling.BOX), dtype=np.int16)
    bits = (grey[:, 1:] > grey[:, :-1]).ravel()
    return int("".join("1" if bit else "0" for bit in bits), 2)


def find_pictures(source: Path) -> Iterator[Path]:
    """Yield picture files: one file, a folder (all levels, sorted, hidden ones left out), or a text list."""
    if source.is_dir():
        yield from list_pictures(source)
    elif source.suffix.lower() in SUFFIXES and source.is_file():
        yield source
    elif source.suffix.lower() == ".txt" and source.is_file():
        for line in source.read_text(encoding="utf-8").splitlines():
            if line.strip():
                path = Path(line.strip())
                yield path if path.is_absolute() else source.parent / path
    else:
        raise PictureError(
            "no pictures there", got=source, do="Give a folder, a picture file, or a .txt list of paths."
        )
