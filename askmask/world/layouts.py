"""Where things are put: towers, piles, bridges, pyramids, counterweights, nests, edges and more.

A layout only proposes; physics disposes. The values that decide are drawn for both scenes of a counterfactual pair
from the same random stream, so that the two look the same but for a few centimetres.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from askmask.world.assets import ASSETS
from askmask.world.room import room_of
from askmask.world.scene import FLOOR, Scene, shape_of
from askmask.world.shapes import UPRIGHT, about_y, about_z, multiply
from askmask.world.stage import ON_TABLE, Place, Stage, along

PAIRED = 0.16  # share of even seeds whose odd neighbour is the other scene of a counterfactual pair
IN_PAIRS = ("counterweight", "tower", "pyramid", "near_edge")
SMALL = tuple(name for name, asset in ASSETS.items() if asset.traits & {"small", "round"})
BLOCKS = ("box", "box", "book", "board", "can")
INSIDE = {  # a vessel: what lies in it
    "bowl": ("apple", "ball", "bowl"),
    "pot": ("apple", "ball", "spoon"),
    "pan": ("apple", "ball", "box"),
    "crate": ("apple", "ball", "can", "jar", "mug", "box", "candle"),
}
UPON = {  # a base: what belongs on it
    "plate": ("apple", "knife", "spoon", "bowl", "mug", "glass"),
    "board": ("knife", "apple", "bowl", "spoon"),
    "tray": ("mug", "glass", "apple", "bowl", "jar", "teapot", "can", "candle"),
    "trivet": ("pot", "pan", "teapot", "bowl"),
    "hotplate": ("pot", "pan", "teapot"),
    "cushion": ("book", "ball", "box", "plate"),
    "cloth": ("plate", "bowl", "mug", "spoon", "teapot", "box"),
}
LAYOUTS: dict[str, Callable[[Stage], None]] = {}
WEIGHTS: list[float] = []  # in the order of LAYOUTS


def layout(weight: float, radius: float | None = None) -> Callable[[Callable[..., None]], Any]:
    """Register a layout by its function's name; with a radius it is called with a free spot of that size."""

    def register(lay: Callable[..., None]) -> Callable[..., None]:
        def on_spot(stage: Stage) -> None:
            if at := stage.spot(radius or 0.0):
                lay(stage, at)

        LAYOUTS[lay.__name__] = lay if radius is None else on_spot
        WEIGHTS.append(weight)
        return lay

    return register


@layout(0.13, 0.13)
def tower(stage: Stage, at: Place) -> None:
    """Blocks on one another, each a little off; the critical scene steps farther."""
    heading, low = stage.between(-0.6, 0.6), 0.0
    count = int(stage.rng.integers(2, 5))
    for k in range(count):
        category = stage.pick(BLOCKS)
        low = stage.put(category, *at, low, turn=about_z(heading + stage.between(-0.25, 0.25)))
        step = stage.either(stage.between(0, 0.012), stage.between(0.02, 0.034))
        way = stage.heading()
        if k < count - 1:
            at = along(at, way, step)
    _crown(stage, at, low, 0.6, ("book", "bowl"))


def _crown(stage: Stage, at: Place, low: float, share: float, others: tuple[str, ...]) -> None:
    """Put a small thing on top, in a pose of its own, in a share of cases."""
    if stage.chance(share):
        category = stage.pick((*SMALL, *others))
        stage.put(category, *at, low, pose=stage.pose_for(category))


@layout(0.09, 0.16)
def pile(stage: Stage, at: Place) -> None:
    """Books on one another, turned and shifted."""
    low, heading = 0.0, stage.heading()
    spread = stage.either(0.012, 0.028)
    for _ in range(int(stage.rng.integers(2, 6))):
        dx, dy = stage.between(-1, 1) * spread, stage.between(-1, 1) * spread
        turn = about_z(heading + stage.between(-0.5, 0.5))
        low = stage.put("book", at[0] + dx, at[1] + dy, low, turn=turn)
    _crown(stage, at, low, 0.45, ("plate", "bowl", "teapot"))


@layout(0.12, 0.2)
def bridge(stage: Stage, at: Place) -> None:
    """A shelf, or a plank over two or three blocks, with things on and under it."""
    heading = stage.between(-0.4, 0.4)
    turn = about_z(heading)
    if stage.chance(0.45):
        top = stage.put("shelf", *at, turn=turn)
        if stage.chance(0.6):
            under = stage.pick(("apple", "ball", "candle", "jar"))
            stage.put(under, *at, pose="lying" if stage.chance(0.3) else "upright")
    else:
        form, span = stage.form(), stage.between(0.1, 0.125)
        for sign in (1, -1):
            low = stage.put("box", *along(at, heading, sign * span), form=form, turn=turn)
        if stage.chance(0.45):  # a third support: any one of the outer two can go, or the middle one
            stage.put("box", *along(at, heading, stage.between(-0.03, 0.03)), form=form, turn=turn)
        top = stage.put("plank", *at, low, turn=turn)
        if len(stage.things) < 4 and stage.chance(0.3):
            stage.put("apple", *at)
    if stage.rng.integers(0, 3):
        category = stage.pick((*SMALL, "box"))
        stage.put(category, *along(at, heading, stage.between(-0.08, 0.08)), top)


@layout(0.08, 0.2)
def pyramid(stage: Stage, at: Place) -> None:
    """Rows of equal blocks; the critical scene has gaps that the upper ones barely span."""
    heading, form = stage.between(-0.5, 0.5), stage.form()
    wide, _, tall = shape_of("box", form).size
    base = int(stage.rng.integers(2, 4))
    gap, low = wide * stage.either(1.06, 1.3), 0.0
    for row in range(base, 0, -1):
        if row < base and stage.chance(0.2):
            break
        for k in range(row):
            where = along(at, heading, (k - (row - 1) / 2) * gap)
            stage.put("box", *where, low, form=form, turn=about_z(heading))
        low += tall + 0.002
    if stage.chance(0.25):
        stage.put(stage.pick(SMALL), *at, low)


@layout(0.12, 0.2)
def counterweight(stage: Stage, at: Place) -> None:
    """A plank out over its foot, held by what stands on its inner end."""
    heading, foot = stage.heading(), stage.form()
    turn = about_z(heading)
    top = stage.put("box", *at, form=foot, turn=turn)
    form = stage.form()
    half, wide = shape_of("plank", form).size[0] / 2, shape_of("box", foot).size[0] / 2
    # The plank alone would stay while its middle is over the foot; beyond that only the weight holds it.
    shift = stage.either(wide * stage.between(0.1, 0.6), wide + stage.between(0.006, 0.02))
    top = stage.put("plank", *along(at, heading, shift), top, form=form, turn=turn)
    inner = min(half - shift, wide)
    weight = stage.pick(("box", "jar", "can", "bottle", "teapot"))
    stage.put(weight, *along(at, heading, -inner * 0.55), top)
    if stage.chance(0.3):
        stage.put("apple", *along(at, heading, wide + 0.05))


@layout(0.13)
def nested(stage: Stage) -> None:
    """A vessel with things in it."""
    holder = stage.pick(("bowl", "crate", "pot", "crate", "pan", "bowl"))
    at = stage.spot(0.13)
    if at is None:
        return
    for _ in range(20):
        form = stage.form()
        if not shape_of(holder, form).lidded:
            break
    stage.put(holder, *at, form=form, pose="upright")
    inside = shape_of(holder, form).interior
    assert inside is not None, f"a {holder} is hollow"
    for k in range(int(stage.rng.integers(0 if holder == "bowl" else 1, 3))):
        category, way = stage.pick(INSIDE[holder]), stage.heading()
        if category == "spoon":
            stage.put(category, *at, inside.rim + 0.01, turn=multiply(about_z(way), about_y(0.6)))
            continue
        low = inside.rim * 0.75 if category == "bowl" else inside.floor + 0.002 + (0.07 if k else 0.0)
        stage.put(category, *along(at, way, 0.03 if k else 0.0), low, pose="upright")


@layout(0.12)
def setting(stage: Stage) -> None:
    """Things that belong together: a pot on a trivet, a knife on a board, a laden tray."""
    base = stage.pick(("plate", "board", "tray", "trivet", "hotplate", "cushion", "cloth", "tray"))
    form, radius = stage.sized(base)
    at = stage.spot(radius)
    if at is None:
        return
    top = stage.put(base, *at, form=form, turn=about_z(stage.between(-0.5, 0.5)))
    if base == "tray":
        for sign in (1, -1):
            if stage.chance(0.75):
                offset = sign * shape_of(base, form).size[0] * 0.23
                stage.put(stage.pick(UPON[base]), at[0] + offset, at[1], 0.009)
    elif stage.chance(0.7):
        stage.put(stage.pick(UPON[base]), *at, 0.007 if base == "plate" else top, pose="upright")


@layout(0.09)
def near_edge(stage: Stage) -> None:
    """One to three things at the rim of the table; flat ones may stand out over it."""
    table = stage.table
    for start in stage.rng.integers(1 << 31, size=int(stage.rng.integers(1, 4))):
        stage.rng = np.random.default_rng(int(start))
        category = stage.pick(ON_TABLE)
        form, radius = stage.sized(category)
        w, d, _tall = shape_of(category, form).size
        flat = ASSETS[category].traits & {"flat", "stackable", "beam"}
        inward = min(w, d) / 2
        inward *= stage.either(stage.between(1.05, 1.5), stage.between(0.35, 0.7) if flat else 1.15)
        front = stage.chance(0.6)
        u = stage.between(-0.8, 0.8) * table.half[0]
        if front:
            v = -(table.half[1] - inward)
        else:
            v = float(stage.rng.choice([-1, 1])) * 0.5 * table.half[1]
            u = float(np.sign(u) or 1) * (table.half[0] - inward)
        x, y = table.world(u, v)
        if stage.take(x, y, radius):
            turn = about_z(table.heading + (0.0 if front == (w >= d) else np.pi / 2))
            stage.put(category, x, y, form=form, turn=turn, pose="upright")


@layout(0.07, 0.17)
def leaning(stage: Stage, at: Place) -> None:
    """A plank, board or book propped against a heavy thing, which then holds it without being under it."""
    heading = stage.heading()
    prop, form = stage.pick(("box", "pot", "crate", "teapot", "box")), stage.form()
    wide, _, tall = shape_of(prop, form).size
    stage.put(prop, *at, form=form, turn=about_z(heading), pose="upright")
    category, leaner = stage.pick(("plank", "board", "book", "tray")), stage.form()
    half = shape_of(category, leaner).size[0] / 2
    lean = float(np.arcsin(min(0.95, tall / (2 * half)))) if tall < 2 * half else stage.between(1.1, 1.3)
    lean = min(max(lean, 0.6), 1.3)
    away = wide / 2 + 0.004 + half * float(np.cos(lean))
    turn = multiply(about_z(heading), about_y(lean))
    stage.put(category, *along(at, heading, away), form=leaner, turn=turn, pose="tilted")


@layout(0.05)
def scattered(stage: Stage) -> None:
    """Single things."""
    for _ in range(3):
        stage.scatter()


def sample_scene(seed: int, attempt: int = 0) -> Scene:
    """Sample the Scene of a seed. `attempt` counts proposals that physics refused (resting_worlds)."""
    even = seed - seed % 2
    pair = even + 1 - seed % 2 if np.random.default_rng([1, even]).random() < PAIRED else None
    source = seed if pair is None else even
    rng = np.random.default_rng([2, source, attempt])
    critical = bool(rng.random() < 0.4)
    stage = Stage(rng, critical if pair is None else seed % 2 == 1)
    names = list(LAYOUTS)
    first = str(rng.choice(names, p=WEIGHTS))
    if pair is not None:
        first = IN_PAIRS[int(rng.integers(4))]
    LAYOUTS[first](stage)
    if rng.random() < 0.45:  # of this stream, not of one that a layout may have put in its place
        LAYOUTS[str(rng.choice(names, p=WEIGHTS))](stage)
    stage.rng = np.random.default_rng([6, source, attempt])
    target = int(stage.rng.integers(4, 10))
    for _ in range(8):
        if len(stage.things) >= target:
            break
        same_kind = stage.things and stage.chance(0.3)  # "the other one": same kind, other colour
        stage.scatter(
            stage.things[int(stage.rng.integers(len(stage.things)))].category if same_kind else None
        )
    stage.things = stage.things[:11]
    # A stream of its own: a pair may have used up different numbers of draws, and must still look the same.
    stage.rng = np.random.default_rng([5, source, attempt])
    if stage.chance(0.25):
        category = stage.pick(("stool", "bucket", "box", "ball", "cushion", "crate"))
        x = float(stage.rng.choice([-1, 1])) * (stage.table.half[0] + stage.between(0.2, 0.38))
        turn = UPRIGHT if category == "ball" else None
        stage.put(category, x, stage.between(-0.1, 0.45), FLOOR, turn=turn, place="floor")
    room = room_of(stage.rng, stage.things)
    return Scene(seed=seed, layout=first, table=stage.table, things=tuple(stage.things), pair=pair, **room)
