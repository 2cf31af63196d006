"""Pictures that live inside a table: written once to a cache folder, named by their content. No decoding."""

from __future__ import annotations

import hashlib
from pathlib import Path

from askmask.errors import DataError
from askmask.imaging.files import MAX_PICTURE_BYTES
from askmask.runs.content_hash import cache_root
from askmask.runs.whole_files import write_bytes

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
