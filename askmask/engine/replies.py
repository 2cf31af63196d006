"""What a model must answer at each stage, as pydantic schemas; sent as the structured-output schema.

Fields have no defaults and no extra keys, which is what strict structured output asks for. `reason` comes first
so that a model without hidden thinking reasons before it decides. Numbers of regions start at 1.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, create_model

from askmask.engine.templates import FAMILIES

MAX_TEXT = 400
Strategy: Any = Literal["absent", "false_attribute"]


class ReplySchema(BaseModel):
    """Base of all replies: unknown keys are an error."""

    model_config = ConfigDict(extra="forbid")


class RegionReply(ReplySchema):
    """One region of the picture in words."""

    description: str = Field(min_length=2, max_length=MAX_TEXT)
    kind: Literal["thing", "part", "stuff", "group"]
    parent: int | None = Field(description="for a part: the number of the region it belongs to, else null")


class RegionsReply(ReplySchema):
    """Stage 1."""

    scene: str = Field(max_length=2000)
    regions: list[RegionReply] = Field(min_length=1, max_length=12)


class MaskReply(ReplySchema):
    """Stage 3, consistency of one mask with one description."""

    seen: str = Field(max_length=MAX_TEXT, description="what the marked region shows, from the picture alone")
    reason: str = Field(max_length=2000)
    matches: bool


class ChoiceReply(ReplySchema):
    """Stage 3, which of two masks is better."""

    reason: str = Field(max_length=2000)
    choice: Literal["first", "second", "neither"]


class AlignmentReply(ReplySchema):
    """Stage 5, prompt against mask."""

    reason: str = Field(max_length=2000)
    accept: bool


@cache
def prompts_reply(concept: str) -> type[ReplySchema]:
    """Stage 4, for one concept: the schema names that concept's sub-families and no other."""
    family: Any = Literal[tuple(FAMILIES[concept])]  # type: ignore[valid-type]
    positive = create_model(
        "PositiveReply",
        __base__=ReplySchema,
        prompt=(str, Field(max_length=MAX_TEXT)),
        family=(family, ...),
        candidates=(list[int], ...),
        satisfying=(list[int], ...),
        unmarked_rivals=(list[str], Field(description="unmarked things that would satisfy it as well")),
        reason=(str, Field(max_length=2000)),
    )
    negative = create_model(
        "NegativeReply",
        __base__=ReplySchema,
        prompt=(str, Field(max_length=MAX_TEXT)),
        family=(family, ...),
        strategy=(Strategy, ...),
        reason=(str, Field(max_length=2000)),
    )
    return create_model(
        "PromptsReply",
        __base__=ReplySchema,
        prompts=(list[positive], Field(max_length=6)),  # type: ignore[valid-type]
        negatives=(list[negative], Field(max_length=6)),  # type: ignore[valid-type]
    )
