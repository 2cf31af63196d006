"""MRSeg, the multi-round conversations of SegLLM, in their file format.

Hugging Face: Marlo-Z/SegLLM_dataset

    ROOT/conversations_folder/**/NAME.json     list of conversations
    ROOT/annotations.yaml                      which annotation file belongs to which data set name
    ROOT/images_folder/                        coco/train2014, vg/VG_100K, pascal, ade20k, reason_seg, ...

One conversation; markers in square brackets stand for the picture, an earlier mask or box, and the answer:

    {"task": "segmentation", "conv_id": "7", "conversations": [
      {"from": "human", "value": "[IMAGE256:coco/train2014/a.jpg] segment the dog"},
      {"from": "gpt", "value": "Sure. [MASK-DECODE:coco/train2014/a.jpg|refcoco|12]"},
      {"from": "human", "ind": 1, "value": "[MASK-ENCODE:coco/train2014/a.jpg|refcoco|12]
          [BOX-ENCODE:coco/train2014/a.jpg|refcoco|12] who stands left of instance 1?"},
      {"from": "gpt", "value": "[MASK-DECODE:relational:12:31:coco/train2014/a.jpg:refcoco]"}]}

annotations.yaml: {"datasets": [{"name": "refcoco", "path": "annotations_folder/refcoco/instances.json",
"path_eval"?: "..."}]}. An annotation file is COCO instances, a dict id -> run-length code, a dict id ->
{"segmentation", "image_dim": [h, w]}, or a folder (class maps of ADE20K and COCO-Stuff, ReasonSeg JSON files).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from askmask.conversation import Example, Prompt, Round, Segment
from askmask.errors import DataError
from askmask.formats.labelme import label_of, paint_shapes
from askmask.formats.mrseg_turns import ANSWER, IMAGE, MASK, Marker, parse_dialogue
from askmask.formats.polygons import drawn, mask_of_coco
from askmask.formats.reading import (
    ById,
    Frames,
    choose_split,
    files_below,
    id_of,
    inside,
    item,
    naming,
    read_json,
    read_yaml,
    size_of,
    upright,
)
from askmask.imaging.files import picture_size, read_ids
from askmask.imaging.mask import Mask
from askmask.notes import Notes

CLASS_MAPS = {"ade20k": 1, "cocostuff": 0}  # stored value of class 0

MAX_YAML_BYTES = 1 << 20


def read_mrseg(
    root: str | Path, split: str | None = None, *, notes: Notes, annotations: str = "annotations.yaml"
) -> Iterator[Example]:
    """Yield one Example per conversation of the file(s) at ROOT/conversations_folder/SPLIT (a file or a folder).

    A reference to a mask that an earlier round answered becomes `refers_to` that round: the one `ind` names,
    else the latest. A mask given from outside (the "hard" files) is one of the prompt's.
    """
    root = Path(root)
    folder = root / "conversations_folder"
    if split is None:
        split = choose_split(root, {path.stem for path in folder.glob("*")}, None) or ""
    store = AnnotationStore(root, read_annotation_list(root / annotations), evaluating="train" not in split)
    place = folder / split
    files = files_below(place, "*.json") if place.is_dir() else [place.with_suffix(".json")]
    for path in files:
        for number, row in enumerate(read_json(path, kind=list)):
            with item(f"{path}, conversation {number}", notes):
                name = f"mrseg-{path.stem}-{row.get('conv_id', number)}"
                yield _conversation(row, name, path.stem, store, root / "images_folder")


def _conversation(
    row: dict[str, Any], name: str, split: str, store: AnnotationStore, images: Path
) -> Example:
    turns = parse_dialogue(row).turns
    rounds: list[Round] = []
    answered: list[list[tuple[str, str, str]]] = []  # keys of the masks that each round answered
    image = None
    for human, gpt in zip(turns[::2], turns[1::2], strict=True):
        image = next((marker.image for marker in human.markers(IMAGE)), image)
        if image is None:
            raise DataError("the first turn names no picture", got=human.value[:80])
        targets = list(gpt.markers(ANSWER))
        references, given = [], []
        for marker in human.markers(MASK):
            found = _earlier(marker, answered, human.ind)
            if found is None:
                given.append(store.mask(marker))
            else:
                references.append(found)
        segments = tuple(Segment(mask=store.mask(target)) for target in targets)
        rounds.append(
            Round(
                prompt=Prompt(text=human.words, refers_to=tuple(references), masks=tuple(given)),
                segments=segments or None,
                reply=gpt.words or None,
                meta={"tasks": [target.task or "none" for target in targets]},
            )
        )
        answered.append([target.key for target in targets])
    size = next((mask.size for round in rounds for mask in round.masks or ()), None)
    return Example(
        id=name,
        image=str(inside(images, image)),
        size=size,
        rounds=tuple(rounds),
        source="mrseg",
        split=split,
    )


def _earlier(
    marker: Marker, answered: list[list[tuple[str, str, str]]], ind: int | tuple[int, ...] | None
) -> str | None:
    """Find the round that a reference means. One instance may recur: then `ind`, from 1, tells which round.

    In the first round nothing can be meant, whatever `ind` says. Later, one that is not earlier is an error.
    """
    named = [i - 1 for i in (ind if isinstance(ind, tuple) else (ind,)) if i is not None and i > 0]
    if answered and any(index >= len(answered) for index in named):
        raise DataError('"ind" names a round that is not earlier', got=f"{ind} in round {len(answered) + 1}")
    for index in [*named, *reversed(range(len(answered)))]:
        if index < len(answered) and marker.key in answered[index]:
            position = answered[index].index(marker.key)
            return f"r{index + 1}" + (f".{position + 1}" if len(answered[index]) > 1 else "")
    return None


def read_annotation_list(path: Path) -> dict[str, dict[str, str]]:
    """Read annotations.yaml into {name: {"path", "path_eval"?}}."""
    if not path.is_file():
        raise DataError("no list of annotation files", got=path, do="See the docstring of formats/mrseg.py.")

    with naming(str(path)):
        data = read_yaml(path, MAX_YAML_BYTES)
        found: dict[str, dict[str, str]] = {}
        for entry in data["datasets"]:
            if found.setdefault(id_of(entry["name"]), entry) != entry:
                raise DataError("two data sets of one name", got=repr(entry["name"])[:80])
        return found


class AnnotationStore:
    """Masks of the annotation files, each file read when first needed."""

    def __init__(self, root: Path, files: Mapping[str, Mapping[str, str]], *, evaluating: bool):
        self.root, self.files, self.evaluating = root, files, evaluating
        self._table = cache(self._read_table)

    def mask(self, target: Marker) -> Mask:
        """Return the mask that a marker means, upright. Raises DataError if the files do not hold it."""
        path = self._path(target.dataset)
        if target.dataset == "reason_seg":
            return self._reasonseg_mask(path, target)
        of_file = self._class_mask if target.dataset in CLASS_MAPS else self._coded_mask
        mask = of_file(path, target)
        return upright(
            mask, Frames().orientation(inside(self.root / "images_folder", target.image), mask.size)
        )

    def _coded_mask(self, path: Path, target: Marker) -> Mask:
        table = self._table(path)
        if target.mask_id not in table:
            raise DataError(f"{path} has no mask", got=f"id {target.mask_id!r}")
        entry = table[target.mask_id]
        with naming(f"{path}, id {target.mask_id}"):
            if "counts" in entry:
                return drawn(Mask.from_dict(entry))
            size = entry["image_dim"] if "image_dim" in entry else entry["segmentation"]["size"]
            return mask_of_coco(entry["segmentation"], size_of(size[0], size[1]))

    def _path(self, dataset: str) -> Path:
        if dataset not in self.files:
            raise DataError("a data set that annotations.yaml does not list", got=repr(dataset))
        entry = self.files[dataset]
        name = entry.get("path_eval") if self.evaluating else None
        return inside(self.root, name or entry["path"])

    def _read_table(self, path: Path) -> Mapping[str, dict[str, Any]]:
        data = read_json(path)
        with naming(str(path)):
            if "annotations" not in data:
                return {str(key): value for key, value in data.items()}
            images = ById(data["images"], "images")
            sizes = {id_of(i): [row["height"], row["width"]] for i, row in images.items()}
            return ById(
                (
                    {"id": row["id"], "segmentation": row["segmentation"]}
                    | {"image_dim": sizes[id_of(row["image_id"])]}
                    for row in data["annotations"]
                ),
                "annotations",
            )

    def _class_mask(self, folder: Path, target: Marker) -> Mask:
        path = folder / (Path(target.image).stem + ".png")
        stored = int(target.mask_id) + CLASS_MAPS[target.dataset]
        mask = Mask.from_array(read_ids(path) == stored)
        if not mask:
            raise DataError(f"{path} holds no pixel of the class", got=target.mask_id)
        return mask

    def _reasonseg_mask(self, folder: Path, target: Marker) -> Mask:
        """SegLLM skips ignored shapes where LISA leaves their pixels out of the score."""
        name = Path(target.image).with_suffix(".json").name
        paths = [path for path in (folder / name, *sorted(folder.glob(f"*/{name}"))) if path.exists()]
        if not paths:
            raise DataError(f"{folder} has no annotation", got=name)
        data = read_json(paths[0], encodings=("utf-8", "cp1252"))
        shapes = [shape for shape in data["shapes"] if "ignore" not in label_of(shape).lower()]
        size = picture_size(inside(self.root / "images_folder", target.image))
        return drawn(paint_shapes(shapes, size)[0])
