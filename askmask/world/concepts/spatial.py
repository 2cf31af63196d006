"""Spatial: sides and order as the viewer sees them, distance, support, stacks, visibility."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from askmask.world.concepts.kinds import query
from askmask.world.ground import Ground, Query
from askmask.world.phrases import ORDINALS

SIDE = (0.045, 0.075)  # widths of the picture: nearer is no side at all, farther surely is
DEEP = (0.03, 0.06)  # metres along the ground
CLOSE = (0.05, 0.09)  # metres between boxes: surely close, surely not
GAP = 0.04  # to the next in an order: widths of the picture, or metres


def ask(ground: Ground, rng: np.random.Generator) -> Iterator[Query]:
    """Yield the queries of this concept that the picture supports."""
    yield from _sides(ground)
    yield from _extremes(ground)
    yield from _distance(ground)
    yield from _places(ground)
    yield from _stacks(ground)
    yield from _handles(ground)


def _beyond(value: float, limits: tuple[float, float]) -> bool | None:
    return True if value > limits[1] else False if value < limits[0] else None


def _sorted_out(values: dict[int, bool | None], pool: list[int]) -> tuple[list[int], list[int]]:
    """Return (things of a pool for which the value is true, those for which it is not known)."""
    return [m for m in pool if values[m]], [m for m in pool if values[m] is None]


def _sides(ground: Ground) -> Iterator[Query]:
    if any(ground.things[m]["place"] == "table" for m in ground.glimpsed):
        return
    floor = [m for m in ground.seen if ground.things[m]["place"] == "floor"]
    for n in ground.on_table:
        if ground.view[n]["cut"]:
            continue
        pool = [m for m in ground.on_table if m != n]
        for kind, measure, sign, limits in (
            ("left_of", ground.x, -1, SIDE),
            ("right_of", ground.x, 1, SIDE),
            ("front_of", ground.far, -1, DEEP),
            ("behind", ground.far, 1, DEEP),
        ):
            values = {m: _beyond(sign * (measure(m) - measure(n)), limits) for m in pool}
            yes, unsure = _sorted_out(values, pool)
            yield query(kind, pool, yes, unsure + floor, x=n, margin=limits[1], facts={"of": n})


def _extremes(ground: Ground) -> Iterator[Query]:
    pool = ground.on_table
    if len(pool) < 3 or ground.glimpsed:
        return
    for kind, measure, last in (
        ("leftmost", ground.x, False),
        ("rightmost", ground.x, True),
        ("nearest", ground.far, False),
        ("farthest", ground.far, True),
    ):
        ranked = sorted(pool, key=measure, reverse=last)
        margin = abs(measure(ranked[1]) - measure(ranked[0]))
        if margin > GAP:
            yield query(kind, pool, ranked[:1], margin=round(margin, 3), facts={"order": ranked})
    ranked = sorted(ground.seen, key=ground.x)
    gaps = np.diff([ground.x(n) for n in ranked])
    for k in range(1, min(4, len(ranked) - 1)):
        for kind, order, steps in (("nth_left", ranked, gaps), ("nth_right", ranked[::-1], gaps[::-1])):
            margin = float(steps[: k + 1].min())
            if margin > 0.03:
                words, facts = {"k": ORDINALS[k]}, {"order": order}
                yield query(kind, ranked, [order[k]], words=words, margin=round(margin, 3), facts=facts)


def gap_between(ground: Ground, m: int, n: int) -> float:
    """Metres between the boxes of two things."""
    a, b = ground.things[m], ground.things[n]
    sides = zip(a["position"], b["position"], a["size"], b["size"], strict=True)
    return math.hypot(*(max(abs(p - q) - (s + t) / 2, 0.0) for p, q, s, t in sides))


def _distance(ground: Ground) -> Iterator[Query]:
    for n in ground.on_table:
        pool = [m for m in ground.on_table if m != n]
        if len(pool) < 2:
            continue
        everything = [*pool, *ground.glimpsed]
        gaps = {m: gap_between(ground, m, n) for m in everything}
        yes = [m for m in pool if gaps[m] < CLOSE[0]]
        ignore = [m for m in pool if CLOSE[0] <= gaps[m] <= CLOSE[1]]
        ignore += [m for m in ground.glimpsed if gaps[m] < CLOSE[1]]
        yield query("near", pool, yes, ignore, x=n, facts={"of": n, "within_m": CLOSE[0]})
        middle = {
            m: math.dist(ground.things[m]["position"], ground.things[n]["position"]) for m in everything
        }
        first, second, *_ = sorted(middle, key=middle.__getitem__)
        clear = middle[second] > 1.25 * middle[first] and gaps[first] <= min(gaps.values())
        if first in pool and clear:
            margin = round(middle[second] / middle[first] - 1, 3)
            yield query("nearest_to", pool, [first], x=n, margin=margin, facts={"of": n})


def _places(ground: Ground) -> Iterator[Query]:
    def hidden(thing: dict) -> bool | None:
        facts = ground.view[thing["id"]]
        if facts["cut"]:
            return None
        if facts["visible"] < 0.8 and facts["hidden_by"]:
            return True
        return False if facts["visible"] > 0.92 else None

    seen, table = ground.seen, ground.on_table
    yield query("hidden", seen, *ground.where(hidden), facts={"visible_below": 0.8})
    yield query("on_floor", seen, *ground.matching(place="floor"), facts={"place": "floor"})
    for kind, value in (("directly_on_table", True), ("not_on_table", False)):
        found = ground.having("touches_table", table, value)
        yield query(kind, table, *found, facts={"attribute": "touches_table"})


def _overlap(a: dict, b: dict) -> float:
    """Share of the smaller footprint box that two things have in common."""
    common = 1.0
    for k in (0, 1):
        reach = (a["size"][k] + b["size"][k]) / 2 - abs(a["position"][k] - b["position"][k])
        common *= max(0.0, reach) / min(a["size"][k], b["size"][k])
    return min(common, 1.0)


def _is_under(other: dict, thing: dict) -> bool | None:
    """Whether another thing is underneath a thing; None where that can be argued about."""
    over = _overlap(thing, other)
    if over < 0.05 or other["low"] > thing["low"]:
        return False
    carries = other["id"] in thing["supported_by"] or other["high"] < thing["high"] - 0.02
    return True if over > 0.3 and other["low"] < thing["low"] - 0.01 and carries else None


def _stacks(ground: Ground) -> Iterator[Query]:
    things = ground.things
    for n in ground.on_table:
        thing, others = things[n], [m for m in ground.on_table if m != n]
        below = {
            m: _is_under(things[m], thing)
            for m in [*others, *ground.glimpsed]
            if things[m]["place"] != "floor" and m not in thing["contains"]
        }
        yes = [m for m, value in below.items() if value and m in ground.seen]
        ignore = [m for m, value in below.items() if value is None or (value and m not in ground.seen)]
        if thing["inside"] is None and (yes or thing["attributes"]["touches_table"]):
            yield query("under", others, yes, ignore, x=n, facts={"of": n})
        stack = ground.stack_of(n)
        if len(stack) < 3 or any(m not in ground.seen for m in stack):
            continue
        facts = {"stack": stack}
        top, bottom = max(stack, key=lambda m: things[m]["high"]), stack[0]
        highs = sorted((things[m]["high"] for m in stack), reverse=True)
        lows = sorted(things[m]["low"] for m in stack)
        for kind, end, margin in (
            ("top_of_stack", top, highs[0] - highs[1]),
            ("bottom_of_stack", bottom, lows[1] - lows[0]),
        ):
            if margin > 0.008 and n != end:
                yield query(kind, stack, [end], x=n, margin=round(margin, 4), facts=facts)
        rest = [m for m in stack if m != n]
        above = [m for m in rest if things[m]["low"] > thing["high"] - 0.012]
        if all(m in above or things[m]["low"] < thing["low"] + 0.002 for m in rest):
            yield query("above", rest, above, x=n, facts=facts)


def _handles(ground: Ground) -> Iterator[Query]:
    """Object-centred: the half-plane that a handle points into."""
    for n in ground.on_table:
        heading = ground.things[n].get("handle_towards")
        part = next((p["id"] for p in ground.things[n]["parts"] if p["name"] == "handle"), 0)
        if heading is None or ground.part_pixels.get(part, 0) < 6:
            continue
        place = np.array(ground.things[n]["position"][:2])
        pool = [m for m in ground.on_table if m != n]
        values: dict[int, bool | None] = {}
        for m in pool:
            offset = np.array(ground.things[m]["position"][:2]) - place
            length = float(np.linalg.norm(offset))
            cosine = float(offset @ heading) / max(length, 1e-6)
            values[m] = None if length < 0.06 or 0.35 < cosine < 0.75 else cosine >= 0.75
        yes, unsure = _sorted_out(values, pool)
        facts = {"of": n, "heading": heading}
        yield query("handle_side", pool, yes, unsure + ground.glimpsed, x=n, facts=facts)
