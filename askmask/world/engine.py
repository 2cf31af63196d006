"""Import MuJoCo with a way to draw without a display: EGL, else OSMesa. The only import of it."""

from __future__ import annotations

import ctypes.util
import importlib
import os
import sys
from types import ModuleType
from typing import Any

from askmask.errors import MissingExtra, SettingError

# Backend: library, Debian package.
_LIBRARIES = {"egl": ("EGL", "libegl1"), "osmesa": ("OSMesa", "libosmesa6")}


def load_mujoco() -> ModuleType:
    """Import MuJoCo; on Linux choose how it draws, if the user has not by MUJOCO_GL.

    Raises MissingExtra without the library, SettingError if nothing here can draw off screen.
    """
    if sys.modules.get("mujoco") is not None:
        return sys.modules["mujoco"]
    _backend()
    try:
        import mujoco
    except (
        ImportError,
        AttributeError,
    ) as error:  # the second is PyOpenGL's, for a GL library that is absent
        if isinstance(error, ModuleNotFoundError) and error.name == "mujoco":
            raise MissingExtra("mujoco", "world") from error
        raise _no_drawing(error) from error
    # Its warnings go to a file in the working folder otherwise; World.unsteady reads the counts instead.
    mujoco.set_mju_user_warning(lambda text: None)
    return mujoco


def gl_context(size: int) -> Any:
    """Make an off-screen GL context, whatever another import of MuJoCo in this process had chosen."""
    backend = _backend()
    try:
        maker = load_mujoco() if backend is None else importlib.import_module(f"mujoco.{backend}")
        return maker.GLContext(size, size)
    except (ImportError, AttributeError, RuntimeError) as error:
        raise _no_drawing(error) from error


def gl_name() -> str:
    """Name the driver that draws, e.g. "llvmpipe (LLVM 15.0.6, 256 bits)"; "" if it does not say."""
    context = gl_context(16)
    context.make_current()
    try:
        gl = importlib.import_module("OpenGL.GL")
        return bytes(gl.glGetString(gl.GL_RENDERER) or b"").decode(errors="replace")
    except (ImportError, AttributeError):
        return ""
    finally:
        context.free()


def _backend() -> str | None:
    """Return the backend to draw with, and tell MuJoCo; None leaves it to MuJoCo (not on Linux)."""
    # llvmpipe would start a thread per core; worlds are made by one process per core instead.
    os.environ.setdefault("LP_NUM_THREADS", "0")
    if not sys.platform.startswith("linux"):
        return None
    if not os.environ.get("MUJOCO_GL"):
        os.environ["MUJOCO_GL"] = _offscreen()
    return os.environ["MUJOCO_GL"].lower()


def _offscreen() -> str:
    for backend, (library, _) in _LIBRARIES.items():
        if ctypes.util.find_library(library):
            return backend
    raise _no_drawing("neither EGL nor OSMesa")


def _no_drawing(got: object) -> SettingError:
    packages = " or ".join(package for _, package in _LIBRARIES.values())
    return SettingError(
        "pictures cannot be drawn here without a display",
        got=got,
        do=f"Install the Debian package {packages} (apt-get install libegl1), or set MUJOCO_GL yourself.",
    )
