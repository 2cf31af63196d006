"""Pictures from wherever a person has them: a file, a URL, the standard input, the clipboard; and files by pattern."""

from __future__ import annotations

import fnmatch
import glob
import os
import stat
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from askmask.errors import PictureError
from askmask.imaging.files import MAX_PICTURE_BYTES, Picture, read_picture
from askmask.imaging.remote import Limits, fetch, is_url, shown
from askmask.runs.manifest import is_ours

STDIN, CLIPBOARD = "-", "clipboard:"


def read_given(what: str | Path, *, allow_urls: bool = False) -> Picture:
    """Read a picture named on a command line: a path, "-", "clipboard:", or with `allow_urls` a URL.

    Raises PictureError for what is no picture, and for a URL that was not asked for.
    """
    text = str(what)
    if text == STDIN:
        return read_stdin()
    if text == CLIPBOARD:
        return read_clipboard()
    if is_url(text):
        if not allow_urls:
            raise PictureError(
                "a picture is read from a file", got=shown(text), do="Add --allow-urls, or download it first."
            )
        return read_url(text)
    return read_picture(what)


def read_url(url: str, limits: Limits = Limits()) -> Picture:
    """Fetch a picture from a public address; see `remote.fetch`. Raises PictureError."""
    return read_picture(fetch(url, limits), name=shown(url))


def read_stdin() -> Picture:
    """Read a picture from the standard input. Raises PictureError."""
    if sys.stdin is None or sys.stdin.isatty():
        raise PictureError(
            "a picture is read from the standard input", got="a terminal", do="Use a pipe: < FILE."
        )
    data = sys.stdin.buffer.read(MAX_PICTURE_BYTES + 1)
    if not data:
        raise PictureError("nothing came from the standard input")
    return read_picture(data, name="stdin")


def read_clipboard() -> Picture:
    """Take the picture, or the one picture file, that was copied last. Raises PictureError.

    Pillow knows the clipboards of Windows and macOS; on Linux it asks `wl-paste` or `xclip`.
    """
    from PIL import ImageGrab

    try:
        found = ImageGrab.grabclipboard()
    except NotImplementedError as error:
        raise PictureError(
            "the clipboard cannot be read here",
            do="Install wl-clipboard or xclip, or save the picture as a file.",
        ) from error
    except Exception as error:  # whatever the helper program or a damaged picture in the clipboard raises
        raise PictureError(
            "the clipboard cannot be read", got=f"{type(error).__name__}: {error}"[:200]
        ) from error
    if isinstance(found, list):
        if len(found) != 1:
            raise PictureError("one picture is needed", got=f"{len(found)} files in the clipboard")
        return read_picture(found[0])
    if found is None:
        raise PictureError("the clipboard holds no picture", do="Copy one first.")
    return read_picture(found, name="clipboard")


def one_of(pattern: str) -> str:
    """Return the one file that a pattern means, or what is no pattern as it is. Raises PictureError for several."""
    if pattern in (STDIN, CLIPBOARD) or is_url(pattern):
        return pattern
    found = expanded(pattern)
    if len(found) > 1:
        raise PictureError(
            "one picture is needed",
            got=f"{len(found)} files meant by {pattern}: {found[0]}, {found[1]}" + ", ..." * (len(found) > 2),
            do="Use `askmask batch`.",
        )
    return str(found[0])


def expanded(pattern: str) -> list[Path]:
    """Return the files that a pattern with *, ? or [ means, sorted, ** for any folders; a path as it is alone.

    For shells that leave patterns alone, and for patterns in quotes. As in a folder (`list_pictures`), hidden names
    must be asked for, ** leaves out what commands of askmask wrote, and a folder that may not be entered is listed, so
    that whoever reads it hears why. Raises PictureError if there are none.
    """
    if not glob.has_magic(pattern) or os.path.exists(pattern):  # which takes names that are too long
        return [Path(pattern)]
    path = Path(pattern)
    parts = path.parts[bool(path.anchor) :]
    parts = tuple(one for n, one in enumerate(parts) if one != "**" or parts[n - 1 : n] != ("**",))
    found = sorted(set(_meant(Path(path.anchor), parts, frozenset())))
    if not found:
        raise PictureError("no file is meant by the pattern", got=pattern)
    return found


def _meant(folder: Path, parts: Sequence[str], above: frozenset[str]) -> Iterator[Path]:
    """Yield the files below a folder that the parts of a pattern mean, and folders that may not be looked into.

    `above` are the folders, without links, that a ** went through: links may lead in circles.
    """
    if not parts:
        try:
            if stat.S_ISREG(os.stat(folder).st_mode):
                yield folder
        except PermissionError:
            yield folder.parent
        except (OSError, ValueError):
            pass
        return
    first, rest = parts[0], parts[1:]
    if not glob.has_magic(first):
        yield from _meant(folder / first, rest, above)
        return
    try:
        with os.scandir(folder) as listed:
            names = [one.name for one in listed]
    except PermissionError:
        yield folder
        return
    except (OSError, ValueError):  # there is no such folder
        return
    hidden = first.startswith(".")
    names = [name for name in names if hidden or not name.startswith(".")]
    if first != "**":
        for name in fnmatch.filter(names, first):
            yield from _meant(folder / name, rest, above)
        return
    yield from _meant(folder, rest, above) if rest else ()
    through = above | {os.path.realpath(folder)}
    for name in names:
        inner = folder / name
        if not os.path.isdir(inner):
            yield from () if rest else _meant(inner, (), above)
        elif os.path.realpath(inner) not in through and not is_ours(inner):
            yield from _meant(inner, parts, through)
