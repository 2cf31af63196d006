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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from askmask.conversation import Example, Round
from askmask.errors import DataError, SettingError
from askmask.formats.plain_pickle import read_plain_pickle
from askmask.formats.polygons import mask_of_coco
from askmask.formats.reading import naming, read_json
from askmask.imaging.mask import Mask

COMPILED_BY = {"refcoco": "unc", "refcoco+": "unc", "refcocog": "umd", "refclef": "unc"}
PICTURES = "images/mscoco/images/train2014"
CLEF_PICTURES = "images/saiapr_tc-12"


@dataclass(frozen=True)
class Instances:
    """The pictures and annotations of one instances.json, by id."""

    path: Path
    images: dict[int, dict[str, Any]]
    annotations: dict[int, dict[str, Any]]

    @classmethod
    def read(cls, path: Path) -> Instances:
        """Read and index a COCO file."""
        data = read_json(path)
        with naming(str(path)):
            return cls(path, *({row["id"]: row for row in data[key]} for key in ("images", "annotations")))

    def size(self, image_id: int) -> tuple[int, int]:
        """Return (height, width) of a picture."""
        image = self.images[image_id]
        return int(image["height"]), int(image["width"])

    def mask(self, ann_id: int, *, image_id: int | None = None, drop_invalid: bool = False) -> Mask:
        """Return one annotation's mask; it must lie on the picture `image_id` if that is given."""
        if ann_id not in self.annotations:
            raise DataError(f"{self.path} has no annotation", got=ann_id)
        annotation = self.annotations[ann_id]
        if image_id is not None and annotation["image_id"] != image_id:
            raise DataError(f"annotation {ann_id} lies on another picture", got=annotation["image_id"])
        size = self.size(annotation["image_id"])
        return mask_of_coco(annotation["segmentation"], size, drop_invalid=drop_invalid)


def read_refcoco(
    root: str | Path,
    split: str = "val",
    *,
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
    if not isinstance(refs, list):
        raise DataError(f"{path}: a list of refs is needed", got=type(refs).__name__)
    instances = Instances.read(folder / "instances.json")
    place = Path(root) / (pictures or (CLEF_PICTURES if name == "refclef" else PICTURES))
    for number, ref in enumerate(refs):
        with naming(f"{path}, ref {number}"):
            if not in_split(ref["split"], split):
                continue
            image = instances.images[ref["image_id"]]
            mask = instances.mask(ref["ann_id"], image_id=ref["image_id"])
            for sentence in ref["sentences"]:
                prompt = sentence[text].strip()
                if not prompt:
                    raise DataError("an empty sentence", got=f"sent_id {sentence['sent_id']}")
                yield Example(
                    id=f"{name}-{by}-{ref['ref_id']}-{sentence['sent_id']}",
                    image=str(place / image["file_name"]),
                    size=instances.size(ref["image_id"]),
                    source=name,
                    split=split,
                    rounds=(Round.of(prompt.lower() if text == "sent" else prompt, masks=(mask,)),),
                    meta={"ref_id": ref["ref_id"], "ann_id": ref["ann_id"], "text": text, "by": by},
                )


def in_split(found: str, wanted: str) -> bool:
    """Say whether a ref of split `found` belongs to `wanted`, by the refer API's rules."""
    if wanted in ("testA", "testB", "testC"):
        return wanted[-1] in found
    if wanted == "test":
        return "test" in found
    return found == wanted
