"""What a builder needs of an annotated set."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Protocol

from askmask.build.mrseg.rules import Rule
from askmask.build.mrseg.scene import Scene
from askmask.notes import Notes

# How SegLLM's reader finds a set's masks: COCO's instances; a table id -> code; id -> {"segmentation", "image_dim"};
# a folder of class maps; a folder of ReasonSeg's JSON files.
Table = Literal["instances", "codes", "sized", "maps", "shapes"]
NO_PICTURE = "pictures left out: the file is not there"


class Source(Protocol):
    """One split of one set. What is wrong with one picture raises a DataError there; `notes` counts smaller things."""

    name: str  # as a user writes it
    split: str
    dataset: str  # as SegLLM's files name it
    table: Table
    rules: tuple[Rule, ...]
    categories: list[dict[str, object]]  # of a table of instances
    opened: Notes  # what was left out when its files were opened

    def files(self) -> Sequence[Path]:
        """Return the files that decide what is built, apart from pictures and maps."""

    def ids(self) -> Sequence[str]:
        """Return the pictures, in order."""

    def scene(self, picture: str, notes: Notes) -> Scene:
        """Return what is known of one picture. Raises DataError, or NoTruth where it cannot be used."""

    def annotation(self, picture: str) -> Path | None:
        """Return the file beside a picture that the masks are read from: a class map, a JSON file."""
