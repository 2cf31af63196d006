"""Settings that decide what a run produces; stored with the run, so that `resume` cannot mix two ways of working.

Numbers marked (paper) follow the ConverSeg paper, section 5.1, given there for COCO-sized pictures; areas scale
with the picture.
"""

from __future__ import annotations

from pydantic import Field, field_validator

from askmask.conversation import CONCEPTS
from askmask.engine.values import Concept, Value

COCO_AREA_PX = 640 * 480


class Settings(Value):
    """One way of working. Equal settings and equal replies give equal results."""

    concepts: tuple[Concept, ...] = CONCEPTS
    sent_px: int = Field(default=768, ge=64, le=4096)  # longer side of what models see (paper)
    most_regions: int = Field(default=8, ge=2, le=12)  # 5 to 7 are asked for; some models give more
    verify_masks: bool = True  # stage 3, consistency
    refine: bool = True  # stage 3, pool and choice
    verify_pairs: bool = True  # stage 5
    votes: int = Field(default=1, ge=1, le=9)
    vote_temperature: float = Field(default=0.7, ge=0, le=2)  # of the second vote and on; the first is at 0
    writer_temperature: float = Field(default=0.7, ge=0, le=2)
    duplicate_iou: float = 0.85  # two regions of one picture that are the same
    smallest_px: float = 576  # 24 x 24 at COCO's size: smaller regions are dropped (paper)
    pool_smallest_px: float = 1000  # (paper)
    pool_iou: float = 0.5  # (paper)
    max_words: int = 10  # (paper)

    @field_validator("concepts")
    @classmethod
    def _known_order(cls, concepts: tuple[str, ...]) -> tuple[str, ...]:
        if not concepts:
            raise ValueError("at least one concept is needed")
        return tuple(concept for concept in CONCEPTS if concept in concepts)

    def area_px(self, at_coco_size: float, size: tuple[int, int]) -> float:
        """Scale an area given for 640 x 480 to a picture of `size`."""
        return at_coco_size * size[0] * size[1] / COCO_AREA_PX
