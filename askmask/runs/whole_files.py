"""Write a file, or the files of a folder, whole or not at all, whatever ends the process.

Bytes go to a temporary file in the same folder, to the disk, and then in one step to their place. A temporary file
that a killed run left behind is named so that no reader of ours looks at it; `clear_leftovers` removes it.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from askmask.errors import AskMaskError, DataError, WriteError
from askmask.runs.claim import claim
from askmask.runs.json_text import json_text, read_json

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
# How libraries that hide the system's error say that the disk is full: torch, safetensors, sqlite.
_SAID = (
    "enforce fail at inline_container",
    "unexpected pos",
    "no space left",
    "disk is full",
    "file too large",
)
_PREFIX, _SUFFIX = ".askmask-", ".tmp"
_SWAP = ".askmask-swap.json"


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path; what the block writes there takes the place of `path` when it ends without error.

    For libraries that write themselves: tell them the format, the temporary name does not. Makes the folder if
    it is not there. Raises WriteError naming `path` when the disk is full.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary(path.parent)
    try:
        with writing(path, temporary):
            with temporary.open("xb"):
                mode = temporary.stat().st_mode
            yield temporary
            with temporary.open("r+b") as file:
                os.fsync(file.fileno())
            temporary.chmod(mode)  # some libraries make files that only their owner may read
            os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def open_whole(path: str | Path) -> Iterator[BinaryIO]:
    """Yield a file open for writing bytes; see `whole_file`."""
    with whole_file(path) as temporary, temporary.open("wb") as file:
        yield file


def write_bytes(path: str | Path, data: bytes) -> None:
    """Write a file whole or not at all."""
    with open_whole(path) as file:
        file.write(data)


def write_text(path: str | Path, text: str) -> None:
    """Write a file as UTF-8 with \\n line ends; what is no text in a name is shown as \\udcff."""
    write_bytes(path, text.encode("utf-8", "backslashreplace"))


def write_json(path: str | Path, value: Any, *, indent: int | None = 1) -> None:
    """Write a JSON file."""
    write_text(path, json_text(value, indent=indent) + "\n")


def write_rows(path: str | Path, rows: Iterable[Mapping[str, Any]], *, compact: bool = False) -> int:
    """Write a JSON-lines file, a row a line; return how many. `compact`: no spaces after commas and colons."""
    count = 0
    with open_whole(path) as file:
        for row in rows:
            file.write(json_text(row, compact=compact).encode() + b"\n")
            count += 1
    return count


def copy_file(source: str | Path, path: str | Path) -> None:
    """Copy a file's bytes."""
    with open(source, "rb") as original, open_whole(path) as file:
        shutil.copyfileobj(original, file, 1 << 20)


@contextmanager
def whole_folder(folder: Path, remove: Callable[[set[str]], Iterable[str]]) -> Iterator[Path]:
    """Yield an empty folder; when the block ends without error its files take their places in `folder` together.

    Until then `folder` stays as it is. A process that is killed while they move leaves a note of what is to be
    done, which `finish_swap` carries out. `remove` gets the new files' names and returns those of old files that
    go. Only for who has claimed `folder`.
    """
    finish_swap(folder)
    clear_leftovers(folder)
    fresh = _temporary(folder)
    fresh.mkdir()
    try:
        with writing(folder, fresh):
            yield fresh
            names = {p.relative_to(fresh).as_posix() for p in fresh.rglob("*") if p.is_file()}
            gone = set(remove(names)) - names
            write_json(folder / _SWAP, {"from": fresh.name, "files": sorted(names), "remove": sorted(gone)})
            finish_swap(folder)
    finally:
        if not (folder / _SWAP).exists():
            shutil.rmtree(fresh, ignore_errors=True)


def finish_swap(folder: str | Path) -> None:
    """Carry out the moves that a killed `whole_folder` had decided on; nothing to do is the rule."""
    folder = Path(folder)
    note = folder / _SWAP
    if not note.is_file():
        return
    try:
        planned = read_json(note)
        fresh = folder / str(planned["from"])
        names, gone = [str(name) for name in planned["files"]], [str(name) for name in planned["remove"]]
    except (KeyError, TypeError) as error:
        raise DataError(f"{note}: not written by askmask", do="Delete it.") from error
    if fresh.parent != folder or not is_leftover(fresh.name) or any(map(_outside, (*names, *gone))):
        raise DataError(f"{note}: names a file outside its folder", do="Delete it.")
    for name in gone:
        (folder / name).unlink(missing_ok=True)
    for name in names:
        if (fresh / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            os.replace(fresh / name, folder / name)
    shutil.rmtree(fresh, ignore_errors=True)
    note.unlink()


def settle(folder: str | Path) -> None:
    """Bring a folder that is only read to the state that a killed `whole_folder` had decided on."""
    if (Path(folder) / _SWAP).is_file():
        with claim(folder):
            finish_swap(folder)


def is_leftover(name: str) -> bool:
    """Whether a name is that of a temporary file or folder of ours."""
    return name.startswith(_PREFIX) and name.endswith(_SUFFIX)


def clear_leftovers(folder: Path) -> None:
    """Remove what killed runs left half written below `folder`. Only for who alone writes there."""
    for root, folders, files in os.walk(folder):
        for name in filter(is_leftover, files):
            (Path(root) / name).unlink(missing_ok=True)
        for name in [name for name in folders if is_leftover(name)]:
            folders.remove(name)
            shutil.rmtree(Path(root) / name, ignore_errors=True)


@contextmanager
def writing(target: str | Path, temporary: str | Path | None = None) -> Iterator[None]:
    """Turn a full disk, however a library says it, into one WriteError that names `target`."""
    try:
        yield
    except AskMaskError:
        raise
    except Exception as error:
        full = error.errno in _FULL if isinstance(error, OSError) else _says_full(str(error))
        if full:
            raise WriteError(
                f"no space left to write {target}", do="Free some space, then run the same command again."
            ) from error
        if isinstance(error, OSError) and temporary is not None and error.filename == str(temporary):
            error.filename = str(target)
        raise


def _says_full(text: str) -> bool:
    return any(said in text.lower() for said in _SAID)


def _temporary(folder: Path) -> Path:
    return folder / f"{_PREFIX}{secrets.token_hex(6)}{_SUFFIX}"


def _outside(name: str) -> bool:
    path = Path(name)
    return path.is_absolute() or ".." in path.parts
