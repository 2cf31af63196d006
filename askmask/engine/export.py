"""A run's accepted pairs -> data sets that training reads; the rest -> a queue for people.

OUT/examples.jsonl            every split, positives and negatives: askmask's own format
OUT/literal.jsonl             accepted regions with their descriptions as prompts (phase 1 of training)
OUT/dataset.jsonl             ConverSeg's training format: pairs of split train that have a mask
OUT/items.json                ConverSeg's evaluation format: pairs of splits val and test that have a mask
OUT/coco.json                 COCO: one annotation per pair, the prompt as its caption
OUT/rejects.jsonl             what was declined or dropped as a duplicate, with the reason: the review queue
OUT/images/, OUT/masks/       pictures as they were found, masks as 0/255 PNG
OUT/README.md                 the card
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from askmask.conversation import CONCEPTS, Example, Round
from askmask.engine.card import write_card
from askmask.engine.dedup import distinct_pairs, picture_groups
from askmask.engine.runs import plan_of
from askmask.engine.store import PictureRow, RunStore
from askmask.engine.values import Aligned, Pair, Region, Verified
from askmask.errors import DataError
from askmask.formats.own import write_examples
from askmask.formats.parquet import write_parquet
from askmask.imaging.files import read_picture


@dataclass
class Accepted:
    """What of one picture goes out."""

    row: PictureRow
    split: str
    image: str  # relative to OUT
    pairs: list[Pair]
    regions: list[Region] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Short name of the picture, unique in the run."""
        return self.row.sha256[:16]


def export_run(
    store: RunStore,
    out: str | Path,
    *,
    name: str = "askmask-engine",
    val: float = 0.05,
    test: float = 0.0,
    parquet: bool = False,
) -> dict[str, int]:
    """Write everything and return what was counted. Raises DataError if OUT already holds another data set."""
    out = Path(out)
    if (out / "examples.jsonl").exists() and _exported_from(out) != str(store.meta("plan")):
        raise DataError("there is already a data set there", got=out, do="Choose another --out.")
    (out / "images").mkdir(parents=True, exist_ok=True)
    (out / "masks").mkdir(exist_ok=True)
    rejects: list[dict[str, Any]] = []
    pictures = list(_collect(store, out, rejects, val=val, test=test))
    for picture in pictures:
        _copy_picture(picture, out)
        for pair in picture.pairs:
            if pair.mask:
                pair.mask.to_png(out / _mask_path(picture, pair))
    examples = [_example_of(picture, name, store) for picture in pictures if picture.pairs]
    write_examples(examples, out / "examples.jsonl")
    literal = [_literal_of(picture, name) for picture in pictures if picture.regions]
    write_examples(literal, out / "literal.jsonl")
    positive = [(p, pair) for p in pictures for pair in p.pairs if pair.mask]
    trained = [
        {
            "image": p.image,
            "mask_merged": _mask_path(p, pair),
            "prompt": pair.prompt.text,
            "concept": pair.prompt.concept,
        }
        for p, pair in positive
        if p.split == "train"
    ]
    _write_lines(out / "dataset.jsonl", trained)
    items = [
        {
            "id": f"{p.name}-{pair.prompt.id}",
            "image": p.image,
            "mask": _mask_path(p, pair),
            "prompt": pair.prompt.text,
            "concept": pair.prompt.concept,
        }
        for p, pair in positive
        if p.split != "train"
    ]
    _write_json(out / "items.json", {"dataset": name, "count": len(items), "items": items})
    _write_json(out / "coco.json", coco_of(pictures))
    _write_lines(out / "rejects.jsonl", rejects)
    if parquet:
        write_parquet(examples, out / "examples.parquet", root=out)
    counts = {
        "pictures": len(examples),
        "pairs with a mask": len(positive),
        "pairs with nothing": sum(not pair.mask for p in pictures for pair in p.pairs),
        "literal regions": sum(len(p.regions) for p in pictures),
        "rejects": len(rejects),
    }
    for split in ("train", "val", "test"):
        counts[f"pictures in {split}"] = sum(p.split == split and bool(p.pairs) for p in pictures)
    for concept in CONCEPTS:
        counts[concept] = sum(pair.prompt.concept == concept for _, pair in positive)
    write_card(store, out / "README.md", name=name, counts=counts)
    _write_json(out / "export.json", {"plan": str(store.meta("plan")), "digest": store.digest()})
    return counts


def split_of(sha256: str, *, val: float, test: float) -> str:
    """Return train, val or test by a picture's hash alone: the same picture is in the same split everywhere."""
    place = int(sha256[:12], 16) / 16**12
    return "test" if place < test else "val" if place < test + val else "train"


def _collect(
    store: RunStore, out: Path, rejects: list[dict[str, Any]], *, val: float, test: float
) -> Iterator[Accepted]:
    rows = list(store.pictures())
    groups = picture_groups(rows)
    for row in rows:
        head = groups[row.sha256]
        verified, aligned = store.stage(row.sha256, "verify")[1], store.stage(row.sha256, "align")[1]
        image = f"images/{row.sha256[:16]}{_suffix(row.path)}"
        picture = Accepted(row, split_of(head, val=val, test=test), image, [])

        def reject(grain: str, prompt: str, reason: str, row=row, image=image, **more: Any) -> None:
            rejects.append(
                {"picture": row.sha256, "image": image, "grain": grain, "prompt": prompt, "reason": reason}
                | more
            )

        if head != row.sha256:
            # Two shots of one scene would leak between splits and count twice.
            reject("picture", "", f"looks like {head[:16]}")
            continue
        if isinstance(verified, Verified):
            picture.regions = list(verified.accepted)
            for region in verified.rejected:
                reason = region.verdict.reason if region.verdict else ""
                reject("mask", region.text, reason, mask=region.mask.to_dict(), seen_as=region.seen_as)
        if isinstance(aligned, Aligned):
            agreed = [pair for pair in aligned.pairs if pair.verdict is None or pair.verdict.accept]
            picture.pairs, doubles = distinct_pairs(agreed)
            for pair in aligned.pairs:
                if pair.verdict is not None and not pair.verdict.accept:
                    reject("pair", pair.prompt.text, pair.verdict.reason, **_for_review(pair))
            for pair, reason in doubles:
                reject("pair", pair.prompt.text, reason, **_for_review(pair))
        if picture.pairs or picture.regions or any(r["image"] == image for r in rejects[-50:]):
            yield picture


def _for_review(pair: Pair) -> dict[str, Any]:
    verdict = pair.verdict
    return {
        "id": pair.prompt.id,
        "concept": pair.prompt.concept,
        "family": pair.prompt.family,
        "mask": pair.mask.to_dict(),
        "verdict": None if verdict is None else verdict.accept,
        "agreement": None if verdict is None else verdict.agreement,
    }


def _example_of(picture: Accepted, name: str, store: RunStore) -> Example:
    """One Example per picture: its prompts as rounds that do not refer to each other."""
    plan = plan_of(store)
    rounds = tuple(
        Round.of(
            prompt=pair.prompt.text,
            masks=(pair.mask,) if pair.mask else (),
            concept=pair.prompt.concept,
            family=pair.prompt.family,
            meta={
                "candidates": list(pair.prompt.candidates),
                "satisfying": list(pair.prompt.satisfying),
                "negative": pair.prompt.negative,
                "verdict": None if pair.verdict is None else pair.verdict.to_dict(),
                "written_by": pair.prompt.call,
            },
        )
        for pair in picture.pairs
    )
    return Example(
        id=f"{name}-{picture.name}",
        image=picture.image,
        rounds=rounds,
        independent=True,
        size=(picture.row.height, picture.row.width),
        source=name,
        split=picture.split,
        licence=picture.row.licence or None,
        meta={
            "picture_sha256": picture.row.sha256,
            "picture_source": picture.row.source,
            "file": Path(picture.row.path).name,
            "writer": plan.writer.name,
            "verifier": (plan.verifier or plan.writer).name,
        },
    )


def _literal_of(picture: Accepted, name: str) -> Example:
    rounds = tuple(
        Round.of(region.text, masks=(region.mask,), meta={"kind": region.kind, "origin": region.origin})
        for region in picture.regions
    )
    return Example(
        id=f"{name}-literal-{picture.name}",
        image=picture.image,
        rounds=rounds,
        independent=True,
        size=(picture.row.height, picture.row.width),
        source=f"{name}-literal",
        split=picture.split,
        licence=picture.row.licence or None,
    )


def coco_of(pictures: list[Accepted]) -> dict[str, Any]:
    """Return COCO's instances form; categories are the concepts, each annotation carries its prompt."""
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for picture in pictures:
        if not picture.pairs:
            continue
        images.append(
            {
                "id": len(images) + 1,
                "file_name": picture.image,
                "height": picture.row.height,
                "width": picture.row.width,
            }
        )
        for pair in picture.pairs:
            if pair.mask and (box := pair.mask.box):
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": len(images),
                        "category_id": CONCEPTS.index(pair.prompt.concept) + 1,
                        "caption": pair.prompt.text,
                        "segmentation": pair.mask.to_dict(),
                        "area": pair.mask.area,
                        "bbox": [box[0], box[1], box[2] - box[0], box[3] - box[1]],
                        "iscrowd": 0,
                    }
                )
    categories = [{"id": n + 1, "name": concept} for n, concept in enumerate(CONCEPTS)]
    return {"images": images, "annotations": annotations, "categories": categories}


def _copy_picture(picture: Accepted, out: Path) -> None:
    """Copy the file; one whose EXIF turns it is written upright, since masks are of the upright picture."""
    from PIL import Image

    target = out / picture.image
    if target.exists():
        return
    read = read_picture(picture.row.path)
    if read.orientation == 1:
        shutil.copyfile(picture.row.path, target)
    else:
        Image.fromarray(read.rgb).save(target)


def _suffix(path: str) -> str:
    """The file's own suffix, or .png where the upright copy must not lose pixels to a second JPEG."""
    return ".png" if read_picture(path).orientation != 1 else Path(path).suffix.lower()


def _mask_path(picture: Accepted, pair: Pair) -> str:
    return f"masks/{picture.name}-{pair.prompt.id}.png"


def _exported_from(out: Path) -> str | None:
    path = out / "export.json"
    return json.loads(path.read_text())["plan"] if path.is_file() else None


def _write_lines(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    partial = path.with_name(path.name + ".partial")
    with partial.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    partial.replace(path)


def _write_json(path: Path, data: Any) -> None:
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(data, ensure_ascii=False, indent=1), encoding="utf-8")
    partial.replace(path)
