"""mini learns to speak: the replies to what it chose. All but speech.py is frozen, so its masks stay as they are.

Each step asks single prompts, and rounds of dialogues in the light of the true answers before. What is to be said
depends on what the network chose (reply_targets.py). The eyes' view is cached on disk.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from askmask.errors import DataError
from askmask.formats.dense import shards
from askmask.model.mini.config import MiniConfig
from askmask.model.mini.instances import evidence_width
from askmask.model.mini.language import Choice, Seen, picked
from askmask.model.mini.memory import OVERLAP, References, Remembered, pad_memories
from askmask.model.mini.net import Mini
from askmask.model.mini.perception import part_names
from askmask.model.mini.reply_words import ALONE, KINDS, LONGEST, PAD, words_in
from askmask.model.mini.speech import Known, Speech, Uttered, padded
from askmask.model.mini.spoken import read_again
from askmask.model.seams import Piece
from askmask.runs.whole_files import write_text
from askmask.training.devices import own_share, processes
from askmask.training.losses import sum_of
from askmask.training.region_cache import ShardSight
from askmask.training.reply_targets import (
    WHOLE,
    AskedRound,
    ToSay,
    dialogues_of,
    singles_of,
    to_say,
)
from askmask.training.selection import SelectionConfig, SelectionTask, facts_of
from askmask.world.ground import Ground, ground_of
from askmask.world.phrases import NOUNS
from askmask.world.talks.replies import FOUND as LEADS
from askmask.world.talks.replies import NONE_OF_THEM, NOTHING, NUMBERS, SEVERAL

TOGETHER = 3  # groups of replies of like length that a step is read in


@dataclass(frozen=True, kw_only=True)
class ReplyConfig(SelectionConfig):
    """What the stage of replies reads: `prompts` single prompts and `rounds` rounds of a dialogue of each view."""

    views: int = 8
    prompts: int = 3
    rounds: int = 3  # at most, one dialogue's, in a row
    given: float = 0.5  # share of rounds that are told what they refer to
    point: float = 4.0  # weight of what phrases point at, beside the words
    val_views: int = 30


@dataclass(frozen=True)
class ReplyView:
    """A view as the frozen eyes see it, its facts, and what is asked of it."""

    sight: ShardSight
    row: int
    ground: Ground
    singles: list[AskedRound]
    dialogues: list[tuple[AskedRound, ...]]


@dataclass(frozen=True)
class Asked:
    """One prompt in a step."""

    view: int  # in the step
    round: AskedRound
    given: bool
    seed: int  # of what is drawn when its reply is written


@dataclass(frozen=True)
class Step:
    """One step's views, and what is asked of them."""

    views: list[ReplyView]
    asked: list[Asked]


class ReplyTask(SelectionTask):
    """The loop's Task of replies; trains `speech` alone."""

    config: ReplyConfig

    def __init__(self, net: Mini, config: ReplyConfig):
        super().__init__(net, config, fresh=False)
        assert net.speech is not None
        self.speech: Speech = net.speech
        for name, parameter in net.named_parameters():
            parameter.requires_grad_(name.startswith("speech."))
        self._held: list[ReplyView] | None = None

    def _read(self, path: Path) -> list[ReplyView]:  # type: ignore[override]
        sight = self.cache.sight(path)
        found = []
        for row, (scene, view) in enumerate(facts_of(path)):
            singles, dialogues = singles_of(scene, view), dialogues_of(scene, view)
            if singles or dialogues:
                found.append(ReplyView(sight, row, ground_of(scene, view), singles, dialogues))
        return found

    def next_batch(self, progress: float) -> Step:  # type: ignore[override]
        """Return some views, each with some of its single prompts and rounds of a dialogue."""
        if not self._views or self.served >= len(self._order):
            self.epoch += bool(self._views)
            self.served = 0
            self._begin_epoch()
        chosen = self._order[self.served : self.served + self.config.views * processes()]
        self.served += len(chosen)
        return self._drawn([self._views[number] for number in own_share(list(chosen))], self.random)  # type: ignore[misc]

    def _drawn(self, views: list[ReplyView], random: np.random.Generator) -> Step:
        config, rounds = self.config, list[tuple[int, AskedRound]]()
        for number, view in enumerate(views):
            singles = view.singles
            for _ in range(config.prompts if singles else 0):
                rounds.append((number, singles[int(random.integers(len(singles)))]))
            if view.dialogues:
                dialogue = view.dialogues[int(random.integers(len(view.dialogues)))]
                first = int(random.integers(max(1, len(dialogue) - config.rounds + 1)))
                rounds += [(number, one) for one in dialogue[first : first + config.rounds]]
        asked = [
            Asked(number, one, bool(random.random() < config.given), int(random.integers(2**31)))
            for number, one in rounds
        ]
        return Step(views, asked)

    def loss(self, batch: Step, progress: float) -> tuple[Tensor, dict[str, float]]:  # type: ignore[override]
        """Compare the words that come next, and what phrases point at, with what should be said."""
        self.module.eval()
        choice, seen, references, owners = self._chosen(batch)
        said = self._to_say(batch, choice, owners)
        kept = [number for number, one in enumerate(said) if one is not None]
        if not kept:
            raise DataError(
                "of all that was asked in a step, there are words for nothing", do="Raise views=."
            )
        index = torch.tensor(kept)
        self.speech.train()
        known = self._known(batch, choice, seen, references).rows(index)
        targets = [one for one in said if one is not None]
        losses, figures = reply_losses(
            self.speech,
            known,
            targets,
            [owners[batch.asked[n].view] for n in kept],
            part_names(self.module.config),
            self.config.point,
        )
        return sum_of(losses.values()), figures | {"prompts": float(len(kept))}

    @torch.no_grad()
    def _chosen(self, batch: Step) -> tuple[Choice, Seen, References | None, list[np.ndarray]]:
        """Let the frozen network choose, each round in the light of what rightly answered those before."""
        language = self.module.language
        regions, owners = self._regions(batch.views)  # type: ignore[arg-type]
        index = torch.tensor([one.view for one in batch.asked])
        seen = language.see(regions).rows(index)
        memories = self._memories(batch)
        references = None
        if self.module.remembers:
            meant = [list(one.round.refers) if one.given else [] for one in batch.asked]
            references = pad_memories(memories, meant, seen.states.shape[1])
        tokens = language.words.tokens([one.round.text for one in batch.asked])
        earlier = language.words.earlier([memory.said for memory in memories])
        choice = language(seen, tokens, references=references, earlier=earlier)
        return choice, seen, references, owners

    def _known(self, batch: Step, choice: Choice, seen: Seen, references: References | None) -> Known:
        with torch.no_grad():
            heard = self.module.prompt_encoder.heard([one.round.earlier for one in batch.asked])
        return self.speech.know(choice, seen, references, heard)

    def _memories(self, batch: Step) -> list[Remembered]:
        """Remember earlier answers as regions: what the network itself would have shown."""
        memories: list[Remembered] = []
        for one in batch.asked:
            view = batch.views[one.view]
            evidence, relation, owner = view.sight.view(view.row)
            memory = Remembered.nothing(len(evidence), evidence_width(self.module.config))
            same = torch.eye(len(evidence))[:, :, None].expand(-1, -1, OVERLAP)
            for things in one.round.before:
                at = [_region_of(owner, thing) for thing in things]
                memory = memory.then(evidence[at], relation[at], same[at])
            memory = replace(memory, said=one.round.said)
            told = one.given and one.round.chain
            memories.append(memory.only(one.round.chain) if told else memory)
        return memories

    def _to_say(self, batch: Step, choice: Choice, owners: list[np.ndarray]) -> list[ToSay | None]:
        parts = part_names(self.module.config)
        found = (choice.presence > 0).tolist()
        chosen, part = picked(choice.select), choice.gate.argmax(1).tolist()
        result = []
        for row, one in enumerate(batch.asked):
            owner = owners[one.view]
            mine = np.flatnonzero(chosen[row, : len(owner)].numpy() & found[row])
            ids = frozenset(int(owner[number]) for number in mine)
            name = parts[part[row]] if part[row] and ids else WHOLE
            rng = np.random.default_rng(one.seed)
            result.append(to_say(one.round, batch.views[one.view].ground, ids, name, rng))
        return result

    # -- validation -----------------------------------------------------------------------------------------

    def evaluate(self) -> dict[str, float]:
        """Say how well replies to unseen scenes are foreseen word by word, pointed and told by kind."""
        views = self._validation_views()
        if not views:
            return {}
        state = torch.random.get_rng_state()
        random = np.random.default_rng(0)
        sums: dict[str, float] = {}
        with torch.no_grad():
            for at in range(0, len(views), 10):
                batch = self._drawn(views[at : at + 10], random)
                choice, seen, references, owners = self._chosen(batch)
                said = self._to_say(batch, choice, owners)
                kept = torch.tensor([n for n, one in enumerate(said) if one is not None], dtype=torch.long)
                self.speech.eval()
                known = self._known(batch, choice, seen, references).rows(kept)
                _, figures = reply_losses(
                    self.speech,
                    known,
                    [one for one in said if one is not None],
                    [owners[batch.asked[n].view] for n in kept.tolist()],
                    part_names(self.module.config),
                    self.config.point,
                )
                for name, value in (figures | {"prompts": float(len(kept))}).items():
                    sums[name] = sums.get(name, 0.0) + value
        torch.random.set_rng_state(state)
        count = len(range(0, len(views), 10))
        return {name: value / count for name, value in sums.items()}

    def _validation_views(self) -> list[ReplyView]:
        if self._held is None:
            paths = [path for folder in self.config.val for path in shards(folder)]
            self._held = []
            for path in paths:
                if len(self._held) < self.config.val_views:
                    self._held += self._read(path)[: self.config.val_views - len(self._held)]
        return self._held

    @torch.no_grad()
    def panels(self, folder: Path, step: int) -> None:
        """Write what is said to a few prompts of unseen scenes, beside what should be."""
        if not (views := self._validation_views()[:6]):
            return
        self.module.eval()
        batch = self._drawn(views, np.random.default_rng(1))
        choice, seen, references, owners = self._chosen(batch)
        known = self._known(batch, choice, seen, references)
        ids: list[list[int]] = []
        for one in self.speech.say(known, choice.presence > 0):
            ids = ids if isinstance(one, Piece) else one
        spoken = read_again(self.speech, known, ids)
        lines = []
        for asked, reply, right in zip(
            batch.asked, spoken.replies, self._to_say(batch, choice, owners), strict=True
        ):
            mark = f"   [{reply.trouble}]" if reply.trouble else ""
            wanted = "-" if right is None else right.text
            lines += [f"> {asked.round.text}", f"  {reply.text}{mark}", f"  ({wanted})", ""]
        write_text(folder / f"replies-{step:08d}.txt", "\n".join(lines))


def reply_losses(
    speech: Speech,
    known: Known,
    said: Sequence[ToSay],
    owners: Sequence[np.ndarray],
    parts: Sequence[str],
    weight: float,
) -> tuple[dict[str, Tensor], dict[str, float]]:
    """Return the losses of words, pointers and parts, and how often each is right.

    Most replies are short: those of one length are read together, or most of the work would be padding.
    """
    rows = [speech.vocabulary.ids(one.text, [span for span, _ in one.phrases], one.kind) for one in said]
    if (most := max(map(len, rows))) > LONGEST:
        raise DataError(f"a reply has at most {LONGEST} words and signs", got=most)
    order = sorted(range(len(rows)), key=lambda row: len(rows[row]))
    size = -(-len(order) // TOGETHER)
    sums: dict[str, Tensor] = {}
    counts = {"words": 0, "alone": len(rows), "point": 0}
    for first in range(0, len(order), size):
        some = order[first : first + size]
        ids = padded([rows[row] for row in some])
        uttered = speech(known.rows(torch.tensor(some)), ids)
        wanted = ids[:, 1:].masked_fill(ids[:, 1:] == PAD, -100)
        logits = uttered.logits[:, :-1]
        counts["words"] += int((wanted != -100).sum())
        alone = torch.tensor([said[row].kind == ALONE for row in some])
        part = {
            "words": F.cross_entropy(
                logits.flatten(0, 1), wanted.flatten(), ignore_index=-100, reduction="sum"
            ),
            "words_right": (logits.argmax(-1) == wanted).sum(),
            "alone_right": ((logits[:, 0, KINDS].argmax(1) == KINDS.index(ALONE)) == alone).sum(),
        }
        if len(uttered.row):
            counts["point"] += len(uttered.row)
            target, gate = _pointed(
                uttered, [said[row] for row in some], [owners[row] for row in some], parts
            )
            real = known.real[[some[row] for row in uttered.row.tolist()]][:, -target.shape[1] :]
            each = F.binary_cross_entropy_with_logits(uttered.point, target, reduction="none") * real
            right = (((uttered.point > 0) == (target > 0)) | ~real).all(1) & (uttered.gate.argmax(1) == gate)
            part["point"] = weight * (each.sum(1) / real.sum(1).clamp(min=1)).sum()
            part["part"] = F.cross_entropy(uttered.gate, gate, reduction="sum")
            part["point_right"] = right.sum()
        for name, value in part.items():
            sums[name] = sums[name] + value if name in sums else value
    of = {
        name: counts["point" if name in ("part", "point_right") else name.partition("_")[0]] for name in sums
    }
    means = {name: value / of[name] for name, value in sums.items()}
    losses = {name: value for name, value in means.items() if name in ("words", "point", "part")}
    return losses, {name: float(value.detach()) for name, value in means.items()}


def _pointed(
    uttered: Uttered, said: Sequence[ToSay], owners: Sequence[np.ndarray], parts: Sequence[str]
) -> tuple[Tensor, Tensor]:
    """Return which regions each phrase names, 0 or 1 [S, O], and which part of them, [S]."""
    target, gate = torch.zeros(uttered.point.shape), torch.zeros(len(uttered.row), dtype=torch.long)
    seen: dict[int, int] = {}
    for at, row in enumerate(uttered.row.tolist()):
        number = seen.get(row, 0)
        seen[row] = number + 1
        owner, (_, ids) = owners[row], said[row].phrases[number]
        target[at, : len(owner)] = torch.from_numpy(np.isin(owner, sorted(ids)).astype(np.float32))
        gate[at] = parts.index(said[row].part) if said[row].part else 0
    return target, gate


def _region_of(owner: np.ndarray, thing: int) -> int:
    found = np.flatnonzero(owner == thing)
    return int(found[0]) if len(found) else 0


def reply_vocabulary(folders: Iterable[str], config: MiniConfig) -> set[str]:
    """Return the words of the replies in some folders of dense truth, and of those that are written from facts."""
    texts = [
        *LEADS,
        *SEVERAL,
        *NOTHING,
        *NONE_OF_THEM,
        *NUMBERS,
        "a an and of the top table floor parts things , . : ?",
    ]
    texts += [noun for pairs in NOUNS.values() for pair in pairs for noun in pair]
    texts += [*config.colours, *(part for part in config.parts if part != "none")]
    words = words_in(text.replace("{things}", "") for text in texts)
    for path in (path for folder in folders for path in shards(folder)):
        for _, view in facts_of(path):
            words |= words_in(p["reply"] for d in view.get("dialogues", ()) for p in d if p.get("reply"))
    return {word for word in words if word}
