"""A run's folder: its settings, its log and its checkpoints, written so that a kill at any moment loses nothing.

RUN/askmask-run.json       what made it: version, commit, stage, settings that decide what is learnt
RUN/config.json            recipe, versions, commit, what was read with its hashes (before step 0)
RUN/log.jsonl              one object per logged step
RUN/checkpoints/step-*.pt  model, optimiser, random states, data position; the newest two
RUN/panels/*.png           validation pictures        RUN/tensorboard/
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from askmask.errors import CheckpointError
from askmask.runs.append_log import AppendLog
from askmask.runs.json_text import read_object, read_rows
from askmask.runs.manifest import output_folder
from askmask.runs.whole_files import open_whole, write_json, write_rows

KEEP = 2
_CHECKPOINT = re.compile(r"step-\d{8}\.pt")


class RunFolder:
    """Files of one run. Nothing is written before something is to be kept."""

    def __init__(self, root: str | Path):
        self.root = Path(root)
        self.log_path = self.root / "log.jsonl"
        self._log: AppendLog | None = None
        self._board: Any = None

    @contextmanager
    def held(self, facts: Mapping[str, Any] | None = None) -> Iterator[None]:
        """Keep other processes from training here.

        Raises SettingError if one does, or if the folder holds something else than a run of the same `facts`.
        """
        adopted = ("config.json", "checkpoints")  # runs of versions without a manifest
        with output_folder(self.root, "askmask train", facts, adopt=adopted, option="run="):
            try:
                yield
            finally:
                self._close_log()

    def config(self) -> dict[str, Any]:
        """Read the settings that the run began or last went on with; {} in a new folder."""
        path = self.root / "config.json"
        return read_object(path) if path.is_file() else {}

    def write_config(self, config: dict[str, Any]) -> None:
        """Write the run's settings."""
        write_json(self.root / "config.json", config)

    def log(self, step: int, figures: dict[str, float], write: bool = True) -> None:
        """Append one row to log.jsonl, and to TensorBoard's files where it is installed."""
        if not write:
            return
        if self._log is None:
            self._log = AppendLog(self.log_path)
        self._log.append({"step": step} | {name: float(f"{value:.8g}") for name, value in figures.items()})
        if self._board is None:
            self._board = _tensorboard(self.root / "tensorboard", step)
        for name, value in figures.items() if self._board else ():
            self._board.add_scalar(name if "/" in name else f"train/{name}", value, step)

    def rewind_log(self, step: int) -> None:
        """Drop what was logged after `step`: those steps will be done again."""
        self._close_log()
        if self.log_path.exists():
            rows = (row for _, row in read_rows(self.log_path, lambda *_: None))  # but a line cut by a kill
            write_rows(self.log_path, [row for row in rows if row.get("step", 0) <= step])

    def _close_log(self) -> None:
        if self._log is not None:
            self._log.close()
            self._log = None

    def checkpoints(self) -> list[Path]:
        """Return the finished checkpoints, oldest first."""
        found = (self.root / "checkpoints").glob("step-*.pt")
        return sorted(path for path in found if _CHECKPOINT.fullmatch(path.name))

    def save(self, step: int, state: dict[str, Any]) -> Path:
        """Write a checkpoint whole or not at all, and let all but the newest go.

        Raises CheckpointError for weights that are not finite: the one before stays the newest.
        """
        check_finite(state.get("model", {}), f"step {step}", f"Lower lr. {self.newest_said()}")
        path = self.root / "checkpoints" / f"step-{step:08d}.pt"
        with open_whole(path) as file:
            torch.save(state, file)
        for old in self.checkpoints()[:-KEEP]:
            old.unlink()
        return path

    def newest_step(self) -> int:
        """Return the step of the newest checkpoint, 0 if there is none."""
        found = self.checkpoints()
        return int(found[-1].stem.removeprefix("step-")) if found else 0

    def newest_said(self) -> str:
        """Say what a run that stops here goes on from."""
        found = self.checkpoints()
        return f"The newest checkpoint is {found[-1].name}." if found else "There is no checkpoint yet."

    def load(self) -> dict[str, Any] | None:
        """Read the newest checkpoint; None in a new folder. Raises CheckpointError if it is damaged."""
        found = self.checkpoints()
        return read_state(found[-1]) if found else None


def read_state(path: Path) -> dict[str, Any]:
    """Read a checkpoint file of a run. Raises CheckpointError for what is none."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        if not isinstance(state, dict) or not isinstance(state.get("step"), int):
            raise TypeError("no step in it")
    except Exception as error:  # zip and pickle readers raise many kinds
        raise CheckpointError(
            f"{path} cannot be read",
            got=f"{type(error).__name__}: {str(error)[:120]}",
            do="Delete it to go on from the one before.",
        ) from error
    return state


def weights_in(state: Mapping[str, Any], where: object) -> dict[str, torch.Tensor]:
    """Return the weights of a checkpoint. Raises CheckpointError if there are none, or some are not finite."""
    weights = state.get("model")
    if not isinstance(weights, dict) or not all(
        isinstance(value, torch.Tensor) for value in weights.values()
    ):
        raise CheckpointError(f"{where} holds no weights of a run")
    check_finite(weights, str(where))
    return weights


def check_finite(weights: Mapping[str, torch.Tensor], where: str, do: str | None = None) -> None:
    """Raise CheckpointError naming weights that hold NaN or infinity."""
    bad = [name for name, value in weights.items() if not bool(torch.isfinite(value).all())]
    if bad:
        raise CheckpointError(f"{where}: the weights are not finite", got=", ".join(bad[:4]), do=do)


def check_kinds(
    weights: Mapping[str, torch.Tensor], wanted: Mapping[str, torch.Tensor], where: object
) -> None:
    """Raise CheckpointError naming weights that are whole numbers, or complex, where fractions are wanted.

    torch would cast them without a word. Counters may come as fractions: a network cast to one kind has them so.
    """
    bad = [
        name
        for name, value in weights.items()
        if wanted[name].is_floating_point() > value.is_floating_point()
    ]
    if bad:
        raise CheckpointError(
            f"{where}: weights of another kind than the network's", got=f"{bad[0]}: {weights[bad[0]].dtype}"
        )


def _tensorboard(folder: Path, step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return False
    # Steps from here on that an interrupted run had already written are hidden.
    return SummaryWriter(str(folder), purge_step=step, max_queue=1000, flush_secs=30)
