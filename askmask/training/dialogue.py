"""Conversations on the large networks: every round of a dialogue is supervised, its words and its masks.

    words   cross-entropy of what the network should have said, signs and end included
    masks   (REF, SEG) -> the mask, and where the prompt speaks of earlier ones (REF, PAD) -> these; BCE + Dice each

What is remembered is true at first; then, more and more, the network's own masks, and damaged ones (eroded, grown,
boxed, another instance's). A part of the prompts is not told what it refers to, so that words must do.
Source: SegLLM (ICLR 2025), section 3, where lambda = 1; the weight of words is MIRAS's (ACL 2025).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from askmask.backend import Asked, Done, Keep
from askmask.backends.neural import NeuralBackend
from askmask.conversation import Round, named
from askmask.errors import DataError, SettingError
from askmask.evaluation.meter import Meter, Row
from askmask.evaluation.protocols import PROTOCOLS, scores_of, sum_terms, terms_of
from askmask.evaluation.sequential import handed_over
from askmask.history import answered, context
from askmask.imaging.files import read_picture
from askmask.imaging.mask import union_of
from askmask.model.config import NetConfig
from askmask.model.protocols import NATIVE
from askmask.model.talk.net import Shown, TalkNet
from askmask.training.data import Mixture
from askmask.training.dialogues import (
    Dialogue,
    DialogueBatch,
    DialogueSource,
    check_words,
    collate,
    load,
    placed,
)
from askmask.training.losses import iou_of, mask_loss, score_loss
from askmask.training.mixtures import weights_of
from askmask.training.objective import Objective, training_mode
from askmask.training.panels import sheet, side_by_side
from askmask.training.reference_cache import damaged
from askmask.training.segmentation import choose_trainable

LATER = 5  # rounds from here on are scored together
DRAWN = 8  # rounds
WRONG = "wrong"  # another mask of the dialogue in the place of one
DAMAGES = ("0", "1", "2", WRONG)  # of `damaged`, and that


@dataclass(frozen=True, kw_only=True)
class DialogueConfig:
    """What is read, what trains, and what is remembered."""

    data: tuple[str, ...] = ()  # sources of conversations, and of single prompts: NAME:ROOT[@SPLIT], or files
    weights: tuple[float, ...] = ()  # of the sources in the mixture; () = equal
    val: tuple[str, ...] = ()
    batch: int = 2  # dialogues
    mixture: str = ""  # published weights by the names of the sources, where `weights` is (): mixtures.py
    templated: bool = False  # rounds with masks and without a reply get one that says the words of the prompt
    # "lora", "lora+tables" (of words), "full" or "frozen"; "auto": lora if the network has it, else full
    language: str = "auto"
    front: str = ""  # of MIRAS: "projections" (as ""), "full" or "frozen"
    segmenter: str = "decoder"  # "decoder", "full" or "frozen"
    own: float = 0.5  # share of dialogues with own masks remembered, once all of it is reached
    own_from: float = 0.3  # progress at which own masks begin
    own_until: float = 0.7  # and at which all of `own` is reached
    damage: float = 0.1  # share of remembered true masks that are damaged, from `own_from` on
    given: float = 0.75  # share of rounds that are told what they refer to
    words_weight: float = 1.0
    reference_weight: float = 1.0
    bce_weight: float = 1.0
    dice_weight: float = 1.0
    score_weight: float = 0.1
    on_bad: str = "stop"  # "stop" or "skip" dialogues that cannot be read
    cache: str = ""  # folder of cached features; "" = none
    cache_gb: float = 20.0
    bf16: bool = False  # autocast; parameters and their updates stay fp32
    val_items: int = 20  # dialogues
    seed: int = 0


class DialogueTask:
    """The loop's Task of conversations on a large network. Checkpoints hold what trains."""

    saves_all = False

    def __init__(self, net: TalkNet, settings: NetConfig, config: DialogueConfig):
        if config.on_bad not in ("stop", "skip"):
            raise SettingError("on_bad must be stop or skip", got=repr(config.on_bad))
        if not config.data:
            raise SettingError("there is nothing to train on", do="Name it: data=mrseg:FOLDER.")
        self.module, self.config = net, config
        choose_trainable(net, language=config.language, segmenter=config.segmenter, front=config.front)
        self.sources = [DialogueSource(source, templated=config.templated) for source in config.data]
        self.val = [DialogueSource(source, "val") for source in config.val]
        weights = config.weights or weights_of(config.mixture, config.data)
        self.mixture = Mixture([*map(len, self.sources)], weights, config.seed)
        self.random = np.random.default_rng(config.seed)
        self.objective = Objective(net, cache=config.cache, cache_gb=config.cache_gb, bf16=config.bf16)
        self.backend = NeuralBackend(net, settings, NATIVE)
        self.skipped: list[str] = []
        self.seen = {
            "present": 0,
            "absent": 0,
        }  # rounds that show something, and that say that nothing matches

    def facts(self) -> dict[str, Any]:
        """Return what the run should say of its data."""
        return {
            "data": [source.facts() for source in self.sources],
            "val": [source.facts() for source in self.val],
        }

    def next_batch(self, progress: float) -> DialogueBatch:
        """Read the next dialogues, and draw what each of their rounds is told and remembers."""
        config, side = self.config, self.module.segmenter.mask_size
        loaded = [load(self._next_readable(), side) for _ in range(config.batch)]
        given = [[self.random.random() < config.given for _ in one.dialogue.turns] for one in loaded]
        batch = collate(self.module, loaded, given)
        ramp = (progress - config.own_from) / max(1e-9, config.own_until - config.own_from)
        share = config.own * min(1.0, max(0.0, ramp))
        damage = config.damage if progress >= config.own_from else 0.0
        own = tuple(bool(self.random.random() < share) for _ in loaded)
        drawn = [
            DAMAGES[int(self.random.integers(len(DAMAGES)))] if self.random.random() < damage else ""
            for _ in batch.covers
        ]
        for one in loaded:
            taught = [turn for turn in one.dialogue.turns if turn.taught]
            self.seen["present"] += sum(bool(turn.masks) for turn in taught)
            self.seen["absent"] += sum(turn.nothing for turn in taught)
        return replace(batch, own=own, damage=tuple(drawn))

    def _next_readable(self) -> Dialogue:
        which, row = self.mixture.next()
        source = self.sources[which]
        for step in range(len(source)):
            dialogue = source.dialogues[(row + step) % len(source)]
            try:
                load(dialogue, self.module.segmenter.mask_size)
                check_words(self.module, dialogue)
                return dialogue
            except DataError as error:
                if self.config.on_bad == "stop":
                    raise
                self.skipped.append(str(error))
        raise DataError("no dialogue can be read", got=self.skipped[-1])

    # -- loss -----------------------------------------------------------------------------------------------

    def loss(self, batch: DialogueBatch, progress: float) -> tuple[Tensor, dict[str, float]]:
        """Compare what the network says and shows in every round with the truth."""
        net, device = self.module, self.module.device
        features = self.objective.encode(batch.pixels)
        covers = self._remembered(batch, features).to(device)
        training_mode(net)
        with torch.autocast(device.type, torch.bfloat16, enabled=self.config.bf16):
            states, shown = net.converse(features, batch.talks, covers)
            said = batch.talks.said.to(device)
            logits = net.next_logits(states[:, :-1][said[:, 1:]])
        wanted = batch.talks.ids.to(device)[:, 1:][said[:, 1:]]
        words = F.cross_entropy(logits.float(), wanted)
        right = float((logits.argmax(1) == wanted).float().mean())
        figures = {"words": float(words.detach()), "words_right": right}
        masks, more = self._mask_losses(batch, shown)
        figures |= more | {"own": float(sum(batch.own)), "skipped": float(len(self.skipped))}
        return self.config.words_weight * words + masks, figures

    def _mask_losses(self, batch: DialogueBatch, shown: Shown) -> tuple[Tensor, dict[str, float]]:
        config, talks, device = self.config, batch.talks, self.module.device
        if not talks.marks:
            return torch.zeros((), device=device), {}
        at = [mark.mask for mark in talks.marks]
        target, counted = batch.targets[at].to(device), batch.counted[at].to(device)
        logits = shown.out.logits.float()
        bce, dice = config.bce_weight, config.dice_weight
        mask = mask_loss(logits[:, 0], target, counted, bce=bce, dice=dice)
        score = score_loss(shown.out.scores.float(), logits, target, counted)
        loss = mask + config.score_weight * score
        with torch.no_grad():
            iou = float(iou_of(logits[:, 0], target, counted).mean())
        figures = {"mask": float(mask.detach()), "iou": iou}
        rows = [row for row, numbers in enumerate(talks.spoken) if numbers]
        if rows and shown.again is not None:
            true = torch.stack([batch.targets[list(talks.spoken[row])].amax(0) for row in rows]).to(device)
            known = torch.stack([batch.counted[list(talks.spoken[row])].all(0) for row in rows]).to(device)
            again = shown.again.logits[rows, 0].float()
            reference = mask_loss(again, true, known, bce=bce, dice=dice)
            loss = loss + config.reference_weight * reference
            figures["reference"] = float(reference.detach())
        return loss, figures

    @torch.no_grad()
    def _remembered(self, batch: DialogueBatch, features: Any) -> Tensor:
        """Return the masks that are remembered, [M, s, s]: true, damaged or the network's own."""
        covers = batch.covers.clone()
        owner = batch.talks.owner
        for number, how in enumerate(batch.damage):
            others = [n for n, row in enumerate(owner) if row == owner[number] and n != number]
            if how == WRONG and others:
                covers[number] = batch.covers[others[number % len(others)]]
            elif how and how != WRONG:
                covers[number] = damaged(batch.covers[number], int(how))
        if any(batch.own):
            self.module.eval()
            _, shown = self.module.converse(features, batch.talks, batch.covers.to(self.module.device))
            for row, mark in enumerate(batch.talks.marks):
                if batch.own[mark.row]:
                    covers[mark.mask] = (shown.out.logits[row, 0] > 0).float().cpu()
        return covers

    # -- validation -----------------------------------------------------------------------------------------

    def evaluate(self) -> dict[str, float]:
        """Score dialogues asked in order, with own answers before, by the way that answers users."""
        meter, by, exact = Meter(), dict[str, list[Row]](), Counter[str]()
        for example, k, answer in self._answers(self.config.val_items):
            truth = example.rounds[k]
            if truth.reply is not None:
                exact["all"] += 1
                exact["right"] += (answer.round.reply or "") == placed(truth)[0]
            if truth.segments is None:
                continue
            size = answer.size
            row = meter.update(
                union_of([s.mask for s in answer.segments], size),
                union_of(truth.masks or (), size),
                ignore=truth.ignore,
                id=f"{example.id}/{k}",
            )
            for key in ("all", f"round_{min(k + 1, LATER)}"):
                by.setdefault(key, []).append(row)
        found = {}
        protocol = PROTOCOLS["askmask"]
        for key, rows in sorted(by.items()):
            found[f"giou_{key}"] = float(scores_of(sum_terms(terms_of(rows, protocol)), protocol)["gIoU"])
        if exact["all"]:
            found["text_exact"] = exact["right"] / exact["all"]
        return {name: value for name, value in found.items() if not np.isnan(value)}

    def _answers(self, count: int) -> Iterator[tuple[Any, int, Any]]:
        self.module.eval()
        dialogues = [dialogue for source in self.val for dialogue in source.dialogues][:count]
        for dialogue in dialogues:
            example = dialogue.example
            view = self.backend.look(read_picture(example.image))
            state, own = self.backend.begin(view), tuple[Round, ...]()
            for k in range(len(example.rounds)):
                seen = context(example, k, "own", own)
                rounds, prompt = handed_over(answered(seen.rounds), seen.prompt)
                if state.rounds != rounds[: len(state.rounds)]:
                    state = self.backend.begin(view)
                for round in rounds[len(state.rounds) :]:
                    state = self.backend.extend(state, round)
                events = self.backend.answer([Asked(state, prompt)], Keep())
                answer = next(event.answer for event in events if isinstance(event, Done))
                meant = tuple(name for name in seen.prompt.refers_to)
                own = named([*own, _taken(answer.round, seen.prompt.text, meant)])
                yield example, k, answer

    def panels(self, folder: Path, step: int) -> None:
        """Draw the first validation rounds."""
        tiles = []
        for example, k, answer in self._answers(DRAWN):
            truth = union_of(example.rounds[k].masks or (), answer.size).to_array()
            words = f"{example.rounds[k].text} - {answer.round.reply or ''}"
            tiles.append(side_by_side(answer.picture.rgb, truth, answer.mask.to_array(), words))
            if len(tiles) == DRAWN:
                break
        if tiles:
            sheet(tiles, 2, folder / f"answers-{step:08d}.png")

    def state_dict(self) -> dict[str, Any]:
        """Return the data position, and what was seen on the way."""
        return {
            "mixture": self.mixture.state_dict(),
            "random": json.dumps(self.random.bit_generator.state),
            "skipped": list(self.skipped),
            "seen": dict(self.seen),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go to a data position."""
        self.mixture.load_state_dict(state["mixture"])
        self.random.bit_generator.state = json.loads(state["random"])
        self.skipped, self.seen = list(state["skipped"]), dict(state["seen"])


def _taken(round: Round, text: str, meant: Sequence[str]) -> Round:
    """Return an answered round as the conversation keeps it: without masks that were handed over for it alone."""
    segments = None if round.segments is None else tuple(replace(one, id="") for one in round.segments)
    prompt = replace(round.prompt, text=text, refers_to=tuple(meant), masks=())
    return replace(round, prompt=prompt, segments=segments, id="")
