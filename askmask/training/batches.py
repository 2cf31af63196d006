"""Rounds -> batches on the CPU: pictures resized, prompts tokenised, masks at the decoder's size; in workers or not.

What a batch holds depends on its draw alone, so that any number of workers, and a run that goes on, gives the same.
"""

from __future__ import annotations

import multiprocessing
import os
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from askmask.errors import DataError, SettingError
from askmask.imaging.files import Picture
from askmask.model.net import AskMaskNet
from askmask.model.seams import Tokens
from askmask.training.data import LoadedRound, Mixture, Source


@dataclass(frozen=True)
class Batch:
    """B rounds ready for the network."""

    pixels: Tensor  # [B, 3, S, S]
    tokens: Tokens
    target: Tensor  # [B, h, w], 0 or 1
    counted: Tensor | None  # [B, h, w] bool: False where no loss may look; None: everywhere
    present: Tensor  # [B]: 1 if anything matches, 0 if not, -1 where only ignored pixels could say
    skipped: tuple[str, ...] = ()  # rows that could not be read, and why

    def to(self, device: torch.device) -> Batch:
        """Move what the losses compare with; pixels and tokens are moved by who reads them."""
        counted = None if self.counted is None else self.counted.to(device)
        return replace(self, target=self.target.to(device), counted=counted, present=self.present.to(device))


class Collate:
    """Turns loaded rounds into a Batch, by the network's own resizing and tokenizer."""

    def __init__(self, net: AskMaskNet):
        self.segmenter, self.words = net.segmenter, net.prompt_encoder.words

    def __call__(self, rounds: Sequence[LoadedRound], skipped: Sequence[str] = ()) -> Batch:
        """Prepare B rounds."""
        pairs = [self.target(one.truth, one.ignore) for one in rounds]
        ignoring = any(one.ignore is not None for one in rounds)
        return Batch(
            torch.stack([self.pixels(one.picture) for one in rounds]),
            self.words.pairs([one.picture.rgb for one in rounds], [one.text for one in rounds]),
            torch.stack([target for target, _ in pairs]),
            torch.stack([counted for _, counted in pairs]) if ignoring else None,
            torch.tensor([presence_of(one.truth, one.ignore) for one in rounds]),
            tuple(skipped),
        )

    def pixels(self, picture: Picture) -> Tensor:
        """Return the network's input of one picture, [3, S, S]."""
        return self.segmenter.prepare(picture.rgb, letterbox=False)

    def target(self, truth: np.ndarray, ignore: np.ndarray | None) -> tuple[Tensor, Tensor]:
        """Return bool [H, W] at the decoder's size: the target, and which cells count."""
        return native_target(truth, ignore, self.segmenter.mask_size)


def native_target(truth: np.ndarray, ignore: np.ndarray | None, side: int) -> tuple[Tensor, Tensor]:
    """Stretch bool [H, W] to [side, side]: 1 where at least half of the known pixels of a cell are in the mask.

    A cell counts if more than half of its pixels are known.
    """
    known = np.ones(truth.shape, bool) if ignore is None else ~ignore
    both = torch.from_numpy(np.stack([truth & known, known])).float()[None]
    inside, share = F.interpolate(both, (side, side), mode="area")[0]
    return (inside >= 0.5 * share.clamp(min=1e-6)).float(), share > 0.5


def presence_of(truth: np.ndarray, ignore: np.ndarray | None) -> float:
    """Return 1 if anything matches, 0 if not, -1 where only ignored pixels could say; masks are bool [H, W]."""
    if truth.any():
        return 1.0
    return 0.0 if ignore is None or not ignore.any() else -1.0


class Batches(Dataset[Any]):
    """Reads and prepares one batch by its draws: which source, which of its rows."""

    def __init__(self, sources: Sequence[Source], collate: Collate, on_bad: str):
        self.sources, self.collate, self.on_bad = sources, collate, on_bad

    def __getitem__(self, draws: Sequence[tuple[int, int]]) -> Batch | str:
        """Return the batch, or as text why it cannot be made: exceptions lose their shape between processes."""
        skipped: list[str] = []
        try:
            return self.collate([self._read(*draw, skipped) for draw in draws], skipped)
        except DataError as error:
            return str(error)

    def _read(self, which: int, row: int, skipped: list[str]) -> LoadedRound:
        """Read a round; in place of one that cannot be read, if that is wanted, the next of its source that can."""
        source = self.sources[which]
        for step in range(len(source)):
            try:
                return source[(row + step) % len(source)]
            except DataError as error:
                if self.on_bad == "stop":
                    raise
                skipped.append(str(error))
        raise DataError("no row can be read", got=skipped[-1])


class Loader:
    """An endless stream of batches. `workers` processes prepare them ahead; 0: each is made when asked for."""

    def __init__(self, batches: Batches, mixture: Mixture, *, batch: int, workers: int = 0):
        if workers and "fork" not in multiprocessing.get_all_start_methods():
            raise SettingError("data workers need a system that can fork processes", do="Use workers=0.")
        self.batches, self.mixture, self.batch, self.workers = batches, mixture, batch, workers
        self._position = mixture.state_dict()
        self._ahead: deque[dict[str, Any]] = deque()  # the position after each batch that is being prepared
        self._stream: Iterator[Batch | str] | None = None

    def next(self) -> Batch:
        """Return the next batch. Raises DataError for a row that cannot be read."""
        if self._stream is None:
            self._stream = self._open()
        batch = next(self._stream)
        self._position = self._ahead.popleft()
        if isinstance(batch, str):
            raise DataError(batch)
        return batch

    def _draws(self) -> Iterator[list[tuple[int, int]]]:
        while True:
            draws = [self.mixture.next() for _ in range(self.batch)]
            self._ahead.append(self.mixture.state_dict())
            yield draws

    def _open(self) -> Iterator[Batch | str]:
        if not self.workers:
            return map(self.batches.__getitem__, self._draws())
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # else each worker warns that it was forked
        return iter(
            DataLoader(
                self.batches,
                sampler=self._draws(),
                batch_size=None,
                num_workers=self.workers,
                multiprocessing_context="fork",
                generator=torch.Generator(),  # its own: the run's random state must not depend on workers
            )
        )

    def close(self) -> None:
        """End the workers, if there are any; the next batch would start others."""
        self.load_state_dict(self._position)

    def state_dict(self) -> dict[str, Any]:
        """Return the position after the last batch handed out, whatever has been prepared since."""
        return self._position

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go to a position."""
        self.mixture.load_state_dict(state)
        self._position = self.mixture.state_dict()
        self._ahead.clear()
        self._stream = None
