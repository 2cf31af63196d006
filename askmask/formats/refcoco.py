"""RefCOCO, RefCOCO+, RefCOCOg, RefCLEF in the layout of the refer API.

https://github.com/lichengunc/refer

    ROOT/refcoco/refs(unc).p      pickle: list of refs
    ROOT/refcoco/instances.json   COCO: images, annotations, categories
    ROOT/images/mscoco/images/train2014/*.jpg   (RefCLEF: ROOT/images/saiapr_tc-12)

One ref, as in refs(unc).p:

    {"ref_id": 1, "ann_id": 7, "category_id": 1, "image_id": 3, "file_name": "COCO_train2014_000000000003_0.jpg",
     "split": "testA", "sent_ids": [0, 1],
     "sentences": [{"sent_id": 0, "sent": "woman in red", "raw": "Woman in red.", "tokens": ["woman", ...]}]}

`file_name` of a ref carries an annotation's number: the picture's name is the one in instances.json. Every
sentence is one Example, as all scorers count them. The pickle is read without executing anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from askmask.conversation import Example, Round
from askmask.errors import DataError, SettingError
from askmask.formats.plain_pickle import read_plain_pickle
from askmask.formats.polygons import mask_of_coco
from askmask.formats.reading import (
    ById,
    Frames,
    inside,
    item,
    naming,
    prompt_of,
    read_json,
    size_of,
    text_of,
    upright,
    upright_size,
)
from askmask.imaging.mask import Mask
from askmask.notes import Notes

COMPILED_BY = {"refcoco": "unc", "refcoco+": "unc", "refcocog": "umd", "refclef": "unc"}
PICTURES = "images/mscoco/images/train2014"
CLEF_PICTURES = "images/saiapr_tc-12"


class Instances:
    """The pictures and annotations of one instances.json, by id; masks come upright."""

    def __init__(self, path: Path, pictures: Path):
        """Read and index a COCO file; `pictures` is the folder of its pictures."""
        data = read_json(path)
        self.path, self.pictures = path, pictures
        with naming(str(path)):
            self.images = ById(data["images"], "images")
            self.annotations = ById(data["annotations"], "annotations")
            self.categories = ById(data.get("categories", ()), "categories")
        self._frames = Frames(self.images, lambda i: (self.picture(i), self._stated(i)))

    def picture(self, image_id: Any) -> Path:
        """Return where a picture lies."""
        return inside(self.pictures, self.images[image_id]["file_name"])

    def size(self, image_id: Any) -> tuple[int, int]:
        """Return (height, width) of a picture, upright."""
        return upright_size(self._stated(image_id), self._orientation(image_id))

    def mask(self, ann_id: Any, image_id: Any, *, drop_invalid: bool = False) -> Mask:
        """Return one annotation's mask, upright; it must lie on the picture `image_id`."""
        annotation = self.annotations[ann_id]
        if annotation["image_id"] != image_id:
            raise DataError(f"annotation {ann_id} lies on another picture", got=annotation["image_id"])
        size = self._stated(image_id)
        mask = mask_of_coco(annotation.get("segmentation"), size, drop_invalid=drop_invalid)
        return upright(mask, self._orientation(image_id))

    def _stated(self, image_id: Any) -> tuple[int, int]:
        image = self.images[image_id]
        return size_of(image["height"], image["width"])

    def _orientation(self, image_id: Any) -> int:
        return self._frames.orientation(self.picture(image_id), self._stated(image_id))


def read_refcoco(
    root: str | Path,
    split: str = "val",
    *,
    notes: Notes,
    name: str = "refcoco",
    by: str | None = None,
    text: str = "sent",
    pictures: str | None = None,
) -> Iterator[Example]:
    """Yield one Example per sentence of a split, in the order of the file.

    `split` train and val are exact, testA, testB, testC take refs whose split holds the letter, and test takes
    every split with "test" in its name, as the refer API does. `text` is "sent" (LISA) or "raw" (ReLA).
    """
    if name not in COMPILED_BY:
        raise SettingError("no such set", got=repr(name), do=f"Choose of {', '.join(COMPILED_BY)}.")
    if text not in ("sent", "raw"):
        raise SettingError('`text` must be "sent" or "raw"', got=repr(text))
    folder = Path(root) / name
    by = by or COMPILED_BY[name]
    path = folder / f"refs({by}).p"
    refs = read_plain_pickle(path)
    place = Path(root) / (pictures or (CLEF_PICTURES if name == "refclef" else PICTURES))
    instances = Instances(folder / "instances.json", place)
    for number, ref in refs_of(refs, path, split, notes):
        with item(f"{path}, ref {number}", notes):
            size = instances.size(ref["image_id"])
            mask = instances.mask(ref["ann_id"], ref["image_id"])
            for sentence in ref["sentences"]:
                prompt = prompt_of(sentence[text], text).strip()
                yield Example(
                    id=f"{name}-{by}-{ref['ref_id']}-{sentence['sent_id']}",
                    image=str(instances.picture(ref["image_id"])),
                    size=size,
                    source=name,
                    split=split,
                    rounds=(Round.of(prompt.lower() if text == "sent" else prompt, masks=(mask,)),),
                    meta={"ref_id": ref["ref_id"], "ann_id": ref["ann_id"], "text": text, "by": by},
                )


def refs_of(refs: Any, path: Path, split: str, notes: Notes) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (number, ref) of a split. Raises DataError if the file has no such split."""
    if not isinstance(refs, list):
        raise DataError(f"{path}: a list of refs is needed", got=type(refs).__name__)
    found, count = set(), 0
    for number, ref in enumerate(refs):
        wanted = False
        with item(f"{path}, ref {number}", notes):
            found.add(text_of(ref["split"], "split"))
            wanted = in_split(ref["split"], split)
        if wanted:
            count += 1
            yield number, ref
    if not count:
        raise DataError(f"{path} has no split {split!r}", got=", ".join(sorted(found)) or "no refs")


def in_split(found: str, wanted: str) -> bool:
    """Say whether a ref of split `found` belongs to `wanted`, by the refer API's rules."""
    if wanted in ("testA", "testB", "testC"):
        return wanted[-1] in found
    if wanted == "test":
        return "test" in found
    return found == wanted
