"""LabelMe's files, read and written; shapes painted by the rule of the sets that use them (ReasonSeg, PRIST, MRSeg).

https://labelme.io

    ROOT/**/9.json          pictures: beside their file, or where "imagePath" says

One file; what askmask adds ("score", "name", "askmask") LabelMe keeps as it is:

    {"version": "5.5.0", "flags": {}, "imagePath": "9.jpg", "imageData": null, "imageHeight": 480, "imageWidth": 640,
     "shapes": [...], "askmask": {"nothing": ["the zebra"]}}

One shape of an annotation's "shapes"; without "shape_type" it is a polygon:

    {"label": "the red label", "shape_type": "polygon", "points": [[10.5, 3.2], [14, 3], [14, 9.8]],
     "description": "what was asked", "group_id": null, "flags": {}}
    {"label": "...", "shape_type": "rectangle", "points": [[x0, y0], [x1, y1]]}        two corners
    {"label": "...", "shape_type": "circle", "points": [[x, y], [x, y]]}               centre, a point of its edge
    {"label": "...", "shape_type": "mask", "points": [[x0, y0], [x1, y1]], "mask": PNG in base 64}    x1, y1 inclusive
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from askmask.conversation import Example, Segment
from askmask.errors import DataError
from askmask.formats.polygons import corners_of, paint_polygon
from askmask.formats.reading import (
    NO_PIXEL,
    Frames,
    files_below,
    found_in,
    item,
    read_json,
    rounds_of,
    score_of,
    size_of,
    text_of,
    upright,
    upright_size,
)
from askmask.formats.writing import Shape, by_picture, count_losses, nothing_of, shapes_of, size_of_picture
from askmask.imaging.mask import Mask
from askmask.notes import Notes
from askmask.runs.whole_files import write_json

IGNORED = 255
HOLDS = ("prompt", "nothing", "score", "name", "concept")
_NO_AREAS = ("point", "points", "line", "linestrip")
_CORNERS = {"rectangle": 2, "circle": 2, "mask": 2}


def label_of(shape: Mapping[str, Any]) -> str:
    """Return a shape's label."""
    return text_of(shape["label"], "label")


def paint_shape(canvas: np.ndarray, shape: Mapping[str, Any], value: int = 1) -> None:
    """Set the pixels of one shape in `canvas` uint8 [H, W] to `value`.

    Raises DataError for a shape that is no area (a point, a line) and for one that is not as LabelMe writes it.
    """
    kind = shape.get("shape_type") or "polygon"
    if kind == "polygon":
        paint_polygon(canvas, shape["points"], value)
        return
    if not isinstance(kind, str) or kind not in _CORNERS:
        raise DataError(f"a shape must be an area: polygon, {', '.join(_CORNERS)}", got=repr(kind)[:40])
    points = corners_of(shape["points"])
    if len(points) != _CORNERS[kind]:
        raise DataError(f"a {kind} has {_CORNERS[kind]} points", got=len(points))
    (x0, y0), (x1, y1) = points
    if kind == "rectangle":
        paint_polygon(canvas, [(x0, y0), (x1, y0), (x1, y1), (x0, y1)], value)
    elif kind == "circle":
        y, x = np.ogrid[: canvas.shape[0], : canvas.shape[1]]
        canvas[(x - x0) ** 2 + (y - y0) ** 2 <= (x1 - x0) ** 2 + (y1 - y0) ** 2] = value
    else:
        pixels = _embedded(shape.get("mask"))
        left, top = int(min(x0, x1)), int(min(y0, y1))
        y, x = np.nonzero(pixels)
        y, x = y + top, x + left
        if len(x) and (min(x.min(), y.min()) < 0 or x.max() >= canvas.shape[1] or y.max() >= canvas.shape[0]):
            raise DataError("a mask lies partly outside the picture", got=f"at {left}, {top}")
        canvas[y, x] = value


def union_of_shapes(shapes: Iterable[Mapping[str, Any]], size: tuple[int, int]) -> Mask:
    """Return the union of shapes."""
    canvas = np.zeros(size, np.uint8)
    for shape in shapes:
        paint_shape(canvas, shape)
    return Mask.from_array(canvas)


def paint_shapes(shapes: Iterable[Mapping[str, Any]], size: tuple[int, int]) -> tuple[Mask, Mask | None]:
    """Paint shapes, largest first so that small ones lie on top; return target and ignored region.

    Shapes labelled "flag" are no regions; a label containing "ignore" marks pixels that are not scored.
    """
    painted = []
    for shape in shapes:
        if label_of(shape).lower() != "flag":
            painted.append((union_of_shapes([shape], size), "ignore" in label_of(shape).lower()))
    painted.sort(key=lambda pair: -pair[0].area)
    canvas = np.zeros(size, np.uint8)
    for mask, ignored in painted:
        canvas[mask.to_array()] = IGNORED if ignored else 1
    ignore = canvas == IGNORED
    return Mask.from_array(canvas == 1), Mask.from_array(ignore) if ignore.any() else None


def _embedded(data: Any) -> np.ndarray:
    try:
        png = base64.b64decode(text_of(data, "mask"), validate=True)
    except (binascii.Error, ValueError) as error:
        raise DataError('"mask" must be a PNG in base 64', got=repr(data)[:60]) from error
    return Mask.from_png(png).to_array()


def read_labelme(
    root: str | Path, *, notes: Notes, pictures: str | None = None, exif: str = "auto"
) -> Iterator[Example]:
    """Yield one Example per file that holds shapes: a round for each label, or for each description of a label.

    Shapes of one label and group are one mask. `pictures` is the folder where the pictures lie, `exif` as in
    `read_coco`. Points and lines are no areas: what is asked for by their label is left out and counted.
    """
    root = Path(root)
    files = files_below(root, "*.json") if root.is_dir() else [root]
    frames, found = Frames(exif=exif), False
    for path in (path for path in files if not path.name.startswith(".")):
        where = str(path)
        with item(where, notes):
            data = read_json(path)
            if not isinstance(data.get("shapes"), list):
                continue
            found = True
            image = found_in([path.parent, *([Path(pictures)] if pictures else [])], data["imagePath"])
            stated = size_of(data["imageHeight"], data["imageWidth"])
            turn = frames.orientation(image, stated)
            segments: dict[tuple[Any, ...], tuple[str, str, Segment]] = {}
            unknown: list[tuple[str, str, None]] = []
            for number, shape in enumerate(data["shapes"]):
                label, said = label_of(shape), text_of(shape.get("description") or "", "description")
                if shape.get("shape_type") in _NO_AREAS:
                    notes.add(f"shapes left out: a {shape['shape_type']} is no area", where)
                    unknown.append((label, said, None))
                    continue
                mask = upright(union_of_shapes([shape], stated), turn)
                if not mask:
                    notes.add(NO_PIXEL, where)
                    unknown.append((label, said, None))
                    continue
                group = shape.get("group_id")
                key = (label, said, number if group is None else f"group {group}")
                if key in segments:
                    mask = mask | segments[key][2].mask
                name = text_of(shape.get("name") or "", "name") or None
                segments[key] = label, said, Segment(mask=mask, score=score_of(shape.get("score")), name=name)
            ours = data.get("askmask")
            nothing = ours.get("nothing", ()) if isinstance(ours, Mapping) else ()
            nothing = [text_of(text, "nothing") for text in nothing]
            rounds = rounds_of([*segments.values(), *unknown], nothing, notes, where)
            if not rounds:
                notes.add("files left out: nothing is said about their pictures", where)
                continue
            yield Example(
                id="labelme-"
                + (path.relative_to(root).with_suffix("").as_posix() if path != root else path.stem),
                image=str(image),
                size=upright_size(stated, turn),
                independent=True,
                source="labelme",
                rounds=rounds,
            )
    if not found and not notes.counts:
        raise DataError("no LabelMe file", got=root, do="Give the folder that holds its JSON files.")


def write_labelme(examples: Iterable[Example], folder: Path, *, name: str, notes: Notes) -> int:
    """Write one file beside each picture; return the number of masks."""
    count = 0
    for picture, group in by_picture(examples).items():
        height, width = size_of_picture(group)
        count_losses(group, HOLDS, notes, "LabelMe")
        shapes = [_shape_of(shape) for shape in shapes_of(group)]
        count += len(shapes)
        path = folder / picture
        write_json(
            path.with_suffix(".json"),
            {
                "version": "5.5.0",  # the first whose masks are as they are now
                "flags": {},
                "shapes": shapes,
                "imagePath": path.name,
                "imageData": None,
                "imageHeight": height,
                "imageWidth": width,
            }
            | ({"askmask": {"nothing": nothing}} if (nothing := nothing_of(group)) else {}),
        )
    return count


def _shape_of(shape: Shape) -> dict[str, Any]:
    box = shape.segment.mask.box
    assert box is not None, "shapes have pixels"
    x0, y0, x1, y1 = box
    png = Mask.from_array(shape.segment.mask.to_array()[y0:y1, x0:x1]).to_png()
    ours = {"score": shape.segment.score, "name": shape.segment.name}
    return {
        "label": shape.label,
        "description": shape.words,
        "shape_type": "mask",
        "points": [[x0, y0], [x1 - 1, y1 - 1]],
        "mask": base64.b64encode(png).decode("ascii"),
        "group_id": None,
        "flags": {},
    } | {key: value for key, value in ours.items() if value is not None}
