"""Masks on the wire: COCO's run-length code, PNG, or polygons with holes; and read from the same."""

from __future__ import annotations

import base64
import binascii
from typing import Any, Literal

from askmask.errors import MaskError
from askmask.imaging.mask import Mask

Form = Literal["rle", "png", "polygons", "none"]


def mask_to_wire(mask: Mask, form: Form) -> dict[str, Any]:
    """Return a mask as {"rle": {"size", "counts"}}, {"png": base64} or {"polygons": [[outer, hole, ...], ...]}."""
    if form == "none":
        return {}
    if form == "png":
        return {"png": base64.b64encode(mask.to_png()).decode("ascii")}
    if form == "polygons":
        return {"polygons": mask.parts()}
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
        parts = data["polygons"]
        if not isinstance(parts, list) or not all(isinstance(rings, list) for rings in parts):
            raise MaskError("polygons are lists of rings", got=repr(parts)[:80])
        mask = Mask.empty(size)
        for rings in parts:
            if rings:
                part = Mask.from_polygons(rings[:1], size)
                holes = Mask.from_polygons(rings[1:], size)
                mask = mask | (part - holes)
    else:
        raise MaskError('a mask needs "rle", "png" or "polygons"', got=", ".join(map(repr, data))[:80])
    if mask.size != size:
        raise MaskError("a mask must have the picture's size", got=f"{mask.size}, not {size}")
    return mask
