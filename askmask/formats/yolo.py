"""YOLO's segmentation labels, read and written: one polygon a line, in shares of the picture's sides.

https://docs.ultralytics.com/datasets/segment

    ROOT/data.yaml              names of the classes, folders of the splits
    ROOT/images/train/9.jpg     ROOT/labels/train/9.txt

One line: the number of the class, then the corners; and what data.yaml says:

    0 0.25 0.5 0.5 0.5 0.5 0.75
    {"train": "images/train", "val": "images/train", "names": ["the mug"]}

A class is a prompt. A mask of several parts or with holes is one polygon, its rings joined by seams without area: by
the rule that COCO fills with, which this reader uses, no pixel is lost. Ultralytics paints polygons one pixel
larger to the right and below, and seams as lines one pixel wide.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from askmask.conversation import Example, Segment
from askmask.errors import DataError
from askmask.formats.reading import (
    BOX_ALONE,
    NO_PIXEL,
    choose_split,
    inside,
    item,
    naming,
    read_bytes,
    read_yaml,
    rounds_of,
    text_of,
)
from askmask.formats.writing import by_picture, count_losses, nothing_of, one_line, shapes_of, size_of_picture
from askmask.imaging.contours import one_ring
from askmask.imaging.files import list_pictures, read_header
from askmask.imaging.mask import Mask
from askmask.notes import Notes
from askmask.runs.json_text import json_text
from askmask.runs.whole_files import write_text

FILE = "data.yaml"
HOLDS = ("prompt",)
MAX_BYTES = 64 << 20  # of one file of labels, or of data.yaml
_SPLITS = ("train", "val", "test")


def read_yolo(
    root: str | Path,
    split: str | None = None,
    *,
    notes: Notes,
    prefer: str | None = None,
) -> Iterator[Example]:
    """Yield one Example per picture with labels: a round for each class. Lines of boxes alone are counted.

    Coordinates lie over the upright picture, as Ultralytics reads it. A picture without lines says nothing about
    any prompt, and is left out.
    """
    root = Path(root)
    path = root / FILE if root.is_dir() else root
    data = _yaml(path)
    with naming(str(path)):
        base = inside(path.parent, data.get("path") or ".")
        base = base if base.is_dir() else path.parent
        names = data["names"]
        names = (
            dict(enumerate(names))
            if isinstance(names, list)
            else {int(key): name for key, name in names.items()}
        )
        given = {one: inside(base, data[one]) for one in _SPLITS if isinstance(data.get(one), str)}
        # One folder may stand for several splits: it is the first of them.
        folders = {
            name: place for place, name in {place: name for name, place in reversed(given.items())}.items()
        }
    split = choose_split(root, folders.keys(), split, prefer)
    if split is None:
        raise DataError(f"{path}: no folder of pictures", do='It names one as "train", "val" or "test".')
    for image in list_pictures(folders[split]):
        with item(str(image), notes):
            if image.is_dir():  # listed because it may not be entered: there may be labels of what lies in it
                raise DataError("the folder may not be entered", do="Change its rights, or move it.")
            labels = _labels_of(image)
            if not labels.is_file():
                continue
            size = read_header(image).size
            regions: list[tuple[str, str, Segment | None]] = []
            for number, line in enumerate(
                read_bytes(labels, MAX_BYTES).decode("utf-8", "replace").splitlines(), 1
            ):
                if not line.strip():
                    continue
                where = f"{labels}, line {number}"
                with naming(where):
                    kind, *values = line.split()
                    corners = np.array([float(value) for value in values])
                    name = text_of(names[int(kind)], "names")
                    if len(corners) in (4, 5):
                        notes.add(BOX_ALONE, where)
                        regions.append((name, "", None))
                        continue
                    if len(corners) < 6 or len(corners) % 2:
                        raise DataError(
                            "a polygon needs three corners or more", got=f"{len(corners)} numbers"
                        )
                    mask = Mask.from_polygons([corners.reshape(-1, 2) * (size[1], size[0])], size)
                    if not mask:
                        notes.add(NO_PIXEL, where)
                        regions.append((name, "", None))
                        continue
                    regions.append((name, "", Segment(mask=mask)))
            rounds = rounds_of(regions, (), notes, str(labels))
            if not rounds:
                notes.add("pictures left out: no line is written about them", labels)
                continue
            yield Example(
                id=f"yolo-{split}-{image.relative_to(folders[split]).with_suffix('').as_posix()}",
                image=str(image),
                size=size,
                independent=True,
                source="yolo-seg",
                split=split,
                rounds=rounds,
            )


def write_yolo(examples: Iterable[Example], folder: Path, *, name: str, notes: Notes) -> int:
    """Write data.yaml and a file of labels per picture, below images/SPLIT; return the number of masks.

    Prompts that nothing matches are classes too, but which pictures they were asked about is not said.
    """
    classes: dict[str, int] = {}
    splits: dict[str, bool] = {}
    count = 0
    for picture, group in by_picture(examples).items():
        height, width = size_of_picture(group)
        count_losses(group, HOLDS, notes, "YOLO")
        splits[Path(picture).parent.name] = True
        lines = []
        for shape in shapes_of(group):
            rings = [ring for part in shape.segment.mask.parts() for ring in part]
            corners = np.array(one_ring(rings)) / (width, height)
            number = classes.setdefault(one_line(shape.words), len(classes))
            lines.append(f"{number} " + " ".join(f"{value:.9g}" for value in corners.ravel()))
        for prompt in nothing_of(group):
            classes.setdefault(one_line(prompt), len(classes))
        count += len(lines)
        path = _labels_of(folder / picture)
        write_text(path, "".join(f"{line}\n" for line in lines))
    # Ultralytics wants a folder for both; where there is but one split it stands for the other.
    used = [one for one in _SPLITS if one in splits] or ["train"]
    told: dict[str, Any] = {one: f"images/{one if one in used else used[0]}" for one in ("train", "val")}
    told |= {one: f"images/{one}" for one in used}
    write_text(folder / FILE, json_text(told | {"names": list(classes)}, indent=1) + "\n")  # JSON is YAML
    return count


def _labels_of(image: Path) -> Path:
    """Return where the labels of a picture lie: in labels/ beside the last images/ of its path."""
    parts = list(image.with_suffix(".txt").parts)
    for at in range(len(parts) - 2, -1, -1):
        if parts[at] == "images":
            return Path(*parts[:at], "labels", *parts[at + 1 :])
    return image.with_suffix(".txt")


def _yaml(path: Path) -> dict[str, Any]:
    data = read_yaml(path, MAX_BYTES)
    if not isinstance(data, dict):
        raise DataError(f"{path}: YAML of the form key: value is needed", got=type(data).__name__)
    return data
