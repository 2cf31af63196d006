"""What may be said of a thing in a reply: each property's test on the facts, the words that say it and deny it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from askmask.world.appearance import MATERIALS
from askmask.world.facts import Facts
from askmask.world.ground import Ground
from askmask.world.phrases import NOUNS

Test = Callable[[Ground, int], bool | None]


@dataclass(frozen=True, slots=True)
class Property:
    """A test (None: nothing certain is known), and predicates for one thing and for several."""

    test: Test
    says: tuple[str, str]
    denies: tuple[str, str]

    def words(self, value: bool, *, several: bool = False) -> str:
        """The predicate that says or denies it."""
        return (self.says if value else self.denies)[several]


def _attribute(name: str) -> Test:
    return lambda ground, n: ground.attribute(n, name)


def _trait(name: str) -> Test:
    return lambda ground, n: name in ground.things[n]["traits"]


def _kind(*sure: str, perhaps: tuple[str, ...] = ()) -> Test:
    def test(ground: Ground, n: int) -> bool | None:
        category = ground.category(n)
        return category in sure or (None if category in perhaps else False)

    return test


def _drinkable(ground: Ground, n: int) -> bool | None:
    thing = ground.things[n]
    if "drink" in thing["traits"]:
        return ground.attribute(n, "holds_liquid")
    return None if "vessel" in thing["traits"] or thing["category"] in ("bottle", "can") else False


def _carrier(ground: Ground, n: int) -> bool | None:
    thing = ground.things[n]
    if thing["category"] in ("tray", "crate"):
        return thing["pose"] == "upright" or None
    return None if thing["category"] in ("bucket", "bowl", "pot", "pan", "board") else False


def _near_edge(ground: Ground, n: int) -> bool | None:
    return False if ground.things[n]["place"] == "floor" else ground.attribute(n, "near_edge")


def _would(words: str, denied: str, test: Test) -> Property:
    return Property(test, (words, words), (denied, denied))


def _is(words: str, denied: str, test: Test) -> Property:
    return Property(test, (f"is {words}", f"are {words}"), (f"is {denied}", f"are {denied}"))


PROPERTIES: dict[str, Property] = {
    "holds_water": _would("would hold water", "would not hold water", _attribute("holds_liquid")),
    "drinkable": _would("can be drunk from", "cannot be drunk from", _drinkable),
    "room_for_cup": Property(
        _attribute("free_surface"),
        ("has room for a cup", "have room for a cup"),
        ("has no room for a cup", "have no room for a cup"),
    ),
    "takes_heat": _would("can take a hot pan", "cannot take a hot pan", _attribute("heat_proof")),
    "sharp": _is("sharp", "not sharp", _attribute("sharp")),
    "edible": _would("can be eaten", "cannot be eaten", _trait("food")),
    "seat": _would("can be sat on", "cannot be sat on", _kind("stool")),
    "carrier": _would("can carry many things", "cannot carry many things", _carrier),
    "readable": _would("can be read", "cannot be read", _kind("book")),
    "lights": _would("can give light", "cannot give light", _kind("candle")),
    "comfy": _is("soft to lie on", "not soft to lie on", _kind("cushion", perhaps=("cloth",))),
    "wipes": _would("can wipe", "cannot wipe", _kind("cloth", perhaps=("cushion",))),
    "stirs": _would("can stir", "cannot stir", _kind("spoon", perhaps=("knife",))),
    "fries": _would("can fry", "cannot fry", _kind("pan", perhaps=("pot",))),
    "brews": _would(
        "can brew tea", "cannot brew tea", _kind("teapot", perhaps=("pot", "jar", "mug", "glass"))
    ),
    "plays": _would("can be played with", "cannot be played with", _kind("ball", perhaps=("apple",))),
    "covered": _is("closed", "not closed", _attribute("covered")),
    "near_edge": _is("near the edge", "away from the edge", _near_edge),
    "rolls": _would("would roll", "would stay put", _attribute("rolls")),
    "tips": _would("would tip over", "would stand firmly", _attribute("tips")),
    "breaks": _would(
        "would break", "would not break", lambda g, n: MATERIALS[g.things[n]["material"]].fragile
    ),
    "takes_away": _would(
        "can be taken without a fall", "cannot be taken without a fall", _attribute("removable")
    ),
    "in_reach": _is("free to reach", "blocked", _attribute("reachable")),
    "handle": Property(
        _attribute("graspable"), ("has a handle", "have a handle"), ("has no handle", "have no handle")
    ),
    "see_through": _is("clear", "not clear", _attribute("transparent")),
    "carries": Property(
        _attribute("load_bearing"),
        ("carries something", "carry something"),
        ("carries nothing", "carry nothing"),
    ),
    "on_floor": _is("on the floor", "on the table", lambda g, n: g.things[n]["place"] == "floor"),
    "hollow": _is("hollow", "not hollow", _attribute("container")),
    "full": _is("not empty", "empty", _attribute("occupied")),
    "round": _is("round", "not round", _trait("round")),
    "tall": _is("tall", "not tall", _trait("tall")),
    "lying": Property(
        _attribute("lying"),
        ("lies on its side", "lie on their sides"),
        ("does not lie on its side", "do not lie on their sides"),
    ),
    "upside_down": _is("upside down", "not upside down", _attribute("upside_down")),
}


def values(ground: Ground, name: str) -> dict[int, bool | None]:
    """Return a property of everything of which at least some pixels show."""
    test = PROPERTIES[name].test
    return {n: test(ground, n) for n in (*ground.seen, *ground.glimpsed)}


def made_of(thing: Facts) -> str | None:
    """Say what a thing is made of; None for fruit and wax, of which nobody says so."""
    return None if thing["material"] in ("fruit", "wax") else f"is made of {thing['material']}"


def is_a(ground: Ground, n: int) -> str:
    """Say what kind of thing it is."""
    noun = NOUNS[ground.category(n)][0][0]
    return f"is {'an' if noun[0] in 'aeiou' else 'a'} {noun}"


OF_KIND = frozenset(
    ("edible", "seat", "carrier", "readable", "lights", "comfy", "wipes", "stirs", "fries", "brews", "plays")
)


def causes(ground: Ground, n: int, name: str, value: bool) -> list[str]:
    """Say from the facts why a thing has a property or not: predicates of "it"; [] where nothing explains it."""
    thing = ground.things[n]

    def holds(other: str, truth: bool = True) -> list[str]:
        return [PROPERTIES[other].words(truth)] if PROPERTIES[other].test(ground, n) is truth else []

    if name == "breaks":
        return [text] if (text := made_of(thing)) else []
    if name == "holds_water" and value:
        return [*holds("hollow"), *holds("full", False)]
    if name == "holds_water":
        return (holds("covered") or holds("hollow", False) or holds("lying") or holds("upside_down"))[:1]
    if name == "rolls":
        looks = [*(holds("round") or holds("lying")), *holds("near_edge")] if value else holds("round", False)
        return looks if not value or len(looks) > holds("near_edge").__len__() else []
    if name == "tips":
        return holds("tall") if value else []
    if name == "takes_away":
        return holds("carries", not value)
    if name == "takes_heat" and value:
        return [text] if (text := made_of(thing)) else []
    if name == "see_through" and value:
        return [text] if (text := made_of(thing)) else []
    return [is_a(ground, n)] if value and name in OF_KIND else []
