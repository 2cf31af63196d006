"""The training loop: one page, for every stage. A Task brings data and loss; the loop brings everything else.

Exact resume: model, optimiser, step, random states and the data position are one state dict. Given the same
files and thread count, a run killed at any moment and started again logs the same losses bit for bit on CPU.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from askmask.errors import SettingError
from askmask.training.optimiser import Schedule, adamw
from askmask.training.run_folder import RunFolder


class Task(Protocol):
    """One stage of training: what is trained, on what, towards what."""

    module: nn.Module  # everything whose state belongs into the checkpoint

    def next_batch(self) -> Any:
        """Return the next micro-batch and move the data position on."""

    def loss(self, batch: Any, progress: float) -> tuple[Tensor, dict[str, float]]:
        """Return the mean loss over the micro-batch and figures to log. `progress` runs from 0 to 1."""

    def evaluate(self) -> dict[str, float]:
        """Score the validation data; {} if there are none."""

    def state_dict(self) -> dict[str, Any]:
        """Return the data position."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go to a data position."""


@dataclass(frozen=True, kw_only=True)
class LoopConfig:
    """How long and how often. A step is one optimiser step of `accumulate` micro-batches."""

    steps: int = 1000
    accumulate: int = 1
    schedule: Schedule = Schedule()
    weight_decay: float = 0.05
    clip: float = 1.0
    log_every: int = 20
    save_every: int = 200
    evaluate_every: int = 500
    seed: int = 0


@dataclass
class Progress:
    """What a watcher is told after each step."""

    step: int
    steps: int
    figures: dict[str, float]
    seconds: float


def train(task: Task, config: LoopConfig, folder: RunFolder) -> Iterator[Progress]:
    """Train to the end, or on from the folder's newest checkpoint; yields after every step."""
    if config.accumulate < 1 or config.steps < 1:
        raise SettingError("steps and accumulate must be at least 1")
    torch.manual_seed(config.seed)
    random.seed(config.seed)
    np.random.seed(config.seed % (1 << 32))
    optimiser = adamw(
        task.module.named_parameters(), lr=config.schedule.lr, weight_decay=config.weight_decay
    )
    step = 0
    if (state := folder.load()) is not None:
        task.module.load_state_dict(state["model"])
        optimiser.load_state_dict(state["optimiser"])
        task.load_state_dict(state["task"])
        _set_random_state(state["random"])
        step = state["step"]
        folder.rewind_log(step)
    sums: dict[str, float] = {} if state is None else state["sums"]
    counted = 0 if state is None else state["counted"]
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    while step < config.steps:
        began = time.monotonic()
        lr = config.schedule.at(step, config.steps)
        for group in optimiser.param_groups:
            group["lr"] = lr
        optimiser.zero_grad(set_to_none=True)
        figures: dict[str, float] = {}
        for _ in range(config.accumulate):
            batch = task.next_batch()
            loss, part = task.loss(batch, step / config.steps)
            (loss / config.accumulate).backward()
            for name, value in {"loss": float(loss.detach()), **part}.items():
                figures[name] = figures.get(name, 0.0) + value / config.accumulate
        norm = float(torch.nn.utils.clip_grad_norm_(parameters, config.clip))
        if not np.isfinite(norm):
            raise FloatingPointError(f"step {step}: the gradient's norm is {norm}")
        optimiser.step()
        step += 1
        seconds = time.monotonic() - began
        counted += 1
        for name, value in (figures | {"norm": norm, "seconds": seconds}).items():
            sums[name] = sums.get(name, 0.0) + value
        if step % config.log_every == 0 or step == config.steps:
            row = {name: value / counted for name, value in sums.items()}
            folder.log({"step": step, "lr": lr, **{k: float(f"{v:.6g}") for k, v in row.items()}})
            sums, counted = {}, 0
        if step % config.evaluate_every == 0 or step == config.steps:
            scores = task.evaluate()
            if scores:
                folder.log({"step": step, **{f"val/{k}": float(f"{v:.6g}") for k, v in scores.items()}})
        if step % config.save_every == 0 or step == config.steps:
            state = _state(task, optimiser, step)
            folder.save(step, state | {"sums": sums, "counted": counted})
        yield Progress(step, config.steps, figures | {"lr": lr, "norm": norm}, seconds)


def _state(task: Task, optimiser: torch.optim.Optimizer, step: int) -> dict[str, Any]:
    return {
        "step": step,
        "model": task.module.state_dict(),
        "optimiser": optimiser.state_dict(),
        "task": task.state_dict(),
        "random": _random_state(),
    }


def _random_state() -> dict[str, Any]:
    kind, keys, position, has_gauss, gauss = np.random.get_state()
    numpy_state = json.dumps([kind, keys.tolist(), position, has_gauss, gauss])
    return {
        "torch": torch.get_rng_state(),
        "python": json.dumps(random.getstate()),
        "numpy": numpy_state,
    }


def _set_random_state(state: dict[str, Any]) -> None:
    torch.set_rng_state(state["torch"])
    version, keys, gauss = json.loads(state["python"])
    random.setstate((version, tuple(keys), gauss))
    kind, numbers, position, has_gauss, cached = json.loads(state["numpy"])
    np.random.set_state((kind, np.array(numbers, np.uint32), position, has_gauss, cached))
