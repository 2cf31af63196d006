"""Visual Genome: who does what to whom.

    vg:ROOT   ROOT/relationships.json, ROOT/image_data.json, pictures in ROOT/VG_100K and ROOT/VG_100K_2;
              optional: relationship_alias.txt, object_alias.txt, masks.json {"IMAGE_OBJECT": run-length code}

The set has boxes only. Masks are those of masks.json, or else drawn from the boxes by `?drawer=NAME` (a name of
segmenters/). It has no split of its own: a tenth of the pictures, chosen by a hash of their ids, is "val".
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from askmask.build.mrseg.rules import Rule, interactional
from askmask.build.mrseg.scene import BoxXyxy, Link, Region, Scene
from askmask.build.mrseg.sources.source import Table
from askmask.build.mrseg.words import noun_of, plain_caption
from askmask.errors import DataError, SettingError
from askmask.formats.reading import (
    ById,
    NoTruth,
    found_in,
    id_of,
    naming,
    order_of,
    read_bytes,
    read_json,
    size_of,
    text_of,
)
from askmask.imaging.files import read_picture
from askmask.imaging.mask import Mask
from askmask.notes import Notes
from askmask.segmenters.segmenter import NAMES, open_segmenter

MAX_ALIAS_BYTES = 16 << 20
SAME_THING = 0.7  # IoU from which two boxes of one name are one thing, annotated twice
UNSPEAKABLE = frozenset({"of", "and", "with", "that", "to", "for", "is", "are", "a", "the"})
NOT_ONE = "relationships left out: their names fit several things"
NO_WORDS = "relationships left out: their predicate makes no clause"


class VisualGenome:
    """One split of the relationships."""

    dataset = "visual_genome"
    table: Table = "codes"
    rules: tuple[Rule, ...] = (interactional,)

    def __init__(self, name: str, root: Path, split: str, drawer: str = ""):
        if split not in ("train", "val"):
            raise SettingError('Visual Genome is parted into "train" and "val"', got=repr(split))
        if drawer and drawer not in NAMES:
            raise SettingError("no such drawer", got=repr(drawer), do=f"Choose of {', '.join(NAMES)}.")
        self.name, self.root, self.split, self.drawer = name, root, split, drawer
        self.categories: list[dict[str, object]] = []
        self.opened = Notes()
        self.masks_file = root / "masks.json"
        if not self.masks_file.is_file() and not drawer:
            raise SettingError(
                "Visual Genome has boxes only, and there is no masks.json",
                got=root,
                do="Add ?drawer=sam2.1-large to the source, to draw masks from the boxes.",
            )
        images = read_json(root / "image_data.json", kind=list)
        with naming(str(root / "image_data.json")):
            self.images = ById(({"id": row["image_id"]} | row for row in images), "pictures")
        self.rows: dict[str, list[Any]] = {}
        path = root / "relationships.json"
        for number, row in enumerate(read_json(path, kind=list)):
            with naming(f"{path}, row {number}"):
                picture = id_of(row["image_id"])
                if picture in self.images and split_of(picture) == split:
                    self.rows.setdefault(picture, []).extend(row["relationships"])
        self.verbs = _aliases(root / "relationship_alias.txt")
        self.nouns = _aliases(root / "object_alias.txt")

    def files(self) -> Sequence[Path]:
        """Return the files that are there."""
        names = ("relationships.json", "image_data.json", "masks.json", "relationship_alias.txt")
        return [self.root / n for n in (*names, "object_alias.txt") if (self.root / n).is_file()]

    def ids(self) -> Sequence[str]:
        """Return the pictures, in order."""
        return sorted(self.rows, key=order_of)

    def annotation(self, picture: str) -> Path | None:
        """Return none: masks are written as a table."""
        return None

    def scene(self, picture: str, notes: Notes) -> Scene:
        """Return the things of a picture and the relationships that single them out."""
        row = self.images[picture]
        size = size_of(row["height"], row["width"])
        image = "/".join(text_of(row["url"], "url").split("/")[-2:])
        place = f"{self.root / 'relationships.json'}, picture {picture}"
        things: dict[str, tuple[str, BoxXyxy]] = {}
        said: dict[str, str] = {}  # object id -> the id of the thing that it is
        links: list[Link] = []
        for relationship in sorted(self.rows[picture], key=lambda one: int(one["relationship_id"])):
            predicate = plain_caption(text_of(relationship["predicate"], "predicate"))
            predicate = self.verbs.get(predicate, predicate)
            if not predicate or predicate in UNSPEAKABLE:
                notes.add(NO_WORDS, place)
                continue
            ends = [self._thing(relationship[end], things, said, size) for end in ("subject", "object")]
            if ends[0] != ends[1]:
                links.append(Link(ends[0], predicate, ends[1]))
        links = list(dict.fromkeys(links))
        kept = [link for link in links if _singles_out(link, links, things)]
        notes.add(NOT_ONE, place, len(links) - len(kept)) if len(kept) < len(links) else None
        path = found_in([self.root / image.rpartition("/")[0], self.root], image.rpartition("/")[2])
        needed = sorted({end for link in kept for end in (link.subject, link.object)}, key=order_of)
        masks = self._masks(picture, path, size, {name: things[name][1] for name in needed})
        if not kept:
            raise NoTruth("pictures left out: no relationship that singles out what it names")
        return Scene(
            id=picture,
            image=f"vg/{image}",
            path=path,
            size=size,
            regions=tuple(
                Region(id=f"{picture}_{name}", noun=things[name][0], mask=masks[name]) for name in needed
            ),
            links=tuple(
                Link(f"{picture}_{link.subject}", link.predicate, f"{picture}_{link.object}") for link in kept
            ),
        )

    def _thing(
        self,
        row: dict[str, Any],
        things: dict[str, tuple[str, BoxXyxy]],
        said: dict[str, str],
        size: tuple[int, int],
    ) -> str:
        """Return the id of what a relationship speaks of; one thing is often annotated twice."""
        name = id_of(row["object_id"])
        if name in said:
            return said[name]
        words = row["name"] if "name" in row else row["names"][0]
        noun = noun_of(plain_caption(text_of(words, "name")))
        noun = self.nouns.get(noun, noun)
        x0, y0 = max(0, int(row["x"])), max(0, int(row["y"]))
        x1, y1 = min(size[1], int(row["x"]) + int(row["w"])), min(size[0], int(row["y"]) + int(row["h"]))
        if x1 <= x0 or y1 <= y0:
            raise DataError("a box outside the picture", got=f"object {name}")
        for other, (of, box) in things.items():
            if of == noun and _iou(box, (x0, y0, x1, y1)) >= SAME_THING:
                said[name] = other
                return other
        things[name] = noun, (x0, y0, x1, y1)
        said[name] = name
        return name

    @cached_property
    def _codes(self) -> dict[str, Any]:
        found: dict[str, Any] = read_json(self.masks_file)
        return found

    @cached_property
    def _segmenter(self) -> Any:
        return open_segmenter(self.drawer)

    def _masks(
        self, picture: str, path: Path, size: tuple[int, int], boxes: dict[str, BoxXyxy]
    ) -> dict[str, Mask]:
        if self.masks_file.is_file():
            masks = {name: Mask.from_dict(self._codes[f"{picture}_{name}"]) for name in boxes}
        else:
            drawn = (
                self._segmenter.segment_boxes(read_picture(path).rgb, list(boxes.values())) if boxes else []
            )
            masks = {name: mask for name, (mask, _) in zip(boxes, drawn, strict=True)}
        if bad := [name for name, mask in masks.items() if mask.size != size or not mask]:
            raise DataError("a mask of another size than the picture, or without a pixel", got=bad[0])
        return masks


def split_of(picture: str) -> str:
    """Return the part of a picture: a tenth is "val"."""
    return "val" if hashlib.sha256(f"vg-{picture}".encode()).digest()[0] % 10 == 0 else "train"


def _singles_out(link: Link, links: list[Link], things: dict[str, tuple[str, BoxXyxy]]) -> bool:
    """Whether the subject's name fits one thing, and its predicate and the object's name one other."""
    nouns = Counter(noun for noun, _ in things.values())
    subject, target = things[link.subject][0], things[link.object][0]
    same = {
        one.object
        for one in links
        if one.subject == link.subject and one.predicate == link.predicate and things[one.object][0] == target
    }
    return nouns[subject] == 1 and len(same) == 1 and subject != target


def _iou(a: BoxXyxy, b: BoxXyxy) -> float:
    both = max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(0, min(a[3], b[3]) - max(a[1], b[1]))
    areas = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
    return both / (areas - both)


def _aliases(path: Path) -> dict[str, str]:
    """Read lines of names that mean the same into {name: the first of its line}."""
    if not path.is_file():
        return {}
    found: dict[str, str] = {}
    for line in read_bytes(path, MAX_ALIAS_BYTES).decode("utf-8", "replace").splitlines():
        names = [plain_caption(name) for name in line.split(",") if name.strip()]
        for name in names:
            found.setdefault(name, names[0])
    return found
