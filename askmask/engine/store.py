"""The run store: pictures, stage results and failures beside the ledger of calls and replies, in one sqlite file.

Each write is one transaction, so a killed process leaves the last finished step. Results and replies hold nothing
that depends on time or order: the store of an undisturbed run and of one killed many times have equal `digest()`.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import ValidationError

from askmask.engine.templates import TEMPLATE_PACKAGES
from askmask.engine.values import RESULT_OF, Failure, Value
from askmask.errors import DataError
from askmask.runs.manifest import check_free, output_folder
from askmask.vlm.ledger import Ledger

SCHEMA = 1
MADE_BY = "askmask engine run"
_TABLES = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS pictures (
    sha256 TEXT PRIMARY KEY, number INTEGER NOT NULL, path TEXT NOT NULL, height INTEGER, width INTEGER,
    dhash TEXT, source TEXT, licence TEXT);
CREATE TABLE IF NOT EXISTS unreadable (path TEXT PRIMARY KEY, reason TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS stages (
    sha256 TEXT NOT NULL, stage TEXT NOT NULL, state TEXT NOT NULL, attempts INTEGER NOT NULL DEFAULT 0,
    result TEXT, PRIMARY KEY (sha256, stage));
CREATE TABLE IF NOT EXISTS failures (
    sha256 TEXT NOT NULL, stage TEXT NOT NULL, unit TEXT NOT NULL, error_class TEXT NOT NULL,
    reason TEXT NOT NULL, keys TEXT NOT NULL, PRIMARY KEY (sha256, stage, unit));
CREATE INDEX IF NOT EXISTS stage_states ON stages (stage, state);
"""
_CALL_COLUMNS = "key, stage, model, state, worst_usd, cost_usd, input_tokens, output_tokens, started, seconds"


@dataclass(frozen=True)
class PictureRow:
    """A picture of the run."""

    sha256: str
    number: int
    path: str
    height: int
    width: int
    dhash: int
    source: str
    licence: str


class RunStore(Ledger):
    """One run on disk. Not for several processes at once: `lock` keeps a second one out."""

    FILE = "run.sqlite"
    tables = Ledger.tables + _TABLES
    what = "an engine run"
    made_by = MADE_BY
    result_of: ClassVar[Mapping[str, type[Value]]] = (
        RESULT_OF  # the stages in their order, and what each gives
    )
    template_packages: ClassVar[tuple[str, ...]] = TEMPLATE_PACKAGES

    @property
    def stages(self) -> tuple[str, ...]:
        """The stages of every picture, in order."""
        return tuple(self.result_of)

    def __init__(self, folder: str | Path, *, create: bool = False, read_only: bool = False):
        self.folder, self.path = Path(folder), Path(folder) / self.FILE
        self._held = ExitStack()
        if create:
            check_free(self.folder, self.made_by, adopt=(self.FILE,))
            self.folder.mkdir(parents=True, exist_ok=True)
        elif not self.path.is_file():
            raise DataError("no engine run there", got=self.folder, do=f"Start one: {self.made_by} --help")
        with self._naming():
            super().__init__(self.path, read_only=read_only)
            found = self.meta("schema")
            if found is None and not read_only:
                self.set_meta(schema=SCHEMA)
            elif type(found) is not int:
                raise self.damaged(f"schema {found!r}")
            elif found > SCHEMA:
                raise DataError(
                    f"a run of schema {SCHEMA} or older is needed", got=found, do="Upgrade askmask."
                )

    def lock(self) -> None:
        """Hold the run for this process; freed by the system when it ends, however it ends."""
        self._held.enter_context(output_folder(self.folder, self.made_by, adopt=(self.FILE,)))

    def close(self) -> None:
        """Close the file and let go of the run."""
        super().close()
        self._held.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        try:
            if error is not None:
                with self._naming():
                    raise error
        finally:
            self.close()

    # -- meta ---------------------------------------------------------------------------------------------

    def meta(self, name: str) -> Any:
        """Return a stored JSON value, None if absent. Raises DataError for a damaged store."""
        try:
            row = self._db.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
            return None if row is None else json.loads(row[0])
        except (sqlite3.Error, ValueError, RecursionError) as error:
            raise self.damaged(f"{name}: {error}") from error

    def set_meta(self, **values: Any) -> None:
        """Store JSON values, all or none."""
        with self._db:
            rows = [(name, json.dumps(value)) for name, value in values.items()]
            self._db.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", rows)

    # -- pictures -----------------------------------------------------------------------------------------

    def add_picture(
        self,
        sha256: str,
        path: str,
        size: tuple[int, int],
        dhash: int,
        *,
        source: str = "",
        licence: str = "",
    ) -> bool:
        """Add a picture unless its pixels are already there; return whether it was new."""
        with self._db:
            number = self._db.execute("SELECT COUNT(*) FROM pictures").fetchone()[0]
            return (
                self._db.execute(
                    "INSERT OR IGNORE INTO pictures VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    (sha256, number, _as_kept(path), *size, f"{dhash:016x}", source, licence),
                ).rowcount
                == 1
            )

    def add_unreadable(self, path: str, reason: str) -> None:
        """Keep a file that is no picture, with the reason."""
        with self._db:
            self._db.execute(
                "INSERT OR REPLACE INTO unreadable VALUES (?, ?)", (_as_kept(path), _text(reason))
            )

    def unreadable(self) -> list[tuple[str, str]]:
        """Return (path, reason) of files that could not be read."""
        rows = self._db.execute("SELECT path, reason FROM unreadable ORDER BY path")
        return [(os.fsdecode(path), reason) for path, reason in rows]

    def pictures(self) -> Iterator[PictureRow]:
        """Yield the pictures in the order they were added."""
        for row in self._db.execute("SELECT * FROM pictures ORDER BY number").fetchall():
            sha256, number, path, height, width, dhash, source, licence = row
            yield PictureRow(
                sha256, number, os.fsdecode(path), height, width, int(dhash, 16), source or "", licence or ""
            )

    # -- stages -------------------------------------------------------------------------------------------

    def start_stage(self, sha256: str, stage: str) -> None:
        """Mark a stage as running and count the attempt."""
        with self._db:
            self._db.execute(
                "INSERT INTO stages VALUES (?, ?, 'running', 1, NULL) ON CONFLICT DO UPDATE SET "
                "state = 'running', attempts = attempts + 1",
                (sha256, stage),
            )

    def finish_stage(
        self, sha256: str, stage: str, state: str, result: Value | None, failures: Iterable[Failure] = ()
    ) -> None:
        """Write a stage's result and failures in one transaction."""
        text = None if result is None else result.model_dump_json()
        with self._db:
            self._db.execute(
                "INSERT INTO stages VALUES (?, ?, ?, 1, ?) ON CONFLICT DO UPDATE SET "
                "state = excluded.state, result = excluded.result",
                (sha256, stage, state, text),
            )
            self._db.execute("DELETE FROM failures WHERE sha256 = ? AND stage = ?", (sha256, stage))
            self._db.executemany(
                "INSERT INTO failures VALUES (?, ?, ?, ?, ?, ?)",
                [
                    (sha256, stage, f.unit, f.error_class, _text(f.reason), json.dumps(list(f.keys)))
                    for f in failures
                ],
            )

    def stage(self, sha256: str, stage: str) -> tuple[str, Value | None]:
        """Return (state, result); a stage never started is ("pending", None)."""
        row = self._db.execute(
            "SELECT state, result FROM stages WHERE sha256 = ? AND stage = ?", (sha256, stage)
        ).fetchone()
        if row is None:
            return "pending", None
        try:
            return row[0], None if row[1] is None else self.result_of[stage].model_validate_json(row[1])
        except ValidationError as error:
            raise self.damaged(f"{stage} of {sha256[:12]}: {error.errors()[0]['msg']}") from error

    def finished(self, sha256: str) -> bool:
        """Whether no stage of the picture is left to do."""
        rows = self._db.execute(
            "SELECT COUNT(*) FROM stages WHERE sha256 = ? AND state NOT IN ('pending', 'running')", (sha256,)
        )
        return rows.fetchone()[0] == len(self.stages)

    def failures(self, sha256: str | None = None) -> list[tuple[str, str, Failure]]:
        """Return (picture, stage, failure) of one picture or of all."""
        where, values = ("", ()) if sha256 is None else (" WHERE sha256 = ?", (sha256,))
        rows = self._db.execute(f"SELECT * FROM failures{where} ORDER BY sha256, stage, unit", values)
        return [
            (r[0], r[1], Failure(unit=r[2], error_class=r[3], reason=r[4], keys=tuple(json.loads(r[5]))))
            for r in rows.fetchall()
        ]

    def retry(self, classes: Iterable[str]) -> int:
        """Forget failures of these classes, their broken replies, and what was built on them; return how many.

        Answered calls stay: what is done anew downstream costs only where its inputs changed.
        """
        wanted = set(classes)
        chosen = [entry for entry in self.failures() if entry[2].error_class in wanted]
        with self._db:
            for sha256, stage, failure in chosen:
                self._db.executemany("DELETE FROM replies WHERE key = ?", [(key,) for key in failure.keys])
                later = self.stages[self.stages.index(stage) :]
                marks = ",".join("?" * len(later))
                self._db.execute(
                    f"UPDATE stages SET state = 'pending', result = NULL WHERE sha256 = ? "
                    f"AND stage IN ({marks})",
                    (sha256, *later),
                )
                self._db.execute(
                    f"DELETE FROM failures WHERE sha256 = ? AND stage IN ({marks})", (sha256, *later)
                )
        return len(chosen)

    # -- rows of other stores ------------------------------------------------------------------------------

    def contents(self) -> dict[str, list[tuple[Any, ...]]]:
        """Return the rows of all tables a worker fills, for `absorb` elsewhere."""
        rows = {name: self.query(f"SELECT * FROM {name}") for name in ("stages", "failures", "replies")}
        # Calls are numbered by the store that takes them.
        rows["calls"] = self.query(f"SELECT {_CALL_COLUMNS} FROM calls ORDER BY id")
        return rows

    def absorb(self, rows: dict[str, list[Any]]) -> None:
        """Take rows of another store in one transaction; for equal keys the newer row counts."""
        with self._db:
            for name, width in (("pictures", 8), ("stages", 5), ("failures", 6), ("replies", 9)):
                marks = ",".join("?" * width)
                self._db.executemany(f"INSERT OR REPLACE INTO {name} VALUES ({marks})", rows.get(name, []))
            self._db.executemany(
                f"INSERT INTO calls ({_CALL_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                rows.get("calls", []),
            )

    def digest(self) -> str:
        """Return a hash of all that a run is for: pictures, results, failures, replies; no times, no order."""
        digest = hashlib.sha256()
        for sql in (
            "SELECT sha256, height, width, dhash FROM pictures ORDER BY sha256",
            "SELECT sha256, stage, state, result FROM stages ORDER BY sha256, stage",
            "SELECT sha256, stage, unit, error_class, reason, keys FROM failures ORDER BY 1, 2, 3",
            "SELECT key, provider, model, stage, template, completion FROM replies ORDER BY key",
        ):
            for row in self._db.execute(sql):
                digest.update(json.dumps(row).encode())
        return digest.hexdigest()


def _as_kept(path: str) -> str | bytes:
    """Return a path as sqlite can hold it: a name that is no UTF-8 by its bytes."""
    return path if _text(path) == path else os.fsencode(path)


def _text(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")
