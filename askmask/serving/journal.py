"""The journal of one session on disk: what the library writes of it, as it began and each change since.

    session.jsonl   {"owner", "name", "made", "model", "conversation": Session.to_dict() as it began}
                    {"op": "ask", "at", "keep": 3, "rounds": [...], "rest": {...}, "answers": {"r4": {...}}, "key"}
                    {"op": "undo", "at"}
    picture.*       its bytes as they came

A change keeps the first `keep` rounds and states what follows them. It is handed to the system before it is answered,
so that a killed server loses none. Undo goes back to the state before, also after a restart.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from askmask.errors import DataError
from askmask.runs.append_log import AppendLog
from askmask.runs.json_text import read_rows
from askmask.runs.whole_files import write_rows

FILE = "session.jsonl"
MOST_UNDO = 100  # states kept to go back to


@dataclass(frozen=True)
class Moment:
    """A conversation as it stands: rounds as the library writes them, what was said of them, and the rest."""

    rounds: tuple[Mapping[str, Any], ...]
    said: tuple[Mapping[str, Any] | None, ...]  # of each round: scores, notices, seconds
    rest: Mapping[str, Any]  # of Session.to_dict(): stale, next, model, ...

    def without(self, round: str) -> Moment:
        """Return it as it would stand if a round had not been."""
        kept = [at for at, one in enumerate(self.rounds) if one["id"] != round]
        return Moment(tuple(self.rounds[at] for at in kept), tuple(self.said[at] for at in kept), self.rest)

    @property
    def answers(self) -> dict[str, Mapping[str, Any]]:
        """What was said of rounds, by their ids."""
        pairs = zip(self.rounds, self.said, strict=True)
        return {round["id"]: said for round, said in pairs if said is not None}


@dataclass(frozen=True)
class Standing:
    """A session as it stood at one time: a value, safe to show while the session goes on."""

    id: str
    head: Mapping[str, Any]
    version: int
    moment: Moment
    can_undo: bool


class Journal:
    """An open journal and the moments that it holds, the latest last."""

    def __init__(self, folder: Path, head: dict[str, Any], moments: list[Moment], keys: dict[str, str]):
        self.folder, self.head, self.moments, self.keys = folder, head, moments, keys
        self.version = 0
        self.nbytes = 0  # of the file, about
        self._log: AppendLog | None = None
        # It may be closed while another thread writes: the next write opens it again.
        self._lock = threading.Lock()

    @classmethod
    def create(
        cls, folder: Path, head: dict[str, Any], conversation: Mapping[str, Any], answers: Mapping[str, Any]
    ) -> Journal:
        """Begin a journal in a folder that holds the picture."""
        write_rows(folder / FILE, [head | {"conversation": conversation, "answers": answers}], compact=True)
        return cls.read(folder)

    @classmethod
    def read(cls, folder: Path) -> Journal:
        """Read a journal; a last line that a kill cut off is not there. Raises DataError."""
        path = folder / FILE
        log = AppendLog(path)
        rows = [row for _, row in read_rows(path)]
        if not rows or not isinstance(rows[0].get("conversation"), dict):
            raise DataError(f"{path}: not the journal of a session")
        head = {k: v for k, v in rows[0].items() if k not in ("conversation", "answers")}
        journal = cls(folder, head, [], {})
        first = rows[0]["conversation"]
        try:
            began, answers = tuple(first["rounds"]), rows[0].get("answers") or {}
            rest = {name: value for name, value in first.items() if name != "rounds"}
            journal.moments.append(Moment(began, tuple(answers.get(round["id"]) for round in began), rest))
            for row in rows[1:]:
                journal._take(row)
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise DataError(f"{path}: not the journal of a session", got=repr(error)[:160]) from error
        journal.nbytes = path.stat().st_size
        journal._log = log
        return journal

    @property
    def now(self) -> Moment:
        """The conversation as it stands."""
        return self.moments[-1]

    def standing(self) -> Standing:
        """Return the session as it stands."""
        return Standing(self.folder.name, self.head, self.version, self.now, len(self.moments) > 1)

    def conversation(self) -> dict[str, Any]:
        """Return what `Session.from_dict` reads."""
        return dict(self.now.rest) | {"rounds": list(self.now.rounds)}

    def change(
        self,
        op: str,
        conversation: Mapping[str, Any],
        answers: Mapping[str, Any],
        *,
        at: float,
        key: str | None = None,
    ) -> None:
        """Write a change: the conversation as it stands now, and what is said of the rounds that are new in it."""
        rounds, before = conversation["rounds"], self.now
        keep = 0
        while keep < min(len(rounds), len(before.rounds)) and rounds[keep] == before.rounds[keep]:
            keep += 1
        rest = {
            name: value
            for name, value in conversation.items()
            if name != "rounds" and before.rest.get(name) != value
        }
        row: dict[str, Any] = {"op": op, "at": round(at, 3), "keep": keep, "rounds": list(rounds[keep:])}
        row |= {"rest": rest, "answers": dict(answers)} | ({} if key is None else {"key": key})
        self._write(row)

    def undo(self, *, at: float) -> dict[str, Any]:
        """Go back to the moment before; return it as `Session.from_dict` reads it. Raises IndexError for none."""
        if len(self.moments) < 2:
            raise IndexError("nothing to undo")
        self._write({"op": "undo", "at": round(at, 3)})
        return self.conversation()

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            if self._log is not None:
                self._log.close()
                self._log = None

    def _write(self, row: dict[str, Any]) -> None:
        with self._lock:
            if self._log is None:
                self._log = AppendLog(self.folder / FILE)
            self._log.append(row)
        self._take(row)
        self.nbytes = (self.folder / FILE).stat().st_size

    def _take(self, row: Mapping[str, Any]) -> None:
        """Apply a row."""
        self.version += 1
        if row["op"] == "undo":
            last = self.moments.pop()
            # A name is never given twice: numbers go on from where they were.
            if "next" in last.rest:
                self.moments[-1] = replace(self.now, rest=dict(self.now.rest) | {"next": last.rest["next"]})
            return
        before = self.now
        rounds = (*before.rounds[: row["keep"]], *row["rounds"])
        known = before.answers | row["answers"]
        said = tuple(known.get(round["id"]) for round in rounds)
        self.moments.append(Moment(rounds, said, dict(before.rest) | row["rest"]))
        del self.moments[: -MOST_UNDO - 1]
        if "key" in row:
            self.keys[row["key"]] = row["rounds"][-1]["id"] if row["rounds"] else ""
