"""A table being laid: things are put down without overlap, and where they stand is remembered."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from askmask.world.appearance import COLOURS, shade
from askmask.world.assets import ASSETS
from askmask.world.scene import Table, Thing, extent, shape_of
from askmask.world.shapes import Vector, about_x, about_y, about_z, multiply

ON_TABLE = tuple(name for name, asset in ASSETS.items() if "floor" not in asset.traits)
SCATTER = np.array([ASSETS[name].scatter for name in ON_TABLE])
SCATTER /= sum(SCATTER)
Place = tuple[float, float]  # x, y


class Stage:
    """The table, what stands on it, and the random stream all is drawn from.

    `critical` says which scene of a counterfactual pair is laid: the one in which the deciding values are close
    to where things fall.
    """

    def __init__(self, rng: np.random.Generator, critical: bool):
        self.rng, self.critical = rng, critical
        self.table = Table(
            half=(self.between(0.32, 0.48), self.between(0.25, 0.35)),
            thick=self.between(0.02, 0.04),
            heading=self.between(-0.5, 0.5),
        )
        self.things: list[Thing] = []
        self.taken: list[tuple[float, float, float]] = []  # x, y, radius of what stands on the table
        self.palette = list(rng.permutation(list(COLOURS))[: int(rng.integers(4, 9))])

    # -- drawing --------------------------------------------------------------------------------------------

    def between(self, low: float, high: float) -> float:
        """Draw a number."""
        return float(self.rng.uniform(low, high))

    def heading(self) -> float:
        """Draw any direction, in radians."""
        return self.between(-np.pi, np.pi)

    def pick(self, names: Sequence[str]) -> str:
        """Draw a name; one that stands there twice comes twice as often."""
        return str(self.rng.choice(names))

    def chance(self, share: float) -> bool:
        """True in that share of cases."""
        return bool(self.rng.random() < share)

    def form(self) -> int:
        """Draw the seed of a shape."""
        return int(self.rng.integers(1 << 31))

    def either(self, calm: float, critical: float) -> float:
        """Return one of two values: the scenes of a counterfactual pair get different ones."""
        return critical if self.critical else calm

    def pose_for(self, category: str) -> str:
        """Draw a pose that a category is put down in."""
        return self.pick(ASSETS[category].poses)

    def sized(self, category: str) -> tuple[int, float]:
        """Draw a form and return it with its horizontal radius."""
        form = self.form()
        w, d, _ = shape_of(category, form).size
        return form, float(np.hypot(w, d) / 2 if w > 1.15 * d or category == "book" else max(w, d) / 2)

    # -- placing --------------------------------------------------------------------------------------------

    def put(
        self,
        category: str,
        x: float,
        y: float,
        low: float = 0.0,
        *,
        pose: str = "upright",
        turn: Vector | None = None,
        form: int | None = None,
        place: str = "table",
    ) -> float:
        """Put a thing with its lowest point just above height `low`; return the height of its top."""
        rng, asset = self.rng, ASSETS[category]
        form = self.form() if form is None else form
        turn = pose_turn(pose, rng) if turn is None else turn
        allowed = asset.colours
        colour = self.pick([c for c in self.palette if not allowed or c in allowed] or allowed)
        least, most = extent(shape_of(category, form), turn)
        thing = Thing(
            category=category,
            form=form,
            colour=colour,
            rgb=shade(colour, rng),
            accent=shade(self.pick(list(COLOURS)), rng),
            material=self.pick(asset.materials),
            pose=pose,
            at=(round(float(x), 5), round(float(y), 5), round(float(low - least[2] + 0.0015), 5)),
            turn=tuple(round(v, 7) for v in turn),
            place=place,
        )
        self.things.append(thing)
        return low + float(most[2] - least[2]) + 0.0015

    def spot(self, radius: float) -> Place | None:
        """Find a free spot for a disc on the table and take it; None if none was found."""
        tries = np.random.default_rng(self.form())  # how many it takes must not show in later draws
        reach = [max(h - radius - 0.01, 0.0) for h in self.table.half]
        for _ in range(30):
            x, y = self.table.world(tries.uniform(-1, 1) * reach[0], tries.uniform(-1, 1) * reach[1])
            if self.take(x, y, radius, gap=0.012):
                return x, y
        return None

    def take(self, x: float, y: float, radius: float, gap: float = 0.0) -> bool:
        """Take a disc for a thing; False if another is in the way."""
        free = all(np.hypot(x - a, y - b) > radius + r + gap for a, b, r in self.taken)
        if free:
            self.taken.append((x, y, radius))
        return free

    def scatter(self, category: str | None = None) -> None:
        """Put one thing on a free spot, if there is one."""
        category = str(self.rng.choice(ON_TABLE, p=SCATTER)) if category is None else category
        pose = self.pose_for(category)
        form, radius = self.sized(category)
        if pose == "lying":
            radius = shape_of(category, form).size[2] / 2 + 0.02
        if ASSETS[category].off_centre:
            radius = shape_of(category, form).size[0] * 0.62
        if at := self.spot(radius):
            self.put(category, *at, form=form, pose=pose)


def along(at: Place, heading: float, distance: float) -> Place:
    """Return the place at a distance from another, in a direction."""
    return at[0] + distance * float(np.cos(heading)), at[1] + distance * float(np.sin(heading))


def pose_turn(pose: str, rng: np.random.Generator) -> Vector:
    """Return the quaternion that brings an upright thing into a pose, with a random heading."""
    heading = about_z(float(rng.uniform(-np.pi, np.pi)))
    if pose == "lying":
        return multiply(heading, multiply(about_y(np.pi / 2), about_z(float(rng.uniform(-np.pi, np.pi)))))
    return multiply(heading, about_x(np.pi)) if pose == "upside_down" else heading
