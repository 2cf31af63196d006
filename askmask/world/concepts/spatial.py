"""Spatial: sides and order as the viewer sees them, distance, support, stacks, visibility."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np

from askmask.world.ground import Ground, Query
from askmask.world.phrases import ORDINALS

SIDE = (0.045, 0.075)  # widths of the picture: nearer is no side at all, farther surely is
DEEP = (0.03, 0.06)  # metres along the ground
CLOSE = (0.05, 0.09)  # metres between boxes: surely close, surely not


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


def _sides(ground: Ground) -> Iterator[Query]:
    directions: tuple[tuple[str, Callable[[int, int], float], tuple[float, float]], ...] = (
        ("left_of", lambda m, n: ground.x(n) - ground.x(m), SIDE),
        ("right_of", lambda m, n: ground.x(m) - ground.x(n), SIDE),
        ("front_of", lambda m, n: ground.far(n) - ground.far(m), DEEP),
        ("behind", lambda m, n: ground.far(m) - ground.far(n), DEEP),
    )
    for n in ground.on_table:
        if ground.view[n]["cut"]:
            continue
        pool = [m for m in ground.on_table if m != n]
        for kind, distance, limits in directions:
            if any(m in ground.glimpsed and ground.things[m]["place"] == "table" for m in ground.glimpsed):
                continue
            values = {m: _beyond(distance(m, n), limits) for m in pool}
            yes = [m for m in pool if values[m]]
            ignore = [m for m in pool if values[m] is None]
            floor = [m for m in ground.seen if ground.things[m]["place"] == "floor"]
            yield Query(
                concept="spatial",
                family="viewer",
                kind=kind,
                satisfying=yes,
                candidates=pool,
                slots={"x": n},
                ignore=ignore + floor,
                margin=limits[1],
                facts={"of": n},
            )


def _extremes(ground: Ground) -> Iterator[Query]:
    pool = ground.on_table
    if len(pool) < 3 or ground.glimpsed:
        return
    orders = (
        ("leftmost", ground.x, 1, 0.04),
        ("rightmost", ground.x, -1, 0.04),
        ("nearest", ground.far, 1, 0.04),
        ("farthest", ground.far, -1, 0.04),
    )
    for kind, measure, sign, gap in orders:
        ranked = sorted(pool, key=measure, reverse=sign < 0)
        margin = abs(measure(ranked[1]) - measure(ranked[0]))
        if margin > gap:
            yield Query(
                concept="spatial",
                family="order",
                kind=kind,
                satisfying=ranked[:1],
                candidates=pool,
                margin=round(margin, 3),
                facts={"order": ranked},
            )
    ranked = sorted(ground.seen, key=ground.x)
    gaps = np.diff([ground.x(n) for n in ranked])
    for k in range(1, min(4, len(ranked) - 1)):
        if gaps[:k].min(initial=1) > 0.03 and gaps[k] > 0.03:
            yield Query(
                concept="spatial",
                family="counting",
                kind="nth_left",
                satisfying=[ranked[k]],
                candidates=ranked,
                slots={"k": ORDINALS[k]},
                margin=round(float(gaps[: k + 1].min()), 3),
                facts={"order": ranked},
            )
        back = ranked[::-1]
        if gaps[::-1][:k].min(initial=1) > 0.03 and gaps[::-1][k] > 0.03:
            yield Query(
                concept="spatial",
                family="counting",
                kind="nth_right",
                satisfying=[back[k]],
                candidates=ranked,
                slots={"k": ORDINALS[k]},
                margin=round(float(gaps[::-1][: k + 1].min()), 3),
                facts={"order": back},
            )


def gap_between(ground: Ground, m: int, n: int) -> float:
    """Metres between the boxes of two things."""
    a, b = ground.things[m], ground.things[n]
    sides = zip(a["position"], b["position"], a["size"], b["size"], strict=True)
    return math.hypot(*(max(abs(p - q) - (s + t) / 2, 0.0) for p, q, s, t in sides))


def _distance(ground: Ground) -> Iterator[Query]:
    for n in ground.on_table:
        pool = [m for m in ground.on_table if m != n]
        gaps = {m: gap_between(ground, m, n) for m in [*pool, *(g for g in ground.glimpsed)]}
        if len(pool) < 2:
            continue
        yes = [m for m in pool if gaps[m] < CLOSE[0]]
        ignore = [m for m in pool if CLOSE[0] <= gaps[m] <= CLOSE[1]] + [
            m for m in ground.glimpsed if gaps[m] < CLOSE[1]
        ]
        yield Query(
            concept="spatial",
            family="metric",
            kind="near",
            satisfying=yes,
            candidates=pool,
            slots={"x": n},
            ignore=ignore,
            facts={"of": n, "within_m": CLOSE[0]},
        )
        middle = {
            m: math.dist(ground.things[m]["position"], ground.things[n]["position"])
            for m in [*pool, *ground.glimpsed]
        }
        ranked = sorted(middle, key=middle.__getitem__)
        if (
            ranked[0] in pool
            and middle[ranked[1]] > 1.25 * middle[ranked[0]]
            and gaps[ranked[0]] <= min(gaps[m] for m in ranked)
        ):
            yield Query(
                concept="spatial",
                family="metric",
                kind="nearest_to",
                satisfying=ranked[:1],
                candidates=pool,
                slots={"x": n},
                margin=round(middle[ranked[1]] / middle[ranked[0]] - 1, 3),
                facts={"of": n},
            )


def _places(ground: Ground) -> Iterator[Query]:
    def hidden(thing: dict) -> bool | None:
        facts = ground.view[thing["id"]]
        if facts["cut"]:
            return None
        return (
            True
            if facts["visible"] < 0.8 and facts["hidden_by"]
            else False
            if facts["visible"] > 0.92
            else None
        )

    yes, ignore = ground.where(hidden)
    yield Query(
        concept="spatial",
        family="visibility",
        kind="hidden",
        satisfying=yes,
        candidates=ground.seen,
        ignore=ignore,
        facts={"visible_below": 0.8},
    )
    yes, ignore = ground.where(lambda t: t["place"] == "floor")
    yield Query(
        concept="spatial",
        family="place",
        kind="on_floor",
        satisfying=yes,
        candidates=ground.seen,
        ignore=ignore,
        facts={"place": "floor"},
    )
    yes, ignore = ground.having("touches_table", ground.on_table)
    yield Query(
        concept="spatial",
        family="support",
        kind="directly_on_table",
        satisfying=yes,
        candidates=ground.on_table,
        ignore=ignore,
        facts={"attribute": "touches_table"},
    )
    yes, ignore = ground.having("touches_table", ground.on_table, value=False)
    yield Query(
        concept="spatial",
        family="support",
        kind="not_on_table",
        satisfying=yes,
        candidates=ground.on_table,
        ignore=ignore,
        facts={"attribute": "touches_table"},
    )


def _overlap(a: dict, b: dict) -> float:
    """Share of the smaller footprint box that two things have in common."""
    common = 1.0
    for k in (0, 1):
        reach = (a["size"][k] + b["size"][k]) / 2 - abs(a["position"][k] - b["position"][k])
        common *= max(0.0, reach) / min(a["size"][k], b["size"][k])
    return min(common, 1.0)


def _stacks(ground: Ground) -> Iterator[Query]:
    for n in ground.on_table:
        stack, thing = ground.stack_of(n), ground.things[n]
        below = {}
        for m in [*ground.on_table, *ground.glimpsed]:
            other = ground.things[m]
            if m == n or other["place"] == "floor" or m in thing["contains"]:
                continue
            over = _overlap(thing, other)
            under = other["low"] < thing["low"] - 0.01 and (
                m in thing["supported_by"] or other["high"] < thing["high"] - 0.02
            )
            below[m] = (
                False
                if over < 0.05 or other["low"] > thing["low"]
                else True
                if over > 0.3 and under
                else None
            )
        yes = [m for m, value in below.items() if value and m in ground.seen]
        ignore = [m for m, value in below.items() if value is None or (value and m not in ground.seen)]
        if thing["inside"] is None and (yes or thing["attributes"]["touches_table"]):
            yield Query(
                concept="spatial",
                family="topological",
                kind="under",
                satisfying=yes,
                candidates=[m for m in ground.on_table if m != n],
                slots={"x": n},
                ignore=ignore,
                facts={"of": n},
            )
        if len(stack) < 3 or any(m not in ground.seen for m in stack):
            continue
        top, bottom = max(stack, key=lambda k: ground.things[k]["high"]), stack[0]
        heights = sorted((ground.things[k]["high"] for k in stack), reverse=True)
        lows = sorted(ground.things[k]["low"] for k in stack)
        if heights[0] - heights[1] > 0.008 and n != top:
            yield Query(
                concept="spatial",
                family="topological",
                kind="top_of_stack",
                satisfying=[top],
                candidates=stack,
                slots={"x": n},
                facts={"stack": stack},
                margin=round(heights[0] - heights[1], 4),
            )
        if lows[1] - lows[0] > 0.008 and n != bottom:
            yield Query(
                concept="spatial",
                family="topological",
                kind="bottom_of_stack",
                satisfying=[bottom],
                candidates=stack,
                slots={"x": n},
                facts={"stack": stack},
                margin=round(lows[1] - lows[0], 4),
            )
        above = [k for k in stack if k != n and ground.things[k]["low"] > thing["high"] - 0.012]
        if all(k in above or ground.things[k]["low"] < thing["low"] + 0.002 for k in stack if k != n):
            yield Query(
                concept="spatial",
                family="topological",
                kind="above",
                satisfying=above,
                candidates=[k for k in stack if k != n],
                slots={"x": n},
                facts={"stack": stack},
            )


def _handles(ground: Ground) -> Iterator[Query]:
    """Object-centred: the half-plane that a handle points into."""
    for n in ground.on_table:
        heading = ground.things[n].get("handle_towards")
        part = next((p["id"] for p in ground.things[n]["parts"] if p["name"] == "handle"), 0)
        if heading is None or ground.part_pixels.get(part, 0) < 6:
            continue
        place = np.array(ground.things[n]["position"][:2])
        values = {}
        for m in ground.on_table:
            offset = np.array(ground.things[m]["position"][:2]) - place
            length = float(np.linalg.norm(offset))
            cosine = float(offset @ heading) / max(length, 1e-6)
            values[m] = None if length < 0.06 or 0.35 < cosine < 0.75 else cosine >= 0.75
        pool = [m for m in ground.on_table if m != n]
        yes = [m for m in pool if values[m]]
        yield Query(
            concept="spatial",
            family="object_centred",
            kind="handle_side",
            satisfying=yes,
            candidates=pool,
            slots={"x": n},
            ignore=[m for m in pool if values[m] is None] + ground.glimpsed,
            facts={"of": n, "heading": heading},
        )
