"""Import MuJoCo with a way to draw without a display: EGL if there is one, else OSMesa. The only import of it."""

from __future__ import annotations

import ctypes.util
import os
import sys
from types import ModuleType

from askmask.errors import MissingExtra, SettingError

_LIBRARIES = {"egl": ("EGL", "libegl1"), "osmesa": ("OSMesa", "libosmesa6")}  # backend: library, Debian package


def load_mujoco() -> ModuleType:
    """Import MuJoCo, choosing MUJOCO_GL if the user has not.

    Raises MissingExtra without the library, SettingError if nothing here can draw off screen.
    """
    if "mujoco" not in sys.modules:
        # llvmpipe would start a thread per core; worlds are made by one process per core instead.
        os.environ.setdefault("LP_NUM_THREADS", "0")
        if sys.platform.startswith("linux") and not os.environ.get("MUJOCO_GL"):
            os.environ["MUJOCO_GL"] = _offscreen()
    try:
        import mujoco
    except ImportError as error:
        if getattr(error, "name", None) == "mujoco" or "mujoco" in str(error).lower():
            raise MissingExtra("mujoco", "world") from error
        raise _no_drawing(error) from error
    except AttributeError as error:  # PyOpenGL's way of saying that the GL library is not there
        raise _no_drawing(error) from error
    return mujoco


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
