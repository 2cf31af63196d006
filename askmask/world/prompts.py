"""Queries -> prompts: draw a balanced set for one picture, find words for them, turn them into Rounds.

Training draws templates from the first bank, validation and test from the held-out one (phrases.py).
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Callable, Iterable, Mapping
from itertools import accumulate
from typing import Any

import numpy as np

from askmask.conversation import Prompt, Round, Segment
from askmask.formats import dense
from askmask.imaging.mask import Mask, union_of
from askmask.world.appearance import COLOURS
from askmask.world.concepts import ASK
from askmask.world.facts import Facts
from askmask.world.ground import Ground, Query, choose
from askmask.world.phrases import ABSENT, BANK, CLAUSES, FRAMES_HELD, FRAMES_TRAIN, NOUNS

PER_VIEW = 20
NEGATIVES = 0.18  # share of prompts that nothing answers
COMPOSED = 0.15
UNFOUNDED = 4.0  # weight of a kind asked of what is not there or not so, among the empty ones
MOST_UNSURE = 0.34  # share of candidates about which nothing certain is known, above which nothing is asked
# Kinds the category or colour alone decides: drawn less, so that the rest is not drowned.
RARER = {
    "one": 0.6,
    "part": 1.5,
    "floor": 0.5,
    "table": 0.5,
    "sharp": 0.5,
    "fragile": 0.5,
    "eat": 0.5,
    "sit": 0.4,
    "near": 0.6,
}
SMALLEST_SURFACE = 20  # pixels of an upper surface that can be asked for
STUFF = {"table": dense.TABLE, "floor": dense.FLOOR}
SurfaceMask = Callable[[int], np.ndarray]  # thing id -> bool [H, W]


def held_out(split: str) -> bool:
    """Whether a split uses the held-out bank."""
    return split != "train"


def queries(ground: Ground, rng: np.random.Generator) -> list[Query]:
    """Return every sound query of the picture: certain enough, not trivially everything."""
    found = [query for ask in ASK.values() for query in ask(ground, rng)]
    found += _composed(ground, rng)
    found += _unfounded(ground, rng)
    return [query for query in found if _sound(query)]


def _sound(query: Query) -> bool:
    query.ignore = sorted(set(query.ignore) - set(query.satisfying))
    if query.special or query.parts:
        return True
    if query.empty:
        return not query.ignore
    unsure = sum(1 for n in query.ignore if n in query.candidates)
    if unsure > max(1, MOST_UNSURE * len(query.candidates)) or len(query.ignore) > 3:
        return False
    known = [n for n in query.candidates if n not in query.ignore]
    return query.kind in ("category", "one", "part", "surface", "stack") or len(query.satisfying) < len(known)


def _composed(ground: Ground, rng: np.random.Generator) -> list[Query]:
    """Compose noun (kind or colour) + clause (attribute, asserted or denied) + what is left out."""
    found: list[Query] = []
    pool, things = ground.on_table, ground.things

    def alike(key: str) -> dict[str, list[int]]:
        values = sorted({things[n][key] for n in pool})
        return {value: [n for n in pool if things[n][key] == value] for value in values}

    groups = [(choose(rng, NOUNS[category]), members) for category, members in alike("category").items()]
    groups += [
        ((f"{colour} thing", f"{colour} things"), members) for colour, members in alike("colour").items()
    ]
    groups.append((("thing", "things"), pool))
    for (noun, plural), members in groups:
        for attribute, value in ((attribute, value) for attribute in CLAUSES for value in (True, False)):
            yes, ignore = ground.having(attribute, members, value)
            ignore = [n for n in ignore if n in members or n in ground.glimpsed]
            made: list[tuple[str, list[int], list[int], dict[str, str]]] = []
            if noun != "thing" and (yes or rng.random() < 0.1):
                made.append(("compose", yes, ignore, {}))
            colours = sorted({things[n]["colour"] for n in yes})
            if len(colours) > 1 and not noun.endswith(" thing"):
                out = str(choose(rng, colours))
                rest, unsure = ([n for n in some if things[n]["colour"] != out] for some in (yes, ignore))
                made.append(("compose_not", rest, unsure, {"c": out}))
            found += [
                Query(
                    concept=CLAUSE_CONCEPTS.get(attribute, "physics"),
                    family="composition",
                    kind=kind,
                    satisfying=satisfying,
                    candidates=members,
                    slots={"n": noun, "ns": plural, **left_out, "that": (attribute, value)},
                    ignore=unsure,
                    facts={"attribute": attribute, "value": value, **left_out},
                )
                for kind, satisfying, unsure, left_out in made
            ]
    return found


CLAUSE_CONCEPTS = {  # of the rest: physics
    "lying": "entities",
    "holds_liquid": "affordances",
    "reachable": "affordances",
    "free_surface": "affordances",
}
ASKED_OF = {
    "part": ("entities", "parts"),
    "left_of": ("spatial", "viewer"),
    "behind": ("spatial", "viewer"),
    "near": ("spatial", "metric"),
    "carried_by": ("relations", "support"),
    "inside": ("relations", "containment"),
    "hiding": ("relations", "occlusion"),
    "grasp": ("affordances", "context_independent"),
    "must_move": ("affordances", "anticipatory"),
    "falls_with": ("physics", "counterfactual"),
    "blocked_by": ("physics", "obstruction"),
}


def _unfounded(ground: Ground, rng: np.random.Generator) -> list[Query]:
    """Ask of a thing that is not there, or is not so: nothing can be right about it."""
    present = {ground.category(n) for n in (*ground.seen, *ground.glimpsed)}
    absent = [choose(rng, NOUNS[c])[0] for c in NOUNS if c not in present and c not in ("box", "crate")]
    absent += [singular for singular, _ in ABSENT]
    colours = {(ground.category(n), ground.things[n]["colour"]) for n in (*ground.seen, *ground.glimpsed)}
    found = []
    for kind in rng.permutation(list(ASKED_OF))[:5]:
        concept, family = ASKED_OF[kind]
        false = bool(ground.seen and rng.random() < 0.4)
        if false:
            category = ground.category(choose(rng, ground.seen))
            colour = choose(rng, [c for c in COLOURS if (category, c) not in colours])
            name = f"the {colour} {choose(rng, NOUNS[category])[0]}"
        else:
            noun = choose(rng, absent)
            name = f"the {noun}" if rng.random() < 0.6 else f"the {choose(rng, list(COLOURS))} {noun}"
        slots = {"x": name} | (
            {"p": choose(rng, ("handle", "lid", "cap", "label"))} if kind == "part" else {}
        )
        facts = {"unfounded" if false else "absent": name}
        found.append(
            Query(
                concept=concept,
                family=family,
                kind=str(kind),
                satisfying=[],
                candidates=ground.seen,
                slots=slots,
                facts=facts,
            )
        )
    return found


def draw(found: Iterable[Query], rng: np.random.Generator, count: int = PER_VIEW) -> list[Query]:
    """Draw a balanced set: concepts alike, kinds alike within them, given shares of empty and composed."""
    pools: dict[tuple[bool, str], dict[str, list[Query]]] = {}
    for query in found:
        key = (query.empty, "composed" if query.family == "composition" else query.concept)
        name = query.kind + ("*" if "absent" in query.facts or "unfounded" in query.facts else "")
        pools.setdefault(key, {}).setdefault(name, []).append(query)
    drawn: list[Query] = []
    concepts = list(ASK)
    for k in range(count):
        empty = bool(rng.random() < NEGATIVES)
        concept = concepts[(k + int(rng.integers(2))) % len(concepts)]
        group = "composed" if rng.random() < COMPOSED else concept
        kinds = pools.get((empty, group)) or pools.get((False, concept))
        if not kinds:
            continue
        names = sorted(kinds)
        edges = list(accumulate(_weight(name) for name in names))
        name = names[bisect(edges, rng.random() * edges[-1])]
        query = kinds[name].pop(int(rng.integers(len(kinds[name]))))
        if not kinds[name]:
            del kinds[name]
        drawn.append(query)
    return drawn


def _weight(name: str) -> float:
    return UNFOUNDED if name.endswith("*") else RARER.get(name, 1.0)


def words_for(query: Query, ground: Ground, rng: np.random.Generator, *, held: bool) -> str | None:
    """Find words for a query; None if a thing it speaks of cannot be named apart from others."""
    slots: dict[str, str] = {}
    for slot, value in query.slots.items():
        if slot == "x" and isinstance(value, str):
            slots["x"] = value
        elif slot == "x":
            name = ground.name(value, rng)
            if name is None:
                return None
            slots["x"] = name
        elif slot == "that":
            attribute, positive = value
            slots["that"] = choose(rng, CLAUSES[attribute][0 if positive else 1][held])
        else:
            slots[slot.rstrip("_")] = str(value)
    return phrase(query.kind, slots, rng, held=held)


def phrase(kind: str, slots: Mapping[str, str], rng: np.random.Generator, *, held: bool) -> str:
    """Draw a template of a kind from one bank, fill it, and frame it unless it is a whole prompt."""
    template = choose(rng, BANK[kind][held])
    if template.startswith("="):
        return template[1:].format(**slots)
    return str(choose(rng, FRAMES_HELD if held else FRAMES_TRAIN)).format(np=template.format(**slots))


def answer_of(query: Query, surface: SurfaceMask) -> dict[str, Any]:
    """Return a query's answer in the form of the dense data (docs/world.md)."""
    if query.special:
        return {"parts" if query.special == "table" else "objects": [STUFF[query.special]]}
    if query.parts is not None:
        return {"parts": query.parts}
    if query.surface:
        return {"masks": [Mask.from_array(surface(n)).to_dict() for n in query.satisfying]}
    return {"objects": sorted(query.satisfying)}


def to_prompt(query: Query, text: str, answer: dict[str, Any]) -> Facts:
    """Return a prompt as JSON values, with all that is known about it."""
    negative = None
    if query.empty:
        negative = "absent" if "absent" in query.facts else "false_attribute"
    return {
        "prompt": text,
        "concept": query.concept,
        "family": query.family,
        "kind": query.kind,
        "answer": answer,
        "ignore": query.ignore,
        "candidates": sorted(query.candidates),
        "satisfying": sorted(query.satisfying),
        "facts": query.facts,
        "shortcuts": {name: sorted(ids) for name, ids in query.shortcuts.items()},
        "hard": query.hard,
        "margin": query.margin,
        "negative": negative,
    }


def prompts_for(
    ground: Ground,
    found: list[Query],
    surface: SurfaceMask,
    rng: np.random.Generator,
    *,
    held: bool,
    count: int = PER_VIEW,
) -> list[Facts]:
    """Write a balanced set of distinct prompts for one picture, out of its queries."""
    written: dict[str, Facts] = {}
    for query in draw(found, rng, 2 * count):
        if len(written) >= count:
            break
        if (query.special == "floor" and ground.floor_pixels < 0.03 * ground.size**2) or (
            query.kind == "compose" and not query.candidates
        ):
            continue
        text = words_for(query, ground, rng, held=held)
        if text is None or text in written:
            continue
        answer = answer_of(query, surface)
        if query.surface and any(Mask.from_dict(m).area < SMALLEST_SURFACE for m in answer["masks"]):
            continue
        written[text] = to_prompt(query, text, answer)
    return list(written.values())


def to_round(prompt: Mapping[str, Any], objects: np.ndarray, parts: np.ndarray) -> Round:
    """Turn a prompt and its picture's id maps [H, W] into a Round, one mask per instance."""
    size = objects.shape
    segments = _segments(prompt, objects, parts)
    ignored = [Mask.from_array(objects == n) for n in prompt["ignore"]]
    ignore = union_of(ignored, size) if ignored else None
    known = {
        name: prompt[name]
        for name in ("kind", "candidates", "satisfying", "facts", "hard", "margin", "negative")
    }
    known["shortcuts"] = {
        name: {"answer": ids, "right": ids == prompt["satisfying"]}
        for name, ids in prompt["shortcuts"].items()
    }
    known |= {name: prompt[name] for name in ("set", "reference") if name in prompt}
    refers_to = tuple(_name_of(reference) for reference in prompt.get("refers_to", ()))
    return Round(
        prompt=Prompt(text=prompt["prompt"], refers_to=refers_to),
        segments=segments,
        reply=prompt.get("reply"),
        concept=prompt["concept"],
        family=prompt["family"],
        ignore=ignore if ignore else None,
        meta=known,
    )


def _segments(
    prompt: Mapping[str, Any], objects: np.ndarray, parts: np.ndarray
) -> tuple[Segment, ...] | None:
    """Return the answer's segments, each with its place in the reply where that is known; None for words alone."""
    if prompt["answer"] is None:
        return None
    masks = [Mask.from_array(mask) for mask in dense.answer_masks(prompt["answer"], objects, parts)]
    spans = [(start, end) for start, end in prompt.get("spans", ())]
    if not spans:
        return tuple(Segment(mask=mask) for mask in masks)
    return tuple(
        Segment(mask=mask, phrase=prompt["reply"][span[0] : span[1]], span=span)
        for mask, span in zip(masks, spans, strict=True)
    )


def _name_of(reference: Mapping[str, Any]) -> str:
    """Name what a stored reference (round and mask, both from 0) points at: "r2", or "r2.1"."""
    return f"r{reference['round'] + 1}" + (f".{reference['mask'] + 1}" if "mask" in reference else "")
