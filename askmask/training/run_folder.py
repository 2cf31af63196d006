"""A run's folder: its settings, its log and its checkpoints, written so that a kill at any moment loses nothing.

RUN/config.json            recipe, settings, versions, commit, what was read with its hashes (before step 0)
RUN/log.jsonl              one object per logged step
RUN/checkpoints/step-*.pt  model, optimiser, random states, data position; the newest two
RUN/panels/*.png           validation pictures        RUN/tensorboard/
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from askmask.errors import CheckpointError
from askmask.runs.append_log import AppendLog
from askmask.runs.json_text import read_json
from askmask.runs.manifest import output_folder
from askmask.runs.whole_files import open_whole, write_json, write_rows

KEEP = 2


class RunFolder:
    """Files of one run."""

    def __init__(self, root: str | Path):
        self.root = Path(root)
        self.log_path = self.root / "log.jsonl"
        self._log: AppendLog | None = None
        self._board: Any = None

    @contextmanager
    def held(self, facts: Mapping[str, Any] | None = None) -> Iterator[None]:
        """Keep other processes from training here, and check that the folder is a run's, of the same `facts`.

        Raises SettingError.
        """
        adopt = ("checkpoints",)  # runs from before there were manifests
        with output_folder(self.root, "askmask train", facts, adopt=adopt, option="run="):
            try:
                yield
            finally:
                self.close()

    def close(self) -> None:
        """Close the log."""
        if self._log is not None:
            self._log.close()
        self._log = None

    def config(self) -> dict[str, Any]:
        """Read the settings that the run began or last went on with; {} in a new folder."""
        path = self.root / "config.json"
        return read_json(path) if path.is_file() else {}

    def write_config(self, config: dict[str, Any]) -> None:
        """Write the run's settings."""
        write_json(self.root / "config.json", config)

    def log(self, step: int, figures: dict[str, float], write: bool = True) -> None:
        """Append one row to log.jsonl, and to TensorBoard's files where it is installed."""
        if not write:
            return
        row = {"step": step} | {name: float(f"{value:.8g}") for name, value in figures.items()}
        self._log = self._log or AppendLog(self.log_path)
        self._log.append(row)
        if self._board is None:
            self._board = _tensorboard(self.root / "tensorboard", step)
        for name, value in figures.items() if self._board else ():
            self._board.add_scalar(name if "/" in name else f"train/{name}", value, step)

    def rewind_log(self, step: int) -> None:
        """Drop what was logged after `step`: those steps will be done again."""
        self.close()
        if not self.log_path.exists():
            return
        rows = []
        for line in self.log_path.read_text(encoding="utf-8").splitlines():
            try:
                row = json.loads(line)
            except json.JSONDecodeError:  # the line during which the run was killed
                continue
            if row.get("step", 0) <= step:
                rows.append(row)
        write_rows(self.log_path, rows)

    def checkpoints(self) -> list[Path]:
        """Return the finished checkpoints, oldest first."""
        return sorted((self.root / "checkpoints").glob("step-*.pt"))

    def save(self, step: int, state: dict[str, Any]) -> Path:
        """Write a checkpoint whole or not at all, and let all but the newest go."""
        path = self.root / "checkpoints" / f"step-{step:08d}.pt"
        with open_whole(path) as file:
            torch.save(state, file)
        for old in self.checkpoints()[:-KEEP]:
            old.unlink()
        return path

    def load(self) -> dict[str, Any] | None:
        """Read the newest checkpoint; None in a new folder. Raises CheckpointError if it is damaged."""
        found = self.checkpoints()
        return read_state(found[-1]) if found else None


def read_state(path: Path) -> dict[str, Any]:
    """Read a checkpoint file of a run. Raises CheckpointError for what is none."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # zip and pickle readers raise many kinds
        raise CheckpointError(
            f"{path} cannot be read",
            got=str(error).splitlines()[0][:120] if str(error) else type(error).__name__,
            do="Delete it to go on from the one before.",
        ) from error
    if not isinstance(state, dict):
        raise CheckpointError(f"{path} is not a checkpoint of a run", got=type(state).__name__)
    return state


def weights_in(state: Mapping[str, Any], where: object) -> dict[str, torch.Tensor]:
    """Return the weights of a checkpoint. Raises CheckpointError if there are none, or one is no finite number."""
    weights = state.get("model")
    if not isinstance(weights, dict) or not all(isinstance(value, torch.Tensor) for value in weights.values()):
        raise CheckpointError(f"{where} holds no weights of a run")
    check_finite(weights, where)
    return weights


def check_finite(weights: Mapping[str, torch.Tensor], where: object) -> None:
    """Raise CheckpointError naming the weights that hold NaN or infinity."""
    bad = [name for name, value in weights.items() if not torch.isfinite(value).all()]
    if bad:
        raise CheckpointError(f"{where}: weights that are not finite", got=f"{len(bad)}: {bad[:4]}")


def _tensorboard(folder: Path, step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return False
    # Steps from here on that an interrupted run had already written are hidden.
    return SummaryWriter(str(folder), purge_step=step, max_queue=1000, flush_secs=30)
