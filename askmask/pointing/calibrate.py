"""Does a model place things where they are? A picture with known marks is sent, and what comes back is fitted.

The marks are squares of different colours near the corners and in the middle, at two sizes. From answered and true
places an affine map for each axis is fitted; which convention, if any, makes it the identity says what is wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from askmask.conversation import Prompt
from askmask.imaging.files import Picture, read_picture
from askmask.pointing.conventions import TABLE, Convention
from askmask.pointing.meter import Meter
from askmask.pointing.pointer import VlmPointer
from askmask.pointing.sent import Sent

COLOURS = {
    "red": (220, 30, 30), "green": (30, 160, 60), "blue": (40, 70, 220), "yellow": (240, 210, 30),
    "black": (0, 0, 0),
}  # fmt: skip
BACKGROUND = (235, 235, 235)
SIZES = (
    (768, 1152),
    (1440, 1080),
)  # (height, width): landscape and portrait, both resized by us before sending
SIDES = (0.1, 0.03)  # of the shorter side: a mark that all can see, and one that needs enough image tokens
NEAR = 0.02  # of the picture's side: so far off is fine
AT_LEAST = 3  # marks found, to fit a map


@dataclass(frozen=True)
class Verdict:
    """`kind`: fine, convention, resize, tokens, unreadable or lost; `words` says it, `fits` names a convention."""

    kind: str
    words: str
    fits: str | None = None


@dataclass(frozen=True)
class _Sighting:
    """True and answered centres (x, y) of one picture, as written by the model, and the picture as sent."""

    true: np.ndarray  # [N, 2] in pixels sent
    said: np.ndarray  # [N, 2] as two numbers in the order written
    sent: Sent


def calibration_picture(size: tuple[int, int], side: float) -> tuple[Picture, dict[str, tuple[float, float]]]:
    """Return a picture and the centre (x, y) of each mark in it, by colour."""
    height, width = size
    half = max(4, round(side * min(size) / 2))
    places = [
        (0.12, 0.1),
        (0.9, 0.14),
        (0.08, 0.88),
        (0.86, 0.92),
        (0.55, 0.45),
    ]  # unlike in x and y: swaps show
    image = Image.new("RGB", (width, height), BACKGROUND)
    draw = ImageDraw.Draw(image)
    centres = {}
    for (name, colour), (x, y) in zip(COLOURS.items(), places, strict=True):
        cx, cy = round(x * width), round(y * height)
        draw.rectangle((cx - half, cy - half, cx + half - 1, cy + half - 1), fill=colour)
        centres[name] = (float(cx), float(cy))
    return read_picture(np.array(image)), centres


def calibrate(pointer: VlmPointer, meter: Meter) -> Verdict:
    """Ask for every mark at both sizes. Raises UnitFailed or RunStopped where the server does not answer."""
    large = [_seen(pointer, size, SIDES[0], meter) for size in SIZES]
    if any(isinstance(one, str) for one in large):
        why = next(one for one in large if isinstance(one, str))
        return Verdict("unreadable", f"the replies could not be read: {why}")
    found = [one for one in large if isinstance(one, _Sighting)]
    if sum(len(one.true) for one in found) < AT_LEAST * len(SIZES):
        return Verdict(
            "lost", "the model did not find plain coloured squares: it may not see pictures, or not point"
        )
    used = pointer.convention
    if _fits(found, used):
        small = [_seen(pointer, size, SIDES[1], meter) for size in SIZES]
        seen = [one for one in small if isinstance(one, _Sighting)]
        if (
            len(seen) < len(small)
            or sum(len(one.true) for one in seen) < 4 * len(SIZES)
            or not _fits(seen, used)
        ):
            return Verdict(
                "tokens",
                "large marks are placed well, small ones are not: the server gives too few image tokens. Allow 1024 "
                "or more for a picture (vLLM: --mm-processor-kwargs, llama.cpp: --image-min-tokens)",
            )
        return Verdict("fine", f"places are where they should be, as {used.name} writes them", used.name)
    for other in TABLE.values():
        if _fits(found, other):
            return Verdict(
                "convention",
                f"wrong convention: coordinates are read as {used.name} writes them, but {other.name} fits. "
                f"Add --convention {other.name}",
                other.name,
            )
    scales = [_affine(one, used) for one in found]
    if all(fit is not None and fit[1] < NEAR for fit in scales):
        said = ", ".join(f"{fit[0][0]:.2f} x {fit[0][1]:.2f}" for fit in scales if fit is not None)
        return Verdict(
            "resize",
            f"hidden resize: the server shrinks what it is sent (places come back at {said} of their true ones). "
            "Raise its limit on pictures (max_pixels, num_ctx, image size)",
        )
    return Verdict("lost", "places are off in no regular way: this model cannot point well enough")


def _seen(pointer: VlmPointer, size: tuple[int, int], side: float, meter: Meter) -> _Sighting | str:
    picture, centres = calibration_picture(size, side)
    sent = pointer.see(picture)
    replies = pointer.raw_places(sent, Prompt(text="every coloured square: " + ", ".join(centres)), meter)
    if isinstance(replies, str):
        return replies
    true, said = [], []
    for label, place in replies:
        for name in centres:
            if name in label.casefold():
                x, y = centres[name]
                true.append((x * sent.scale[0], y * sent.scale[1]))
                said.append(place)
                break
    return _Sighting(np.array(true).reshape(-1, 2), np.array(said).reshape(-1, 2), sent)


def _read(one: _Sighting, convention: Convention) -> np.ndarray:
    return np.array([convention.xy(a, b, one.sent.size) for a, b in one.said]).reshape(-1, 2)


def _off(one: _Sighting, xy: np.ndarray) -> float:
    """Return the median distance in sides of the picture."""
    if not len(xy):
        return 1.0
    height, width = one.sent.size
    return float(np.median(np.abs((xy - one.true) / (width, height)).max(axis=1)))


def _fits(found: Sequence[_Sighting], convention: Convention) -> bool:
    return bool(found) and all(_off(one, _read(one, convention)) < NEAR for one in found)


def _affine(one: _Sighting, convention: Convention) -> tuple[tuple[float, float], float] | None:
    """Fit said = scale * true + shift for each axis; return the scales and how far the fit is off at the median."""
    if len(one.true) < AT_LEAST:
        return None
    xy = _read(one, convention)
    scales, back = [], np.empty_like(xy)
    for axis in (0, 1):
        scale, shift = np.polyfit(one.true[:, axis], xy[:, axis], 1)
        if abs(scale) < 1e-3:
            return None
        scales.append(float(scale))
        back[:, axis] = (xy[:, axis] - shift) / scale
    return (scales[0], scales[1]), _off(one, back)
