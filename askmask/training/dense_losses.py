"""Losses of the dense heads: what each pixel is, and the clustering that makes objects of pixels.

Every object weighs by the square root of its area, not by its area: a knife is as much an object as a table.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from askmask.model.mini.perception import PLANE_SCALE, Percept, plane_of
from askmask.training.losses import sum_of

SMALLEST = 6  # stride-2 cells under which an object founds no cluster in training
MOST = 14  # objects of one picture that found clusters, the largest first


@dataclass(frozen=True)
class DenseTargets:
    """Truth of B views. The tables map an id (0..255) to what it is; -100 and attribute -1 mean "not known"."""

    objects4: Tensor  # long [B, S/4, S/4]
    objects2: Tensor  # long [B, S/2, S/2]
    parts2: Tensor  # long [B, S/2, S/2]
    surface2: Tensor  # long [B, S/2, S/2]: 1 on the upper surface of an object, 0 beside it, -1 not known
    depth4: Tensor  # [B, S/4, S/4]
    category: Tensor  # long [B, 256]
    colour: Tensor  # long [B, 256]
    part: Tensor  # long [B, 256]
    attributes: Tensor  # int8 [B, 256, n]


def dense_loss(percept: Percept, truth: DenseTargets) -> tuple[Tensor, dict[str, float]]:
    """Return the sum of all heads' losses and each one's figure."""
    batch = torch.arange(len(truth.objects4), device=truth.objects4.device)[:, None, None]
    thing4 = _is_thing(truth.objects4)
    weight4 = _weights(truth.objects4, thing4)
    category = truth.category[batch, truth.objects4]
    losses = {
        # What a thing is decides most answers and is learnt last.
        "category": 2.0
        * _weighted(
            F.cross_entropy(percept.category, category, reduction="none", ignore_index=-100), weight4
        ),
        "colour": _weighted(
            F.cross_entropy(
                percept.colour, truth.colour[batch, truth.objects4], reduction="none", ignore_index=-100
            ),
            weight4 * thing4,
        ),
        # One of nearly forty each: with a weight of 1 what is within reach or near the edge was hardly learnt.
        "attributes": 3.0
        * _attribute_loss(percept.attributes, truth.attributes[batch, truth.objects4], weight4 * thing4),
        "depth": 2.0 * _weighted((percept.depth[:, 0] - truth.depth4).abs(), weight4),
    }
    thing2 = _is_thing(truth.objects2)
    weight2 = _weights(truth.objects2, thing2)
    losses["parts"] = _weighted(
        F.cross_entropy(percept.parts, truth.part[batch, truth.parts2], reduction="none", ignore_index=-100),
        weight2,
    )
    losses["part_dice"] = 2.0 * _part_dice(percept.parts, truth.part[batch, truth.parts2], thing2)
    losses["surface"] = _weighted(
        F.binary_cross_entropy_with_logits(
            percept.surface[:, 0], truth.surface2.clamp(min=0).float(), reduction="none"
        ),
        weight2 * (truth.surface2 >= 0),
    )
    losses["foreground"] = F.binary_cross_entropy_with_logits(percept.foreground[:, 0], thing2)
    losses |= _cluster_losses(percept, truth.objects2, thing2)
    with torch.no_grad():
        right = ((percept.category.argmax(1) == category) * weight4 * thing4).sum()
        figures = {name: float(loss) for name, loss in losses.items()}
        figures["category_right"] = float(right / (weight4 * thing4).sum().clamp(min=1e-6))
    return sum_of(losses.values()), figures


def _is_thing(objects: Tensor) -> Tensor:
    return ((objects > 0) & (objects < 200)).float()


def _weights(objects: Tensor, thing: Tensor) -> Tensor:
    """1 / sqrt(area of the pixel's object in cells) for things, lighter for stuff; [B, h, w]."""
    flat = objects.flatten(1)
    areas = torch.zeros(len(flat), 256, device=flat.device)
    areas.scatter_add_(1, flat, torch.ones_like(flat, dtype=areas.dtype))
    weight = areas.gather(1, flat).rsqrt().view(objects.shape)
    return weight * (0.4 + 0.6 * thing)


def _weighted(loss: Tensor, weight: Tensor) -> Tensor:
    return (loss * weight).sum() / weight.sum().clamp(min=1e-6)


def _part_dice(logits: Tensor, part: Tensor, thing: Tensor) -> Tensor:
    """1 - Dice of each part name that a view shows, averaged: a thin rim weighs as much as the mug's body.

    Under cross-entropy alone rims, spines and the handles of mugs were hardly ever found.
    """
    known = ((part >= 0) * thing).flatten(1)  # [B, cells]
    part = part.clamp(min=0).flatten(1)
    chance = logits.softmax(1).flatten(2)  # [B, names, cells]
    nothing = chance.new_zeros(chance.shape[:2])
    size = nothing.scatter_add(1, part, known)
    both = nothing.scatter_add(1, part, chance.gather(1, part[:, None])[:, 0] * known)
    claimed = torch.bmm(chance, known[:, :, None])[:, :, 0]
    dice = (2 * both + 1) / (claimed + size + 1)
    shown = (size > 0).to(logits.dtype)
    shown[:, 0] = 0  # "no part of a name" is most of every picture
    return ((1 - dice) * shown).sum() / shown.sum().clamp(min=1)


def _attribute_loss(logits: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
    """`truth` [B, h, w, n] of 0, 1 and -1 (unknown)."""
    truth = truth.permute(0, 3, 1, 2)
    weight = weight[:, None] * (truth >= 0)
    loss = F.binary_cross_entropy_with_logits(logits, truth.clamp(min=0).to(logits.dtype), reduction="none")
    return _weighted(loss, weight)


def _cluster_losses(percept: Percept, objects: Tensor, thing: Tensor) -> dict[str, Tensor]:
    embedding = percept.embedding.flatten(2)  # [B, 2 + FREE, cells]
    inside = thing.flatten(1)
    flat = objects.flatten(1)
    areas = torch.zeros(len(flat), 200, device=flat.device)
    areas.scatter_add_(1, flat * (inside > 0), inside)
    areas[:, 0] = 0
    size, ids = areas.topk(MOST, dim=1)  # [B, K]
    there = (size >= SMALLEST).float()
    member = (flat[:, None] == ids[:, :, None]).float() * there[:, :, None]  # [B, K, cells]
    total = member.sum(2).clamp(min=1)
    centre = torch.bmm(member, embedding.transpose(1, 2)) / total[:, :, None]  # [B, K, 2 + FREE]
    distance = (
        embedding.square().sum(1)[:, None]
        - 2 * torch.bmm(centre, embedding)
        + centre.square().sum(2)[:, :, None]
    ).clamp(min=0)
    near = torch.exp(-distance) * inside[:, None]
    both = (near * member).sum(2)
    union = (near.sum(2) + total - both).clamp(min=1)
    count = there.sum().clamp(min=1)
    jaccard = ((1 - both / union) * there).sum() / count
    # Where an object's pixels should point: the mean place of its pixels. Starts the clusters, then matters little.
    plane = plane_of(percept.embedding).flatten(2) * PLANE_SCALE  # [1, 2, cells]
    goal = torch.bmm(member, plane.transpose(1, 2).expand(len(flat), -1, -1)) / total[:, :, None]
    goal_map = torch.bmm(member.transpose(1, 2), goal).transpose(1, 2)  # [B, 2, cells]
    pull = F.smooth_l1_loss(embedding[:, :2], goal_map, reduction="none").sum(1)
    kept = member.sum(1)
    per_object = kept / (member * total[:, :, None]).sum(1).clamp(min=1)  # every object weighs 1
    own = (near.detach() * member).sum(1)
    seed_logit = percept.seed.flatten(1)
    return {
        "jaccard": 2.0 * jaccard,
        "pull": (pull * per_object).sum() / count,
        "seed": F.binary_cross_entropy_with_logits(seed_logit, own),
    }
