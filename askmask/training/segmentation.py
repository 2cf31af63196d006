"""Phases one and two for any network behind the common seams: pictures, prompts and masks in; the paper's losses.

The image encoder is frozen and its features are cached on disk, unless it is asked to train. Presence and score
heads have losses of their own, which the published training lacks; `published` leaves them out and imitates its
geometry, for parity.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from askmask.errors import DataError, SettingError
from askmask.imaging.files import Picture
from askmask.model.net import AskMaskNet
from askmask.model.seams import Features, MaskOutput, Tokens
from askmask.training.feature_cache import FeatureCache, stack
from askmask.training.geometry import native_target, published_target
from askmask.training.losses import iou_of, mask_loss, presence_loss, score_loss
from askmask.training.panels import sheet, side_by_side
from askmask.training.region_cache import weights_hash
from askmask.training.samples import Mixture, Sample, check_all, read_samples

PANELS = 8
LANGUAGE = ("lora", "full", "frozen")


@dataclass(frozen=True, kw_only=True)
class SegmentationConfig:
    """What a phase reads and which parts it trains."""

    data: tuple[str, ...] = ()  # sources: folders, files, or NAME:ROOT[@SPLIT]
    weights: tuple[float, ...] = ()  # of the sources in the mixture; () = equal
    val: tuple[str, ...] = ()
    batch: int = 6
    language: str = "lora"  # "lora", "full" or "frozen"
    segmenter: str = "decoder"  # "decoder", "full" or "frozen"
    dense_token: bool = True  # ablation: False leaves the dense prompt zero
    published: bool = False  # the published geometry and losses, for parity
    presence_weight: float = 0.1
    score_weight: float = 0.1
    on_bad: str = "stop"  # "stop" or "skip" rows that cannot be read
    check: bool = False  # read every row before step 0
    cache: str = ""  # folder of cached features; "" = none
    cache_gb: float = 20.0
    bf16: bool = False  # autocast; parameters and their updates stay fp32
    val_items: int = 100
    seed: int = 0


@dataclass(frozen=True)
class Batch:
    """Samples ready for the network."""

    tokens: Tokens
    features: Features
    target: Tensor  # [B, h, w], 0 or 1


class SegmentationTask:
    """The loop's Task of phases one and two. Checkpoints hold what trains: the rest is the model's own."""

    saves_all = False

    def __init__(self, net: AskMaskNet, config: SegmentationConfig):
        if config.on_bad not in ("stop", "skip"):
            raise SettingError("on_bad must be stop or skip", got=repr(config.on_bad))
        if not config.data:
            raise SettingError("there is nothing to train on", do="Name it: data=FOLDER.")
        self.module, self.config = net, config
        choose_trainable(net, language=config.language, segmenter=config.segmenter)
        sources = [read_samples(source) for source in config.data]
        self.mixture = Mixture(sources, config.weights or (1.0,) * len(sources), config.seed)
        self.skipped: list[str] = []
        if config.check:
            self._check(sources)
        frozen = config.segmenter != "full"
        self.cache = None
        if config.cache and frozen:
            encoder = nn.ModuleList([part for part in net.get_submodule("segmenter").children()])
            self.cache = FeatureCache(config.cache, weights=weights_hash(encoder), limit_gb=config.cache_gb)
        self._val: list[Sample] | None = None

    def _check(self, sources: Sequence[Sequence[Sample]]) -> None:
        wrong = [line for source in sources for line in check_all(source)]
        if wrong and self.config.on_bad == "stop":
            raise DataError(
                f"{len(wrong)} rows cannot be read", got="; ".join(wrong[:5]), do="Mend them, or on_bad=skip."
            )
        self.skipped += wrong

    # -- data -----------------------------------------------------------------------------------------------

    def next_batch(self) -> Batch:
        """Read the next samples."""
        found: list[tuple[Sample, Picture, np.ndarray]] = []
        while len(found) < self.config.batch:
            sample = self.mixture.next()
            try:
                picture, mask = sample.read()
            except DataError as error:
                if self.config.on_bad == "stop":
                    raise
                self.skipped.append(str(error))
                if len(self.skipped) > 20 + sum(map(len, self.mixture.sources)):
                    raise DataError("no row can be read", got=self.skipped[-1]) from error
                continue
            found.append((sample, picture, mask.to_array()))
        return self.collate(found)

    def collate(self, found: Sequence[tuple[Sample, Picture, np.ndarray]]) -> Batch:
        """Prepare pictures and targets; features come from the cache where there is one."""
        segmenter = self.module.segmenter
        published = self.config.published
        features, targets = [], []
        for _, picture, mask in found:
            rgb = picture.as_stored() if published else picture.rgb
            pixels = segmenter.prepare(rgb, letterbox=published)
            features.append(self._features(pixels))
            side = 4 * features[-1].maps[-1].shape[-1]
            square = segmenter.image_size
            targets.append(published_target(mask, side, square) if published else native_target(mask, side))
        device = self.module.device
        words = self.module.prompt_encoder.words
        tokens = words.pairs([picture.rgb for _, picture, _ in found], [s.prompt for s, _, _ in found])
        return Batch(tokens, stack(features), torch.stack(targets).to(device))

    def _features(self, pixels: Tensor) -> Features:
        def encode(batch: Tensor) -> Features:
            if self.config.segmenter == "full":
                return self.module.segmenter.encode(batch.to(self.module.device))
            with torch.no_grad():
                return self.module.segmenter.encode(batch.to(self.module.device))

        return self.cache.get(pixels, encode) if self.cache else encode(pixels[None])

    # -- loss -----------------------------------------------------------------------------------------------

    def loss(self, batch: Batch, progress: float) -> tuple[Tensor, dict[str, float]]:
        """BCE + 0.25 Dice on the supervised mask; presence and score besides."""
        self.module.train()
        self.module.get_submodule("segmenter").eval()  # frozen norms and drop-outs of the image side
        with torch.autocast(self.module.device.type, torch.bfloat16, enabled=self.config.bf16):
            out = self.forward(batch)
        logits = out.logits.float()
        loss = mask_loss(logits[:, 0], batch.target)
        figures = {"mask": float(loss.detach())}
        if not self.config.published:
            presence = presence_loss(out.presence_logits.float(), batch.target)
            score = score_loss(out.scores.float(), logits, batch.target)
            loss = loss + self.config.presence_weight * presence + self.config.score_weight * score
            figures |= {"presence": float(presence.detach()), "score": float(score.detach())}
        with torch.no_grad():
            figures["iou"] = float(iou_of(logits[:, 0], batch.target).mean())
        return loss, figures | {"skipped": float(len(self.skipped))}

    def forward(self, batch: Batch) -> MaskOutput:
        """Run the network on a batch."""
        states = self.module.prompt_encoder.encode_pairs(batch.features, batch.tokens)
        prompts = self.module.adapter(states)
        if not self.config.dense_token:
            prompts = prompts.without_dense()
        if self.config.published:
            # The published batch leaves its padding visible: rows of to_sparse's bias. Ours never sees padding.
            adapter = self.module.adapter
            leak = adapter.get_parameter("to_sparse.bias") * adapter.get_parameter("scale")
            leak = leak.expand_as(prompts.sparse)
            kept = prompts.sparse_mask[:, :, None]
            prompts = replace(
                prompts,
                sparse=torch.where(kept, prompts.sparse, leak),
                sparse_mask=torch.ones_like(prompts.sparse_mask),
            )
        return self.module.segmenter.decode(batch.features, prompts, multimask=False)

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """Return gIoU at the decoder's resolution on the first validation samples."""
        if not self.config.val:
            return {}
        if self._val is None:
            self._val = [s for source in self.config.val for s in read_samples(source)][
                : self.config.val_items
            ]
        self.module.eval()
        ious: dict[str, list[float]] = {}
        for sample in self._val:
            picture, mask = sample.read()
            batch = self.collate([(sample, picture, mask.to_array())])
            iou = float(iou_of(self.forward(batch).logits[:, 0].float(), batch.target)[0])
            for key in {"all", sample.concept or "all"}:
                ious.setdefault(key, []).append(iou)
        return {f"giou_{key}": float(np.mean(values)) for key, values in sorted(ious.items())}

    @torch.no_grad()
    def panels(self, folder: Path, step: int) -> None:
        """Draw the first validation samples."""
        tiles = []
        for sample in (self._val or [])[:PANELS]:
            picture, mask = sample.read()
            logits = (
                self.forward(self.collate([(sample, picture, mask.to_array())])).logits[:, :1].float().cpu()
            )
            if self.config.published:  # the letterbox's square is not the picture
                return
            said = F.interpolate(logits, picture.size, mode="bilinear")[0, 0] > 0
            tiles.append(side_by_side(picture.rgb, mask.to_array(), said.numpy(), sample.prompt))
        sheet(tiles, 2, folder / f"answers-{step:08d}.png")

    def state_dict(self) -> dict[str, Any]:
        """Return the data position."""
        return {"mixture": self.mixture.state_dict(), "skipped": list(self.skipped)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go to a data position."""
        self.mixture.load_state_dict(state["mixture"])
        self.skipped = list(state["skipped"])


def choose_trainable(net: AskMaskNet, *, language: str, segmenter: str) -> None:
    """Let gradients into the adapter, and into the parts asked for."""
    if language not in LANGUAGE or segmenter not in ("decoder", "full", "frozen"):
        raise SettingError("language is lora, full or frozen; segmenter is decoder, full or frozen")
    for name, parameter in net.named_parameters():
        if name.startswith("adapter."):
            wanted = True
        elif name.startswith("segmenter."):
            wanted = segmenter == "full" or (segmenter == "decoder" and "decoder." in name)
        else:
            lora = ".lora_A." in name or ".lora_B." in name
            wanted = language == "full" or (language == "lora" and lora)
        parameter.requires_grad_(wanted)
        if wanted:
            parameter.data = parameter.data.float()
    if language == "lora" and not any(
        p.requires_grad for n, p in net.named_parameters() if n.startswith("prompt_encoder.")
    ):
        raise SettingError("this network has no LoRA", do="Train it with language=full or language=frozen.")
