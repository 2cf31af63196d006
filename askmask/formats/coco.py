"""COCO instances: "all of one category" as a prompt, crowds as ignored regions.

https://cocodataset.org

    ROOT/annotations/instances_val2017.json      pictures: ROOT/val2017/

One annotation:

    {"id": 1, "image_id": 9, "category_id": 3, "bbox": [x, y, w, h], "area": 12.5, "iscrowd": 0,
     "segmentation": [[x0, y0, x1, y1, ...]]}      (iscrowd 1: {"size": [h, w], "counts": [run, ...]})
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from askmask.conversation import Example, Round
from askmask.formats.polygons import mask_of_coco
from askmask.formats.reading import inside, naming, read_json
from askmask.imaging.mask import union_of


def read_coco(
    root: str | Path, split: str = "val2017", *, annotations: str | None = None
) -> Iterator[Example]:
    """Yield one Example per picture and category in it, one mask per instance, ordered by both ids.

    The prompt is the category's name. Crowds of that category are pixels nobody labelled one by one: ignored.
    A category of which a picture has crowds alone is left out.
    """
    root = Path(root)
    path = root / (annotations or f"annotations/instances_{split}.json")
    data = read_json(path)
    with naming(str(path)):
        names = {row["id"]: row["name"] for row in data["categories"]}
        images = {row["id"]: row for row in data["images"]}
        found: dict[tuple[int, int], list[dict]] = {}
        for row in data["annotations"]:
            found.setdefault((row["image_id"], row["category_id"]), []).append(row)
    for (image_id, category), rows in sorted(found.items()):
        with naming(f"{path}, image {image_id}, category {category}"):
            image = images[image_id]
            size = (int(image["height"]), int(image["width"]))
            masks = {row["id"]: mask_of_coco(row["segmentation"], size) for row in rows}
            things = tuple(masks[row["id"]] for row in rows if not row.get("iscrowd"))
            crowds = [masks[row["id"]] for row in rows if row.get("iscrowd")]
            if things:
                yield Example(
                    id=f"coco-{split}-{image_id}-{category}",
                    image=str(inside(root / split, image["file_name"])),
                    size=size,
                    source="coco",
                    split=split,
                    rounds=(
                        Round.of(
                            prompt=names[category],
                            masks=things,
                            ignore=union_of(crowds, size) if crowds else None,
                        ),
                    ),
                )
