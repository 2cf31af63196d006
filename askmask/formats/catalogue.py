"""The data sets by name, opened by NAME:ROOT[@SPLIT][?OPTION=VALUE&...], or recognised by their files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from inspect import signature
from itertools import islice
from pathlib import Path
from urllib.parse import parse_qsl

from askmask.conversation import Example
from askmask.errors import DataError, SettingError
from askmask.formats import converseg, own
from askmask.formats.coco import read_coco, write_coco_folder
from askmask.formats.converseg import read_converseg
from askmask.formats.cvat import read_cvat, write_cvat
from askmask.formats.fiftyone import write_fiftyone
from askmask.formats.grefcoco import read_grefcoco
from askmask.formats.label_studio import read_label_studio, write_label_studio
from askmask.formats.labelme import read_labelme, write_labelme
from askmask.formats.mmr import read_mmr
from askmask.formats.mrseg import read_mrseg
from askmask.formats.muse import read_muse
from askmask.formats.panoptic import read_panoptic
from askmask.formats.parquet import read_parquet, read_table
from askmask.formats.plain import write_geojson, write_png
from askmask.formats.prist import read_prist
from askmask.formats.reading import choose_split, files_below, item, text_of
from askmask.formats.reasonseg import read_reasonseg
from askmask.formats.refcoco import read_refcoco
from askmask.formats.voc import write_voc
from askmask.formats.yolo import read_yolo, write_yolo
from askmask.notes import Notes
from askmask.runs.json_text import parse_row, read_rows
from askmask.runs.manifest import facts_of

Loader = Callable[..., Iterator[Example]]


def read_own(
    root: str | Path, split: str | None = None, *, notes: Notes, prefer: str | None = None
) -> Iterator[Example]:
    """Yield askmask's own Examples of one split: a JSONL or Parquet file, or a folder of either."""
    root = Path(root)
    if root.is_dir() and not (root / "examples.jsonl").exists():
        files = files_below(root, "*.parquet") or files_below(root, "examples*.jsonl")
        if not files:
            raise DataError("no examples.jsonl and no Parquet file", got=root)
    else:
        files = [root / "examples.jsonl" if root.is_dir() else root]
    if split is None:
        split = choose_split(root, {name for file in files for name in _splits(file)}, None, prefer)
    found = set()
    for file in files:
        read = read_parquet if file.suffix == ".parquet" else own.read_examples
        for example in read(file, notes=notes):
            found.add(example.split)
            if example.split == split:
                yield example
    if found:
        choose_split(root, found, split)


def _splits(file: Path) -> Iterator[str]:
    """Yield the split of every row; what is wrong with a row is said when it is read."""
    unread = Notes()
    if file.suffix == ".parquet":
        rows = read_table(file, ["example"])
    else:
        rows = read_rows(file, lambda *_: None)
    for _, row in rows:
        with item("", unread):
            found = parse_row(row["example"], "") if file.suffix == ".parquet" else row
            yield text_of(found.get("split", ""), "split")


def write_own(examples: Iterable[Example], folder: Path, *, name: str, notes: Notes) -> int:
    """Write examples.jsonl, which holds all there is; return the number of masks."""
    examples = list(examples)
    own.write_examples(examples, folder / "examples.jsonl")
    return sum(len(round.segments or ()) for example in examples for round in example.rounds)


def _refer(name: str) -> Loader:
    return partial(read_refcoco, name=name)


LOADERS: dict[str, Loader] = {
    "own": read_own,
    "world": read_own,  # `askmask world` writes our own format
    "converseg": read_converseg,
    "refcoco": _refer("refcoco"),
    "refcoco+": _refer("refcoco+"),
    "refcocog": _refer("refcocog"),
    "refclef": _refer("refclef"),
    "grefcoco": read_grefcoco,
    "reasonseg": read_reasonseg,
    "mrseg": read_mrseg,
    "prist": read_prist,
    "muse": read_muse,
    "mmr": read_mmr,
    "coco": read_coco,
    "panoptic": read_panoptic,
    "label-studio": read_label_studio,
    "cvat": read_cvat,
    "labelme": read_labelme,
    "yolo-seg": read_yolo,
}


@dataclass(frozen=True, slots=True)
class Writer:
    """How a format is written: `write(examples, folder, name=, notes=)` returns the number of masks."""

    write: Callable[..., int]
    pictures: str = "images"  # the folder of the pictures
    by_split: bool = False  # whether they lie in a folder for each split
    polygons: bool = False  # whether outlines may stand for masks
    background: bool = False  # whether a picture without masks teaches that nothing is there

    def folder(self, example: Example) -> str:
        """Return the folder of an Example's picture, relative to the output."""
        split = example.split if example.split in ("val", "test") else "train"
        return f"{self.pictures}/{split}" if self.by_split else self.pictures


WRITERS: dict[str, Writer] = {
    "coco": Writer(write_coco_folder, polygons=True, background=True),
    "yolo-seg": Writer(write_yolo, by_split=True, background=True),
    "label-studio": Writer(write_label_studio),
    "cvat": Writer(write_cvat),
    "labelme": Writer(write_labelme),
    "voc": Writer(write_voc, pictures="JPEGImages", background=True),
    "fiftyone": Writer(write_fiftyone, pictures="data"),
    "geojson": Writer(write_geojson),
    "png": Writer(write_png),
    "own": Writer(write_own),
}


def open_dataset(source: str, *, prefer: str | None = None, notes: Notes | None = None) -> Iterator[Example]:
    """Yield the Examples of NAME:ROOT[@SPLIT][?OPTION=VALUE&...], or of a path PATH[@SPLIT] to files known by sight.

    Where the source names no split, `prefer` ("train" or "val") is read if there are several. What is left out is
    counted in `notes`; without that, it is said at the end. Raises SettingError for an unknown name or option,
    DataError for files that are not as documented, and if all had to be left out.
    """
    name, colon, rest = source.partition(":")
    if not colon or name not in LOADERS:
        path, split = (source, "") if Path(source).exists() else _parted(source)
        if not Path(path).exists():
            raise SettingError(
                "no such file, and not a data set NAME:ROOT[@SPLIT]",
                got=repr(source),
                do=f"Names: {', '.join(LOADERS)}.",
            )
        kind = kind_of(path)
        if kind not in LOADERS:
            raise DataError("a data set is needed", got=f"{path}, which holds {kind}")
        name, root, options = kind, path, {}
    else:
        rest, _, query = rest.partition("?")
        root, split = _parted(rest)
        options = dict(parse_qsl(query, keep_blank_values=True))
    loader = LOADERS[name]
    accepted = signature(loader).parameters
    if {"notes", "prefer", "name"} & options.keys():
        raise SettingError(f"data set {name!r} has no such option", got=repr(source))
    arguments: dict[str, str] = ({"split": split} if split else {}) | options
    if prefer and "prefer" in accepted:
        arguments["prefer"] = prefer
    elif prefer and not split and name != "mrseg":
        arguments["split"] = f"{prefer}2017" if name in ("coco", "panoptic") else prefer
    said = Notes() if notes is None else notes
    try:
        signature(loader).bind(Path(root), notes=said, **arguments)
    except TypeError as error:
        raise SettingError(f"data set {name!r} has no such option", got=f"{source!r} ({error})") from error
    return _counted(source, loader(Path(root), notes=said, **arguments), said, say=notes is None)


def kind_of(path: str | Path) -> str:
    """Say what a file or folder holds: "own", "converseg", or "truth" (ground truth of the scorer, a JSONL file)."""
    path = Path(path)
    if path.is_dir():
        if (written := facts_of(path).get("to")) in LOADERS:
            return str(written)
        plain = not (path / "examples.jsonl").exists() and any(
            (path / file).is_file() for file in converseg.SPLITS
        )
        return "converseg" if plain else "own"
    if path.name == converseg.ITEMS:
        return "converseg"
    if path.suffix == ".json":
        return "JSON of which the form must be named, as coco:FILE"
    row = next((row for _, row in islice(read_rows(path), 1)), None) if path.suffix == ".jsonl" else None
    if row is None:
        return "own"
    if "mask_merged" in row:
        return "converseg"
    return "own" if "rounds" in row or ("image" in row and "masks" not in row) else "truth"


def _parted(rest: str) -> tuple[str, str]:
    root, at, split = rest.rpartition("@")
    return (root, split) if at else (rest, "")


def _counted(source: str, examples: Iterator[Example], notes: Notes, *, say: bool) -> Iterator[Example]:
    count = 0
    for example in examples:
        count += 1
        yield example
    if not count and notes.counts:
        raise DataError(f"{source}: nothing of it can be used", got="; ".join(notes.lines()))
    if say:
        notes.say(source)
