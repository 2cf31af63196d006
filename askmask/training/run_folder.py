"""A run's folder: its settings, its log and its checkpoints, written so that a kill at any moment loses nothing.

RUN/config.json            recipe, settings, versions, data (before step 0)
RUN/log.jsonl              one object per logged step
RUN/checkpoints/step-*.pt  model, optimiser, random states, data position; the newest two
RUN/panels/*.png           validation pictures        RUN/tensorboard/
RUN/.lock                  held while a process trains here
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

from askmask.errors import CheckpointError, SettingError

KEEP = 2


class RunFolder:
    """Files of one run."""

    def __init__(self, root: str | Path):
        self.root = Path(root)
        (self.root / "checkpoints").mkdir(parents=True, exist_ok=True)
        self.log_path = self.root / "log.jsonl"
        self._board: Any = None

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other processes from training here. Raises SettingError if one does."""
        lock = FileLock(self.root / ".lock")
        try:
            lock.acquire(timeout=0)
        except Timeout as error:
            raise SettingError(
                f"another process is training in {self.root}", do="Wait for it, or choose another run=."
            ) from error
        try:
            yield
        finally:
            lock.release()

    def write_config(self, config: dict[str, Any]) -> None:
        """Write the run's settings."""
        partial = self.root / "config.json.partial"
        partial.write_text(json.dumps(config, indent=1, default=str) + "\n", encoding="utf-8")
        partial.replace(self.root / "config.json")

    def log(self, step: int, figures: dict[str, float], write: bool = True) -> None:
        """Append one row to log.jsonl, and to TensorBoard's files where it is installed."""
        if not write:
            return
        row = {"step": step} | {name: float(f"{value:.8g}") for name, value in figures.items()}
        with self.log_path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        if self._board is None:
            self._board = _tensorboard(self.root / "tensorboard", step)
        for name, value in figures.items() if self._board else ():
            self._board.add_scalar(name if "/" in name else f"train/{name}", value, step)

    def rewind_log(self, step: int) -> None:
        """Drop what was logged after `step`: those steps will be done again."""
        if not self.log_path.exists():
            return
        rows = []
        for line in self.log_path.read_text(encoding="utf-8").splitlines():
            try:
                row = json.loads(line)
            except json.JSONDecodeError:  # the line during which the run was killed
                continue
            if row.get("step", 0) <= step:
                rows.append(line)
        partial = self.log_path.with_suffix(".partial")
        partial.write_text("".join(line + "\n" for line in rows), encoding="utf-8")
        partial.replace(self.log_path)

    def checkpoints(self) -> list[Path]:
        """Return the finished checkpoints, oldest first."""
        return sorted((self.root / "checkpoints").glob("step-*.pt"))

    def save(self, step: int, state: dict[str, Any]) -> Path:
        """Write a checkpoint whole or not at all, and let all but the newest go."""
        path = self.root / "checkpoints" / f"step-{step:08d}.pt"
        partial = path.with_suffix(".partial")
        with partial.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        for old in self.checkpoints()[:-KEEP]:
            old.unlink()
        return path

    def load(self) -> dict[str, Any] | None:
        """Read the newest checkpoint; None in a new folder. Raises CheckpointError if it is damaged."""
        found = self.checkpoints()
        if not found:
            return None
        try:
            return torch.load(found[-1], map_location="cpu", weights_only=True)
        except Exception as error:
            raise CheckpointError(
                f"{found[-1]} cannot be read", got=error, do="Delete it to go on from the one before."
            ) from error


def _tensorboard(folder: Path, step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return False
    # Steps from here on that an interrupted run had already written are hidden.
    return SummaryWriter(str(folder), purge_step=step, max_queue=1000, flush_secs=30)
