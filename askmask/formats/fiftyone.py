"""FiftyOne's data sets on disk, written: one sample a picture, its masks as detections with attributes.

https://docs.voxel51.com/user_guide/import_datasets.html  (LegacyFiftyOneDataset: its schema is read from the samples)

    ROOT/samples.json       ROOT/metadata.json      pictures: ROOT/data/

    fiftyone.Dataset.from_dir("ROOT", dataset_type=fiftyone.types.LegacyFiftyOneDataset)

One sample; "mask" is NumPy's own file of a bool array as large as the box, packed by zlib. True masks stand in the
field "ground_truth", those of a model in "predictions":

    {"filepath": "data/9.jpg", "nothing_matches": ["the zebra"], "ground_truth": {"_cls": "Detections", "detections":
      [{"_cls": "Detection", "label": "physics", "bounding_box": [0.1, 0.2, 0.3, 0.1], "confidence": 0.9,
        "mask": {"$binary": {"base64": "...", "subType": "00"}}, "prompt": "what could roll off", "round": "r1"}]}}
"""

from __future__ import annotations

import base64
import io
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from askmask.conversation import Example
from askmask.formats.writing import (
    KINDS,
    Shape,
    by_picture,
    count_losses,
    nothing_of,
    shapes_of,
    size_of_picture,
)
from askmask.notes import Notes
from askmask.runs.whole_files import write_json

HOLDS = tuple(KINDS.keys() - {"marks", "ignore", "licence"})


def write_fiftyone(examples: Iterable[Example], folder: Path, *, name: str, notes: Notes) -> int:
    """Write samples.json and metadata.json; return the number of masks."""
    samples, count = [], 0
    for picture, group in by_picture(examples).items():
        count_losses(group, HOLDS, notes, "FiftyOne")
        found: dict[str, list[dict[str, Any]]] = {"ground_truth": [], "predictions": []}
        for shape in shapes_of(group):
            field = "predictions" if shape.segment.source == "predicted" else "ground_truth"
            found[field].append(_detection(shape, size_of_picture(group)))
            count += 1
        tags = [group[0].split] if group[0].split else []
        sample: dict[str, Any] = {"filepath": picture, "tags": tags, "nothing_matches": nothing_of(group)}
        replies = [r.reply for example in group for r in example.rounds if r.reply and not any(r.masks or ())]
        sample |= {"replies": replies} if replies else {}
        for field, detections in found.items():
            sample[field] = {"_cls": "Detections", "detections": detections} if detections else None
        samples.append(sample)
    write_json(folder / "samples.json", {"samples": samples}, indent=None)
    write_json(folder / "metadata.json", {"name": name, "media_type": "image"})
    return count


def _detection(shape: Shape, size: tuple[int, int]) -> dict[str, Any]:
    segment, (height, width) = shape.segment, size
    box = segment.mask.box
    assert box is not None, "shapes have pixels"
    x0, y0, x1, y1 = box
    buffer = io.BytesIO()
    np.save(buffer, segment.mask.to_array()[y0:y1, x0:x1], allow_pickle=False)
    packed = base64.b64encode(zlib.compress(buffer.getvalue())).decode("ascii")
    detection: dict[str, Any] = {
        "_cls": "Detection",
        "label": shape.label,
        "bounding_box": [x0 / width, y0 / height, (x1 - x0) / width, (y1 - y0) / height],
        "mask": {"$binary": {"base64": packed, "subType": "00"}},
        "prompt": shape.words,
        "round": shape.round.id,
        "segment": segment.id,
    }
    if segment.score is not None:
        detection["confidence"] = segment.score
    for key, value in (
        ("name", segment.name),
        ("concept", shape.round.concept),
        ("reply", shape.round.reply),
        ("made_by", shape.round.made_by),
    ):
        detection |= {key: value} if value else {}
    if shape.round.prompt.refers_to:
        detection["refers_to"] = list(shape.round.prompt.refers_to)
    return detection
