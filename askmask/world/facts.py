"""A resting world -> its facts as JSON values: what each thing is, where it is, what trials found.

`measure` gives what holds for the scene, `look` what holds for one picture of it (format: docs/world.md).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from askmask.formats import dense
from askmask.world import surfaces, trials
from askmask.world.appearance import MATERIALS
from askmask.world.assets import ASSETS
from askmask.world.render import View
from askmask.world.simulate import TABLE, Touch, World, touches
from askmask.world.trials import Truth, graded

Facts = dict[str, Any]
UPRIGHT, LYING = 0.93, 0.35  # cosine between a thing's up and the world's
KEPT = (0.3, 0.5, 0.75)  # share of beads a vessel keeps
VISIBLE_PIXELS = 0.0006  # of the picture: what has fewer cannot be asked for
CUT = 0.02  # share of a thing's points outside the frame above which it is cut off


def measure(world: World) -> list[Facts]:
    """Run every trial on a resting world; return one JSON object per thing, in order of their ids."""
    contacts = touches(world)
    carries, touching = surfaces.support(contacts)
    points = surfaces.hulls(world)
    inside = {n: surfaces.inside_of(world, points, n) for n in world.ids}
    removals = trials.remove_each(world, contacts)
    pushes = trials.push_each(world, contacts)
    tilts = trials.tilt_each_way(world)
    beads = trials.drop_beads(world, [n for n in world.ids if world.shape(n).interior and world.up(n) > 0.5])
    part_ids: dict[int, list[Facts]] = {}
    for number, (owner, name) in enumerate(world.parts, 1):
        part_ids.setdefault(owner, []).append({"id": number, "name": name})
    things = []
    for n in world.ids:
        thing, shape, hull = world.scene.things[n - 1], world.shape(n), points[n - 1]
        contents = sorted(m for m in world.ids if inside[m] == n)
        reach, blocked_by = surfaces.reach(points, n)
        edge = float(world.scene.table.inward(hull[:, :2]).min())
        on_table = thing.place == "table"
        above = sorted(m for m in carries.get(n, ()) if m > 0)
        material, removal, spot = MATERIALS[thing.material], removals[n - 1], surfaces.free_surface(world, n)
        attributes: dict[str, Truth] = {
            "on_top": not above and not contents,
            # A vessel with something in it is neither: that comes along, or drops by the floor's thickness.
            "removable": None if contents and removal.stays else removal.stays,
            "tips": pushes[n - 1][0],
            **{f"rolls_{way}": tilts[way][n - 1][0] for way in trials.DIRECTIONS},
            # What already holds something is neither clearly fit to be filled nor unfit.
            "holds_liquid": (None if contents else graded(beads[n], KEPT)) if n in beads else False,
            "reachable": reach if on_table and inside[n] is None else None,
            "near_edge": graded(-edge, tuple(-v for v in reversed(surfaces.EDGE))) if on_table else None,
            "heat_proof": graded(spot.radius, surfaces.PAN) if spot and material.heat_proof else False,
            "free_surface": graded(spot.radius, surfaces.CUP) if spot else False,
            "load_bearing": bool(above),
            "container": shape.interior is not None and not shape.lidded,
            "occupied": bool(contents),
            "covered": shape.lidded,
            "graspable": "handle" in shape.parts,
            "overhangs": graded(-edge, surfaces.OVER) if on_table else None,
            "transparent": material.alpha < 1,
            "sharp": "blade" in shape.parts,
            "touches_table": n in touching.get(TABLE, ()),
        }
        low, high = hull.min(0), hull.max(0)
        things.append(
            {
                "id": n,
                "category": thing.category,
                "colour": thing.colour,
                "material": thing.material,
                "pose": pose_of(thing.category, world.up(n)),
                "traits": sorted(ASSETS[thing.category].traits),
                "place": thing.place,
                "parts": part_ids[n],
                "position": _rounded((low + high) / 2),
                "low": round(float(low[2]), 4),
                "high": round(float(high[2]), 4),
                "size": _rounded(high - low),
                "mass": round(shape.mass, 3),
                "attributes": attributes,
                "supports": above,
                "supported_by": sorted(m for m, load in carries.items() if n in load and m > 0),
                "contains": contents,
                "inside": inside[n],
                "touches": sorted(m for m in touching.get(n, ()) if m > 0),
                "handle_towards": _handle(world, n),
                "leans_on": _leans(contacts, n, carries),
                "falls_with": removal.falls,
                "blocked_by": blocked_by,
                "free_height": None if spot is None else round(spot.height, 4),
                "margins": {
                    "removable": round(removal.worst, 4),
                    "tips": pushes[n - 1][1],
                    "near_edge": round(edge, 4),
                    "free_surface": None if spot is None else round(spot.radius, 4),
                    **{f"rolls_{way}": round(tilts[way][n - 1][1], 4) for way in trials.DIRECTIONS},
                },
            }
        )
    return things


def pose_of(category: str, up: float) -> str:
    """Name a pose by the cosine between a thing's own up and the world's, as far as the pose can be seen.

    Round things have no pose, a box on its side is a box, and a book on its edge has not fallen over.
    """
    looks, way = ASSETS[category].upright, abs(up)
    if looks == "one":
        return (
            "lying" if way < LYING else "tilted" if way <= UPRIGHT else "upright" if up > 0 else "upside_down"
        )
    same = looks == "any" or way > UPRIGHT or (looks == "sides" and way < LYING)
    return "upright" if same else "tilted"


def _handle(world: World, n: int) -> list[float] | None:
    """Return the direction [2] in which a vessel's one handle stands out, None if it has none or two."""
    thing, shape = world.scene.things[n - 1], world.shape(n)
    pieces = [v.vertices for v in shape.visuals if v.part == "handle"]
    if not pieces or "vessel" not in ASSETS[thing.category].traits:
        return None
    out = world.rotation(n) @ np.concatenate(pieces).mean(0)
    length = float(np.hypot(out[0], out[1]))
    return _rounded(out[:2] / length) if length > 0.025 else None


def _leans(contacts: list[Touch], n: int, carries: dict[int, set[int]]) -> list[int]:
    found = set()
    for touch in contacts:
        if n in (touch.a, touch.b) and min(touch.a, touch.b) > 0 and abs(touch.normal[2]) < 0.64:
            other = touch.b if touch.a == n else touch.a
            if n not in carries.get(other, ()) and other not in carries.get(n, ()):
                found.add(other)
    return sorted(found)


def _rounded(values: Any, digits: int = 4) -> list[float]:
    return [round(float(v), digits) for v in values]


def look(world: World, view: View) -> Facts:
    """Return what holds for one picture: each seen thing's pixels, visibility, place and what hides it."""
    size, camera = view.size, view.camera
    counts = np.bincount(view.objects.ravel(), minlength=256)
    part_counts = np.bincount(view.parts.ravel(), minlength=256)
    objects: dict[str, Facts] = {}
    for n in world.ids:
        visible, hidden_by, outside = _visibility(world, view, n)
        facts: Facts = {"pixels": int(counts[n]), "visible": round(visible, 3), "cut": outside > CUT}
        facts["depth"] = round(float(camera.project(world.middle(n)[None], size)[1][0]), 4)
        if counts[n]:
            ys, xs = np.nonzero(view.objects == n)
            facts["centre"] = [round(float(xs.mean()) + 0.5, 1), round(float(ys.mean()) + 0.5, 1)]
            facts["box"] = [int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1]
        facts["hidden_by"] = hidden_by
        objects[str(n)] = facts
    axes = {"position": camera.at, "right": camera.right, "down": camera.down, "forward": camera.forward}
    return {
        "size": size,
        "camera": {name: _rounded(axis) for name, axis in axes.items()},
        "objects": objects,
        "parts": {str(k): int(part_counts[k]) for k in range(1, len(world.parts) + 1) if part_counts[k]},
        "table": int(part_counts[dense.TABLE]),
        "floor": int(counts[dense.FLOOR]),
    }


def _visibility(world: World, view: View, n: int) -> tuple[float, list[int], float]:
    """Sample a thing's side facing the camera: (share seen, what hides >= 4 % of it, share out of frame)."""
    samples = zip(*(visual.samples() for visual in world.shape(n).visuals), strict=True)
    centres, normals, areas = (np.concatenate(kind) for kind in samples)
    points, normals = world.placed(n, centres), normals @ world.rotation(n).T
    ray = points - view.camera.at
    facing = -np.einsum("ij,ij->i", normals, ray) / np.linalg.norm(ray, axis=1) * areas
    front = facing > 0
    xy, _ = view.camera.project(points[front], view.size)
    weight = facing[front]
    cell = np.floor(xy).astype(int)
    in_frame = ((cell >= 0) & (cell < view.size)).all(1)
    total = float(weight.sum())
    if not in_frame.any():
        return 0.0, [], 1.0
    seen_as = view.objects[cell[in_frame, 1], cell[in_frame, 0]]
    share = np.bincount(seen_as, weights=weight[in_frame], minlength=256) / max(total, 1e-12)
    # Things behind can only show through at the rim of a silhouette; what hides is nearer than its victim.
    hiding = [int(m) for m in np.flatnonzero(share[: world.count + 1] > 0.04) if m not in (0, n)]
    return float(share[n]), hiding, 1.0 - float(weight[in_frame].sum()) / max(total, 1e-12)


def askable(facts: Facts, size: int) -> bool:
    """Whether a thing shows enough pixels to be asked for."""
    return facts["pixels"] >= max(8, VISIBLE_PIXELS * size * size) and facts["visible"] > 0.08
