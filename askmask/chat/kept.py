"""A conversation's folder: what was said is on disk before the next line is read.

askmask-run.json      that the folder is ours, and of which picture
conversation.json     Session.to_dict(), and how many lines of which script led to it
r1.png, r2.png, ...   the picture with each round's answer
all.png               with every segment, made by `:show`
fork-1.json, ...      conversations as they stood at `:fork`
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from askmask.conversation import Segment
from askmask.errors import SettingError
from askmask.imaging.files import Picture
from askmask.imaging.overlay import Layer, draw
from askmask.runs.json_text import read_object
from askmask.runs.manifest import OutputFolder, check_free, output_folder
from askmask.runs.whole_files import whole_file, write_json
from askmask.session import Model, Session

MADE_BY = "askmask chat"
CONVERSATION = "conversation.json"


class Kept:
    """One conversation and its folder. Made by `opened`."""

    def __init__(self, folder: OutputFolder, session: Session, script: list[str]):
        self.folder, self.session = folder, session
        self._script = script  # hashes of the lines of a script that are done

    def done(self, lines: Sequence[str]) -> int:
        """Return how many of a script's lines an earlier run of the same script has done."""
        hashes = [_hash(line) for line in lines]
        count = len(self._script)
        return count if self._script == hashes[:count] else 0

    def begin_script(self, done: int) -> None:
        """Forget what was done of another script."""
        self._script = self._script[:done]

    def write(self, line: str | None = None) -> None:
        """Put the conversation on disk, and that a script's `line` is done, in one step."""
        script = [*self._script, *([] if line is None else [_hash(line)])]
        write_json(self.folder.path(CONVERSATION), self.session.to_dict() | {"script": script}, indent=None)
        self._script = script

    def write_copy(self, path: Path) -> None:
        """Write the conversation to another file."""
        write_json(path, self.session.to_dict())

    def fork(self) -> Path:
        """Write the conversation as it stands beside itself; return where."""
        number = 1
        while (self.folder.root / f"fork-{number}.json").exists():
            number += 1
        path = self.folder.path(f"fork-{number}.json")
        self.write_copy(path)
        return path

    def load(self, path: str | Path) -> None:
        """Go on with a conversation of a file, over the same picture. Raises DataError."""
        self.session = Session.from_dict(read_object(path), self.session.model, self.session.picture)

    def overlay(self, name: str, segments: Sequence[Segment], title: str, outcome: str) -> Path:
        """Draw segments on the picture, each in its colour with its name, into NAME.png; return where.

        Where there are none, `title` and `outcome` stand in the legend.
        """
        trained = self.session.model.score_trained  # of words; of marks nothing is
        marked = {
            one.id for round in self.session.rounds if round.prompt.marks for one in round.segments or ()
        }
        layers = [
            Layer((one.mask,), label(one), _sure(one, scored=trained and one.id not in marked))
            for one in segments
        ] or [Layer((), title, outcome)]
        path = self.folder.path(f"{name}.png")
        with whole_file(path) as temporary:
            draw(self.session.picture.rgb, layers).save(temporary, format="PNG")
        return path


def check_resume(path: Path, *, resume: bool) -> None:
    """Raise SettingError where `opened` would not take the folder; to ask before a model is loaded."""
    check_free(path, MADE_BY)
    if (path / CONVERSATION).exists() and not resume:
        raise SettingError(
            f"{path} holds a conversation", do="Add --resume to go on with it, or choose another --out."
        )


@contextmanager
def opened(path: Path, model: Model, picture: Picture, *, resume: bool) -> Iterator[Kept]:
    """Open a conversation's folder, a new one or with `resume` one to go on with. Raises SettingError, DataError."""
    check_resume(path, resume=resume)
    file = path / CONVERSATION
    with output_folder(path, MADE_BY) as folder:
        script: list[str] = []
        if file.exists():
            data = read_object(file)
            session = Session.from_dict(data, model, picture)
            found = data.get("script")
            script = [str(one) for one in found] if isinstance(found, list) else []
        else:
            session = model.open(picture)
        kept = Kept(folder, session, script)
        kept.write()
        yield kept


def label(segment: Segment) -> str:
    """Return a segment's id, and what it is called."""
    called = segment.name or segment.phrase
    return f"{segment.id} {called}" if called else segment.id


def labels(segments: Sequence[Segment]) -> list[str]:
    """Return the labels of one answer's segments; those of one phrase ("the mugs") are counted."""
    called = [segment.name or segment.phrase for segment in segments]
    counted: Counter[str | None] = Counter()
    found = []
    for segment, name in zip(segments, called, strict=True):
        counted[name] += 1
        of = called.count(name)
        found.append(label(segment) + (f" ({counted[name]} of {of})" if name and of > 1 else ""))
    return found


def _sure(segment: Segment, *, scored: bool) -> str:
    return f"{segment.score:.2f}" if scored and segment.score is not None else segment.source


def _hash(line: str) -> str:
    return hashlib.sha256(line.encode("utf-8", "surrogatepass")).hexdigest()[:16]
