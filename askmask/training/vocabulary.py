"""Names the dense heads predict, gathered from dense truth, and each scene's truth as lookup tables by object id."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from askmask.formats.dense import FLOOR, TABLE, TABLE_REST, WALL
from askmask.formats.reading import naming

STUFF = {"wall": WALL, "table": TABLE, "floor": FLOOR}
SAID = ("material", "pose", "place")  # fields of an object that become yes/no attributes, "material=glass"
UNKNOWN = -100  # the index torch's cross-entropy passes over


@dataclass(frozen=True)
class Vocabulary:
    """The order of names is the order of a head's outputs. Categories begin with the stuff."""

    categories: tuple[str, ...]
    colours: tuple[str, ...]
    parts: tuple[str, ...]  # parts[0] = "none"
    attributes: tuple[str, ...]
    kinds: tuple[str, ...] = ()  # of prompts; kinds[0] = "unknown"

    @classmethod
    def of(cls, scenes: Iterable[Mapping[str, Any]]) -> Vocabulary:
        """Gather all names of some scenes."""
        categories: set[str] = set()
        colours: set[str] = set()
        parts: set[str] = set()
        attributes: set[str] = set()
        kinds: set[str] = set()
        for scene in scenes:
            with naming(getattr(scene, "place", "dense truth")):
                kinds.update(p["kind"] for view in scene["views"] for p in view["prompts"] if p.get("kind"))
                for item in scene["objects"]:
                    categories.add(item["category"])
                    colours.add(item["colour"])
                    parts.update(part["name"] for part in item["parts"])
                    attributes.update(item["attributes"])
                    attributes.update(f"{field}={item[field]}" for field in SAID if item.get(field))
        return cls(
            (*STUFF, *sorted(categories - set(STUFF))),
            tuple(sorted(colours)),
            ("none", *sorted(parts)),
            tuple(sorted(attributes)),
            ("unknown", *sorted(kinds)),
        )

    def tables(self, objects: Sequence[Mapping[str, Any]]) -> Tables:
        """Look every object up. Names the vocabulary lacks become UNKNOWN (no loss), never another name."""
        category = np.full(256, UNKNOWN, np.int64)
        colour = np.full(256, UNKNOWN, np.int64)
        part = np.full(256, UNKNOWN, np.int64)
        attributes = np.full((256, len(self.attributes)), -1, np.int8)
        for name, number in (*STUFF.items(), ("table", TABLE_REST)):
            category[number], part[number] = self.categories.index(name), 0
        for item in objects:
            number = item["id"]
            category[number] = _index(self.categories, item["category"])
            colour[number] = _index(self.colours, item["colour"])
            for piece in item["parts"]:
                part[piece["id"]] = _index(self.parts, piece["name"])
            for column, name in enumerate(self.attributes):
                field, equals, said = name.partition("=")
                value = item.get(field) == said if equals else item.get("attributes", {}).get(name)
                attributes[number, column] = -1 if value is None else int(value)
        return Tables(category, colour, part, attributes)


@dataclass(frozen=True)
class Tables:
    """Truth by id: category, colour [256] by object id, part [256] by part id, attributes [256, n] 0 | 1 | -1."""

    category: np.ndarray
    colour: np.ndarray
    part: np.ndarray
    attributes: np.ndarray


def _index(names: Sequence[str], name: str) -> int:
    return names.index(name) if name in names else UNKNOWN
