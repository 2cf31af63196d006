"""Where one box lies as seen from another, with margins: a relation that a person could dispute is none.

The paper says only that edges and centres of boxes are compared. The rule here: u = distance of the centres over the
mean side, on each axis; |u| >= 1 exactly where the boxes lie apart on that axis, so one number covers edges and
centres. From |u| >= 0.5 on a side is named; two sides are a diagonal, none is "overlapping", and so are boxes of which
the smaller lies to 0.3 or more in the other. Values near these borders decide nothing.

Antisymmetric, equivariant under flips, blind to scale and place (tests/build/test_positions.py).
"""

from __future__ import annotations

from askmask.build.mrseg.scene import BoxXyxy

SIDE, MOST_SHARED, MARGIN = 0.5, 0.3, 0.1
SAME, OVERLAPPING = "same", "overlapping"
CARDINAL = ("left", "right", "above", "below")
# relation -> how it is said before a reference
WORDS = {
    SAME: "in the same place as",
    OVERLAPPING: "in overlap with",
    "left": "to the left of",
    "right": "to the right of",
    "above": "above",
    "below": "below",
    "above left": "to the upper left of",
    "above right": "to the upper right of",
    "below left": "to the lower left of",
    "below right": "to the lower right of",
}
# relation -> words one set of which a corrected sentence must keep
KEEP = {
    SAME: ("same",),
    OVERLAPPING: ("overlap",),
    "left": ("left",),
    "right": ("right",),
    "above": ("above", "over"),
    "below": ("below", "under", "beneath"),
    "above left": ("upper left", "above and to the left", "top left"),
    "above right": ("upper right", "above and to the right", "top right"),
    "below left": ("lower left", "below and to the left", "bottom left"),
    "below right": ("lower right", "below and to the right", "bottom right"),
}


def offsets(target: BoxXyxy, reference: BoxXyxy) -> tuple[float, float, float]:
    """Return u on x and y (negative: left, above) and the share of the smaller box that both have."""
    tx0, ty0, tx1, ty1 = target
    rx0, ry0, rx1, ry1 = reference
    ux = (tx0 + tx1 - rx0 - rx1) / (tx1 - tx0 + rx1 - rx0)
    uy = (ty0 + ty1 - ry0 - ry1) / (ty1 - ty0 + ry1 - ry0)
    both = max(0, min(tx1, rx1) - max(tx0, rx0)) * max(0, min(ty1, ry1) - max(ty0, ry0))
    least = min((tx1 - tx0) * (ty1 - ty0), (rx1 - rx0) * (ry1 - ry0))
    return ux, uy, both / least


def relation(target: BoxXyxy, reference: BoxXyxy) -> str:
    """Return what `target` is to `reference`, of the keys of WORDS but "same", which boxes cannot tell."""
    ux, uy, shared = offsets(target, reference)
    across = "" if abs(ux) < SIDE else "left" if ux < 0 else "right"
    down = "" if abs(uy) < SIDE else "above" if uy < 0 else "below"
    return OVERLAPPING if shared >= MOST_SHARED else f"{down} {across}".strip() or OVERLAPPING


def is_clear(target: BoxXyxy, reference: BoxXyxy) -> bool:
    """Whether no number that decides lies within MARGIN of its border."""
    ux, uy, shared = offsets(target, reference)
    near_side = any(abs(abs(u) - SIDE) < MARGIN for u in (ux, uy))
    return not near_side and abs(shared - MOST_SHARED) >= MARGIN


def could_be(name: str, target: BoxXyxy, reference: BoxXyxy) -> bool:
    """Whether a person might say that `target` is `name` to `reference`: the borders moved outwards by MARGIN.

    What lies to the upper left is also to the left.
    """
    ux, uy, shared = offsets(target, reference)
    if name == OVERLAPPING:
        return shared >= MOST_SHARED - MARGIN or max(abs(ux), abs(uy)) < SIDE + MARGIN
    far = {"left": -ux, "right": ux, "above": -uy, "below": uy}
    return all(far[side] >= SIDE - MARGIN for side in name.split())
