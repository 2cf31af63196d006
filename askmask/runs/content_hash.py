"""SHA-256 of files by their bytes, remembered for large ones; the folder of the user's caches."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from askmask.errors import DataError
from askmask.runs.json_text import read_json
from askmask.runs.whole_files import write_json

REMEMBERED_BYTES = 64 << 20  # smaller files are hashed faster than the memory is looked up


def cache_root() -> Path:
    """Return the folder of the user's caches: $ASKMASK_CACHE, else ~/.cache/askmask."""
    root = os.environ.get("ASKMASK_CACHE")
    return (
        Path(root) if root else Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "askmask"
    )


def sha256(path: str | Path) -> str:
    """Return a file's SHA-256 in hex."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def remembered_sha256(path: str | Path) -> str:
    """Return a file's SHA-256; of a large one hashed once while its path, size and time of change stay."""
    path = Path(path).resolve()
    stat = path.stat()
    if stat.st_size < REMEMBERED_BYTES:
        return sha256(path)
    facts = f"{path}\n{stat.st_size}\n{stat.st_mtime_ns}".encode(errors="surrogatepass")
    kept = cache_root() / "hashes" / f"{hashlib.sha256(facts).hexdigest()[:32]}.json"
    try:
        found = read_json(kept)["sha256"]
        if isinstance(found, str) and len(found) == 64:
            return found
    except (DataError, KeyError, TypeError):  # not there yet, or damaged
        pass
    digest = sha256(path)
    try:
        write_json(kept, {"sha256": digest})
    except OSError:  # a home that cannot be written to costs only time
        pass
    return digest


def hash_of_files(files: dict[str, Path]) -> str:
    """Return one SHA-256 over the names and bytes of several files, whatever their order."""
    whole = hashlib.sha256()
    for name, path in sorted(files.items()):
        whole.update(f"{name}\n{remembered_sha256(path)}\n".encode(errors="surrogatepass"))
    return whole.hexdigest()
