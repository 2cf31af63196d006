"""The training loop: one page, for every stage. A Task brings data and loss; the loop brings everything else.

Exact resume: weights, optimiser, step, random states and the data position are one state dict. Given the same
files and thread count, a run of one process that is killed at any moment and started again logs the same losses bit
for bit on CPU. Several processes go on with the same data; their noise (crops, drop-out) is another after a stop.
Logged figures are the first process's share, `norm` is of all.

A step is one optimiser step of `accumulate` micro-batches, so no gradient is ever left over.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from askmask.errors import AskMaskError, CheckpointError
from askmask.training.devices import Devices, rank
from askmask.training.optimiser import Schedule, adamw
from askmask.training.randomness import random_state, seed_all, set_random_state
from askmask.training.run_folder import RunFolder, check_kinds, weights_in

SEED_STEP = 1009  # between the seeds of processes


class Task(Protocol):
    """One stage of training: what is trained, on what, towards what."""

    saves_all: bool  # checkpoints hold every weight, else only those that train

    @property
    def module(self) -> nn.Module:
        """What is trained."""

    def next_batch(self, progress: float) -> Any:
        """Return the next micro-batch and move the data position on. `progress` runs from 0 to 1."""

    def loss(self, batch: Any, progress: float) -> tuple[Tensor, dict[str, float]]:
        """Return the mean loss over the micro-batch and figures to log. `progress` is that of its `next_batch`."""

    def evaluate(self) -> dict[str, float]:
        """Score the validation data; {} if there are none."""

    def panels(self, folder: Path, step: int) -> None:
        """Draw a few validation answers as PNG files into `folder`."""

    def state_dict(self) -> dict[str, Any]:
        """Return the data position."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go to a data position."""


@dataclass(frozen=True, kw_only=True)
class LoopConfig:
    """How long and how often."""

    steps: int = 1000
    accumulate: int = 1
    schedule: Schedule = field(default_factory=Schedule)
    weight_decay: float = 0.05
    beta2: float = 0.999  # of AdamW
    clip: float = 1.0
    log_every: int = 20
    save_every: int = 200
    evaluate_every: int = 500
    seed: int = 0


@dataclass(frozen=True)
class Told:
    """What a watcher is told after each step."""

    step: int
    steps: int
    figures: dict[str, float]


def train(task: Task, config: LoopConfig, folder: RunFolder) -> Iterator[Told]:
    """Train to the end, or on from the folder's newest checkpoint; yields after every step."""
    seed_all(config.seed + SEED_STEP * rank())
    optimiser: torch.optim.Optimizer = adamw(
        task.module.named_parameters(),
        lr=config.schedule.lr,
        weight_decay=config.weight_decay,
        beta2=config.beta2,
    )
    step, sums, counted = 0, {}, 0
    if (state := folder.load()) is not None:
        try:
            load_weights(task, weights_in(state, folder.root), folder.root)
            optimiser.load_state_dict(state["optimiser"])
            task.load_state_dict(state["task"])
            step, sums, counted = state["step"], dict(state["sums"]), int(state["counted"])
            sums = {name: float(value) for name, value in sums.items()}
            if rank() == 0:
                set_random_state(state["random"])
        except AskMaskError:
            raise
        except Exception as error:  # what torch says of a state that is another's has no one kind
            raise CheckpointError(
                f"the newest checkpoint in {folder.root} does not belong to this run",
                got=f"{type(error).__name__}: {str(error)[:200]}",
                do="Delete it to go on from the one before.",
            ) from error
        if rank() != 0:  # the checkpoint holds the first process's; the others must not repeat its noise
            seed_all(config.seed + SEED_STEP * rank() + step)
    if rank() == 0:
        folder.rewind_log(step)  # also where a run was killed before its first checkpoint
    devices = Devices.here(cpu=next(task.module.parameters()).device.type == "cpu")
    compute, optimiser = devices.prepare(LossOf(task), optimiser)
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    while step < config.steps:
        lr = config.schedule.at(step, config.steps)
        for group in optimiser.param_groups:
            group["lr"] = lr
        optimiser.zero_grad(set_to_none=True)
        figures: dict[str, float] = {}
        for number in range(config.accumulate):
            batch = task.next_batch(step / config.steps)
            with devices.gradients_wait(compute, number < config.accumulate - 1):
                loss, part = compute(batch, step / config.steps)
                devices.backward(loss / config.accumulate)
            for name, value in {"loss": float(loss.detach()), **part}.items():
                figures[name] = figures.get(name, 0.0) + value / config.accumulate
        norm = float(devices.clip(parameters, config.clip))
        if not np.isfinite(norm):
            raise AskMaskError(
                f"step {step + 1}: the gradient is not finite",
                got=norm,
                do=f"Lower lr. {folder.newest_said()}",
            )
        optimiser.step()
        step += 1
        counted += 1
        for name, value in (figures | {"norm": norm}).items():
            sums[name] = sums.get(name, 0.0) + value
        last = step == config.steps
        if step % config.log_every == 0 or last:
            folder.log(
                step, {"lr": lr, **{name: value / counted for name, value in sums.items()}}, devices.main
            )
            sums, counted = {}, 0
        if (step % config.evaluate_every == 0 or last) and devices.main:
            if scores := task.evaluate():
                folder.log(step, {f"val/{name}": value for name, value in scores.items()})
            task.panels(folder.root / "panels", step)
        if (step % config.save_every == 0 or last) and devices.main:
            state = _state(task, optimiser, step) | {"sums": sums, "counted": counted}
            folder.save(step, state)
        yield Told(step, config.steps, figures | {"lr": lr, "norm": norm})


class LossOf(nn.Module):
    """The task's loss as a module's forward: what several processes must wrap to share gradients."""

    def __init__(self, task: Task):
        super().__init__()
        self.net = task.module
        self._task = [task]  # in a list: no submodule

    def forward(self, batch: Any, progress: float) -> tuple[Tensor, dict[str, float]]:
        """Return the task's loss and figures."""
        return self._task[0].loss(batch, progress)


def weights_of(task: Task) -> dict[str, Tensor]:
    """Return the weights a checkpoint holds: those that train, and all buffers, which move without a gradient."""
    state = task.module.state_dict()
    if task.saves_all:
        return state
    named = task.module.named_parameters(remove_duplicate=False)
    frozen = {name for name, parameter in named if not parameter.requires_grad}
    return {name: value for name, value in state.items() if name not in frozen}


def load_weights(task: Task, weights: dict[str, Tensor], where: object) -> None:
    """Load what `weights_of` returned. Raises CheckpointError if the run trains something else by now."""
    wanted = weights_of(task)
    if odd := sorted(wanted.keys() ^ weights.keys()):
        raise CheckpointError(
            f"the run in {where} trains other weights",
            got=f"{len(odd)} differ: {odd[:4]}",
            do="Use a new run=.",
        )
    check_kinds(weights, wanted, where)
    task.module.load_state_dict(weights, strict=False)


def _state(task: Task, optimiser: torch.optim.Optimizer, step: int) -> dict[str, Any]:
    return {
        "step": step,
        "model": weights_of(task),
        "optimiser": optimiser.state_dict(),
        "task": task.state_dict(),
        "random": random_state(),
    }
