"""Output folders: whose a folder is, what made it, and which files a later run may remove.

A folder is ours if it was empty when we came or carries our manifest; no command takes over another.

    askmask-run.json     {"made_by": "askmask batch", "askmask": version, "commit": of a checkout,
                          "facts": {what decides the contents}, "files": [names that a later run may remove]}
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from askmask.errors import DataError, SettingError
from askmask.runs.append_log import AppendLog
from askmask.runs.claim import claim, in_turn
from askmask.runs.json_text import json_text, parse_json, read_json
from askmask.runs.whole_files import clear_leftovers, finish_swap, whole_folder, write_json

MANIFEST = "askmask-run.json"
_LOCK = ".askmask-lock"
_OF_THE_SYSTEM = {".DS_Store", "Thumbs.db", "desktop.ini"}


class OutputFolder:
    """A folder held by this process that is known to be ours. Made by `output_folder`."""

    def __init__(self, root: Path, manifest: dict[str, Any]):
        self.root = root
        self._files = set(manifest["files"])

    def path(self, name: str) -> Path:
        """Return the path of a file that this run may write and remove; see `paths`."""
        return self.paths([name])[0]

    def paths(self, names: Iterable[str]) -> list[Path]:
        """List files in the manifest before they are written, and return their paths.

        Raises SettingError if one would lie outside the folder, or is there already and not listed: somebody else put
        it there.
        """
        names = list(names)
        if outside := [name for name in names if not _inside(name)]:
            raise SettingError(f"a file of {self.root} must lie in it", got=repr(outside[0])[:80])
        new = [name for name in names if name not in self._files]
        for name in new:
            if (self.root / name).exists():
                raise SettingError(
                    f"{self.root / name} is in the way and was not written by this run",
                    do="Move it, or choose another folder.",
                )
        if new:
            self._change(lambda files: files | set(new))
        return [self.root / name for name in names]

    def log(self, name: str) -> AppendLog:
        """Open a log to append to."""
        return AppendLog(self.path(name))

    def remove(self, *names: str) -> None:
        """Remove files that the manifest lists; others stay."""
        for name in names:
            if name in self._files:
                (self.root / name).unlink(missing_ok=True)

    @contextmanager
    def anew(self, keep: Iterable[str] = ()) -> Iterator[Path]:
        """Yield an empty folder; when the block ends without error its files replace all listed ones together.

        Listed files that `keep` names stay as they are.
        """
        kept = set(keep)
        before = set(self._files)
        new: set[str] = set()

        def remove(names: set[str]) -> set[str]:
            new.update(names)
            self.paths(sorted(names))
            return before - kept

        with whole_folder(self.root, remove) as fresh:
            yield fresh
        self._change(lambda _: new | kept)

    def _change(self, change: Any) -> None:
        with in_turn(self.root / _LOCK):
            manifest = _read(self.root)
            self._files = change(set(manifest["files"]))
            write_json(self.root / MANIFEST, manifest | {"files": sorted(self._files)})


@contextmanager
def output_folder(
    path: str | Path,
    made_by: str,
    facts: Mapping[str, Any] | None = None,
    *,
    again: bool = False,
    adopt: tuple[str, ...] = (),
    shard: int = 0,
    shards: int = 1,
    option: str = "--out",
) -> Iterator[OutputFolder]:
    """Claim a folder, make it ours if it is empty, or check that it is ours and of the same facts.

    `facts` decide the contents: a folder of other facts is refused, unless `again` says that what is there is
    made anew. Without facts, nothing is compared. A folder without manifest is also ours if it holds all files
    of `adopt`. For `shard` and `option` see `claim`. Raises SettingError.
    """
    root = Path(path)
    check_free(
        root, made_by, adopt=adopt, option=option
    )  # before the first file of ours, also before the lock
    with claim(root, shard=shard, shards=shards, option=option):
        with in_turn(root / _LOCK):
            check_free(root, made_by, adopt=adopt, option=option)
            known = facts is not None
            given = _as_json(facts or {})
            if not (root / MANIFEST).is_file():
                listed = sorted(name for name in adopt if (root / name).is_file())
                manifest = _new(made_by, given) | {"files": listed}
                write_json(root / MANIFEST, manifest)
            else:
                manifest = _read(root)
                if known and manifest["facts"] and not again:
                    check_same(manifest["facts"], given, root, option)
                elif known and manifest["facts"] != given:
                    manifest = _new(made_by, given) | {"files": manifest["files"]}
                    write_json(root / MANIFEST, manifest)
        if shards == 1:
            finish_swap(root)
            clear_leftovers(root)
        yield OutputFolder(root, manifest)


def check_free(path: str | Path, made_by: str, *, adopt: tuple[str, ...] = (), option: str = "--out") -> None:
    """Raise SettingError if `output_folder` would not take the folder; writes nothing. To ask before long work."""
    root = Path(path)
    if root.exists() and not root.is_dir():
        raise SettingError("a folder is needed", got=f"the file {root}", do=f"Choose another {option}.")
    if is_ours(root):
        maker = _read(root)["made_by"]
        if maker != made_by:
            raise SettingError(
                f"{root} holds the output of `{maker}`", do=f"Choose another {option} for `{made_by}`."
            )
        return
    if root.is_dir() and not (adopt and all((root / name).exists() for name in adopt)):
        other = next((p.name for p in sorted(root.iterdir()) if not _negligible(p.name)), None)
        if other is not None:
            raise SettingError(
                f"{root} is neither empty nor made by `{made_by}`",
                got=f"{other!r} in it",
                do=f"Choose another {option}.",
            )


def is_ours(folder: str | Path) -> bool:
    """Whether a folder carries our manifest: what lies in it was made by a run. A closed folder shows none."""
    try:
        return (Path(folder) / MANIFEST).is_file()
    except PermissionError:
        return False


def made_by(folder: str | Path) -> str | None:
    """Return the command that wrote a folder; None if none of ours did."""
    return str(_read(Path(folder))["made_by"]) if is_ours(folder) else None


def facts_of(folder: str | Path) -> dict[str, Any]:
    """Return the facts that decided a folder's contents; none if it is not ours."""
    facts: dict[str, Any] = _read(Path(folder))["facts"] if is_ours(folder) else {}
    return facts


def check_same(
    before: Mapping[str, Any], now: Mapping[str, Any], folder: Path, option: str = "--out"
) -> None:
    """Raise SettingError naming what differs between the facts that a folder was made with and those of now."""
    old, new = _flat(before), _flat(_as_json(now))
    names = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    if names:
        values = "; ".join(
            f"{name}: {_short(old.get(name))} there, {_short(new.get(name))} now" for name in names[:4]
        )
        raise SettingError(
            f"{folder} holds results of another {', '.join(names)}",
            got=values[:500],
            do=f"Choose another {option}, or the same {names[0]}.",
        )


@cache
def git_commit() -> str | None:
    """Return the commit of the source tree, None when installed from a package."""
    folder = Path(__file__).resolve().parents[2]
    if not (folder / ".git").exists():
        return None
    try:
        found = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=folder, capture_output=True, text=True, timeout=5, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip()


def _new(made_by: str, facts: dict[str, Any]) -> dict[str, Any]:
    from askmask import __version__

    return {"made_by": made_by, "askmask": __version__, "commit": git_commit(), "facts": facts, "files": []}


def _read(root: Path) -> dict[str, Any]:
    manifest = read_json(root / MANIFEST)
    if not (
        isinstance(manifest, dict)
        and isinstance(manifest.get("made_by"), str)
        and isinstance(manifest.get("facts"), dict)
        and isinstance(manifest.get("files"), list)
        and all(isinstance(name, str) and _inside(name) for name in manifest["files"])
    ):
        raise DataError(f"{root / MANIFEST}: not a manifest of askmask", do="Choose another folder.")
    return manifest


def _negligible(name: str) -> bool:
    return name in _OF_THE_SYSTEM or name.startswith(".askmask-")


def _inside(name: str) -> bool:
    return bool(name) and not Path(name).is_absolute() and ".." not in Path(name).parts


def _as_json(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return facts as they are read back: tuples as lists."""
    read: dict[str, Any] = parse_json(json_text(dict(facts)), "facts")
    return read


def _short(value: Any) -> str:
    """Spell a value for people: of a hash the beginning, which tells two apart as well as all of it."""
    return re.sub(r"\b([0-9a-f]{12})[0-9a-f]{28,}\b", r"\1...", repr(value))


def _flat(facts: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in facts.items():
        if isinstance(value, Mapping) and value:
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat
