"""ReasonSeg: implicit prompts, LabelMe polygons, ignored regions.

https://github.com/dvlab-research/LISA

    ROOT/{train,val,test}/NAME.jpg beside NAME.json;   ROOT/explanatory/train.json (optional)

One annotation:

    {"text": ["the part that keeps rain off", ...], "is_sentence": true,
     "shapes": [{"label": "target", "points": [[10.5, 3.2], ...]}, {"label": "ignore", "points": [...]},
                {"label": "flag", "points": [...]}]}

and one explanation: {"image": "NAME.jpg", "query": "...", "outputs": "The roof keeps the rain off."}
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from askmask.conversation import Example, Round
from askmask.errors import DataError
from askmask.formats.labelme import paint_shapes
from askmask.formats.reading import NoTruth, item, naming, prompt_of, read_json, text_of
from askmask.imaging.files import picture_size
from askmask.notes import Notes


def read_reasonseg(root: str | Path, split: str = "val", *, notes: Notes) -> Iterator[Example]:
    """Yield the Examples of a split by file name; their length is "long" (a sentence) or "short" (a phrase).

    val and test ask `text[0]`, as every published number does; train yields each of its phrasings.
    """
    folder = Path(root) / split
    files = sorted(folder.glob("*.json"))
    if not files:
        raise DataError("no annotations", got=folder, do="Give the folder that holds train/, val/, test/.")
    replies = _explanations(Path(root)) if split == "train" else {}
    for path in files:
        with item(str(path), notes):
            # Some of the published files are not UTF-8.
            data = read_json(path, encodings=("utf-8", "cp1252"))
            image = path.with_suffix(".jpg")
            size = picture_size(image)
            mask, ignore = paint_shapes(data["shapes"], size)
            if not mask:
                raise NoTruth("pictures left out: no shape marks a target")
            texts = data["text"] if split == "train" else data["text"][:1]
            if isinstance(texts, str) or not texts:
                raise DataError('"text" must be a list of one phrasing or more', got=repr(texts)[:80])
            length = "long" if data["is_sentence"] else "short"
            for index, prompt in enumerate(texts):
                yield Example(
                    id=f"reasonseg-{split}-{path.stem}" + (f"-{index}" if len(texts) > 1 else ""),
                    image=str(image),
                    size=size,
                    source="reasonseg",
                    split=split,
                    rounds=(
                        Round.of(
                            prompt=prompt_of(prompt, "text"),
                            masks=(mask,),
                            ignore=ignore,
                            reply=replies.get(image.name),
                            meta={"length": length},
                        ),
                    ),
                )


def _explanations(root: Path) -> dict[str, str]:
    path = root / "explanatory" / "train.json"
    if not path.exists():
        return {}
    replies = {}
    for number, row in enumerate(read_json(path, kind=list)):
        with naming(f"{path}, row {number}"):
            replies[Path(row["image"]).name] = text_of(row["outputs"], "outputs")
    return replies
