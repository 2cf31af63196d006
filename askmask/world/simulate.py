"""Scene -> MuJoCo: build the model, let things come to rest, read contacts; refuse what will not rest."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from askmask.world.appearance import MATERIALS, PAINTS, TEXTURE, texture
from askmask.world.engine import load_mujoco
from askmask.world.layouts import sample_scene
from askmask.world.scene import FLOOR, Scene
from askmask.world.shapes import Shape

STEP = 0.005  # seconds
SETTLE = 0.6
LONGEST = 1.8  # seconds after which a scene still in motion is refused
REST_SPEED = 0.02  # m/s
SEEN, FELT = 1, 3  # geom groups: visuals, colliders
TABLE, GROUND = -1, -2  # in contacts: what is no thing
ATTEMPTS = 12
ROOM = ("top", "floor", "wall")  # textures of table, floor and wall


@dataclass(slots=True)
class World:
    """A built scene: MuJoCo's model and data, and which geom is which thing (1..N) and part (1..P)."""

    scene: Scene
    model: Any
    data: Any
    body: np.ndarray  # [N + 1] body id of thing n (0 unused)
    thing_of_geom: np.ndarray  # [geoms] 1..N, TABLE, GROUND, 0 the wall
    part_of_geom: np.ndarray  # [geoms] part id of visuals, 0 else
    parts: list[tuple[int, str]]  # part id - 1 -> (thing, part name)

    @property
    def count(self) -> int:
        """Number of things."""
        return len(self.scene.things)

    def shape(self, thing: int) -> Shape:
        """The form of thing 1..N."""
        return self.scene.things[thing - 1].shape

    def place(self, thing: int) -> np.ndarray:
        """Position [3] of a thing's origin (middle of its base)."""
        return self.data.xpos[self.body[thing]]

    def rotation(self, thing: int) -> np.ndarray:
        """Rotation [3, 3] of a thing."""
        return self.data.xmat[self.body[thing]].reshape(3, 3)

    def state(self) -> tuple[np.ndarray, ...]:
        """Copy what `restore` needs."""
        return self.data.qpos.copy(), self.data.qvel.copy(), self.data.qacc_warmstart.copy()

    def restore(self, state: tuple[np.ndarray, ...]) -> None:
        """Go back to a state: poses, speeds, level gravity, no pushes."""
        self.data.qpos[:], self.data.qvel[:], self.data.qacc_warmstart[:] = state
        self.data.xfrc_applied[:] = 0
        self.model.opt.gravity[:] = (0, 0, -9.81)
        self.refresh()

    def run(self, seconds: float) -> None:
        """Advance the world."""
        load_mujoco().mj_step(self.model, self.data, max(1, round(seconds / STEP)))

    def refresh(self) -> None:
        """Bring poses and contacts up to date with the state."""
        load_mujoco().mj_forward(self.model, self.data)

    def unsteady(self) -> bool:
        """Whether the solver ever gave up (and MuJoCo quietly reset the world): its truths are void."""
        kinds = load_mujoco().mjtWarning
        bad = (kinds.mjWARN_BADQPOS, kinds.mjWARN_BADQVEL, kinds.mjWARN_BADQACC)
        return any(self.data.warning[int(kind)].number for kind in bad)

    def speeds(self) -> np.ndarray:
        """Speed [N] of each thing in m/s, turning counted at 5 cm."""
        speed = self.data.qvel.reshape(self.count, 6)
        return np.linalg.norm(speed[:, :3], axis=1) + 0.05 * np.linalg.norm(speed[:, 3:], axis=1)


def build(scene: Scene) -> World:
    """Build the world of a scene; nothing has moved yet."""
    mujoco = load_mujoco()
    spec = mujoco.MjSpec()
    spec.option.timestep = STEP
    spec.option.integrator = (
        mujoco.mjtIntegrator.mjINT_EULER
    )  # nothing here is damped: implicit steps gain nothing
    spec.option.iterations = 30
    spec.compiler.inertiagrouprange = [FELT, FELT]
    spec.compiler.boundmass = 1e-3
    spec.compiler.boundinertia = 1e-7
    spec.visual.global_.fovy = 40
    spec.visual.quality.offsamples = 4
    spec.visual.quality.shadowsize = 1024
    spec.visual.map.znear, spec.visual.map.zfar = 0.02, 8.0
    spec.stat.extent, spec.stat.center = 1.0, [0, 0, 0]
    spec.visual.headlight.ambient = [scene.ambient] * 3
    spec.visual.headlight.diffuse = [0.18] * 3
    spec.visual.headlight.specular = [0.0] * 3
    for light in scene.lights:
        aim = np.array([0.0, 0.0, 0.0]) - np.asarray(light.at)
        spec.worldbody.add_light(
            pos=light.at,
            dir=aim,
            diffuse=[light.bright] * 3,
            specular=[0.25] * 3,
            castshadow=True,
            cutoff=70,
            exponent=2,
        )
    owners: list[int] = []
    parts_of: list[int] = []
    _room(spec, scene, owners)
    parts: list[tuple[int, str]] = []
    texels = {
        name: texture(paper.pattern, paper.low, paper.high, paper.seed)
        for name, paper in zip(ROOM, scene.textures, strict=True)
    }
    for grain in sorted({m.grain for m in (MATERIALS[t.material] for t in scene.things) if m.grain}):
        _texture(spec, grain)
        texels[grain] = texture(grain, (0.68,) * 3, (1.0,) * 3, scene.seed % 97)
    parts_of += [0] * len(owners)
    for number, thing in enumerate(scene.things, 1):
        _thing(spec, number, thing, owners, parts, parts_of)
    model = spec.compile()
    for name, pixels in texels.items():
        start = model.tex_adr[mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_TEXTURE, name)]
        model.tex_data[start : start + pixels.size] = pixels.ravel()
    body = np.array(
        [
            0,
            *(
                mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_BODY, f"t{n}")
                for n in range(1, len(scene.things) + 1)
            ),
        ]
    )
    return World(scene, model, mujoco.MjData(model), body, np.array(owners), np.array(parts_of), parts)


def _texture(spec: Any, name: str, repeat: float = 1, *, uniform: bool = False) -> None:
    """Reserve a texture; its texels are copied in after compiling, which takes a hundredth of the time."""
    mujoco = load_mujoco()
    spec.add_texture(
        name=name,
        type=mujoco.mjtTexture.mjTEXTURE_2D,
        builtin=mujoco.mjtBuiltin.mjBUILTIN_FLAT,
        width=TEXTURE,
        height=TEXTURE,
    )
    material = spec.add_material(
        name=name, texrepeat=[repeat, repeat], texuniform=uniform, specular=0.15, shininess=0.2
    )
    material.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = name


def _room(spec: Any, scene: Scene, owners: list[int]) -> None:
    mujoco = load_mujoco()
    for name, paper in zip(ROOM, scene.textures, strict=True):
        _texture(spec, name, paper.repeat, uniform=True)
    plane, box = mujoco.mjtGeom.mjGEOM_PLANE, mujoco.mjtGeom.mjGEOM_BOX
    world, table = spec.worldbody, scene.table
    world.add_geom(type=plane, size=[5, 5, 0.1], pos=[0, 0, FLOOR], material="floor", group=SEEN)
    world.add_geom(
        type=box,
        size=[5, 0.05, 2],
        pos=[0, scene.wall + 0.45, 2 + FLOOR],
        material="wall",
        group=SEEN,
        contype=0,
        conaffinity=0,
    )
    owners += [GROUND, 0]
    heading = [float(np.cos(table.heading / 2)), 0, 0, float(np.sin(table.heading / 2))]
    body = world.add_body(name="table", quat=heading)
    half = [table.half[0], table.half[1], table.thick / 2]
    body.add_geom(
        type=box,
        size=half,
        pos=[0, 0, -table.thick / 2],
        material="top",
        group=SEEN,
        friction=[0.7, 0.005, 0.0001],
    )
    owners.append(TABLE)
    legs = -FLOOR - table.thick
    for sx in (1, -1):
        for sy in (1, -1):
            at = [sx * (half[0] - 0.04), sy * (half[1] - 0.04), -table.thick - legs / 2]
            body.add_geom(
                type=box,
                size=[0.022, 0.022, legs / 2],
                pos=at,
                material="top",
                group=SEEN,
                contype=0,
                conaffinity=0,
            )
            owners.append(TABLE)


def _thing(spec: Any, number: int, thing: Any, owners: list[int], parts: list, parts_of: list[int]) -> None:
    mujoco = load_mujoco()
    shape, material = thing.shape, MATERIALS[thing.material]
    body = spec.worldbody.add_body(name=f"t{number}", pos=thing.at, quat=thing.turn)
    body.add_freejoint()
    first = len(parts) + 1
    parts += [(number, part) for part in shape.parts]
    for k, visual in enumerate(shape.visuals):
        alpha = material.alpha if visual.paint == "body" else 1.0
        colour = (
            thing.rgb
            if visual.paint == "body"
            else thing.accent
            if visual.paint == "accent"
            else PAINTS[visual.paint]
        )
        grained = visual.box is not None and visual.paint == "body" and material.grain
        look = f"look-{number}-{k}"
        made = spec.add_material(
            name=look, rgba=[*colour, alpha], specular=material.shine, shininess=material.gloss
        )
        if grained:
            made.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = material.grain
        common = {"material": look, "group": SEEN, "contype": 0, "conaffinity": 0, "mass": 0}
        if visual.box is not None:
            half, at, quat = visual.box
            body.add_geom(type=mujoco.mjtGeom.mjGEOM_BOX, size=half, pos=at, quat=quat, **common)
        else:
            mesh = f"mesh-{number}-{k}"
            spec.add_mesh(
                name=mesh,
                uservert=visual.vertices.ravel(),
                userface=visual.faces.ravel(),
                inertia=mujoco.mjtMeshInertia.mjMESH_INERTIA_SHELL,
            )
            body.add_geom(type=mujoco.mjtGeom.mjGEOM_MESH, meshname=mesh, **common)
        owners.append(number)
        parts_of.append(first + shape.parts.index(visual.part))
    density = shape.mass / sum(c.volume for c in shape.colliders)
    # Rolling friction is costly to solve and matters only where a round side is down.
    rolls = shape.rolling and (
        thing.pose == "lying" or any(c.kind in ("sphere", "ellipsoid") for c in shape.colliders)
    )
    for collider in shape.colliders:
        add_collider(
            body,
            collider,
            density=density,
            condim=6 if rolls else 3,
            friction=[shape.friction, 0.004, shape.rolling or 0.0001],
        )
        owners.append(number)
        parts_of.append(0)


def add_collider(body: Any, collider: Any, **settings: Any) -> None:
    """Add one collider to a body under construction."""
    kinds = load_mujoco().mjtGeom
    kind = getattr(kinds, f"mjGEOM_{collider.kind.upper()}")
    size = [*collider.size, 0.0, 0.0][:3]
    body.add_geom(type=kind, size=size, pos=collider.at, quat=collider.quat, group=FELT, **settings)


def settle(world: World) -> bool:
    """Let things come to rest. False if they will not, or if something fell from the table."""
    world.run(SETTLE)
    passed = SETTLE
    while world.speeds().max(initial=0) > REST_SPEED:
        if passed >= LONGEST:
            return False
        world.run(0.2)
        passed += 0.2
    if world.unsteady():
        return False
    world.data.qvel[:] = 0
    world.refresh()
    for number, thing in enumerate(world.scene.things, 1):
        at = world.place(number)
        if thing.place == "table" and at[2] < -0.06:
            return False
        if abs(at[0]) > 3 or abs(at[1]) > 3:
            return False
    return True


def settled(scene: Scene) -> World | None:
    """Build a scene and let it rest; None if it will not."""
    world = build(scene)
    return world if settle(world) else None


def resting_worlds(seed: int) -> Iterator[World]:
    """Yield the proposals of a seed that physics accepts, at rest; the first is the seed's world.

    Raises RuntimeError when there are no more.
    """
    for attempt in range(ATTEMPTS):
        scene = sample_scene(seed, attempt)
        if not scene.things or (world := settled(scene)) is None:
            continue
        if scene.pair is None or settled(sample_scene(scene.pair, attempt)) is not None:
            yield world  # twins must come from the same attempt, or they would not look the same
    raise RuntimeError(f"seed {seed}: none of {ATTEMPTS} proposals came to rest")


def settled_world(seed: int) -> World:
    """Return the first resting world of a seed."""
    return next(resting_worlds(seed))


@dataclass(frozen=True, slots=True)
class Touch:
    """A contact between two things (or TABLE, GROUND): `normal` points from `a` to `b`."""

    a: int
    b: int
    normal: tuple[float, ...]  # x, y, z
    at: tuple[float, ...]


def touches(world: World) -> list[Touch]:
    """Read the contacts of the present state."""
    found, data = [], world.data
    contact = data.contact
    for k in range(data.ncon):
        if contact.dist[k] > 0.0015:
            continue
        first, second = (int(world.thing_of_geom[g]) for g in contact.geom[k])
        normal = tuple(float(v) for v in contact.frame[k][:3])
        found.append(Touch(first, second, normal, tuple(float(v) for v in contact.pos[k])))
    return found
