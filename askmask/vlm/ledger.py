"""The ledger of calls and the cache of replies, in sqlite: on disk, or in memory for one sitting.

Each write is one transaction, so a killed process leaves the last finished step. A call is written before it is
sent and settled after. Replies hold nothing that depends on time or order, and no key: `Caller` cleans them first.
"""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from askmask.errors import DataError
from askmask.runs.whole_files import writing
from askmask.vlm.request import Completion

_TABLES = """
CREATE TABLE IF NOT EXISTS replies (
    key TEXT PRIMARY KEY, provider TEXT NOT NULL, model TEXT NOT NULL, stage TEXT NOT NULL,
    template TEXT NOT NULL, completion TEXT NOT NULL, cost_usd REAL, reply_id TEXT, seconds REAL);
CREATE TABLE IF NOT EXISTS calls (
    id INTEGER PRIMARY KEY, key TEXT NOT NULL, stage TEXT NOT NULL, model TEXT NOT NULL,
    state TEXT NOT NULL, worst_usd REAL NOT NULL, cost_usd REAL, input_tokens INTEGER, output_tokens INTEGER,
    started REAL NOT NULL, seconds REAL);
"""
IN_MEMORY = ":memory:"
_TABLE = re.compile(r"CREATE TABLE IF NOT EXISTS (\w+)")


class Ledger:
    """Replies by key, and what each call was, cost and took. `path`: a file, or in memory.

    Raises DataError for a file that is none, is another program's, or cannot be opened.
    """

    tables = _TABLES
    what = "a store of calls and replies"

    def __init__(self, path: str | Path = IN_MEMORY, *, read_only: bool = False):
        self.path = Path(path)
        try:
            if path != IN_MEMORY and self.path.is_file():
                self._check_ours()
            if read_only:
                self._db = connect_to_read(Path(path))
            else:
                self._db = _connect(str(path))
                self._db.execute("PRAGMA journal_mode=WAL")
                self._db.execute("PRAGMA synchronous=NORMAL")
                with self._db:
                    self._db.executescript(self.tables)
        except sqlite3.Error as error:
            raise DataError(
                f"{path} cannot be opened as {self.what}",
                got=str(error),
                do="Check the folder's rights and free space; put a damaged file back from a copy.",
            ) from error

    def _check_ours(self) -> None:
        """Keep our tables out of another program's database."""
        with closing(connect_to_read(self.path)) as db:
            found = {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if other := sorted(found - set(_TABLE.findall(self.tables))):
            raise DataError(f"{self.path}: not {self.what}", got=f"tables {other[:4]}")

    def close(self) -> None:
        """Close the file; the log is folded back into it."""
        self._db.close()

    def reply(self, key: str) -> Completion | None:
        """Return the cached reply of a request."""
        with self._naming():
            row = self._db.execute("SELECT completion FROM replies WHERE key = ?", (key,)).fetchone()
        try:
            return None if row is None else Completion.from_json(row[0])
        except (LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise self.damaged(f"a reply: {error}") from error

    def begin_call(self, key: str, stage: str, model: str, worst_usd: float) -> int:
        """Write a call into the ledger before it is sent; return its number."""
        with self._naming(), self._db, closing(self._db.cursor()) as cursor:
            cursor.execute(
                "INSERT INTO calls (key, stage, model, state, worst_usd, started) VALUES "
                "(?, ?, ?, 'sent', ?, ?)",
                (key, stage, model, worst_usd, time.time()),
            )
            return int(cursor.lastrowid or 0)

    def end_call(self, call: int, state: str, cost_usd: float | None, seconds: float) -> None:
        """Settle a call that brought no reply; `state` is its error class."""
        with self._naming(), self._db:
            self._db.execute(
                "UPDATE calls SET state = ?, cost_usd = ?, seconds = ? WHERE id = ?",
                (state, cost_usd, seconds, call),
            )

    def keep_reply(
        self,
        call: int,
        *,
        key: str,
        provider: str,
        model: str,
        stage: str,
        template: str,
        completion: Completion,
        cost_usd: float | None,
        seconds: float,
    ) -> None:
        """Keep a reply and settle its call, in one transaction."""
        reply = (key, provider, model, stage, template, completion.to_json(), cost_usd)
        with self._naming(), self._db:
            self._db.execute(
                "INSERT OR IGNORE INTO replies VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (*reply, completion.reply_id, seconds),
            )
            self._db.execute(
                "UPDATE calls SET state = 'ok', cost_usd = ?, input_tokens = ?, output_tokens = ?, "
                "seconds = ? WHERE id = ?",
                (cost_usd, completion.input_tokens, completion.output_tokens, seconds, call),
            )

    def spent(self) -> tuple[float, int]:
        """Return (dollars, calls) so far; a call without an outcome counts with its worst case."""
        with self._naming():
            row = self._db.execute(
                "SELECT TOTAL(CASE WHEN state = 'sent' THEN worst_usd ELSE COALESCE(cost_usd, 0) END), COUNT(*) "
                "FROM calls"
            ).fetchone()
        return float(row[0]), int(row[1])

    def tokens(self) -> tuple[int, int]:
        """Return (input, output) tokens so far, as far as servers counted them."""
        with self._naming():
            row = self._db.execute("SELECT TOTAL(input_tokens), TOTAL(output_tokens) FROM calls").fetchone()
        return int(row[0]), int(row[1])

    def query(self, sql: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """Run a reading statement; for reports."""
        with self._naming():
            return self._db.execute(sql, values).fetchall()

    @contextmanager
    def _naming(self) -> Iterator[None]:
        """Name the file in what sqlite says of a damaged store or a full disk."""
        try:
            with writing(self.path):
                yield
        except sqlite3.Error as error:
            raise self.damaged(str(error)) from error

    def damaged(self, what: str) -> DataError:
        """Return the error for content that this program did not write."""
        return DataError(
            f"{self.path} is damaged, or no run of askmask's",
            got=" ".join(what.split())[:200],
            do="Put it back from a copy, or begin another run.",
        )


def _connect(name: str, **options: Any) -> sqlite3.Connection:
    return sqlite3.connect(name, timeout=30, check_same_thread=False, **options)


def connect_to_read(path: Path) -> sqlite3.Connection:
    """Open a file without writing anything; where nothing may be written it must have been closed well."""
    uri = (path.as_uri() if path.is_absolute() else f"file:{quote(path.as_posix())}") + "?mode=ro"
    db = _connect(uri, uri=True)
    try:
        db.execute("SELECT 1 FROM sqlite_master").fetchone()
    except sqlite3.OperationalError:  # the index of the log cannot be made here
        db.close()
        log = path.with_name(f"{path.name}-wal")
        if log.exists() and log.stat().st_size:
            raise
        db = _connect(f"{uri}&immutable=1", uri=True)
    return db
