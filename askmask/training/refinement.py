"""mini's last stage: the mask decoder learns to correct the painted regions, from words, clicks and boxes.

Encoder and dense heads stay frozen; the language side goes on learning its choice at the same time, or stays as
conversations left it (`choice=0`): here it is asked single prompts alone, and would forget.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from askmask.model.mini.decoder import MASKS
from askmask.model.mini.encoder import pyramid
from askmask.model.mini.instances import Instances, gather
from askmask.model.mini.language import Seen, pad_regions
from askmask.model.mini.net import Mini
from askmask.model.seams import Features, MaskOutput
from askmask.training.batches import native_target, presence_of
from askmask.training.losses import alternatives_loss, iou_of, mask_loss, presence_loss, score_loss, sum_of
from askmask.training.mini_scores import ValView, score_views, val_views
from askmask.training.panels import draw_answers
from askmask.training.prompts import Ask, asks_of, ignored_mask, true_mask
from askmask.training.region_cache import owners
from askmask.training.selection import selection_losses, targets, understanding_losses
from askmask.training.stream import ShardStream, ViewRef


@dataclass(frozen=True, kw_only=True)
class RefinementConfig:
    """What the last stage sees."""

    train: tuple[str, ...] = ()
    val: tuple[str, ...] = ()
    views: int = 6  # per step
    prompts: int = 8  # per view, in words
    clicks: int = 1  # per view
    boxes: int = 1  # per view
    literal: float = 0.3
    parts: float = 0.15  # share that asks for parts, where some do: they are thin, and rare among all
    shards_per_round: int = 4
    choice: float = 0.5  # weight of the language side's own losses; 0 = it is frozen
    seed: int = 0
    val_views: int = 40


@dataclass(frozen=True)
class Wanted:
    """What one view is asked in one step."""

    ref: ViewRef
    asks: list[Ask]
    clicked: np.ndarray  # [clicks, 2] y, x in pixels
    boxed: list[int]  # ids of objects


class RefinementTask:
    """The loop's Task of the last stage."""

    saves_all = True

    def __init__(self, net: Mini, config: RefinementConfig):
        self.module, self.config = net, config
        trained: tuple[str, ...] = ("adapter.", "segmenter.decoder.", "segmenter.clicks.", "segmenter.blend.")
        trained += ("prompt_encoder.language.",) if config.choice else ()
        for name, parameter in net.named_parameters():
            parameter.requires_grad_(name.startswith(trained))
        self.stream = ShardStream(
            config.train,
            seed=config.seed,
            shards_per_round=config.shards_per_round,
        )
        self.random = np.random.default_rng(config.seed)
        self._val: list[ValView] | None = None

    def next_batch(self, progress: float) -> list[Wanted]:
        """Return some views, with prompts, clicks and boxes on each."""
        batch: list[Wanted] = []
        while not batch:  # nothing may be asked of all these views
            refs = self.stream.next(self.config.views)
            batch = [wanted for ref in refs if (wanted := self._wanted(ref)) is not None]
        return batch

    def _wanted(self, ref: ViewRef) -> Wanted | None:
        asks = asks_of(*ref.shard.facts(ref.row))
        if not asks:
            return None
        literal = [ask for ask in asks if ask.literal] or asks
        parts = [ask for ask in asks if ask.parts] or asks
        shares = [self.config.parts, self.config.literal]
        pools = [
            (parts, literal, asks)[int((self.random.random() >= np.cumsum(shares)).sum())]
            for _ in range(self.config.prompts)
        ]
        picked = [pool[int(self.random.integers(len(pool)))] for pool in pools]
        objects = ref.shard.objects[ref.row]
        ids, counts = np.unique(objects, return_counts=True)
        things = ids[(ids > 0) & (ids < 200) & (counts > 40)]
        clicked, boxed = [], []
        for _ in range(self.config.clicks if len(things) else 0):
            places = np.argwhere(objects == self.random.choice(things))
            clicked.append(places[int(self.random.integers(len(places)))])
        for _ in range(self.config.boxes if len(things) else 0):
            boxed.append(int(self.random.choice(things)))
        return Wanted(ref, picked, np.array(clicked, np.int64).reshape(-1, 2), boxed)

    def loss(self, batch: list[Wanted], progress: float) -> tuple[Tensor, dict[str, float]]:
        """Decode every prompt of every view; mask, presence, score and choice losses."""
        net = self.module
        net.eval()
        with torch.no_grad():
            pixels = torch.stack([net.segmenter.prepare(w.ref.shard.rgb[w.ref.row]) for w in batch])
            features = Features(net.segmenter.encoder(pixels))
            percept = net.perceive(features)
            instances = [gather(percept, pyramid(features), row, net.config) for row in range(len(batch))]
            parts = percept.shares
        if net.segmenter.blend is not None:
            features = Features((net.segmenter.blend.train()(pixels, features.maps[0]), *features.maps))
        net.language.train(bool(self.config.choice))
        seen = net.language.see(pad_regions(instances))
        total: dict[str, Tensor] = {}
        for row, wanted in enumerate(batch):
            part = self._view_losses(wanted, row, features, instances[row], seen, parts)
            for name, value in part.items():
                total[name] = total.get(name, torch.zeros(())) + value / len(batch)
        figures = {name: float(value.detach()) for name, value in total.items() if name != "iou"}
        figures["iou"] = float(total.pop("iou"))
        return sum_of(total.values()), figures

    def _view_losses(
        self,
        wanted: Wanted,
        row: int,
        features: Features,
        instances: Instances,
        seen: Seen,
        parts: Tensor,
    ) -> dict[str, Tensor]:
        net, asks = self.module, wanted.asks
        shard, at = wanted.ref.shard, wanted.ref.row
        objects = shard.objects[at]
        here = seen.rows(torch.full((len(asks),), row))
        drop = 0.1 if self.config.choice else 0.0
        choice = net.language(here, net.language.words.tokens([ask.text for ask in asks]), drop)
        choice = choice.on(
            instances.masks.expand(len(asks), -1, -1, -1), parts[row : row + 1].expand(len(asks), -1, -1, -1)
        )
        own = features.rows(torch.tensor([row]))
        masks = [(true_mask(ask, objects, shard.parts[at]), ignored_mask(ask, objects)) for ask in asks]
        targets_at = [
            [torch.stack(some) for some in zip(*(native_target(*m, side) for m in masks), strict=True)]
            for side in (parts.shape[-1], net.segmenter.mask_size)
        ]
        present = torch.tensor([presence_of(*m) for m in masks])
        out = net.segmenter.decoder(own, net.adapter(choice))
        known = owners(instances, objects, net.config.stuff)
        target, regions = targets(asks, [known] * len(asks), here.real)
        own_losses = selection_losses(choice, target, regions, asks, net.config)
        own_losses |= understanding_losses(choice, asks, [known] * len(asks), net.config)
        whole = net.segmenter.enlarged(own, out.logits[:, :1], out.row)
        losses = _decoder_losses(out, whole, *targets_at)
        losses["presence"] = presence_loss(out.presence_logits, present)
        if self.config.choice:
            losses["choice"] = self.config.choice * sum_of(own_losses.values())
        places, goals = _clicks(wanted, objects)
        for place, goal in zip(places, goals, strict=True):
            given = net.segmenter.click(instances, torch.from_numpy(place))
            drawn = net.segmenter.decoder(own, given)
            clicked = net.segmenter.enlarged(own, drawn.logits[:, :1], drawn.row)
            goals_at = [[_shrink(goal, side), None] for side in (parts.shape[-1], net.segmenter.mask_size)]
            more = _decoder_losses(drawn, clicked, *goals_at)
            for name, value in more.items():
                losses["click_" + name] = losses.get("click_" + name, torch.zeros(())) + 0.15 * value
        losses.pop("click_iou", None)
        with torch.no_grad():
            iou = iou_of(whole[:, 0], *targets_at[1])
            losses["iou"] = iou[present > 0].mean() if (present > 0).any() else iou.mean()
        return losses

    def evaluate(self) -> dict[str, float]:
        """Score unseen scenes through the mask decoder."""
        views = self._validation()
        return score_views(self.module, views, decode=True) if views else {}

    def _validation(self) -> list[ValView]:
        if self._val is None:
            self._val = val_views(self.module, self.config.val, self.config.val_views)
        return self._val

    def panels(self, folder: Path, step: int) -> None:
        """Draw a few validation answers."""
        if views := self._validation()[:4]:
            draw_answers(self.module, views, folder / f"answers-{step:08d}.png", decode=True)

    def state_dict(self) -> dict[str, Any]:
        """Return the data position."""
        return {"stream": self.stream.state_dict(), "random": json.dumps(self.random.bit_generator.state)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go to a data position."""
        self.stream.load_state_dict(state["stream"])
        self.random.bit_generator.state = json.loads(state["random"])


def _decoder_losses(
    out: MaskOutput, whole: Tensor, half: Sequence[Any], full: Sequence[Any]
) -> dict[str, Tensor]:
    """Return the losses of the supervised mask at the picture's side, `whole` [B, 1, S, S], and of the alternatives.

    The alternatives learn at half of the side. `half` and `full`: truth [B, h, w] at each, and which cells count.
    """
    score = score_loss(out.scores[:, :1], whole, *full) / MASKS
    score = score + score_loss(out.scores[:, 1:], out.logits[:, 1:], *half) * (1 - 1 / MASKS)
    return {
        "mask": mask_loss(whole[:, 0], *full),
        "alternatives": 0.3 * alternatives_loss(out.logits[:, 1:], *half),
        "score": 0.3 * score,
    }


def _shrink(masks: np.ndarray, side: int) -> Tensor:
    """Bool [N, H, W] -> 0..1 [N, side, side]: 1 where at least half of the cell is in the mask."""
    whole = torch.from_numpy(masks).float()[:, None]
    return (F.interpolate(whole, size=(side, side), mode="area")[:, 0] >= 0.5).float()


def _clicks(wanted: Wanted, objects: np.ndarray) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return click places [n, 1, 2] and box corners [n, 2, 2] in picture sides, and the true masks of each."""
    height, width = objects.shape
    places, goals = [], []
    if len(wanted.clicked):
        y, x = wanted.clicked.T
        places.append(np.stack([(x + 0.5) / width, (y + 0.5) / height], 1)[:, None].astype(np.float32))
        goals.append(np.stack([objects == objects[row, column] for row, column in wanted.clicked]))
    if wanted.boxed:
        corners = []
        for number in wanted.boxed:
            rows, columns = np.nonzero(objects == number)
            corners.append(
                [
                    [columns.min() / width, rows.min() / height],
                    [(columns.max() + 1) / width, (rows.max() + 1) / height],
                ]
            )
        places.append(np.array(corners, np.float32))
        goals.append(np.stack([objects == number for number in wanted.boxed]))
    return places, goals
