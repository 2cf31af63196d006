"""SAM2: image encoder, prompt encoder and mask decoder (transformers' Sam2Model), for networks and for clicks.

Letters: B prompts, N prompt tokens, C decoder channels, S side of the input square (1024).
Source: Ravi et al. 2024, "SAM 2"; ConverSeg feeds its decoder language instead of clicks.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from askmask.errors import PromptError
from askmask.imaging.resize import Letterbox
from askmask.model.seams import Features, Marks, MaskOutput, Prompts

# ImageNet statistics, as SAM2 was trained with.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
HALF = (0.5, 0.5, 0.5)  # both of SAM 3
DECODE_AT_ONCE = 16  # prompts a decoder call: a prompt's maps take about 30 MB at C = 256


class Sam2Segmenter(nn.Module):
    """SAM2 behind the Segmenter seam; prompts of any number of tokens, each decoded as if alone.

    `given`: the sizes of a network whose weights are loaded later, or a model with its weights.
    """

    def __init__(self, given: dict[str, Any] | nn.Module):
        super().__init__()
        settings: Any
        self.model: Any
        if isinstance(
            given, nn.Module
        ):  # Sam2Model, or EdgeTamModel or Sam3TrackerModel, which have the same parts
            self.model, settings = given, given.config
        else:
            from transformers import Sam2Config, Sam2Model  # seconds: not every training has a SAM2

            settings = Sam2Config(**given)
            # Trained and used through one mask token: SAM2's fallback to the other three would hide what was trained.
            settings.mask_decoder_config.dynamic_multimask_via_stability = False
            self.model = Sam2Model(settings)
        self.channels: int = settings.mask_decoder_config.hidden_size
        self.image_size: int = settings.prompt_encoder_config.image_size
        self.mask_size = self.image_size // 4
        self._normal = (HALF, HALF) if settings.model_type.startswith("sam3") else (MEAN, STD)

    def prepare(self, rgb: np.ndarray, *, letterbox: bool) -> Tensor:
        """Turn uint8 [H, W, 3] into float [3, S, S]: stretched, or kept in shape between black bars."""
        side = self.image_size
        if letterbox:
            rgb = Letterbox.of(rgb.shape[:2], side).pad(rgb)
        pixels = torch.from_numpy(rgb).permute(2, 0, 1).float() / 255  # [3, H, W]
        # Resized as float: resizing 8-bit pixels rounds, and differs from the published pictures by up to 1/255.
        pixels = F.interpolate(pixels[None], (side, side), mode="bilinear", antialias=True)[0]
        mean, spread = (torch.tensor(values)[:, None, None] for values in self._normal)
        return (pixels - mean) / spread

    def encode(self, pixels: Tensor) -> Features:
        """Encode [B, 3, S, S] to maps [B, C/8, S/4, S/4], [B, C/4, S/8, S/8], [B, C, S/16, S/16].

        Gradients flow (into conv_s0 and conv_s1, and the encoder where it is not frozen).
        """
        maps = self.model.get_image_features(pixels, return_dict=True).fpn_hidden_states  # each [h*w, B, C_i]
        sizes = self.model.backbone_feature_sizes
        maps = list(maps[: len(sizes)])  # SAM 3 may give a coarser one, which its decoder does not use
        maps[-1] = maps[-1] + self.model.no_memory_embedding
        return Features(
            tuple(
                m.permute(1, 2, 0).reshape(len(pixels), -1, *size)
                for m, size in zip(maps, sizes, strict=True)
            )
        )

    def mark(self, marks: Marks) -> Prompts:
        """Encode points, a box and a mask to begin from with SAM2's own prompt encoder."""
        if not len(marks.points) and marks.box is None:
            raise PromptError("a mask alone says not what to change", do="Add a point or a box.")
        encode: Any = self.model.get_prompt_embeddings  # typed for integers alone
        sparse, dense = encode(
            input_points=marks.points[None, None] * self.image_size if len(marks.points) else None,
            input_labels=marks.inside[None, None].int() if len(marks.points) else None,
            input_boxes=None if marks.box is None else marks.box[None, None] * self.image_size,
            input_masks=None if marks.mask is None else marks.mask[None, None],
        )  # [1, 1, N, C], [1, C, h, w]
        real = torch.ones(sparse.shape[1:3], dtype=torch.bool, device=sparse.device)
        return Prompts(sparse[0], real, dense, torch.zeros(1, dtype=torch.long, device=sparse.device))

    @property
    def unmarked(self) -> Tensor:
        """The dense prompt where no mask is given, [1, C]."""
        dense: Tensor = self.model.prompt_encoder.no_mask_embed.weight
        return dense

    def decode(self, features: Features, prompts: Prompts, *, multimask: bool) -> MaskOutput:
        """Decode Q masks to logits [Q, K, S/4, S/4]: K = 1, the supervised token, or with `multimask` 3.

        SAM2's decoder knows no padding among its prompt tokens, so prompts are decoded by equal length: what
        else is in the batch cannot change an answer.
        """
        lengths = prompts.sparse_mask.sum(1)  # [Q]
        position = self.model.get_image_wide_positional_embeddings()  # [1, C, h, w]
        order: list[Tensor] = []
        parts: list[tuple[Tensor, Tensor, Tensor]] = []
        for length in lengths.unique().tolist():
            for rows in (lengths == length).nonzero()[:, 0].split(DECODE_AT_ONCE):
                order.append(rows)
                sparse = prompts.sparse[rows][prompts.sparse_mask[rows]].reshape(len(rows), length, -1)
                asked = prompts.row[rows]
                parts.append(
                    self._decode_equal(features, asked, sparse, prompts.dense[rows], position, multimask)
                )
        back = torch.cat(order).argsort()
        logits, scores, presence = (torch.cat(part)[back] for part in zip(*parts, strict=True))
        return MaskOutput(logits, scores, presence, prompts.row)

    def decode_geometry(
        self,
        features: Features,
        *,
        points: Tensor | None = None,
        labels: Tensor | None = None,
        boxes: Tensor | None = None,
        masks: Tensor | None = None,
        multimask: bool,
    ) -> tuple[Tensor, Tensor]:
        """Decode N prompts on one picture through SAM2's own prompt encoder.

        Returns logits [N, K, S/4, S/4] and scores [N, K], K = 3 with `multimask`, else 1. `points` [N, P, 2] and
        `boxes` [N, 4] (x0, y0, x1, y1) in pixels of the input square; `labels` [N, P]: 1 inside, 0 outside, -1 no
        point; `masks` [N, 1, S/4, S/4] are logits of an earlier answer, for N = 1.
        """
        out = self.model(
            image_embeddings=list(features.maps),
            input_points=None if points is None else points[None],
            input_labels=None if labels is None else labels[None],
            input_boxes=None if boxes is None else boxes[None],
            input_masks=masks,
            multimask_output=multimask,
        )
        return out.pred_masks[0], out.iou_scores[0]

    def _decode_equal(
        self,
        features: Features,
        rows: Tensor,
        sparse: Tensor,
        dense: Tensor,
        position: Tensor,
        multimask: bool,
    ) -> tuple[Tensor, Tensor, Tensor]:
        fine, middle, coarse = (
            m.expand(len(rows), -1, -1, -1) if len(m) == 1 else m[rows] for m in features.maps
        )
        dense = dense[:, :, None, None] if dense.dim() == 2 else dense
        masks, scores, _, presence = self.model.mask_decoder(
            image_embeddings=coarse,
            image_positional_embeddings=position.expand(len(rows), -1, -1, -1),
            sparse_prompt_embeddings=sparse[:, None],  # [B, 1, N, C]
            dense_prompt_embeddings=dense.expand(-1, -1, *coarse.shape[-2:]),
            multimask_output=multimask,
            high_resolution_features=[fine, middle],
        )
        return masks[:, 0], scores[:, 0], presence[:, 0, 0]
