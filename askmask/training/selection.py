"""mini's language stage: words choose regions. The eyes are frozen; what they see is cached on disk.

Phase one: plain names, colours and places. Phase two: every family, mixed with samples of phase one.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from askmask.datasets.dense import shards
from askmask.datasets.own import read_rows
from askmask.model.mini.language import Regions
from askmask.model.mini.net import Mini
from askmask.training.mini_scores import ValView, score_views, val_views
from askmask.training.panels import draw_answers
from askmask.training.prompts import Ask, asks_of, gate_target, ignored, select_target
from askmask.training.region_cache import RegionCache, ShardSight


@dataclass(frozen=True, kw_only=True)
class SelectionConfig:
    """What the language stage reads."""

    train: tuple[str, ...] = ()
    val: tuple[str, ...] = ()
    cache: str = "runs/mini-sight"
    cache_gb: float = 8.0
    shards: int = 400  # at most
    views: int = 24  # per step
    prompts: int = 10  # per view
    literal: float = 1.0  # share of literal prompts; the rest are drawn from all
    word_drop: float = 0.15
    evidence_noise: float = 0.05
    seed: int = 0
    val_views: int = 60


class SelectionTask:
    """The loop's Task of the language stage; trains the language side alone."""

    saves_all = True

    def __init__(self, net: Mini, config: SelectionConfig, *, fresh: bool):
        self.module, self.config = net, config
        for name, parameter in net.named_parameters():
            parameter.requires_grad_(name.startswith("prompt_encoder.language."))
        self.cache = RegionCache(net, config.cache, limit_gb=config.cache_gb)
        self.epoch, self.served = 0, 0
        self.names: list[str] = []
        self.random = np.random.default_rng(config.seed)
        self._views: list[tuple[ShardSight, int, list[Ask], list[Ask]]] = []
        self._order = np.zeros(0, np.int64)
        self._val: list[ValView] | None = None
        self._fresh = fresh

    def _begin_epoch(self, names: list[str] | None = None) -> None:
        paths = {str(path): path for folder in self.config.train for path in shards(folder)}
        chosen = names if names is not None else sorted(paths)[: self.config.shards]
        if chosen != self.names or not self._views:
            self._views = [view for name in chosen for view in self._read(paths[name])]
            self.names = chosen
        self._order = np.random.default_rng([self.config.seed, self.epoch]).permutation(len(self._views))
        if self._fresh:
            self._standardise()

    def _read(self, path: Any) -> list[tuple[ShardSight, int, list[Ask], list[Ask]]]:
        sight = self.cache.sight(path)
        scenes = [row for _, row in read_rows(path.with_suffix(".jsonl"))]
        with np.load(path, allow_pickle=False) as data:
            scene, view = data["scene"], data["view"]
        found = []
        for row in range(len(scene)):
            facts = scenes[int(scene[row])]
            asks = asks_of(facts, facts["views"][int(view[row])])
            if asks:
                found.append((sight, row, asks, [ask for ask in asks if ask.literal]))
        return found

    def _standardise(self) -> None:
        """Take mean and spread of the evidence from the first views, once, before step 0."""
        rows = torch.cat([sight.view(row)[0] for sight, row, _, _ in self._views[:400]])
        self.module.language.evidence_mean.copy_(rows.mean(0))
        self.module.language.evidence_scale.copy_(rows.std(0) + 0.02)
        self._fresh = False

    def next_batch(self) -> list[tuple[ShardSight, int, list[Ask]]]:
        """Return some views, each with some of its prompts."""
        if not self._views or self.served >= len(self._order):
            self.epoch += bool(self._views)
            self.served = 0
            self._begin_epoch()
        chosen = self._order[self.served : self.served + self.config.views]
        self.served += len(chosen)
        batch = []
        for number in chosen:
            sight, row, asks, literal = self._views[number]
            pick = []
            for _ in range(self.config.prompts):
                pool = literal if literal and self.random.random() < self.config.literal else asks
                pick.append(pool[int(self.random.integers(len(pool)))])
            batch.append((sight, row, pick))
        return batch

    def loss(
        self, batch: list[tuple[ShardSight, int, list[Ask]]], progress: float
    ) -> tuple[Tensor, dict[str, float]]:
        """Compare choice, part and presence with the truth."""
        self.module.eval()
        self.module.language.train()
        regions, owner = self._regions(batch)
        asks = [ask for _, _, picked in batch for ask in picked]
        index = torch.arange(len(batch)).repeat_interleave(self.config.prompts)
        seen = self.module.language.see(regions).rows(index)
        choice = self.module.language(seen, [ask.text for ask in asks], self.config.word_drop)
        target, counted = targets(asks, [owner[int(number)] for number in index], seen.real)
        losses = selection_losses(choice, target, counted, asks, self.module.config.parts)
        right = (((choice.select > 0) == (target > 0.5)) | ~counted).all(1).float().mean()
        figures = {name: float(loss.detach()) for name, loss in losses.items()}
        return sum(losses.values()), figures | {"all_right": float(right), "prompts": float(len(asks))}

    def _regions(self, batch: list[tuple[ShardSight, int, list[Ask]]]) -> tuple[Regions, list[np.ndarray]]:
        views = [sight.view(row) for sight, row, _ in batch]
        most = max(len(evidence) for evidence, _, _ in views)
        evidence = torch.zeros(len(views), most, views[0][0].shape[1])
        relation = torch.zeros(len(views), most, most, views[0][1].shape[-1])
        real = torch.zeros(len(views), most, dtype=torch.bool)
        for row, (one, pairs, _) in enumerate(views):
            evidence[row, : len(one)] = one
            relation[row, : len(one), : len(one)] = pairs
            real[row, : len(one)] = True
        if self.config.evidence_noise:
            noise = torch.randn_like(evidence) * self.config.evidence_noise
            evidence = evidence + noise * self.module.language.evidence_scale
        return Regions(evidence, relation, real), [owner for _, _, owner in views]

    def evaluate(self) -> dict[str, float]:
        """Score the painted choice on unseen scenes, without the mask decoder."""
        if not self.config.val:
            return {}
        if self._val is None:
            self._val = val_views(self.module, self.config.val, self.config.val_views)
        return score_views(self.module, self._val, decode=False)

    def panels(self, folder: Path, step: int) -> None:
        """Draw a few validation answers."""
        if self._val:
            draw_answers(self.module, self._val[:4], folder / f"answers-{step:08d}.png", decode=False)

    def state_dict(self) -> dict[str, Any]:
        """Return the data position."""
        import json

        return {
            "epoch": self.epoch,
            "served": self.served,
            "names": self.names,
            "random": json.dumps(self.random.bit_generator.state),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go to a data position."""
        import json

        self.epoch, self._fresh = state["epoch"], False
        self._begin_epoch(state["names"])
        self.served = state["served"]
        self.random.bit_generator.state = json.loads(state["random"])


def targets(asks: list[Ask], owners: list[np.ndarray], real: Tensor) -> tuple[Tensor, Tensor]:
    """Return which regions each prompt chooses, 0/1 [B, O], and which count for its loss, bool [B, O]."""
    target, counted = torch.zeros(real.shape), real.clone()
    for number, (ask, owner) in enumerate(zip(asks, owners, strict=True)):
        target[number, : len(owner)] = select_target(ask, owner)
        counted[number, : len(owner)] &= ignored(ask, owner) == 0
    return target, counted


def selection_losses(choice, target, real, asks, parts) -> dict[str, Tensor]:
    """Return the losses of regions [B, O], part gate [B, P] and presence [B]."""
    each = F.binary_cross_entropy_with_logits(choice.select, target, reduction="none") * real
    count = real.sum(1).clamp(min=1)
    chance = choice.select.sigmoid() * real
    # Overlap of what is chosen with what should be: a missed small answer costs as much as a missed big one.
    overlap = 1 - ((chance * target).sum(1) + 0.1) / ((chance + target - chance * target).sum(1) + 0.1)
    present = torch.tensor([float(ask.present) for ask in asks])
    gate = torch.stack([gate_target(ask, parts) for ask in asks])
    gate_loss = -(gate * choice.gate.log_softmax(1)).sum(1)
    return {
        "select": 4.0 * (each.sum(1) / count).mean() + 0.5 * (overlap * present).mean(),
        "gate": (gate_loss * present).sum() / present.sum().clamp(min=1),
        "presence": F.binary_cross_entropy_with_logits(choice.presence, present),
    }
