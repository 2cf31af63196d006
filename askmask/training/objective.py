"""What phases one and two minimise: features of a batch's pictures, the network's masks, and their losses.

The image encoder is frozen and its features are cached on disk, unless it is asked to train. Presence and score heads
have losses of their own, which the published training lacks.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from askmask.model.net import AskMaskNet
from askmask.model.seams import Features, MaskOutput
from askmask.training.batches import Batch
from askmask.training.feature_cache import FeatureCache, stack
from askmask.training.losses import iou_of, mask_loss, presence_loss, score_loss
from askmask.training.region_cache import weights_hash


class Objective:
    """Batch -> loss and figures, by the weights of now."""

    def __init__(
        self,
        net: AskMaskNet,
        *,
        presence_weight: float = 0.1,
        score_weight: float = 0.1,
        cache: str = "",
        cache_gb: float = 20.0,
        bf16: bool = False,
    ):
        """`cache`: folder of features, used if no parameter that makes them is trained; `bf16`: autocast."""
        self.net, self.bf16 = net, bf16
        self.presence_weight, self.score_weight = presence_weight, score_weight
        self.segmenter: nn.Module = net.get_submodule("segmenter")
        self.encoder_trains = _encoder_trains(self.segmenter)
        self.cache = None
        if cache and not self.encoder_trains:
            encoder = nn.ModuleList(list(self.segmenter.children()))
            self.cache = FeatureCache(cache, weights=weights_hash(encoder), limit_gb=cache_gb)

    def features(self, batch: Batch) -> Features:
        """Encode the pictures of a batch; see `encode`."""
        return self.encode(batch.pixels)

    def encode(self, pixels: Tensor) -> Features:
        """Encode pictures [B, 3, S, S] one by one, so that what else is there changes no bit, or read the cache."""
        found = [
            self.cache.get(one, self._encode) if self.cache else self._encode(one[None]) for one in pixels
        ]
        return stack(found)

    def _encode(self, pixels: Tensor) -> Features:
        with torch.set_grad_enabled(self.encoder_trains and torch.is_grad_enabled()):
            return self.net.segmenter.encode(pixels.to(self.net.device))

    def masks(self, batch: Batch, features: Features) -> MaskOutput:
        """Run the network."""
        with torch.autocast(self.net.device.type, torch.bfloat16, enabled=self.bf16):
            return self.net(features, batch.tokens)

    def __call__(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """Return the mean loss of a batch and figures to log."""
        training_mode(self.net)
        features, batch = self.features(batch), batch.to(self.net.device)
        out = self.masks(batch, features)
        loss, figures = self.losses(batch, out)
        with torch.no_grad():
            figures["iou"] = float(iou_of(out.logits[:, 0].float(), batch.target, batch.counted).mean())
        return loss, figures

    def losses(self, batch: Batch, out: MaskOutput) -> tuple[Tensor, dict[str, float]]:
        """BCE + 0.25 Dice on the supervised mask; presence and score besides."""
        logits = out.logits.float()
        loss = mask_loss(logits[:, 0], batch.target, batch.counted)
        figures = {"mask": float(loss.detach())}
        presence = presence_loss(out.presence_logits.float(), batch.present)
        score = score_loss(out.scores.float(), logits, batch.target, batch.counted)
        loss = loss + self.presence_weight * presence + self.score_weight * score
        return loss, figures | {"presence": float(presence.detach()), "score": float(score.detach())}


def training_mode(net: AskMaskNet) -> None:
    """Switch on drop-out and moving statistics where something trains, and nowhere else."""
    net.eval()
    for part in (net.get_submodule("prompt_encoder"), net.get_submodule("adapter")):
        if any(parameter.requires_grad for parameter in part.parameters()):
            part.train()
    for module in net.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and not any(
            parameter.requires_grad for parameter in module.parameters(recurse=False)
        ):
            module.eval()


def _encoder_trains(segmenter: nn.Module) -> bool:
    return any(p.requires_grad and "decoder." not in name for name, p in segmenter.named_parameters())
