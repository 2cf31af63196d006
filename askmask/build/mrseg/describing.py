"""COCO's instances described by a model, where no file of descriptions is given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

import numpy as np

from askmask.build.mrseg.scene import Region
from askmask.build.mrseg.sources.instances import Attributes
from askmask.build.mrseg.words import plain_caption
from askmask.formats.reading import item
from askmask.imaging.files import read_picture
from askmask.notes import Notes

MOST_DESCRIBED = 2  # instances of one picture; the paper's counts come to 1.3
LEAST_AREA = 32 * 32  # pixels: of smaller ones a crop shows nothing
TOGETHER = 64  # pictures that are asked about together
FAILED = "instances not described: the model gave no usable reply"

Describe = Callable[[Sequence[tuple[np.ndarray, str]]], list[tuple[str, str] | None]]


def describe_all(
    source: Attributes,
    pictures: Sequence[str],
    describe: Describe,
    seed: int,
    notes: Notes,
    on_progress: Callable[[str, int, int], None],
) -> None:
    """Give a source descriptions of up to two instances of each picture, cut out of it."""
    for start in range(0, len(pictures), TOGETHER):
        on_progress("descriptions", start, len(pictures))
        chosen: list[tuple[str, tuple[np.ndarray, str]]] = []
        for picture in pictures[start : start + TOGETHER]:
            with item(f"{source.name}, picture {picture}", Notes()):  # building says what is wrong with it
                regions, _ = source.instances.regions(picture, Notes())
                rgb = read_picture(source.instances.picture(picture)).rgb
                for region in _chosen(regions, Random(f"{seed}/describe/{source.split}/{picture}")):
                    x0, y0, x1, y1 = region.box
                    chosen.append((region.id, (rgb[y0:y1, x0:x1], region.noun)))
        replies = describe([thing for _, thing in chosen])
        for (name, _), reply in zip(chosen, replies, strict=True):
            if reply is None:
                notes.add(FAILED, f"annotation {name}")
            else:
                source.said[name] = plain_caption(reply[0]), plain_caption(reply[1])
    on_progress("descriptions", len(pictures), len(pictures))


def _chosen(regions: Sequence[Region], draw: Random) -> list[Region]:
    left = [region for region in regions if region.mask.area >= LEAST_AREA]
    return [left.pop(draw.randrange(len(left))) for _ in range(min(MOST_DESCRIBED, len(left)))]
