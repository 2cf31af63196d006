"""Validation of phases one and two: the network's answers at picture size, scored by evaluation/, and drawn."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from askmask.evaluation.meter import Meter, Row
from askmask.evaluation.protocols import PROTOCOLS, scores_of, sum_terms, terms_of
from askmask.imaging.mask import Mask, union_of
from askmask.model.protocols import NATIVE
from askmask.training.batches import Collate
from askmask.training.data import LoadedRound, Source
from askmask.training.objective import Objective
from askmask.training.panels import sheet, side_by_side

DRAWN = 8
PROTOCOL = PROTOCOLS["askmask"]


class Evaluator:
    """Scores and draws the first rounds of some sources."""

    def __init__(self, sources: Sequence[Source], count: int, collate: Collate, objective: Objective):
        self.rounds = [(source, number) for source in sources for number in range(len(source))][:count]
        self.collate, self.objective = collate, objective

    def scores(self) -> dict[str, float]:
        """Return scores over all rounds and by concept; {} without rounds."""
        meter = Meter()
        groups: dict[str, list[Row]] = {}
        for number, (one, mask) in enumerate(self._answers(len(self.rounds))):
            truth = union_of(one.round.masks or (), one.picture.size)
            row = meter.update(mask, truth, ignore=one.round.ignore, id=str(number))
            for key in {"all", one.round.concept or "all"}:
                groups.setdefault(key, []).append(row)
        found: dict[str, float] = {}
        for key, rows in sorted(groups.items()):
            values = scores_of(sum_terms(terms_of(rows, PROTOCOL)), PROTOCOL)
            found[f"giou_{key}"] = float(values["gIoU"])
            if key == "all":
                found |= {"ciou_all": float(values["cIoU"]), "no_target_right": float(values["N_acc"])}
        return {
            name: value for name, value in found.items() if not math.isnan(value)
        }  # without negatives, N_acc

    def draw(self, path: Path) -> None:
        """Draw the first answers beside the truth."""
        tiles = [
            side_by_side(one.picture.rgb, one.truth, mask.to_array(), one.text)
            for one, mask in self._answers(DRAWN)
        ]
        sheet(tiles, 2, path)

    @torch.no_grad()
    def _answers(self, count: int) -> Iterator[tuple[LoadedRound, Mask]]:
        net = self.objective.net
        net.eval()
        for source, number in self.rounds[:count]:
            one = source[number]
            batch = self.collate([one])
            logits = self.objective.masks(batch, self.objective.features(batch)).logits[0, :1]
            planes = NATIVE.restore(logits, one.picture, net.segmenter.image_size)
            yield one, Mask.from_array(planes[0] > 0)
