"""Scores of `mini` on views with dense truth, during training: gIoU by concept, and yes/no of presence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

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
    """Return gIoU per concept over prompts with a target, and how often presence is right."""
    net.eval()
    ious: dict[str, list[float]] = {}
    presence: dict[bool, list[bool]] = {True: [], False: []}
    for view in views:
        masks, says = answer(net, view, decode=decode)
        for number, ask in enumerate(view.asks):
            presence[ask.present].append(bool(says[number] > 0) == ask.present)
            if not ask.present:
                continue
            counted = torch.from_numpy(~view.ignored[number])
            true, mask = torch.from_numpy(view.truth[number]) & counted, masks[number] & counted
            both, either = (mask & true).sum(), (mask | true).sum()
            iou = float(both / either.clamp(min=1))
            for key in (ask.concept, "all", *(("parts",) if ask.parts else ())):
                ious.setdefault(key, []).append(iou)
            if ask.hard:
                ious.setdefault("hard", []).append(iou)
    scores = {f"giou_{key}": float(np.mean(values)) for key, values in sorted(ious.items())}
    for name, values in (("target_right", presence[True]), ("no_target_right", presence[False])):
        if values:
            scores[name] = float(np.mean(values))
    return scores


def prefix_now(net: Mini, view: ValView) -> MiniPrefix:
    """Return a view's prefix by the language weights of now: the eyes are frozen, what reads them still learns."""
    return replace(view.prefix, seen=net.language.see(pad_regions([view.prefix.instances])))


@torch.no_grad()
def answer(net: Mini, view: ValView, *, decode: bool) -> tuple[Tensor, Tensor]:
    """Return a view's answers bool [N, H, W] and presence logits [N], with or without the mask decoder."""
    tokens = net.prompt_encoder.words.tokens([ask.text for ask in view.asks])
    choice = net.prompt_encoder.encode(prefix_now(net, view), tokens)
    size = view.truth.shape[1:]
    if not decode:
        painted = F.interpolate(choice.painted[:, None], size=size, mode="bilinear")[:, 0]
        return painted > 0.5, choice.presence
    out = net.segmenter.decode(view.features, net.adapter(choice), multimask=False)
    return F.interpolate(out.logits, size=size, mode="bilinear")[:, 0] > 0, out.presence_logits
