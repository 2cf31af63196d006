"""The store of sessions: each belongs to one owner, is on disk before it is answered, and in memory while it is used.

Folders are named by ids that cannot be guessed. What is kept in memory is bounded: of sessions not used for longest,
the picture and what models saw of it go first; they come back from disk when they are asked.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from askmask.errors import DataError
from askmask.imaging.files import Picture, read_picture
from askmask.runs.json_text import parse_row
from askmask.runs.whole_files import is_leftover, write_bytes
from askmask.serving.journal import FILE, Journal
from askmask.serving.refusal import Refusal
from askmask.serving.settings import Limits
from askmask.session import Model, Session

_ID = re.compile(r"[A-Za-z0-9_-]{22}")
PICTURE = "picture"
# Bytes: a round as objects, besides its text, and its place in one moment that undo may go back to.
ROUND, PLACE = 3000, 16


@dataclass(eq=False)
class Kept:
    """One session that is kept. Whoever changes it holds `lock`."""

    id: str
    owner: str
    folder: Path
    used: float
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    journal: Journal | None = None
    session: Session | None = None
    gone: bool = False

    @property
    def nbytes(self) -> int:
        """Memory that it takes, about; what models remember of it is theirs to bound."""
        session, journal = self.session, self.journal
        picture = 0 if session is None else session.picture.rgb.nbytes
        if journal is None:
            return picture
        rounds, moments = len(journal.now.rounds), len(journal.moments)
        return picture + 3 * journal.nbytes + rounds * (ROUND + PLACE * moments)


class Store:
    """All sessions below a folder. Its methods block; those on one session are called under its lock."""

    def __init__(
        self,
        folder: Path,
        limits: Limits,
        *,
        model: Callable[[str], Model],
        clock: Callable[[], float] = time.time,
    ):
        self.folder, self.limits, self._model, self._clock = folder, limits, model, clock
        self._lock = threading.Lock()
        self._kept: dict[str, Kept] = {}
        self.unreadable: list[str] = []
        folder.mkdir(parents=True, exist_ok=True)
        for place in sorted(folder.iterdir()):
            self._find(place)

    def _find(self, place: Path) -> None:
        """Take note of a session on disk; remove what a kill left half made."""
        if not place.is_dir() or not (_ID.fullmatch(place.name) or is_leftover(place.name)):
            return
        if not (place / FILE).is_file():
            shutil.rmtree(place, ignore_errors=True)
            return
        try:
            owner = _owner_of(place)
        except (DataError, KeyError, OSError):
            self.unreadable.append(place.name)
            return
        self._kept[place.name] = Kept(place.name, owner, place, (place / FILE).stat().st_mtime)

    # -- sessions of an owner -------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._kept)

    def awake(self) -> int:
        """How many have their picture in memory."""
        return sum(one.session is not None for one in self._all())

    def find(self, owner: str, name: str) -> Kept:
        """Return an owner's session. Raises Refusal: for what others own as for what does not exist."""
        kept = self._kept.get(name)
        if kept is None or kept.owner != owner or kept.gone:
            raise Refusal(404, "no such session", do="GET /v1/sessions lists yours.")
        kept.used = self._clock()
        return kept

    def listed(self, owner: str) -> list[Kept]:
        """Return an owner's sessions, the last used first."""
        mine = [one for one in self._all() if one.owner == owner and not one.gone]
        return sorted(mine, key=lambda one: -one.used)

    def create(
        self,
        owner: str,
        model: str,
        data: bytes,
        name: str,
        *,
        saved: Mapping[str, Any] | None = None,
        answers: Mapping[str, Any] = {},
        parent: str | None = None,
    ) -> Kept:
        """Open a session over a picture's bytes, or go on with a saved one. Raises Refusal, PictureError, DataError."""
        if len(self._kept) >= self.limits.sessions:
            raise Refusal(507, f"this server keeps {self.limits.sessions} sessions", do="Delete some.")
        digest = hashlib.sha256(data).hexdigest()
        picture = self._picture(owner, digest, name, lambda: data)
        session = (
            self._model(model).open(picture)
            if saved is None
            else Session.from_dict(saved, self._model(model), picture)
        )
        key = secrets.token_urlsafe(16)
        folder = self.folder / key
        head: dict[str, Any] = {"owner": owner, "name": name, "made": round(self._clock(), 3), "model": model}
        head |= {"file": digest} | ({"parent": parent} if parent else {})
        folder.mkdir(mode=0o700)
        try:
            write_bytes(folder / PICTURE, data)
            journal = Journal.create(folder, head, session.to_dict(), answers)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        kept = Kept(key, owner, folder, self._clock(), journal=journal, session=session)
        with self._lock:
            self._kept[key] = kept
        self.settle(kept)
        return kept

    def fork(self, kept: Kept, model: str, rounds: int | None = None) -> Kept:
        """Return a second session that begins as this one stands, or as after its first `rounds`."""
        journal = self.journal(kept)
        conversation = journal.conversation()
        if rounds is not None:
            conversation["rounds"] = conversation["rounds"][:rounds]
            ids = {one["id"] for one in conversation["rounds"]}
            conversation["stale"] = [name for name in conversation.get("stale", ()) if name in ids]
        return self.create(
            kept.owner,
            model,
            self.picture_bytes(kept),
            journal.head["name"],
            saved=conversation,
            answers=journal.now.answers,
            parent=kept.id,
        )

    def remove(self, kept: Kept) -> None:
        """Delete a session and all that is kept of it."""
        with self._lock:
            kept.gone = True
            self._kept.pop(kept.id, None)
        if kept.journal is not None:
            kept.journal.close()
        kept.session = kept.journal = None
        # Renamed first: what a kill leaves of a removal is then no session.
        doomed = self.folder / f".askmask-{kept.id}.tmp"
        os.replace(kept.folder, doomed)
        shutil.rmtree(doomed, ignore_errors=True)

    # -- one session ----------------------------------------------------------------------------------------

    def journal(self, kept: Kept) -> Journal:
        """Return a session's journal, read if it is not in memory."""
        if kept.gone:
            raise Refusal(404, "no such session", do="GET /v1/sessions lists yours.")
        # By a name of its own here and below: another thread may put the session to sleep meanwhile.
        if (journal := kept.journal) is None:
            journal = kept.journal = Journal.read(kept.folder)
        return journal

    def session(self, kept: Kept) -> Session:
        """Return the Session itself, opened from disk if it is not in memory."""
        journal = self.journal(kept)
        if (session := kept.session) is None:
            session = kept.session = self._opened(kept, journal, journal.conversation())
            self.settle(kept)
        return session

    def commit(
        self,
        kept: Kept,
        session: Session,
        op: str,
        answers: Mapping[str, Any] = {},
        *,
        key: str | None = None,
    ) -> Journal:
        """Write what a change made of a session. On failure the session in memory is given up: the disk holds."""
        journal = self.journal(kept)
        try:
            journal.change(op, session.to_dict(), answers, at=self._clock(), key=key)
        except BaseException:
            kept.session = None
            raise
        kept.used, kept.session = self._clock(), session
        self.settle(kept)
        return journal

    def undo(self, kept: Kept) -> Journal:
        """Take the last change back."""
        journal = self.journal(kept)
        try:
            conversation = journal.undo(at=self._clock())
        except IndexError:
            raise Refusal(409, "there is nothing to undo") from None
        kept.session = self._opened(kept, journal, conversation)
        return journal

    def picture_bytes(self, kept: Kept) -> bytes:
        """Return the picture's file."""
        return (kept.folder / PICTURE).read_bytes()

    def picture(self, kept: Kept) -> Picture:
        """Return the picture."""
        if (session := kept.session) is not None:
            return session.picture
        return read_picture(self.picture_bytes(kept), max_pixels=self.limits.pixels)

    # -- bounds ---------------------------------------------------------------------------------------------

    def settle(self, spare: Kept | None = None) -> None:
        """Let go of sessions not used for longest until those in memory are within their bound."""
        most = self.limits.memory_mb << 20
        awake = [one for one in self._all() if one.nbytes]
        total = sum(one.nbytes for one in awake)
        for kept in sorted(awake, key=lambda one: one.used) if total > most else ():
            if total <= most:
                return
            if kept is spare or kept.lock.locked():
                continue
            total -= kept.nbytes
            self._sleep(kept)

    def sweep(self) -> list[str]:
        """Remove sessions not used for too long; return their ids."""
        limit = self._clock() - 86_400 * self.limits.keep_days
        old = [one for one in self._all() if one.used < limit and not one.lock.locked()]
        for kept in old:
            self.remove(kept)
        return [kept.id for kept in old]

    def close(self) -> None:
        """Close all files."""
        for kept in self._all():
            self._sleep(kept)

    # -- how ------------------------------------------------------------------------------------------------

    def _all(self) -> list[Kept]:
        with self._lock:
            return list(self._kept.values())

    def _sleep(self, kept: Kept) -> None:
        if (journal := kept.journal) is not None:
            journal.close()
            os.utime(kept.folder / FILE, (kept.used, kept.used))  # reading it was use, too
        kept.session = kept.journal = None

    def _opened(self, kept: Kept, journal: Journal, conversation: Mapping[str, Any]) -> Session:
        head = journal.head
        picture = self._picture(kept.owner, head["file"], head["name"], lambda: self.picture_bytes(kept))
        return Session.from_dict(conversation, self._model(head["model"]), picture)

    def _picture(self, owner: str, digest: str, name: str, data: Callable[[], bytes]) -> Picture:
        """Return a picture; the one that another session of this owner has open, so that it is encoded once."""
        for kept in self._all():
            session, journal = kept.session, kept.journal
            if session is not None and journal is not None and kept.owner == owner:
                if journal.head["file"] == digest and session.picture.name == name:
                    return session.picture
        return read_picture(data(), max_pixels=self.limits.pixels, name=name)


def _owner_of(folder: Path) -> str:
    """Return whose a session is, from the first line alone."""
    with (folder / FILE).open("rb") as file:
        row = parse_row(file.readline(1 << 26), str(folder / FILE))
    if not isinstance(row.get("owner"), str) or not isinstance(row.get("conversation"), dict):
        raise DataError(f"{folder / FILE}: not the journal of a session")
    return str(row["owner"])
