"""AdamW with its parameter groups, and the learning rate of a step: linear warm-up, then down to a floor."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from askmask.errors import SettingError

FALLS = ("cosine", "linear")


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Learning rate over optimiser steps. Floor and warm-up share as in the paper (section 5)."""

    lr: float = 1e-4
    min_lr: float = 1e-6
    warmup: float = 0.03  # share of all steps
    fall: str = "cosine"  # or "linear"

    def __post_init__(self) -> None:
        if self.fall not in FALLS:
            raise SettingError(f"fall is one of {', '.join(FALLS)}", got=repr(self.fall))

    def at(self, step: int, steps: int) -> float:
        """Return the rate of optimiser step `step` (from 0) of `steps`; never 0, not even at step 0."""
        warm = max(1, round(self.warmup * steps))
        if step < warm:
            return self.lr * (step + 1) / warm
        share = min(1.0, (step - warm) / max(1, steps - warm))
        if self.fall == "linear":
            return self.lr + (self.min_lr - self.lr) * share
        return self.min_lr + 0.5 * (self.lr - self.min_lr) * (1 + math.cos(math.pi * share))


def adamw(
    named: Iterable[tuple[str, nn.Parameter]], *, lr: float, weight_decay: float, beta2: float = 0.999
) -> torch.optim.AdamW:
    """Make AdamW over the parameters that require gradients; none decays that is a bias, norm or scalar.

    Parameters must be fp32: in bf16 an update below 1/256 of a weight is lost, and three of the published run's
    parameters never moved. bf16 belongs into autocast.
    """
    decayed: list[Tensor] = []
    plain: list[Tensor] = []
    for name, parameter in named:
        if not parameter.requires_grad:
            continue
        if parameter.dtype != torch.float32:
            raise TypeError(f"{name} is {parameter.dtype}; train fp32 parameters under autocast instead")
        (decayed if parameter.ndim > 1 else plain).append(parameter)
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": plain, "weight_decay": 0.0}]
    return torch.optim.AdamW([g for g in groups if g["params"]], lr=lr, betas=(0.9, beta2), eps=1e-8)
