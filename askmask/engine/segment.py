"""Stage 2: descriptions -> boxes -> masks; what is not found, too small or a duplicate is dropped by rule."""

from __future__ import annotations

from askmask.engine.pictures import Picture
from askmask.engine.tools import Tools, run_units
from askmask.engine.values import Box, Described, Description, Dropped, Failure, Region, Segmented
from askmask.imaging.mask import Mask
from askmask.vlm.errors import UnitFailed


async def segment(
    picture: Picture, described: Described, tools: Tools
) -> tuple[Segmented | None, list[Failure]]:
    """Detect and segment all descriptions of a picture; one unit."""
    results, failures = await run_units({"": _segment(picture, described, tools)})
    return results.get(""), failures


async def _segment(picture: Picture, described: Described, tools: Tools) -> Segmented:
    phrases = {description.id: description.text for description in described.regions}
    found = await tools.detector.find(picture.rgb, phrases, tools.locator)
    dropped: list[Dropped] = []
    jobs: list[tuple[Description, Box]] = []
    for description in described.regions:
        clipped = (clip(box, picture.size) for box in found.get(description.id, ()))
        inside = [box for box in clipped if box is not None]
        if not inside:
            dropped.append(Dropped(what=description.text, rule="not_found"))
        jobs += [(description, box) for box in inside]
    try:
        masks = await tools.segmentation.boxes(picture.rgb, [box for _, box in jobs])
    except Exception as error:
        raise UnitFailed("segmenter", f"{type(error).__name__}: {error}") from error
    parts: dict[int, list[tuple[Description, Box, Mask, float]]] = {}
    for (description, box), (mask, score) in zip(jobs, masks, strict=True):
        parts.setdefault(description.id, []).append((description, box, mask, score))
    regions: list[Region] = []
    smallest = tools.settings.area_px(tools.settings.smallest_px, picture.size)
    for pieces in parts.values():
        description = pieces[0][0]
        mask = pieces[0][2].union(*(piece[2] for piece in pieces[1:]))
        if mask.area < smallest:
            rule = "too_small" if mask else "empty_mask"
            dropped.append(Dropped(what=description.text, rule=rule, detail=f"{mask.area} px"))
            continue
        boxes = [piece[1] for piece in pieces]
        regions.append(
            Region(
                id=description.id,
                text=description.text,
                kind=description.kind,
                box=_around(boxes),
                mask=mask,
                score=round(min(piece[3] for piece in pieces), 4),
            )
        )
    kept, merged = merge_duplicates(regions, tools.settings.duplicate_iou)
    return Segmented(regions=tuple(kept), dropped=(*dropped, *merged))


def merge_duplicates(regions: list[Region], iou: float) -> tuple[list[Region], list[Dropped]]:
    """Keep one of regions whose masks agree: the better score, at a tie the earlier."""
    kept: list[Region] = []
    dropped: list[Dropped] = []
    for region in sorted(regions, key=lambda r: (-r.score, r.id)):
        same = next((other for other in kept if other.mask.iou(region.mask) >= iou), None)
        if same is None:
            kept.append(region)
        else:
            dropped.append(Dropped(what=region.text, rule="duplicate", detail=f"of region {same.id}"))
    return sorted(kept, key=lambda r: r.id), dropped


def clip(box: Box, size: tuple[int, int]) -> Box | None:
    """Order a box's corners and cut it to the picture; None if nothing of it is left."""
    height, width = size
    x0, x1 = sorted((box[0], box[2]))
    y0, y1 = sorted((box[1], box[3]))
    x0, x1 = max(0.0, x0), min(float(width), x1)
    y0, y1 = max(0.0, y0), min(float(height), y1)
    return (x0, y0, x1, y1) if x1 - x0 >= 1 and y1 - y0 >= 1 else None


def _around(boxes: list[Box]) -> Box:
    x0, y0, x1, y1 = zip(*boxes, strict=True)
    return round(min(x0), 2), round(min(y0), 2), round(max(x1), 2), round(max(y1), 2)
