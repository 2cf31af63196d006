"""What allocator and kernels keep is bounded: seen from a process of its own, as both are set once for all."""

import os
import platform
import subprocess
import sys

import pytest

from askmask.serving.heap import ARENAS, KERNELS

HEAPS = """
import ctypes, sys, threading
from askmask.serving.heap import hold_little
if sys.argv[2] == "bounded":
    assert hold_little()
libc, gate = ctypes.CDLL(None), threading.Barrier(9)
libc.malloc.restype = ctypes.c_void_p
def hold():
    libc.malloc(ctypes.c_size_t(50_000))
    gate.wait()
for _ in range(8):
    threading.Thread(target=hold).start()
gate.wait()
libc.fopen.restype = ctypes.c_void_p
file = ctypes.c_void_p(libc.fopen(sys.argv[1].encode(), b"w"))
libc.malloc_info(0, file)
libc.fclose(file)
"""
COMPILED = """
from askmask.serving.heap import hold_little
hold_little()
import torch
for _ in range(2):
    for size in range(1, 50):
        torch.nn.functional.gelu(torch.zeros(1, size, 64))
"""


def run(code, *words, **more):
    env = {k: v for k, v in os.environ.items() if k not in ("MALLOC_ARENA_MAX", *more)} | more
    made = subprocess.run(
        [sys.executable, "-c", code, *words], env=env, capture_output=True, text=True, timeout=60
    )
    assert made.returncode == 0, made.stderr
    return made.stdout


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="arenas are glibc's")
def test_threads_share_few_arenas(tmp_path):
    found = {}
    for how in ("bounded", "as it is"):
        run(HEAPS, str(tmp_path / how), how)
        found[how] = (tmp_path / how).read_text().count("<heap nr=")
    assert found["bounded"] <= ARENAS < found["as it is"]


def test_kernels_of_shapes_long_gone_are_not_kept():
    pytest.importorskip("torch")
    lines = [line for line in run(COMPILED, ONEDNN_VERBOSE="all").splitlines() if "eltwise" in line]
    made = [line for line in lines if "create" in line]
    if not made:
        pytest.skip("this build of torch makes no kernel of oneDNN here")
    assert KERNELS < 49 and sum("cache_miss" in line for line in made) == 2 * 49
