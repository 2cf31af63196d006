"""The one reader of picture files, as pictures, as masks, or for their size alone; upright and safe. Writes nothing."""

from __future__ import annotations

import io
import os
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from askmask.errors import PictureError
from askmask.runs.manifest import is_ours

MAX_PICTURE_PIXELS = 100_000_000  # above any camera; a decoded picture then stays under 300 MB
MAX_PICTURE_BYTES = 512 << 20
MAX_SIDE = 65_535  # JPEG's own limit; a thinner and longer strip would ask for gigabytes when it is resized
# Only raster readers: Pillow would otherwise also try formats that start other programs (EPS -> Ghostscript).
FORMATS = ("PNG", "JPEG", "MPO", "WEBP", "BMP", "TIFF", "GIF", "PPM", "AVIF")
# What a folder is searched for. HEIC is among them though it cannot be read: reading it says so, file by file.
SUFFIXES = frozenset(
    ".png .jpg .jpeg .jpe .jfif .mpo .webp .bmp .tif .tiff .gif .ppm .pgm .pbm .pnm .avif .heic .heif".split()
)
LOSSY_FORMATS = ("JPEG", "MPO", "AVIF")
LOSSY = "masks in a lossy format: what is half of white or brighter was taken"
THREE_KINDS = "masks with black, coloured and transparent pixels: all that is not transparent was taken"

_PNG = b"\x89PNG\r\n\x1a\n"
_NO_PIXELS = (b"tEXt", b"zTXt", b"iTXt", b"iCCP")  # PNG chunks of text and colour profiles
_ORIENTATION = 0x0112  # the EXIF tag
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
        return turned(self.rgb, _UNDO.get(self.orientation, self.orientation))

    def upright(self, array: np.ndarray) -> np.ndarray:
        """Turn an array [H', W'] over the stored pixels into one [H, W] over the upright picture."""
        return turned(array, self.orientation)


@dataclass(frozen=True, slots=True)
class Header:
    """What a picture file says of itself without its pixels."""

    stored: tuple[int, int]  # (height, width) of the pixels as they lie in the file
    orientation: int  # EXIF, 1 to 8

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the upright picture."""
        height, width = self.stored
        return (width, height) if self.orientation >= 5 else (height, width)


def read_picture(source: Any, *, max_pixels: int = MAX_PICTURE_PIXELS, name: str | None = None) -> Picture:
    """Read a path, encoded bytes, a Pillow image, or an array uint8 [H, W], [H, W, 3] or [H, W, 4].

    Grey, palette, CMYK and 16-bit pictures become 8-bit RGB (see `_grey_8_bit`); an alpha channel is dropped, not
    blended. `name` is what to call bytes by. Raises PictureError for what is missing, no picture, damaged, animated,
    or above `max_pixels`.
    """
    if isinstance(source, Picture):
        return source
    if isinstance(source, np.ndarray):
        return Picture(_rgb_of_array(source, max_pixels))
    name = name or _name_of(source)
    image, header, turn = _decode(source, name, max_pixels)
    rgb = _pixels(_to_rgb, image, name)
    return Picture(turned(rgb, turn), header.orientation, name)


def read_mask_pixels(source: str | Path | bytes | Image.Image) -> tuple[np.ndarray, tuple[str, ...]]:
    """Read a picture file, or a Pillow image, as a mask, upright: return bool [H, W] and what in it was doubtful.

    Every pixel that is not black (or, in greys, not 0) belongs to the mask. Where some pixels are transparent and
    the others all of one kind, what can be seen is the mask. A palette counts by its colours; if all that are used
    are black, by its numbers. Formats that lose detail (JPEG) leave noise in the black: half of white decides there.
    Raises PictureError for a file that cannot be read, or whose mask cannot be told.
    """
    name = _name_of(source, "mask")
    opened = isinstance(source, Image.Image)  # of which the file's bytes are gone: WebP then counts as lossy
    data = b"" if opened else _bytes_of(source, name)
    image, _, turn = _decode(source if opened else data, name, MAX_PICTURE_PIXELS)
    if image.format in LOSSY_FORMATS or (image.format == "WEBP" and b"VP8L" not in data[:4096]):
        return turned(_pixels(_lossy_mask, image, name), turn), (LOSSY,)
    pixels, doubts = _pixels(_mask_of, image, name)
    return turned(pixels, turn), doubts


def read_ids(path: str | Path) -> np.ndarray:
    """Read a map of ids, int64 [H, W] as stored: greys and palettes by their number, colours as R + 256 G + 65536 B."""
    name = str(path)
    image, _, _ = _decode(path, name, MAX_PICTURE_PIXELS)
    if image.format in LOSSY_FORMATS or image.mode not in ("1", "L", "P", "I", "I;16", "RGB", "RGBA"):
        raise PictureError(
            f"{name}: not a map of ids", got=f"{image.format}, {image.mode}", do="Save it as PNG."
        )
    pixels = _pixels(lambda image, _: np.asarray(image).astype(np.int64), image, name)
    return pixels if pixels.ndim == 2 else pixels[..., :3] @ np.array([1, 256, 65536])


def read_header(path: str | Path) -> Header:
    """Return a picture file's stored size and orientation, from its header where that tells both."""
    name = str(path)
    with _regular_file(path, name) as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        start = file.read(16)
        if start.startswith(_PNG) and any(
            kind == b"eXIf" or kind in _NO_PIXELS for kind, *_ in _chunks(file)
        ):
            return _decode(path, name, MAX_PICTURE_PIXELS)[1]  # all of a PNG must be read to know its EXIF
        image = _opened(file, start, name)
        return _header(image, name, MAX_PICTURE_PIXELS, exif=image.format != "PNG")


def picture_size(path: str | Path) -> tuple[int, int]:
    """Return (height, width) of the upright picture."""
    return read_header(path).size


def turned(array: np.ndarray, orientation: int) -> np.ndarray:
    """Turn stored pixels [H', W', ...] of an EXIF orientation into upright ones [H, W, ...]."""
    return np.ascontiguousarray(_TURN[orientation](array))


def list_pictures(folder: str | Path) -> list[Path]:
    """Return what claims to be a picture below a folder, by suffix, sorted by path; hidden ones are left out.

    So are folders that a command of askmask wrote: what it drew is not asked again. What cannot be read (a HEIC, a
    broken link, a folder that may not be entered) is listed all the same, so that whoever reads it hears why.
    """
    closed: list[Path] = []

    def refused(error: OSError) -> None:
        closed.append(Path(error.filename))

    found: list[Path] = []
    for root, folders, files in os.walk(folder, onerror=refused):
        folders[:] = [name for name in folders if not name.startswith(".") and not is_ours(Path(root, name))]
        found += [
            Path(root, name)
            for name in files
            if not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES
        ]
    return sorted(found + closed)


# -- opening --------------------------------------------------------------------------------------------------


def _name_of(source: Any, otherwise: str = "picture") -> str:
    return str(source) if isinstance(source, (str, Path)) else otherwise


def _decode(source: Any, name: str, max_pixels: int) -> tuple[Image.Image, Header, int]:
    """Return the decoded image, its header, and the orientation by which its pixels are yet to be turned."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's own bomb warning and damaged EXIF: judged below
        if isinstance(source, Image.Image):
            return _loaded(source, name, max_pixels)
        data = _bytes_of(source, name)
        try:
            return _loaded(_opened(io.BytesIO(data), data[:16], name), name, max_pixels)
        except PictureError:
            # Pillow refuses whole PNGs for the sake of much text or an odd colour profile, which hold no pixels.
            bare = _without_chunks(data, _NO_PIXELS)
            if len(bare) == len(data):
                raise
            return _loaded(_opened(io.BytesIO(bare), bare[:16], name), name, max_pixels)


def _loaded(image: Image.Image, name: str, max_pixels: int) -> tuple[Image.Image, Header, int]:
    header = _header(image, name, max_pixels, exif=image.format != "PNG")
    try:
        if _moves(image):
            raise PictureError(
                f"{name}: a still picture is needed",
                got=f"{image.format} with several frames",
                do="Save one frame as PNG.",
            )
        image.load()
        header = (
            _header(image, name, max_pixels) if image.format == "PNG" else header
        )  # EXIF may lie at its end
    except (PictureError, MemoryError):
        raise
    except Exception as error:  # Pillow's readers raise nearly anything on damaged files
        raise _damaged(name, error) from error
    # Pillow turns TIFF pixels itself, and no others.
    return image, header, 1 if image.format == "TIFF" else header.orientation


def _moves(image: Image.Image) -> bool:
    """Whether a file holds more than one picture; counting those of a TIFF or GIF can take for ever."""
    if image.format not in ("TIFF", "GIF"):
        return image.format != "MPO" and getattr(image, "n_frames", 1) > 1
    try:
        image.seek(1)
    except EOFError:
        return False
    return True


def _header(image: Image.Image, name: str, max_pixels: int, *, exif: bool = True) -> Header:
    width, height = image.size
    _check_size(width, height, f"{width} x {height} px", name, max_pixels)
    try:
        orientation = image.getexif().get(_ORIENTATION, 1) if exif else 1
    except Exception:  # nonsense in the EXIF block says nothing about the pixels
        orientation = 1
    if not isinstance(orientation, int) or orientation not in _TURN:
        orientation = 1
    if image.format == "TIFF" and orientation >= 5:
        width, height = height, width  # Pillow gives the upright size of a TIFF, and forgets its orientation
    return Header((height, width), orientation)


def _opened(file: Any, start: bytes, name: str) -> Image.Image:
    file.seek(0)
    try:
        return Image.open(file, formats=_formats())
    except UnidentifiedImageError as error:
        if start[4:8] == b"ftyp" and start[8:12] in (b"heic", b"heix", b"hevc", b"heim", b"mif1", b"msf1"):
            raise PictureError(f"{name}: HEIC cannot be read", do="Save it as JPEG or PNG.") from error
        raise PictureError(
            f"{name}: not a picture that can be read",
            got=f"a file that begins {start[:12]!r}",
            do="Use PNG or JPEG.",
        ) from error
    except Image.DecompressionBombError as error:
        raise PictureError(f"{name}: too many pixels", got=error, do="Scale it down first.") from error
    except Exception as error:  # as above: damaged headers raise nearly anything
        raise PictureError(f"{name}: the picture's header is damaged", got=error) from error


def _formats() -> list[str]:
    Image.init()
    return [name for name in FORMATS if name in Image.OPEN]


def _bytes_of(source: Any, name: str) -> bytes:
    if isinstance(source, (str, Path)):
        try:
            with _regular_file(source, name) as file:
                data = file.read(MAX_PICTURE_BYTES + 1)
        except OSError as error:
            raise PictureError(f"{name}: cannot be read", got=error.strerror) from error
    elif isinstance(source, (bytes, bytearray, memoryview)):
        data = bytes(source)
    else:
        raise PictureError(
            "a picture must be a path, bytes, a Pillow image or a numpy array", got=type(source).__name__
        )
    if len(data) > MAX_PICTURE_BYTES:
        raise PictureError(f"{name}: larger than {MAX_PICTURE_BYTES >> 20} MB")
    if not data:
        raise PictureError(f"{name}: the file is empty", do="Fetch or export it again.")
    return data


def _regular_file(source: str | Path, name: str) -> Any:
    """Open a file for reading bytes; pipes, devices and loops of links are refused before anything is read."""
    if re.match("https?:/", str(source)):
        raise PictureError(
            "a picture is read from a file", got=name, do="Download it first, then pass its path."
        )
    path = Path(source)
    try:
        path.stat()
        if not path.is_file():
            kind = "a folder" if path.is_dir() else "no regular file"
            by = {"effective_ids": True} if os.access in os.supports_effective_ids else {}
            closed = kind == "a folder" and not os.access(path, os.R_OK | os.X_OK, **by)
            raise PictureError(
                "a picture file is needed",
                got=f"{name}, which is {kind}" + (" that may not be entered" if closed else ""),
            )
        return path.open("rb")
    except PictureError:  # which is a ValueError
        raise
    except FileNotFoundError as error:
        raise PictureError("no such picture", got=name, do="Check the path.") from error
    except (
        OSError,
        ValueError,
    ) as error:  # no permission, a loop of links, a name too long or with a zero byte
        reason = error.strerror if isinstance(error, OSError) else error
        raise PictureError(f"{name}: cannot be read", got=reason) from error


def _chunks(file: Any) -> Iterator[tuple[bytes, int, int]]:
    """Yield (type, offset, bytes in the file) of each chunk of a PNG."""
    at = len(_PNG)
    while True:
        file.seek(at)
        head = file.read(8)
        if len(head) < 8:
            return
        length = int.from_bytes(head[:4], "big") + 12
        yield head[4:], at, length
        at += length


def _without_chunks(data: bytes, kinds: tuple[bytes, ...]) -> bytes:
    if not data.startswith(_PNG):
        return data
    kept = [data[at : at + length] for kind, at, length in _chunks(io.BytesIO(data)) if kind not in kinds]
    return _PNG + b"".join(kept)


def _check_size(width: int, height: int, got: str, name: str, max_pixels: int) -> None:
    if not width * height:
        raise PictureError(f"{name}: the picture has no pixels", got=got)
    if width * height > max_pixels or max(width, height) > MAX_SIDE:
        raise PictureError(
            f"{name}: more than {max_pixels} pixels, or a side of more than {MAX_SIDE}",
            got=got,
            do="Scale it down, or cut it into tiles.",
        )


def _damaged(name: str, error: Exception) -> PictureError:
    return PictureError(
        f"{name}: the picture is damaged or cut short", got=error, do="Fetch or export it again."
    )


# -- pixels ---------------------------------------------------------------------------------------------------


def _pixels(convert: Any, image: Image.Image, name: str) -> Any:
    try:
        return convert(image, name)
    except (PictureError, MemoryError):
        raise
    except Exception as error:
        raise _damaged(name, error) from error


def _to_rgb(image: Image.Image, name: str) -> np.ndarray:
    if image.mode.startswith("I"):
        image = Image.fromarray(_grey_8_bit(np.asarray(image)))
    if image.mode == "F":
        raise PictureError(f"{name}: floating-point pixels have no known range", do="Save it as 8-bit PNG.")
    return np.array(image.convert("RGB"))


def _grey_8_bit(values: np.ndarray) -> np.ndarray:
    """Bring greys of more than 8 bits to uint8 [H, W].

    Files do not tell how many of their bits a camera used: the brightest value does, in steps of two bits.
    """
    bits = max(8, int(values.max(initial=0)).bit_length())
    return (values >> (bits + bits % 2 - 8)).clip(0, 255).astype(np.uint8)


def _mask_of(image: Image.Image, name: str) -> tuple[np.ndarray, tuple[str, ...]]:
    if image.mode.startswith("I") or image.mode in ("1", "F"):
        values = np.asarray(image)
        if image.mode == "F" and not np.isfinite(values).all():
            raise PictureError(f"{name}: a mask of numbers that are none", do="Save it as 8-bit PNG.")
        return np.asarray(values != 0), ()
    has_alpha = image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info
    if image.mode == "P" and not has_alpha:
        return _palette_mask(image, name), ()
    channels = np.asarray(image.convert("RGBA" if has_alpha else "L" if image.mode == "L" else "RGB"))
    if channels.ndim == 2:
        return np.asarray(channels != 0), ()
    coloured = np.asarray(channels[..., :3].any(-1))
    seen = np.asarray(channels[..., 3] != 0) if has_alpha else np.ones_like(coloured)
    if seen.all():
        return coloured, ()
    if coloured[seen].any() and not coloured[seen].all():
        return seen, (THREE_KINDS,)
    return seen, ()


def _palette_mask(image: Image.Image, name: str) -> np.ndarray:
    numbers = np.asarray(image)
    palette = np.array(image.getpalette("RGB"), np.uint8).reshape(-1, 3)
    used = np.unique(numbers)
    black = [n for n in used.tolist() if n >= len(palette) or not palette[n].any()]
    if len(black) == len(used):
        return numbers != 0
    if len(black) > 1:
        raise PictureError(
            f"{name}: it cannot be told which of the palette's blacks are mask",
            got=f"numbers {black[:8]} beside coloured ones",
            do="Save it as 8-bit grey: 0 outside, 255 inside.",
        )
    return ~np.isin(numbers, black)


def _lossy_mask(image: Image.Image, name: str) -> np.ndarray:
    brightest = np.asarray(image.convert("RGB")).max(-1)
    if 0 < int(brightest.max()) < 128:
        raise PictureError(
            f"{name}: a mask in a lossy format must be black and white",
            got=f"values up to {int(brightest.max())}",
            do="Save it as PNG.",
        )
    return brightest >= 128


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
    _check_size(array.shape[1], array.shape[0], f"shape {list(array.shape)}", "array", max_pixels)
    array = array[..., None] if array.ndim == 2 else array
    # A copy: what the caller does to the array later must not change the picture.
    return np.repeat(array, 3, axis=2) if array.shape[2] == 1 else array[..., :3].copy()
