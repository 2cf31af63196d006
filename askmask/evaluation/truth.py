"""Ground truth for the scorer: labelled prompts from a JSONL file or from Examples.

One row of a ground-truth file (a field with ? may be absent):

    {"id": "a1", "image"?: "a.jpg", "size": [480, 640], "masks": [{"size": [480, 640], "counts": "..."}],
     "ignore"?: RLE, "no_target"?: false, "prompt"?: "...", "reply"?: "...", "concept"?: "spatial",
     "round"?: 2, "conversation"?: "a", "length"?: "long", "split"?: "val"}
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from askmask.conversation import Example
from askmask.errors import AskMaskError, DataError, MaskError
from askmask.formats.reading import inside
from askmask.imaging.mask import MAX_PIXELS, Mask, union_of
from askmask.runs.json_text import read_rows

GROUPINGS = (
    "concept",
    "family",
    "round",
    "length",
    "hard",
    "split",
)  # fields by which scores are also grouped
_BROKEN = re.compile("[\ud800-\udfff]")  # half a letter: bytes that are no text
# Halves of letters; not the bytes of a file name that are no text, which Python keeps as \udc80 to \udcff.
_HALF = re.compile("[\ud800-\udc7f\udd00-\udfff]")
ALONE, IN_DIALOGUE = "alone", "in a dialogue"  # how a prompt was meant
FINAL = "final"  # the last turn of a dialogue that asks for masks
COCO_SMALL, COCO_MEDIUM = 32**2, 96**2  # areas in pixels, as in COCO's AP by size


@dataclass(frozen=True)
class Truth:
    """What rightly answers one prompt: masks of one size, or none."""

    id: str
    size: tuple[int, int]  # (height, width)
    masks: tuple[Mask, ...]
    ignore: Mask | None = None
    conversation: str | None = None  # items of one conversation are resampled together
    groups: Mapping[str, str] = field(default_factory=dict)
    image: str | None = None
    prompt: str | None = None
    reply: str | None = None

    @cached_property
    def mask(self) -> Mask:
        """The union of the masks."""
        return self.masks[0] if len(self.masks) == 1 else union_of(self.masks, self.size)

    @cached_property
    def area(self) -> int:
        """Pixels of the union, ignored ones too."""
        return self.mask.area

    @property
    def no_target(self) -> bool:
        """Whether rightly nothing matches."""
        return self.area == 0

    @property
    def size_group(self) -> str:
        """COCO's small, medium or large by the area of the union; "none" without target."""
        if not self.area:
            return "none"
        return "small" if self.area < COCO_SMALL else "medium" if self.area < COCO_MEDIUM else "large"


def item_id(example: Example, index: int) -> str:
    """Name round `index` (from 0) of an Example: its id if it is the only one, else "ID#1", "ID#2", ..."""
    return example.id if len(example.rounds) == 1 else f"{example.id}#{index + 1}"


def truths_of(examples: Iterable[Example]) -> Iterator[Truth]:
    """Yield one Truth per labelled round; rounds without label (masks None) are context, not items."""
    for example in examples:
        many = len(example.rounds) > 1
        dialogue = many and not example.independent
        last = max((k for k, round in enumerate(example.rounds) if round.masks is not None), default=None)
        for index, round in enumerate(example.rounds):
            if round.masks is None:
                continue
            size = example.size or next((mask.size for mask in (*round.masks, round.ignore) if mask), None)
            if size is None:
                raise DataError(
                    f"example {example.id!r}: the picture's size is unknown and no mask tells it",
                    do='Add "size": [height, width].',
                )
            groups = {
                "concept": round.concept,
                "family": round.family,
                "round": str(index + 1) if dialogue else None,
                "turn": (FINAL if index == last else "earlier") if dialogue else None,
                "length": round.meta.get("length"),
                "hard": "hard" if round.meta.get("hard") else None,  # in simulated scenes: shortcuts fail
                "split": example.split,
                "asked": IN_DIALOGUE if dialogue else ALONE,
            }
            yield Truth(
                id=item_id(example, index),
                size=size,
                masks=round.masks,
                ignore=round.ignore,
                conversation=example.id if many else None,
                groups={name: str(value) for name, value in groups.items() if value},
                image=example.image,
                prompt=round.text,
                reply=round.reply,
            )


def read_truths(path: str | Path) -> Iterator[Truth]:
    """Yield the Truths of a ground-truth JSONL file in order. Raises DataError naming file and line."""
    path, lines = Path(path), dict[str, int]()
    for number, row in read_rows(path):
        try:
            truth = truth_of_row(row, folder=path.parent)
            first = lines.setdefault(truth.id, number)
            if first != number:
                raise DataError(f"id {truth.id!r} is on line {first} too", do="Give every item its own id.")
        except AskMaskError as error:
            raise DataError(f"{path}, line {number}: {error}") from error
        yield truth


def truth_of_row(row: Mapping[str, Any], *, folder: Path | None = None) -> Truth:
    """Read one row of the ground-truth format; relative images are taken from `folder`."""
    name = read_id(row, "ground truth")
    size = size_of(row.get("size"))
    masks = tuple(mask_of_size(mask, size, name) for mask in mask_list(row.get("masks"), name))
    ignore = None if row.get("ignore") is None else mask_of_size(row["ignore"], size, name)
    texts = {
        key: _text(row[key], key, name) for key in ("image", "prompt", "reply") if row.get(key) is not None
    }
    image, conversation = texts.get("image"), row.get("conversation")
    truth = Truth(
        id=name,
        size=size,
        masks=masks,
        ignore=ignore,
        conversation=None if conversation is None else _label(conversation, "conversation", name),
        groups={key: _label(row[key], key, name) for key in GROUPINGS if row.get(key) is not None},
        image=str(inside(folder, image)) if folder is not None and image else image,
        prompt=texts.get("prompt"),
        reply=texts.get("reply"),
    )
    said = row.get("no_target")
    if said is not None and said is not truth.no_target:
        raise DataError(f'id {name!r}: "no_target" contradicts the masks', got=f"{said!r}, {truth.area} px")
    return truth


def read_id(row: Mapping[str, Any], what: str) -> str:
    """Return the id of a row, or say that `what` needs one."""
    name = row.get("id")
    if not isinstance(name, str) or not name or _HALF.search(name):
        raise DataError(f'{what} needs a text "id"', got=ascii(name)[:80])
    return name


def _text(value: Any, key: str, name: str) -> str:
    if not isinstance(value, str) or _BROKEN.search(value):
        raise DataError(f'id {name!a}: "{key}" must be text', got=ascii(value)[:80])
    return value


def _label(value: Any, key: str, name: str) -> str:
    """Read what items are grouped by: text, or a number."""
    return str(value) if isinstance(value, (int, float)) else _text(value, key, name)


def size_of(value: Any) -> tuple[int, int]:
    """Check a [height, width]."""
    if (
        not isinstance(value, (list, tuple))
        or len(value) != 2
        or not all(type(side) is int and side > 0 for side in value)
    ):
        raise DataError('"size" must be [height, width] in whole pixels', got=repr(value)[:80])
    if value[0] * value[1] > MAX_PIXELS:
        raise DataError(f'"size" must stay within {MAX_PIXELS} pixels', got=list(value))
    return value[0], value[1]


def mask_list(value: Any, name: str) -> list[Any]:
    """Check a list of masks."""
    if not isinstance(value, list):
        raise DataError(f'id {name!r}: "masks" must be a list', got=repr(value)[:80])
    return value


def mask_of_size(value: Any, size: tuple[int, int], name: str) -> Mask:
    """Read a run-length code and hold its size against the picture's, before it is decoded."""
    found = value.get("size") if isinstance(value, Mapping) else None
    if (
        not isinstance(found, (list, tuple))
        or list(found) != list(size)
        or any(type(n) is not int for n in found)
    ):
        got = repr(value if found is None else found)[:80]
        raise DataError(
            f"id {name!r}: a mask must be a run-length code of the picture's size {list(size)} (height, width)",
            got=got,
            do="Give masks at the original size of the upright picture; they are never resized or transposed.",
        )
    try:
        return Mask.from_dict(value)
    except MaskError as error:
        raise DataError(f"id {name!r}: {error}") from error
