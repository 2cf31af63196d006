"""mini's memory: words choose regions in the light of earlier rounds. Language and memory train together.

Every round of a dialogue is supervised: its answer, and which remembered masks it speaks of. At first the rounds before
are true ones; then, more and more, the network's own answers and damaged masks. Half of the time a round is told what
it refers to, else the words must do. Single prompts are mixed in, so that they lose nothing. The eyes are frozen and
what they see is cached on disk.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from askmask.errors import SettingError
from askmask.model.mini.instances import evidence_width
from askmask.model.mini.language import Choice, Seen
from askmask.model.mini.memory import OVERLAP, References, Remembered, pad_memories
from askmask.model.mini.net import Mini
from askmask.model.mini.words import UNSAID, Said
from askmask.training.devices import own_share, processes
from askmask.training.losses import sum_of
from askmask.training.prompts import Ask
from askmask.training.reference_cache import (
    DAMAGED,
    OWN,
    TRUE,
    Reference,
    ReferenceCache,
    ViewReferences,
)
from askmask.training.selection import (
    SeenView,
    SelectionConfig,
    SelectionTask,
    facts_of,
    of_targets,
    reading_losses,
    regional_losses,
    selection_losses,
    targets,
    understanding_losses,
)
from askmask.training.talk_scores import Before, score_talks, val_talks
from askmask.training.talks import TalkRound, chains_of, talks_of
from askmask.world.compositions import KINDS


@dataclass(frozen=True, kw_only=True)
class ConversationConfig(SelectionConfig):
    """What the stage of conversations reads: `prompts` single prompts and `talks` dialogues of each view."""

    views: int = 12
    prompts: int = 4
    talks: int = 1
    reads: int = 0  # prompts more in a step that are read by themselves, without a picture: what they say
    reads_first: float = 0.0  # share of the run, at its beginning, in which nothing else is done
    literal: float = 0.25
    own: float = 0.5  # share of dialogues with own answers before, once all of it is reached
    own_from: float = 0.1  # progress at which own answers begin
    own_until: float = 0.5  # and at which all of `own` is reached
    damage: float = 0.25  # share of true masks before that are damaged
    given: float = (
        0.5  # share of rounds that are told what they refer to; the rounds of their chain are all they hear
    )
    unheard: float = (
        0.25  # share of rounds that do not hear the (true) reply before them: their own may be another
    )
    nothing: float = (
        3.0  # how much a round that nothing matches counts in presence: one in fourteen is such a round
    )
    # Ablations, in validation too. What is so trained knows no more than that.
    masks: bool = True  # whether rounds remember the masks of those before
    words: bool = True  # and hear their words
    intents: bool = True  # whether dialogues in which somebody wants something are read beside conversations


@dataclass(frozen=True)
class TalkView:
    """A view with its single prompts, its dialogues, and what is seen under their masks."""

    seen: SeenView
    talks: list[tuple[TalkRound, ...]]
    references: ViewReferences


@dataclass(frozen=True)
class Drawn:
    """One dialogue in a step: how what came before is to be remembered."""

    view: int  # in the step
    talk: tuple[TalkRound, ...]
    own: bool
    damage: list[list[bool]]  # of each round's masks
    given: list[bool]  # for each round
    unheard: list[bool]  # for each round: whether the reply before it goes unheard

    @property
    def before(self) -> list[list[int]]:
        """The rounds that each round has before it, in order: those of its chain if it is told what it refers to."""
        chains = chains_of(self.talk)
        return [
            chain if given and chain else list(range(number))
            for number, (chain, given) in enumerate(zip(chains, self.given, strict=True))
        ]


@dataclass(frozen=True)
class Step:
    """One step's views with their single prompts, and dialogues."""

    views: list[TalkView]
    asks: list[list[Ask]]
    talks: list[Drawn]
    reads: list[Ask]


class ConversationTask(SelectionTask):
    """The loop's Task of conversations; trains the language side, memory included."""

    config: ConversationConfig

    def __init__(self, net: Mini, config: ConversationConfig, *, fresh: bool):
        if config.reads_first and not config.reads:
            raise SettingError(
                "reads_first is the share of a run in which prompts are read alone, and reads is 0",
                got=f"reads_first={config.reads_first:g}",
                do="Say how many prompts of a step are read alone: reads=48.",
            )
        super().__init__(net, config, fresh=fresh)
        self.reference_cache = ReferenceCache(net, config.cache)
        self._talks: list[TalkView] = []
        self._readable: tuple[list[Ask], list[list[Ask]]] = [], []  # all prompts, and those of each kind
        self._val_talks: Any = None

    def _read(self, path: Path) -> list[SeenView]:
        views = super()._read(path)
        references = self.reference_cache.references(path)
        facts = list(facts_of(path))
        for view in views:
            talks = talks_of(*facts[view.row])
            if not self.config.intents:
                talks = [talk for talk in talks if not any(round.intent for round in talk)]
            self._talks.append(TalkView(view, talks, references[view.row]))
        return views

    def _begin_epoch(self, names: list[str] | None = None) -> None:
        kept, self._talks = self._talks, []
        super()._begin_epoch(names)
        if self._talks:
            every = [ask for view in self._talks for ask in view.seen.asks]
            some = ([ask for ask in every if ask.kind == kind] for kind in KINDS)
            self._readable = every, [asks for asks in some if asks]
        self._talks = self._talks or kept

    def next_batch(self, progress: float) -> Step:  # type: ignore[override]
        """Return some views, each with some of its single prompts and dialogues."""
        if not self._views or self.served >= len(self._order):
            self.epoch += bool(self._views)
            self.served = 0
            self._begin_epoch()
        config, random = self.config, self.random
        if config.reads and progress < config.reads_first:
            return Step([], [], [], self._to_read(config.reads))
        chosen = self._order[self.served : self.served + config.views * processes()]
        self.served += len(chosen)
        views = [self._talks[number] for number in own_share(list(chosen))]
        ramp = (progress - config.own_from) / max(1e-9, config.own_until - config.own_from)
        own = config.own * min(1.0, max(0.0, ramp))
        asks, talks = [], []
        for number, view in enumerate(views):
            pools = [
                view.seen.literal if random.random() < config.literal else view.seen.conversational
                for _ in range(config.prompts)
            ]
            asks.append([pool[int(random.integers(len(pool)))] for pool in pools])
            for at in random.permutation(len(view.talks))[: config.talks]:
                talk = view.talks[int(at)]
                damage = [[random.random() < config.damage for _ in round.answers] for round in talk]
                given = [round.told or random.random() < config.given for round in talk]
                unheard = [random.random() < config.unheard for _ in talk]
                talks.append(Drawn(number, talk, random.random() < own, damage, given, unheard))
        return Step(views, asks, talks, self._to_read(config.reads))

    def _to_read(self, count: int) -> list[Ask]:
        """Draw prompts to be read alone: half of them as they come, half evenly of the kinds that compose.

        These name two things, and are too rare among all others to learn which of them is which.
        """
        every, kinds = self._readable
        numbers = range(count * processes())  # `count` for each process
        pools = [kinds[n // 2 % len(kinds)] if kinds and n % 2 == 0 else every for n in numbers]
        drawn = [pool[int(self.random.integers(len(pool)))] for pool in pools]
        return list(own_share(drawn))

    def loss(self, batch: Step, progress: float) -> tuple[Tensor, dict[str, float]]:  # type: ignore[override]
        """Compare choice, part, presence, what is spoken of and what was understood on the way with the truth."""
        self.module.eval()
        language = self.module.language.train()
        losses: dict[str, Tensor] = {}
        figures: dict[str, float] = {}
        if batch.reads:
            texts = [ask.text for ask in batch.reads]
            read = language.understand(language.words.tokens(texts), self.config.word_drop)
            alone = reading_losses(read, batch.reads, self.module.config)
            losses |= {f"alone_{name}": value for name, value in alone.items()}
        if not batch.views:
            figures |= {name: float(loss.detach()) for name, loss in losses.items()}
            return sum_of(losses.values()), figures
        regions, owners = self._regions([view.seen for view in batch.views])
        pictures = language.see(regions)
        said = self._true_answers(batch)
        if any(drawn.own for drawn in batch.talks):
            said = self._own_answers(batch, said, pictures, owners)
        single = [(number, ask) for number, asks in enumerate(batch.asks) for ask in asks]
        single.sort(
            key=lambda row: len(row[1].text.split())
        )  # apart, short prompts need no padding for long ones
        rounds = [(drawn.view, round) for drawn in batch.talks for round in drawn.talk]
        heard = self._heard(batch.talks)
        told = [number for number, (_, round) in enumerate(rounds) if round.ask is not None]
        middle, total = len(single) // 2, len(single) + len(told)
        for rows in (single[:middle], single[middle:]):
            if rows:
                choice, part = self._choose(rows, pictures, owners, None, None, 1.0)
                add(losses, part, len(rows) / total)
                share = len(rows) / len(single)
                figures["single_right"] = figures.get("single_right", 0.0) + share * float(
                    part["right"].mean()
                )
        if told:
            references, spoken, of = self._references(batch, said, pictures)
            if references is not None:
                references, spoken, of = references.rows(told), spoken[told], of[told]
            rows = [(view, round.ask) for view, round in rounds if round.ask is not None]
            before = [one for one, (_, round) in zip(heard, rounds, strict=True) if round.ask is not None]
            choice, part = self._choose(rows, pictures, owners, references, of, self.config.nothing, before)
            if references is not None:
                among = torch.tensor([rounds[number][1].among for number in told])
                part |= memory_losses(choice, references, spoken, among)
            add(losses, part, len(rows) / total)
            refers = torch.tensor([bool(rounds[number][1].refers) for number in told])
            figures |= {"follow_right": float(part["right"][refers].mean())} if refers.any() else {}
        seen = [view.seen for view in batch.views]
        losses |= regional_losses(pictures, seen, owners, self.module.config)
        figures |= {name: float(loss.detach()) for name, loss in losses.items()}
        return sum_of(losses.values()), figures | {"prompts": float(total)}

    def _choose(
        self,
        rows: Sequence[tuple[int, Ask]],
        pictures: Seen,
        owners: list[np.ndarray],
        references: References | None,
        remembered: Tensor | None,
        nothing: float,
        said: Sequence[Said] = (),
    ) -> tuple[Choice, dict[str, Tensor]]:
        """Answer prompts, each about the view of its number; return losses, and which are all right, 0 or 1 [B].

        `remembered` [B, M]: of `of_targets`.
        """
        language, asks = self.module.language, [ask for _, ask in rows]
        seen = pictures.rows(torch.tensor([view for view, _ in rows]))
        choice = language(
            seen,
            language.words.tokens([ask.text for ask in asks]),
            self.config.word_drop,
            references,
            language.words.earlier(said),
        )
        owned = [owners[view] for view, _ in rows]
        target, counted = targets(asks, owned, seen.real)
        losses = selection_losses(choice, target, counted, asks, self.module.config, nothing)
        of = of_targets(asks, owned, seen.real.shape[1], remembered)
        losses |= understanding_losses(choice, asks, owned, self.module.config, of)
        right = (((choice.select > 0) == (target > 0.5)) | ~counted).all(1).float()
        return choice, losses | {"right": right}

    # -- what was said and answered before ------------------------------------------------------------------

    def _heard(self, talks: Sequence[Drawn]) -> list[Said]:
        """Return what each round of some dialogues has heard before it."""
        heard = [one for drawn in talks for one in said_before(drawn)]
        return heard if self.config.words else [UNSAID] * len(heard)

    def _true_answers(self, batch: Step) -> list[list[list[Reference]]]:
        """Return the masks of each round of each dialogue: true ones, some of them damaged."""
        return [
            [
                [
                    batch.views[drawn.view].references.get(key, DAMAGED if bad else TRUE)
                    for key, bad in zip(round.answers, damage, strict=True)
                ]
                for round, damage in zip(drawn.talk, drawn.damage, strict=True)
            ]
            for drawn in batch.talks
        ]

    @torch.no_grad()
    def _own_answers(
        self, batch: Step, said: list[list[list[Reference]]], pictures: Seen, owners: list[np.ndarray]
    ) -> list[list[list[Reference]]]:
        """Put the network's own answers in the place of true ones, where they show what was asked for.

        Where they do not, what is asked next would have another answer than the true one.
        """
        language = self.module.language.eval()
        chosen = [number for number, drawn in enumerate(batch.talks) if drawn.own]
        part = Step(batch.views, [], [batch.talks[number] for number in chosen], [])
        references, _, _ = self._references(part, [said[number] for number in chosen], pictures)
        texts = [round.text for drawn in part.talks for round in drawn.talk]
        earlier = language.words.earlier(self._heard(part.talks))
        index = torch.tensor([drawn.view for drawn in part.talks for _ in drawn.talk])
        tokens = language.words.tokens(texts)
        choice = language(pictures.rows(index), tokens, references=references, earlier=earlier)
        language.train()
        picked = (choice.select > 0) & (choice.presence > 0)[:, None]
        result, row = list(said), 0
        for number, drawn in zip(chosen, part.talks, strict=True):
            view = batch.views[drawn.view]
            result[number] = [
                own_answer(view, round, true, picked[row + at].numpy(), owners[drawn.view])
                for at, (round, true) in enumerate(zip(drawn.talk, said[number], strict=True))
            ]
            row += len(drawn.talk)
        return result

    def _references(
        self, batch: Step, said: list[list[list[Reference]]], pictures: Seen
    ) -> tuple[References | None, Tensor, Tensor]:
        """Bring together what each round may remember, and which of it each speaks of, 0 or 1 [B, M].

        And which of these it speaks of as the one that others are compared with or that is taken away.
        """
        if not self.config.masks:
            none = torch.zeros(sum(len(drawn.talk) for drawn in batch.talks), 0)
            return None, none, none
        memories: list[Remembered | None] = []
        meant: list[list[int]] = []
        spoken: list[list[int]] = []
        less: list[list[int]] = []
        width = evidence_width(self.module.config)
        for drawn, answers in zip(batch.talks, said, strict=True):
            count = batch.views[drawn.view].references.lies.shape[1]
            for round, given, before in zip(drawn.talk, drawn.given, drawn.before, strict=True):
                memory, starts = Remembered.nothing(count, width), dict[int, int]()
                for number in before:
                    starts[number] = len(memory.evidence)
                    memory = memory.then(*_stacked(answers[number], count, width))
                at = numbers_of(round.refers, drawn.talk, answers, starts)
                memories.append(memory)
                meant.append(at if given else [])
                spoken.append(at)
                less.append(numbers_of(round.less, drawn.talk, answers, starts) or at)
        references = pad_memories(memories, meant, pictures.states.shape[1])
        none = torch.zeros(len(memories), 0)
        if references is None:
            return None, none, none
        target, of = torch.zeros(references.real.shape), torch.zeros(references.real.shape)
        for row, (numbers, taken) in enumerate(zip(spoken, less, strict=True)):
            target[row, numbers], of[row, taken] = 1, 1
        return references, target, of

    # -- validation -----------------------------------------------------------------------------------------

    def evaluate(self) -> dict[str, float]:
        """Score single prompts, and dialogues asked in order with own answers before, without the mask decoder."""
        if self._val_talks is None:
            self._val_talks = val_talks(self.config.val, self._validation())
        before = Before(masks=self.config.masks, words=self.config.words)
        return super().evaluate() | score_talks(self.module, self._val_talks, before)


def said_before(drawn: Drawn) -> list[Said]:
    """Return what each round of a dialogue has heard before it."""
    words = [(round.text, round.reply) for round in drawn.talk]
    found = []
    for unheard, before in zip(drawn.unheard, drawn.before, strict=True):
        said = Said(tuple(words[number] for number in before))
        found.append(said.without_reply() if unheard else said)
    return found


def own_answer(
    view: TalkView, round: TalkRound, true: list[Reference], picked: np.ndarray, owner: np.ndarray
) -> list[Reference]:
    """Return what the network answered by the regions it picked, bool [O]; `true` if that shows something else."""
    kinds = {key.partition(" ")[0] for key in round.answers}
    if not kinds or round.ask is None:
        return true
    whose: list[int] = owner.tolist()
    mine: list[int] = np.flatnonzero(picked[: len(owner)]).tolist()
    shown = {whose[number] for number in mine}
    if kinds != {"object"}:
        right = shown == set(round.ask.ids)
        return [view.references.get(key, OWN) for key in round.answers] if right else true
    if not shown >= set(round.ask.ids):
        return true
    evidence, relation, _ = view.seen.sight.view(view.seen.row)
    same = torch.eye(len(evidence))
    answer: list[Reference] = []
    wanted: list[Any] = [int(key.partition(" ")[2]) for key in round.answers]
    # In the order of the true answer, so that its references stay good; what is too much comes after.
    order = sorted(mine, key=lambda n: wanted.index(whose[n]) if whose[n] in wanted else len(wanted))
    for number in order:
        answer.append((evidence[number], relation[number], same[number][:, None].expand(-1, OVERLAP)))
    return answer if [whose[n] for n in order[: len(wanted)]] == wanted else true


def numbers_of(
    refers: Sequence[tuple[int, int]],
    talk: Sequence[TalkRound],
    answers: Sequence[Sequence[Reference]],
    starts: Mapping[int, int],
) -> list[int]:
    """Return the numbers of the remembered masks that a round refers to; all of an answer where it means all."""
    found: list[int] = []
    for number in dict.fromkeys(number for number, _ in refers):
        masks = [mask for of, mask in refers if of == number]
        if len(masks) == len(talk[number].answers):
            masks = list(range(len(answers[number])))
        found += [starts[number] + mask for mask in masks]
    return found


def _stacked(found: Sequence[Reference], regions: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
    if not found:
        nothing = Remembered.nothing(regions, width)
        return nothing.evidence, nothing.relation, nothing.overlap
    evidence, relation, overlap = (torch.stack(part) for part in zip(*found, strict=True))
    return evidence, relation, overlap


def memory_losses(choice: Choice, references: References, spoken: Tensor, among: Tensor) -> dict[str, Tensor]:
    """Return the losses of which remembered masks are spoken of, [B, M], and whether only these take part."""
    assert choice.spoken is not None and choice.among is not None
    each = F.binary_cross_entropy_with_logits(choice.spoken, spoken, reduction="none")
    has = references.real.any(1)
    count = references.real.sum(1).clamp(min=1)
    losses = {"spoken": ((each * references.real).sum(1) / count)[has].mean()}
    whole = F.binary_cross_entropy_with_logits(choice.among, among.float(), reduction="none")
    return losses | {"among": 0.3 * whole[has].mean()}


def add(losses: dict[str, Tensor], part: dict[str, Tensor], share: float) -> None:
    """Add the losses of a part of the rows to those of all, by its share of them."""
    for name, value in part.items():
        if value.ndim == 0:
            losses[name] = losses.get(name, torch.zeros(())) + share * value
