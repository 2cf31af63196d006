"""Mask: one region of one picture, as its size and a COCO run-length code.

Pixels are those of the original upright picture, origin top-left. A mask is a value: frozen, equal by
content, small in memory; boolean operations stay in run-length form (pycocotools).
"""

from __future__ import annotations

import io
import operator
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pycocotools import mask as coco

from askmask.errors import MaskError
from askmask.imaging.files import MAX_SIDE, read_mask_pixels
from askmask.imaging.overlap import ratio
from askmask.notes import say_once

if TYPE_CHECKING:
    from numpy.typing import DTypeLike
    from PIL import Image
from askmask.runs.whole_files import write_bytes

MAX_OUTSIDE = 1 << 16  # pixels beyond the picture where a corner of a polygon may lie
MAX_OUTLINE = 10_000_000  # pixels along the edges of polygons: above any drawing, drawn in a second
MAX_CODE = 8 << 20  # characters of a run-length code; decoding one takes about 80 bytes a character
MAX_PIXELS = 1 << 28  # 268 M pixels: above any camera, below what exhausts memory when decoded


@dataclass(frozen=True, slots=True)
class Mask:
    """A set of pixels of a picture of `size` (height, width), in COCO's compressed run-length `counts`.

    Make one with `from_array`, `from_dict`, ...: they check. The constructor trusts `counts` as it is.
    """

    size: tuple[int, int]
    counts: str

    def __post_init__(self) -> None:
        _check_size(self.size)
        object.__setattr__(self, "size", (int(self.size[0]), int(self.size[1])))

    def __repr__(self) -> str:
        return f"Mask({self.size[1]} x {self.size[0]} px, {self.area} in it)"

    # -- making -------------------------------------------------------------------------------------------

    @classmethod
    def from_array(cls, array: Any) -> Mask:
        """Make a mask from an array or tensor [H, W]; every value that is not zero belongs to it.

        Raises MaskError for another shape, for what are no numbers, and for NaN.
        """
        if hasattr(array, "detach"):  # a tensor: NumPy has no bfloat16 and cannot read a graphics card
            array = array.detach()
            if bool((array != array).any()):
                raise MaskError("a mask cannot be made of NaN")
            array = (array != 0).cpu()
        try:
            array = np.asarray(array)
        except ValueError as error:
            raise MaskError("a mask needs numbers [H, W]", got=repr(array)[:80]) from error
        if array.ndim != 2 or array.dtype.kind not in "biuf":
            raise MaskError("a mask needs numbers [H, W]", got=f"{array.dtype} of shape {array.shape}")
        if array.dtype.kind == "f" and np.isnan(array).any():
            raise MaskError("a mask cannot be made of NaN")
        _check_size(array.shape)
        fortran = np.asfortranarray((array != 0).astype(np.uint8))
        return cls(array.shape, coco.encode(fortran)["counts"].decode("ascii"))

    @classmethod
    def empty(cls, size: tuple[int, int]) -> Mask:
        """Make the mask of no pixel."""
        _check_size(size)
        return cls._from_rle(coco.frPyObjects({"size": list(size), "counts": [size[0] * size[1]]}, *size))

    @classmethod
    def full(cls, size: tuple[int, int]) -> Mask:
        """Make the mask of every pixel."""
        _check_size(size)
        return cls._from_rle(coco.frPyObjects({"size": list(size), "counts": [0, size[0] * size[1]]}, *size))

    @classmethod
    def from_polygons(cls, polygons: Iterable[Any], size: tuple[int, int]) -> Mask:
        """Fill polygons [x0, y0, x1, y1, ...] or [[x, y], ...] in pixels, by COCO's rule, and take their union.

        Raises MaskError for a polygon with fewer than three corners or one far outside the picture.
        """
        _check_size(size)
        rings = [_ring(ring, number, size) for number, ring in enumerate(polygons)]
        if not rings:
            return cls.empty(size)
        if _outline(rings) > MAX_OUTLINE:
            # pycocotools walks every edge from end to end: what lies far outside must not be walked.
            rings = [part for ring in rings if len(part := _clipped(ring, size)) >= 3]
            if _outline(rings) > MAX_OUTLINE:
                raise MaskError(f"the polygons' edges are longer than {MAX_OUTLINE} pixels")
            if not rings:
                return cls.empty(size)
        return cls._from_rle(coco.merge(coco.frPyObjects([ring.ravel().tolist() for ring in rings], *size)))

    @classmethod
    def from_png(
        cls, source: str | Path | bytes | Image.Image, doubt: Callable[[str], None] = say_once
    ) -> Mask:
        """Read a picture file as a mask; see `files.read_mask_pixels`. What is doubtful about it is told to `doubt`."""
        pixels, doubts = read_mask_pixels(source)
        for text in doubts:
            doubt(text)
        return cls.from_array(pixels)

    @classmethod
    def from_dict(cls, data: Any) -> Mask:
        """Read COCO's form {"size": [H, W], "counts": compressed text | bytes | list of run lengths}.

        Equal pixels become equal masks, however they were coded. Raises MaskError if the runs do not cover the
        size exactly.
        """
        try:
            height, width = map(operator.index, data["size"])
            counts = data["counts"]
        except (TypeError, KeyError, ValueError) as error:
            raise MaskError('a mask needs {"size": [H, W], "counts": ...}', got=repr(data)[:80]) from error
        size = (height, width)
        _check_size(size)
        if isinstance(counts, bytes):
            counts = counts.decode("ascii", errors="replace")
        if isinstance(counts, str):
            most = min(12 * (2 * height * width + 2), MAX_CODE)  # a run takes at most 12, and may be empty
            if len(counts) > most:
                raise MaskError(
                    f"the code of a mask of {height} x {width} pixels has at most {most} characters",
                    got=len(counts),
                )
            runs = _decode_counts(counts)
            _check_runs(runs, size)
            if runs[1:].all():
                return cls(size, counts)
        else:
            given: list[Any] = list(counts) if isinstance(counts, (list, tuple, np.ndarray)) else [None]
            if not all(isinstance(run, (int, np.integer)) and not isinstance(run, bool) for run in given):
                raise MaskError("run lengths must be a list of whole numbers", got=repr(counts)[:80])
            if len(given) > 2 * height * width + 2 or any(not 0 <= run <= height * width for run in given):
                raise MaskError(f"run lengths must lie in 0..{height * width}", got=repr(counts)[:80])
            runs = np.array(given, np.int64)
            _check_runs(runs, size)
        runs_joined = _without_gaps(runs.tolist())
        return cls._from_rle(coco.frPyObjects({"size": list(size), "counts": runs_joined}, *size))

    @classmethod
    def _from_rle(cls, rle: dict[str, Any]) -> Mask:
        return cls(tuple(rle["size"]), rle["counts"].decode("ascii"))

    # -- reading ------------------------------------------------------------------------------------------

    def _rle(self) -> dict[str, Any]:
        return {"size": list(self.size), "counts": self.counts.encode("ascii")}

    def to_array(self) -> np.ndarray:
        """Return the pixels as bool [H, W]."""
        return coco.decode(self._rle()).astype(bool)

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> np.ndarray:
        """Let `np.asarray(mask)` be `mask.to_array()`; it is always a new array."""
        if copy is False:
            raise ValueError("the pixels of a Mask are decoded: they cannot be shared without a copy")
        return self.to_array().astype(dtype or bool, copy=False)

    def runs(self) -> np.ndarray:
        """Return the run lengths int64 [runs], column by column from the top left, zeros first."""
        return _decode_counts(self.counts)

    def to_dict(self) -> dict[str, Any]:
        """Return COCO's compressed form, ready for JSON."""
        return {"size": list(self.size), "counts": self.counts}

    def to_png(self, path: str | Path | None = None) -> bytes:
        """Return (and write, if `path` is given) an 8-bit PNG: 255 inside, 0 outside."""
        from PIL import Image

        buffer = io.BytesIO()
        Image.fromarray(self.to_array().astype(np.uint8) * 255).save(buffer, format="PNG")
        if path is not None:
            write_bytes(path, buffer.getvalue())
        return buffer.getvalue()

    def polygons(self) -> list[list[float]]:
        """Return the closed boundary loops [x0, y0, x1, y1, ...] along pixel edges, in pixels.

        Outer boundaries run with the mask on their right (clockwise on screen), holes the other way, so the
        even-odd rule over all loops gives back exactly this mask. Empty mask: no loop.
        """
        from askmask.imaging.contours import boundary_loops

        return boundary_loops(self.to_array())

    def parts(self) -> list[list[list[tuple[float, float]]]]:
        """Return one valid polygon [shell, *holes] per 4-connected part; see `contours.polygons`."""
        from askmask.imaging.contours import polygons

        return polygons(self.to_array())

    @property
    def area(self) -> int:
        """Number of pixels."""
        return int(coco.area(self._rle()))

    @property
    def box(self) -> tuple[int, int, int, int] | None:
        """Tight box (x0, y0, x1, y1) in pixels, x1 and y1 one past the last pixel; None if empty."""
        if not self.area:
            return None
        x, y, width, height = (int(v) for v in coco.toBbox(self._rle()))
        return x, y, x + width, y + height

    def __bool__(self) -> bool:
        return self.area > 0

    # -- algebra ------------------------------------------------------------------------------------------

    def iou(self, other: Mask) -> float:
        """Intersection over union in [0, 1]; two empty masks agree fully (1.0)."""
        both = (self & other).area
        return float(ratio(both, self.area + other.area - both))

    def inside(self, other: Mask) -> float:
        """Share of this mask's pixels that lie in the other, in [0, 1]; of an empty mask 1."""
        return float(ratio((self & other).area, self.area))

    def overlap(self, other: Mask) -> float:
        """Share of the smaller mask's pixels that both have, in [0, 1]; 0 if one is empty."""
        least = min(self.area, other.area)
        return (self & other).area / least if least else 0.0

    def union(self, *others: Mask) -> Mask:
        """Pixels in this mask or any other."""
        return self._merge(others, intersect=False)

    def intersection(self, *others: Mask) -> Mask:
        """Pixels in this mask and every other."""
        return self._merge(others, intersect=True)

    def difference(self, other: Mask) -> Mask:
        """Pixels in this mask and not in the other."""
        return self.intersection(other.complement())

    def complement(self) -> Mask:
        """Pixels of the picture not in this mask."""
        runs = _decode_counts(self.counts).tolist()
        runs = runs[1:] if runs and runs[0] == 0 else [0, *runs]
        rle = coco.frPyObjects({"size": list(self.size), "counts": runs}, *self.size)
        return Mask._from_rle(rle)

    def _merge(self, others: Iterable[Mask], *, intersect: bool) -> Mask:
        masks = (self, *others)
        for other in masks[1:]:
            self._check_same_size(other)
        return Mask._from_rle(coco.merge([mask._rle() for mask in masks], intersect=intersect))

    __or__ = union
    __and__ = intersection
    __sub__ = difference
    __invert__ = complement

    def _check_same_size(self, other: Mask) -> None:
        if self.size != other.size:
            raise MaskError(
                "masks of different pictures cannot be combined", got=f"sizes {self.size} and {other.size}"
            )


def union_of(masks: Iterable[Mask], size: tuple[int, int]) -> Mask:
    """Return the union of any number of masks of one size; of none, the empty mask."""
    return Mask.empty(size).union(*masks)


def _decode_counts(counts: str) -> np.ndarray:
    """Decode COCO's compressed text to run lengths int64 [runs]: 5 bits a character, deltas to the run two back.

    All characters at once: a loop over them costs more than scoring the mask does.
    """
    codes = np.frombuffer(counts.encode("latin-1", errors="replace"), np.uint8).astype(np.int64) - 48
    if codes.size == 0:
        return codes
    if codes.min() < 0 or codes.max() > 63:
        raise MaskError("a mask's counts are not COCO's compressed code", got=repr(counts[:40]))
    ends = np.flatnonzero(codes & 0x20 == 0)  # the last character of each run has no continuation bit
    if ends.size == 0 or ends[-1] != codes.size - 1:
        raise MaskError("a mask's counts end in the middle of a run", got=repr(counts[-40:]))
    starts = np.concatenate(([0], ends[:-1] + 1))
    lengths = ends - starts + 1
    if lengths.max() > 12:
        raise MaskError("a mask's counts are not COCO's compressed code", got=repr(counts[:40]))
    places = np.arange(codes.size) - np.repeat(starts, lengths)
    runs = np.add.reduceat((codes & 0x1F) << (5 * places), starts)
    runs -= np.where(codes[ends] & 0x10, np.int64(1) << (5 * lengths), 0)
    runs[1::2] = np.cumsum(runs[1::2])
    runs[2::2] = np.cumsum(runs[2::2])
    return runs


def _without_gaps(runs: list[int]) -> list[int]:
    """Join runs that an empty one parts, so that one set of pixels has one code; the first may be empty."""
    if 0 not in runs[1:]:
        return runs
    joined = runs[:1]
    for index in range(1, len(runs)):
        if not runs[index]:
            continue
        if index % 2 == len(joined) % 2:  # of the other colour than the last
            joined.append(runs[index])
        else:
            joined[-1] += runs[index]
    return joined


def _ring(ring: Any, number: int, size: tuple[int, int]) -> np.ndarray:
    """Check one polygon and return its corners [N, 2]."""
    try:
        corners = np.asarray(ring, np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise MaskError(f"polygon {number} must be numbers", got=repr(ring)[:80]) from error
    if corners.ndim == 2 and corners.shape[1] == 2:
        corners = corners.ravel()
    if corners.ndim != 1 or corners.size < 6 or corners.size % 2:
        raise MaskError(
            f"polygon {number} must be at least three x, y pairs",
            got=f"{corners.size} numbers of shape {list(corners.shape)}",
        )
    # pycocotools crashes on NaN and on numbers that overflow.
    reach = 2 * max(size) + MAX_OUTSIDE
    if not (np.abs(corners) <= reach).all():
        raise MaskError(
            f"polygon {number} lies far outside the picture", got=f"a coordinate beyond {reach}, or none"
        )
    return corners.reshape(-1, 2)


def _outline(rings: list[np.ndarray]) -> float:
    return sum(float(np.abs(ring - np.roll(ring, 1, axis=0)).max(1).sum()) for ring in rings)


def _clipped(ring: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Cut a polygon to the surroundings of a picture, by Sutherland and Hodgman's rule, a side at a time."""
    height, width = size
    for axis, bound, sign in ((0, -8, 1), (0, width + 8, -1), (1, -8, 1), (1, height + 8, -1)):
        if not len(ring):
            return ring
        inside = sign * (ring[:, axis] - bound) >= 0
        before, was_inside = np.roll(ring, 1, axis=0), np.roll(inside, 1)
        crosses = inside != was_inside
        step = ring[:, axis] - before[:, axis]
        share = np.where(crosses, (bound - before[:, axis]) / np.where(step == 0, 1, step), 0)
        cut = before + share[:, None] * (ring - before)
        both = np.stack([cut, ring], axis=1)  # where the edge into a corner crosses, the cut comes before it
        ring = both[np.stack([crosses, inside], axis=1)]
    return ring


def _check_size(size: Any) -> None:
    try:
        height, width = map(operator.index, size)
    except (TypeError, ValueError) as error:
        raise MaskError("a mask's size must be (height, width)", got=repr(size)[:80]) from error
    if height < 1 or width < 1 or height * width > MAX_PIXELS or max(height, width) > MAX_SIDE:
        raise MaskError(
            f"a mask must have 1 to {MAX_PIXELS} pixels and sides up to {MAX_SIDE}",
            got=f"size (height, width) {(height, width)}"[:80],
        )


def _check_runs(runs: np.ndarray, size: tuple[int, int]) -> None:
    pixels = size[0] * size[1]
    # Each run is held against the whole first, so that no sum of huge runs can wrap round to the right one.
    if (runs.size and (runs.min() < 0 or runs.max() > pixels)) or int(runs.sum()) != pixels:
        raise MaskError(
            f"a mask's runs must cover its {size[0]} x {size[1]} pixels exactly",
            got=f"{runs.size} runs summing to {sum(runs.tolist())}",
        )
