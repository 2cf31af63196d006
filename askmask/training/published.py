"""The published training step, for parity with it: its geometry, its visible padding, its one loss."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from askmask.imaging.files import Picture
from askmask.imaging.resize import Letterbox
from askmask.model.seams import Features, MaskOutput
from askmask.training.batches import Batch, Collate
from askmask.training.losses import mask_loss
from askmask.training.objective import Objective

EROSION = 5  # pixels at 1024: the published training shrinks masks by two pixels all round


class PublishedCollate(Collate):
    """Pictures as stored, letterboxed; masks eroded."""

    def pixels(self, picture: Picture) -> Tensor:
        """Return the network's input of one picture, [3, S, S]."""
        return self.segmenter.prepare(picture.as_stored(), letterbox=True)

    def target(self, truth: np.ndarray, ignore: np.ndarray | None) -> tuple[Tensor, Tensor]:
        """Return the eroded mask; every cell counts."""
        side = self.segmenter.mask_size
        return published_target(truth, side, self.segmenter.image_size), torch.ones(
            side, side, dtype=torch.bool
        )


class PublishedObjective(Objective):
    """BCE + 0.25 Dice alone, on a decoder that sees the padding of shorter prompts."""

    def masks(self, batch: Batch, features: Features) -> MaskOutput:
        """Run the network with rows of to_sparse's bias where a prompt is shorter than the batch's longest."""
        adapter = self.net.adapter
        prompts = adapter(self.net.prompt_encoder.encode_pairs(features, batch.tokens))
        leak = adapter.get_parameter("to_sparse.bias") * adapter.get_parameter("scale")
        prompts = replace(
            prompts,
            sparse=torch.where(
                prompts.sparse_mask[:, :, None], prompts.sparse, leak.expand_as(prompts.sparse)
            ),
            sparse_mask=torch.ones_like(prompts.sparse_mask),
        )
        return self.net.segmenter.decode(features, prompts, multimask=False)

    def losses(self, batch: Batch, out: MaskOutput) -> tuple[Tensor, dict[str, float]]:
        """Return the mask's loss."""
        loss = mask_loss(out.logits[:, 0].float(), batch.target)
        return loss, {"mask": float(loss.detach())}


def published_target(mask: np.ndarray, side: int, square: int) -> Tensor:
    """Letterbox bool [H, W] to `square`, erode, take every fourth pixel, as the published training does."""
    box = Letterbox.of(mask.shape, square)
    rows = (
        (np.arange(box.inner[0]) * (mask.shape[0] / box.inner[0]))
        .astype(np.int64)
        .clip(max=mask.shape[0] - 1)
    )
    columns = (np.arange(box.inner[1]) * (mask.shape[1] / box.inner[1])).astype(np.int64)
    inner = mask[rows[:, None], columns.clip(max=mask.shape[1] - 1)[None]]
    # What lies beyond the border counts as inside: only true edges are worn off.
    whole = F.pad(torch.from_numpy(inner).float()[None, None], [EROSION // 2] * 4, value=1.0)
    eroded = -F.max_pool2d(-whole, EROSION, 1)
    canvas = torch.zeros(1, 1, square, square)
    canvas[0, 0, box.rows, box.columns] = eroded[0, 0]
    return F.interpolate(canvas, (side, side), mode="nearest")[0, 0]
