"""Where things are put: towers, piles, bridges, pyramids, counterweights, nests, edges, settings, scatter.

A layout only proposes; physics disposes. Values drawn for the two sides of a counterfactual pair come from
the same random stream, so that twins look the same but for the few centimetres that decide.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from askmask.world.objects import CATEGORIES
from askmask.world.room import room_of
from askmask.world.scene import FLOOR, Scene, shape_of
from askmask.world.shapes import UPRIGHT, about_y, about_z, multiply
from askmask.world.stage import ON_TABLE, Stage

PAIRED = 0.16  # share of even seeds whose odd neighbour is a twin
SMALL = tuple(name for name, c in CATEGORIES.items() if c.traits & {"small", "round"})
BLOCKS = ("box", "box", "book", "board", "can")


def tower(stage: Stage) -> None:
    """Blocks on one another, each a little off; the critical twin steps farther."""
    rng = stage.rng
    at = stage.spot(0.13)
    if at is None:
        return
    heading, low = rng.uniform(-0.6, 0.6), 0.0
    (x, y), count = at, int(rng.integers(2, 5))
    for k in range(count):
        category = str(rng.choice(BLOCKS))
        turn = about_z(float(heading + rng.uniform(-0.25, 0.25)))
        low = stage.put(category, x, y, low, turn=turn)
        step = stage.either(float(rng.uniform(0, 0.012)), float(rng.uniform(0.02, 0.034)))
        way = rng.uniform(-np.pi, np.pi)
        if k < count - 1:
            x, y = stage.along(x, y, way, step)
    if rng.random() < 0.6:
        category = str(rng.choice((*SMALL, "book", "bowl")))
        stage.put(category, x, y, low, pose=str(rng.choice(CATEGORIES[category].poses)))


def pile(stage: Stage) -> None:
    """Books on one another, turned and shifted."""
    rng = stage.rng
    at = stage.spot(0.16)
    if at is None:
        return
    low, heading = 0.0, rng.uniform(-np.pi, np.pi)
    spread = stage.either(0.012, 0.028)
    for _ in range(int(rng.integers(2, 6))):
        dx, dy, turn = rng.uniform(-1, 1) * spread, rng.uniform(-1, 1) * spread, rng.uniform(-0.5, 0.5)
        low = stage.put("book", at[0] + dx, at[1] + dy, low, turn=about_z(float(heading + turn)))
    if rng.random() < 0.45:
        category = str(rng.choice((*SMALL, "plate", "bowl", "teapot")))
        stage.put(category, *at, low, pose=str(rng.choice(CATEGORIES[category].poses)))


def bridge(stage: Stage) -> None:
    """A shelf, or a plank over two or three blocks, with things on and under it."""
    rng = stage.rng
    at = stage.spot(0.2)
    if at is None:
        return
    heading = float(rng.uniform(-0.4, 0.4))
    if rng.random() < 0.45:  # a shelf, with things on and perhaps under it
        top = stage.put("shelf", *at, turn=about_z(heading))
        if rng.random() < 0.6:
            stage.put(
                str(rng.choice(["apple", "ball", "candle", "jar"])),
                *at,
                0.0,
                pose="lying" if rng.random() < 0.3 else "upright",
            )
    else:  # a plank over two blocks
        form = int(rng.integers(1 << 31))
        span = float(rng.uniform(0.1, 0.125))
        for sign in (1, -1):
            low = stage.put("box", *stage.along(*at, heading, sign * span), form=form, turn=about_z(heading))
        if rng.random() < 0.45:  # a third support: any one of the outer two can go, or the middle one
            stage.put(
                "box",
                *stage.along(*at, heading, float(rng.uniform(-0.03, 0.03))),
                form=form,
                turn=about_z(heading),
            )
        top = stage.put("plank", *at, low, turn=about_z(heading))
        if len(stage.things) < 4 and rng.random() < 0.3:
            stage.put("apple", *at, 0.0)
    for _ in range(int(rng.integers(0, 3))):
        category = str(rng.choice((*SMALL, "box")))
        side = float(rng.uniform(-0.08, 0.08))
        stage.put(category, *stage.along(*at, heading, side), top)
        top += 0.0
        break


def pyramid(stage: Stage) -> None:
    """Rows of equal blocks; the critical twin has gaps that the upper ones barely span."""
    rng = stage.rng
    at = stage.spot(0.2)
    if at is None:
        return
    heading, form = float(rng.uniform(-0.5, 0.5)), int(rng.integers(1 << 31))
    wide, _, tall = shape_of("box", form).size
    base = int(rng.integers(2, 4))
    gap = wide * stage.either(1.06, 1.3)
    low = 0.0
    for row in range(base, 0, -1):
        if row < base and rng.random() < 0.2:
            break
        for k in range(row):
            offset = (k - (row - 1) / 2) * gap
            stage.put("box", *stage.along(*at, heading, offset), low, form=form, turn=about_z(heading))
        low += tall + 0.002
    if rng.random() < 0.25:
        stage.put(str(rng.choice(SMALL)), *at, low)


def counterweight(stage: Stage) -> None:
    """A plank out over its foot, held by what stands on its inner end."""
    rng = stage.rng
    at = stage.spot(0.2)
    if at is None:
        return
    heading = float(rng.uniform(-np.pi, np.pi))
    foot = int(rng.integers(1 << 31))
    top = stage.put("box", *at, form=foot, turn=about_z(heading))
    form = int(rng.integers(1 << 31))
    half = shape_of("plank", form).size[0] / 2
    wide = shape_of("box", foot).size[0] / 2
    # The plank alone would stay while its middle is over the foot; beyond that only the weight holds it.
    shift = float(stage.either(wide * rng.uniform(0.1, 0.6), wide + rng.uniform(0.006, 0.02)))
    top = stage.put("plank", *stage.along(*at, heading, shift), top, form=form, turn=about_z(heading))
    inner = min(half - shift, wide)
    stage.put(
        str(rng.choice(["box", "jar", "can", "bottle", "teapot"])),
        *stage.along(*at, heading, -inner * 0.55),
        top,
    )
    if rng.random() < 0.3:
        stage.put("apple", *stage.along(*at, heading, wide + 0.05), 0.0)


def nested(stage: Stage) -> None:
    """A vessel with things in it."""
    rng = stage.rng
    holder = str(rng.choice(["bowl", "crate", "pot", "crate", "pan", "bowl"]))
    at = stage.spot(0.13)
    if at is None:
        return
    form = _open_form(stage, holder)
    shape = shape_of(holder, form)
    stage.put(holder, *at, form=form, pose="upright")
    inside = shape.interior
    if inside is None:
        return
    choices = {
        "bowl": ["apple", "ball", "bowl"],
        "pot": ["apple", "ball", "spoon"],
        "pan": ["apple", "ball", "box"],
    }
    for k in range(int(rng.integers(0 if holder == "bowl" else 1, 3))):
        category = str(
            rng.choice(choices.get(holder, ["apple", "ball", "can", "jar", "mug", "box", "candle"]))
        )
        away = 0.0 if k == 0 else 0.03
        way = float(rng.uniform(-np.pi, np.pi))
        low = inside.floor + 0.002 + (0.07 if k else 0.0)
        if category == "bowl":
            low = inside.rim * 0.75
        if category == "spoon":
            stage.put(category, *at, inside.rim + 0.01, turn=multiply(about_z(way), about_y(0.6)))
        else:
            stage.put(category, *stage.along(*at, way, away), low, pose="upright")


def _open_form(stage: Stage, category: str) -> int:
    for _ in range(20):
        form = int(stage.rng.integers(1 << 31))
        if not shape_of(category, form).lidded:
            break
    return form


def setting(stage: Stage) -> None:
    """Things that belong together: a pot on a trivet, a knife on a board, a laden tray."""
    rng = stage.rng
    base = str(rng.choice(("plate", "board", "tray", "trivet", "hotplate", "cushion", "cloth", "tray")))
    form, radius = stage.form_of(base)
    at = stage.spot(radius)
    if at is None:
        return
    heading = about_z(float(rng.uniform(-0.5, 0.5)))
    shape = shape_of(base, form)
    top = stage.put(base, *at, form=form, turn=heading)
    if base == "tray":
        top = 0.009
        for sign in (1, -1):
            if rng.random() < 0.75:
                category = str(
                    rng.choice(["mug", "glass", "apple", "bowl", "jar", "teapot", "can", "candle"])
                )
                stage.put(category, at[0] + sign * shape.size[0] * 0.23, at[1], top)
        return
    if base == "plate":
        top = 0.007
    choices = {
        "plate": ("apple", "knife", "spoon", "bowl", "mug", "glass"),
        "board": ("knife", "apple", "bowl", "spoon"),
        "trivet": ("pot", "pan", "teapot", "bowl"),
        "hotplate": ("pot", "pan", "teapot"),
        "cushion": ("book", "ball", "box", "plate"),
        "cloth": ("plate", "bowl", "mug", "spoon", "teapot", "box"),
    }[base]
    if rng.random() < 0.7:
        stage.put(str(rng.choice(choices)), *at, top, pose="upright")


def near_edge(stage: Stage) -> None:
    """One to three things at the rim of the table; flat ones may stand out over it."""
    table = stage.table
    for start in stage.rng.integers(1 << 31, size=int(stage.rng.integers(1, 4))):
        rng = stage.rng = np.random.default_rng(int(start))
        category = str(rng.choice(ON_TABLE))
        form, radius = stage.form_of(category)
        w, d, _tall = shape_of(category, form).size
        flat = bool(CATEGORIES[category].traits & {"flat", "stackable", "beam"})
        small = min(w, d) / 2
        inward = small * stage.either(
            float(rng.uniform(1.05, 1.5)), float(rng.uniform(0.35, 0.7) if flat else 1.15)
        )
        front = rng.random() < 0.6
        u = float(rng.uniform(-0.8, 0.8)) * table.half[0]
        v = -(table.half[1] - inward) if front else float(rng.choice([-1, 1])) * 0.5 * table.half[1]
        if not front:
            u = float(np.sign(u) or 1) * (table.half[0] - inward)
        c, s = np.cos(table.heading), np.sin(table.heading)
        x, y = float(c * u - s * v), float(s * u + c * v)
        if any(np.hypot(x - a, y - b) < radius + r for a, b, r in stage.taken):
            continue
        stage.taken.append((x, y, radius))
        turn = about_z(table.heading + (0.0 if front == (w >= d) else np.pi / 2))
        stage.put(category, x, y, form=form, turn=turn, pose="upright")


def leaning(stage: Stage) -> None:
    """A plank, board or book propped against a heavy thing, which then holds it without being under it."""
    rng = stage.rng
    at = stage.spot(0.17)
    if at is None:
        return
    heading = float(rng.uniform(-np.pi, np.pi))
    prop = str(rng.choice(["box", "pot", "crate", "teapot", "box"]))
    form = int(rng.integers(1 << 31))
    wide, _, tall = shape_of(prop, form).size
    stage.put(prop, *at, form=form, turn=about_z(heading), pose="upright")
    category = str(rng.choice(["plank", "board", "book", "tray"]))
    leaner = int(rng.integers(1 << 31))
    half = shape_of(category, leaner).size[0] / 2
    lean = float(np.arcsin(min(0.95, tall / (2 * half)))) if tall < 2 * half else float(rng.uniform(1.1, 1.3))
    lean = min(max(lean, 0.6), 1.3)
    away = wide / 2 + 0.004 + half * float(np.cos(lean))
    turn = multiply(about_z(heading), about_y(lean))
    stage.put(category, *stage.along(*at, heading, away), form=leaner, turn=turn, pose="tilted")


def scattered(stage: Stage) -> None:
    """Single things."""
    for _ in range(3):
        stage.scatter()


LAYOUTS: dict[str, Callable[[Stage], None]] = {
    "tower": tower,
    "pile": pile,
    "bridge": bridge,
    "pyramid": pyramid,
    "counterweight": counterweight,
    "nested": nested,
    "setting": setting,
    "near_edge": near_edge,
    "leaning": leaning,
    "scattered": scattered,
}
WEIGHTS = (0.13, 0.09, 0.12, 0.08, 0.12, 0.13, 0.12, 0.09, 0.07, 0.05)


def sample_scene(seed: int, attempt: int = 0) -> Scene:
    """Sample the Scene of a seed. `attempt` counts proposals that physics refused (resting_worlds)."""
    twin_of = None
    even = seed - seed % 2
    if np.random.default_rng([1, even]).random() < PAIRED:
        twin_of = even + 1 - seed % 2
    source = even if twin_of is not None else seed
    rng = np.random.default_rng([2, source, attempt])
    twin = bool(rng.random() < 0.4)
    stage = Stage(rng, (seed % 2 == 1) if twin_of is not None else twin)
    names = list(LAYOUTS)
    layout = str(rng.choice(names, p=WEIGHTS))
    if twin_of is not None:
        layout = ("counterweight", "tower", "pyramid", "near_edge")[int(rng.integers(4))]
    LAYOUTS[layout](stage)
    if rng.random() < 0.45:
        LAYOUTS[str(rng.choice(names, p=WEIGHTS))](stage)
    rng = stage.rng = np.random.default_rng([6, source, attempt])
    target = int(rng.integers(4, 10))
    for _ in range(8):
        if len(stage.things) >= target:
            break
        if stage.things and rng.random() < 0.3:  # "the other one": same kind, other colour
            stage.scatter(stage.things[int(rng.integers(len(stage.things)))].category)
        else:
            stage.scatter()
    stage.things = stage.things[:11]
    # A stream of its own: twins may have used up different numbers of draws, and must still look the same.
    stage.rng = np.random.default_rng([5, source, attempt])
    if stage.rng.random() < 0.25:
        _floor_thing(stage)
    return Scene(
        seed=seed,
        layout=layout,
        table=stage.table,
        things=tuple(stage.things),
        pair=twin_of,
        **room_of(stage.rng, stage.things),
    )


def _floor_thing(stage: Stage) -> None:
    rng = stage.rng
    category = str(rng.choice(["stool", "bucket", "box", "ball", "cushion", "crate"]))
    side = float(rng.choice([-1, 1]))
    x = side * (stage.table.half[0] + float(rng.uniform(0.2, 0.38)))
    y = float(rng.uniform(-0.1, 0.45))
    stage.put(category, x, y, FLOOR, turn=UPRIGHT if category == "ball" else None, place="floor")
