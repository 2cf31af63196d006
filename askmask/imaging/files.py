"""Read pictures upright and safely, from a path, bytes, a Pillow image or an array. Writes nothing."""

from __future__ import annotations

import io
import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from askmask.errors import PictureError
from askmask.runs.manifest import is_ours

MAX_PICTURE_PIXELS = 100_000_000  # above any camera; a decoded picture then stays under 300 MB
MAX_PICTURE_BYTES = 512 << 20
# Only raster readers: Pillow would otherwise also try formats that start other programs (EPS -> Ghostscript).
FORMATS = ("PNG", "JPEG", "MPO", "WEBP", "BMP", "TIFF", "GIF", "PPM", "AVIF")
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm", ".pgm", ".avif")

# EXIF orientation -> how stored pixels become upright ones; 6 and 8 undo each other, the rest undo themselves.
_TURN = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a.swapaxes(0, 1)[::-1, ::-1],
    8: lambda a: np.rot90(a, 1),
}
_UNDO = {6: 8, 8: 6}


@dataclass(frozen=True, eq=False, slots=True)
class Picture:
    """An upright picture and how its file had stored it."""

    rgb: np.ndarray  # uint8 [H, W, 3], upright
    orientation: int = 1  # EXIF, 1 to 8
    name: str = "picture"

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the upright picture."""
        return self.rgb.shape[:2]

    def as_stored(self) -> np.ndarray:
        """Return uint8 [H', W', 3] as the file stores it, before its EXIF orientation is applied."""
        return np.ascontiguousarray(_TURN[_UNDO.get(self.orientation, self.orientation)](self.rgb))

    def upright(self, array: np.ndarray) -> np.ndarray:
        """Turn an array [H', W'] over the stored pixels into one [H, W] over the upright picture."""
        return np.ascontiguousarray(_TURN[self.orientation](array))


def read_picture(source: Any, *, max_pixels: int = MAX_PICTURE_PIXELS) -> Picture:
    """Read a path, encoded bytes, a Pillow image, or an array uint8 [H, W], [H, W, 3] or [H, W, 4].

    Grey, palette, CMYK and 16-bit pictures become 8-bit RGB; an alpha channel is dropped, not blended.
    Raises PictureError for what is missing, no picture, damaged, animated, or above `max_pixels`.
    """
    if isinstance(source, Picture):
        return source
    if isinstance(source, np.ndarray):
        return Picture(_rgb_of_array(source, max_pixels))
    name = str(source) if isinstance(source, (str, Path)) else "picture"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's own bomb warning and damaged EXIF: judged below
        image = source if isinstance(source, Image.Image) else _open(source, name)
        try:
            _check_size(
                image.size[0] * image.size[1], f"{image.size[0]} x {image.size[1]} px", name, max_pixels
            )
            frames = getattr(image, "n_frames", 1)
            if frames > 1 and image.format != "MPO":
                raise PictureError(
                    f"{name}: a still picture is needed",
                    got=f"{image.format} with {frames} frames",
                    do="Save one frame as PNG.",
                )
            image.load()
            orientation = image.getexif().get(0x0112, 1)
            rgb = np.array(_to_rgb(image, name))
        except (PictureError, MemoryError):
            raise
        except Exception as error:  # Pillow's readers raise nearly anything on damaged files
            raise PictureError(
                f"{name}: the picture is damaged or cut short", got=error, do="Fetch or export it again."
            ) from error
    orientation = orientation if orientation in _TURN else 1
    return Picture(np.ascontiguousarray(_TURN[orientation](rgb)), orientation, name)


def read_luminance(source: str | Path | bytes) -> np.ndarray:
    """Read a picture's luminance as stored, uint8 [H, W]."""
    name = "mask" if isinstance(source, bytes) else str(source)
    image = _open(source, name)
    _check_size(
        image.size[0] * image.size[1], f"{image.size[0]} x {image.size[1]} px", name, MAX_PICTURE_PIXELS
    )
    try:
        return np.asarray(image.convert("L"))
    except Exception as error:
        raise PictureError(f"{name}: the picture is damaged or cut short", got=error) from error


def list_pictures(folder: str | Path) -> list[Path]:
    """Return the picture files below a folder, by suffix, sorted by path.

    Hidden ones are left out, and folders below that carry the manifest of a run: what askmask wrote is not read
    again as what it was given.
    """
    found: list[Path] = []
    for root, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name[0] != "." and not is_ours(Path(root, name))]
        paths = (Path(root, name) for name in names if name[0] != ".")
        found += (path for path in paths if path.suffix.lower() in SUFFIXES and path.is_file())
    return sorted(found)


def _open(source: str | Path | bytes, name: str) -> Image.Image:
    if isinstance(source, (str, Path)):
        path = Path(source)
        if str(source).startswith(("http://", "https://")):
            raise PictureError(
                "a picture is read from a file", got=name, do="Download it first, then pass its path."
            )
        try:
            if not path.exists():
                raise PictureError("no such picture", got=name, do="Check the path.")
            if not path.is_file():
                kind = "a folder" if path.is_dir() else "no regular file"
                raise PictureError("a picture file is needed", got=f"{name}, which is {kind}")
            if path.stat().st_size > MAX_PICTURE_BYTES:
                raise PictureError(
                    f"{name}: larger than {MAX_PICTURE_BYTES >> 20} MB", got=f"{path.stat().st_size} bytes"
                )
            data = path.read_bytes()
        except OSError as error:  # no permission, a name too long, a disk that went away
            raise PictureError(f"{name}: cannot be read", got=error.strerror) from error
    elif isinstance(source, (bytes, bytearray, memoryview)):
        data = bytes(source)
    else:
        raise PictureError(
            "a picture must be a path, bytes, a Pillow image or a numpy array", got=type(source).__name__
        )
    if not data:
        raise PictureError(f"{name}: the file is empty", do="Fetch or export it again.")
    try:
        return Image.open(
            io.BytesIO(data), formats=[f for f in FORMATS if f in Image.OPEN or f in _registered()]
        )
    except UnidentifiedImageError as error:
        raise PictureError(
            f"{name}: not a picture that can be read",
            got=f"a file that begins {data[:12]!r}",
            do="Use PNG or JPEG.",
        ) from error
    except Image.DecompressionBombError as error:
        raise PictureError(f"{name}: too many pixels", got=error, do="Scale it down first.") from error
    except Exception as error:  # as above: damaged headers raise nearly anything
        raise PictureError(f"{name}: the picture's header is damaged", got=error) from error


def _registered() -> set[str]:
    Image.init()
    return set(Image.OPEN)


def _check_size(pixels: int, got: str, name: str, max_pixels: int) -> None:
    if not pixels:
        raise PictureError(f"{name}: the picture has no pixels", got=got)
    if pixels > max_pixels:
        raise PictureError(
            f"{name}: more than {max_pixels} pixels", got=got, do="Scale it down, or cut it into tiles."
        )


def _to_rgb(image: Image.Image, name: str) -> Image.Image:
    if image.mode in ("I;16", "I;16L", "I;16B", "I;16N", "I"):
        values = np.asarray(image).astype(np.int64)
        # Pillow widens 16-bit greys to "I"; only values above 255 tell them from 8-bit ones.
        values = values >> 8 if image.mode != "I" or values.max(initial=0) > 255 else values
        return Image.fromarray(values.clip(0, 255).astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        raise PictureError(f"{name}: floating-point pixels have no known range", do="Save it as 8-bit PNG.")
    return image.convert("RGB")


def _rgb_of_array(array: np.ndarray, max_pixels: int) -> np.ndarray:
    if (
        array.dtype != np.uint8
        or array.ndim not in (2, 3)
        or (array.ndim == 3 and array.shape[2] not in (1, 3, 4))
    ):
        raise PictureError(
            "an array must be uint8 [H, W], [H, W, 3] or [H, W, 4]",
            got=f"{array.dtype} {list(array.shape)}",
            do="Scale floats by 255 and convert; move channels last.",
        )
    _check_size(array.shape[0] * array.shape[1], f"shape {list(array.shape)}", "array", max_pixels)
    array = array[..., None] if array.ndim == 2 else array
    # A copy: what the caller does to the array later must not change the picture.
    return np.repeat(array, 3, axis=2) if array.shape[2] == 1 else array[..., :3].copy()
