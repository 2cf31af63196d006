"""Colours as eyes see them: how far apart two are, for usual eyes and for those blind to red or to green.

Distances are in Oklab (Ottosson 2020, https://bottosson.github.io/posts/oklab), where black to white is 1; what the
colour-blind see is simulated by Machado, Oliveira and Fernandes 2009, full severity. One man in twelve sees so.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

ENOUGH = 0.2  # of the way from black to white: nobody takes such colours for one another
# Linear RGB -> linear RGB as it is seen: usual eyes, protanopia, deuteranopia.
_SEEN = np.array(
    [
        [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    ]
)
_LMS = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
_LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)


def seen(rgb: np.ndarray) -> np.ndarray:
    """Return Oklab [3, N, 3] of colours uint8 [N, 3]: as usual eyes, the red-blind and the green-blind see them."""
    share = np.asarray(rgb, np.float64) / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    linear = np.einsum("vij,nj->vni", _SEEN, linear).clip(0, 1)
    return np.cbrt(linear @ _LMS.T) @ _LAB.T


def apart(ones: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the distances [N, M] of colours [3, N, 3] and [3, M, 3] of `seen`, to the eyes that tell them worst."""
    return np.linalg.norm(ones[:, :, None] - others[:, None], axis=-1).min(0)


def clearest(ground: np.ndarray, taken: Sequence[Sequence[int]], colours: Sequence[Sequence[int]]) -> int:
    """Return which of `colours` shows best on pixels uint8 [N, 3] beside colours that are `taken`.

    Shows: it is far from even the nearest tenth of the pixels and from every taken colour, whoever looks. The first
    colour that is far enough is chosen, or where none is, the first that is nearly as clear as the clearest.
    """
    candidates = seen(np.array(colours))
    clearness = np.full(len(colours), np.inf)
    if len(ground):
        pixels = ground[:: max(1, len(ground) // 1000)]
        clearness = np.percentile(apart(candidates, seen(pixels)), 10, axis=1)
    if len(taken):
        clearness = np.minimum(clearness, apart(candidates, seen(np.array(taken))).min(1))
    return int(np.argmax(clearness >= min(ENOUGH, 0.8 * clearness.max())))
