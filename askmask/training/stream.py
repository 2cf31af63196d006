"""A seeded stream of dense-truth views over a growing folder of shards, with a position that can be saved.

Views come in rounds: a round loads a few shards (the least used first), shuffles their views and serves them in
batches. New shards are seen at the next round. Given the same files, the position alone fixes what follows.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from askmask.errors import DataError
from askmask.formats.dense import Shard, read_shard, shards
from askmask.training.devices import own_share, processes


@dataclass(frozen=True)
class ViewRef:
    """One view: its shard in memory and the row in it."""

    shard: Shard
    row: int


class ShardStream:
    """Views of `shards_per_round` shards at a time; waits up to `wait_s` seconds for the first shard to be made."""

    def __init__(
        self,
        folders: Sequence[str | Path],
        *,
        seed: int,
        shards_per_round: int = 4,
        wait_s: float = 0.0,
    ):
        self.folders = [Path(folder) for folder in folders]
        self.seed, self.per_round, self.wait_s = seed, shards_per_round, wait_s
        self.used: dict[str, int] = {}
        self.round, self.served = -1, 0
        self.names: list[str] = []
        self._shards: list[Shard] = []
        self._order = np.zeros((0, 2), np.int64)

    def next(self, count: int) -> list[ViewRef]:
        """Return this process's next `count` views; the last batch of a round may be smaller."""
        if self.served >= len(self._order):
            self._begin_round(self._choose())
        chosen = self._order[self.served : self.served + count * processes()]
        self.served += len(chosen)
        return [ViewRef(self._shards[shard], int(row)) for shard, row in own_share(list(chosen))]

    def _known(self) -> dict[str, Path]:
        return {f"{folder.name}/{path.name}": path for folder in self.folders for path in shards(folder)}

    def _choose(self) -> list[str]:
        deadline = time.monotonic() + self.wait_s
        while not (known := self._known()):
            if time.monotonic() >= deadline:
                raise DataError(
                    "no finished shard of dense truth",
                    got=", ".join(map(str, self.folders)),
                    do="Make some with `askmask world make --dense`.",
                )
            time.sleep(2)
        random = np.random.default_rng([self.seed, self.round + 1, 0])
        names = sorted(known)
        rank = random.permutation(len(names))
        order = sorted(range(len(names)), key=lambda i: (self.used.get(names[i], 0), rank[i]))
        return [names[i] for i in order[: self.per_round]]

    def _begin_round(self, names: list[str]) -> None:
        self.round, self.served, self.names = self.round + 1, 0, names
        for name in names:
            self.used[name] = self.used.get(name, 0) + 1
        self._load()

    def _load(self) -> None:
        known = self._known()
        missing = [name for name in self.names if name not in known]
        if missing:
            raise DataError("shards of the run being resumed are gone", got=missing, do="Put them back.")
        self._shards = []  # free the last round's memory first
        self._shards = [read_shard(known[name]) for name in self.names]
        pairs = [(s, row) for s, shard in enumerate(self._shards) for row in range(len(shard.rgb))]
        random = np.random.default_rng([self.seed, self.round, 1])
        self._order = np.array(pairs, np.int64)[random.permutation(len(pairs))]

    def state_dict(self) -> dict[str, Any]:
        """Return the position."""
        return {
            "round": self.round,
            "served": self.served,
            "names": list(self.names),
            "used": dict(self.used),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go to a position."""
        self.round, self.served = state["round"], state["served"]
        self.names, self.used = list(state["names"]), dict(state["used"])
        if self.names:
            self._load()
