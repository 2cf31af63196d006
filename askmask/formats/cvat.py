"""CVAT's "CVAT for images 1.1", read and written: masks by its run-length code, polygons, boxes, ellipses.

https://docs.cvat.ai/docs/manual/advanced/xml_format

    ROOT/annotations.xml    pictures: ROOT/images/
    ROOT/labels.json        the labels with their attributes, for the constructor's "Raw" form of a new task

One picture, with a mask of the label "physics"; "rle" counts pixels row by row within the box, outside ones first.
Prompts that nothing matches are tags, CVAT's labels of whole pictures:

    <image id="0" name="9.jpg" width="640" height="480">
      <mask label="physics" source="auto" occluded="0" rle="3, 2, 12" left="4" top="7" width="8" height="2" z_order="0">
        <attribute name="prompt">what could roll off</attribute>
      </mask>
      <tag label="nothing matches" source="manual"><attribute name="prompt">the zebra</attribute></tag>
    </image>
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from xml.sax.saxutils import escape, quoteattr

import numpy as np

from askmask.conversation import Example, Segment
from askmask.errors import DataError
from askmask.formats.polygons import drawn
from askmask.formats.reading import (
    MAX_JSON_BYTES,
    Frames,
    NoTruth,
    found_in,
    item,
    read_bytes,
    rounds_of,
    size_of,
    text_of,
    upright,
    upright_size,
)
from askmask.formats.writing import by_picture, count_losses, nothing_of, shapes_of, size_of_picture, xml_text
from askmask.imaging.mask import Mask
from askmask.notes import Notes
from askmask.runs.whole_files import write_json, write_text

FILE, LABELS = "annotations.xml", "labels.json"
HOLDS = ("prompt", "nothing", "score", "name", "concept", "source")
NOTHING = "nothing matches"
MOST_LABEL = 64  # characters of a label that CVAT keeps
_ATTRIBUTES = ("prompt", "name", "score")


def read_cvat(
    root: str | Path, *, notes: Notes, pictures: str | None = None, exif: str = "auto"
) -> Iterator[Example]:
    """Yield one Example per picture: a round for each label, or for each prompt that its shapes name.

    `pictures` is the folder where the pictures lie, `exif` as in `read_coco`. Lines, points and other shapes without an
    area make what is asked for by their label unknown: left out and counted. Raises DataError for XML with a
    document type: it may name other files, and grow without end.
    """
    root = Path(root)
    path = root / FILE if root.is_dir() else root
    folder = Path(pictures) if pictures else path.parent
    frames = Frames(exif=exif)
    for number, element in enumerate(_parsed(path).iter("image")):
        where = f"{path}, image {number}"
        with item(where, notes):
            stated = size_of(*(int(text_of(element.get(side), side)) for side in ("height", "width")))
            name = text_of(element.get("name"), "name")
            image = found_in((folder / "images", folder), name)
            turn = frames.orientation(image, stated)
            regions: list[tuple[str, str, Segment | None]] = []
            nothing = []
            for shape in element:
                label = text_of(shape.get("label"), "label")
                said = {one.get("name"): one.text or "" for one in shape.iter("attribute")}
                if shape.tag == "tag":
                    if label == NOTHING:
                        nothing.append(said.get("prompt", ""))
                    continue
                try:
                    mask = upright(_mask_of(shape, stated), turn)
                except NoTruth as error:
                    notes.add(str(error), where)
                    regions.append((label, said.get("prompt", ""), None))
                    continue
                segment = Segment(
                    mask=mask,
                    source="predicted" if shape.get("source") == "auto" else "gold",
                    name=said.get("name") or None,
                    score=_score(said.get("score", "")),
                )
                regions.append((label, said.get("prompt", ""), segment))
            rounds = rounds_of(regions, nothing, notes, where)
            if not rounds:
                notes.add("pictures left out: nothing is said about them", where)
                continue
            yield Example(
                id=f"cvat-{element.get('id', number)}",
                image=str(image),
                size=upright_size(stated, turn),
                independent=True,
                source="cvat",
                rounds=rounds,
            )


def write_cvat(examples: Iterable[Example], folder: Path, *, name: str, notes: Notes) -> int:
    """Write annotations.xml and labels.json; return the number of masks. Pictures are named as within images/."""
    labels: dict[str, bool] = {}
    rows, count = [], 0
    for number, (picture, group) in enumerate(by_picture(examples).items()):
        height, width = size_of_picture(group)
        count_losses(group, HOLDS, notes, "CVAT")
        short = _attr(picture.removeprefix("images/"))
        rows.append(f'  <image id="{number}" name={short} width="{width}" height="{height}">')
        for shape in shapes_of(group):
            box = shape.segment.mask.box
            assert box is not None, "shapes have pixels"
            label = _short(shape.label)
            labels[label] = True
            rle = ", ".join(
                map(str, _encoded(shape.segment.mask.to_array()[box[1] : box[3], box[0] : box[2]]))
            )
            made = "auto" if shape.segment.source == "predicted" else "manual"
            score = shape.segment.score
            said = (shape.words, shape.segment.name or "", "" if score is None else repr(score))
            rows += [
                f'    <mask label={_attr(label)} source="{made}" occluded="0" rle="{rle}" left="{box[0]}" '
                f'top="{box[1]}" width="{box[2] - box[0]}" height="{box[3] - box[1]}" z_order="0">',
                *(
                    f'      <attribute name="{key}">{escape(xml_text(value))}</attribute>'
                    for key, value in zip(_ATTRIBUTES, said, strict=True)
                ),
                "    </mask>",
            ]
            count += 1
        for prompt in nothing_of(group):
            labels[NOTHING] = True
            text = escape(xml_text(prompt))
            rows.append(
                f'    <tag label="{NOTHING}" source="manual"><attribute name="prompt">{text}</attribute></tag>'
            )
        rows.append("  </image>")
    told = "".join(map(_described, labels))
    head = f"  <version>1.1</version>\n  <meta>\n    <task>\n      <name>{escape(xml_text(name))}</name>\n"
    head += f"      <labels>\n{told}      </labels>\n    </task>\n  </meta>"
    lines = ['<?xml version="1.0" encoding="utf-8"?>', "<annotations>", head, *rows, "</annotations>", ""]
    write_text(folder / FILE, "\n".join(lines))
    write_json(folder / LABELS, [{"name": label, "attributes": _attributes_of(label)} for label in labels])
    return count


def _short(label: str) -> str:
    """Return a label of a length that CVAT takes; the whole prompt stands in its attribute."""
    return label if len(label) <= MOST_LABEL else f"{label[: MOST_LABEL - 1]}…"


def _attr(text: str) -> str:
    return quoteattr(xml_text(text))


def _attributes_of(label: str) -> list[dict[str, Any]]:
    names = _ATTRIBUTES[:1] if label == NOTHING else _ATTRIBUTES
    common = {"mutable": True, "input_type": "text", "default_value": "", "values": [""]}
    return [{"name": name} | common for name in names]


def _described(label: str) -> str:
    attributes = "".join(
        f"            <attribute><name>{one['name']}</name><mutable>True</mutable><input_type>text</input_type>"
        "<default_value></default_value><values></values></attribute>\n"
        for one in _attributes_of(label)
    )
    return (
        f"        <label>\n          <name>{escape(xml_text(label))}</name>\n          <attributes>\n{attributes}"
        "          </attributes>\n        </label>\n"
    )


def _encoded(array: np.ndarray) -> list[int]:
    """Return the lengths of runs of bool [H, W], row by row, False first."""
    flat = np.concatenate(([False], array.ravel()))
    changes = np.flatnonzero(flat[1:] != flat[:-1])
    return np.diff(np.concatenate(([0], changes, [array.size]))).tolist()


def _parsed(path: Path) -> ElementTree.Element:
    try:
        text = read_bytes(path, MAX_JSON_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not text in UTF-8", got=error) from error
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise DataError(f"{path}: XML with a document type is not read", do="Export it again from CVAT.")
    try:
        return ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: not XML", got=error) from error


def _score(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 <= value <= 1 else None


def _mask_of(shape: ElementTree.Element, size: tuple[int, int]) -> Mask:
    """Return the mask of a shape; raises NoTruth for one without an area."""

    def numbers(*names: str) -> list[float]:
        return [float(text_of(shape.get(name), name)) for name in names]

    if shape.tag == "mask":
        return drawn(_decoded(shape, size))
    if shape.tag == "polygon":
        text = text_of(shape.get("points"), "points")
        return drawn(Mask.from_polygons([[float(v) for v in text.replace(";", ",").split(",")]], size))
    if float(shape.get("rotation") or 0):
        raise NoTruth("shapes left out: a turned box or ellipse")
    if shape.tag == "box":
        x0, y0, x1, y1 = numbers("xtl", "ytl", "xbr", "ybr")
        return drawn(Mask.from_polygons([[x0, y0, x1, y0, x1, y1, x0, y1]], size))
    if shape.tag == "ellipse":
        cx, cy, rx, ry = numbers("cx", "cy", "rx", "ry")
        y, x = np.mgrid[: size[0], : size[1]] + 0.5
        with np.errstate(divide="ignore", invalid="ignore"):
            return drawn(Mask.from_array(((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 <= 1))
    raise NoTruth(f"shapes left out: {shape.tag[:40]} is no area")


def _decoded(shape: ElementTree.Element, size: tuple[int, int]) -> Mask:
    left, top, width, height = (int(text_of(shape.get(k), k)) for k in ("left", "top", "width", "height"))
    runs = np.array([int(run) for run in text_of(shape.get("rle"), "rle").split(",")], np.int64)
    if not (0 <= left < left + width <= size[1] and 0 <= top < top + height <= size[0]):
        raise DataError("a mask lies partly outside the picture", got=f"{width} x {height} at {left}, {top}")
    if (runs < 0).any() or (runs > width * height).any() or int(runs.sum()) != width * height:
        raise DataError(f"a mask's runs must cover its {width} x {height} pixels", got=f"{int(runs.sum())}")
    pixels = np.zeros(size, bool)
    values = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    pixels[top : top + height, left : left + width] = values.reshape(height, width)
    return Mask.from_array(pixels)
