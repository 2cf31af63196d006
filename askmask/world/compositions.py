"""Prompts that compose: not, except, and, superlatives, ordinals, comparisons, and words nobody taught.

Asked in addition to the concepts' own kinds, from random numbers of their own, so that splits fixed without them
stay as they are. Every prompt belongs to one `test` by a fixed rule:

    ordinary     phrasing and combination both trained
    composition  phrasing trained; the combination ("smallest" with "box") never is
    paraphrase   combination trained; the phrasing never is
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from itertools import pairwise
from typing import Any
from zlib import crc32

import numpy as np

from askmask.world.appearance import COLOURS
from askmask.world.facts import Facts
from askmask.world.ground import ADJECTIVES, Ground, Query, choose
from askmask.world.phrases import FRAMES_HELD, FRAMES_TRAIN, NOUNS, ORDINALS

WORDS: dict[str, Any] = json.loads(
    resources.files("askmask.world").joinpath("compositions.json").read_text(encoding="utf-8")
)
KINDS = tuple(WORDS["templates"])
TESTS = ("ordinary", "composition", "paraphrase")
HELD_SHARE = 6  # one combination in this many is never trained
COUNTS = ("zero", "one", "two", "three", "four", "five", "six", "seven")
SIDES = {"left": "left", "right": "right", "near": "front", "far": "back"}  # of an order counted from a side
# What may not be taught as unknown, nor come out of a typing error.
KNOWN = {word for names in NOUNS.values() for pair in names for name in pair for word in name.split()}
KNOWN |= {w for names in WORDS["synonyms"].values() for pair in names for name in pair for w in name.split()}
KNOWN |= set(COLOURS)
CONCEPT = {"left": "spatial", "right": "spatial", "near": "spatial", "far": "spatial"}
WEIGHTS = {
    "named": 2.0, "one_of_kind": 0.4, "counted": 0.7, "pair": 0.7, "not": 2.0, "neither": 0.8, "except": 2.0,
    "instead": 1.2, "both": 2.0, "three": 0.6, "superlative": 2.5, "ordinal": 1.2, "from_side": 1.8,
    "first_few": 1.0, "compare": 1.8, "unknown": 2.2,
}  # fmt: skip
OFTENER = {"instead": 3.0, "compare": 1.5, "ordinal": 1.5}  # in training: what is right least often
CURT_SHARE = 0.35  # of training prompts of negation: "not the mugs", and no more
WHOLE_SHARE = 0.6  # of pictures that are asked for everything
MOST_OPEN = 3  # things of which a prompt may leave open whether they belong to its answer


@dataclass(frozen=True)
class Noun:
    """What a noun phrase without an article says, and which things of the picture it fits."""

    one: str
    many: str
    names: frozenset[str]  # categories, colours, "material=..." it says
    key: str  # for combinations
    yes: tuple[int, ...] = ()
    ignore: tuple[int, ...] = ()  # things of which it is not certain


def held_combination(*parts: str) -> bool:
    """Whether a combination of meanings is kept out of training, by a rule that depends on nothing else."""
    return crc32("|".join(parts).encode()) % HELD_SHARE == 0


def queries(ground: Ground, rng: np.random.Generator) -> list[Query]:
    """Return compositions that the picture supports; `facts["combined"]` says which combinations each has."""
    nouns = _nouns(ground, rng)
    found = [
        *_plain(ground, nouns, rng),
        *_negated(ground, nouns, rng),
        *_joined(ground, nouns, rng),
        *_ordered(ground, nouns),
        *_compared(ground, nouns, rng),
        *_unknown(ground, rng, held=False),
    ]
    return [query for query in found if len(query.ignore) <= MOST_OPEN and not (query.empty and query.ignore)]


def prompts_for(ground: Ground, rng: np.random.Generator, *, train: bool, count: int) -> list[Facts]:
    """Write up to `count` distinct prompts for one picture: for training, or evenly of each of TESTS.

    For training now and then one more, that asks for everything there is.
    """
    pools: dict[str, dict[str, list[Query]]] = {}
    for query in queries(ground, rng):
        held = any(held_combination(*parts) for parts in query.facts["combined"])
        pools.setdefault("composition" if held else "ordinary", {}).setdefault(query.kind, []).append(query)
    pools["paraphrase"] = pools.get("ordinary", {}) | {"unknown": _unknown(ground, rng, held=True)}
    written: dict[str, Facts] = {}
    for number in range(3 * count):
        if len(written) >= count:
            break
        test = "ordinary" if train else TESTS[number % len(TESTS)]
        kinds = pools.get(test)
        if not kinds:
            continue
        names = sorted(kinds)
        more = OFTENER if train else {}
        weights = np.array([WEIGHTS[name] * more.get(name, 1.0) for name in names])
        query = choose(rng, kinds[names[int(rng.choice(len(names), p=weights / weights.sum()))]])
        curt = train and query.kind == "not" and rng.random() < CURT_SHARE
        text, said_as = write(
            query, rng, held=test == "paraphrase", templates=WORDS["curt_not"] if curt else ()
        )
        if text not in written:
            written[text] = _prompt(query, text, said_as, None if train else test)
    if train and ground.seen and rng.random() < WHOLE_SHARE:
        if len(written) >= count:
            written.popitem()
        template = str(choose(rng, WORDS["whole"]))
        query = _whole(ground, ground.on_table if "table" in template else ground.seen)
        text, said_as = write(query, rng, held=False, templates=[template])
        written[text] = _prompt(query, text, said_as, None)
    return list(written.values())


def _whole(ground: Ground, yes: Sequence[int]) -> Query:
    """Everything there is, with nothing said of it: for training alone, so the fixed splits have none."""
    return _query(ground, "named", yes, {}, ignore={*ground.seen, *ground.glimpsed} - set(yes))


def write(
    query: Query, rng: np.random.Generator, *, held: bool, templates: Sequence[str] = ()
) -> tuple[str, str]:
    """Find words for a composition, as people say, mistype and pad them; return them and how they are said."""
    bank = "held" if held else "train"
    template = choose(rng, templates or WORDS["templates"][query.kind][bank])
    said_as = "plain"
    if template.startswith("="):
        text = template[1:].format(**query.slots)
    else:
        frames = FRAMES_HELD if held else FRAMES_TRAIN
        if rng.random() < 0.4:
            frames, said_as = WORDS["verbs"][bank], "verb"
        text = choose(rng, frames).format(np=template.format(**query.slots))
    chance = rng.random()
    if chance < 0.1 and query.kind != "unknown":
        text, said_as = mistyped(text, rng), "mistyped"
    elif chance < 0.2:
        text, said_as = choose(rng, WORDS["fillers"][bank]).format(p=text), "padded"
    return text, said_as


def mistyped(text: str, rng: np.random.Generator) -> str:
    """Make one slip in one longer word: two letters swapped, one left out, one doubled or one hit beside it."""
    places = [match.span() for match in re.finditer(r"[a-z]{4,}", text)]
    if not places:
        return text
    for _ in range(4):
        start, stop = choose(rng, places)
        word, at = text[start:stop], int(rng.integers(1, stop - start - 1))
        slip = int(rng.integers(4))
        if slip == 0:
            new = word[:at] + word[at + 1] + word[at] + word[at + 2 :]
        elif slip == 1:
            new = word[:at] + word[at + 1 :]
        elif slip == 2:
            new = word[:at] + word[at] + word[at:]
        else:
            new = word[:at] + choose(rng, "abcdefghijklmnopqrstuvwxyz") + word[at + 1 :]
        if new != word and new not in KNOWN:
            return text[:start] + new + text[stop:]
    return text


def _prompt(query: Query, text: str, said_as: str, test: str | None) -> Facts:
    facts = {**query.facts, "said_as": said_as} | ({"test": test} if test else {})
    return {
        "prompt": text,
        "concept": query.concept,
        "family": query.family,
        "kind": query.kind,
        "answer": {"objects": sorted(query.satisfying)},
        "ignore": sorted(set(query.ignore) - set(query.satisfying)),
        "candidates": sorted(query.candidates),
        "satisfying": sorted(query.satisfying),
        "facts": facts,
        "shortcuts": {},
        "hard": None,
        "margin": query.margin,
        "negative": None if query.satisfying else "absent",
    }


def _query(
    ground: Ground,
    kind: str,
    yes: Iterable[int],
    slots: Mapping[str, Any],
    *,
    said: Iterable[str] = (),
    other: Iterable[str] = (),
    combined: Sequence[tuple[str, ...]] = (),
    concept: str = "entities",
    ignore: Iterable[int] = (),
    **facts: Any,
) -> Query:
    pairs = [list(parts) for parts in combined if "thing" not in parts]
    known = {"said": sorted(said), "other": sorted(other), "combined": pairs}
    return Query(
        concept=concept,
        family="composition",
        kind=kind,
        satisfying=sorted(yes),
        candidates=ground.seen,
        slots=dict(slots),
        ignore=sorted(set(ignore)),
        facts=known | facts,
    )


def _an(phrase: str) -> str:
    return ("an " if phrase[0] in "aeiou" else "a ") + phrase


def _slots(noun: Noun) -> dict[str, str]:
    return {"n": noun.one, "ns": noun.many, "an": _an(noun.one)}


def _others(noun: Noun, letter: str = "o") -> dict[str, str]:
    return {letter: noun.one, f"{letter}s": noun.many, f"a{letter}": _an(noun.one)}


def _nouns(ground: Ground, rng: np.random.Generator) -> list[Noun]:
    """Noun phrases about the picture: kinds, generic names, each with a colour or material or without; "thing"."""
    found: list[Noun] = []

    def add(one: str, many: str, names: Iterable[str], key: str, **fields: Any) -> None:
        yes, ignore = ground.where(lambda t: _fits(t, fields))
        found.append(Noun(one, many, frozenset(names), key, tuple(yes), tuple(ignore)))

    present = sorted({ground.category(n) for n in (*ground.seen, *ground.glimpsed)})
    absent = [c for c in NOUNS if c not in present and c not in ("box", "crate")]
    colours = sorted({ground.things[n]["colour"] for n in ground.seen})
    materials = sorted({ground.things[n]["material"] for n in ground.seen} - {"fruit", "wax"})
    for category in (*present, *rng.permutation(absent)[:2]):
        one, many = _called(category, rng)
        add(one, many, [category], category, category=(category,))
        own = sorted({ground.things[n]["colour"] for n in ground.seen if ground.category(n) == category})
        for colour in (*own, choose(rng, list(COLOURS))):
            add(f"{colour} {one}", f"{colour} {many}", [category, colour], f"{colour} {category}",
                category=(category,), colour=colour)  # fmt: skip
        made = {ground.things[n]["material"] for n in ground.seen if ground.category(n) == category}
        for material in sorted(made & set(materials)):
            word = ADJECTIVES.get(material, material)
            if word not in one:
                add(f"{word} {one}", f"{word} {many}", [category, f"material={material}"],
                    f"{material} {category}", category=(category,), material=material)  # fmt: skip
    for colour in colours:
        add(f"{colour} thing", f"{colour} things", [colour], colour, colour=colour)
    for material in materials:
        word = ADJECTIVES.get(material, material)
        add(f"{word} thing", f"{word} things", [f"material={material}"], material, material=material)
    for (one, many), sure, perhaps in WORDS["hypernyms"]:
        if rng.random() < 0.5:
            add(one, many, sure, many, category=tuple(sure), perhaps=tuple(perhaps))
    thing = choose(rng, (("thing", "things"), ("object", "objects"), ("item", "items")))
    add(thing[0], thing[1], [], "thing")
    return found


def _called(category: str, rng: np.random.Generator) -> tuple[str, str]:
    usual, synonyms = NOUNS[category], WORDS["synonyms"].get(category, ())
    one, many = choose(rng, synonyms if synonyms and rng.random() < 0.3 else usual)
    return one, many


def _fits(thing: Facts, fields: Mapping[str, Any]) -> bool | None:
    """Whether a thing has the fields of a noun phrase; None where its generic name is a matter of taste."""
    if thing["category"] in fields.get("perhaps", ()):
        return None
    kinds = fields.get("category")
    return (
        (kinds is None or thing["category"] in kinds)
        and fields.get("colour") in (None, thing["colour"])
        and fields.get("material") in (None, thing["material"])
    )


def _some(rng: np.random.Generator, items: Sequence[Any], most: int) -> list[Any]:
    return [items[int(k)] for k in rng.permutation(len(items))[:most]]


def _plain(ground: Ground, nouns: list[Noun], rng: np.random.Generator) -> Iterator[Query]:
    for noun in nouns:
        if noun.key == "thing":
            continue
        if noun.yes or (not noun.ignore and rng.random() < 0.3):
            yield _query(ground, "named", noun.yes, _slots(noun), said=noun.names, ignore=noun.ignore)
        if noun.ignore:
            continue
        count = len(noun.yes)
        if count == 1:
            yield _query(ground, "one_of_kind", noun.yes, _slots(noun), said=noun.names)
        elif 1 < count < len(COUNTS):
            slots = {**_slots(noun), "count": COUNTS[count]}
            combined = [("count", COUNTS[count], noun.key)]
            kind = "pair" if count == 2 and rng.random() < 0.5 else "counted"
            yield _query(ground, kind, noun.yes, slots, said=noun.names, combined=combined)


def _negated(ground: Ground, nouns: list[Noun], rng: np.random.Generator) -> Iterator[Query]:
    named = [noun for noun in nouns if noun.key != "thing"]
    for noun in named:
        rest = [n for n in ground.seen if n not in noun.yes and n not in noun.ignore]
        unsure = {*noun.ignore, *(n for n in ground.glimpsed if n not in noun.yes)}
        if rest and (noun.yes or rng.random() < 0.2):
            yield _query(ground, "not", rest, _slots(noun), other=noun.names, ignore=unsure,
                         combined=[("not", noun.key)])  # fmt: skip
    for one, two in _pairs(named, rng, 10):
        rest = [n for n in ground.seen if n not in (*one.yes, *two.yes, *one.ignore, *two.ignore)]
        if rest and one.yes and two.yes and not one.names & two.names:
            yield _query(ground, "neither", rest, {**_slots(one), **_others(two)}, other=one.names | two.names,
                         ignore={*one.ignore, *two.ignore, *ground.glimpsed},
                         combined=[("neither", *sorted((one.key, two.key)))])  # fmt: skip
        if one.yes and not set(one.yes) & set(two.yes) and (two.yes or rng.random() < 0.2):
            yield _query(ground, "instead", one.yes, {**_slots(one), **_others(two)}, said=one.names,
                         other=two.names, ignore=one.ignore, combined=[("instead", one.key, two.key)])  # fmt: skip
    for whole in nouns:
        for left_out in named:
            # "the boxes, but not the red ones": something is left out, something stays, and it says more.
            if not set(left_out.yes) & set(whole.yes) or left_out.names <= whole.names:
                continue
            rest = [n for n in whole.yes if n not in left_out.yes and n not in left_out.ignore]
            short = _ones(left_out, whole, rng)
            if rest and short is not None:
                combined = [("except", whole.key, left_out.key)]
                yield _query(ground, "except", rest, {**_slots(whole), **_others(short)}, said=whole.names,
                             other=left_out.names - whole.names, ignore={*whole.ignore, *left_out.ignore},
                             combined=combined)  # fmt: skip


def _ones(left_out: Noun, whole: Noun, rng: np.random.Generator) -> Noun | None:
    """How to name what is left out of a group: "red one", "red box"; None for a clumsy pair of kinds."""
    extra = sorted(left_out.names - whole.names)
    if whole.key == "thing":
        return left_out
    if whole.names < left_out.names and len(extra) == 1 and rng.random() < 0.6:
        material = extra[0].removeprefix("material=")
        word = ADJECTIVES.get(material, material)
        return replace(left_out, one=f"{word} one", many=f"{word} ones")
    generic = len(whole.names) > 2
    return left_out if whole.names < left_out.names or generic or len(whole.names) == 1 else None


def _pairs(nouns: list[Noun], rng: np.random.Generator, most: int) -> list[tuple[Noun, Noun]]:
    """Pairs of noun phrases of which neither is a generic name, and that name different kinds or colours."""
    plain = [noun for noun in nouns if len(noun.names) <= 2]
    if len(plain) < 2:
        return []
    drawn = [_some(rng, plain, 2) for _ in range(most)]
    return [(one, two) for one, two in drawn if not one.names <= two.names and not two.names <= one.names]


def _joined(ground: Ground, nouns: list[Noun], rng: np.random.Generator) -> Iterator[Query]:
    named = [noun for noun in nouns if noun.key != "thing"]
    for one, two in _pairs(named, rng, 16):
        if not one.yes or not (two.yes or rng.random() < 0.2):
            continue
        yes = {*one.yes, *two.yes}
        yield _query(ground, "both", yes, {**_slots(one), **_others(two)}, said=one.names, other=two.names,
                     ignore={*one.ignore, *two.ignore} - yes,
                     combined=[("both", *sorted((one.key, two.key)))])  # fmt: skip
    kinds = [noun for noun in named if noun.key in NOUNS and noun.yes]
    for _ in range(2 if len(kinds) > 2 else 0):
        one, two, three = _some(rng, kinds, 3)
        yes = {*one.yes, *two.yes, *three.yes}
        slots = {**_slots(one), **_others(two), **_others(three, "m")}
        yield _query(ground, "three", yes, slots, said=one.names | two.names | three.names,
                     ignore={*one.ignore, *two.ignore, *three.ignore} - yes,
                     combined=[("three", *sorted((one.key, two.key, three.key)))])  # fmt: skip


@dataclass(frozen=True)
class Order:
    """A measured quantity to sort by, in both directions, and how far apart two values must be to differ."""

    names: tuple[str, str]  # of its two directions, the least first and the greatest first
    apart: float  # difference, or ratio of logarithms

    def values(self, ground: Ground, things: Iterable[int]) -> dict[int, float]:
        """Measure some things."""
        return {n: measured(self.names[0], ground, n) for n in things}


ORDERS = (
    Order(("left", "right"), 0.045),
    Order(("near", "far"), 0.045),
    Order(("short", "tall"), 0.14),
    Order(("small", "large"), 0.3),
    Order(("light", "heavy"), 0.3),
    Order(("low", "high"), 0.04),
)


def measured(order: str, ground: Ground, n: int) -> float:
    """Return the quantity of an order: picture widths, metres, or the logarithm of metres, litres, kilograms."""
    thing = ground.things[n]
    if order in ("left", "right"):
        return ground.x(n)
    if order in ("near", "far"):
        return ground.far(n)
    if order in ("short", "tall"):
        return float(np.log(thing["size"][2]))
    if order in ("small", "large"):
        return float(np.log(np.prod(thing["size"])))
    if order in ("light", "heavy"):
        return float(np.log(thing["mass"]))
    return float(thing["position"][2])


def _ordered(ground: Ground, nouns: list[Noun]) -> Iterator[Query]:
    """Superlatives and places among the things of a noun phrase."""
    for noun in nouns:
        pool = noun.yes
        if len(pool) < 2 or noun.ignore or (noun.key == "thing" and ground.glimpsed):
            continue
        for order in ORDERS:
            sized = order.names[0] in ("short", "small", "light", "low")
            if sized and any(ground.view[n]["cut"] for n in pool):
                continue
            values = order.values(ground, pool)
            ranked = sorted(pool, key=values.__getitem__)
            gaps = [values[b] - values[a] for a, b in pairwise(ranked)]
            for name, things, apart in (
                (order.names[0], ranked, gaps),
                (order.names[1], ranked[::-1], gaps[::-1]),
            ):
                yield from _places(ground, noun, name, things, [gap > order.apart for gap in apart])


def _places(ground: Ground, noun: Noun, order: str, ranked: list[int], clear: list[bool]) -> Iterator[Query]:
    concept = CONCEPT.get(order, "entities")
    pair = ("order", order, noun.key)
    common: dict[str, Any] = {"said": noun.names, "concept": concept, "order": order}
    superlatives = WORDS["superlatives"][order]
    slots = {**_slots(noun), "sup": superlatives[0], "side": SIDES.get(order)}
    if clear[0]:
        for sup in superlatives:
            yield _query(ground, "superlative", ranked[:1], {**slots, "sup": sup}, combined=[pair], place=1,
                         **common)  # fmt: skip
    for k in range(min(5, len(ranked))):
        first, last = k == 0, k == len(ranked) - 1
        exact = (first or clear[k - 1]) and (last or clear[k])
        more = {**slots, "k": ORDINALS[k], "d": k + 1, "count": COUNTS[k + 1]}
        if exact and order in SIDES:
            yield _query(ground, "from_side", ranked[k : k + 1], more, combined=[pair], place=k + 1, **common)
        if order in ("left", "right", "high", "low") or first:
            continue
        if exact:
            yield _query(ground, "ordinal", ranked[k : k + 1], more, place=k + 1,
                         combined=[pair, ("place", ORDINALS[k], order)], **common)  # fmt: skip
        if not last and clear[k]:
            yield _query(ground, "first_few", ranked[: k + 1], more, place=k + 1, upto=True,
                         combined=[pair, ("count", COUNTS[k + 1], order)], **common)  # fmt: skip


def _compared(ground: Ground, nouns: list[Noun], rng: np.random.Generator) -> Iterator[Query]:
    """Things of a noun phrase that are more or less than a named thing."""
    for n in _some(rng, ground.on_table, 4):
        name = ground.name(n, rng)
        if name is None or ground.view[n]["cut"]:
            continue
        for noun in _some(rng, nouns, 4):
            pool = [m for m in noun.yes if m != n]
            if not pool or noun.ignore or any(ground.view[m]["cut"] for m in pool):
                continue
            for order in ORDERS[:5]:
                values = order.values(ground, [*pool, n])
                for direction, way in enumerate(order.names):
                    sign = -1 if direction == 0 else 1
                    beyond = {m: sign * (values[m] - values[n]) for m in pool}
                    yes = [m for m in pool if beyond[m] > order.apart]
                    unsure = [m for m in pool if 0.35 * order.apart < beyond[m] <= order.apart]
                    if (yes or rng.random() < 0.15) and len(unsure) < 2:
                        slots = {**_slots(noun), "x": name, "comp": choose(rng, WORDS["comparatives"][way])}
                        yield _query(ground, "compare", yes, slots, said=noun.names, order=way, of=n,
                                     ignore=unsure, concept=CONCEPT.get(way, "relations"),
                                     combined=[("order", way, noun.key)])  # fmt: skip


def unknown_word(rng: np.random.Generator, *, held: bool) -> str:
    """Return something that names nothing in the world: a noun, a made-up word, markup, another language."""
    bank, chance = "held" if held else "train", rng.random()
    if chance < 0.5:
        return str(choose(rng, WORDS["unknown"][bank]))
    if chance < 0.62:
        return str(choose(rng, WORDS["markup"][bank]))
    if chance < 0.74:
        return str(choose(rng, WORDS["foreign"][bank]))
    if chance < 0.9:
        starts = ("bl", "gr", "fl", "m", "z", "tr", "w", "sn", "k", "v", "pl", "d")
        word = "".join(choose(rng, starts) + choose(rng, "aeiou") for _ in range(int(rng.integers(1, 4))))
        return word + str(choose(rng, ("x", "rf", "nk", "mb", "zz", "ft", "ggle", "lo", "ny", "sh")))
    return "".join(choose(rng, "abcdefghijklmnopqrstuvwxyz") for _ in range(int(rng.integers(4, 11))))


def _unknown(ground: Ground, rng: np.random.Generator, *, held: bool) -> list[Query]:
    """Ask of what no picture of the world shows."""
    found = []
    for _ in range(6):
        u, v = unknown_word(rng, held=held), unknown_word(rng, held=held)
        many = u if u.endswith("s") or not u.isalpha() else u + "s"
        colour = choose(rng, list(COLOURS))
        sup = choose(rng, choose(rng, list(WORDS["superlatives"].values())))
        slots = {
            "u": u,
            "us": many,
            "au": _an(u),
            "v": v,
            "av": _an(v),
            "c": colour,
            "ac": _an(colour).split()[0],
        }
        found.append(_query(ground, "unknown", (), {**slots, "sup": sup}, absent=u))
    return found
