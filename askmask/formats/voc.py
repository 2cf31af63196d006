"""Pascal VOC's segmentation, written: a map of classes, a map of objects, and boxes with names.

http://host.robots.ox.ac.uk/pascal/VOC/voc2012/htmldoc

    ROOT/JPEGImages/9.jpg             ROOT/Annotations/9.xml
    ROOT/SegmentationClass/9.png      each pixel the number of its class: 0 background, 255 not to be counted
    ROOT/SegmentationObject/9.png     each pixel the number of its object, in the order of the XML
    ROOT/ImageSets/Segmentation/train.txt
    ROOT/labelmap.txt                 "name:r,g,b::" a class, as CVAT and Datumaro write it

A pixel has one class: where masks overlap the smaller one lies on top, and what it covers is lost. A class is a prompt.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np
from PIL import Image

from askmask.conversation import Example
from askmask.errors import DataError
from askmask.formats.writing import (
    Shape,
    by_picture,
    count_losses,
    one_line,
    shapes_of,
    size_of_picture,
    xml_text,
)
from askmask.imaging.mask import Mask
from askmask.notes import Notes
from askmask.runs.whole_files import write_text

HOLDS = ("prompt", "ignore")
MOST = 254  # classes, or objects of a picture: 0 and 255 mean something else
VOID = 255


def write_voc(examples: Iterable[Example], folder: Path, *, name: str, notes: Notes) -> int:
    """Write all but the pictures; return the number of masks. Raises DataError for more than 254 classes."""
    pictures = by_picture(examples)
    classes: dict[str, int] = {}
    splits: dict[str, list[str]] = {}
    for group in pictures.values():
        for shape in shapes_of(group):
            classes.setdefault(_class_of(shape), len(classes) + 1)
    if len(classes) > MOST:
        raise DataError(
            f"Pascal VOC holds at most {MOST} classes, and every prompt is one",
            got=len(classes),
            do="Choose another format, such as coco.",
        )
    count = 0
    for picture, group in pictures.items():
        height, width = size_of_picture(group)
        count_losses(group, HOLDS, notes, "Pascal VOC")
        stem = Path(picture).stem
        splits.setdefault(group[0].split or "train", []).append(stem)
        shapes = list(shapes_of(group))
        if len(shapes) > MOST:
            raise DataError(
                f"Pascal VOC holds at most {MOST} masks a picture", got=f"{len(shapes)} on {picture}"
            )
        maps = np.zeros((2, height, width), np.uint8)
        order = sorted(range(len(shapes)), key=lambda n: -shapes[n].segment.mask.area)
        for number in order:
            array = shapes[number].segment.mask.to_array()
            if maps[1][array].any():
                notes.add("pixels of several masks: Pascal VOC gives them to the smaller one", picture,
                          int((maps[1][array] != 0).sum()))  # fmt: skip
            maps[0][array], maps[1][array] = classes[_class_of(shapes[number])], number + 1
        for round in (round for example in group for round in example.rounds):
            if round.ignore and any(round.masks or ()):
                free = round.ignore.to_array() & (maps[1] == 0)
                maps[:, free] = VOID
        for kind, pixels in zip(("SegmentationClass", "SegmentationObject"), maps, strict=True):
            _save(pixels, folder / kind / f"{stem}.png")
        write_text(
            folder / "Annotations" / f"{stem}.xml", _xml(Path(picture).name, name, (height, width), shapes)
        )
        count += len(shapes)
    for split, stems in splits.items():
        write_text(folder / "ImageSets" / "Segmentation" / f"{split}.txt", "".join(f"{s}\n" for s in stems))
    rows = [("background", 0), *classes.items()]
    colours = [f"{_plain(name)}:{','.join(map(str, colour_of(number)))}::\n" for name, number in rows]
    write_text(folder / "labelmap.txt", "# label:color_rgb:parts:actions\n" + "".join(colours))
    return count


def colour_of(number: int) -> tuple[int, int, int]:
    """Return VOC's colour of a number: its bits, dealt in turn to red, green and blue from the highest bit down."""
    red, green, blue = (sum((number >> (3 * k + part) & 1) << (7 - k) for k in range(8)) for part in range(3))
    return red, green, blue


def _class_of(shape: Shape) -> str:
    return _plain(one_line(shape.words))


def _plain(name: str) -> str:
    """Return a class's name without what parts the columns of labelmap.txt."""
    return xml_text(name).replace(":", "\uff1a").replace("#", "\uff03")


def _save(pixels: np.ndarray, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(pixels).convert("P")
    image.putpalette([value for number in range(256) for value in colour_of(number)])
    image.save(path)


def _xml(file: str, name: str, size: tuple[int, int], shapes: list[Shape]) -> str:
    height, width = size
    objects = "".join(
        f"  <object>\n    <name>{escape(_class_of(shape))}</name>\n    <pose>Unspecified</pose>\n"
        f"    <truncated>0</truncated>\n    <difficult>0</difficult>\n    <bndbox>{_box(shape.segment.mask)}</bndbox>\n"
        "  </object>\n"
        for shape in shapes
    )
    return (
        f"<annotation>\n  <folder>JPEGImages</folder>\n  <filename>{escape(xml_text(file))}</filename>\n"
        f"  <source><database>{escape(xml_text(name))}</database></source>\n"
        f"  <size><width>{width}</width><height>{height}</height><depth>3</depth></size>\n"
        f"  <segmented>1</segmented>\n{objects}</annotation>\n"
    )


def _box(mask: Mask) -> str:
    """Return a box as VOC counts: from 1, both ends inclusive."""
    box = mask.box
    assert box is not None, "shapes have pixels"
    values = zip(("xmin", "ymin", "xmax", "ymax"), (box[0] + 1, box[1] + 1, box[2], box[3]), strict=True)
    return "".join(f"<{key}>{value}</{key}>" for key, value in values)
