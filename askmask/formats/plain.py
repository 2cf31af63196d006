"""Masks as plain files, written: a PNG a mask and a table of them (`png`), or outlines as GeoJSON (`geojson`).

    ROOT/masks/9/r1-m1.png      255 inside, 0 outside, of the picture's size
    ROOT/masks.csv              image,mask,prompt,round,segment,name,concept,score,source,made_by,reply,refers_to

    ROOT/geojson/9.geojson      one feature a mask, in pixels of the picture, y downwards (as QuPath has it):

    {"type": "FeatureCollection", "features": [{"type": "Feature", "id": "1-m1",
      "geometry": {"type": "Polygon", "coordinates": [[[4, 7], [12, 7], [12, 9], [4, 9], [4, 7]]]},
      "properties": {"prompt": "what could roll off", "classification": {"name": "physics"}, ...}}]}

A prompt that nothing matches is a row without a mask, or a feature without a geometry.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from askmask.conversation import Example, Round, Segment
from askmask.formats.writing import KINDS, by_picture, count_losses, words_of
from askmask.imaging.mask import Mask
from askmask.notes import Notes
from askmask.runs.whole_files import write_json, write_text

HOLDS = tuple(KINDS.keys() - {"marks", "ignore", "licence"})
TABLE = "masks.csv"
COLUMNS = (
    "image",
    "mask",
    "prompt",
    "round",
    "segment",
    "name",
    "concept",
    "score",
    "source",
    "made_by",
    "reply",
    "refers_to",
)


def write_png(examples: Iterable[Example], folder: Path, *, name: str, notes: Notes) -> int:
    """Write masks.csv and the PNGs; return the number of masks."""
    text = io.StringIO()
    table = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    table.writeheader()
    count = 0
    for picture, group in by_picture(examples).items():
        count_losses(group, HOLDS, notes, "a folder of PNGs")
        for number, round, segment in _rows(group):
            row: dict[str, Any] = {"image": picture, "mask": ""} | _said(round, segment)
            row["refers_to"] = " ".join(round.prompt.refers_to)
            if segment is not None:
                count += 1
                row["mask"] = f"masks/{Path(picture).stem}/{number}-{segment.id}.png"
                segment.mask.to_png(folder / row["mask"])
            table.writerow({key: row.get(key) for key in COLUMNS})
    write_text(folder / TABLE, text.getvalue())
    return count


def write_geojson(examples: Iterable[Example], folder: Path, *, name: str, notes: Notes) -> int:
    """Write one file per picture; return the number of masks."""
    count = 0
    for picture, group in by_picture(examples).items():
        count_losses(group, HOLDS, notes, "GeoJSON")
        features = []
        for number, round, segment in _rows(group):
            said = {"image": picture} | _said(round, segment)
            if round.prompt.refers_to:
                said["refers_to"] = list(round.prompt.refers_to)
            said["classification"] = {
                "name": round.concept or words_of(round, segment.name if segment else None)
            }
            feature = {"type": "Feature", "geometry": None, "properties": said}
            if segment is not None:
                count += 1
                feature |= {"id": f"{number}-{segment.id}", "geometry": geometry_of(segment.mask)}
            features.append(feature)
        path = folder / "geojson" / f"{Path(picture).stem}.geojson"
        write_json(path, {"type": "FeatureCollection", "features": features}, indent=None)
    return count


def geometry_of(mask: Mask) -> dict[str, Any]:
    """Return a mask with pixels as a GeoJSON geometry along pixel edges, in pixels."""
    # The standard wants shells to run anticlockwise with y upwards, which with y downwards is clockwise on screen.
    parts = [[[list(corner) for corner in (*ring, ring[0])] for ring in part] for part in mask.parts()]
    if len(parts) == 1:
        return {"type": "Polygon", "coordinates": parts[0]}
    return {"type": "MultiPolygon", "coordinates": parts}


def _rows(group: list[Example]) -> Iterable[tuple[int, Round, Segment | None]]:
    """Yield (number of the round, round, segment), None where nothing matches."""
    answered = (round for example in group for round in example.rounds if round.segments is not None)
    for number, round in enumerate(answered, 1):
        segments = [segment for segment in round.segments or () if segment.mask]
        yield from ((number, round, segment) for segment in segments)
        if not segments:
            yield number, round, None


def _said(round: Round, segment: Segment | None) -> dict[str, Any]:
    """Return what is known of a mask; absent things are left out."""
    said: dict[str, Any] = {"prompt": round.text, "round": round.id}
    said |= {key: value for key in ("concept", "reply", "made_by") if (value := getattr(round, key))}
    if segment is not None:
        said |= {"segment": segment.id, "source": segment.source}
        said |= {key: v for key in ("name", "score") if (v := getattr(segment, key)) is not None}
    return said
