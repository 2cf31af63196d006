"""What comes of asking where something is: places, nothing with a reason, or a reply that cannot be read."""

from __future__ import annotations

from dataclasses import dataclass

from askmask.conversation import Box
from askmask.imaging.mask import Mask


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """One thing pointed at, in pixels of the upright picture: a box, points inside it, or both; or a known region."""

    box: Box | None = None
    points: tuple[tuple[float, float], ...] = ()
    label: str = ""
    sure: float | None = None  # in [0, 1], where the model says so
    earlier: str = ""  # id of the segment of an earlier round that it is, as it is
    mask: Mask | None = None  # where it needs no drawing


@dataclass(frozen=True, slots=True)
class Pointed:
    """Instances; none of them, but text: an answer in words alone. `outside`: places clipped to the picture."""

    instances: tuple[Instance, ...]
    text: str = ""
    outside: int = 0


@dataclass(frozen=True, slots=True)
class NothingHere:
    """The model says that nothing in the picture matches, and why."""

    reason: str


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A reply that is neither; `raw` is all of it, `why` fit to show to the model."""

    raw: str
    why: str


Outcome = Pointed | NothingHere | Unreadable
