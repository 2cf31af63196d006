"""Render a world: colour, depth, ids of things and parts per pixel, and the camera's pose."""

from __future__ import annotations

import atexit
from dataclasses import dataclass
from typing import Any

import numpy as np

from askmask.formats import dense
from askmask.world.engine import gl_context, load_mujoco
from askmask.world.scene import Camera
from askmask.world.simulate import FOVY, GROUND, SEEN, TABLE, World

LARGEST = 1024  # pixels a side


@dataclass(frozen=True, slots=True)
class CameraPose:
    """Where a camera is: position, and unit vectors to the right, down and forward in the picture."""

    at: np.ndarray
    right: np.ndarray
    down: np.ndarray
    forward: np.ndarray

    @classmethod
    def of(cls, camera: Camera) -> CameraPose:
        """Place a camera; MuJoCo's free camera looks along (cos e cos a, cos e sin a, sin e)."""
        a, e = np.deg2rad(camera.azimuth), np.deg2rad(camera.elevation)
        forward = np.array([np.cos(e) * np.cos(a), np.cos(e) * np.sin(a), np.sin(e)])
        right = np.array([np.sin(a), -np.cos(a), 0.0])
        at = np.asarray(camera.target) - camera.distance * forward
        return cls(at, right, np.cross(forward, right), forward)

    def project(self, points: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
        """Return pixel coordinates [n, 2] (x, y; pixel centres at .5) and depths [n] of points [n, 3]."""
        offset = points - self.at
        depth = offset @ self.forward
        safe = np.maximum(depth, 1e-6)
        xy = np.stack([offset @ self.right / safe, offset @ self.down / safe], 1) * _focal(size) + size / 2
        return xy, depth

    def heights(self, depth: np.ndarray) -> np.ndarray:
        """Return the world height z [H, W] seen at each pixel of a depth map [H, W]."""
        size = depth.shape[0]
        step = (np.arange(size) + 0.5 - size / 2) / _focal(size)
        ray = self.forward[2] + step[None, :] * self.right[2] + step[:, None] * self.down[2]
        return self.at[2] + depth * ray


def _focal(size: int) -> float:
    return size / 2 / np.tan(np.deg2rad(FOVY) / 2)


@dataclass(frozen=True, slots=True)
class View:
    """One picture of a world. Ids follow askmask.formats.dense: every pixel has exactly one."""

    rgb: np.ndarray  # uint8 [H, W, 3]
    objects: np.ndarray  # uint8 [H, W]
    parts: np.ndarray  # uint8 [H, W]
    depth: np.ndarray  # float32 [H, W], metres along the optical axis
    camera: CameraPose

    @property
    def size(self) -> int:
        """Pixels a side."""
        return self.objects.shape[0]


_gl: dict[int, Any] = {}  # one GL context per size and process; making one takes longer than drawing


@atexit.register
def _free_contexts() -> None:
    """Free GL contexts while Python's modules still stand; their own finalisers run too late."""
    while _gl:
        _gl.popitem()[1].free()


class Renderer:
    """Draws one world at one size. Use as a context manager: GPU memory is given back at the end."""

    def __init__(self, world: World, size: int):
        mujoco = self._mujoco = load_mujoco()
        self.world, self.size = world, size
        if size not in _gl:
            _gl[size] = gl_context(size)
        _gl[size].make_current()
        model = world.model
        model.vis.global_.offwidth = model.vis.global_.offheight = size
        self._context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._context)
        self._scene = mujoco.MjvScene(model, maxgeom=len(world.thing_of_geom) + 20)
        self._option = mujoco.MjvOption()
        self._option.geomgroup[:] = 0
        self._option.geomgroup[SEEN] = 1

    def __enter__(self) -> Renderer:
        return self

    def __exit__(self, *_: object) -> None:
        self._context.free()

    def draw(self, camera: Camera) -> View:
        """Draw the world's present state from a camera."""
        mujoco, model = self._mujoco, self.world.model
        free = mujoco.MjvCamera()
        free.type = mujoco.mjtCamera.mjCAMERA_FREE
        free.lookat[:] = camera.target
        free.distance, free.azimuth, free.elevation = camera.distance, camera.azimuth, camera.elevation
        every, scene, flags = mujoco.mjtCatBit.mjCAT_ALL, self._scene, self._scene.flags
        mujoco.mjv_updateScene(model, self.world.data, self._option, mujoco.MjvPerturb(), free, every, scene)
        flags[mujoco.mjtRndFlag.mjRND_SHADOW] = 1
        flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = 0
        rgb, _ = self._read()
        as_ids = [int(mujoco.mjtRndFlag.mjRND_SEGMENT), int(mujoco.mjtRndFlag.mjRND_IDCOLOR)]
        flags[as_ids] = 1
        codes, raw = self._read()
        flags[as_ids] = 0
        objects, parts = self._ids(codes)
        near, far = model.vis.map.znear * model.stat.extent, model.vis.map.zfar * model.stat.extent
        depth = near / (1 - raw * (1 - near / far))
        return View(rgb, objects, parts, depth, CameraPose.of(camera))

    def _read(self) -> tuple[np.ndarray, np.ndarray]:
        """Draw, and read colours [H, W, 3] and raw depths [H, W], top row first."""
        mujoco, size = self._mujoco, self.size
        window = mujoco.MjrRect(0, 0, size, size)
        colours, depths = np.empty((size, size, 3), np.uint8), np.empty((size, size), np.float32)
        mujoco.mjr_render(window, self._scene, self._context)
        mujoco.mjr_readPixels(colours, depths, window, self._context)
        return colours[::-1].copy(), depths[::-1].copy()

    def _ids(self, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Turn MuJoCo's id colours into thing and part ids [H, W]."""
        code = codes[..., 0] + codes[..., 1] * np.int32(256) + codes[..., 2] * np.int32(65536)
        scene, world = self._scene, self.world
        things = np.zeros(scene.ngeom + 1, np.uint8)
        parts = np.zeros(scene.ngeom + 1, np.uint8)
        top = int(np.flatnonzero(world.thing_of_geom == TABLE)[0])
        for k in range(scene.ngeom):
            geom = scene.geoms[k]
            if geom.objtype != self._mujoco.mjtObj.mjOBJ_GEOM or geom.segid < 0:
                continue
            owner = int(world.thing_of_geom[geom.objid])
            if owner > 0:
                things[geom.segid + 1], parts[geom.segid + 1] = owner, world.part_of_geom[geom.objid]
            elif owner == TABLE:
                things[geom.segid + 1] = dense.TABLE
                parts[geom.segid + 1] = dense.TABLE if geom.objid == top else dense.TABLE_REST
            elif owner == GROUND:
                things[geom.segid + 1] = parts[geom.segid + 1] = dense.FLOOR
        code = np.where(code <= scene.ngeom, code, 0)
        return things[code], parts[code]
