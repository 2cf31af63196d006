"""Ground: one picture's facts, ready to be asked about; Query: a prompt before it has words.

Works on the JSON values of facts.py alone, so that prompts can be written for stored scenes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from askmask.world.facts import Facts, askable
from askmask.world.phrases import ADJECTIVES, NOUNS


@dataclass(slots=True, kw_only=True)
class Query:
    """What is asked and what is true: everything of a prompt but its words. Ids are the scene's."""

    concept: str
    family: str
    kind: str  # key of phrases.BANK
    satisfying: list[int]
    candidates: list[int]
    slots: dict[str, Any] = field(default_factory=dict)  # words, or {"x": thing id}
    facts: dict[str, Any] = field(default_factory=dict)  # what the answer rests on
    parts: list[int] | None = None  # answer with parts instead of whole things
    surface: bool = False  # answer with the upper surface of the satisfying things
    ignore: list[int] = field(default_factory=list)  # things about which nothing certain is known
    shortcuts: dict[str, list[int]] = field(
        default_factory=dict
    )  # what a baseline would answer; its own first
    margin: float | None = None  # distance to the nearest threshold or rival, in the fact's own unit
    special: str | None = None  # "table" or "floor": an answer that is no thing

    @property
    def empty(self) -> bool:
        """Whether nothing matches."""
        return not self.satisfying and not self.parts and self.special is None

    @property
    def hard(self) -> bool | None:
        """Whether the family's own shortcut answers wrongly; None if it has none."""
        own = next(iter(self.shortcuts.values()), None)
        return None if own is None else sorted(own) != sorted(self.satisfying)


class Ground:
    """The facts of one view: `seen` are the things with enough pixels, `glimpsed` those with too few."""

    def __init__(self, things: list[Facts], view: Facts, view_size: int):
        self.size = view_size
        self.things = {thing["id"]: thing for thing in things}
        self.view = {int(n): facts for n, facts in view["objects"].items()}
        self.part_pixels = {int(n): count for n, count in view["parts"].items()}
        self.table_pixels, self.floor_pixels = view["table"], view["floor"]
        self.right = np.array(view["camera"]["right"])
        forward = np.array(view["camera"]["forward"])
        self.away = np.array([forward[0], forward[1], 0.0]) / np.hypot(forward[0], forward[1])
        self.seen = [n for n in self.things if askable(self.view[n], view_size)]
        self.glimpsed = [n for n in self.things if n not in self.seen and self.view[n]["pixels"] > 0]
        self.on_table = [n for n in self.seen if self.things[n]["place"] == "table"]

    def x(self, n: int) -> float:
        """Middle of a thing's pixels, in widths of the picture from the left."""
        return self.view[n]["centre"][0] / self.size

    def far(self, n: int) -> float:
        """Metres along the ground away from the viewer."""
        return float(np.array(self.things[n]["position"]) @ self.away)

    def attribute(self, n: int, name: str) -> bool | None:
        """An attribute, a pose (`lying`, `upside_down`), or `rolls` for any direction."""
        attributes = self.things[n]["attributes"]
        if name in ("lying", "upside_down"):
            pose = self.things[n]["pose"]
            return None if pose == "tilted" else bool(pose == name)
        if name == "rolls":
            values = [attributes[f"rolls_{way}"] for way in ("left", "right", "front", "back")]
            return True if True in values else None if None in values else False
        return attributes[name]

    def where(
        self, test: Callable[[Facts], bool | None], among: Iterable[int] | None = None
    ) -> tuple[list[int], list[int]]:
        """Return (things that pass, things to ignore: uncertain, or passing but hardly visible)."""
        pool = list(self.seen if among is None else among)
        values = {n: test(self.things[n]) for n in [*pool, *self.glimpsed]}
        yes = [n for n in pool if values[n]]
        ignore = [n for n in pool if values[n] is None] + [n for n in self.glimpsed if values[n] is not False]
        return yes, ignore

    def matching(self, **fields: Any) -> tuple[list[int], list[int]]:
        """Return (things whose fields are equal to these, things to ignore)."""
        return self.where(lambda thing: all(thing[name] == value for name, value in fields.items()))

    def having(
        self, name: str, among: Iterable[int] | None = None, value: bool = True
    ) -> tuple[list[int], list[int]]:
        """Return (things whose attribute has the value, things to ignore)."""

        def test(thing: Facts) -> bool | None:
            truth = self.attribute(thing["id"], name)
            return None if truth is None else truth is value

        return self.where(test, among)

    def category(self, n: int) -> str:
        """A thing's category."""
        return self.things[n]["category"]

    def traited(self, *traits: str) -> list[int]:
        """Seen things whose category has a trait."""
        return [n for n in self.seen if set(traits) & set(self.things[n]["traits"])]

    def stack_of(self, n: int) -> list[int]:
        """All things joined to a thing by carrying, itself included, lowest first."""
        group, grown = {n}, True
        while grown:
            more = {
                m
                for k in group
                for m in (
                    *self.things[k]["supports"],
                    *self.things[k]["supported_by"],
                    *self.things[k]["contains"],
                )
            }
            grown = not more <= group
            group |= more
        return sorted(group, key=lambda k: self.things[k]["low"])

    def name(self, n: int, rng: np.random.Generator) -> str | None:
        """Name a thing so that no other thing in the picture fits; None if that takes more than two words."""
        others = [m for m in (*self.seen, *self.glimpsed) if m != n]
        thing = self.things[n]
        noun = choose(rng, NOUNS[thing["category"]])[0]
        same = [m for m in others if self.category(m) == thing["category"]]
        coloured = any(self.things[m]["colour"] == thing["colour"] for m in same)
        made = any(self.things[m]["material"] == thing["material"] for m in same)
        if not same:
            extra = rng.random()
            if extra < 0.45:
                return f"the {noun}"
            plain = extra < 0.9 or thing["material"] in ("fruit", "wax") or adjective(thing) in noun
            return f"the {thing['colour']} {noun}" if plain else f"the {adjective(thing)} {noun}"
        if not coloured and (made or rng.random() < 0.85):
            return f"the {thing['colour']} {noun}"
        if not made:
            return f"the {adjective(thing)} {noun}"
        rivals = (
            [m for m in same if self.things[m]["colour"] == thing["colour"]] if rng.random() < 0.7 else same
        )
        word = f"{thing['colour']} {noun}" if rivals is not same and rivals else noun
        for sign, side in ((-1, "left"), (1, "right")):
            if all(m in self.seen and sign * (self.x(n) - self.x(m)) > 0.05 for m in rivals):
                far = "most" if len(rivals) > 1 else ""
                return f"the {side}{far} {word}" if far else f"the {word} on the {side}"
        return None


def ground_of(scene: Mapping[str, Any], view: Mapping[str, Any]) -> Ground:
    """Return what may be said of a view, without its prompts."""
    kept = {name: value for name, value in view.items() if name not in ("prompts", "dialogues")}
    return Ground(scene["objects"], kept, view["size"])


def adjective(thing: Facts) -> str:
    """A material as an adjective."""
    material: str = thing["material"]
    return ADJECTIVES.get(material, material)


def choose(rng: np.random.Generator, items: Any) -> Any:
    """Draw one item of a sequence as it is; ten times as fast as numpy's choice, and thousands are drawn."""
    return items[int(rng.random() * len(items))]


def closure(ground: Ground, n: int) -> list[int]:
    """Everything carried by a thing, directly or not."""
    found: set[int] = set()
    todo = [n]
    while todo:
        for m in ground.things[todo.pop()]["supports"]:
            if m not in found and m != n:
                found.add(m)
                todo.append(m)
    return sorted(found)
