"""`askmask build mrseg`: sources in, conversations out, source by source; stopped, the same command goes on.

    OUT/conversations_folder/all_data_mix_SPLIT/NAME_SPLIT.json   SegLLM's conversations (formats/mrseg.py)
    OUT/annotations.yaml, annotations_folder/, images_folder/     their masks and pictures
    OUT/examples-NAME_SPLIT.jsonl                                 the same conversations as our Examples
    OUT/statistics.json, statistics.md                            what was built, in numbers
    OUT/parts/NAME_SPLIT.json                                     a source's numbers; written last: it is done

What is drawn for a picture depends on the seed, the source and the picture alone, so files listed in another order, or
with other pictures left out, give the same conversations.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any, BinaryIO, Protocol

import numpy as np

from askmask.build.mrseg.bank import bank_of, source_text
from askmask.build.mrseg.describing import describe_all
from askmask.build.mrseg.forms import annotation, as_dialogue, as_example, number, regions_of, table_entry
from askmask.build.mrseg.scene import Scene
from askmask.build.mrseg.sources import open_source
from askmask.build.mrseg.sources.instances import Attributes
from askmask.build.mrseg.sources.source import NO_PICTURE, Source
from askmask.build.mrseg.statistics import Tally, markdown, merged
from askmask.build.mrseg.talk import Step, Talk
from askmask.errors import SettingError
from askmask.formats.mrseg_turns import render_dialogue
from askmask.formats.pictures import place_picture, upright_name
from askmask.formats.reading import NoTruth, item
from askmask.imaging.files import read_header
from askmask.notes import Notes
from askmask.runs.content_hash import hash_of_files
from askmask.runs.json_text import json_text, read_object
from askmask.runs.manifest import OutputFolder, check_free, output_folder
from askmask.runs.whole_files import copy_file, open_whole, write_json, write_text

MADE_BY = "askmask build mrseg"
PICTURES = ("link", "copy", "none")
CHUNK = 500  # pictures whose files are listed, and whose sentences are corrected, together
TURNED_MAP = "pictures left out: turned by EXIF, and their class map is not"


class Writer(Protocol):
    """What a language model does here; see language.py."""

    def clean(self, steps: Sequence[Step], notes: Notes) -> list[Step]:
        """Return the steps, those whose sentence could be corrected with better words."""

    def describe(self, things: Sequence[tuple[np.ndarray, str]]) -> list[tuple[str, str] | None]:
        """Return (description, class) of each crop of a thing of a class."""


@dataclass
class Built:
    """What a build wrote, and what it left out."""

    statistics: dict[str, Any] = field(default_factory=dict)
    left_out: Notes = field(default_factory=Notes)


def build_mrseg(
    sources: Sequence[str],
    out: str | Path,
    *,
    seed: int = 0,
    pictures: str = "link",
    limit: int | None = None,
    model: str = "",
    open_model: Callable[[OutputFolder], Writer] | None = None,
    clean_up: bool = False,
    on_progress: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> Built:
    """Build conversations from sources NAME:ROOT[@SPLIT]; see `open_source`.

    `pictures`: hard links, copies, or none at all. `limit`: at most so many pictures a source. `open_model` opens
    the language model that `model` names: it corrects sentences if `clean_up` says so, and describes the instances of
    a source without descriptions. Raises SettingError, and DataError for files that are not as
    documented.
    """
    if pictures not in PICTURES:
        raise SettingError(f"`pictures` must be one of {', '.join(PICTURES)}", got=repr(pictures))
    if not sources:
        raise SettingError("nothing to build from", do="Name a source, as refcoco:ROOT.")
    check_free(out, MADE_BY)
    opened = [open_source(text) for text in sources]
    _check_together(opened)
    if open_model is None:
        _check_described(opened)
    facts = {
        "seed": seed,
        "sources": [_facts(source, text) for source, text in zip(opened, sources, strict=True)],
        "pictures": pictures,
        "limit": limit,
        "templates": hashlib.sha256(source_text().encode()).hexdigest(),
        "model": model,
        "clean_up": clean_up,
    }
    result = Built()
    with output_folder(out, MADE_BY, facts) as folder:
        writer = open_model(folder) if open_model else None
        for source in opened:
            if not (folder.root / "parts" / f"{_part(source)}.json").is_file():
                part = _Part(source, folder, seed, pictures, limit, writer, clean_up, result.left_out)
                part.build(on_progress)
        parts = [read_object(folder.root / "parts" / f"{_part(source)}.json") for source in opened]
        result.statistics = merged(parts)
        listed, figures, page = folder.paths(["annotations.yaml", "statistics.json", "statistics.md"])
        write_text(listed, _annotation_list(parts))
        write_json(figures, result.statistics)
        write_text(page, markdown(result.statistics))
    return result


class _Part:
    """One source on its way to its files."""

    def __init__(
        self,
        source: Source,
        folder: OutputFolder,
        seed: int,
        pictures: str,
        limit: int | None,
        writer: Writer | None,
        clean_up: bool,
        notes: Notes,
    ):
        self.source, self.folder, self.seed, self.pictures = source, folder, seed, pictures
        self.ids = list(source.ids())[:limit]
        self.writer, self.clean_up, self.notes = writer, clean_up, notes
        self.before = Counter(notes.counts)
        self.part = _part(source)
        self.tallies: dict[str, Tally] = {}
        self.seen: list[str] = []
        self.table: dict[str, Any] = {}
        self.images: dict[str, dict[str, Any]] = {}
        self.files: dict[str, _List] = {}

    def build(self, on_progress: Callable[[str, int, int], None]) -> None:
        """Read picture after picture and write; the files appear together at the end, the part's own last."""
        for kind, count in self.source.opened.counts.items():
            self.notes.add(kind, "; ".join(self.source.opened.places[kind]), count)
        if self.writer is not None and isinstance(self.source, Attributes) and not self.source.described:
            describe_all(self.source, self.ids, self.writer.describe, self.seed, self.notes, on_progress)
        examples, done = self.folder.paths([f"examples-{self.part}.jsonl", f"parts/{self.part}.json"])
        with ExitStack() as stack:
            rows = stack.enter_context(open_whole(examples))
            scenes = self._scenes(on_progress)
            while chunk := list(islice(scenes, CHUNK)):
                self._place([scene for scene, _ in chunk])
                for talk in self._cleaned([talk for _, talks in chunk for talk in talks]):
                    self._write(talk, rows, stack)
            for file in self.files.values():
                file.end()
            on_progress(self.part, len(self.ids), len(self.ids))
        table = self._write_table()
        write_json(
            done,
            {
                "name": self.source.name,
                "split": self.source.split,
                "dataset": self.source.dataset,
                "annotations": table,
                "tallies": {group: self.tallies[group].to_dict() for group in sorted(self.tallies)},
                "pictures": sorted(self.seen),
                "left_out": dict(sorted((self.notes.counts - self.before).items())),
            },
        )

    def _scenes(self, on_progress: Callable[[str, int, int], None]) -> Iterator[tuple[Scene, list[Talk]]]:
        """Yield the pictures that have something to say, with what is said."""
        for place, picture in enumerate(self.ids):
            on_progress(self.part, place, len(self.ids))
            talks: list[Talk] = []
            with item(f"{self.source.name}, picture {picture}", self.notes):
                talks = self._talks(self._upright(self.source.scene(picture, self.notes)))
            if talks:
                yield talks[0].scene, talks

    def _talks(self, scene: Scene) -> list[Talk]:
        """Return what is said about a picture. Raises DataError for a name that no marker can hold."""
        talks: list[Talk] = []
        for rule in self.source.rules:
            text = f"{self.seed}/{self.source.name}/{self.source.split}/{rule.__name__}/{scene.id}"
            talks += rule(scene, Random(text), bank_of(self.source.split))
        for talk in talks:
            as_dialogue(talk, self.source.dataset)
        return talks

    def _upright(self, scene: Scene) -> Scene:
        """Return the scene under the name that its picture will have; raises NoTruth where it cannot be placed."""
        if self.pictures == "none":
            return scene
        if not scene.path.is_file():
            raise NoTruth(NO_PICTURE)
        if self.source.table == "maps" and read_header(scene.path).orientation != 1:
            raise NoTruth(TURNED_MAP)
        return replace(scene, image=upright_name(scene.path, scene.image))

    def _place(self, scenes: Sequence[Scene]) -> None:
        """Put pictures, and the maps or JSON files beside them, in their places."""
        link = self.pictures == "link"
        wanted: list[tuple[Path, str]] = []
        for scene in scenes:
            if self.pictures != "none":
                wanted.append((scene.path, f"images_folder/{scene.image}"))
            if (beside := self.source.annotation(scene.id)) is not None:
                wanted.append((beside, f"annotations_folder/{self._table_name()}/{beside.name}"))
        for (path, _), target in zip(wanted, self.folder.paths(name for _, name in wanted), strict=True):
            if path.suffix == ".json":
                copy_file(path, target)
            else:
                place_picture(path, target, link=link)

    def _cleaned(self, talks: list[Talk]) -> list[Talk]:
        if self.writer is None or not self.clean_up:
            return talks
        steps = iter(self.writer.clean([step for talk in talks for step in talk.steps], self.notes))
        return [replace(talk, steps=tuple(islice(steps, len(talk.steps)))) for talk in talks]

    def _write(self, talk: Talk, rows: BinaryIO, stack: ExitStack) -> None:
        if talk.group not in self.files:
            name = "_".join(filter(None, (self.source.name, talk.group, self.source.split)))
            path = self.folder.path(f"conversations_folder/all_data_mix_{self.source.split}/{name}.json")
            self.files[talk.group] = _List(stack.enter_context(open_whole(path)))
        self.files[talk.group].add(render_dialogue(as_dialogue(talk, self.source.dataset)))
        example = as_example(talk, self.source.name, self.source.split)
        if self.pictures == "none":
            example = replace(example, image=str(talk.scene.path.resolve()))
        rows.write(json_text(example.to_dict(), compact=True).encode() + b"\n")
        self.tallies.setdefault(talk.group, Tally()).add(talk)
        if not self.seen or self.seen[-1] != Path(talk.scene.image).stem:
            self.seen.append(Path(talk.scene.image).stem)
        if self.source.table == "instances":
            height, width = talk.scene.size
            self.images[talk.scene.id] = {
                "id": number(talk.scene.id),
                "file_name": talk.scene.image.rpartition("/")[2],
                "height": height,
                "width": width,
            }
        for region in regions_of(talk):
            if self.source.table == "instances":
                self.table[region.id] = annotation(region, number(talk.scene.id))
            elif self.source.table in ("codes", "sized"):
                self.table[region.id] = table_entry(region, self.source.table)

    def _table_name(self) -> str:
        return f"{self.source.dataset}_{self.source.split}"

    def _write_table(self) -> str:
        """Write the masks that markers name, and return where they lie, relative to the output."""
        name = f"annotations_folder/{self._table_name()}"
        if self.source.table in ("maps", "shapes"):
            return name
        value: Any = self.table
        if self.source.table == "instances":
            value = {
                "images": list(self.images.values()),
                "annotations": list(self.table.values()),
                "categories": self.source.categories,
            }
        write_json(self.folder.path(f"{name}.json"), value, indent=None)
        return f"{name}.json"


class _List:
    """A JSON list that is written row by row."""

    def __init__(self, file: BinaryIO):
        self.file, self.start = file, b"[\n"

    def add(self, row: dict[str, Any]) -> None:
        """Write one row."""
        self.file.write(self.start + json_text(row).encode())
        self.start = b",\n"

    def end(self) -> None:
        """Close the list."""
        self.file.write(b"\n]\n")


def _part(source: Source) -> str:
    return f"{source.name}_{source.split}"


def _facts(source: Source, text: str) -> dict[str, str]:
    """Return what of a source decides the result; where it lies does not."""
    files = {f"{place}-{path.name}": path for place, path in enumerate(source.files())}
    return {
        "name": source.name,
        "split": source.split,
        "options": text.partition("?")[2],
        "files": hash_of_files(files),
    }


def _check_together(sources: Iterable[Source]) -> None:
    """Raise SettingError where two sources would write the same files, or need two lists of annotations."""
    taken: dict[tuple[str, bool], str] = {}
    for source in sources:
        key = source.dataset, source.split == "train"
        if key in taken:
            raise SettingError(
                f"{taken[key]} and {_part(source)} cannot stand in one folder: SegLLM's list of annotations has one "
                "file of a set for training and one for evaluation",
                do="Build them into two folders.",
            )
        taken[key] = _part(source)


def _check_described(sources: Iterable[Source]) -> None:
    for source in sources:
        if isinstance(source, Attributes) and not source.described:
            raise SettingError(
                "COCO's instances need descriptions",
                got=f"no {source.descriptions}",
                do="Write the file, or name a model that describes them: --model.",
            )


def _annotation_list(parts: Sequence[dict[str, Any]]) -> str:
    """Return annotations.yaml: for each set the file of training, and that of evaluation if it is another."""
    found: dict[str, dict[str, str]] = {}
    for part in parts:
        if part["tallies"]:
            key = "path" if part["split"] == "train" else "path_eval"
            found.setdefault(part["dataset"], {})[key] = part["annotations"]
    lines = ["datasets:"] if found else ["datasets: []"]
    for name, paths in found.items():
        paths.setdefault("path", paths.get("path_eval", ""))
        entry = {"name": name, "path": paths["path"]} | paths
        lines.append(f"  - {json_text(entry)}")
    return "\n".join(lines) + "\n"
