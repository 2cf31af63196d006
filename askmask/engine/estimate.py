"""What a run will cost, before it is begun: real requests over a sample of pictures, typical replies.

Nothing is sent. Input tokens are counted on the very requests the stages would send, with the usual four bytes a
token and a model's usual price of a picture; replies are taken to be of typical length and the regions as many as
asked for. Once some pictures of a run are finished, `from_run` extrapolates from what they really took.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel

from askmask.detectors.vlm_boxes import BoxesReply
from askmask.engine.pictures import Picture
from askmask.engine.replies import AlignmentReply, ChoiceReply, MaskReply, RegionsReply, prompts_reply
from askmask.engine.settings import Settings
from askmask.engine.store import RunStore
from askmask.engine.templates import fill_write, text_of
from askmask.errors import PictureError
from askmask.vlm.budget import Price
from askmask.vlm.pictures import shrink
from askmask.vlm.templates import text_of as text_in

REGIONS = 6  # described; of them:
FOUND, ACCEPTED = 5.5, 4.0
POOLED = 0.6  # share of regions with a mask in the pool
PROMPTS = 3.0  # per concept, negatives included, after the rules
INPUTS = 60  # tokens of a request's own data
PIXELS_PER_TOKEN = 28 * 28  # Qwen2.5-VL, and near Gemini's 258 a tile


@dataclass(frozen=True)
class Estimate:
    """Expected calls and tokens for one stage over all pictures."""

    stage: str
    calls: float
    input_tokens: float
    output_tokens: float

    def usd(self, price: Price | None) -> float | None:
        """Dollars, None without a price."""
        return None if price is None else price.of(round(self.input_tokens), round(self.output_tokens))


def estimate(
    paths: Sequence[Path], settings: Settings, *, sample: int = 20, detector: str = "vlm", seed: int = 0
) -> list[Estimate]:
    """Return one Estimate per stage for all `paths`, from up to `sample` of them drawn at random."""
    drawn = random.Random(seed).sample(list(paths), min(sample, len(paths)))
    areas = []
    for path in drawn:
        try:
            height, width = shrink(Picture.read(path).rgb, settings.sent_px).shape[:2]
        except PictureError:
            continue
        areas.append(height * width)
    if not areas:
        raise PictureError("no readable picture in the sample", got=f"{len(drawn)} files")
    picture = sum(areas) / len(areas) / PIXELS_PER_TOKEN
    votes = settings.votes
    accepted = ACCEPTED if settings.verify_masks else FOUND
    prompts = PROMPTS * len(settings.concepts)

    def stage(name: str, calls: float, pictures: float, text: str, schema: type[BaseModel], out: float):
        fixed = len(text) / 4 + len(json.dumps(schema.model_json_schema())) / 4 + INPUTS
        per_call = fixed + pictures * picture
        return Estimate(name, calls * len(paths), calls * len(paths) * per_call, calls * len(paths) * out)

    rows = [stage("describe", 1, 1, text_of("describe"), RegionsReply, 260)]
    if detector == "vlm":
        rows.append(stage("segment", 1, 1, text_in("askmask.detectors", "locate"), BoxesReply, 40 * REGIONS))
    if settings.verify_masks:
        checks = FOUND * (1 + POOLED * 0.5 * settings.refine) * votes
        rows.append(stage("verify", checks, 2, text_of("verify_mask"), MaskReply, 90))
        if settings.refine:
            chosen = FOUND * POOLED * 0.7
            rows.append(stage("verify (choice)", chosen, 3, text_of("choose_mask"), ChoiceReply, 60))
    concepts = list(settings.concepts)
    texts = [fill_write(concept) for concept in concepts]
    longest = max(texts, key=len)
    extra = accepted * 30 * 4  # the list of regions
    rows.append(stage("write", len(concepts), 2, longest + " " * int(extra), prompts_reply(concepts[0]), 420))
    if settings.verify_pairs:
        rows.append(stage("align", prompts * votes, 1.6, text_of("align_mask"), AlignmentReply, 70))
    return rows


def from_run(store: RunStore, pictures: int) -> list[Estimate]:
    """Return what `pictures` would take at the rate of the run's finished ones."""
    finished = [row.sha256 for row in store.pictures() if store.finished(row.sha256)]
    if not finished:
        return []
    factor = pictures / len(finished)
    rows = store.query(
        "SELECT stage, COUNT(*), TOTAL(input_tokens), TOTAL(output_tokens) FROM calls GROUP BY stage"
    )
    return [Estimate(row[0], row[1] * factor, row[2] * factor, row[3] * factor) for row in rows]
