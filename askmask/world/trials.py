"""What happens if ...: truths found by doing it in the simulator and looking.

Each trial starts from the resting state and leaves it as it was. A quantity too near its threshold gives no
truth (None). Thresholds and margins are the constants below.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from askmask.world.engine import load_mujoco
from askmask.world.shapes import Collider, Interior, matrix
from askmask.world.simulate import FELT, STEP, Touch, World, add_collider

Truth = bool | None
MOVED = (0.014, 0.02, 0.026)  # metres: below the first surely still, above the last surely moved
TURNED = np.cos(np.deg2rad((10.0, 15.0, 20.0)))  # cosines, in the same order
PUSHES = (
    0.36,
    0.44,
)  # of a thing's own weight: what the first tips surely tips, what the second leaves stands
PUSH_TIME, TIPPED = 0.32, np.cos(np.deg2rad(8.0))
ROLL = (0.045, 0.07, 0.095)  # metres travelled in ROLL_TIME on a table tilted by 10 degrees
ROLL_TIME, TILT = 0.8, np.deg2rad(10.0)
DIRECTIONS = {"left": (-1, 0), "right": (1, 0), "front": (0, -1), "back": (0, 1)}
BEADS, BEAD = 5, 0.004  # how many, radius in metres
# Beads fall slowly, so that none passes a wall in one step: 0.0025 s at 1.1 m/s is less than their radius.
BEAD_STEP, BEAD_GRAVITY, BEAD_TIME = 0.0025, -3.0, 0.7


def graded(value: float, limits: Sequence[float]) -> Truth:
    """Compare a value with (surely below, threshold, surely above): True above, False below, None between."""
    return True if value > limits[2] else False if value < limits[0] else None


@dataclass(slots=True)
class Removal:
    """What taking one thing away did: whether all else stayed, which things fell, how far the worst went."""

    stays: Truth
    falls: list[int] = field(default_factory=list)
    worst: float = 0.0  # metres moved by the thing that moved most


def remove_each(world: World, contacts: list[Touch]) -> list[Removal]:
    """Take each thing away in turn, wait, and see what moved. Index n - 1 is thing n."""
    rest = world.state()
    at = np.array([world.place(n).copy() for n in range(1, world.count + 1)])
    turn = np.array([world.rotation(n).copy() for n in range(1, world.count + 1)])
    neighbours: dict[int, set[int]] = {n: set() for n in range(1, world.count + 1)}
    for touch in contacts:
        if touch.a > 0 and touch.b > 0 and touch.a != touch.b:
            neighbours[touch.a].add(touch.b)
            neighbours[touch.b].add(touch.a)
    results = []
    for number in range(1, world.count + 1):
        if not neighbours[number]:  # nothing leans on it: nothing can follow
            results.append(Removal(True))
            continue
        world.data.qpos[7 * (number - 1) + 2] += 60
        world.run(0.4)
        now = np.array([world.place(n) for n in range(1, world.count + 1)])
        turned = np.array(
            [
                np.clip((np.trace(turn[n - 1].T @ world.rotation(n)) - 1) / 2, -1, 1)
                for n in range(1, world.count + 1)
            ]
        )
        way = np.linalg.norm(now - at, axis=1)
        way[number - 1], turned[number - 1] = 0, 1
        sure = (way > MOVED[2]) | (turned < TURNED[2])
        perhaps = (way > MOVED[0]) | (turned < TURNED[0])
        stays: Truth = False if sure.any() else None if perhaps.any() else True
        results.append(Removal(stays, [int(n) + 1 for n in np.flatnonzero(sure)], float(way.max())))
        world.restore(rest)
    world.refresh()
    return results


def _push_plan(world: World, number: int) -> tuple[float, np.ndarray] | None:
    """Return (height, direction of its narrowest base) if a push could tip a thing at all; else None."""
    shape = world.shape(number)
    if any(c.kind in ("sphere", "ellipsoid") for c in shape.colliders):
        return None  # it rolls or yields; there is no edge to tip over
    turned = world.rotation(number)
    if shape.rolling and abs(turned[2, 2]) < 0.8:
        return None  # it lies already
    points = np.concatenate([v.vertices for v in shape.visuals]) @ turned.T
    spans = np.ptp(points, axis=0)
    tall = float(spans[2])
    axis = turned[:, 1] if shape.size[1] <= shape.size[0] else turned[:, 0]
    if abs(axis[2]) > 0.5:  # on its side: push across its own up
        axis = np.cross(turned[:, 2], (0, 0, 1))
    flat = np.array([axis[0], axis[1], 0.0])
    flat /= max(float(np.linalg.norm(flat)), 1e-6)
    width = float(np.ptp(points @ flat))
    base = points[points[:, 2] < points[:, 2].min() + 0.004]
    narrow = float(np.ptp(base @ flat)) if len(base) > 2 else width
    if tall < 0.045 or min(width, max(narrow, 0.01)) / 2 / (0.85 * tall) > 0.7:
        return None
    return tall, flat


def push_each(world: World, contacts: list[Touch]) -> list[tuple[Truth, float | None]]:
    """Push each standing thing at 85 % of its height, across its narrow side, both ways.

    Returns per thing (whether it tips, the smallest share of its weight that tipped it, None if none).
    Things that touch each other are pushed in different runs.
    """
    rest = world.state()
    plans = {n: plan for n in range(1, world.count + 1) if (plan := _push_plan(world, n)) is not None}
    groups = _groups(world.count, contacts)
    rounds: list[list[int]] = []
    used: dict[int, int] = {}
    for number in plans:
        k = used.get(groups[number], 0)
        used[groups[number]] = k + 1
        rounds += [[]] if k == len(rounds) else []
        rounds[k].append(number)
    upright = {n: world.rotation(n)[2].copy() for n in plans}  # the world's up in the thing's own frame
    share: dict[int, float] = {}
    for numbers in rounds:
        for part in reversed(PUSHES):
            for sign in (1, -1):
                pushed = [n for n in numbers if share.get(n, 9.0) > part]
                if part == PUSHES[0]:  # only what the stronger push tipped
                    pushed = [n for n in pushed if n in share]
                if pushed:
                    world.restore(rest)
                    for n in _tipped(world, pushed, plans, upright, sign * part):
                        share[n] = part
    world.restore(rest)
    found: list[tuple[Truth, float | None]] = []
    for n in range(1, world.count + 1):
        truth: Truth = False if n not in share else True if share[n] == PUSHES[0] else None
        found.append((truth, share.get(n)))
    return found


def _tipped(world: World, pushed: list[int], plans: dict, upright: dict, part: float) -> list[int]:
    """Push some things for PUSH_TIME with a share of their weight; return those that tipped."""
    mujoco, steps = load_mujoco(), 8
    force, active, tipped = world.data.xfrc_applied, set(pushed), []
    for _ in range(round(PUSH_TIME / STEP / steps)):
        for n in active:
            tall, flat = plans[n]
            body, push = world.body[n], part * world.shape(n).mass * 9.81 * flat
            arm = np.array([0, 0, 0.85 * tall]) + world.place(n) - world.data.xipos[body]
            force[body, :3] = push
            force[body, 3:] = (-arm[2] * push[1], arm[2] * push[0], arm[0] * push[1] - arm[1] * push[0])
        mujoco.mj_step(world.model, world.data, steps)
        for n in list(active):
            if world.rotation(n)[2] @ upright[n] < TIPPED:
                tipped.append(n)
                force[world.body[n]] = 0
                active.discard(n)
        if not active:
            break
    return tipped


def _groups(count: int, contacts: list[Touch]) -> list[int]:
    """Return for each thing (index 1..N) the number of its group of touching things."""
    group = list(range(count + 1))

    def root(n: int) -> int:
        while group[n] != n:
            n = group[n]
        return n

    for touch in contacts:
        if touch.a > 0 and touch.b > 0:
            group[root(touch.a)] = root(touch.b)
    return [root(n) for n in range(count + 1)]


def tilt_each_way(world: World) -> dict[str, list[tuple[Truth, float]]]:
    """Tilt the table 10 degrees each way; per direction and thing (does it travel 7 cm, metres)."""
    rest = world.state()
    on_table = np.array([t.place == "table" for t in world.scene.things])
    at = np.array([world.place(n).copy() for n in range(1, world.count + 1)])
    able = any(_can_roll(world, n) for n in range(1, world.count + 1) if on_table[n - 1])
    results: dict[str, list[tuple[Truth, float]]] = {}
    for name, (x, y) in DIRECTIONS.items():
        if not able:  # flat-sided things hold at 10 degrees: friction 0.7 against a slope of 0.18
            results[name] = [(False, 0.0)] * world.count
            continue
        world.model.opt.gravity[:] = (9.81 * np.sin(TILT) * x, 9.81 * np.sin(TILT) * y, -9.81 * np.cos(TILT))
        world.run(ROLL_TIME)
        now = np.array([world.place(n) for n in range(1, world.count + 1)])
        way = np.linalg.norm((now - at)[:, :2], axis=1)
        results[name] = [
            (graded(float(w), ROLL) if there else None, float(w))
            for w, there in zip(way, on_table, strict=True)
        ]
        world.restore(rest)
    world.refresh()
    return results


def _can_roll(world: World, number: int) -> bool:
    """Whether a round side may be down: spheres always, turned things when they do not stand."""
    shape = world.shape(number)
    if not shape.rolling:
        return False
    return any(c.kind in ("sphere", "ellipsoid") for c in shape.colliders) or abs(upward(world, number)) < 0.9


def drop_beads(world: World, hollow: list[int]) -> dict[int, float]:
    """Drop beads over the mouths of these things, all else held fast; return the share each keeps inside."""
    if not hollow:
        return {}
    mujoco = load_mujoco()
    spec = mujoco.MjSpec()
    spec.option.timestep, spec.option.iterations = BEAD_STEP, 20
    spec.option.gravity = [0, 0, BEAD_GRAVITY]
    near = _near_mouths(world, hollow)
    for number in range(1, world.count + 1):
        if number not in near:
            continue
        quat = world.data.xquat[world.body[number]]
        body = spec.worldbody.add_body(pos=world.place(number), quat=quat)
        shape = world.shape(number)
        for collider in shape.shell or shape.colliders:
            add_collider(body, collider)
        if number in hollow:  # a bead in free fall may pass a thin floor in one step: let it be thick below
            inside = _interior(world, number)
            deep = 0.03
            size = (min(inside.half) * 0.9, (deep + inside.floor) / 2)
            add_collider(body, Collider("cylinder", size, (0.0, 0.0, (inside.floor - deep) / 2 - 0.0005)))
    for number in hollow:
        inside = _interior(world, number)
        up, low = world.rotation(number), world.place(number)
        spread = min(inside.half[0], inside.half[1]) * 0.4
        for k in range(BEADS):
            turn = 2 * np.pi * k / BEADS
            offset = np.array([spread * np.cos(turn), spread * np.sin(turn), inside.rim])
            at = up @ offset + low + [0, 0, 0.008 + 0.006 * k]
            bead = spec.worldbody.add_body(pos=at)
            bead.add_freejoint()
            bead.add_geom(
                type=mujoco.mjtGeom.mjGEOM_SPHERE,
                size=[BEAD, 0, 0],
                mass=0.002,
                friction=[0.4, 0.003, 0.0001],
                group=FELT,
            )
    model = spec.compile()
    data = mujoco.MjData(model)
    mujoco.mj_step(model, data, round(BEAD_TIME / BEAD_STEP))
    beads = data.qpos.reshape(-1, 7)[:, :3]
    kept = {}
    for k, number in enumerate(hollow):
        inside = _interior(world, number)
        own = (beads[k * BEADS : (k + 1) * BEADS] - world.place(number)) @ world.rotation(number)
        reach = max(world.shape(number).size[:2]) / 2  # a belly may be wider than its mouth
        within = (
            (np.abs(own[:, 0]) < reach)
            & (np.abs(own[:, 1]) < reach)
            & (own[:, 2] > 0)
            & (own[:, 2] < inside.rim)
        )
        kept[number] = float(within.mean())
    return kept


def _interior(world: World, number: int) -> Interior:
    inside = world.shape(number).interior
    assert inside is not None, "only hollow things are given beads"
    return inside


def _near_mouths(world: World, hollow: list[int]) -> set[int]:
    """Return the things that could meet a bead: the vessels, and whatever comes within 3 cm of a mouth."""
    near = set(hollow)
    for number in hollow:
        inside = _interior(world, number)
        mouth = world.rotation(number) @ np.array([0, 0, inside.rim]) + world.place(number)
        for other in range(1, world.count + 1):
            reach = max(world.shape(other).size) / 2 + max(inside.half) + 0.03
            centre = world.place(other) + world.rotation(other) @ np.array(
                [0, 0, world.shape(other).size[2] / 2]
            )
            if np.linalg.norm(centre - mouth) < reach + world.shape(other).size[2]:
                near.add(other)
    return near


def upward(world: World, number: int) -> float:
    """Cosine between a thing's own up and the world's."""
    return float(matrix(tuple(world.data.xquat[world.body[number]]))[2, 2])
