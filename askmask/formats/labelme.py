"""LabelMe's shapes, painted by the rule of the sets that use them (ReasonSeg, PRIST, MRSeg).

One shape of an annotation's "shapes"; without "shape_type" it is a polygon:

    {"label": "the red label", "shape_type": "polygon", "points": [[10.5, 3.2], [14, 3], [14, 9.8]]}
    {"label": "...", "shape_type": "rectangle", "points": [[x0, y0], [x1, y1]]}        two corners
    {"label": "...", "shape_type": "circle", "points": [[x, y], [x, y]]}               centre, a point of its edge
    {"label": "...", "shape_type": "mask", "points": [[x0, y0], [x1, y1]], "mask": PNG in base 64}
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from askmask.errors import DataError
from askmask.formats.polygons import corners_of, paint_polygon
from askmask.formats.reading import text_of
from askmask.imaging.mask import Mask

IGNORED = 255
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
