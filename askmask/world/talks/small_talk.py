"""Small talk: what people say to an assistant that asks for nothing to be shown. It is answered in words alone.

Only conversations that train have it: the fixed splits were frozen before.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from askmask.world.facts import Facts
from askmask.world.ground import Ground, choose
from askmask.world.talks.words import SMALL_TALK

KIND = "small_talk"


def small_talk(ground: Ground, rng: np.random.Generator, **more: Any) -> Facts:
    """Write a round of small talk as a stored prompt; `more` are fields of its own."""
    sort = choose(rng, sorted(SMALL_TALK))
    return {
        "prompt": choose(rng, SMALL_TALK[sort]["train"]),
        "concept": "entities",
        "family": KIND,
        "kind": KIND,
        "answer": None,
        "ignore": [],
        "candidates": list(ground.seen),
        "satisfying": [],
        "facts": {"act": KIND},
        "shortcuts": {},
        "hard": None,
        "margin": None,
        "negative": None,
        "refers_to": [],
        "reply": choose(rng, SMALL_TALK[sort]["replies"]),
        "spans": [],
    } | more
