"""Scene -> MuJoCo: build the model, let things come to rest, read contacts; refuse what will not rest."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from askmask.world.appearance import MATERIALS, PAINTS, TEXTURE, texture
from askmask.world.engine import load_mujoco
from askmask.world.layouts import sample_scene
from askmask.world.scene import FLOOR, Scene, Thing
from askmask.world.shapes import Collider, Shape, about_z

STEP = 0.005  # seconds
SETTLE = 0.6
LONGEST = 1.8  # seconds after which a scene still in motion is refused
REST_SPEED = 0.02  # m/s
FOVY = 40.0  # degrees, vertical; pictures are square
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

    @property
    def ids(self) -> range:
        """The things' numbers, 1..N."""
        return range(1, self.count + 1)

    def shape(self, thing: int) -> Shape:
        """The form of thing 1..N."""
        return self.scene.things[thing - 1].shape

    def place(self, thing: int) -> np.ndarray:
        """Position [3] of a thing's origin (middle of its base)."""
        return self.data.xpos[self.body[thing]]

    def rotation(self, thing: int) -> np.ndarray:
        """Rotation [3, 3] of a thing."""
        return self.data.xmat[self.body[thing]].reshape(3, 3)

    def places(self) -> np.ndarray:
        """Positions [N, 3] of all things' origins, copied."""
        return self.data.xpos[self.body[1:]]

    def up(self, thing: int) -> float:
        """Cosine between a thing's own up and the world's."""
        return float(self.rotation(thing)[2, 2])

    def middle(self, thing: int) -> np.ndarray:
        """Position [3] of the point half its height above a thing's base."""
        return self.place(thing) + self.rotation(thing) @ np.array([0, 0, self.shape(thing).size[2] / 2])

    def placed(self, thing: int, points: np.ndarray) -> np.ndarray:
        """Bring points [n, 3] of a thing's own frame into the world's."""
        return points @ self.rotation(thing).T + self.place(thing)

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
    made = _Builder(scene)
    model = made.spec.compile()
    for name, pixels in made.textures.items():
        start = model.tex_adr[mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_TEXTURE, name)]
        model.tex_data[start : start + pixels.size] = pixels.ravel()
    bodies = [
        mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_BODY, f"t{n + 1}") for n in range(len(scene.things))
    ]
    owners, parts = np.array(made.owners), np.array(made.part_of)
    return World(scene, model, mujoco.MjData(model), np.array([0, *bodies]), owners, parts, made.parts)


class _Builder:
    """MuJoCo's specification of a scene, and whose each geom is, in the order in which they are added."""

    def __init__(self, scene: Scene):
        self.mujoco = load_mujoco()
        self.spec = self.mujoco.MjSpec()
        self.owners: list[int] = []  # of each geom: thing, TABLE, GROUND or 0
        self.part_of: list[int] = []  # of each geom: part id, 0 for none
        self.parts: list[tuple[int, str]] = []
        self.textures: dict[str, np.ndarray] = {}
        self._settings(scene)
        for name, look in zip(ROOM, scene.textures, strict=True):
            self._texture(
                name, texture(look.pattern, look.low, look.high, look.seed), look.repeat, uniform=True
            )
        for grain in sorted({g for t in scene.things if (g := MATERIALS[t.material].grain)}):
            self._texture(grain, texture(grain, (0.68,) * 3, (1.0,) * 3, scene.seed % 97))
        self._room(scene)
        for number, thing in enumerate(scene.things, 1):
            self._thing(number, thing)

    def _settings(self, scene: Scene) -> None:
        spec = self.spec
        spec.option.timestep, spec.option.iterations = STEP, 30
        # Nothing here is damped: implicit steps gain nothing.
        spec.option.integrator = self.mujoco.mjtIntegrator.mjINT_EULER
        spec.compiler.inertiagrouprange = [FELT, FELT]
        spec.compiler.boundmass, spec.compiler.boundinertia = 1e-3, 1e-7
        spec.visual.global_.fovy = FOVY
        spec.visual.quality.offsamples, spec.visual.quality.shadowsize = 4, 1024
        spec.visual.map.znear, spec.visual.map.zfar = 0.02, 8.0
        spec.stat.extent, spec.stat.center = 1.0, [0, 0, 0]
        lamp = spec.visual.headlight
        lamp.ambient, lamp.diffuse, lamp.specular = [scene.ambient] * 3, [0.18] * 3, [0.0] * 3
        for light in scene.lights:
            shine = {"diffuse": [light.bright] * 3, "specular": [0.25] * 3, "cutoff": 70, "exponent": 2}
            spec.worldbody.add_light(pos=light.at, dir=-np.asarray(light.at), castshadow=True, **shine)

    def _texture(self, name: str, pixels: np.ndarray, repeat: float = 1, *, uniform: bool = False) -> None:
        """Reserve a texture; its pixels are copied in after compiling, which takes a hundredth of the time."""
        kinds = self.mujoco.mjtTexture.mjTEXTURE_2D, self.mujoco.mjtBuiltin.mjBUILTIN_FLAT
        self.spec.add_texture(name=name, type=kinds[0], builtin=kinds[1], width=TEXTURE, height=TEXTURE)
        self._material(name, name, texrepeat=[repeat] * 2, texuniform=uniform, specular=0.15, shininess=0.2)
        self.textures[name] = pixels

    def _material(self, name: str, texture_name: str | None, **settings: Any) -> None:
        material = self.spec.add_material(name=name, **settings)
        if texture_name:
            material.textures[self.mujoco.mjtTextureRole.mjTEXROLE_RGB] = texture_name

    def _geom(
        self, body: Any, kind: str, owner: int, part: int = 0, *, felt: bool = False, **settings: Any
    ) -> None:
        """Add what is seen; it is felt as well only where nothing else stands for it."""
        through = {} if felt else {"contype": 0, "conaffinity": 0}
        body.add_geom(type=getattr(self.mujoco.mjtGeom, f"mjGEOM_{kind}"), group=SEEN, **through, **settings)
        self.owners.append(owner)
        self.part_of.append(part)

    def _room(self, scene: Scene) -> None:
        world, table = self.spec.worldbody, scene.table
        floor, behind = [0, 0, FLOOR], [0, scene.wall + 0.45, 2 + FLOOR]
        self._geom(world, "PLANE", GROUND, felt=True, size=[5, 5, 0.1], pos=floor, material="floor")
        self._geom(world, "BOX", 0, size=[5, 0.05, 2], pos=behind, material="wall")
        body = world.add_body(name="table", quat=about_z(table.heading))
        x, y, z = *table.half, table.thick / 2
        grip: dict[str, Any] = {"felt": True, "friction": [0.7, 0.005, 0.0001]}
        self._geom(body, "BOX", TABLE, size=[x, y, z], pos=[0, 0, -z], material="top", **grip)
        leg = -FLOOR - table.thick
        for sx in (1, -1):
            for sy in (1, -1):
                at = [sx * (x - 0.04), sy * (y - 0.04), -table.thick - leg / 2]
                self._geom(body, "BOX", TABLE, size=[0.022, 0.022, leg / 2], pos=at, material="top")

    def _thing(self, number: int, thing: Thing) -> None:
        shape, material = thing.shape, MATERIALS[thing.material]
        body = self.spec.worldbody.add_body(name=f"t{number}", pos=thing.at, quat=thing.turn)
        body.add_freejoint()
        first = len(self.parts) + 1
        self.parts += [(number, part) for part in shape.parts]
        paints = {"body": (*thing.rgb, material.alpha), "accent": (*thing.accent, 1.0)}
        for k, visual in enumerate(shape.visuals):
            look, part = f"look-{number}-{k}", first + shape.parts.index(visual.part)
            grain = material.grain if visual.box and visual.paint == "body" else None
            rgba = paints.get(visual.paint) or (*PAINTS[visual.paint], 1.0)
            self._material(look, grain, rgba=rgba, specular=material.shine, shininess=material.gloss)
            if visual.box:
                half, at, quat = visual.box
                self._geom(body, "BOX", number, part, material=look, mass=0, size=half, pos=at, quat=quat)
                continue
            points, corners = visual.vertices.ravel(), visual.faces.ravel()
            shell = self.mujoco.mjtMeshInertia.mjMESH_INERTIA_SHELL
            mesh = f"mesh-{number}-{k}"
            self.spec.add_mesh(name=mesh, uservert=points, userface=corners, inertia=shell)
            self._geom(body, "MESH", number, part, material=look, mass=0, meshname=mesh)
        density = shape.mass / sum(c.volume for c in shape.colliders)
        # Rolling friction is costly to solve and matters only where a round side is down.
        condim = 6 if shape.rolling and (thing.pose == "lying" or shape.ball) else 3
        friction = [shape.friction, 0.004, shape.rolling or 0.0001]
        for collider in shape.colliders:
            add_collider(body, collider, density=density, condim=condim, friction=friction)
            self.owners.append(number)
            self.part_of.append(0)


def add_collider(body: Any, collider: Collider, **settings: Any) -> None:
    """Add one collider to a body under construction."""
    kind = getattr(load_mujoco().mjtGeom, f"mjGEOM_{collider.kind.upper()}")
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
    places = world.places()
    on_table = [thing.place == "table" for thing in world.scene.things]
    return not ((places[on_table, 2] < -0.06).any() or (np.abs(places[:, :2]) > 3).any())


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
            yield world  # a pair must come from one attempt, or the two would not look the same
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


def touches(world: World) -> list[Touch]:
    """Read the contacts of the present state."""
    found, contact = [], world.data.contact
    for k in range(world.data.ncon):
        if contact.dist[k] <= 0.0015:
            first, second = (int(world.thing_of_geom[g]) for g in contact.geom[k])
            found.append(Touch(first, second, tuple(float(v) for v in contact.frame[k][:3])))
    return found
