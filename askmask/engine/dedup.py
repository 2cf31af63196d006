"""Duplicates at three grains: pictures that look the same, masks that agree, prompts that ask the same."""

from __future__ import annotations

from askmask.engine.store import PictureRow
from askmask.engine.values import Pair
from askmask.engine.words import same_request

PICTURE_BITS = 4  # of 64: what resizing and re-encoding change; a crop or another shot changes more
MASK_IOU = 0.9
PROMPTS_PER_MASK = 3


def picture_groups(rows: list[PictureRow]) -> dict[str, str]:
    """Map each picture to the first one (in order) that looks the same; a picture on its own maps to itself."""
    first: dict[str, str] = {}
    heads: list[PictureRow] = []
    for row in rows:
        near = next((h for h in heads if (h.dhash ^ row.dhash).bit_count() <= PICTURE_BITS), None)
        if near is None:
            heads.append(row)
        first[row.sha256] = (near or row).sha256
    return first


def distinct_pairs(pairs: list[Pair]) -> tuple[list[Pair], list[tuple[Pair, str]]]:
    """Keep pairs of one picture that differ in prompt or mask; return them and (pair, reason) for the rest.

    A mask may be asked for in few ways only, so that one object does not fill the set.
    """
    kept: list[Pair] = []
    dropped: list[tuple[Pair, str]] = []
    for pair in pairs:
        if any(same_request(pair.prompt.text, other.prompt.text) for other in kept):
            dropped.append((pair, "duplicate prompt"))
        elif (
            pair.mask
            and sum(1 for other in kept if other.mask and other.mask.iou(pair.mask) >= MASK_IOU)
            >= PROMPTS_PER_MASK
        ):
            dropped.append((pair, "duplicate mask"))
        else:
            kept.append(pair)
    return kept, dropped
