"""Boundary loops of a mask along pixel edges, exact in both directions. Knows only bool arrays."""

from __future__ import annotations

import numpy as np

# Directed unit edges keep the mask on their right (y grows downward): the top edge runs east, and so on.
_STEP = {"E": (1, 0), "S": (0, 1), "W": (-1, 0), "N": (0, -1)}
_RIGHT_TURN = {"E": "S", "S": "W", "W": "N", "N": "E"}
_LEFT_TURN = {after: before for before, after in _RIGHT_TURN.items()}


def boundary_loops(array: np.ndarray) -> list[list[float]]:
    """Trace bool [H, W] into closed loops [x0, y0, x1, y1, ...] with corners at pixel corners.

    Regions that touch at a corner only become separate loops (4-connectivity).
    """
    padded = np.pad(np.asarray(array, dtype=bool), 1)
    inside = padded[1:-1, 1:-1]
    edges: dict[tuple[int, int], set[str]] = {}

    def add(cells: np.ndarray, dx: int, dy: int, heading: str) -> None:
        for y, x in zip(*np.nonzero(cells), strict=True):
            edges.setdefault((int(x) + dx, int(y) + dy), set()).add(heading)

    add(inside & ~padded[:-2, 1:-1], 0, 0, "E")
    add(inside & ~padded[1:-1, 2:], 1, 0, "S")
    add(inside & ~padded[2:, 1:-1], 1, 1, "W")
    add(inside & ~padded[1:-1, :-2], 0, 1, "N")

    loops = []
    while edges:
        start = next(iter(edges))
        point, heading = start, next(iter(edges[start]))
        corners: list[tuple[int, int]] = []
        previous = None
        while True:
            headings = edges[point]
            headings.discard(heading)
            if not headings:
                del edges[point]
            if heading != previous:
                corners.append(point)
            previous = heading
            point = (point[0] + _STEP[heading][0], point[1] + _STEP[heading][1])
            # At a crossing keep to the same pixel: turn right first.
            options = edges.get(point, ())
            for turn in (_RIGHT_TURN[heading], heading, _LEFT_TURN[heading]):
                if turn in options:
                    heading = turn
                    break
            else:
                break
        # The loop closed; its first corner may lie in the middle of a straight side.
        if len(corners) > 2 and _collinear(corners[-1], corners[0], corners[1]):
            corners.pop(0)
        loops.append([float(v) for corner in corners for v in corner])
    return loops


def _collinear(a: tuple[int, int], b: tuple[int, int], c: tuple[int, int]) -> bool:
    return (b[0] - a[0]) * (c[1] - b[1]) == (b[1] - a[1]) * (c[0] - b[0])
