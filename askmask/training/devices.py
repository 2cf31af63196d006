"""One process, or several under `accelerate launch`: the few calls in which they differ."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

T = TypeVar("T")


class Devices:
    """How gradients are shared. `main` is the process that writes files."""

    def __init__(self, accelerator: Any = None):
        self.accelerator = accelerator

    @classmethod
    def here(cls, cpu: bool = False) -> Devices:
        """Look at the environment that `accelerate launch` (or torchrun) sets; `cpu` keeps the network there."""
        if processes() == 1:
            return cls()
        from accelerate import Accelerator, DistributedDataParallelKwargs

        # Without being told, accelerate takes processes on machines without CUDA for strangers to each other.
        cpu = cpu or not torch.cuda.is_available()
        # Not every step reaches every parameter (no click, no dense prompt): a gradient missing is a gradient of 0.
        ddp = DistributedDataParallelKwargs(find_unused_parameters=True)
        return cls(Accelerator(cpu=cpu, kwargs_handlers=[ddp]))

    @property
    def main(self) -> bool:
        """Whether this process writes logs and checkpoints."""
        return self.accelerator is None or self.accelerator.is_main_process

    def prepare(
        self, module: nn.Module, optimiser: torch.optim.Optimizer
    ) -> tuple[nn.Module, torch.optim.Optimizer]:
        """Wrap for DDP or FSDP, as accelerate's configuration says."""
        return (
            (module, optimiser) if self.accelerator is None else self.accelerator.prepare(module, optimiser)
        )

    def gradients_wait(self, module: nn.Module, wait: bool) -> AbstractContextManager[None]:
        """Share gradients only after the last micro-batch of a step."""
        return self.accelerator.no_sync(module) if self.accelerator and wait else nullcontext()

    def backward(self, loss: Tensor) -> None:
        """Back-propagate."""
        loss.backward() if self.accelerator is None else self.accelerator.backward(loss)

    def clip(self, parameters: list[Tensor], norm: float) -> Tensor:
        """Clip the gradient's norm, and return what it was."""
        if self.accelerator is None:
            return torch.nn.utils.clip_grad_norm_(parameters, norm)
        return self.accelerator.clip_grad_norm_(parameters, norm)


def rank() -> int:
    """Return this process's number, 0 when alone."""
    return int(os.environ.get("RANK", "0")) if processes() > 1 else 0


def processes() -> int:
    """Return how many processes train together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def own_share(drawn: Sequence[T]) -> Sequence[T]:
    """Return what of a draw is this process's; at least one item, so that none waits for the others' gradients.

    All processes make the same draws of data and each keeps its share: one position, saved once, serves them all.
    """
    return drawn[rank() :: processes()] if len(drawn) > rank() else drawn[:1]
