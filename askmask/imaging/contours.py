"""Boundary loops of a mask along pixel edges, exact in both directions. Knows only bool arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# Directed unit edges keep the mask on their right (y grows downward): the top edge runs east, and so on.
_EAST, _SOUTH, _WEST, _NORTH = range(4)
_RIGHT, _STRAIGHT, _LEFT = 1, 0, 3  # added to a heading


@dataclass(frozen=True)
class _Traced:
    """Closed loops, and of each what it lies in. A loop's corners are [x0, y0, x1, y1, ...]."""

    loops: list[list[float]]
    part: list[int]  # the loop that runs around the part that a loop bounds: its own number, for an outer one


def boundary_loops(array: np.ndarray) -> list[list[float]]:
    """Trace bool [H, W] into closed loops [x0, y0, x1, y1, ...] with corners at pixel corners.

    Regions that touch at a corner only become separate loops (4-connectivity). Loops come in the order of their first
    edge that runs east, row by row.
    """
    return _traced(array).loops


def _traced(array: np.ndarray) -> _Traced:
    padded = np.pad(np.asarray(array, dtype=bool), 1)
    inside = padded[1:-1, 1:-1]
    across = padded.shape[
        1
    ]  # more than the corners of a row: no step leads from one row's end to the next row

    def edges(cells: np.ndarray, dx: int, dy: int, heading: int) -> np.ndarray:
        y, x = np.nonzero(cells)
        return 4 * ((y + dy) * across + x + dx) + heading

    # An edge is a number: the corner that it leaves, times four, and its heading.
    edge = np.concatenate(
        [
            edges(inside & ~padded[:-2, 1:-1], 0, 0, _EAST),
            edges(inside & ~padded[1:-1, 2:], 1, 0, _SOUTH),
            edges(inside & ~padded[2:, 1:-1], 1, 1, _WEST),
            edges(inside & ~padded[1:-1, :-2], 0, 1, _NORTH),
        ]
    )
    if not len(edge):
        return _Traced([], [])
    edge.sort()
    corner, heading = edge // 4, edge % 4
    ahead = corner + np.array([1, across, -1, -across])[heading]
    after = np.zeros(len(edge), np.int64)
    # At a crossing keep to the same pixel: what turns right is written last, over the others.
    for turn in (_LEFT, _STRAIGHT, _RIGHT):
        wanted = 4 * ahead + (heading + turn) % 4
        place = np.searchsorted(edge, wanted).clip(max=len(edge) - 1)
        there = edge[place] == wanted
        after[there] = place[there]
    turns = np.zeros(len(edge), bool)
    turns[after] = heading[after] != heading

    y, x = np.divmod(corner, across)
    corners = list(zip(x.astype(float).tolist(), y.astype(float).tolist(), strict=True))
    follows, is_corner = after.tolist(), turns.tolist()
    loop_of = [-1] * len(edge)
    loops: list[list[float]] = []
    for first in np.flatnonzero(heading == _EAST).tolist():
        if loop_of[first] >= 0:
            continue
        loop: list[float] = []
        at = first
        while loop_of[at] < 0:
            loop_of[at] = len(loops)
            if is_corner[at]:
                loop += corners[at]
            at = follows[at]
        loops.append(loop)
    return _Traced(loops, _parts_of(np.array(loop_of), edge, heading, x, across, len(loops)))


def _parts_of(
    loop_of: np.ndarray, edge: np.ndarray, heading: np.ndarray, x: np.ndarray, across: int, count: int
) -> list[int]:
    """Return for each loop the outer loop of the part that it bounds.

    Above the top of a hole lies a pixel of its part. Going left from there one comes to an edge of the same part: its
    outer loop's, or that of a hole whose top is higher up.
    """
    area = np.bincount(loop_of, np.select([heading == _SOUTH, heading == _NORTH], [x, -x], 0), count)
    north = np.flatnonzero(heading == _NORTH)
    west = np.flatnonzero(heading == _WEST)
    holes, first = np.unique(loop_of[west], return_index=True)  # edges are sorted: the first is at the top
    holes, first = holes[area[holes] < 0], first[area[holes] < 0]
    top = edge[west[first]]  # it leaves the right end of the pixel's lower side
    left = north[np.searchsorted(edge[north], top - 4 - _WEST + _NORTH, "right") - 1]
    part = np.arange(count).tolist()
    by_row = np.argsort(top // 4 // across, kind="stable")
    for hole, beside in zip(holes[by_row].tolist(), loop_of[left[by_row]].tolist(), strict=True):
        part[hole] = part[beside]
    return part


def polygons(array: np.ndarray) -> list[list[list[tuple[float, float]]]]:
    """Return the 4-connected parts of bool [H, W] as polygons [shell, *holes], each a ring [(x, y), ...].

    Corners lie at pixel corners; a ring is not closed by its first corner and touches itself nowhere, so that a
    polygon is valid as OGC's simple features (and with it GeoJSON) have it. Shells run clockwise on screen, holes the
    other way. The even-odd rule over all rings gives back exactly `array`.
    """
    traced = _traced(array)
    found: dict[int, list[list[tuple[float, float]]]] = {}  # by the part's outer loop: its shell first
    for number, (loop, part) in enumerate(zip(traced.loops, traced.part, strict=True)):
        rings = _untouching(loop)
        if number == part and len(rings) > 1:
            rings.sort(key=_signed_area, reverse=True)  # one is the shell, the others holes that touch it
        if number == part:
            found[part] = [*rings, *found.get(part, ())]
        else:
            found.setdefault(part, []).extend(rings)
    return [found[part] for number, part in enumerate(traced.part) if number == part]


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
    corners = list(zip(loop[::2], loop[1::2], strict=True))
    if len(set(corners)) == len(corners):
        return [corners]
    pieces: list[list[tuple[float, float]]] = []
    ring: list[tuple[float, float]] = []
    seen: dict[tuple[float, float], int] = {}
    for corner in corners:
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
