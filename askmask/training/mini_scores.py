"""Scores of `mini` on views with dense truth, during training: gIoU by concept, and yes/no of presence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from askmask.evaluation.meter import Meter, Row
from askmask.evaluation.protocols import UNGATED
from askmask.evaluation.scoring import Scored
from askmask.formats.dense import read_shard, shards
from askmask.model.mini.language import pad_regions
from askmask.model.mini.net import Mini, MiniPrefix
from askmask.model.seams import Features
from askmask.training.prompts import Ask, asks_of, ignored_mask, true_mask


@dataclass(frozen=True)
class ValView:
    """A view after the frozen eyes looked at it."""

    rgb: np.ndarray
    features: Features
    prefix: MiniPrefix
    asks: list[Ask]
    truth: np.ndarray  # bool [N, H, W]
    ignored: np.ndarray  # bool [N, H, W]


@torch.no_grad()
def val_views(net: Mini, folders: Sequence[str], count: int) -> list[ValView]:
    """Look at the first `count` views of some folders."""
    net.eval()
    found: list[ValView] = []
    for path in (path for folder in folders for path in shards(folder)):
        shard = read_shard(path)
        for row in range(len(shard.rgb)):
            if len(found) == count:
                return found
            asks = asks_of(*shard.facts(row))
            if not asks:
                continue
            features = net.segmenter.encode(net.segmenter.prepare(shard.rgb[row])[None])
            truth = np.stack([true_mask(ask, shard.objects[row], shard.parts[row]) for ask in asks])
            ignore = np.stack([ignored_mask(ask, shard.objects[row]) for ask in asks])
            found.append(
                ValView(
                    shard.rgb[row], features, net.prompt_encoder.prefix(None, features), asks, truth, ignore
                )
            )
    return found


@torch.no_grad()
def score_views(net: Mini, views: Sequence[ValView], *, decode: bool) -> dict[str, float]:
    """Return gIoU per concept over prompts with a target, and how often presence is right.

    The masks count whatever presence says of them: the two are learnt, and watched, apart.
    """
    net.eval()
    meter = Meter()
    targeted: dict[str, list[Row]] = {}
    for place, view in enumerate(views):
        masks, says = answer(net, view, decode=decode)
        for number, ask in enumerate(view.asks):
            row = meter.update(
                masks[number].numpy(),
                view.truth[number],
                ignore=view.ignored[number],
                said_none=not bool(says[number] > 0),
                id=f"{place}/{number}",
            )
            keys = (ask.concept, "all", *(("parts",) if ask.parts else ()), *(("hard",) if ask.hard else ()))
            for key in () if row.no_target else keys:
                targeted.setdefault(key, []).append(row)
    scored = Scored(UNGATED, meter)
    found = {f"giou_{key}": scored.scores(rows)["gIoU"] for key, rows in sorted(targeted.items())}
    whole = scored.scores(meter.rows)
    found |= {"target_right": whole["T_acc"], "no_target_right": whole["N_acc"]}
    return {name: value for name, value in found.items() if value is not None}


def prefix_now(net: Mini, view: ValView) -> MiniPrefix:
    """Return a view's prefix by the language weights of now: the eyes are frozen, what reads them still learns."""
    return replace(view.prefix, seen=net.language.see(pad_regions([view.prefix.instances])))


def painted_at(net: Mini, view: ValView, painted: Tensor, size: tuple[int, ...]) -> Tensor:
    """Bring painted choices [N, S/2, S/2] of a view to masks of its pixels, bool [N, H, W]."""
    whole = net.segmenter.enlarged(
        view.features, painted[:, None], torch.zeros(len(painted), dtype=torch.long)
    )
    return F.interpolate(whole, size=size, mode="bilinear")[:, 0] > 0.5


@torch.no_grad()
def answer(net: Mini, view: ValView, *, decode: bool) -> tuple[Tensor, Tensor]:
    """Return a view's answers bool [N, H, W] and presence logits [N], with or without the mask decoder."""
    tokens = net.prompt_encoder.words.tokens([ask.text for ask in view.asks])
    choice = net.prompt_encoder.encode(prefix_now(net, view), tokens)
    size = view.truth.shape[1:]
    if not decode:
        return painted_at(net, view, choice.painted, size), choice.presence
    out = net.segmenter.decode(view.features, net.adapter(choice), multimask=False)
    return F.interpolate(out.logits, size=size, mode="bilinear")[:, 0] > 0, out.presence_logits
