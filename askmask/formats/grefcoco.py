"""gRefCOCO, generalized referring expressions: many targets, or none.

https://github.com/henghuiding/gRefCOCO, mirrored as FudanCVL/gRefCOCO on Hugging Face

    ROOT/grefcoco/grefs(unc).json   (or .p)      ROOT/grefcoco/instances.json

One ref; `ann_id` is a list, [-1] means that nothing matches, and category_id is then [-1] too:

    {"ref_id": 5, "ann_id": [12, 31], "category_id": [1, 1], "image_id": 9, "split": "val",
     "sentences": [{"sent_id": 8, "sent": "both kids", "raw": "both kids", "tokens": ["both", "kids"]}]}

Crowd annotations and polygons of fewer than three points are left out, as ReLA's loader does.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from askmask.conversation import Example, Round
from askmask.errors import DataError
from askmask.formats.plain_pickle import read_plain_pickle
from askmask.formats.reading import NoTruth, item, prompt_of, read_json
from askmask.formats.refcoco import PICTURES, Instances, refs_of
from askmask.notes import Notes

NO_TARGET = -1


def read_grefcoco(
    root: str | Path,
    split: str = "val",
    *,
    notes: Notes,
    by: str = "unc",
    text: str = "raw",
    pictures: str = PICTURES,
) -> Iterator[Example]:
    """Yield one Example per sentence: one mask per referred instance, none where nothing matches."""
    folder = Path(root) / "grefcoco"
    path = folder / f"grefs({by}).json"
    if path.exists():
        refs = read_json(path, kind=list)
    else:
        path = path.with_suffix(".p")
        refs = read_plain_pickle(path)
    instances = Instances(folder / "instances.json", Path(root) / pictures)
    for number, ref in refs_of(refs, path, split, notes):
        with item(f"{path}, ref {number}", notes):
            ids = ref["ann_id"] if isinstance(ref["ann_id"], list) else [ref["ann_id"]]
            if NO_TARGET in ids and len(ids) > 1:
                raise DataError("-1 (nothing matches) beside other annotations", got=ids)
            singles = [i for i in ids if i != NO_TARGET and not instances.annotations[i].get("iscrowd")]
            size = instances.size(ref["image_id"])
            masks = tuple(instances.mask(i, ref["image_id"], drop_invalid=True) for i in singles)
            if ids != [NO_TARGET] and not masks:
                raise NoTruth("prompts left out: they mean crowds alone")
            for sentence in ref["sentences"]:
                yield Example(
                    id=f"grefcoco-{by}-{ref['ref_id']}-{sentence['sent_id']}",
                    image=str(instances.picture(ref["image_id"])),
                    size=size,
                    source="grefcoco",
                    split=split,
                    rounds=(Round.of(prompt_of(sentence[text], text).strip(), masks=masks),),
                    meta={"ref_id": ref["ref_id"], "ann_id": ids, "text": text},
                )
