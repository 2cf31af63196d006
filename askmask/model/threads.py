"""How many processor threads torch may use for a stretch of work: one, where the work is small.

A small network gains nothing from a second thread on a quiet machine; where another program holds a core, each of its
hundreds of short parallel stretches waits for that core (`benchmarks/busy_core.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def at_most(count: int | None) -> Iterator[None]:
    """Let torch use at most `count` threads inside; None leaves it as it is. Concerns the calling thread alone."""
    before = torch.get_num_threads()
    if count is None or before <= count:
        yield
        return
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
