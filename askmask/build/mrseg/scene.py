"""What is known of one picture, whatever set it comes from: its regions, what they are called, how they hang together.

Pure values; where they come from is told in sources/, what is asked about them in rules.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from askmask.imaging.mask import Mask

BoxXyxy = tuple[int, int, int, int]  # pixels of the upright picture, the last two exclusive


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """One annotated region. `id` is its mask's in the set, as a marker writes it."""

    id: str
    noun: str  # what it is, of a part: what the part is
    mask: Mask
    captions: tuple[str, ...] = ()  # words that fit it and nothing else of the picture
    parent: str = ""  # the whole that it is a part of
    category: int = 0  # its number in the set's list of categories
    box: BoxXyxy = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "box", self.mask.box or (0, 0, 0, 0))


@dataclass(frozen=True, slots=True)
class Link:
    """One relationship: "SUBJECT PREDICATE OBJECT", by the ids of regions."""

    subject: str
    predicate: str
    object: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """One picture of a set. Regions are in the order of their ids, so that equal files give equal conversations."""

    id: str
    image: str  # as markers name it
    path: Path
    size: tuple[int, int]  # (height, width) of the upright picture
    regions: tuple[Region, ...]
    uncounted: frozenset[str] = frozenset()  # nouns of which there may be more than `regions` shows
    links: tuple[Link, ...] = ()
    asked: tuple[str, ...] = ()  # the set's own prompts, each about the first region
    ignore: Mask | None = None

    def of(self, noun: str) -> list[Region]:
        """Return the wholes of a noun."""
        return [region for region in self.regions if region.noun == noun and not region.parent]

    def counted(self, noun: str) -> int:
        """Return how many wholes of a noun there are; 0 where that is not known."""
        return 0 if noun in self.uncounted else len(self.of(noun))


def by_id(regions: Sequence[Region]) -> dict[str, Region]:
    """Return regions by their ids."""
    return {region.id: region for region in regions}
