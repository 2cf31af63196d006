"""Read other people's data files: limits, errors that name file and row, and one rule for each thing all sets have.

The rules: what a file does not say is never read as "nothing" (NoTruth), one bad item never ends the rest (item), ids
are used or refused (ById), sizes and EXIF orientations are held against the pictures (Frames), splits are never pooled
(choose_split).
"""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from askmask.conversation import CONCEPTS, Prompt, Round, Segment
from askmask.errors import AskMaskError, DataError, MissingExtra, PictureError
from askmask.imaging.files import MAX_PICTURE_PIXELS, MAX_SIDE, Header, read_header, turned
from askmask.imaging.mask import Mask
from askmask.notes import Notes, say_once
from askmask.runs.json_text import parse_json

MAX_JSON_BYTES = 4 << 30  # the largest published annotation file is below 2 GB
BOX_ALONE = "annotations left out: a box without a mask"
NO_PIXEL = "annotations left out: a mask without a pixel"
PARTLY = "prompts left out: of what answers them not all is a mask"
UNREADABLE = "items left out: they cannot be read"


class NoTruth(DataError):
    """A row that does not say what is true of it; it is left out and counted, never read as "nothing matches"."""


def read_json(path: str | Path, *, encodings: tuple[str, ...] = ("utf-8",), kind: type = dict) -> Any:
    """Read a JSON file of the top-level `kind`, trying the encodings in order.

    Raises DataError naming the file for what is absent, too large, undecodable, no JSON, or of another kind.
    """
    data = read_bytes(path, MAX_JSON_BYTES)
    for encoding in encodings:
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        value = parse_json(text.removeprefix("\ufeff"), str(path))
        if not isinstance(value, kind):
            raise DataError(f"{path}: a JSON {kind.__name__} is needed", got=type(value).__name__)
        return value
    raise DataError(f"{path}: not text in {' or '.join(encodings)}", got=repr(data[:40]))


def read_bytes(path: str | Path, most: int) -> bytes:
    """Read a regular file of at most `most` bytes. Raises DataError naming it."""
    path = Path(path)
    try:
        if path.exists() and not path.is_file():
            kind = "the folder" if path.is_dir() else "no regular file:"
            raise DataError("a file is needed", got=f"{kind} {path}")
        with path.open("rb") as file:  # its size first: `read` would take room for as much as it may read
            if os.fstat(file.fileno()).st_size > most:
                raise DataError(f"{path}: larger than {most >> 20} MB")
            return file.read()
    except FileNotFoundError as error:
        raise DataError("no such file", got=path, do="Check the root folder and the split.") from error
    except AskMaskError:
        raise
    except (OSError, ValueError) as error:  # no permission, a loop of links, a zero byte in the name
        raise DataError(f"{path}: cannot be read", got=getattr(error, "strerror", None) or error) from error


def files_below(root: Path, pattern: str) -> list[Path]:
    """Return the files below a folder whose names fit, sorted.

    Raises DataError for a folder that may not be entered: what lies in it would be missed in silence.
    """

    def refused(error: OSError) -> None:
        if isinstance(error, PermissionError):
            raise DataError(
                f"{error.filename}: the folder may not be entered", do="Change its rights, or move it."
            )

    walked = os.walk(root, onerror=refused)
    return sorted(Path(place, name) for place, _, names in walked for name in fnmatch.filter(names, pattern))


MOST_PATH = 4096  # letters of a path; no system opens more


@contextmanager
def naming(place: str) -> Iterator[None]:
    """Turn whatever a malformed row raises into a DataError that begins with `place`."""
    try:
        yield
    except KeyError as error:
        raise DataError(f"{place}: a field is missing", got=f"no {error}") from error
    except NoTruth:
        raise  # its loader counts it
    except AskMaskError as error:
        raise DataError(f"{place}: {error}") from error
    except (TypeError, ValueError, AttributeError, LookupError, ArithmeticError, RecursionError) as error:
        raise DataError(f"{place}: not as documented", got=str(error)[:200]) from error
    except OSError as error:  # a name of 5,000 letters, a folder that may not be entered
        raise DataError(f"{place}: a file it names cannot be looked at", got=error.strerror) from error
    except MemoryError as error:
        raise DataError(f"{place}: it asks for more memory than there is") from error


@contextmanager
def item(place: str, notes: Notes) -> Iterator[None]:
    """Read one item of a data set: whatever is wrong with it leaves it out, counted in `notes`; the next is read."""
    try:
        with naming(place):
            yield
    except NoTruth as error:
        notes.add(str(error), place)
    except DataError as error:
        notes.add(UNREADABLE, error)


def read_yaml(path: Path, most: int) -> Any:
    """Read a list or a table in YAML of at most so many bytes. Raises DataError naming it for what is none.

    Aliases, a few lines of which can stand for gigabytes, and deep nesting are refused.
    """
    try:
        import yaml
    except ImportError as error:
        raise MissingExtra("pyyaml", "eval") from error

    class Plain(yaml.SafeLoader):
        depth = 0

        def compose_node(self, parent: Any, index: Any) -> Any:
            if self.check_event(yaml.events.AliasEvent) or self.depth > 20:
                raise yaml.YAMLError("it has aliases, or is nested deeper than any such list")
            self.depth += 1
            node = super().compose_node(parent, index)
            self.depth -= 1
            return node

    try:
        return yaml.load(read_bytes(path, most).decode("utf-8"), Plain)
    except (
        yaml.YAMLError,
        ValueError,
        RecursionError,
    ) as error:  # ValueError: dates, and text that is no UTF-8
        raise DataError(
            f"{path}: not YAML that can be read", got=" ".join(str(error).split())[:200]
        ) from error


def inside(folder: Path, name: Any) -> Path:
    """Join a path that a file gives to its folder; an absolute one stands as it is.

    Backslashes, as Windows writes them, part folders unless there is a file of just that name.
    """
    if not isinstance(name, str) or not name or "\0" in name or len(name) > MOST_PATH:
        raise DataError("a path is needed", got=repr(name)[:80])
    path = folder / name
    return folder / name.replace("\\", "/") if "\\" in name and not path.exists() else path


def found_in(folders: Iterable[Path], name: Any) -> Path:
    """Return where a file of that name lies: in the first folder that has it, or would lie in the first of all."""
    places = [inside(folder, name) for folder in folders]
    return next((place for place in places if place.is_file()), places[0])


def text_of(value: Any, what: str) -> str:
    """Check that a field is text."""
    if not isinstance(value, str):
        raise DataError(f'"{what}" must be text', got=repr(value)[:80])
    return value


def prompt_of(value: Any, what: str) -> str:
    """Check that what is asked holds words; they stay as they are."""
    if not text_of(value, what).strip():
        raise DataError(f'"{what}" asks for nothing', got=repr(value)[:80])
    return str(value)


def size_of(height: Any, width: Any) -> tuple[int, int]:
    """Check the height and width in pixels that a file states."""
    for side in (height, width):
        if (
            isinstance(side, bool)
            or not isinstance(side, (int, float))
            or side != side
            or side not in range(1, MAX_SIDE + 1)
        ):
            raise DataError(
                f"height and width must be 1 to {MAX_SIDE} pixels", got=repr((height, width))[:80]
            )
    if height * width > MAX_PICTURE_PIXELS:
        raise DataError(f"a picture of more than {MAX_PICTURE_PIXELS} pixels", got=f"{width} x {height}")
    return int(height), int(width)


def score_of(value: Any) -> float | None:
    """Return how sure whoever made a mask was, if a file says it as a number from 0 to 1; else None."""
    return (
        float(value)
        if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= 1
        else None
    )


# -- ids ------------------------------------------------------------------------------------------------------


def id_of(value: Any) -> str:
    """Return an id as text: 7, 7.0 and "7" are the same one, as the programs that write them mean it."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, (int, str)) or value == "":
        raise DataError("an id must be a whole number or text", got=repr(value)[:80])
    return str(value)


def order_of(name: str) -> tuple[int, int, str]:
    """Sort ids that are numbers by their value, before those that are not."""
    return (0, int(name), "") if name.isdecimal() and len(name) < 19 else (1, 0, name)


class ById(Mapping[str, dict[str, Any]]):
    """Rows by their id. An id of two different rows means neither: using it raises DataError naming it."""

    def __init__(self, rows: Iterable[dict[str, Any]], what: str):
        self.what = what
        self._rows: dict[str, list[dict[str, Any]]] = {}
        for row in rows:
            same = self._rows.setdefault(id_of(row["id"]), [])
            if row not in same:
                same.append(row)

    def __getitem__(self, key: Any) -> dict[str, Any]:
        rows = self._rows.get(id_of(key), [])
        if len(rows) != 1:
            raise DataError(
                f"{len(rows) or 'no'} {self.what} with id {id_of(key)[:40]}", do="Number them anew."
            )
        return rows[0]

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield every row, also those whose id is of several."""
        for rows in self._rows.values():
            yield from rows

    def __contains__(self, key: object) -> bool:
        return id_of(key) in self._rows

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)


# -- splits ---------------------------------------------------------------------------------------------------


def choose_split(
    source: object, found: Collection[str], wanted: str | None, prefer: str | None = None
) -> str | None:
    """Return which of the splits that a source holds is read; None if it does not tell any apart.

    `wanted` was named by the user. Without it a single split is read, of several the caller's `prefer`, and that is
    said. Raises DataError for an unknown split, and where one must be named.
    """
    listed = ", ".join(sorted(name or "(none)" for name in found))
    if wanted is not None:
        if wanted not in found:
            raise DataError(f"{source} has no split {wanted!r}", got=listed or "no splits")
        return wanted
    if len(found) < 2:
        return next(iter(found), None)
    if prefer not in found:
        raise DataError(
            "splits are never pooled: one must be named", got=source, do=f"Add @ and one of {listed}."
        )
    say_once(f"{source}: split {prefer!r} is read, of {listed}")
    return prefer


# -- regions --------------------------------------------------------------------------------------------------


def rounds_of(
    regions: Iterable[tuple[str, str, Segment | None]],
    nothing: Iterable[str],
    notes: Notes,
    where: str,
) -> tuple[Round, ...]:
    """Gather the regions that an annotation tool knows about a picture into rounds: (label, prompt, segment).

    Equal label and prompt are one round. Without a prompt the label is what was asked; beside one, a label that is a
    concept says which. `nothing` are prompts that are known to match nothing. A segment is None where the tool marked
    something that is no mask (a line, a box alone): what answers its prompt is then not known whole, and the prompt is
    left out and counted.
    """
    known: dict[tuple[str, str], list[Segment]] = {}
    partly: dict[tuple[str, str], None] = {}
    for label, prompt, segment in regions:
        if segment is None:
            partly[label, prompt or label] = None
        else:
            known.setdefault((label, prompt or label), []).append(segment)
    for _, prompt in partly:
        notes.add(PARTLY, f"{where}, {prompt[:60]!r}")
    found = {key: segments for key, segments in known.items() if key not in partly}
    nothing = [prompt for prompt in nothing if prompt not in {prompt for _, prompt in partly}]
    labelled = tuple(
        Round(
            prompt=Prompt(text=prompt),
            segments=tuple(segments),
            concept=label if label in CONCEPTS and prompt != label else None,
        )
        for (label, prompt), segments in found.items()
    )
    return labelled + tuple(Round(prompt=Prompt(text=prompt), segments=()) for prompt in nothing)


# -- sizes and EXIF -------------------------------------------------------------------------------------------


class Frames:
    """Which way round the masks of an annotation file lie.

    Annotation tools show a turned photo upright or as it is stored; the size that they wrote tells which. Where it
    does not (a square, a half turn), the file's other pictures do, which are `rows`; `read` gives a row's path and
    stated size.
    """

    def __init__(
        self,
        rows: Iterable[Any] = (),
        read: Callable[[Any], tuple[Path, tuple[int, int]]] = lambda row: row,
        exif: str = "auto",
    ):
        if exif not in ("auto", "upright", "stored"):
            raise DataError('`exif` must be "auto", "upright" or "stored"', got=repr(exif)[:80])
        self._rows, self._read, self._exif = rows, read, exif

    def orientation(self, path: Path, size: tuple[int, int]) -> int:
        """Return the EXIF orientation by which masks of `size` are to be turned; 1: they lie upright already.

        A picture that cannot be read is not held against `size`: reading it will say so. Raises DataError if the
        sizes contradict, NoTruth if it cannot be told.
        """
        header = _header_of(path)
        if header is None:
            return 1
        if size not in (header.size, header.stored):
            raise DataError(
                "the annotation is of another size than the picture",
                got=f"{size[1]} x {size[0]} and {header.size[1]} x {header.size[0]}: {path.name}",
            )
        if header.orientation == 1:
            return 1
        way = self._exif if self._exif != "auto" else _way(header, size) or self._of_the_others
        if way is None:
            raise NoTruth(
                "pictures left out: turned by EXIF, and nothing tells whether the masks are",
                do='Add "exif=upright" or "exif=stored".',
            )
        return header.orientation if way == "stored" else 1

    @cached_property
    def _of_the_others(self) -> str | None:
        unread = Notes()  # whose turn it is says what is wrong with a row
        for row in self._rows:
            with item("", unread):
                path, size = self._read(row)
                header = _header_of(path)
                if header is not None and header.orientation != 1 and (way := _way(header, size)):
                    return way
        return None


def upright(mask: Mask, orientation: int) -> Mask:
    """Turn a mask over the stored pixels of a picture of that EXIF orientation into one over the upright picture."""
    return mask if orientation == 1 else Mask.from_array(turned(mask.to_array(), orientation))


def upright_size(size: tuple[int, int], orientation: int) -> tuple[int, int]:
    """Turn a stored (height, width) likewise."""
    return Header(size, orientation).size


def _header_of(path: Path) -> Header | None:
    try:
        return read_header(path)
    except PictureError:
        return None


def _way(header: Header, size: tuple[int, int]) -> str | None:
    if header.size == header.stored or size not in (header.size, header.stored):
        return None
    return "upright" if size == header.size else "stored"
