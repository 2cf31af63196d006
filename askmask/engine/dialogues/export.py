"""A builder's run -> data sets: PRIST's own files, and askmask's with a mask at every turn that points at something.

OUT/train.json, val.json, test.json      PRIST's dialogues (formats/prist.py)
OUT/textcaps/...                         pictures and LabelMe masks of split train, where PRIST's reader looks for them
OUT/multiturn/Multiturn/val/...          the same of val and test
OUT/examples.jsonl                       askmask's own: masks at every turn, () where nothing matches
OUT/rejects.jsonl                        what was declined, with its mask and the reason: the review queue
OUT/stats.json                           counts, leakage, cost

Leakage is bounded: dialogues in which the person has already said every word of the focus's name are at most a set
share of each picture set; those beyond it go to the queue.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from askmask.conversation import Example, Prompt, Round, Segment
from askmask.engine.dedup import picture_groups
from askmask.engine.dialogues.rules import leaked, most_leaked
from askmask.engine.dialogues.store import DialogueStore
from askmask.engine.dialogues.values import Checked, Dialogue, Dialogues, Elements, Tree
from askmask.engine.export import split_of, unchanged
from askmask.engine.runs import plan_of
from askmask.engine.store import PictureRow
from askmask.engine.values import Region, Segmented, Verdict, Verified
from askmask.errors import PictureError
from askmask.formats.labelme import union_of_shapes
from askmask.formats.own import write_examples
from askmask.formats.pictures import place_picture, upright_name
from askmask.formats.prist import FOLDERS
from askmask.imaging.contours import one_ring, polygons
from askmask.imaging.mask import Mask
from askmask.runs.manifest import output_folder
from askmask.runs.whole_files import write_json, write_rows

MADE_BY = "askmask build prist"
SHOWN = (
    "It is [SEG].",
    "Here it is: [SEG].",
    "That must be [SEG].",
    "What you need is [SEG].",
    "This one: [SEG].",
)
DRAWN_IOU = 0.98  # a polygon that gives back less of the mask is not used


@dataclass
class _Item:
    row: PictureRow
    split: str
    image: str  # relative to OUT
    talk: Dialogue
    verdict: Verdict
    regions: dict[int, Region]
    names: dict[int, str]

    @property
    def focus(self) -> str:
        return self.names[self.talk.focus]

    @property
    def id(self) -> str:
        return f"prist-built-{self.row.sha256[:16]}-{self.talk.path.removeprefix('path ')}"


def export_dialogues(
    store: DialogueStore,
    out: str | Path,
    *,
    val: float = 0.05,
    test: float = 0.0,
    most_leaked_share: float = 0.1,
) -> dict[str, Any]:
    """Write all and return the counts. Raises SettingError if OUT holds anything but an export of this run."""
    facts = {"plan": str(store.meta("plan"))}
    with output_folder(out, MADE_BY, facts) as folder, folder.anew() as fresh:
        rejects: list[dict[str, Any]] = []
        rules: Counter[str] = Counter()
        items = _items(store, fresh, rejects, rules, val=val, test=test)
        kept = [item for item in items if item.verdict.accept]
        share_before = _leakage(kept)
        clean = [item for item in kept if not leaked(item.talk, item.focus)[0]]
        late = sorted((item for item in kept if leaked(item.talk, item.focus)[0]), key=lambda item: item.id)
        room = most_leaked(len(clean), most_leaked_share)
        rejects += [_rejected(item, "the person has named it before it is asked for") for item in late[room:]]
        kept = sorted([*clean, *late[:room]], key=lambda item: (item.row.number, item.talk.path))
        for split in ("train", "val", "test"):
            chosen = [item for item in kept if item.split == split]
            if chosen:
                write_json(fresh / f"{split}.json", [_prist_row(item) for item in chosen])
                _write_labels(chosen, fresh / FOLDERS[split][1])
        write_examples([_example(item, store) for item in kept], fresh / "examples.jsonl")
        write_rows(fresh / "rejects.jsonl", rejects)
        stats = _stats(store, kept, rejects, rules, share_before)
        write_json(fresh / "stats.json", stats, indent=2)
    return stats


def _items(
    store: DialogueStore,
    fresh: Path,
    rejects: list[dict[str, Any]],
    rules: Counter[str],
    *,
    val: float,
    test: float,
) -> list[_Item]:
    items: list[_Item] = []
    rows = list(store.pictures())
    groups = picture_groups(rows)
    for row in rows:
        found = {stage: store.stage(row.sha256, stage)[1] for stage in store.stages}
        for result in found.values():
            rules.update(drop.rule for drop in getattr(result, "dropped", ()))
        elements, verified, checked = found["elements"], found["verify"], found["check"]
        if not (
            isinstance(elements, Elements) and isinstance(verified, Verified) and isinstance(checked, Checked)
        ):
            continue
        split, reason = split_of(groups[row.sha256], val=val, test=test), ""
        image = f"{FOLDERS[split][0]}/{row.sha256[:16]}{Path(row.path).suffix.lower()}"
        if groups[row.sha256] != row.sha256:
            reason = f"looks like {groups[row.sha256][:16]}"
        elif checked.dialogues:
            try:
                read = unchanged(row)
                image = upright_name(row.path, image)
                place_picture(row.path, fresh / image, read=read)
            except PictureError as error:
                reason = str(error)
        regions = {region.id: region for region in verified.accepted}
        names = {element.id: element.name for element in elements.elements}
        for region in verified.rejected:
            why = region.verdict.reason if region.verdict else ""
            rejects.append(_whole(row) | {"grain": "mask", "prompt": region.text, "reason": why,
                                          "mask": region.mask.to_dict(), "seen_as": region.seen_as})  # fmt: skip
        for talk, verdict in zip(checked.dialogues, checked.verdicts, strict=True):
            item = _Item(row, split, image, talk, verdict, regions, names)
            if reason or not verdict.accept:
                rejects.append(_rejected(item, reason or verdict.reason))
            if not reason:
                items.append(item)
    return items


def _whole(row: PictureRow) -> dict[str, Any]:
    return {"picture": row.sha256, "file": Path(row.path).name}


def _rejected(item: _Item, reason: str) -> dict[str, Any]:
    told = [[turn.person, turn.assistant] for turn in item.talk.turns]
    return _whole(item.row) | {
        "grain": "dialogue", "id": item.id, "image": item.image, "prompt": item.focus, "reason": reason,
        "verdict": item.verdict.accept, "mask": item.regions[item.talk.focus].mask.to_dict(),
        "dialogue": [*told, [item.talk.request, ""]],
    }  # fmt: skip


def _shown(item: _Item) -> str:
    return SHOWN[hashlib.sha256(item.id.encode()).digest()[0] % len(SHOWN)]


def _prist_row(item: _Item) -> dict[str, Any]:
    said = [(turn.person, turn.assistant) for turn in item.talk.turns] + [(item.talk.request, _shown(item))]
    turns = [
        {"from": who, "value": text}
        for pair in said
        for who, text in zip(("human", "gpt"), pair, strict=True)
    ]
    return {"img_id": Path(item.image).name, "focus": item.focus, "dialogue": turns}


def _write_labels(items: list[_Item], folder: Path) -> None:
    """Write one LabelMe file a picture with the masks of its focuses."""
    by_picture: dict[str, list[_Item]] = {}
    for item in items:
        by_picture.setdefault(item.image, []).append(item)
    for image, group in by_picture.items():
        row = group[0].row
        shapes = [s for item in group for s in _shapes(item.focus, item.regions[item.talk.focus].mask)]
        data: dict[str, Any] = {
            "version": "5.5.0",
            "flags": {},
            "shapes": shapes,
            "imagePath": Path(image).name,
            "imageData": None,
        }
        folder.mkdir(parents=True, exist_ok=True)
        size = {"imageHeight": row.height, "imageWidth": row.width}
        write_json(folder / f"{Path(image).stem}.json", data | size)


def _shapes(label: str, mask: Mask) -> list[dict[str, Any]]:
    """Return a mask as polygons through its outermost pixels' centres: filled and outlined they give it back."""
    shapes: list[dict[str, Any]] = [
        {"label": label, "shape_type": "polygon", "group_id": None, "flags": {}, "points": one_ring(
            [_inset(ring) for ring in polygon]
        )}
        for polygon in polygons(mask.to_array())
    ]  # fmt: skip
    assert union_of_shapes(shapes, mask.size).iou(mask) >= DRAWN_IOU, "polygons follow the mask"
    return shapes


def _inset(ring: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Move a ring of pixel corners half a pixel inwards, to pixel centres. Shells run clockwise, holes not."""
    corners = np.array(ring, np.float64)
    ahead = np.sign(np.roll(corners, -1, axis=0) - corners)
    behind = np.roll(ahead, 1, axis=0)
    inward = sum(np.stack([-edge[:, 1], edge[:, 0]], axis=1) for edge in (ahead, behind))
    return [(float(x), float(y)) for x, y in corners + 0.5 * inward - 0.5]


def _example(item: _Item, store: DialogueStore) -> Example:
    plan = plan_of(store)
    rounds: list[Round] = []
    for number, turn in enumerate(item.talk.turns):
        segments = None if turn.kind == "words" else tuple(_segment(item, n) for n in turn.points_at)
        before: tuple[str, ...] = (f"r{number}",) if turn.kind == "correct" else ()
        rounds.append(
            Round(
                prompt=Prompt(text=turn.person, refers_to=before),
                segments=segments,
                reply=turn.assistant,
                meta={"kind": turn.kind},
            )
        )
    every = tuple(f"r{number}" for number in range(1, len(rounds) + 1))
    said = {
        "focus": item.focus,
        "kind": "final",
        "verdict": item.verdict.to_dict(),
        "written_by": item.talk.call,
    }
    rounds.append(
        Round(
            prompt=Prompt(text=item.talk.request, refers_to=every),
            segments=(_segment(item, item.talk.focus),),
            reply=_shown(item),
            meta=said,
        )
    )
    return Example(
        id=item.id,
        image=item.image,
        rounds=tuple(rounds),
        size=(item.row.height, item.row.width),
        source="prist-built",
        split=item.split,
        licence=item.row.licence or None,
        meta={
            "picture_sha256": item.row.sha256,
            "file": Path(item.row.path).name,
            "writer": plan.writer.name,
            "verifier": (plan.verifier or plan.writer).name,
        },
    )


def _segment(item: _Item, number: int) -> Segment:
    return Segment(mask=item.regions[number].mask, phrase=item.names[number])


def _leakage(items: list[_Item]) -> dict[str, float | None]:
    said = [leaked(item.talk, item.focus) for item in items]
    if not said:
        return {"person": None, "anyone": None}
    return {who: sum(one[k] for one in said) / len(said) for k, who in enumerate(("person", "anyone"))}


def _stats(
    store: DialogueStore,
    kept: list[_Item],
    rejects: list[dict[str, Any]],
    rules: Counter[str],
    before: dict[str, float | None],
) -> dict[str, Any]:
    kinds = Counter(turn.kind for item in kept for turn in item.talk.turns)
    trees = [store.stage(row.sha256, "tree")[1] for row in store.pictures()]
    written = [store.stage(row.sha256, "dialogues")[1] for row in store.pictures()]
    found = [store.stage(row.sha256, "segment")[1] for row in store.pictures()]
    usd, calls = store.spent()
    tokens = store.tokens()
    return {
        "pictures": len(trees),
        "paths": sum(len(tree.paths) for tree in trees if isinstance(tree, Tree)),
        "shared_nodes": sum(tree.shared for tree in trees if isinstance(tree, Tree)),
        "dialogues_written": sum(len(one.dialogues) for one in written if isinstance(one, Dialogues)),
        "masks_made": sum(len(one.regions) for one in found if isinstance(one, Segmented)),
        "dialogues": len(kept),
        "turns": {**dict(sorted(kinds.items())), "final": len(kept)},
        "rejects": len(rejects),
        "dropped_by_rule": dict(sorted(rules.items())),
        "leakage": _leakage(kept),
        "leakage_before_the_bound": before,
        "cost": {"calls": calls, "usd": round(usd, 6), "input_tokens": tokens[0], "output_tokens": tokens[1]},
        "undecided": len(store.failures()),
        "digest": store.digest(),
    }
