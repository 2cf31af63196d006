"""Stage: a table being laid. Puts things down without overlap and remembers what stands where."""

from __future__ import annotations

import numpy as np

from askmask.world.looks import COLOURS, shade
from askmask.world.objects import CATEGORIES, pose_turn
from askmask.world.scene import Table, Thing, extent, shape_of
from askmask.world.shapes import Vector

ON_TABLE = tuple(name for name, c in CATEGORIES.items() if "floor" not in c.traits)
# Scattered less than others, since layouts bring plenty; or more, since they do not.
FEW = {
    "box": 0.4,
    "book": 0.5,
    "shelf": 0.6,
    "plank": 0.5,
    "crate": 0.7,
    "knife": 1.6,
    "mug": 1.5,
    "glass": 1.4,
    "bottle": 1.4,
}
SCATTER = np.array([FEW.get(name, 1.0) for name in ON_TABLE]) / sum(FEW.get(name, 1.0) for name in ON_TABLE)


class Stage:
    """A table being laid: places things without overlap, remembers what stands where."""

    def __init__(self, rng: np.random.Generator, twin: bool):
        self.rng, self.twin = rng, twin
        self.table = Table(
            half=(float(rng.uniform(0.32, 0.48)), float(rng.uniform(0.25, 0.35))),
            thick=float(rng.uniform(0.02, 0.04)),
            heading=float(rng.uniform(-0.5, 0.5)),
        )
        self.things: list[Thing] = []
        self.taken: list[tuple[float, float, float]] = []  # x, y, radius of what stands on the table
        self.palette = list(rng.permutation(list(COLOURS))[: int(rng.integers(4, 9))])

    def either(self, calm: float, critical: float) -> float:
        """Return one of two values: twins of a pair get different ones."""
        return critical if self.twin else calm

    def colour_for(self, category: str) -> str:
        """Draw a colour of the palette that the category may have."""
        allowed = CATEGORIES[category].colours
        choices = [c for c in self.palette if not allowed or c in allowed] or list(allowed)
        return str(self.rng.choice(choices))

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
        colour: str | None = None,
        place: str = "table",
    ) -> float:
        """Put a thing with its lowest point just above height `low`; return the height of its top."""
        rng, kind = self.rng, CATEGORIES[category]
        form = int(rng.integers(1 << 31)) if form is None else form
        turn = pose_turn(pose, rng) if turn is None else turn
        colour = self.colour_for(category) if colour is None else colour
        least, most = extent(shape_of(category, form), turn)
        thing = Thing(
            category=category,
            form=form,
            colour=colour,
            rgb=shade(colour, rng),
            accent=shade(str(rng.choice(list(COLOURS))), rng),
            material=str(rng.choice(kind.materials)),
            pose=pose,
            at=(round(float(x), 5), round(float(y), 5), round(float(low - least[2] + 0.0015), 5)),
            turn=tuple(round(v, 7) for v in turn),
            place=place,
        )
        self.things.append(thing)
        return low + float(most[2] - least[2]) + 0.0015

    def spot(self, radius: float, *, margin: float = 0.01) -> tuple[float, float] | None:
        """Find a free spot for a disc on the table and take it; None if none was found."""
        c, s = np.cos(self.table.heading), np.sin(self.table.heading)
        tries = np.random.default_rng(
            int(self.rng.integers(1 << 31))
        )  # how many it takes must not show elsewhere
        for _ in range(30):
            reach = [max(h - radius - margin, 0.0) for h in self.table.half]
            u, v = tries.uniform(-1, 1) * reach[0], tries.uniform(-1, 1) * reach[1]
            x, y = float(c * u - s * v), float(s * u + c * v)
            if all(np.hypot(x - a, y - b) > radius + r + 0.012 for a, b, r in self.taken):
                self.taken.append((x, y, radius))
                return x, y
        return None

    def form_of(self, category: str) -> tuple[int, float]:
        """Draw a form and return it with its horizontal radius."""
        form = int(self.rng.integers(1 << 31))
        w, d, _ = shape_of(category, form).size
        return form, float(np.hypot(w, d) / 2 if w > 1.15 * d or "book" in category else max(w, d) / 2)

    def scatter(self, category: str | None = None, pose: str | None = None) -> bool:
        """Put one thing on a free spot; False if there is no room."""
        category = str(self.rng.choice(ON_TABLE, p=SCATTER)) if category is None else category
        pose = str(self.rng.choice(CATEGORIES[category].poses)) if pose is None else pose
        form, radius = self.form_of(category)
        if pose == "lying":
            radius = shape_of(category, form).size[2] / 2 + 0.02
        if category in ("pan", "mug", "teapot", "board"):  # their origin is not their middle
            radius = shape_of(category, form).size[0] * 0.62
        at = self.spot(radius)
        if at is None:
            return False
        self.put(category, *at, form=form, pose=pose)
        return True

    def along(self, x: float, y: float, heading: float, distance: float) -> tuple[float, float]:
        """Return the point at a distance from another, in a direction."""
        return x + distance * float(np.cos(heading)), y + distance * float(np.sin(heading))
