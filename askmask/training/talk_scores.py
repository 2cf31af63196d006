"""Scores of dialogues with dense truth during training: asked in order, with the network's own answers before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from askmask.backends.instances import split
from askmask.evaluation.meter import Meter, Row
from askmask.evaluation.protocols import UNGATED
from askmask.evaluation.scoring import Scored
from askmask.formats.dense import read_shard, shards
from askmask.model.mini.memory import Remembered, pad_memories
from askmask.model.mini.net import Mini
from askmask.model.mini.words import UNSAID
from askmask.training.mini_scores import ValView, prefix_now
from askmask.training.prompts import ignored_mask
from askmask.training.reference_cache import shrink
from askmask.training.talks import TalkRound, mask_of, talks_of

LATER = 5  # rounds from here on are scored together


@dataclass(frozen=True)
class ValTalk:
    """A dialogue with the view it is about, and the true masks of its rounds from left to right."""

    view: ValView
    talk: tuple[TalkRound, ...]
    truth: list[list[np.ndarray]]  # of each round, bool [H, W] for each mask
    ignored: list[np.ndarray]


def val_talks(folders: Sequence[str], views: Sequence[ValView]) -> list[ValTalk]:
    """Return the dialogues of views that `val_views` looked at, of the same folders in the same order."""
    found: list[ValTalk] = []
    left = list(views)
    for path in (path for folder in folders for path in shards(folder)):
        shard = read_shard(path)
        for row in range(len(shard.rgb)):
            if not left:
                return found
            if not np.array_equal(left[0].rgb, shard.rgb[row]):  # a view of which nothing is asked
                continue
            view = left.pop(0)
            objects, parts = shard.objects[row], shard.parts[row]
            for talk in talks_of(*shard.facts(row)):
                truth = [[mask_of(key, objects, parts) for key in round.answers] for round in talk]
                nothing = np.zeros(objects.shape, bool)
                ignored = [ignored_mask(round.ask, objects) if round.ask else nothing for round in talk]
                found.append(ValTalk(view, talk, truth, ignored))
    return found


@torch.no_grad()
def score_talks(net: Mini, talks: Sequence[ValTalk], *, true: bool = False) -> dict[str, float]:
    """Return gIoU by round over prompts with a target, and how often a prompt without one is known for it.

    What came before is the network's own answers, or with `true` the right ones.
    """
    net.eval()
    meter = Meter()
    by: dict[str, list[Row]] = {}
    for number, talk in enumerate(talks):
        for at, (shown, presence) in enumerate(ask_in_order(net, talk, true=true)):
            if talk.talk[at].ask is None or not talk.talk[at].shown:
                continue
            truth = np.logical_or.reduce([np.zeros(shown.shape, bool), *talk.truth[at]])
            row = meter.update(
                shown,
                truth,
                ignore=talk.ignored[at],
                said_none=presence <= 0,
                id=f"{number}/{at}",
            )
            if not row.no_target:
                by.setdefault(f"round_{min(at + 1, LATER)}", []).append(row)
                by.setdefault("follow_ups" if talk.talk[at].refers else "openings", []).append(row)
    scored = Scored(UNGATED, meter)
    found = {f"talk_giou_{key}": scored.scores(rows)["gIoU"] for key, rows in sorted(by.items())}
    found["talk_no_target_right"] = scored.scores(meter.rows)["N_acc"] if meter.rows else None
    return {name: value for name, value in found.items() if value is not None}


def ask_in_order(net: Mini, talk: ValTalk, *, true: bool) -> list[tuple[np.ndarray, float]]:
    """Ask the rounds of a dialogue one after the other; return each answer bool [H, W] and its logit of presence."""
    encoder, prefix = net.prompt_encoder, prefix_now(net, talk.view)
    memory: Remembered | None = None
    kept: list[list[int]] = []  # the numbers in the memory of each round's masks
    found = []
    for round, truth in zip(talk.talk, talk.truth, strict=True):
        meant = _meant(round, kept, [len(masks) for masks in talk.truth]) if net.remembers else []
        references = pad_memories([memory], [meant], prefix.seen.states.shape[1]) if net.remembers else None
        said = [UNSAID if memory is None else memory.said]
        choice = encoder.encode(prefix, encoder.words.tokens([round.text]), references, said)
        size = talk.ignored[0].shape
        shown = F.interpolate(choice.painted[:, None], size=size, mode="bilinear")[0, 0] > 0.5
        presence = float(choice.presence[0])
        found.append((shown.numpy(), presence))
        if net.remembers:
            masks = truth
            if not true and round.ask is not None and round.shown:
                objects = prefix.instances.masks
                pieces = split(shown.numpy(), objects, choice.select[0, : len(objects)])
                masks = [part.mask for part in pieces if part.mask.any()] if presence > 0 else []
            before = 0 if memory is None else len(memory.evidence)
            kept.append(list(range(before, before + len(masks))))
            squares = _squares(masks, prefix.parts)
            memory = encoder.remember(prefix, talk.view.features, memory, squares, round.text, round.reply)
    return found


def _meant(round: TalkRound, kept: list[list[int]], true: list[int]) -> list[int]:
    """Return the numbers of the remembered masks in the place of those referred to: that one, or all of the answer."""
    meant: list[int] = []
    for number, mask in round.refers:
        same = len(kept[number]) == true[number]
        meant += [kept[number][mask]] if same else kept[number]
    return sorted(set(meant))


def _squares(masks: Sequence[np.ndarray], like: Tensor) -> Tensor:
    side = like.shape[-1]
    return torch.stack([shrink(mask, side) for mask in masks]) if masks else like.new_zeros(0, side, side)
