"""PRIST, reasoning conversations whose last round asks for a mask; LabelMe masks.

https://github.com/ccccai239/PixelRIST

    ROOT/test.json                                    the dialogues
    ROOT/{pictures}/IMG_ID, ROOT/{masks}/STEM.json    by default textcaps/train, textcaps/masks (train) and
                                                      multiturn/Multiturn/val, .../val/masks (val, test)

One dialogue, and its masks:

    {"img_id": "0a1b2c3d4e5f6071.jpg", "focus": "The red label",
     "dialogue": [{"from": "human", "value": "What is on the table?"}, {"from": "gpt", "value": "A bottle."}, ...
                  {"from": "human", "value": "Please segment it."}, {"from": "gpt", "value": "It is [SEG]."}]}

    {"imageHeight": 480, "imageWidth": 640, "shapes": [{"label": "the red label", "points": [[1, 2], ...]}]}

`focus` names the hidden target: it finds the mask and is never shown to a model. Only the last round has a mask.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from askmask.conversation import Example, Round
from askmask.errors import DataError
from askmask.formats.labelme import label_of, union_of_shapes
from askmask.formats.polygons import drawn
from askmask.formats.reading import (
    Frames,
    choose_split,
    inside,
    item,
    naming,
    read_json,
    size_of,
    text_of,
    upright,
)
from askmask.imaging.mask import Mask
from askmask.notes import Notes

FOLDERS = {
    "train": ("textcaps/train", "textcaps/masks"),
    "val": ("multiturn/Multiturn/val", "multiturn/Multiturn/val/masks"),
    "test": ("multiturn/Multiturn/val", "multiturn/Multiturn/val/masks"),
}


def read_prist(
    root: str | Path,
    split: str = "test",
    *,
    notes: Notes,
    pictures: str | None = None,
    masks: str | None = None,
    labels: str = "yes",
) -> Iterator[Example]:
    """Yield one Example per dialogue. `labels="no"` reads the dialogues alone, for text scores.

    The target is the union of the shapes whose label equals `focus` (case and spaces aside). Where none does,
    those that contain it, as the published loader takes always, and the round's meta says "match": "substring".
    No match is an error, never an empty mask.
    """
    root = Path(root)
    path = root / f"{split}.json"
    if not (pictures and (masks or labels == "no")):
        choose_split(path.parent, FOLDERS, split)
    place, mask_place = FOLDERS.get(split, ("", ""))
    for number, row in enumerate(read_json(path, kind=list)):
        with item(f"{path}, dialogue {number}", notes):
            turns = row["dialogue"]
            speakers = [turn["from"] for turn in turns]
            if not turns or speakers != ["human", "gpt"] * (len(turns) // 2):
                raise DataError("a dialogue must alternate human, gpt", got=speakers[:8])
            said = [
                (text_of(a["value"], "value"), text_of(b["value"], "value"))
                for a, b in zip(turns[::2], turns[1::2], strict=True)
            ]
            image = inside(root / (pictures or place), row["img_id"])
            mask, match, size = None, None, None
            if labels != "no":
                shapes = inside(root / (masks or mask_place), Path(row["img_id"]).stem + ".json")
                mask, match = focus_mask(shapes, row["focus"], image)
                size = mask.size
            rounds = [Round.of(prompt, reply=reply) for prompt, reply in said[:-1]]
            rounds.append(
                Round.of(
                    prompt=said[-1][0],
                    reply=said[-1][1],
                    masks=None if mask is None else (mask,),
                    refers_to=[f"r{number}" for number in range(1, len(said))],  # "the conversation above"
                    meta={"focus": row["focus"]} | ({"match": match} if match else {}),
                )
            )
            yield Example(
                id=f"prist-{split}-{number}",
                image=str(image),
                size=size,
                source="prist",
                split=split,
                rounds=tuple(rounds),
            )


def focus_mask(path: Path, focus: str, image: Path) -> tuple[Mask, str]:
    """Return the focus's mask, upright, and how its label matched ("exact" or "substring")."""
    data = read_json(path, encodings=("utf-8", "cp1252"))
    with naming(str(path)):
        size = size_of(data["imageHeight"], data["imageWidth"])
        wanted = _plain(text_of(focus, "focus"))
        match = "exact"
        shapes = [shape for shape in data["shapes"] if _plain(label_of(shape)) == wanted]
        if not shapes:
            match = "substring"
            shapes = [shape for shape in data["shapes"] if wanted and wanted in _plain(label_of(shape))]
        if not shapes:
            raise DataError("no shape is labelled as the focus", got=repr(focus))
        turn = Frames().orientation(image, size)
        return upright(drawn(union_of_shapes(shapes, size)), turn), match


def _plain(label: str) -> str:
    return " ".join(label.lower().split())
