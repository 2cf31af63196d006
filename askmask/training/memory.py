"""Memory that training needs before any activation: weights, gradients, AdamW's two means."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from askmask.errors import SettingError


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


def _free_memory() -> int | None:
    """Return the bytes free, None where the system does not say (macOS, Windows)."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None
