"""COCO's instances, read and written: "all of one category" as a prompt, crowds as ignored regions.

https://cocodataset.org

    ROOT/annotations/instances_val2017.json      pictures: ROOT/val2017/
    FILE.json                                    any COCO file; its pictures lie beside it
    ROOT/annotations.json                        what `askmask convert` writes; pictures: ROOT/images/

One annotation, with the category "mug"; files that askmask wrote say what was asked in "caption":

    {"id": 1, "image_id": 9, "category_id": 3, "bbox": [x, y, w, h], "area": 12.5, "iscrowd": 0,
     "segmentation": [[x0, y0, x1, y1, ...]]}      (iscrowd 1: {"size": [h, w], "counts": [run, ...]})
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from askmask.conversation import CONCEPTS, Example, Prompt, Round, Segment
from askmask.errors import DataError
from askmask.formats.polygons import mask_of_coco
from askmask.formats.reading import (
    ById,
    Frames,
    NoTruth,
    found_in,
    id_of,
    item,
    naming,
    order_of,
    prompt_of,
    read_json,
    score_of,
    size_of,
    text_of,
    upright,
    upright_size,
)
from askmask.formats.writing import by_picture, count_losses, shapes_of, size_of_picture, words_of
from askmask.imaging.contours import one_ring
from askmask.imaging.mask import Mask, union_of
from askmask.notes import Notes
from askmask.runs.whole_files import write_json

FILE = "annotations.json"
CROWDS = ("ignore", "instances")


def read_coco(
    root: str | Path,
    split: str = "val2017",
    *,
    notes: Notes,
    annotations: str | None = None,
    pictures: str | None = None,
    crowds: str = "ignore",
    exif: str = "auto",
) -> Iterator[Example]:
    """Yield one Example per picture and prompt, one mask per instance, ordered by picture and category.

    The prompt is the category's name, or the caption; categories of one name are asked for together. Crowds are
    pixels that were not labelled one by one: ignored. Where not all is labelled, the truth is not known, and what it
    would be asked for is left out and counted: crowds alone, a box without a mask among the instances, a category that
    LVIS did not label exhaustively, a picture that several ids list. An annotation that does not say of which picture
    and category it is makes all of them doubtful: an error. `crowds=instances` takes crowds as instances, for tools
    that write every brush stroke as a crowd. `exif` says whether masks of photos turned by EXIF lie "upright" or as
    "stored", where sizes do not tell.
    """
    root = Path(root)
    if crowds not in CROWDS:
        raise DataError(f"`crowds` must be one of {CROWDS}", got=repr(crowds)[:80])
    if root.is_dir() and annotations is None and (root / FILE).is_file():
        root = root / FILE
    path = root if root.is_file() else root / (annotations or f"annotations/instances_{split}.json")
    split = "" if root.is_file() else split
    folders = [root / pictures] if pictures else [root / split, root, path.parent]
    data = read_json(path)
    with naming(str(path)):
        categories, images = ById(data["categories"], "categories"), ById(data["images"], "images")
        first = _first_of_their_name(categories)
        listed = Counter(str(row.get("file_name")) for row in images.values())
        found: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
        for row in data["annotations"]:
            category = id_of(row["category_id"])
            key = (
                id_of(row["image_id"]),
                first.get(category, category),
                text_of(row.get("caption", ""), "caption"),
            )
            found.setdefault(key, []).append(row)
    many = {key[:2] for key in found if key[2]}

    def picture(image: dict[str, Any]) -> Path:
        return found_in(folders, image["file_name"])

    def stored(image_id: str) -> tuple[Path, tuple[int, int]]:
        return picture(images[image_id]), size_of(images[image_id]["height"], images[image_id]["width"])

    frames = Frames(images, stored, exif)
    ordered = sorted(found.items(), key=lambda item: [order_of(part) for part in item[0][:2]])
    for number, ((image_id, category, caption), rows) in enumerate(ordered):
        with item(f"{path}, image {image_id}, category {category}", notes):
            place, stated = stored(image_id)
            name = prompt_of(categories[category]["name"], "name")
            if listed[str(images[image_id]["file_name"])] > 1:
                raise NoTruth("prompts left out: several ids list their picture")
            if category in map(id_of, images[image_id].get("not_exhaustive_category_ids", ())):
                raise NoTruth("prompts left out: LVIS did not label all of the category")
            turn = frames.orientation(place, stated)
            segments = [
                Segment(
                    mask=upright(mask_of_coco(row.get("segmentation"), stated), turn),
                    score=score_of(row.get("score")),
                )
                for row in rows
            ]
            apart = [crowds == "ignore" and bool(row.get("iscrowd")) for row in rows]
            if all(apart):
                raise NoTruth("prompts left out: crowds alone", do="Add crowds=instances if they are none.")
            size = upright_size(stated, turn)
            crowd = [one.mask for one, is_crowd in zip(segments, apart, strict=True) if is_crowd]
            yield Example(
                id=f"coco-{split}-{image_id}-{category}"
                + (f"-{number}" if (image_id, category) in many else ""),
                image=str(place),
                size=size,
                source="coco",
                split=split,
                rounds=(
                    Round(
                        prompt=Prompt(text=caption or name),
                        segments=tuple(
                            one for one, is_crowd in zip(segments, apart, strict=True) if not is_crowd
                        ),
                        ignore=union_of(crowd, size) if crowd else None,
                        concept=name if caption and name in CONCEPTS else None,
                    ),
                ),
            )


def _first_of_their_name(categories: ById) -> dict[str, str]:
    """Return category id -> the first id of a category with the same name: what is asked for by it is one truth."""
    first: dict[str, str] = {}
    by_name: dict[str, str] = {}
    unread = Notes()  # whoever asks for a category hears what is wrong with it
    for category in categories:
        with item("", unread):
            first[category] = by_name.setdefault(text_of(categories[category]["name"], "name"), category)
    return first


HOLDS = ("prompt", "ignore", "score", "concept")


def write_coco_folder(
    examples: Iterable[Example], folder: Path, *, name: str, notes: Notes, polygons: bool = False
) -> int:
    """Write annotations.json; see `write_coco`."""
    return write_coco(examples, folder / FILE, name=name, notes=notes, polygons=polygons)


def write_coco(
    examples: Iterable[Example], path: str | Path, *, name: str, notes: Notes, polygons: bool = False
) -> int:
    """Write a COCO file whole or not at all; return the number of annotations.

    One annotation per segment, its prompt as "caption"; the category is the round's concept, or else the prompt.
    Masks are run-length codes, or with `polygons` rings along pixel edges, holes joined to their outlines by seams:
    both hold every pixel. Ignored pixels become a crowd of the same caption. What COCO has no place for is counted
    in `notes`.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    categories = {concept: number for number, concept in enumerate(CONCEPTS, 1)}

    def add(label: str, caption: str, mask: Mask, *, crowd: bool = False, **more: Any) -> None:
        box = mask.box
        assert box is not None, "only masks with pixels come here"
        drawn: Any = mask.to_dict()
        if polygons and not crowd:
            rings = [one_ring(part) for part in mask.parts()]
            drawn = [[value for corner in ring for value in corner] for ring in rings]
        annotations.append(
            {
                "id": len(annotations) + 1,
                "image_id": len(images),
                "category_id": categories.setdefault(label, len(categories) + 1),
                "caption": caption,
                "segmentation": drawn,
                "area": mask.area,
                "bbox": [box[0], box[1], box[2] - box[0], box[3] - box[1]],
                "iscrowd": int(crowd),
            }
            | more
        )

    for picture, group in by_picture(examples).items():
        height, width = size_of_picture(group)
        images.append({"id": len(images) + 1, "file_name": picture, "height": height, "width": width})
        count_losses(group, HOLDS, notes, "COCO")
        for shape in shapes_of(group):
            score = shape.segment.score
            more: dict[str, Any] = {} if score is None else {"score": score}
            add(shape.label, shape.words, shape.segment.mask, **more)
        for round in (round for example in group for round in example.rounds):
            if round.ignore and any(round.masks or ()):
                add(round.concept or words_of(round), words_of(round), round.ignore, crowd=True)
    write_json(
        path,
        {
            "info": {"description": name},
            "licenses": [],
            "images": images,
            "annotations": annotations,
            "categories": [{"id": number, "name": name} for name, number in categories.items()],
        },
    )
    return len(annotations)
