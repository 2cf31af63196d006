"""What is trained on: (Example, k), the k-th round of an Example; and a seeded mixture of several sources.

Rounds that cannot be used are counted by reason, never dropped in silence. Masks stay run-length codes, or files,
until a batch needs them. A row that cannot be read is named.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from askmask.conversation import Example, Round
from askmask.errors import AskMaskError, DataError, SettingError
from askmask.formats.catalogue import kind_of, open_dataset
from askmask.formats.converseg import LINES, training_row, training_rows
from askmask.history import context
from askmask.imaging.files import Picture, read_picture
from askmask.imaging.mask import union_of
from askmask.notes import Notes
from askmask.runs.content_hash import remembered_sha256
from askmask.training.devices import own_share, processes

UNLABELLED, DIALOGUE, MARKED = "unlabelled", "needs the rounds before it", "asked by marks on the picture"


class Source:
    """The usable rounds of one data set, in order. `left_out` counts the others by reason."""

    def __init__(self, name: str, split: str = "train"):
        """Read `name`: a folder or file, or NAME:ROOT[@SPLIT]. Raises DataError if nothing can be trained on.

        Of several splits `split` is read, unless @SPLIT says which.
        """
        self.name, self.left_out, notes = name, Counter[str](), Notes()
        self._rounds: list[tuple[str, int, Callable[[], Example]]] = []  # where, k, how to read
        files = (Path(name), *(Path(name) / file for file in ("examples.jsonl", LINES)))
        self.path = path = next((file for file in files if file.is_file()), None)
        if path is not None and path.suffix == ".jsonl" and kind_of(path) == "converseg":
            self._rounds = [
                (f"{path}, line {number}", 0, partial(training_row, path, number, row))
                for number, row in training_rows(path, notes)
            ]
        else:
            self._take(open_dataset(name, prefer=split, notes=notes))
        self.left_out.update(notes.counts)
        notes.say(name)
        if not self._rounds:
            why = ", ".join(f"{count} {reason}" for reason, count in self.left_out.items())
            why += (
                f" (first: {first})"
                if (first := next(chain.from_iterable(notes.places.values()), ""))
                else ""
            )
            raise DataError("no round to train on", got=f"{name}: {why or 'it is empty'}")

    def _take(self, examples: Iterable[Example]) -> None:
        for example in examples:
            for k, round in enumerate(example.rounds):
                if why := _unusable(round):
                    self.left_out[why] += 1
                else:
                    where = f"{self.name}, example {example.id}, round {round.id}"
                    self._rounds.append((where, k, partial(_itself, example)))

    def __len__(self) -> int:
        return len(self._rounds)

    def where(self, number: int) -> str:
        """Return which row of which file a round is."""
        return self._rounds[number][0]

    def __getitem__(self, number: int) -> LoadedRound:
        """Read a round with its pixels. Raises DataError naming it."""
        where, k, read = self._rounds[number]
        try:
            return LoadedRound.of(read(), k)
        except (AskMaskError, OSError) as error:
            raise DataError(f"{where}: {error}") from error

    def facts(self) -> dict[str, Any]:
        """Return what a run should say of its data."""
        facts: dict[str, Any] = {
            "source": self.name,
            "rounds": len(self),
            "left_out": dict(sorted(self.left_out.items())),
        }
        return facts | ({"file": str(self.path), "sha256": remembered_sha256(self.path)} if self.path else {})


@dataclass(frozen=True)
class LoadedRound:
    """(Example, k) with its pixels: all that a network without memory learns from one round."""

    example: Example
    k: int
    picture: Picture
    truth: np.ndarray  # bool [H, W]: the union of the round's masks
    ignore: np.ndarray | None  # bool [H, W]: neither loss nor score may count it

    @classmethod
    def of(cls, example: Example, k: int) -> LoadedRound:
        """Read the picture and decode the masks. Raises DataError or PictureError."""
        picture, round = read_picture(example.image), example.rounds[k]
        size = picture.size
        for mask in (*(round.masks or ()), *([round.ignore] if round.ignore else [])):
            if mask.size != size:
                raise DataError("picture and mask differ in size", got=f"{size} and {mask.size}")
        truth = union_of(round.masks or (), size)
        return cls(example, k, picture, truth.to_array(), round.ignore.to_array() if round.ignore else None)

    @property
    def round(self) -> Round:
        """The round with its truth."""
        return self.example.rounds[self.k]

    @property
    def text(self) -> str:
        """What the network may see of the conversation: the words of the prompt."""
        return context(self.example, self.k, "none").prompt.text


def _unusable(round: Round) -> str:
    if round.segments is None:
        return UNLABELLED
    if round.needs_history:
        return DIALOGUE
    return MARKED if round.prompt.marks else ""


def _itself(example: Example) -> Example:
    return example


class Mixture:
    """An endless seeded mixture. Each source is shuffled anew for each of its passes; none repeats within one."""

    def __init__(self, sizes: Sequence[int], weights: Sequence[float], seed: int):
        if len(weights) != len(sizes) or not all(0 < weight < float("inf") for weight in weights):
            raise SettingError(
                "each data source needs a weight above 0",
                got=f"{len(sizes)} sources, weights {list(weights)}",
            )
        self.sizes, self.seed = list(sizes), seed
        self.chances = np.array(weights, float) / sum(weights)
        self.random = np.random.default_rng(seed)
        self.passes, self.at = [0] * len(sizes), [0] * len(sizes)
        self._orders: dict[int, tuple[int, np.ndarray]] = {}  # source: (pass, its order)

    def next(self) -> tuple[int, int]:
        """Return this process's next draw: which source, which of its rows."""
        return own_share([self._draw() for _ in range(processes())])[0]

    def _draw(self) -> tuple[int, int]:
        which = int(self.random.choice(len(self.sizes), p=self.chances)) if len(self.sizes) > 1 else 0
        if self.at[which] == self.sizes[which]:
            self.passes[which], self.at[which] = self.passes[which] + 1, 0
        self.at[which] += 1
        return which, int(self._order(which)[self.at[which] - 1])

    def _order(self, which: int) -> np.ndarray:
        """Return the order of a source's current pass."""
        number = self.passes[which]
        if which not in self._orders or self._orders[which][0] != number:
            random = np.random.default_rng([self.seed, which, number])
            self._orders[which] = number, random.permutation(self.sizes[which])
        return self._orders[which][1]

    def state_dict(self) -> dict[str, Any]:
        """Return the position."""
        return {
            "passes": list(self.passes),
            "at": list(self.at),
            "sizes": list(self.sizes),
            "random": json.dumps(self.random.bit_generator.state),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go to a position. Raises DataError if the data are not those of the run."""
        if self.sizes != state["sizes"]:
            raise DataError(
                "the data changed since the run began", got=f"{self.sizes} rows, not {state['sizes']}"
            )
        self.passes, self.at = list(state["passes"]), list(state["at"])
        self.random.bit_generator.state = json.loads(state["random"])


def check_all(sources: Sequence[Source]) -> list[str]:
    """Read every round and return what was wrong with those that cannot be read."""
    wrong = []
    for source in sources:
        for number in range(len(source)):
            try:
                source[number]
            except DataError as error:
                wrong.append(str(error))
    return wrong
