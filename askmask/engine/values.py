"""What the five stages pass on: descriptions, regions, verdicts, prompts, pairs. Pure values, stored as JSON.

A region's `id` is its number in the picture from 1, kept through all stages; a rejected region keeps its number.
Boxes are (x0, y0, x1, y1) in pixels of the upright picture, x1 and y1 one past the last.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, PlainSerializer, PlainValidator

from askmask.conversation import CONCEPTS
from askmask.imaging.mask import Mask

Box = tuple[float, float, float, float]
Kind = Literal["thing", "part", "stuff", "group"]
Concept = Literal["entities", "spatial", "relations", "affordances", "physics"]
STAGES = ("describe", "segment", "verify", "write", "align")
assert Concept.__args__ == CONCEPTS  # type: ignore[attr-defined]

MaskField = Annotated[
    Mask,
    PlainValidator(lambda value: value if isinstance(value, Mask) else Mask.from_dict(value)),
    PlainSerializer(lambda mask: mask.to_dict()),
]


class Value(BaseModel):
    """Frozen, equal by content, no field but the declared ones."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    def to_dict(self) -> dict[str, Any]:
        """Return a form ready for JSON."""
        return self.model_dump(mode="json")


class Description(Value):
    """One region in words, before anyone knows its pixels."""

    id: int
    text: str
    kind: Kind
    parent: int | None = None


class Dropped(Value):
    """Something a stage let go by a rule, with the rule's name; no verdict of a model."""

    what: str
    rule: str
    detail: str = ""


class Failure(Value):
    """A unit of a stage that could not be decided; `keys` are the replies to forget before a retry."""

    unit: str
    error_class: str
    reason: str
    keys: tuple[str, ...] = ()


class Verdict(Value):
    """A verifier's answer, with every vote."""

    accept: bool
    reason: str
    votes: tuple[bool, ...] = ()
    calls: tuple[str, ...] = ()

    @property
    def agreement(self) -> float:
        """Share of votes that agree with the outcome, in [0, 1]."""
        return sum(vote == self.accept for vote in self.votes) / len(self.votes) if self.votes else 1.0


class Region(Value):
    """A description with its mask and what the verifier said of it."""

    id: int
    text: str
    kind: Kind
    box: Box
    mask: MaskField
    score: float = 0.0  # of the segmenter
    origin: Literal["initial", "refined"] = "initial"
    verdict: Verdict | None = None
    seen_as: str | None = None  # the verifier's own description, given without the first one


class WrittenPrompt(Value):
    """A prompt and the regions it should pick; for a hard negative, none."""

    id: str
    concept: Concept
    family: str
    text: str
    candidates: tuple[int, ...]
    satisfying: tuple[int, ...]
    negative: Literal["absent", "false_attribute", "none_satisfies"] | None = None
    reason: str = ""
    call: str = ""


class Pair(Value):
    """A prompt with the union of its regions' masks (empty for a negative) and the last verdict."""

    prompt: WrittenPrompt
    mask: MaskField
    verdict: Verdict | None


class Described(Value):
    """Stage 1."""

    scene: str
    regions: tuple[Description, ...]
    call: str
    dropped: tuple[Dropped, ...] = ()


class Segmented(Value):
    """Stage 2."""

    regions: tuple[Region, ...]
    dropped: tuple[Dropped, ...] = ()
    call: str = ""


class Verified(Value):
    """Stage 3."""

    accepted: tuple[Region, ...]
    rejected: tuple[Region, ...] = ()


class Written(Value):
    """Stage 4."""

    prompts: tuple[WrittenPrompt, ...]
    dropped: tuple[Dropped, ...] = ()


class Aligned(Value):
    """Stage 5."""

    pairs: tuple[Pair, ...]


RESULT_OF: dict[str, type[Value]] = dict(
    zip(STAGES, (Described, Segmented, Verified, Written, Aligned), strict=True)
)
