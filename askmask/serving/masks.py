"""Masks on the wire: COCO's run-length code, PNG, or polygons with holes; and read from the same."""

from __future__ import annotations

import base64
import binascii
from typing import Any, Literal

import numpy as np

from askmask.errors import MaskError
from askmask.imaging.mask import Mask

Form = Literal["rle", "png", "polygons", "none"]
Ring = list[list[float]]


def mask_to_wire(mask: Mask, form: Form) -> dict[str, Any]:
    """Return a mask as {"rle": {"size", "counts"}}, {"png": base64} or {"polygons": [[outer, hole, ...], ...]}."""
    if form == "none":
        return {}
    if form == "png":
        return {"png": base64.b64encode(mask.to_png()).decode("ascii")}
    if form == "polygons":
        return {"polygons": polygons_with_holes(mask)}
    return {"rle": mask.to_dict()}


def mask_from_wire(data: dict[str, Any], size: tuple[int, int]) -> Mask:
    """Read what `mask_to_wire` wrote, for a picture of `size`. Raises MaskError."""
    if "rle" in data:
        mask = Mask.from_dict(data["rle"])
    elif "png" in data:
        try:
            raw = base64.b64decode(data["png"], validate=True)
        except (binascii.Error, ValueError, TypeError) as error:
            raise MaskError("a mask's PNG must be base64", got=repr(data["png"])[:40]) from error
        mask = Mask.from_png(raw, doubt=lambda text: None)
    elif "polygons" in data:
        mask = Mask.empty(size)
        for rings in data["polygons"]:
            if rings:
                part = Mask.from_polygons(rings[:1], size)
                holes = Mask.from_polygons(rings[1:], size)
                mask = mask | (part - holes)
    else:
        raise MaskError('a mask needs "rle", "png" or "polygons"', got=", ".join(map(repr, data))[:80])
    if mask.size != size:
        raise MaskError("a mask must have the picture's size", got=f"{mask.size}, not {size}")
    return mask


def polygons_with_holes(mask: Mask) -> list[list[Ring]]:
    """Return a mask's parts, each its outline and then its holes, corners (x, y) along pixel edges.

    The even-odd rule over all rings gives exactly this mask back.
    """
    rings = [np.array(loop).reshape(-1, 2) for loop in mask.polygons()]
    areas = [_area(ring) for ring in rings]
    outer = [n for n, area in enumerate(areas) if area > 0]
    parts: dict[int, list[Ring]] = {n: [rings[n].tolist()] for n in outer}
    for number, area in enumerate(areas):
        if area < 0:
            # The middle of the pixel to the left of a hole's first edge lies in the part that it is a hole of.
            point = _beside(rings[number])
            around = [n for n in outer if areas[n] > -area and _inside(point, rings[n])]
            parts[min(around, key=lambda n: areas[n])].append(rings[number].tolist())
    return list(parts.values())


def _area(ring: np.ndarray) -> float:
    """Return the signed area: positive where the mask lies to the right of the way round, as in outlines."""
    following = np.roll(ring, -1, axis=0)
    return float((ring[:, 0] * following[:, 1] - following[:, 0] * ring[:, 1]).sum() / 2)


def _beside(ring: np.ndarray) -> tuple[float, float]:
    """Return a point of the mask half a pixel to the right of the ring's first edge."""
    (x0, y0), (x1, y1) = ring[0], ring[1]
    dx, dy = np.sign(x1 - x0), np.sign(y1 - y0)
    return float(x0 + 0.5 * dx - 0.5 * dy), float(y0 + 0.5 * dy + 0.5 * dx)


def _inside(point: tuple[float, float], ring: np.ndarray) -> bool:
    """Whether a point is inside a ring, by the even-odd rule."""
    x, y = point
    (x0, y0), (x1, y1) = ring.T, np.roll(ring, -1, axis=0).T
    crosses = (y0 > y) != (y1 > y)
    at = x0 + (y - y0) * (x1 - x0) / np.where(y1 == y0, 1, y1 - y0)
    return bool((crosses & (x < at)).sum() % 2)
