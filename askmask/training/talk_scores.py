"""Scores of dialogues with dense truth during training: asked in order, with the network's own answers before."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

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
from askmask.model.mini.words import Said
from askmask.training.mini_scores import ValView, prefix_now
from askmask.training.prompts import ignored_mask
from askmask.training.reference_cache import shrink
from askmask.training.talks import TalkRound, chains_of, mask_of, talks_of

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


@dataclass(frozen=True)
class Before:
    """What rounds have of those before them while they are scored."""

    masks: bool = True
    words: bool = True
    replies: bool = True  # the true ones, beside the prompts; nothing is said in this stage
    true: bool = False  # the right masks, not the network's own


OWN = Before()


def score_talks(net: Mini, talks: Sequence[ValTalk], before: Before = OWN) -> dict[str, float]:
    """Return gIoU by round over prompts with a target, and how often a prompt without one is known for it."""
    meter = Meter()
    by: dict[str, list[Row]] = {}
    for number, (talk, answers) in enumerate(zip(talks, ask_talks(net, talks, before), strict=True)):
        for at, row in rows_of(talk, answers, meter, str(number)):
            if not row.no_target:
                by.setdefault(f"round_{min(at + 1, LATER)}", []).append(row)
                by.setdefault("follow_ups" if talk.talk[at].refers else "openings", []).append(row)
    scored = Scored(UNGATED, meter)
    found = {f"talk_giou_{key}": scored.scores(rows)["gIoU"] for key, rows in sorted(by.items())}
    found["talk_no_target_right"] = scored.scores(meter.rows)["N_acc"] if meter.rows else None
    return {name: value for name, value in found.items() if value is not None}


def rows_of(
    talk: ValTalk, answers: Sequence[tuple[np.ndarray, float]], meter: Meter, id: str
) -> Iterator[tuple[int, Row]]:
    """Count the answers to those rounds of a dialogue that masks answer; yields (which round, from 0, its row)."""
    for at, (round, (shown, presence)) in enumerate(zip(talk.talk, answers, strict=True)):
        if round.ask is not None and round.shown:
            truth = np.logical_or.reduce([np.zeros(shown.shape, bool), *talk.truth[at]])
            yield (
                at,
                meter.update(shown, truth, ignore=talk.ignored[at], said_none=presence <= 0, id=f"{id}/{at}"),
            )


@torch.no_grad()
def ask_talks(
    net: Mini, talks: Sequence[ValTalk], before: Before = OWN
) -> list[list[tuple[np.ndarray, float]]]:
    """Ask the rounds of dialogues one after the other; return each answer bool [H, W] and its logit of presence.

    Dialogues about one view go side by side, which changes no answer.
    """
    net.eval()
    found: list[list[tuple[np.ndarray, float]]] = []
    for _, same in groupby(talks, key=lambda talk: id(talk.view)):
        found += _ask_about(net, list(same), before)
    return found


def _ask_about(net: Mini, talks: Sequence[ValTalk], before: Before) -> list[list[tuple[np.ndarray, float]]]:
    encoder, view = net.prompt_encoder, talks[0].view
    prefix = prefix_now(net, view)
    regions, numbers = prefix.instances.evidence.shape
    memories = [Remembered.nothing(regions, numbers) for _ in talks]
    kept: list[list[list[int]]] = [[] for _ in talks]  # the numbers in the memory of each round's masks
    found: list[list[tuple[np.ndarray, float]]] = [[] for _ in talks]
    masked = net.remembers and before.masks
    for at in range(max(len(talk.talk) for talk in talks)):
        now = [number for number, talk in enumerate(talks) if len(talk.talk) > at]
        texts = [talks[number].talk[at].text for number in now]
        had = [_had(memories[number], talks[number].talk[: at + 1], before) for number in now]
        meant = [
            _meant(talks[number].talk[at], kept[number], [len(masks) for masks in talks[number].truth])
            for number in now
            if masked
        ]
        references = pad_memories(had, meant, prefix.seen.states.shape[1]) if masked else None
        said = [one.said for one in had] if before.words else []
        choice = encoder.encode(prefix, encoder.words.tokens(texts), references, said)
        size = talks[0].ignored[0].shape
        shown = F.interpolate(choice.painted[:, None], size=size, mode="bilinear")[:, 0] > 0.5
        for row, number in enumerate(now):
            round, presence = talks[number].talk[at], float(choice.presence[row])
            found[number].append((shown[row].numpy(), presence))
            if not masked:
                continue
            masks = talks[number].truth[at]
            if not before.true and round.ask is not None and round.shown:
                objects = prefix.instances.masks
                pieces = split(shown[row].numpy(), objects, choice.select[row, : len(objects)])
                masks = [part.mask for part in pieces if part.mask.any()] if presence > 0 else []
            first = len(memories[number].evidence)
            kept[number].append(list(range(first, first + len(masks))))
            squares = _squares(masks, prefix.parts)
            memories[number] = encoder.remember(prefix, view.features, memories[number], squares)
    return found


def _had(memory: Remembered, talk: Sequence[TalkRound], before: Before) -> Remembered:
    """Return what the last round of a dialogue has of a memory of masks, with the words of the rounds before."""
    words = [(round.text, round.reply if before.replies else "") for round in talk[:-1]]
    whole = replace(memory, said=Said(tuple(words)), rounds=len(words))
    chain = chains_of(talk)[-1]
    return whole.only(chain) if chain else whole


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
