"""MUSE, several targets in one answer.

From PixelLM, https://github.com/MaverickRen/PixelLM

    ROOT/muse_{train,val,test_less,test_many}.json      pictures: ROOT/{train2014,train2017,val2017}/

One picture's row; question i belongs to answers[i] and text_answers[i], with one literal {seg} per target:

    {"file_name": "COCO_train2014_000000000009.jpg", "height": 480, "width": 640, "ann_list": [...],
     "questions": ["What could I eat and drink here?"],
     "answers": [[{"bbox": [x, y, w, h], "segmentation": [[x0, y0, ...]], "category_name": "bowl",
                   "rephrased_name": "the soup"}, {...}]],
     "text_answers": ["You could eat {seg} and drink {seg}."]}

Rows with "coco_url" instead of "file_name" are of COCO 2017; the URL tells the folder and is never fetched.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from askmask.conversation import Example, Round
from askmask.errors import DataError
from askmask.formats.polygons import mask_of_coco
from askmask.formats.reading import (
    Frames,
    NoTruth,
    inside,
    item,
    prompt_of,
    read_json,
    size_of,
    text_of,
    upright,
    upright_size,
)
from askmask.notes import Notes


def read_muse(
    root: str | Path, split: str = "val", *, notes: Notes, name: str = "muse", mismatched: str = "skip"
) -> Iterator[Example]:
    """Yield one Example per question, one mask per target in the order of the answer.

    A question whose text answer holds another number of {seg} than it has targets is left out, as the published
    loader does; `mismatched="error"` stops there instead.
    """
    path = Path(root) / f"{name}_{split}.json"
    rows = read_json(path, kind=list)

    def stored(row: dict[str, Any]) -> tuple[Path, tuple[int, int]]:
        return inside(Path(root), _picture(row)), size_of(row["height"], row["width"])

    frames = Frames(rows, stored)
    for number, row in enumerate(rows):
        where, asked = f"{path}, row {number}", list[tuple[Any, Any, Any]]()
        with item(where, notes):
            image, stated = stored(row)
            asked = _questions(row)
        for index, (question, targets, text) in enumerate(asked):
            if mismatched == "error" and not _agree(targets, text):
                raise DataError(f"{where}: question {index}: {len(targets)} targets", got=repr(text)[:80])
            with item(f"{where}, question {index}", notes):
                if not targets:
                    raise NoTruth("questions left out: without a target")
                if not _agree(targets, text):
                    raise NoTruth(
                        "questions left out: their text has another number of {seg} than they have targets"
                    )
                turn = frames.orientation(image, stated)
                masks = [upright(mask_of_coco(target["segmentation"], stated), turn) for target in targets]
                names = [target.get("rephrased_name") or target["category_name"] for target in targets]
                yield Example(
                    id=f"{name}-{split}-{number}-{index}",
                    image=str(image),
                    size=upright_size(stated, turn),
                    source=name,
                    split=split,
                    rounds=(
                        Round.of(
                            prompt_of(question, "questions"), masks=masks, reply=text, meta={"names": names}
                        ),
                    ),
                )


def _questions(row: dict[str, Any]) -> list[tuple[Any, list[Any], str | None]]:
    """Return (question, targets, the answer's text) of a picture's questions."""
    questions, answers = row["questions"], row["answers"]
    texts = row.get("text_answers") or [None] * len(questions)
    if not len(questions) == len(answers) == len(texts):
        raise DataError(
            "questions, answers and text_answers must be equally many",
            got=f"{len(questions)}, {len(answers)}, {len(texts)}",
        )
    if not all(isinstance(targets, list) for targets in answers):
        raise DataError("an answer must be a list of targets", got=repr(answers)[:80])
    return [
        (question, targets, None if text is None else text_of(text, "text_answers"))
        for question, targets, text in zip(questions, answers, texts, strict=True)
    ]


def _agree(targets: list[Any], text: str | None) -> bool:
    return text is None or text.count("{seg}") == len(targets)


def _picture(row: dict[str, Any]) -> str:
    if "file_name" in row:
        name = row["file_name"]
        return name if "/" in name or not name.startswith("COCO_train2014") else f"train2014/{name}"
    parts = PurePosixPath(row["coco_url"]).parts  # http://images.cocodataset.org/train2017/000000000009.jpg
    return "/".join(parts[-2:])
