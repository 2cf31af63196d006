"""Pictures at a new place: those inside a table go to a cache folder by content, those of a data set to an output."""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from PIL import Image

from askmask.errors import DataError
from askmask.imaging.files import MAX_PICTURE_BYTES, Picture, read_header, read_picture
from askmask.runs.content_hash import cache_root
from askmask.runs.whole_files import copy_file, whole_file, write_bytes

_SIGNATURES = {b"\xff\xd8\xff": ".jpg", b"\x89PNG\r\n\x1a\n": ".png", b"GIF8": ".gif", b"BM": ".bmp"}


def keep_picture(data: bytes, *, folder: Path | None = None) -> Path:
    """Write encoded picture bytes to the cache, whole or not at all, and return the path."""
    if not data or len(data) > MAX_PICTURE_BYTES:
        raise DataError(f"a picture must have 1 to {MAX_PICTURE_BYTES} bytes", got=len(data))
    suffix = next((s for mark, s in _SIGNATURES.items() if data.startswith(mark)), None)
    if suffix is None:
        suffix = ".webp" if data[:4] == b"RIFF" and data[8:12] == b"WEBP" else ".tif"
    digest = hashlib.sha256(data).hexdigest()
    path = (folder or cache_root() / "pictures") / digest[:2] / f"{digest}{suffix}"
    if not path.exists():
        write_bytes(path, data)
    return path


MOST_STEM = 160  # bytes of a file's name before its suffix: file systems take about 255
_NOT_A_NAME = re.compile('[\x00-\x1f\x7f<>:"/\\\\|?*\ud800-\udfff]')


def names_for(paths: Iterable[str]) -> dict[str, str]:
    """Give each picture the name of its file, made one that every system takes; equal stems are numbered.

    Not only the names differ but their stems, in upper and lower case alike: many formats put files of their own
    beside a picture under its stem. The same paths in the same order get the same names.
    """
    names: dict[str, str] = {}
    taken: set[str] = set()
    tried: Counter[str] = Counter()
    for path in paths:
        plain = _NOT_A_NAME.sub("_", re.split(r"[/\\]", path)[-1]).strip(" .")
        stem, dot, suffix = plain.rpartition(".")
        stem, suffix = (stem, dot + suffix) if stem and len(suffix) < 6 else (plain, "")
        free = stem = stem.encode()[:MOST_STEM].decode(errors="ignore") or "picture"
        while free.lower() in taken:
            tried[stem.lower()] += 1
            free = f"{stem}-{tried[stem.lower()] + 1}"
        taken.add(free.lower())
        names[path] = free + suffix
    return names


def upright_name(path: str | Path, name: str) -> str:
    """Return the name that `place_picture` needs: a turned picture becomes a PNG. Raises PictureError."""
    return name if read_header(path).orientation == 1 else f"{Path(name).with_suffix('.png')}"


def place_picture(path: str | Path, target: Path, *, link: bool = False, read: Picture | None = None) -> None:
    """Put a picture at its place in an output: its bytes, or if EXIF turns it its upright pixels as PNG.

    So every program sees the pixels that masks lie over, whatever it makes of EXIF, and none is lost to a second
    JPEG. `link` makes a hard link where the file system can. A target of the same time is the same picture and
    stays; `read` is the picture if it was read before. Raises PictureError.
    """
    path = Path(path)
    status = path.stat()
    turned = (read.orientation if read else read_header(path).orientation) != 1
    try:
        there = target.stat()
        if there.st_mtime_ns == status.st_mtime_ns and (turned or there.st_size == status.st_size):
            return
    except FileNotFoundError:
        pass
    if turned:
        with whole_file(target) as temporary:
            Image.fromarray((read or read_picture(path)).rgb).save(temporary, "PNG")
    elif not (link and _linked(path, target)):
        copy_file(path, target)
    else:
        return
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))


def _linked(path: Path, target: Path) -> bool:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    try:
        os.link(path, target)
    except OSError:  # another file system, or one without links
        return False
    return True
