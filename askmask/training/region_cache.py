"""What a frozen `mini` sees in each view, cached on disk: region evidence, how pairs lie, whose each region is.

One file per shard, named by the shard's and the weights' hashes, so that other weights never read stale sight.
Bounded: the least recently used files go when the folder outgrows its limit.
"""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from askmask.formats.dense import FLOOR, TABLE, WALL, Shard, read_shard
from askmask.imaging.overlap import ratio
from askmask.model.mini.encoder import pyramid
from askmask.model.mini.instances import RELATION, Instances, evidence_width, gather
from askmask.model.mini.net import Mini
from askmask.runs.whole_files import open_whole
from askmask.training.prompts import NOBODY

_STUFF_IDS = {"wall": WALL, "table": TABLE, "floor": FLOOR}
# This cache's names, and those of reference_cache.py beside them.
_OURS = re.compile(r"(references-)?[0-9a-f]{12}(-\d+)+-[0-9a-f]{16}\.npz")


@dataclass(frozen=True)
class ShardSight:
    """Regions of all views of a shard, end to end; view v has rows offsets[v] : offsets[v + 1]."""

    offsets: np.ndarray  # int64 [V + 1]
    evidence: np.ndarray  # float16 [R, E]
    relation: np.ndarray  # float16, per view O*O*RELATION numbers, at relation_offsets
    relation_offsets: np.ndarray
    owner: np.ndarray  # int16 [R]: the object's id, NOBODY

    def view(self, row: int) -> tuple[Tensor, Tensor, np.ndarray]:
        """Return evidence [O, E], relation [O, O, n] and owner [O] of one view."""
        start, stop = self.offsets[row : row + 2]
        count = stop - start
        relation = self.relation[self.relation_offsets[row] : self.relation_offsets[row + 1]]
        return (
            torch.from_numpy(self.evidence[start:stop].astype(np.float32)),
            torch.from_numpy(relation.astype(np.float32)).view(count, count, -1),
            self.owner[start:stop],
        )


def weights_hash(module: torch.nn.Module) -> str:
    """Return a short hash of all weights."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:12]


class RegionCache:
    """Sight of shards under fixed weights."""

    def __init__(self, net: Mini, folder: str | Path, *, limit_gb: float = 8.0):
        self.net, self.folder, self.limit = net, Path(folder), int(limit_gb * 2**30)
        self.folder.mkdir(parents=True, exist_ok=True)
        eyes = weights_hash(torch.nn.ModuleList([net.segmenter.encoder, net.prompt_encoder.perception]))
        self.key = f"{eyes}-{evidence_width(net.config)}-{RELATION}"

    def sight(self, path: Path, shard: Shard | None = None) -> ShardSight:
        """Return what is seen in one shard, from disk or by looking now."""
        stat = path.stat()
        name = hashlib.sha256(f"{path.resolve()}:{stat.st_size}:{stat.st_mtime_ns}".encode()).hexdigest()[:16]
        file = self.folder / f"{self.key}-{name}.npz"
        stored = read_arrays(file)
        if stored is not None and set(stored) == set(ShardSight.__dataclass_fields__):
            os.utime(file)
            return ShardSight(**stored)
        sight = self._look(shard or read_shard(path))
        with open_whole(file) as out:  # another process may be looking at the same shard
            np.savez(out, **{key: getattr(sight, key) for key in ShardSight.__dataclass_fields__})
        self._bound()
        return sight

    def _bound(self) -> None:
        own = (f for f in self.folder.glob("*.npz") if _OURS.fullmatch(f.name))  # never a user's shards
        files = sorted(own, key=lambda f: f.stat().st_mtime)
        total = sum(f.stat().st_size for f in files)
        for file in files[:-1]:
            if total <= self.limit:
                return
            total -= file.stat().st_size
            file.unlink(missing_ok=True)

    @torch.no_grad()
    def _look(self, shard: Shard, batch: int = 8) -> ShardSight:
        self.net.eval()
        evidence, relation, owner = [], [], []
        for first in range(0, len(shard.rgb), batch):
            views = range(first, min(first + batch, len(shard.rgb)))
            pixels = torch.stack([self.net.segmenter.prepare(shard.rgb[row]) for row in views])
            features = self.net.segmenter.encode(pixels)
            percept = self.net.perceive(features)
            for place, row in enumerate(views):
                instances = gather(percept, pyramid(features), place, self.net.config)
                evidence.append(instances.evidence.half().numpy())
                relation.append(instances.relation.half().numpy().ravel())
                owner.append(owners(instances, shard.objects[row], self.net.config.stuff))
        return ShardSight(
            offsets=np.cumsum([0, *map(len, evidence)]),
            evidence=np.concatenate(evidence),
            relation=np.concatenate(relation),
            relation_offsets=np.cumsum([0, *map(len, relation)]),
            owner=np.concatenate(owner),
        )


def read_arrays(file: Path) -> dict[str, np.ndarray] | None:
    """Return the arrays of a cache's file; None if there is none, or it is damaged and is to be made again."""
    if not file.exists():
        return None
    try:
        with np.load(file, allow_pickle=False) as data:
            return {name: data[name] for name in data.files}
    except Exception:  # zipfile, zlib and NumPy raise nearly anything on damaged files
        return None


def owners(instances: Instances, objects: np.ndarray, stuff: tuple[str, ...]) -> np.ndarray:
    """Say which object each region is: the id that most of its cells show, if they overlap by IoU > 0.3."""
    side = instances.masks.shape[-1]
    rows = ((np.arange(side) + 0.5) * objects.shape[0] / side).astype(np.int64)
    small = torch.from_numpy(objects[rows[:, None], rows[None]].astype(np.int64)).flatten()
    area = torch.bincount(small, minlength=256)
    result = []
    for number, mask in enumerate(instances.masks.flatten(1) > 0.5):
        if number >= instances.things:
            result.append(_STUFF_IDS[stuff[number - instances.things]])
            continue
        votes = torch.bincount(small[mask], minlength=256)
        votes[0] = votes[200:] = 0
        best = int(votes.argmax())
        union = int(mask.sum()) + int(area[best]) - int(votes[best])
        result.append(best if ratio(int(votes[best]), union, both_empty=0) > 0.3 else NOBODY)
    return np.array(result, np.int16)
