"""Hold little freed memory: a server keeps it otherwise for each of its threads, and kernels for each shape it met."""

from __future__ import annotations

import ctypes
import os
import platform

ARENAS = 2  # of glibc; by default 8 a core, each of which keeps the most that its threads ever held
_ARENA_MAX = -8  # M_ARENA_MAX of malloc.h
# Kernels that oneDNN keeps, 1,024 by default. It compiles one for every shape, and a conversation that grows has a
# new one every round.
KERNELS = 32


def hold_little() -> bool:
    """Bound what allocator and kernels keep; return whether the allocator could be told. Before a model first runs.

    What the environment says of either wins.
    """
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", str(KERNELS))
    if platform.libc_ver()[0] != "glibc" or "MALLOC_ARENA_MAX" in os.environ:
        return False
    return bool(ctypes.CDLL(None).mallopt(_ARENA_MAX, ARENAS))
