"""What a model must answer at each step of the builder, as pydantic schemas."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from askmask.engine.replies import MAX_TEXT, ReplySchema


class ElementReply(ReplySchema):
    """One thing that can be seen."""

    name: str = Field(min_length=2, max_length=120)
    seen: str = Field(max_length=MAX_TEXT)


class ElementsReply(ReplySchema):
    """Stage 1."""

    scene: str = Field(max_length=2000)
    elements: list[ElementReply] = Field(min_length=3, max_length=16)


class QuestionReply(ReplySchema):
    """A reasoning question and its grade."""

    question: str = Field(min_length=3, max_length=MAX_TEXT)
    why: str = Field(max_length=MAX_TEXT)
    grade: Literal[1, 2, 3]


class PathReply(ReplySchema):
    """A way through the tree; `question` and `nodes` are numbers from 1."""

    question: int
    nodes: list[int] = Field(min_length=1, max_length=6)
    focus: int


class TreeReply(ReplySchema):
    """Stage 2."""

    questions: list[QuestionReply] = Field(min_length=1, max_length=8)
    nodes: list[str] = Field(min_length=1, max_length=24)
    paths: list[PathReply] = Field(max_length=8)


class TurnReply(ReplySchema):
    """One turn before the last."""

    person: str = Field(min_length=2, max_length=MAX_TEXT)
    assistant: str = Field(min_length=1, max_length=MAX_TEXT)
    kind: Literal["words", "point", "correct", "nothing"]
    points_at: list[int] = Field(max_length=12)


class DialogueReply(ReplySchema):
    """Stage 3, one path."""

    turns: list[TurnReply] = Field(min_length=1, max_length=8)
    request: str = Field(min_length=3, max_length=MAX_TEXT)
    focus: int


class UniqueReply(ReplySchema):
    """Stage 6: is there exactly one?"""

    reason: str = Field(max_length=2000)
    visible: bool
    unique: bool


class FitsReply(ReplySchema):
    """Stage 6: does the conversation lead to what is marked?"""

    reason: str = Field(max_length=2000)
    accept: bool
