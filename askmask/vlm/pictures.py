"""Pictures as a model gets them: shrunk, encoded, and known by their pixels or bytes."""

from __future__ import annotations

import base64
import hashlib
import io
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image

from askmask.errors import DataError
from askmask.imaging.files import read_picture

JPEG_QUALITY = 92
MOST_FILE_BYTES = 20 << 20
_MEDIA = {".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".png": "image/png", ".webp": "image/webp"}


class Sendable(Protocol):
    """A picture that can go into a request: `name` says in words what it is."""

    @property
    def name(self) -> str:
        """What it shows: "the original", "one region marked"."""

    @property
    def sha256(self) -> str:
        """Its identity in the cache."""

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""

    @property
    def rgb(self) -> np.ndarray:
        """Its pixels, uint8 [H, W, 3]."""

    @property
    def media(self) -> str:
        """The media type of `data`."""

    @property
    def data(self) -> bytes:
        """The encoded picture."""


@dataclass(frozen=True)
class SentPicture:
    """Pixels uint8 [H, W, 3], sent as JPEG. Its identity is its pixels, not the encoder's bytes."""

    rgb: np.ndarray
    name: str
    media = "image/jpeg"

    @cached_property
    def sha256(self) -> str:
        """Hash of size and pixels."""
        return pixel_hash(self.rgb)

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        return self.rgb.shape[0], self.rgb.shape[1]

    @cached_property
    def data(self) -> bytes:
        """JPEG without chroma subsampling: thin coloured outlines survive."""
        buffer = io.BytesIO()
        Image.fromarray(self.rgb).save(buffer, format="JPEG", quality=JPEG_QUALITY, subsampling=0)
        return buffer.getvalue()


@dataclass(frozen=True)
class SentFile:
    """A JPEG, PNG or WebP file sent byte by byte as it is."""

    data: bytes
    media: str
    name: str
    rgb: np.ndarray

    @classmethod
    def read(cls, path: str | Path, name: str = "the picture") -> SentFile:
        """Read a file. Raises DataError for another suffix or more than 20 MB, PictureError for no picture."""
        path = Path(path)
        media = _MEDIA.get(path.suffix.lower())
        if not path.is_file():
            raise DataError("no such file", got=path)
        if media is None or path.stat().st_size > MOST_FILE_BYTES:
            raise DataError(
                f"a JPEG, PNG or WebP file of at most {MOST_FILE_BYTES >> 20} MB is needed", got=path
            )
        return cls(path.read_bytes(), media, name, read_picture(path).rgb)

    @cached_property
    def sha256(self) -> str:
        """Hash of the file's bytes."""
        return hashlib.sha256(self.data).hexdigest()

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        return self.rgb.shape[0], self.rgb.shape[1]


def data_url(picture: Sendable) -> str:
    """Return the encoded picture as a data URL."""
    return f"data:{picture.media};base64," + base64.b64encode(picture.data).decode("ascii")


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
