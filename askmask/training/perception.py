"""Stage 0: mini's encoder and dense heads on the world's dense truth, at growing resolution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from askmask.formats.dense import Shard, read_shard, shards
from askmask.imaging.overlap import iou
from askmask.model.mini.config import MiniConfig
from askmask.model.mini.encoder import Encoder
from askmask.model.mini.instances import cluster
from askmask.model.mini.perception import Percept, Perception
from askmask.training.dense_losses import DenseTargets, dense_loss
from askmask.training.panels import draw_objects
from askmask.training.stream import ShardStream, ViewRef
from askmask.training.vocabulary import Tables, Vocabulary


@dataclass(frozen=True, kw_only=True)
class PerceptionConfig:
    """What stage 0 sees. Small pictures first: a step at 64 px costs a ninth of one at 192 px."""

    train: tuple[str, ...] = ()
    val: tuple[str, ...] = ()
    sizes: tuple[int, ...] = (64, 96, 128, 192)
    until: tuple[float, ...] = (0.35, 0.65, 0.9, 1.0)  # share of the steps at which each size ends
    batches: tuple[int, ...] = (48, 32, 24, 12)
    shards_per_round: int = 4
    smallest_crop: float = 0.65  # of the picture's side
    seed: int = 0
    wait_s: float = 0.0
    val_views: int = 120


class PerceptionNet(nn.Module):
    """Encoder and dense heads, under the names they have in Mini."""

    def __init__(self, config: MiniConfig):
        super().__init__()
        self.segmenter = nn.ModuleDict({"encoder": Encoder(config.widths)})
        self.prompt_encoder = nn.ModuleDict({"perception": Perception(config)})

    def forward(self, pixels: Tensor) -> tuple[tuple[Tensor, ...], Percept]:
        """Normalised pixels [B, 3, S, S] -> (maps, Percept)."""
        maps = self.segmenter["encoder"](pixels)
        return maps, self.prompt_encoder["perception"](maps)


class PerceptionTask:
    """The loop's Task of stage 0."""

    saves_all = True

    def __init__(self, net: PerceptionNet, vocabulary: Vocabulary, config: PerceptionConfig):
        # torch's annotations of `to` leave this form out.
        self.module: PerceptionNet = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.vocabulary, self.config = vocabulary, config
        self.random = torch.Generator().manual_seed(config.seed)
        self.stream = ShardStream(
            config.train,
            seed=config.seed,
            shards_per_round=config.shards_per_round,
            wait_s=config.wait_s,
        )
        self._val: list[tuple[Tensor, DenseTargets]] | None = None

    def stage(self, progress: float) -> int:
        """Return which of the sizes this share of the run is at."""
        return min(sum(progress >= end for end in self.config.until), len(self.config.sizes) - 1)

    def next_batch(self, progress: float) -> list[ViewRef]:
        """Return the next views."""
        return self.stream.next(self.config.batches[self.stage(progress)])

    def loss(self, batch: list[ViewRef], progress: float) -> tuple[Tensor, dict[str, float]]:
        """Augment, see, compare."""
        self.module.train()
        crops = [self._crop(ref.shard.rgb.shape[1]) for ref in batch]
        pixels, truth = self.collate(batch, self.config.sizes[self.stage(progress)], crops)
        pixels, truth = self._augment(pixels, truth)
        _, percept = self.module(pixels)
        loss, figures = dense_loss(percept, truth)
        return loss, figures | {"views": float(len(batch)), "size": float(pixels.shape[-1])}

    def _crop(self, side: int) -> tuple[slice, slice]:
        """Choose a square window of the picture: more scales and places than the cameras give."""
        share, down, right = torch.rand(3, generator=self.random).tolist()
        window = round(side * (1 - (1 - self.config.smallest_crop) * share))
        top, left = round(down * (side - window)), round(right * (side - window))
        return slice(top, top + window), slice(left, left + window)

    def collate(
        self, batch: Sequence[ViewRef], size: int, crops: Sequence[tuple[slice, slice]] | None = None
    ) -> tuple[Tensor, DenseTargets]:
        """Turn views (or windows of them) into pixels in -1..1 and truth at strides 2 and 4 of `size`."""
        whole = (slice(None), slice(None))
        windows = [(ref.row, *where) for ref, where in zip(batch, crops or [whole] * len(batch), strict=True)]
        pixels = torch.cat(
            [_fit(ref.shard.rgb[window], size) for ref, window in zip(batch, windows, strict=True)]
        )

        def sampled(name: str, side: int) -> np.ndarray:
            return np.stack(
                [
                    _sample(getattr(ref.shard, name)[window], side)
                    for ref, window in zip(batch, windows, strict=True)
                ]
            )

        tables = [self._table(ref) for ref in batch]
        truth = DenseTargets(
            objects4=torch.from_numpy(sampled("objects", size // 4).astype(np.int64)),
            objects2=torch.from_numpy(sampled("objects", size // 2).astype(np.int64)),
            parts2=torch.from_numpy(sampled("parts", size // 2).astype(np.int64)),
            surface2=torch.from_numpy(
                np.stack(
                    [
                        _sample(surface_truth(ref)[window[1:]], size // 2)
                        for ref, window in zip(batch, windows, strict=True)
                    ]
                )
            ),
            depth4=torch.from_numpy(sampled("depth", size // 4).astype(np.float32)),
            category=torch.from_numpy(np.stack([table.category for table in tables])),
            colour=torch.from_numpy(np.stack([table.colour for table in tables])),
            part=torch.from_numpy(np.stack([table.part for table in tables])),
            attributes=torch.from_numpy(np.stack([table.attributes for table in tables])),
        )
        return pixels / 127.5 - 1, truth

    def _table(self, ref: ViewRef) -> Tables:
        return self.vocabulary.tables(ref.shard.facts(ref.row)[0]["objects"])

    def _augment(self, pixels: Tensor, truth: DenseTargets) -> tuple[Tensor, DenseTargets]:
        """Change light and contrast a little; mirror half of the batches, with what "left" and "right" mean."""
        count = len(pixels)
        gain = 1 + 0.3 * (torch.rand(count, 1, 1, 1, generator=self.random) - 0.5)
        tint = 1 + 0.1 * (torch.rand(count, 3, 1, 1, generator=self.random) - 0.5)
        shift = 0.2 * (torch.rand(count, 1, 1, 1, generator=self.random) - 0.5)
        pixels = (pixels * gain * tint + shift).clamp(-1, 1)
        if torch.rand((), generator=self.random) < 0.5:
            return pixels, truth
        swap = [self._mirrored(name) for name in self.vocabulary.attributes]
        return pixels.flip(-1), replace(
            truth,
            objects4=truth.objects4.flip(-1),
            objects2=truth.objects2.flip(-1),
            parts2=truth.parts2.flip(-1),
            surface2=truth.surface2.flip(-1),
            depth4=truth.depth4.flip(-1),
            attributes=truth.attributes[:, :, swap],
        )

    def _mirrored(self, name: str) -> int:
        for side, other in (("_left", "_right"), ("_right", "_left")):
            if name.endswith(side):
                return self.vocabulary.attributes.index(name.removesuffix(side) + other)
        return self.vocabulary.attributes.index(name)

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """Score unseen scenes at the last size: heads' losses, category accuracy, best IoU per object."""
        if not self.config.val:
            return {}
        if self._val is None:
            self._val = self._validation()
        self.module.eval()
        totals: dict[str, float] = {}
        ious: list[float] = []
        for pixels, truth in self._val:
            _, percept = self.module(pixels)
            _, figures = dense_loss(percept, truth)
            for name, value in figures.items():
                totals[name] = totals.get(name, 0.0) + value / len(self._val)
            for row in range(len(pixels)):
                ious += _best_ious(cluster(percept, row, 20), truth.objects2[row])
        return totals | {
            "object_iou": float(np.mean(ious)),
            "object_found": float(np.mean(np.array(ious) > 0.5)),
        }

    def _validation(self) -> list[tuple[Tensor, DenseTargets]]:
        refs = [ref for folder in self.config.val for ref in _first_views(folder, self.config.val_views)]
        refs = refs[: self.config.val_views]
        size = self.config.sizes[-1]
        return [self.collate(refs[i : i + 12], size) for i in range(0, len(refs), 12)]

    def panels(self, folder: Path, step: int) -> None:
        """Draw a few validation answers."""
        if self.config.val:
            self._val = self._val or self._validation()
            pixels, truth = self._val[0]
            self.module.eval()
            with torch.no_grad():
                _, percept = self.module(pixels[:6])
            found = [cluster(percept, row, 20) for row in range(min(6, len(pixels)))]
            draw_objects(pixels, truth.objects2, found, folder / f"objects-{step:08d}.png")

    def state_dict(self) -> dict[str, Any]:
        """Return the data position and the augmentation's random state."""
        return {"stream": self.stream.state_dict(), "random": self.random.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go to a data position."""
        self.stream.load_state_dict(state["stream"])
        self.random.set_state(state["random"])


def surface_truth(ref: ViewRef) -> np.ndarray:
    """Return where upper surfaces are, long [H, W]: 1, or 0 on the rest of an object, -1 where nobody asked."""
    objects = ref.shard.objects[ref.row]
    truth = np.full(objects.shape, -1, np.int64)
    for prompt in ref.shard.facts(ref.row)[1]["prompts"]:
        if prompt.get("kind") == "surface" and prompt["satisfying"]:
            truth[np.isin(objects, prompt["satisfying"])] = 0
            for mask in ref.shard.answer_masks(ref.row, prompt):
                truth[mask & np.isin(objects, prompt["satisfying"])] = 1
    return truth


def _fit(rgb: np.ndarray, size: int) -> Tensor:
    pixels = torch.from_numpy(np.ascontiguousarray(rgb)).permute(2, 0, 1)[None].float()
    if pixels.shape[-1] == size:
        return pixels
    return F.interpolate(pixels, size=(size, size), mode="bilinear", antialias=True)


def _sample(map_: np.ndarray, side: int) -> np.ndarray:
    """Take the pixel under the middle of each of side x side cells, [H, W] -> [side, side]."""
    rows = ((np.arange(side) + 0.5) * map_.shape[0] / side).astype(np.int64)
    columns = ((np.arange(side) + 0.5) * map_.shape[1] / side).astype(np.int64)
    return map_[rows[:, None], columns[None]]


def _first_views(folder: str, count: int) -> list[ViewRef]:
    refs: list[ViewRef] = []
    for path in shards(folder):
        if len(refs) >= count:
            break
        shard: Shard = read_shard(path)
        refs += [ViewRef(shard, row) for row in range(min(len(shard.rgb), count))]
    return refs


def _best_ious(masks: Tensor, objects: Tensor) -> list[float]:
    """Best IoU any found mask has with each true object of at least 20 cells."""
    found = masks > 0.5
    result = []
    for number in objects.unique().tolist():
        if not 0 < number < 200:
            continue
        true = objects == number
        if true.sum() < 20:
            continue
        result.append(float(iou(found, true).max()) if len(found) else 0.0)
    return result
