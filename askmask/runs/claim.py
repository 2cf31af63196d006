"""One lock: a folder is written by one run at a time, or by the shards of one run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from askmask.errors import SettingError

_LOOK_S = 0.5  # others that look at the same lock hold it for a moment


@contextmanager
def claim(folder: str | Path, *, shard: int = 0, shards: int = 1, option: str = "--out") -> Iterator[None]:
    """Hold a folder, or one shard's part of it, against every other process; made if it is not there.

    Shards of equal number work side by side; a run of another number is kept out. The system drops the locks
    when a process ends, however it ends. Raises SettingError at once if another process is at work; `option`
    is how the caller's users choose another folder.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as held:
        _hold(held, folder / _name(shard, shards), 0, folder, option)
        for path in sorted(folder.glob(".askmask-lock-*-of-*")):
            if not path.name.endswith(f"-of-{shards}"):
                with ExitStack() as looking:
                    _hold(looking, path, _LOOK_S, folder, option)
        yield


@contextmanager
def in_turn(path: str | Path) -> Iterator[None]:
    """Hold the lock file `path`, waiting for as long as others hold it."""
    from filelock import FileLock

    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path, thread_local=False):
        yield


def _name(shard: int, shards: int) -> str:
    return f".askmask-lock-{shard}-of-{shards}"


def _hold(held: ExitStack, path: Path, wait_s: float, folder: Path, option: str) -> None:
    from filelock import FileLock, Timeout  # here: much of askmask only looks whose a folder is

    lock = FileLock(path, timeout=wait_s, thread_local=False)
    try:
        lock.acquire()
    except Timeout as error:
        raise SettingError(
            f"another run is writing to {folder}", do=f"Wait for it, or choose another {option}."
        ) from error
    except NotImplementedError as error:
        raise SettingError(
            f"the file system of {folder} has no locks", do=f"Choose another {option}."
        ) from error
    held.callback(lock.release)
