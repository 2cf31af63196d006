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


def polygons(array: np.ndarray) -> list[list[list[tuple[float, float]]]]:
    """Return the 4-connected parts of bool [H, W] as polygons [shell, *holes], each a ring [(x, y), ...].

    Corners lie at pixel corners; a ring is not closed by its first corner and touches itself nowhere, so that a
    polygon is valid as OGC's simple features (and with it GeoJSON) have it. Shells run clockwise on screen, holes the
    other way. The even-odd rule over all rings gives back exactly `array`.
    """
    rings = [ring for loop in boundary_loops(array) for ring in _untouching(loop)]
    areas = [_signed_area(ring) for ring in rings]
    shells = [[ring] for ring, area in zip(rings, areas, strict=True) if area > 0]
    boxes = [_box(shell) for (shell,) in shells]
    for hole in (ring for ring, area in zip(rings, areas, strict=True) if area < 0):
        # Half a pixel beside an edge of the hole lies a pixel of the part that the hole is in.
        (x0, y0), (x1, y1) = hole[0], hole[1]
        dx, dy = np.sign(x1 - x0), np.sign(y1 - y0)
        x, y = x0 + dx / 2 - dy / 2, y0 + dy / 2 + dx / 2
        around = (
            n
            for n, (left, top, right, bottom) in enumerate(boxes)
            if left < x < right and top < y < bottom and _contains(shells[n][0], x, y)
        )
        shells[min(around, key=lambda n: _signed_area(shells[n][0]))].append(hole)
    return shells


def one_ring(polygon: list[list[tuple[float, float]]]) -> list[tuple[float, float]]:
    """Join the rings of a polygon, or of several, into one by seams that run there and back.

    For formats that hold one ring a shape. A seam has no area: the even-odd rule gives the same pixels. Each ring is
    joined to a near corner of those joined before it.
    """
    joined = np.array(polygon[0], np.float64).reshape(-1, 2)
    for ring in polygon[1:]:
        new = np.array(ring, np.float64)
        here = int(np.abs(joined - new[0]).sum(1).argmin())
        there = int(np.abs(new - joined[here]).sum(1).argmin())
        around = np.concatenate([joined[here : here + 1], new[there:], new[: there + 1]])
        joined = np.insert(joined, here, around, axis=0)
    return [(float(x), float(y)) for x, y in joined]


def _untouching(loop: list[float]) -> list[list[tuple[float, float]]]:
    """Cut a loop wherever it comes back to a corner it was at: the pieces touch, none touches itself."""
    pieces: list[list[tuple[float, float]]] = []
    ring: list[tuple[float, float]] = []
    seen: dict[tuple[float, float], int] = {}
    for corner in zip(loop[::2], loop[1::2], strict=True):
        if corner in seen:
            at = seen[corner]
            pieces.append(ring[at:])
            for gone in ring[at + 1 :]:
                del seen[gone]
            ring = ring[: at + 1]
        else:
            seen[corner] = len(ring)
            ring.append(corner)
    return [*pieces, ring]


def _signed_area(ring: list[tuple[float, float]]) -> float:
    """Return the area inside a ring, positive where it runs clockwise on screen."""
    x, y = np.array(ring).T
    return float((x * np.roll(y, -1) - y * np.roll(x, -1)).sum() / 2)


def _box(ring: list[tuple[float, float]]) -> tuple[float, float, float, float]:
    corners = np.array(ring)
    return (*corners.min(0), *corners.max(0))


def _contains(ring: list[tuple[float, float]], x: float, y: float) -> bool:
    """Whether a point that lies on no edge is inside a ring of level and upright edges."""
    corners = np.array(ring)
    before = np.roll(corners, 1, axis=0)
    upright = (corners[:, 0] == before[:, 0]) & (corners[:, 0] > x)
    crossed = (corners[:, 1] > y) != (before[:, 1] > y)
    return bool((upright & crossed).sum() % 2)
