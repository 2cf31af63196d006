"""ADE20K and COCO-Stuff: a class for every pixel.

ade20k:ROOT      ROOT/images/training/A.jpg, ROOT/annotations/training/A.png, ROOT/objectInfo150.txt (the scene
                 parsing set): 0 is unlabelled, class = value - 1
cocostuff:ROOT   ROOT/train2017/A.jpg, ROOT/stuffthingmaps/train2017/A.png (or ROOT/annotations/...),
                 ROOT/labels.txt "1: person": class = value, whose name is that of value + 1; 255 is unlabelled
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from askmask.build.mrseg.rules import Rule, semantic
from askmask.build.mrseg.scene import Region, Scene
from askmask.build.mrseg.sources.source import Table
from askmask.build.mrseg.words import noun_of
from askmask.errors import DataError, SettingError
from askmask.formats.mrseg import CLASS_MAPS
from askmask.formats.panoptic import literal_name
from askmask.formats.reading import Frames, found_in, naming, read_bytes, upright, upright_size
from askmask.imaging.files import read_ids
from askmask.imaging.mask import Mask
from askmask.notes import Notes

MAX_LIST_BYTES = 1 << 20
LEAST_PIXELS = 16  # a class of fewer is a seam between two others
NO_NAME = "classes left out: the list does not name them"


class _Maps(ABC):
    """What both sets share."""

    dataset: str
    table: Table = "maps"
    rules: tuple[Rule, ...] = (semantic,)

    def __init__(
        self, name: str, root: Path, split: str, maps: Sequence[str], pictures: Sequence[str], names: Path
    ):
        self.name, self.root, self.split, self.names_file = name, root, split, names
        self.categories: list[dict[str, object]] = []
        self.opened = Notes()
        self.pictures = [root / folder for folder in pictures]
        folder = next((root / folder for folder in maps if (root / folder).is_dir()), None)
        if folder is None:
            raise SettingError(
                "no folder of maps", got=root / maps[0], do="Check the root folder and the split."
            )
        self.maps = {path.stem: path for path in sorted(folder.glob("*.png"))}
        self.classes = self.read_names()

    @abstractmethod
    def read_names(self) -> dict[int, str]:
        """Return the classes by their numbers in markers."""

    def files(self) -> Sequence[Path]:
        """Return the list of classes."""
        return [self.names_file]

    def ids(self) -> Sequence[str]:
        """Return the pictures, in order."""
        return sorted(self.maps)

    def annotation(self, picture: str) -> Path | None:
        """Return the map of a picture."""
        return self.maps[picture]

    @abstractmethod
    def image(self, picture: str) -> str:
        """Return a picture's path from the root of SegLLM's pictures."""

    def scene(self, picture: str, notes: Notes) -> Scene:
        """Return the classes of a picture, each as one region."""
        path = self.maps[picture]
        ids = read_ids(path)
        image = found_in(self.pictures, f"{picture}.jpg")
        turn = Frames().orientation(image, ids.shape)
        values, counts = np.unique(ids, return_counts=True)
        regions = []
        for value, count in zip(values.tolist(), counts.tolist(), strict=True):
            number = value - CLASS_MAPS[self.dataset]
            if number < 0 or value == 255 or count < LEAST_PIXELS:
                continue
            if number not in self.classes:
                notes.add(NO_NAME, f"{path}, class {number}")
                continue
            mask = upright(Mask.from_array(ids == value), turn)
            regions.append(Region(id=str(number), noun=self.classes[number], mask=mask, category=number))
        return Scene(
            id=picture,
            image=self.image(picture),
            path=image,
            size=upright_size(ids.shape, turn),
            regions=tuple(regions),
        )


class Ade20k(_Maps):
    """ADE20K as the scene parsing set gives it: 150 classes."""

    dataset = "ade20k"

    def __init__(self, name: str, root: Path, split: str):
        self.part = {"train": "training", "val": "validation"}.get(split, split)
        maps, pictures = [f"annotations/{self.part}"], [f"images/{self.part}"]
        super().__init__(name, root, split, maps, pictures, root / "objectInfo150.txt")

    def read_names(self) -> dict[int, str]:
        """Read the table's first and last columns; the first row is its head."""
        with naming(str(self.names_file)):
            rows = [line.split("\t") for line in _lines(self.names_file)[1:]]
            return {int(row[0]) - 1: noun_of(row[-1]) for row in rows}

    def image(self, picture: str) -> str:
        """Return a picture's path from the root of SegLLM's pictures."""
        return f"ade20k/images/{self.part}/{picture}.jpg"


class CocoStuff(_Maps):
    """COCO-Stuff: things and stuff."""

    dataset = "cocostuff"

    def __init__(self, name: str, root: Path, split: str):
        self.part = f"{split}2017" if split in ("train", "val") else split
        maps = [f"{folder}/{self.part}" for folder in ("stuffthingmaps", "annotations", "labels")]
        super().__init__(name, root, split, maps, [self.part, f"images/{self.part}"], root / "labels.txt")

    def read_names(self) -> dict[int, str]:
        """Read lines "NUMBER: NAME"; a map holds NUMBER - 1."""
        with naming(str(self.names_file)):
            rows = [line.split(":", 1) for line in _lines(self.names_file)]
            if any(len(row) != 2 for row in rows):
                raise DataError('lines "NUMBER: NAME" are needed')
            return {
                int(number) - 1: noun_of(literal_name(name.strip())) for number, name in rows if int(number)
            }

    def image(self, picture: str) -> str:
        """Return a picture's path from the root of SegLLM's pictures."""
        return f"coco/{self.part}/{picture}.jpg"


def _lines(path: Path) -> list[str]:
    text = read_bytes(path, MAX_LIST_BYTES).decode("utf-8", "replace")
    return [line.strip() for line in text.splitlines() if line.strip()]
