"""Memory that training needs before any activation: weights, gradients, AdamW's two means."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import init_empty_weights
from torch import nn

from askmask.errors import SettingError
from askmask.model.adapter import Adapter
from askmask.model.build import BUILDING
from askmask.model.new import lora_settings
from askmask.model.published import SAM2_SIZES, sam2_config
from askmask.model.qwen import with_lora
from askmask.model.sam2 import Sam2Segmenter
from askmask.training.segmentation import choose_trainable

_TEXT = {
    "model_type": "qwen2_5_vl_text",
    "max_position_embeddings": 128_000,
    "rope_parameters": {"rope_type": "default", "mrope_section": [16, 24, 24], "rope_theta": 1_000_000.0},
}
_VISION = {
    "model_type": "qwen2_5_vl",
    "depth": 32,
    "hidden_size": 1280,
    "intermediate_size": 3420,
    "num_heads": 16,
    "window_size": 112,
    "fullatt_block_indexes": [7, 15, 23, 31],
}
# Sizes of Qwen2.5-VL-Instruct. Source: the config.json of each.
VLM_SIZES: dict[str, dict[str, Any]] = {
    "3b": {"hidden_size": 2048, "intermediate_size": 11_008, "num_hidden_layers": 36, "num_attention_heads": 16,
           "num_key_value_heads": 2, "vocab_size": 151_936},
    "7b": {"hidden_size": 3584, "intermediate_size": 18_944, "num_hidden_layers": 28, "num_attention_heads": 28,
           "num_key_value_heads": 4, "vocab_size": 152_064},
}  # fmt: skip
LARGE = (144, (2, 6, 36, 4))  # SAM2's and SAM2.1's hiera-large, of SAM2_SIZES


@dataclass(frozen=True)
class Memory:
    """Bytes of all weights, and how many numbers train; gradients and means are single precision."""

    weights: int
    trained: int

    @property
    def gradients_and_means(self) -> int:
        """Bytes of a gradient and two means for each number that trains."""
        return 12 * self.trained

    @property
    def total(self) -> int:
        """Bytes before any activation."""
        return self.weights + self.gradients_and_means

    def __str__(self) -> str:
        gib = 2**30
        return (
            f"{self.total / gib:.1f} GiB: {self.weights / gib:.1f} for the weights, "
            f"{self.gradients_and_means / gib:.1f} for gradients and AdamW's means of {self.trained / 1e6:.1f} "
            "million trained numbers; activations come on top and grow with batch= and the pictures"
        )


def memory_of(net: nn.Module) -> Memory:
    """Count a network whose trainable parameters are chosen; its weights may be on the meta device."""
    parameters = list(net.parameters())
    return Memory(
        sum(parameter.numel() * parameter.element_size() for parameter in parameters),
        sum(parameter.numel() for parameter in parameters if parameter.requires_grad),
    )


def check_memory(net: nn.Module) -> dict[str, Any]:
    """Return what a run should say of its memory. Raises SettingError if it does not fit where the weights are."""
    memory, device = memory_of(net), next(net.parameters()).device
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else _free_memory()
    if free is not None and memory.total > free + memory.weights:
        raise SettingError(
            f"weights and optimiser need {memory.total / 2**30:.1f} GiB on {device}",
            got=f"{(free + memory.weights) / 2**30:.1f} GiB free",
            do="Train less (language=lora, segmenter=decoder), or on several devices with accelerate launch.",
        )
    return {
        "weights": memory.weights,
        "trained_parameters": memory.trained,
        "gradients_and_means": memory.gradients_and_means,
        "free": None if free is None else free + memory.weights,
    }


def estimate(size: str, *, rank: int = 16) -> Memory:
    """Count Qwen2.5-VL of a size ("3b", "7b") with SAM2 hiera-large in phases one and two, without any weights."""
    if size not in VLM_SIZES:
        raise SettingError(
            "no such size of Qwen2.5-VL", got=repr(size), do=f"Use one of: {', '.join(VLM_SIZES)}."
        )
    return memory_of(_on_meta(VLM_SIZES[size], rank))


def _on_meta(text: Mapping[str, Any], rank: int) -> nn.Module:
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLModel

    width = text["hidden_size"]
    vlm: dict[str, Any] = {
        "text_config": _TEXT | dict(text),
        "vision_config": _VISION | {"out_hidden_size": width},
    }
    heads, global_blocks, windows = SAM2_SIZES[LARGE]
    with BUILDING, init_empty_weights(include_buffers=False):
        language: Any = Qwen2_5_VLModel(Qwen2_5_VLConfig(**vlm))
        language = with_lora(language.to(torch.bfloat16), lora_settings(rank))
        segmenter = Sam2Segmenter(sam2_config(*LARGE, heads, global_blocks, windows))
        net = nn.ModuleDict(
            {
                "segmenter": segmenter,
                "prompt_encoder": nn.ModuleDict({"base": language}),
                "adapter": Adapter(width, segmenter.channels),
            }
        )
    choose_trainable(net, language="lora", segmenter="decoder")
    return net


def _free_memory() -> int | None:
    """Return the bytes free, None where the system does not say (macOS, Windows)."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None
