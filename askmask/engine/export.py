"""A run's accepted pairs -> data sets that training reads; the rest -> a queue for people.

OUT/examples.jsonl            every split, positives and negatives: askmask's own format
OUT/literal.jsonl             accepted regions with their descriptions as prompts (phase 1 of training)
OUT/dataset.jsonl             ConverSeg's training format: pairs of split train that have a mask
OUT/items.json                ConverSeg's evaluation format: pairs of splits val and test that have a mask
OUT/coco.json                 COCO: one annotation per pair, the prompt as its caption
OUT/rejects.jsonl             what was declined, dropped as a duplicate or could not be copied, with the reason
OUT/images/, OUT/masks/       pictures as they were found, masks as 0/255 PNG
OUT/README.md                 the card

All are put in their places together, when every one of them is whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from askmask.conversation import CONCEPTS, Example, Round
from askmask.engine.card import write_card
from askmask.engine.dedup import distinct_pairs, picture_groups
from askmask.engine.pictures import pixel_hash
from askmask.engine.runs import plan_of
from askmask.engine.store import PictureRow, RunStore
from askmask.engine.values import Aligned, Pair, Region, Verified
from askmask.errors import PictureError
from askmask.formats.coco import write_coco
from askmask.formats.converseg import merged_rows, write_items, write_lines
from askmask.formats.own import write_examples
from askmask.formats.parquet import write_parquet
from askmask.formats.pictures import place_picture, upright_name
from askmask.imaging.files import Picture, read_picture
from askmask.notes import Notes
from askmask.runs.manifest import output_folder
from askmask.runs.whole_files import write_json, write_rows

MADE_BY = "askmask engine export"
ALIKE = "looks like"


@dataclass
class Accepted:
    """What of one picture goes out."""

    row: PictureRow
    split: str
    image: str  # relative to OUT
    pairs: list[Pair] = field(default_factory=list)
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
    """Write all and return what was counted. Raises SettingError if OUT holds anything but an export of this run."""
    facts = {"plan": str(store.meta("plan"))}
    with output_folder(out, MADE_BY, facts) as folder, folder.anew() as fresh:
        rejects: list[dict[str, Any]] = []
        pictures = list(_collect(store, lambda row: _copied(row, fresh), rejects, val=val, test=test))
        examples = [_example_of(picture, name, store) for picture in pictures if picture.pairs]
        literal = [_literal_of(picture, name) for picture in pictures if picture.regions]
        write_examples(examples, fresh / "examples.jsonl")
        write_examples(literal, fresh / "literal.jsonl")
        notes = Notes()  # what these forms cannot hold is in examples.jsonl; the card counts it
        trained, held_out = (
            list(merged_rows(chosen, fresh, notes=notes, negatives=False))
            for chosen in (
                [e for e in examples if e.split == "train"],
                [e for e in examples if e.split != "train"],
            )
        )
        write_lines(trained, fresh)
        write_items(held_out, fresh, name=name)
        write_coco(examples, fresh / "coco.json", name=name, notes=notes)
        write_rows(fresh / "rejects.jsonl", rejects)
        if parquet:
            write_parquet(examples, fresh / "examples.parquet", root=fresh)
        counts = _counted(pictures, examples, rejects)
        write_card(store, fresh / "README.md", name=name, counts=counts)
        write_json(fresh / "export.json", facts | {"digest": store.digest()})
    return counts


def _counted(
    pictures: list[Accepted], examples: list[Example], rejects: list[dict[str, Any]]
) -> dict[str, int]:
    pairs = [pair for picture in pictures for pair in picture.pairs]
    whole = [row["reason"] for row in rejects if row["grain"] == "picture"]
    alike = sum(reason.startswith(ALIKE) for reason in whole)
    counts = {
        "pictures": len(examples),
        "pictures left out: they look like another": alike,
        "pictures left out: not there, or changed since the run": len(whole) - alike,
        "pairs with a mask": sum(bool(pair.mask) for pair in pairs),
        "pairs with nothing (in examples.jsonl alone)": sum(not pair.mask for pair in pairs),
        "literal regions": sum(len(p.regions) for p in pictures),
        "rejects": len(rejects),
    }
    for split in ("train", "val", "test"):
        counts[f"pictures in {split}"] = sum(p.split == split and bool(p.pairs) for p in pictures)
    for concept in CONCEPTS:
        counts[concept] = sum(pair.prompt.concept == concept and bool(pair.mask) for pair in pairs)
    return counts


def split_of(sha256: str, *, val: float, test: float) -> str:
    """Return train, val or test by a picture's hash alone: the same picture is in the same split everywhere."""
    place = int(sha256[:12], 16) / 16**12
    return "test" if place < test else "val" if place < test + val else "train"


def _collect(
    store: RunStore,
    place: Callable[[PictureRow], str],
    rejects: list[dict[str, Any]],
    *,
    val: float,
    test: float,
) -> Iterator[Accepted]:
    """Place each picture of which something is told, and yield what goes out of it."""
    rows = list(store.pictures())
    groups = picture_groups(rows)
    for row in rows:
        head = groups[row.sha256]
        verified, aligned = store.stage(row.sha256, "verify")[1], store.stage(row.sha256, "align")[1]
        if not isinstance(verified, Verified) and not isinstance(aligned, Aligned):
            continue
        image, reason = None, f"{ALIKE} {head[:16]}"
        if head == row.sha256:  # two shots of one scene would leak between splits and count twice
            try:
                image = place(row)
            except PictureError as error:
                reason = str(error)
        whole = {"picture": row.sha256, "file": Path(row.path).name, "image": image}
        if image is None:
            rejects.append(whole | {"grain": "picture", "prompt": "", "reason": reason})
            continue
        picture = Accepted(row, split_of(head, val=val, test=test), image)
        if isinstance(verified, Verified):
            picture.regions = list(verified.accepted)
            for region in verified.rejected:
                reason = region.verdict.reason if region.verdict else ""
                seen = {"mask": region.mask.to_dict(), "seen_as": region.seen_as}
                rejects.append(whole | {"grain": "mask", "prompt": region.text, "reason": reason} | seen)
        if isinstance(aligned, Aligned):
            agreed = [pair for pair in aligned.pairs if pair.verdict is None or pair.verdict.accept]
            picture.pairs, doubles = distinct_pairs(agreed)
            declined = [
                (pair, pair.verdict.reason)
                for pair in aligned.pairs
                if pair.verdict is not None and not pair.verdict.accept
            ]
            for pair, reason in declined + doubles:
                told = {"grain": "pair", "prompt": pair.prompt.text, "reason": reason}
                rejects.append(whole | told | _for_review(pair))
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
            pair.prompt.text,
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


def _copied(row: PictureRow, out: Path) -> str:
    """Copy a picture's file upright; return its place below OUT. Raises PictureError saying why it is left out."""
    read = unchanged(row)
    image = upright_name(row.path, f"images/{row.sha256[:16]}{Path(row.path).suffix.lower()}")
    place_picture(row.path, out / image, read=read)
    return image


def unchanged(row: PictureRow) -> Picture:
    """Read a picture of the run. Masks belong to the pixels that it saw: other ones raise PictureError."""
    read = read_picture(row.path)
    if pixel_hash(read.rgb) != row.sha256:
        raise PictureError("its file holds other pixels than when the run saw it")
    return read


def accepted_examples(store: RunStore, name: str, left_out: list[dict[str, Any]]) -> Iterator[Example]:
    """Yield what a run accepted, over its pictures where they lie; `left_out` gets the rows of rejects.jsonl."""

    def where(row: PictureRow) -> str:
        unchanged(row)
        return row.path

    for picture in _collect(store, where, left_out, val=0, test=0):
        if picture.pairs:
            yield _example_of(picture, name, store)
