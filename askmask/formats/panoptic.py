"""COCO's panoptic form (COCO, COCONut): every pixel belongs to a thing or to stuff, asked for by its category's name.

https://cocodataset.org/#format-data and https://github.com/bytedance/coconut_cvpr2024

    ROOT/annotations/panoptic_val2017.json   with ROOT/annotations/panoptic_val2017/*.png    pictures: ROOT/val2017/

One annotation; a pixel's segment is R + 256 G + 65536 B of its colour, 0 is unlabelled:

    {"image_id": 9, "file_name": "000000000009.png", "segments_info": [
        {"id": 3226956, "category_id": 1, "iscrowd": 0, "bbox": [x, y, w, h], "area": 2840}]}

with "categories": [{"id": 1, "name": "person", "isthing": 1}, {"id": 199, "name": "wall-other-merged", "isthing": 0}].
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from askmask.conversation import Example, Round
from askmask.errors import DataError
from askmask.formats.reading import (
    ById,
    Frames,
    NoTruth,
    id_of,
    inside,
    item,
    naming,
    order_of,
    prompt_of,
    read_json,
    size_of,
    upright,
    upright_size,
)
from askmask.imaging.files import read_ids
from askmask.imaging.mask import Mask
from askmask.notes import Notes

_FILLERS = ("merged", "other", "stuff")


def read_panoptic(
    root: str | Path,
    split: str = "val2017",
    *,
    notes: Notes,
    annotations: str | None = None,
    segments: str | None = None,
    pictures: str | None = None,
    per: str = "category",
) -> Iterator[Example]:
    """Yield one Example per picture, a prompt per category in it (or, with per="instance", per segment).

    The prompts know nothing of each other. "wall-brick" is asked for as "brick wall", "wall-other-merged" as "wall".
    Ignored are unlabelled pixels, crowds of the category, and pixels of a narrower category ("brick wall" for "wall").
    With per="instance" the category's other instances are ignored too: its name fits them as well.
    """
    if per not in ("category", "instance"):
        raise DataError('`per` must be "category" or "instance"', got=repr(per)[:80])
    root = Path(root)
    path = root / (annotations or f"annotations/panoptic_{split}.json")
    maps = root / segments if segments else path.with_suffix("")
    data = read_json(path)
    with naming(str(path)):
        categories, images = ById(data["categories"], "categories"), ById(data["images"], "images")
        rows = sorted(data["annotations"], key=lambda row: order_of(id_of(row["image_id"])))
        annotated = Counter(id_of(row["image_id"]) for row in rows)
    folder = root / (pictures or split)
    frames = Frames(images, lambda i: (inside(folder, images[i]["file_name"]), _stated(images[i])))
    for row in rows:
        name = id_of(row["image_id"])
        with item(f"{path}, image {name}", notes):
            if annotated[name] > 1:
                raise DataError(f"{annotated[name]} annotations of one picture")
            image = images[name]
            stated = _stated(image)
            picture = inside(folder, image["file_name"])
            turn = frames.orientation(picture, stated)
            ids = read_ids(inside(maps, row["file_name"]))
            if ids.shape != stated:
                raise DataError("the map of segments is of another size", got=f"{ids.shape} and {stated}")
            rounds = _rounds(ids, row["segments_info"], categories, per)
            if not rounds:
                raise NoTruth("pictures left out: no segment has a pixel")
            yield Example(
                id=f"panoptic-{split}-{name}",
                image=str(picture),
                size=upright_size(stated, turn),
                source="panoptic",
                split=split,
                independent=True,
                rounds=tuple(
                    Round.of(
                        prompt,
                        masks=[upright(Mask.from_array(mask), turn) for mask in masks],
                        ignore=upright(Mask.from_array(ignore), turn) if ignore.any() else None,
                    )
                    for prompt, masks, ignore in rounds
                ),
            )


def literal_name(category: str) -> str:
    """Return a category's name as a person would say it."""
    return " ".join(part for part in reversed(category.split("-")) if part not in _FILLERS) or category


def _stated(image: dict[str, Any]) -> tuple[int, int]:
    return size_of(image["height"], image["width"])


def _rounds(
    ids: np.ndarray, infos: list[dict[str, Any]], categories: ById, per: str
) -> list[tuple[str, list[np.ndarray], np.ndarray]]:
    """Return (prompt, masks, ignored pixels) in the order in which categories first occur."""
    numbers = [info["id"] for info in infos]
    if len(set(numbers)) != len(numbers):
        raise DataError("two segments with the same id", got=sorted(numbers)[:8])
    present = set(np.unique(ids).tolist())
    unknown = ~np.isin(ids, numbers)
    groups: dict[str, list[dict[str, Any]]] = {}
    for info in infos:
        if info["id"] in present:
            groups.setdefault(prompt_of(categories[info["category_id"]]["name"], "name"), []).append(info)
    rounds = []
    for name, group in groups.items():
        single = [ids == info["id"] for info in group if not info.get("iscrowd")]
        crowd = np.isin(ids, [info["id"] for info in group if info.get("iscrowd")])
        narrower = [
            info["id"]
            for other, infos_of_other in groups.items()
            if name.split("-")[1:2] == ["other"]
            and other != name
            and other.startswith(name.split("-")[0] + "-")
            for info in infos_of_other
        ]
        ignore = unknown | crowd | np.isin(ids, narrower)
        if single and per == "category":
            rounds.append((literal_name(name), single, ignore))
        elif single:
            every = np.logical_or.reduce(single)
            rounds += [(literal_name(name), [mask], ignore | (every & ~mask)) for mask in single]
    return rounds
