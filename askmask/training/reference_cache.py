"""What a frozen `mini` sees under the masks that dialogues answer with, cached on disk beside region_cache.py's files.

Each mask is kept as it is, as damaged (eroded, grown or boxed) and, if it is a part, as the network itself would paint
it; so training can refer to true, broken and own masks without looking at a picture again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from askmask.formats.dense import Shard, read_shard
from askmask.model.mini.encoder import pyramid
from askmask.model.mini.instances import RELATION, Instances, evidence_width, gather
from askmask.model.mini.memory import OVERLAP, refer
from askmask.model.mini.net import Mini
from askmask.model.mini.perception import Percept, part_names
from askmask.runs.whole_files import open_whole
from askmask.training.prompts import SURFACE
from askmask.training.region_cache import owners, read_arrays, weights_hash
from askmask.training.talks import mask_of, talks_of

TRUE, DAMAGED, OWN = "true", "damaged", "own"
LEAST = 6  # cells of a mask at half the network's side; what is less is not damaged

Reference = tuple[Tensor, Tensor, Tensor]  # evidence [E], relation [O, RELATION], overlap [O, OVERLAP]


@dataclass(frozen=True)
class ViewReferences:
    """The masks of one view's dialogues by (key of talks.py, TRUE, DAMAGED or OWN)."""

    rows: dict[tuple[str, str], int]
    evidence: np.ndarray  # float16 [M, E]
    lies: np.ndarray  # float16 [M, O, RELATION + OVERLAP]

    def __contains__(self, which: tuple[str, str]) -> bool:
        return which in self.rows

    def get(self, key: str, how: str) -> Reference:
        """Return one mask's evidence, how regions lie from it, and their overlap; the true one if there is no other."""
        row = self.rows.get((key, how), self.rows[key, TRUE])
        lies = torch.from_numpy(self.lies[row].astype(np.float32))
        return (
            torch.from_numpy(self.evidence[row].astype(np.float32)),
            *lies.split([RELATION, OVERLAP], -1),
        )


class ReferenceCache:
    """References of shards under fixed weights; one file per shard and its dialogues."""

    def __init__(self, net: Mini, folder: str | Path):
        self.net, self.folder = net, Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        eyes = weights_hash(torch.nn.ModuleList([net.segmenter.encoder, net.prompt_encoder.perception]))
        self.key = f"{eyes}-{evidence_width(net.config)}-{RELATION}-{OVERLAP}"

    def references(self, path: Path) -> list[ViewReferences]:
        """Return those of each view of a shard, from disk or by looking now."""
        facts = path.with_suffix(".jsonl")
        stats = [(one.stat().st_size, one.stat().st_mtime_ns) for one in (path, facts)]
        name = hashlib.sha256(f"{path.resolve()}:{stats}".encode()).hexdigest()[:16]
        file = self.folder / f"references-{self.key}-{name}.npz"
        if (stored := read_arrays(file)) is not None:
            try:
                return _unpacked(stored)
            except (LookupError, ValueError):  # damaged: made again
                pass
        arrays: dict[str, Any] = _packed(list(self._look(read_shard(path))))
        with open_whole(file) as out:  # another process may be looking at the same shard
            np.savez(out, **arrays)
        return _unpacked(arrays)

    @torch.no_grad()
    def _look(self, shard: Shard) -> Iterator[ViewReferences]:
        self.net.eval()
        for row in range(len(shard.rgb)):
            scene, view = shard.facts(row)
            keys = sorted({key for talk in talks_of(scene, view) for round in talk for key in round.answers})
            features = self.net.segmenter.encode(self.net.segmenter.prepare(shard.rgb[row])[None])
            percept = self.net.perceive(features)
            instances = gather(percept, pyramid(features), 0, self.net.config)
            side = instances.masks.shape[-1]
            found: dict[tuple[str, str], Tensor] = {}
            for number, key in enumerate(keys):
                exact = shrink(mask_of(key, shard.objects[row], shard.parts[row]), side)
                found[key, TRUE] = exact
                found[key, DAMAGED] = damaged(exact, number + row)
            found |= self._own(keys, scene, instances, percept, shard.objects[row])
            masks = torch.stack(list(found.values())) if found else torch.zeros(0, side, side)
            evidence, relation, overlap = refer(
                percept, pyramid(features), 0, instances, masks, self.net.config
            )
            lies = torch.cat([relation, overlap], -1)
            rows = {which: number for number, which in enumerate(found)}
            yield ViewReferences(rows, evidence.half().numpy(), lies.half().numpy())

    def _own(
        self,
        keys: list[str],
        scene: dict[str, Any],
        instances: Instances,
        percept: Percept,
        objects: np.ndarray,
    ) -> dict[tuple[str, str], Tensor]:
        """Paint the parts as the network would, of the regions that are their objects."""
        parts = {p["id"]: (item["id"], p["name"]) for item in scene["objects"] for p in item["parts"]}
        names = part_names(self.net.config)
        whose = owners(instances, objects, self.net.config.stuff)
        found = {}
        for key in keys:
            kind, _, what = key.partition(" ")
            owner, name = parts.get(int(what), (0, "")) if kind == "part" else (0, SURFACE)
            if kind == "mask":
                shown = np.bincount(objects[mask_of(key, objects, objects)], minlength=1)
                owner = int(shown.argmax()) if len(shown) else 0
            regions = np.flatnonzero(whose == owner)
            if kind == "object" or not owner or not len(regions) or name not in names:
                continue
            mask = instances.masks[regions[0]] * percept.shares[0, names.index(name)]
            if (mask > 0.5).sum() >= LEAST:
                found[key, OWN] = (mask > 0.5).float()
        return found


def shrink(mask: np.ndarray, side: int) -> Tensor:
    """Return how much of each cell of a square of `side` a mask, bool [H, W], covers."""
    whole = torch.from_numpy(mask).float()[None, None]
    return F.interpolate(whole, (side, side), mode="bilinear", antialias=True)[0, 0].clamp(0, 1)


def damaged(mask: Tensor, how: int) -> Tensor:
    """Return a mask [h, w] eroded, grown or boxed, by `how` modulo 3; as it is where nothing would be left."""
    hard = (mask > 0.5).float()
    if hard.sum() < LEAST:
        return mask
    if how % 3 == 0:
        less = 1 - F.max_pool2d(1 - hard[None, None], 3, 1, 1)[0, 0]
        return less if less.sum() >= LEAST else hard
    if how % 3 == 1:
        return F.max_pool2d(hard[None, None], 5, 1, 2)[0, 0]
    rows, columns = hard.amax(1).nonzero()[:, 0], hard.amax(0).nonzero()[:, 0]
    box = torch.zeros_like(hard)
    box[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = 1
    return box


def _packed(views: list[ViewReferences]) -> dict[str, np.ndarray]:
    """Bring the views of a shard end to end, as arrays to be stored."""
    names = [f"{how} {key}" for view in views for key, how in view.rows]
    return {
        "names": np.array("\n".join(names)),
        "counts": np.array([len(view.rows) for view in views], np.int32),
        "regions": np.array([view.lies.shape[1] for view in views], np.int32),
        "evidence": np.concatenate([view.evidence for view in views]),
        "lies": np.concatenate([view.lies.ravel() for view in views]),
    }


def _unpacked(arrays: dict[str, np.ndarray]) -> list[ViewReferences]:
    names = str(arrays["names"]).split("\n")
    views, row, at = [], 0, 0
    for count, regions in zip(arrays["counts"].tolist(), arrays["regions"].tolist(), strict=True):
        numbers = count * regions * (RELATION + OVERLAP)
        pairs = [name.partition(" ") for name in names[row : row + count]]
        views.append(
            ViewReferences(
                {(key, how): number for number, (how, _, key) in enumerate(pairs)},
                arrays["evidence"][row : row + count],
                arrays["lies"][at : at + numbers].reshape(count, regions, RELATION + OVERLAP),
            )
        )
        row, at = row + count, at + numbers
    return views
