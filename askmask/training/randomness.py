"""The random states a run depends on, as plain values that `weights_only` reads back."""

from __future__ import annotations

import json
import random
from typing import Any

import numpy as np
import torch


def seed_all(seed: int) -> None:
    """Seed torch, Python and NumPy."""
    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed % (1 << 32))


def random_state() -> dict[str, Any]:
    """Return the states of all three (and of each CUDA device)."""
    state = np.random.get_state(legacy=True)
    assert isinstance(state, tuple)  # the other form is a dict
    kind, keys, position, has_gauss, gauss = state
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "python": json.dumps(random.getstate()),
        "numpy": json.dumps([kind, keys.tolist(), position, has_gauss, gauss]),
    }


def set_random_state(state: dict[str, Any]) -> None:
    """Go back to a state."""
    torch.set_rng_state(state["torch"])
    if state.get("cuda") and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda"])
    version, keys, gauss = json.loads(state["python"])
    random.setstate((version, tuple(keys), gauss))
    kind, numbers, position, has_gauss, cached = json.loads(state["numpy"])
    np.random.set_state((kind, np.array(numbers, np.uint32), position, has_gauss, cached))
