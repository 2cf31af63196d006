"""A model's reply -> Pointed, NothingHere or Unreadable. What is not surely one of the first two is the third."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Collection
from typing import Any, NamedTuple

from askmask.conversation import Box
from askmask.pointing.conventions import Convention
from askmask.pointing.outcome import Instance, NothingHere, Outcome, Pointed, Unreadable
from askmask.pointing.sent import Clip, Sent
from askmask.vlm.errors import Quarantined
from askmask.vlm.reply import json_values
from askmask.vlm.request import Completion

MOST_INSTANCES = 100
MOST_POINTS = 20  # of one instance
A_LOOP = 8  # so many copies of one box are a model that repeats itself
LEAST_PX = 0.5  # a side below it is no box
EMPTY_LIST = "the model gave an empty list"

_BOX_KEYS = ("bbox_2d", "box_2d", "bbox", "box", "bounding_box")
_CORNERS = (
    ("x_min", "y_min", "x_max", "y_max"),
    ("xmin", "ymin", "xmax", "ymax"),
    ("x0", "y0", "x1", "y1"),
    ("x1", "y1", "x2", "y2"),
)
_POINT_KEYS = ("points_2d", "point_2d", "points", "point")
_LABEL_KEYS = ("label", "name", "phrase", "description", "object")
_SURE_KEYS = ("sure", "confidence", "score")
_REASON, _WORDS, _EARLIER = "nothing_because", "reply", "earlier"
# What an empty list must be called to mean that nothing is there; `{"colours": []}` says nothing of the kind.
_LIST_KEYS = (
    "instances", "objects", "boxes", "bboxes", "detections", "results", "regions", "items", "points",
    "bbox_2d", "box_2d",
)  # fmt: skip
_NUMBER = r"\s*(-?\d+(?:\.\d+)?)\s*"
_FOUR = rf"[\[(]*{_NUMBER},{_NUMBER}[\])]*,[\[(]*{_NUMBER},{_NUMBER}[\])]*"
# Models' own marks: how a piece begins, and the whole piece, four numbers and maybe a label before or after them.
_TOKENS = (
    (
        r"<\|box_start\|>",
        rf"(?:<\|object_ref_start\|>(?P<label>[^<]*)<\|object_ref_end\|>)?<\|box_start\|>{_FOUR}<\|box_end\|>",
    ),
    (r"<\|det\|>", rf"(?:<\|ref\|>(?P<label>[^<]*)<\|/ref\|>)?\s*<\|det\|>{_FOUR}<\|/det\|>"),
    (r"<\|box\|>", rf"(?:<\|ref\|>(?P<label>[^<]*)<\|/ref\|>)?\s*<\|box\|>{_FOUR}<\|/box\|>"),
    (r"<box>", rf"(?:<ref>(?P<label>[^<]*)</ref>)?\s*<box>{_FOUR}</box>"),
    (
        r"(?<!>)<loc\d+>|(?<=\s)<loc\d+>",
        r"<loc(\d+)><loc(\d+)><loc(\d+)><loc(\d+)>(?: *(?P<label>[^<;\n]*))?",
    ),
)


class _Unclear(ValueError):
    """What is wrong, in words fit to show to the model."""


class _Said(NamedTuple):
    """What the JSON of a reply holds: items, why there are none, words, names of earlier regions."""

    items: list[Any]
    reason: str = ""
    words: str = ""
    earlier: tuple[str, ...] = ()


def read_pointing(
    completion: Completion, sent: Sent, convention: Convention, earlier: Collection[str] = ()
) -> Outcome:
    """Read a reply about a picture as it was sent; `completion.refused` is for the caller to see.

    `earlier`: ids of the regions that it may name.
    """
    raw = completion.text
    if completion.finish == "length":
        return Unreadable(raw, "the reply stopped at its token limit")
    try:
        return _read(raw, sent, convention, earlier)
    except Quarantined as error:
        return Unreadable(raw, error.reason)
    except _Unclear as error:
        return Unreadable(raw, str(error))


def read_instances(items: Any, sent: Sent, convention: Convention) -> Pointed:
    """Read a list of objects as instances. Raises ValueError."""
    if not isinstance(items, list) or len(items) > MOST_INSTANCES:
        raise _Unclear(f"a list of at most {MOST_INSTANCES} objects is wanted")
    clip = Clip(sent, convention)
    found: Counter[Instance] = Counter(_instance(item, clip) for item in items)
    if clip.outside * 2 > clip.places:
        raise _Unclear(f"{clip.outside} of {clip.places} places lie outside the picture")
    if max(found.values(), default=0) >= A_LOOP:
        raise _Unclear("the same box again and again")
    return Pointed(tuple(found), outside=clip.outside)


def written_places(raw: str) -> list[tuple[str, tuple[float, float]]]:
    """Return (label, centre) of every box in a reply, in the numbers and the order in which it was written.

    Raises Quarantined or ValueError.
    """
    items = _of_tokens(raw) or _contents(json_values(raw)).items
    places = []
    for item in items:
        box = _corners(item, y_first=False) if isinstance(item, dict) else None
        if box is not None and len(box) == 4:
            label = next((item[key] for key in _LABEL_KEYS if isinstance(item.get(key), str)), "")
            places.append((label, ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)))
    return places


def _read(raw: str, sent: Sent, convention: Convention, earlier: Collection[str]) -> Outcome:
    if tokens := _of_tokens(raw):
        return read_instances(tokens, sent, convention)
    said = _contents(json_values(raw))
    if unknown := [name for name in said.earlier if name not in earlier]:
        raise _Unclear(f"{unknown[0][:40]!r} in {_EARLIER} is no earlier region")
    found = len(said.items) + len(said.earlier)
    if found and said.reason:
        raise _Unclear(f"it gives {found} instances, and a reason why there are none")
    if found:
        read = read_instances(said.items, sent, convention)
        kept = tuple(Instance(earlier=name) for name in dict.fromkeys(said.earlier))
        return Pointed(kept + read.instances, said.words, read.outside)
    if said.reason or not said.words:
        return NothingHere(said.reason or EMPTY_LIST)
    return Pointed((), said.words)


def _of_tokens(raw: str) -> list[dict[str, Any]]:
    for begin, whole in _TOKENS:
        if not (begun := len(re.findall(begin, raw))):
            continue
        found = list(re.finditer(whole, raw))
        if len(found) != begun:
            raise _Unclear("a box in marks that do not end, or without four numbers")
        items = []
        for one in found:
            label, place = one["label"] or "", one.re.groupindex["label"] - 1
            numbers = [float(text) for n, text in enumerate(one.groups()) if n != place]
            items.append({"label": label.strip(), "bbox": numbers})
        return items
    return []


def _contents(values: list[Any]) -> _Said:
    if len(values) > 1 and all(_is_item(value) for value in values):
        return _Said(values)
    different = [value for n, value in enumerate(values) if value not in values[:n]]
    if len(different) != 1:
        raise _Unclear(f"it holds {len(different)} different answers; give one")
    (value,) = different
    if _is_item(value):
        return _Said([value])
    if isinstance(value, list):
        if len(value) == 1 and isinstance(value[0], dict) and not _is_item(value[0]):
            return _of_object(value[0])
        return _Said(value)
    return _of_object(value)


def _of_object(value: dict[str, Any]) -> _Said:
    earlier = value.get(_EARLIER) or []
    if not isinstance(earlier, list) or not all(isinstance(name, str) for name in earlier):
        raise _Unclear(f"{_EARLIER} must be a list of names")
    if value.get("error"):
        raise _Unclear("it speaks of an error")
    lists = [
        part
        for key, part in value.items()
        if isinstance(part, list) and key != _EARLIER and (part or key in _LIST_KEYS)
    ]
    items = [part for part in lists if part]
    if len(items) > 1 or not (lists or {_REASON, _WORDS, _EARLIER} & value.keys()):
        raise _Unclear("one list of instances is wanted")
    texts = [value.get(key) or "" for key in (_REASON, _WORDS)]
    if not all(isinstance(text, str) for text in texts):
        raise _Unclear(f"{_REASON} and {_WORDS} must be text")
    if not items and not lists and not earlier and not any(text.strip() for text in texts):
        raise _Unclear("neither instances nor a reason why there are none")
    return _Said(items[0] if items else [], texts[0].strip(), texts[1].strip(), tuple(earlier))


def _is_item(value: Any) -> bool:
    if isinstance(value, dict):
        return any(key in value for key in (*_BOX_KEYS, *_POINT_KEYS)) or any(
            set(names) <= value.keys() for names in _CORNERS
        )
    return isinstance(value, list) and len(value) == 4 and all(_is_number(v) for v in value)


def _instance(item: Any, clip: Clip) -> Instance:
    if isinstance(item, list):
        item = {"bbox": item}
    if not isinstance(item, dict) or not _is_item(item):
        raise _Unclear("each instance needs a box or points")
    written = _corners(item, y_first=clip.convention.y_first)
    given = next((item[key] for key in _POINT_KEYS if item.get(key) is not None), None)
    points = tuple(dict.fromkeys(clip.back(*pair) for pair in _pairs(given)))
    box = None if written is None else _box(written, clip)
    if box is None and not points:
        raise _Unclear("each instance needs a box or points")
    label = next((item[key] for key in _LABEL_KEYS if isinstance(item.get(key), str)), "")
    sure = next((item[key] for key in _SURE_KEYS if _is_number(item.get(key))), None)
    return Instance(
        box=box,
        # A point outside its own box says nothing that can be trusted about the inside.
        points=tuple(p for p in points if box is None or _within(p, box)),
        label=label.strip()[:200],
        sure=None if sure is None or not 0 <= sure <= 1 else float(sure),
    )


def _corners(item: dict[str, Any], *, y_first: bool) -> list[float] | None:
    """Return a box as written; corners by name have no order, so they are brought into the convention's."""
    written = _numbers(next((item[key] for key in _BOX_KEYS if item.get(key) is not None), None))
    for names in _CORNERS:
        if written is None and set(names) <= item.keys():
            x0, y0, x1, y1 = (_number(item[name]) for name in names)
            written = [y0, x0, y1, x1] if y_first else [x0, y0, x1, y1]
    return written


def _box(written: list[float], clip: Clip) -> Box:
    if len(written) != 4:
        raise _Unclear("a box is four numbers")
    scale = clip.convention.edge(max(clip.sent.size))
    if scale > 100 and max(written) <= 1 and any(value != int(value) for value in written):
        raise _Unclear("a box in fractions of the picture, where other numbers were asked for")
    (x0, y0), (x1, y1) = clip.back(*written[:2]), clip.back(*written[2:])
    if x1 - x0 < LEAST_PX or y1 - y0 < LEAST_PX:
        where = "a box that lies outside the picture" if clip.outside else "a box without width or height"
        raise _Unclear(f"{where}: [{', '.join(f'{value:g}' for value in written)}]")
    return (x0, y0, x1, y1)


def _within(point: tuple[float, float], box: Box) -> bool:
    return box[0] <= point[0] <= box[2] and box[1] <= point[1] <= box[3]


def _numbers(value: Any) -> list[float] | None:
    """Return a box as a flat list: four numbers, or two pairs of them."""
    if value is None:
        return None
    if isinstance(value, list) and len(value) == 2 and all(isinstance(pair, list) for pair in value):
        value = [*value[0], *value[1]]
    if not isinstance(value, list):
        raise _Unclear("a box is a list of four numbers")
    return [_number(one) for one in value]


def _pairs(value: Any) -> list[tuple[float, float]]:
    if value is None:
        return []
    if isinstance(value, list) and len(value) == 2 and not any(isinstance(v, (list, dict)) for v in value):
        value = [value]
    if not isinstance(value, list) or len(value) > MOST_POINTS:
        raise _Unclear("points are a short list of pairs of numbers")
    if not all(isinstance(pair, list) and len(pair) == 2 for pair in value):
        raise _Unclear("a point is two numbers")
    return [(_number(a), _number(b)) for a, b in value]


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _number(value: Any) -> float:
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            raise _Unclear("a place must be a number") from None
    if not _is_number(value) or abs(value) > 1e6:
        raise _Unclear("a place must be a number")
    return float(value)
