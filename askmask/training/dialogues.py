"""Whole dialogues as training reads them: (Example) -> turns, masks at the decoder's size, one stream of numbers each.

Rounds of an Example that are independent of each other are dialogues of one round. A mask that is handed over beside a
prompt is a round of the user's before it. What cannot be used is counted by reason.
"""

from __future__ import annotations

import re
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from askmask.conversation import Example, Round
from askmask.errors import AskMaskError, DataError, PromptError
from askmask.formats.catalogue import open_dataset
from askmask.imaging.files import Picture, read_picture
from askmask.imaging.mask import Mask
from askmask.model.protocols import NATIVE
from askmask.model.talk.net import TalkNet
from askmask.model.talk.stream import Stream, Talks
from askmask.model.talk.words import Span, check_length
from askmask.notes import Notes
from askmask.runs.content_hash import remembered_sha256
from askmask.training.batches import native_target
from askmask.training.data import MARKED, UNLABELLED

KEPT = 64  # dialogues held ready
# Of replies to prompts that came with masks alone. Source of the form: MIRAS (ACL 2025), mask-text alignment.
LEADS = (
    "",
    "Here:",
    "This is",
    "That is",
    "I see",
    "Found:",
    "You mean",
    "Marked:",
    "In the picture:",
    "There:",
)
ALONE = "Here"
OPEN = "only ignored pixels could match"
LONGEST_PHRASE = 12  # words
WRITTEN_SEG = re.compile(r" ?\[SEG\]")  # as data sets write the place of a mask into a reply


@dataclass(frozen=True)
class Turn:
    """One round as training needs it; masks are numbered through the dialogue."""

    text: str
    reply: str
    masks: tuple[Mask, ...]
    spans: tuple[Span, ...]  # of each mask, its place in the reply
    refers: tuple[int, ...]  # numbers of earlier masks
    nothing: bool  # rightly nothing matches
    ignore: Mask | None = None
    taught: bool = True  # False: of the user's own


@dataclass(frozen=True)
class Dialogue:
    """An Example's turns."""

    example: Example
    turns: tuple[Turn, ...]


@dataclass(frozen=True)
class LoadedDialogue:
    """A dialogue with its picture; M masks at the decoder's size."""

    dialogue: Dialogue
    picture: Picture
    covers: Tensor  # [M, s, s] in 0..1, as a memory takes them
    targets: Tensor  # [M, s, s] 0 or 1
    counted: Tensor  # [M, s, s] bool: where losses look


class DialogueSource:
    """The dialogues of one data set. `left_out` counts rounds that cannot be used, by reason."""

    def __init__(self, name: str, split: str = "train", *, templated: bool = False):
        """Read `name`: a folder or file, or NAME:ROOT[@SPLIT]. Raises DataError if nothing can be trained on.

        `templated`: see `in_template`.
        """
        self.name, self.left_out, notes = name, Counter[str](), Notes()
        self.dialogues: list[Dialogue] = []
        for example in open_dataset(name, prefer=split, notes=notes):
            for one in alone(example) if example.independent else [example]:
                if turns := turns_of(one, self.left_out):
                    if templated:
                        turns = tuple(in_template(turn, f"{one.id} {n}") for n, turn in enumerate(turns))
                    self.dialogues.append(Dialogue(one, turns))
        self.left_out.update(notes.counts)
        notes.say(name)
        if not self.dialogues:
            why = ", ".join(f"{count} {reason}" for reason, count in self.left_out.items())
            raise DataError("no dialogue to train on", got=f"{name}: {why or 'it is empty'}")

    def __len__(self) -> int:
        return len(self.dialogues)

    def facts(self) -> dict[str, Any]:
        """Return what a run should say of its data."""
        path = Path(self.name)
        return {
            "source": self.name,
            "dialogues": len(self),
            "rounds": sum(turn.taught for one in self.dialogues for turn in one.turns),
            "left_out": dict(sorted(self.left_out.items())),
        } | ({"file": str(path), "sha256": remembered_sha256(path)} if path.is_file() else {})


def alone(example: Example) -> list[Example]:
    """Return the rounds of an example as examples of their own."""
    return [
        replace(example, id=f"{example.id}#{number}", rounds=(round,))
        for number, round in enumerate(example.rounds)
    ]


def turns_of(example: Example, left_out: Counter[str]) -> tuple[Turn, ...]:
    """Return the turns of a dialogue; () if none can be learnt from."""
    turns: list[Turn] = []
    numbers: dict[str, list[int]] = {}  # id of a round or segment -> numbers of masks
    count = 0
    for round in example.rounds:
        masks = round.masks or ()
        users = round.prompt.marks and not round.text.strip()
        if why := _unusable(round):
            left_out[why] += 1
            continue
        refers = [n for name in round.prompt.refers_to for n in numbers.get(name, ())]
        for mask in () if users else round.prompt.masks:
            turns.append(Turn("", "", (mask,), (None,), (), False, taught=False))
            refers.append(count)
            count += 1
        text, spans = placed(round)
        nothing = round.segments == ()
        refers = list(dict.fromkeys(refers))
        turns.append(Turn(round.text, text, masks, spans, tuple(refers), nothing, round.ignore, not users))
        own = list(range(count, count + len(masks)))
        numbers[round.id] = own
        numbers |= {segment.id: [n] for segment, n in zip(round.segments or (), own, strict=True)}
        count += len(masks)
    return tuple(turns) if any(turn.taught for turn in turns) else ()


def _unusable(round: Round) -> str:
    if round.segments is None and not round.reply:
        return UNLABELLED
    if round.segments == () and round.ignore:
        return OPEN  # such as crowds alone: it does not teach that nothing matches
    return MARKED if round.text.strip() and (round.prompt.points or round.prompt.boxes) else ""


def placed(round: Round) -> tuple[str, tuple[Span, ...]]:
    """Return a reply without the [SEG] that data sets write into it, and the place of each mask."""
    text, segments = round.reply or "", round.segments or ()
    spans: tuple[Span, ...] = tuple(segment.span for segment in segments)
    if segments and not any(spans) and len(WRITTEN_SEG.findall(text)) == len(segments):
        pieces = WRITTEN_SEG.split(text)
        ends = np.cumsum([len(piece) for piece in pieces[:-1]]).tolist()
        return "".join(pieces), tuple((end, end) for end in ends)
    return text, spans


def in_template(turn: Turn, name: str) -> Turn:
    """Return a turn that shows masks without a word with a reply: a few words, then the prompt's as the mask's own.

    Words that are a sentence name nothing: the mask then stands alone. `name` decides the first words.
    """
    if not turn.masks or turn.reply or not turn.taught or not turn.text.strip():
        return turn
    lead = LEADS[zlib.crc32(name.encode()) % len(LEADS)]
    words = turn.text.strip()
    phrase = words.rstrip(".").lower()
    if words.endswith(("?", "!")) or len(words.split()) > LONGEST_PHRASE:
        lead = lead.rstrip(":") or ALONE
        text, span = f"{lead}.", (len(lead), len(lead))
    else:
        text, span = f"{lead}{' ' if lead else ''}{phrase}.", (0, 0)
        span = (len(text) - 1 - len(phrase), len(text) - 1)
    return replace(turn, reply=text, spans=(span,) * len(turn.masks))


@lru_cache(maxsize=KEPT)
def _loaded(path: str, turns: tuple[Turn, ...], side: int) -> tuple[Picture, Tensor, Tensor, Tensor]:
    picture = read_picture(path)
    covers, targets, known = [], [], []
    for turn in turns:
        for mask in turn.masks:
            if mask.size != picture.size:
                raise DataError("picture and mask differ in size", got=f"{picture.size} and {mask.size}")
            array = mask.to_array()
            ignore = None if turn.ignore is None else turn.ignore.to_array()
            target, counted = native_target(array, ignore, side)
            covers.append(NATIVE.mask_cover(array, picture, side).clamp(0, 1))
            targets.append(target)
            known.append(counted)
    none = torch.zeros(0, side, side)
    if not covers:
        return picture, none, none, none.bool()
    return picture, torch.stack(covers), torch.stack(targets), torch.stack(known)


def load(dialogue: Dialogue, side: int) -> LoadedDialogue:
    """Read a dialogue's picture and decode its masks. Raises DataError naming it."""
    try:
        return LoadedDialogue(dialogue, *_loaded(dialogue.example.image, dialogue.turns, side))
    except (AskMaskError, OSError) as error:
        raise DataError(f"{dialogue.example.id}: {error}") from error


def check_words(net: TalkNet, dialogue: Dialogue) -> None:
    """Raise DataError naming a dialogue that is too long for the network."""
    words = net.prompt_encoder.words
    try:
        turns = dialogue.turns
        check_length(sum(len(words.tail(t.text)) + len(words.answer(t.reply, t.spans)[0]) for t in turns))
    except PromptError as error:
        raise DataError(f"{dialogue.example.id}: {error}") from error


@dataclass(frozen=True)
class DialogueBatch:
    """B dialogues ready for the network."""

    pixels: Tensor  # [B, 3, S, S]
    talks: Talks
    covers: Tensor  # [M, s, s] of all dialogues
    targets: Tensor
    counted: Tensor
    own: tuple[bool, ...] = ()  # for each dialogue: whether own answers are remembered
    damage: tuple[str, ...] = ()  # for each mask: how it is damaged before it is remembered, "" not at all
    skipped: tuple[str, ...] = field(default=())  # dialogues that could not be read, and why


def collate(net: TalkNet, loaded: Sequence[LoadedDialogue], given: Sequence[Sequence[bool]]) -> DialogueBatch:
    """Bring dialogues together. `given`: for each turn of each, whether it is told what it refers to."""
    words, slots = net.prompt_encoder.words, net.adapter.memory.slots
    streams, pictures = [], []
    for one, told in zip(loaded, given, strict=True):
        patches, grid = words.picture(one.picture.rgb)
        stream = Stream(words, slots, words.head(grid))
        for turn, known in zip(one.dialogue.turns, told, strict=True):
            stream.asked(turn.text, turn.refers if known else (), turn.refers)
            stream.answered(turn.reply, turn.spans, nothing=turn.nothing, taught=turn.taught)
        streams.append(stream)
        pictures.append((patches, grid))
    patches, grids = (torch.cat(part) for part in zip(*pictures, strict=True))
    return DialogueBatch(
        torch.stack([net.segmenter.prepare(one.picture.rgb, letterbox=False) for one in loaded]),
        Talks.of(streams, patches, grids),
        torch.cat([one.covers for one in loaded]),
        torch.cat([one.targets for one in loaded]),
        torch.cat([one.counted for one in loaded]),
    )
