"""MMR, objects and parts in one answer: MUSE's layout with run-length codes.

https://github.com/jdg900/MMR

    ROOT/MMR_{train,val,test_mixed,test_obj_only,test_part_only}.json      pictures: COCO 2017 under ROOT

One row:

    {"file_name": "train2017/000000000009.jpg", "height": 480, "width": 640, "image_id": 9,
     "questions": ["Where would I pour the milk?"],
     "answers": [[{"segmentation": {"size": [480, 640], "counts": "..."}, "category_name": "bowl:inner_body"}]],
     "text_answers": ["Into {seg}."], "annotations": [...], "raw_answers": [...]}

Question, answer and text are joined by their index; the published training loader misaligns them beyond three.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from askmask.conversation import Example
from askmask.formats.muse import read_muse
from askmask.notes import Notes


def read_mmr(
    root: str | Path, split: str = "val", *, notes: Notes, mismatched: str = "skip"
) -> Iterator[Example]:
    """Yield one Example per question; see `muse.read_muse`."""
    return read_muse(root, split, notes=notes, name="MMR", mismatched=mismatched)
