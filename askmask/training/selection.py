"""mini's language stage: words choose regions. The eyes are frozen; what they see is cached on disk.

Phase one: plain names, colours and places. Phase two: every family, mixed with samples of phase one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from askmask.formats.dense import read_facts, shards
from askmask.model.mini.compose import ORDERS
from askmask.model.mini.config import MiniConfig
from askmask.model.mini.language import Choice, Regions, Seen
from askmask.model.mini.net import Mini
from askmask.model.mini.perception import part_names
from askmask.model.mini.reading import Read, names_of
from askmask.training.devices import own_share, processes
from askmask.training.losses import sum_of
from askmask.training.mini_scores import ValView, score_views, val_views
from askmask.training.panels import draw_answers
from askmask.training.prompts import (
    Ask,
    asks_of,
    gate_target,
    ignored,
    measure_table,
    of_target,
    pair_table,
    select_target,
)
from askmask.training.region_cache import RegionCache, ShardSight
from askmask.training.vocabulary import UNKNOWN, Tables, Vocabulary


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
    literal: float = 1.0  # share of literal prompts; the rest are conversational
    word_drop: float = 0.15
    evidence_noise: float = 0.05
    seed: int = 0
    val_views: int = 60


@dataclass(frozen=True)
class SeenView:
    """A view as the frozen eyes see it, what is asked of it, and what its objects are to each other."""

    sight: ShardSight
    row: int
    asks: list[Ask]
    literal: list[Ask]  # those of phase one; never empty
    conversational: list[Ask]  # the others; never empty
    pairs: np.ndarray  # of `pair_table`
    measures: np.ndarray  # of `measure_table`, where the network composes
    names: Tables | None  # what its objects are called, where the network recognises


def facts_of(path: Path) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Return (the scene, its view) that each row of a shard shows, without its pixels."""
    scenes = read_facts(path)
    with np.load(path, allow_pickle=False) as data:
        scene, view = data["scene"], data["view"]
    for row in range(len(scene)):
        facts = scenes[int(scene[row])]
        yield facts, facts["views"][int(view[row])]


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
        self._views: list[SeenView] = []
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

    def _read(self, path: Path) -> list[SeenView]:
        sight, config = self.cache.sight(path), self.module.config
        words = Vocabulary(config.categories, config.colours, config.parts, config.attributes)
        found = []
        for row, (facts, seen) in enumerate(facts_of(path)):
            if asks := asks_of(facts, seen):
                literal = [ask for ask in asks if ask.literal] or asks
                other = [ask for ask in asks if not ask.literal] or asks
                measures = measure_table(facts, seen) if config.composes else np.zeros((0, 0))
                names = words.tables(facts["objects"]) if config.recognises else None
                pairs = pair_table(facts, seen)
                found.append(SeenView(sight, row, asks, literal, other, pairs, measures, names))
        return found

    def _standardise(self) -> None:
        """Take mean and spread of the evidence from the first views, once, before step 0."""
        rows = torch.cat([sight.view(row)[0] for sight, row in ((v.sight, v.row) for v in self._views[:400])])
        self.module.language.evidence_mean.copy_(rows.mean(0))
        self.module.language.evidence_scale.copy_(rows.std(0) + 0.02)
        self._fresh = False

    def next_batch(self, progress: float) -> list[tuple[SeenView, list[Ask]]]:
        """Return some views, each with some of its prompts."""
        if not self._views or self.served >= len(self._order):
            self.epoch += bool(self._views)
            self.served = 0
            self._begin_epoch()
        chosen = self._order[self.served : self.served + self.config.views * processes()]
        self.served += len(chosen)
        batch = []
        for number in own_share(list(chosen)):
            view = self._views[number]
            pick = []
            for _ in range(self.config.prompts):
                pool = view.literal if self.random.random() < self.config.literal else view.conversational
                pick.append(pool[int(self.random.integers(len(pool)))])
            batch.append((view, pick))
        return batch

    def loss(
        self, batch: list[tuple[SeenView, list[Ask]]], progress: float
    ) -> tuple[Tensor, dict[str, float]]:
        """Compare choice, part, presence and what was understood on the way with the truth."""
        self.module.eval()
        language = self.module.language.train()
        regions, owners = self._regions([view for view, _ in batch])
        asks = [ask for _, picked in batch for ask in picked]
        index = torch.arange(len(batch)).repeat_interleave(self.config.prompts)
        pictures = language.see(regions)
        seen = pictures.rows(index)
        choice = language(seen, language.words.tokens([ask.text for ask in asks]), self.config.word_drop)
        owned = [owners[int(number)] for number in index]
        target, counted = targets(asks, owned, seen.real)
        losses = selection_losses(choice, target, counted, asks, self.module.config)
        losses |= understanding_losses(choice, asks, owned, self.module.config)
        losses |= regional_losses(pictures, [view for view, _ in batch], owners, self.module.config)
        right = (((choice.select > 0) == (target > 0.5)) | ~counted).all(1).float().mean()
        figures = {name: float(loss.detach()) for name, loss in losses.items()}
        return sum_of(losses.values()), figures | {"all_right": float(right), "prompts": float(len(asks))}

    def _regions(self, views: list[SeenView]) -> tuple[Regions, list[np.ndarray]]:
        sights = [view.sight.view(view.row) for view in views]
        most = max(len(evidence) for evidence, _, _ in sights)
        evidence = torch.zeros(len(views), most, sights[0][0].shape[1])
        relation = torch.zeros(len(views), most, most, sights[0][1].shape[-1])
        real = torch.zeros(len(views), most, dtype=torch.bool)
        for row, (one, pairs, _) in enumerate(sights):
            evidence[row, : len(one)] = one
            relation[row, : len(one), : len(one)] = pairs
            real[row, : len(one)] = True
        if self.config.evidence_noise:
            noise = torch.randn_like(evidence) * self.config.evidence_noise
            evidence = evidence + noise * self.module.language.evidence_scale
        return Regions(evidence, relation, real), [owner for _, _, owner in sights]

    def evaluate(self) -> dict[str, float]:
        """Score the painted choice on unseen scenes, without the mask decoder."""
        views = self._validation()
        return score_views(self.module, views, decode=False) if views else {}

    def _validation(self) -> list[ValView]:
        if self._val is None:
            self._val = val_views(self.module, self.config.val, self.config.val_views)
        return self._val

    def panels(self, folder: Path, step: int) -> None:
        """Draw a few validation answers."""
        if views := self._validation()[:4]:
            draw_answers(self.module, views, folder / f"answers-{step:08d}.png", decode=False)

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


def selection_losses(
    choice: Choice,
    target: Tensor,
    counted: Tensor,
    asks: list[Ask],
    config: MiniConfig,
    nothing: float = 1.0,
) -> dict[str, Tensor]:
    """Return the losses of regions [B, O] (where `counted`), part gate and presence.

    `nothing`: how much a prompt that nothing matches counts in presence, against 1 for others.
    """
    each = F.binary_cross_entropy_with_logits(choice.select, target, reduction="none") * counted
    count = counted.sum(1).clamp(min=1)
    chance = choice.select.sigmoid() * counted
    # Overlap of what is chosen with what should be: a missed small answer costs as much as a missed big one.
    overlap = 1 - ((chance * target).sum(1) + 0.1) / ((chance + target - chance * target).sum(1) + 0.1)
    present = torch.tensor([float(ask.present) for ask in asks])
    gate = torch.stack([gate_target(ask, part_names(config)) for ask in asks])
    gate_loss = -(gate * choice.gate.log_softmax(1)).sum(1)
    return {
        "select": 4.0 * (each.sum(1) / count).mean() + 0.5 * (overlap * present).mean(),
        "gate": (gate_loss * present).sum() / present.sum().clamp(min=1),
        "presence": F.binary_cross_entropy_with_logits(
            choice.presence, present, present + (1 - present) * nothing
        ),
    }


def understanding_losses(
    choice: Choice,
    asks: list[Ask],
    owners: list[np.ndarray],
    config: MiniConfig,
    of: tuple[Tensor, Tensor] | None = None,
) -> dict[str, Tensor]:
    """Return the losses of what kind of request each is, which names it says and which region it speaks of.

    The world knows both; supervised, they are learnt in a tenth of the prompts that answers alone need. `of`: what
    `of_targets` says, if it is known already.
    """
    target_of, known = of or of_targets(asks, owners, choice.of.shape[1] - 1, None)
    losses = reading_losses(choice.read, asks, config)
    if choice.order is not None and choice.place is not None:
        orders = torch.tensor([ORDERS.index(ask.order) + 1 if ask.order else 0 for ask in asks])
        losses["order"] = 0.3 * F.cross_entropy(choice.order, orders)
        places = torch.tensor([ask.place - 1 if ask.place else -100 for ask in asks])
        if (places >= 0).any():
            losses["place"] = 0.3 * F.cross_entropy(choice.place, places, ignore_index=-100)
    if known.any():
        losses["of"] = 0.5 * F.cross_entropy(choice.of[known], target_of[known])
    return losses


def reading_losses(read: Read, asks: Sequence[Ask], config: MiniConfig) -> dict[str, Tensor]:
    """Return the losses of what words say by themselves: the kind of request, and the names said and denied."""
    kinds = torch.tensor([config.kinds.index(ask.kind) if ask.kind in config.kinds else 0 for ask in asks])
    losses = {"kind": 0.3 * F.cross_entropy(read.kind, kinds)}
    names = {name: at for at, name in enumerate(names_of(config))}
    for key, logits in (("said", read.said), ("denied", read.denied)):
        target = torch.zeros(logits.shape)
        for row, ask in enumerate(asks):
            target[row, [names[name] for name in getattr(ask, key) if name in names]] = 1
        each = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
        losses[key] = 0.2 * each.sum(1).mean()
    return losses


def of_targets(
    asks: Sequence[Ask], owners: Sequence[np.ndarray], regions: int, remembered: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Return of which region, remembered mask or nobody each prompt speaks, shares [B, O + M + 1]; and if known, [B].

    `remembered` [B, M] 0 or 1: the remembered masks that a prompt speaks of; then in equal shares of these.
    """
    most = 0 if remembered is None else remembered.shape[1]
    target, known = torch.zeros(len(asks), regions + most + 1), torch.zeros(len(asks), dtype=torch.bool)
    for row, (ask, owner) in enumerate(zip(asks, owners, strict=True)):
        if remembered is not None and remembered[row].any():
            target[row, regions:-1] = remembered[row] / remembered[row].sum()
            known[row] = True
        elif (at := of_target(ask, owner)) >= 0:
            target[row, -1 if at == len(owner) else at] = 1
            known[row] = True
    return target, known


def regional_losses(
    pictures: Seen, views: Sequence[SeenView], owners: list[np.ndarray], config: MiniConfig
) -> dict[str, Tensor]:
    """Return losses of what is read off regions, whatever is asked: names, quantities, what pairs are to each other."""
    losses = {"pairs": pair_loss(pictures.facts, [view.pairs for view in views], owners)}
    if config.composes:
        losses["measures"] = measure_loss(pictures.measures, [view.measures for view in views], owners)
    if config.recognises:
        losses["names"] = name_loss(pictures.names, [view.names for view in views], owners, config)
    return losses


def name_loss(
    names: Tensor, tables: Sequence[Tables | None], owners: list[np.ndarray], config: MiniConfig
) -> Tensor:
    """Return the loss of chances of names of regions, [B, O, N], over true objects and stuff."""
    sizes = [len(config.categories), len(config.colours), len(config.attributes)]
    every = names[..., : sum(sizes)].clamp(1e-4, 1 - 1e-4)
    losses: list[Tensor] = []
    for row, (table, owner) in enumerate(zip(tables, owners, strict=True)):
        stuff = np.arange(len(owner)) >= len(owner) - len(config.stuff)
        known = np.flatnonzero((owner > 0) | stuff)
        if table is None or not len(known):
            continue
        ids = owner[known]
        category, colour, attributes = every[row, torch.from_numpy(known)].split(sizes, -1)
        truth = torch.from_numpy(table.attributes[ids]).float()
        each = F.binary_cross_entropy(attributes, truth.clamp(min=0), reduction="none")
        one_of = [
            F.nll_loss(chance.log(), torch.from_numpy(target[ids]), ignore_index=UNKNOWN, reduction="sum")
            for chance, target in ((category, table.category), (colour, table.colour))
        ]
        losses.append((sum_of(one_of) / 2 + (each * (truth >= 0)).sum() / 4) / len(known))
    return sum_of(losses) / max(1, len(losses)) if losses else names.new_zeros(())


def measure_loss(measures: Tensor, tables: list[np.ndarray], owners: list[np.ndarray]) -> Tensor:
    """Return the loss of the quantities of regions, [B, O, Q], over those that are true objects."""
    target, known = torch.zeros(measures.shape), torch.zeros(measures.shape[:2])
    for row, (table, owner) in enumerate(zip(tables, owners, strict=True)):
        thing = np.flatnonzero((owner > 0) & (owner < len(table)))
        target[row, thing] = torch.from_numpy(table[owner[thing]])
        known[row, thing] = 1
    loss = F.smooth_l1_loss(measures, target, reduction="none", beta=0.2).mean(-1)
    return 2.0 * (loss * known).sum() / known.sum().clamp(min=1)


def pair_loss(facts: Tensor, tables: list[np.ndarray], owners: list[np.ndarray]) -> Tensor:
    """Return the loss of what pairs of regions are to each other, [B, O, O, FACTS], over pairs of true objects."""
    target, known = torch.zeros(facts.shape), torch.zeros(facts.shape[:3])
    for row, (table, owner) in enumerate(zip(tables, owners, strict=True)):
        thing = np.flatnonzero((owner > 0) & (owner < len(table)))
        at = np.ix_(thing, thing)
        ids = owner[thing]
        target[row][at] = torch.from_numpy(table[np.ix_(ids, ids)].astype(np.float32))
        known[row][at] = 1
        known[row, thing, thing] = 0
    loss = F.binary_cross_entropy_with_logits(facts, target, reduction="none").mean(-1)
    return 2.0 * (loss * known).sum() / known.sum().clamp(min=1)
