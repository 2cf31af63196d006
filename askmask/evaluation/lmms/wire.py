"""The JSON text in which masks travel through lmms-eval, written and read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from askmask.errors import AskMaskError, DataError
from askmask.evaluation.predictions import MAX_MASKS, Prediction
from askmask.evaluation.truth import mask_list, mask_of_size
from askmask.imaging.mask import Mask

MAX_CHARACTERS = 64 << 20


def to_wire(
    masks: tuple[Mask, ...],
    scores: Sequence[float | None],
    *,
    no_target: bool | None = None,
    text: str = "",
) -> str:
    """Write an answer as one JSON text, with its scores if every mask has one."""
    boxes = []
    for mask in masks:
        x0, y0, x1, y1 = mask.box or (0, 0, 0, 0)
        height, width = mask.size
        boxes.append({"x_min": x0 / width, "y_min": y0 / height, "x_max": x1 / width, "y_max": y1 / height})
    data: dict[str, Any] = {
        "masks": [mask.to_dict() for mask in masks],
        "boxes": boxes,
        "scores": [] if None in scores else list(scores),
    }
    if no_target is not None:
        data["no_target"] = no_target
    if text:
        data["text"] = text
    return json.dumps(data, ensure_ascii=False)


def from_wire(text: str, name: str, size: tuple[int, int]) -> Prediction:
    """Read an answer of any model. Raises DataError for what is not the wire format or of another size."""
    if not isinstance(text, str) or len(text) > MAX_CHARACTERS:
        raise DataError(f"{name}: an answer must be JSON text", got=type(text).__name__)
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:  # a number of 5,000 digits is no JSONDecodeError
        raise DataError(f"{name}: an answer must be JSON text", got=repr(text[:60])) from error
    if not isinstance(data, dict):
        raise DataError(f"{name}: an answer must be a JSON object", got=repr(text[:60]))
    values = mask_list(data.get("masks"), name)
    if len(values) > MAX_MASKS:
        raise DataError(f"{name}: more than {MAX_MASKS} masks", got=len(values))
    scores = data.get("scores")
    # A number of 400 digits is no score, and no float either.
    numbers = (
        [s for s in scores if type(s) in (int, float) and abs(s) <= 1e9] if isinstance(scores, list) else []
    )
    said = data.get("no_target")
    return Prediction(
        id=name,
        masks=tuple(mask_of_size(value, size, name) for value in values),
        no_target=said if isinstance(said, bool) else None,
        score=float(max(numbers)) if numbers else None,
    )


def read_or_none(text: str, name: str, size: tuple[int, int]) -> Prediction | None:
    """Read an answer, None for one that cannot be read: a task counts it as missing and goes on."""
    try:
        return from_wire(text, name, size)
    except AskMaskError:
        return None
