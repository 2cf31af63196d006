"""Files on disk -> training samples: one picture, one prompt, one mask; and a seeded mixture of several sources.

Pictures and masks are read when they are needed. A row that cannot be read is named; the run stops there, or
passes over it and says so at the end, as the settings choose, but never silently.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from askmask.conversation import Round
from askmask.errors import AskMaskError, DataError, SettingError
from askmask.imaging.files import Picture, read_picture
from askmask.imaging.mask import Mask
from askmask.runs.json_text import read_rows
from askmask.training.devices import own_share, processes


@dataclass(frozen=True)
class Sample:
    """One thing to learn. `mask` reads the truth; `where` says which row of which file it is."""

    image: str
    prompt: str
    mask: Callable[[], Mask]
    where: str
    concept: str = ""

    def read(self) -> tuple[Picture, Mask]:
        """Read picture and mask. Raises DataError naming the row."""
        try:
            picture, mask = read_picture(self.image), self.mask()
        except (AskMaskError, OSError) as error:
            raise DataError(f"{self.where}: {error}") from error
        if picture.size != mask.size:
            raise DataError(
                f"{self.where}: picture and mask differ in size", got=f"{picture.size} and {mask.size}"
            )
        return picture, mask


def read_samples(source: str) -> list[Sample]:
    """Read a source: a folder or file in ConverSeg's training format, or anything `open_dataset` reads.

    One sample per labelled round; instances become one mask. Raises DataError if there is none.
    """
    path = Path(source)
    if path.is_dir() and (path / "dataset.jsonl").is_file():
        path = path / "dataset.jsonl"
    if path.suffix == ".jsonl" and path.is_file() and _is_published(path):
        samples = _published(path)
    else:
        samples = _examples(source)
    if not samples:
        raise DataError("no labelled row to train on", got=source)
    return samples


def _is_published(path: Path) -> bool:
    return any("mask_merged" in row for _, row in read_rows(path))


def _published(path: Path) -> list[Sample]:
    samples = []
    for number, row in read_rows(path):
        where = f"{path}, line {number}"
        if not all(isinstance(row.get(key), str) for key in ("image", "mask_merged", "prompt")):
            raise DataError(f'{where}: "image", "mask_merged" and "prompt" are needed', got=sorted(row))
        mask = path.parent / row["mask_merged"]
        samples.append(
            Sample(
                str(path.parent / row["image"]),
                row["prompt"],
                partial(Mask.from_png, mask),
                where,
                row.get("concept") or "",
            )
        )
    return samples


def _examples(source: str) -> list[Sample]:
    from askmask.formats import open_dataset

    samples = []
    for example in open_dataset(source):
        for number, one in enumerate(example.rounds):
            if one.masks is None or one.needs_history:
                continue  # unlabelled, or not to be understood without the rounds before it
            where = f"{source}, example {example.id}, round {number}"
            size = example.size or (one.masks[0].size if one.masks else None)
            if size is None:
                size = read_picture(example.image).size
            samples.append(
                Sample(
                    example.image,
                    one.text,
                    partial(_labelled, one, size),
                    where,
                    one.concept or "",
                )
            )
    return samples


def _labelled(one: Round, size: tuple[int, int]) -> Mask:
    mask = one.mask(size)
    assert mask is not None, "unlabelled rounds are passed over"
    return mask


class Mixture:
    """An endless seeded mixture. Each source is shuffled anew for each of its passes; none repeats within one."""

    def __init__(self, sources: Sequence[Sequence[Sample]], weights: Sequence[float], seed: int):
        if len(weights) != len(sources) or any(weight <= 0 for weight in weights):
            raise SettingError(
                "each data source needs a weight above 0",
                got=f"{len(sources)} sources, weights {list(weights)}",
            )
        self.sources, self.seed = sources, seed
        self.chances = np.array(weights, float) / sum(weights)
        self.random = np.random.default_rng(seed)
        self.passes, self.at = [0] * len(sources), [0] * len(sources)
        self._orders: dict[int, tuple[int, np.ndarray]] = {}  # source: (pass, its order)

    def next(self) -> Sample:
        """Return this process's next sample."""
        return own_share([self._draw() for _ in range(processes())])[0]

    def _draw(self) -> Sample:
        """Draw a source, and take its next sample."""
        which = int(self.random.choice(len(self.sources), p=self.chances)) if len(self.sources) > 1 else 0
        source = self.sources[which]
        if self.at[which] == len(source):
            self.passes[which], self.at[which] = self.passes[which] + 1, 0
        self.at[which] += 1
        return source[int(self._order(which)[self.at[which] - 1])]

    def _order(self, which: int) -> np.ndarray:
        """Return the order of a source's current pass."""
        number = self.passes[which]
        if which not in self._orders or self._orders[which][0] != number:
            random = np.random.default_rng([self.seed, which, number])
            self._orders[which] = number, random.permutation(len(self.sources[which]))
        return self._orders[which][1]

    def state_dict(self) -> dict[str, Any]:
        """Return the position."""
        return {
            "passes": list(self.passes),
            "at": list(self.at),
            "sizes": [len(source) for source in self.sources],
            "random": json.dumps(self.random.bit_generator.state),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go to a position. Raises DataError if the data are not those of the run."""
        sizes = [len(source) for source in self.sources]
        if sizes != state["sizes"]:
            raise DataError("the data changed since the run began", got=f"{sizes} rows, not {state['sizes']}")
        self.passes, self.at = list(state["passes"]), list(state["at"])
        self.random.bit_generator.state = json.loads(state["random"])


def check_all(samples: Sequence[Sample]) -> list[str]:
    """Read every sample and return what was wrong with those that cannot be read."""
    wrong = []
    for sample in samples:
        try:
            sample.read()
        except DataError as error:
            wrong.append(str(error))
    return wrong
