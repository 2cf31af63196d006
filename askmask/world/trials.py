"""What happens if ...: truths found by doing it in the simulator and looking.

Each trial starts from the resting state and leaves it as it was. A quantity too near its threshold gives no
truth (None). Thresholds and margins are the constants below.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from askmask.world.engine import load_mujoco
from askmask.world.shapes import Collider, Interior
from askmask.world.simulate import STEP, Touch, World, add_collider

Truth = bool | None
MOVED = (0.014, 0.02, 0.026)  # metres: below the first surely still, above the last surely moved
TURNED = np.cos(np.deg2rad((10.0, 15.0, 20.0)))  # cosines, in the same order
# Of a thing's own weight: what the first tips surely tips, what the second leaves stands.
PUSHES = (0.36, 0.44)
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


def neighbours(world: World, contacts: list[Touch]) -> dict[int, set[int]]:
    """Return what each thing touches, tables and ground left out."""
    found: dict[int, set[int]] = {n: set() for n in world.ids}
    for touch in contacts:
        if min(touch.a, touch.b) > 0 and touch.a != touch.b:
            found[touch.a].add(touch.b)
            found[touch.b].add(touch.a)
    return found


def remove_each(world: World, contacts: list[Touch]) -> list[Removal]:
    """Take each thing away in turn, wait, and see what moved. Index n - 1 is thing n."""
    rest, at = world.state(), world.places()
    turn = [world.rotation(n).copy() for n in world.ids]
    results = []
    for number, near in neighbours(world, contacts).items():
        if not near:  # nothing leans on it: nothing can follow
            results.append(Removal(True))
            continue
        world.data.qpos[7 * (number - 1) + 2] += 60
        world.run(0.4)
        way = np.linalg.norm(world.places() - at, axis=1)
        traces = np.array([np.trace(turn[n - 1].T @ world.rotation(n)) for n in world.ids])
        turned = np.clip((traces - 1) / 2, -1, 1)
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
    turned = world.rotation(number)
    if shape.ball or (shape.rolling and abs(turned[2, 2]) < 0.8):
        return None  # it rolls or yields, or lies already: there is no edge to tip over
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
    plans = {n: plan for n in world.ids if (plan := _push_plan(world, n)) is not None}
    upright = {n: world.rotation(n)[2].copy() for n in plans}  # the world's up in the thing's own frame
    share: dict[int, float] = {}
    for numbers in _apart(list(plans), neighbours(world, contacts)):
        for part in reversed(PUSHES):
            for sign in (1, -1):
                pushed = [n for n in numbers if share.get(n, 9.0) > part]
                if part == PUSHES[0]:  # only what the stronger push tipped
                    pushed = [n for n in pushed if n in share]
                if pushed:
                    world.restore(rest)
                    share |= dict.fromkeys(_tipped(world, pushed, plans, upright, sign * part), part)
    world.restore(rest)
    truths: dict[float | None, Truth] = {None: False, PUSHES[0]: True, PUSHES[1]: None}
    return [(truths[share.get(n)], share.get(n)) for n in world.ids]


def _apart(numbers: list[int], near: dict[int, set[int]]) -> list[list[int]]:
    """Split things into rounds so that no two of one round are joined by touch, directly or through others."""
    rounds: list[list[int]] = []
    used: dict[int, int] = {}  # how many of a joined group have their round, by its lowest number
    for number in numbers:
        group, grown = {number}, set(near[number])
        while grown - group:
            group |= grown
            grown = set().union(*(near[n] for n in grown))
        k = used[min(group)] = used.get(min(group), -1) + 1
        rounds += [[]] if k == len(rounds) else []
        rounds[k].append(number)
    return rounds


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


def tilt_each_way(world: World) -> dict[str, list[tuple[Truth, float]]]:
    """Tilt the table 10 degrees each way; per direction and thing (does it travel 7 cm, metres)."""
    rest, at = world.state(), world.places()
    on_table = np.array([t.place == "table" for t in world.scene.things])
    able = any(_can_roll(world, n) for n in world.ids if on_table[n - 1])
    results: dict[str, list[tuple[Truth, float]]] = {}
    for name, (x, y) in DIRECTIONS.items():
        if not able:  # flat-sided things hold at 10 degrees: friction 0.7 against a slope of 0.18
            results[name] = [(False, 0.0)] * world.count
            continue
        world.model.opt.gravity[:] = (9.81 * np.sin(TILT) * x, 9.81 * np.sin(TILT) * y, -9.81 * np.cos(TILT))
        world.run(ROLL_TIME)
        way = np.linalg.norm((world.places() - at)[:, :2], axis=1)
        results[name] = [
            (graded(float(w), ROLL) if there else None, float(w))
            for w, there in zip(way, on_table, strict=True)
        ]
        world.restore(rest)
    world.refresh()
    return results


def _can_roll(world: World, number: int) -> bool:
    """Whether a round side may be down: balls always, turned things when they do not stand."""
    shape = world.shape(number)
    return bool(shape.rolling) and (shape.ball or abs(world.up(number)) < 0.9)


def drop_beads(world: World, hollow: list[int]) -> dict[int, float]:
    """Drop beads over the mouths of these things, all else held fast; return the share each keeps inside."""
    if not hollow:
        return {}
    mujoco = load_mujoco()
    spec = mujoco.MjSpec()
    spec.option.timestep, spec.option.iterations = BEAD_STEP, 20
    spec.option.gravity = [0, 0, BEAD_GRAVITY]
    for number in sorted(_near_mouths(world, hollow)):
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
    ball = Collider("sphere", (BEAD,))
    for number in hollow:
        inside = _interior(world, number)
        spread = min(inside.half) * 0.4
        for k in range(BEADS):
            turn = 2 * np.pi * k / BEADS
            offset = np.array([spread * np.cos(turn), spread * np.sin(turn), inside.rim])
            at = world.rotation(number) @ offset + world.place(number) + [0, 0, 0.008 + 0.006 * k]
            bead = spec.worldbody.add_body(pos=at)
            bead.add_freejoint()
            add_collider(bead, ball, mass=0.002, friction=[0.4, 0.003, 0.0001])
    model = spec.compile()
    data = mujoco.MjData(model)
    mujoco.mj_step(model, data, round(BEAD_TIME / BEAD_STEP))
    beads = data.qpos.reshape(-1, 7)[:, :3]
    kept = {}
    for k, number in enumerate(hollow):
        own = (beads[k * BEADS : (k + 1) * BEADS] - world.place(number)) @ world.rotation(number)
        reach = max(world.shape(number).size[:2]) / 2  # a belly may be wider than its mouth
        height = own[:, 2]
        within = (np.abs(own[:, :2]) < reach).all(1) & (height > 0) & (height < _interior(world, number).rim)
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
        for other in world.ids:
            size = world.shape(other).size
            reach = max(size) / 2 + max(inside.half) + 0.03
            if np.linalg.norm(world.middle(other) - mouth) < reach + size[2]:
                near.add(other)
    return near
