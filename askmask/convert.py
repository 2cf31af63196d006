"""Masks into the files of other tools: `askmask convert`. Pictures are placed one by one, annotations all together.

A run that was stopped goes on: pictures that are in their place stay, and until the annotation files appear, all at
once, no tool takes the folder for a data set. What the format cannot hold is counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from askmask.conversation import Example
from askmask.errors import AskMaskError, DataError, PictureError, SettingError
from askmask.formats.catalogue import WRITERS, Writer
from askmask.formats.pictures import names_for, place_picture
from askmask.imaging.files import Header, read_header
from askmask.notes import Notes
from askmask.runs.manifest import output_folder
from askmask.runs.whole_files import write_json
from askmask.sources import open_source

MADE_BY = "askmask convert"
REPORT = "convert.json"
PICTURES = ("copy", "link", "none")
UNANSWERED = "pictures left out: no prompt about them was answered with masks, or that nothing matches"
STEP = 1000  # Examples between two reports of how many were read


@dataclass
class Converted:
    """What a conversion wrote, and what it could not."""

    pictures: int = 0
    prompts: int = 0
    masks: int = 0
    lost: Notes = field(default_factory=Notes)  # what the format has no place for
    left_out: Notes = field(default_factory=Notes)  # what of the source could not be used

    def to_dict(self) -> dict[str, Any]:
        """Return a form ready for JSON."""
        return {
            "pictures": self.pictures,
            "prompts": self.prompts,
            "masks": self.masks,
            "lost": self.lost.lines(),
            "left_out": self.left_out.lines(),
        }


def convert(
    source: str,
    to: str,
    out: str | Path,
    *,
    pictures: str = "copy",
    at: str | Path | None = None,
    polygons: bool = False,
    on_progress: Callable[[str, int, int | None], None] = lambda what, done, total: None,
) -> Converted:
    """Write what `source` holds to the folder `out` in the format `to`; see `open_source` and `WRITERS`.

    `pictures`: "copy" them, make hard "link"s, or place "none" and only name them. `at` is where pictures are
    looked for. `polygons`: outlines instead of masks, where a format has both. `on_progress` is told what is being
    done, how far, of how many. Raises SettingError, or DataError if nothing can be written.
    """
    if to not in WRITERS:
        raise SettingError("no such format", got=repr(to), do=f"Choose of {', '.join(WRITERS)}.")
    if pictures not in PICTURES:
        raise SettingError("`pictures` must be copy, link or none", got=repr(pictures))
    writer, result = WRITERS[to], Converted()
    if polygons and not writer.polygons:
        has = ", ".join(name for name, one in WRITERS.items() if one.polygons)
        raise SettingError(f"{to} has one form of masks only", do=f"Leave --polygons to {has}.")
    known = str(Path(source).resolve()) if Path(source).exists() else source
    facts = {"source": known, "to": to, "pictures": pictures, "polygons": polygons}
    with output_folder(out, MADE_BY, facts) as folder:
        examples = _read(source, at, result, on_progress)
        places = _places(examples, writer, pictures, result)
        if not places:
            raise DataError(
                f"{source}: nothing to write", got="; ".join(result.left_out.lines()) or "no masks"
            )
        kept = [] if pictures == "none" else [name for name, _ in places.values()]
        folder.paths(kept)
        sizes: dict[str, tuple[int, int]] = {}
        for number, (path, (name, size)) in enumerate(places.items()):
            on_progress("pictures", number, len(places))
            try:
                if kept:
                    place_picture(path, folder.root / name, link=pictures == "link")
            except (PictureError, OSError) as error:
                result.left_out.add("pictures left out: they cannot be read", f"{path}: {error}")
                continue
            sizes[path] = size
        on_progress("pictures", len(places), len(places))
        placed = [
            replace(e, image=places[e.image][0], size=sizes[e.image]) for e in examples if e.image in sizes
        ]
        with folder.anew(keep=(places[path][0] for path in sizes) if kept else ()) as fresh:
            on_progress("annotations", 0, None)
            more = {"polygons": True} if polygons else {}
            result.masks = writer.write(
                placed, fresh, name=Path(source).name or MADE_BY, notes=result.lost, **more
            )
            result.pictures, result.prompts = len(sizes), sum(len(e.rounds) for e in placed)
            write_json(fresh / REPORT, {"source": source, "to": to} | result.to_dict())
    return result


def _read(
    source: str, at: str | Path | None, result: Converted, on_progress: Callable[[str, int, int | None], None]
) -> list[Example]:
    examples: list[Example] = []
    for example in open_source(source, notes=result.left_out, at=at):
        examples.append(example)
        if len(examples) % STEP == 1:
            on_progress("reading", len(examples), None)
    return examples


def _places(
    examples: list[Example], writer: Writer, pictures: str, result: Converted
) -> dict[str, tuple[str, tuple[int, int]]]:
    """Return picture -> (its name in the output, its size); what cannot be placed is counted and left out."""
    groups: dict[str, list[Example]] = {}
    for example in examples:
        groups.setdefault(example.image, []).append(example)
    names = names_for(groups)
    found: dict[str, tuple[str, tuple[int, int]]] = {}
    for path, group in groups.items():
        name = names[path]
        if writer.background and all(round.segments is None for e in group for round in e.rounds):
            result.left_out.add(UNANSWERED, path)
            continue
        try:
            header = _header(path, group[0].size, needed=pictures != "none")
            if header.orientation != 1 and pictures == "none":
                result.left_out.add("pictures turned by EXIF: masks lie over the upright ones", path)
            elif header.orientation != 1:
                name = Path(name).with_suffix(".png").name
            if others := {size for size in _sizes(group) if size != header.size}:
                raise DataError("its masks are of another size", got=f"{others.pop()}, not {header.size}")
        except AskMaskError as error:
            result.left_out.add("pictures left out", f"{path}: {error}")
            continue
        found[path] = f"{writer.folder(group[0])}/{name}", header.size
    return found


def _header(path: str, size: tuple[int, int] | None, *, needed: bool) -> Header:
    try:
        return read_header(path)
    except PictureError:
        if needed or size is None:
            raise
        return Header(size, 1)


def _sizes(group: list[Example]) -> Iterator[tuple[int, int]]:
    """Yield the sizes of all masks about a picture."""
    for round in (round for example in group for round in example.rounds):
        yield from (mask.size for mask in (*(round.masks or ()), *((round.ignore,) if round.ignore else ())))
