"""A conversation line by line: prompts are asked as words stream, commands change what was said."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from askmask.answer import Answer
from askmask.backend import Done, Keep, Words
from askmask.chat.kept import Kept, label, labels
from askmask.chat.lines import Line, box_of, points_of
from askmask.conversation import Reference, Round, Segment, without_masks
from askmask.errors import SettingError

Say = Callable[[str], None]


class Talk:
    """One conversation in its folder. `say` prints a line, `stream` a piece of one; without `words`, masks alone."""

    def __init__(self, kept: Kept, say: Say, stream: Say, *, words: bool = True):
        self.kept, self.say, self.stream, self.words = kept, say, stream, words
        self.ended = False
        self._about: tuple[str, ...] = ()  # of the next prompt

    def take(self, line: Line) -> None:
        """Do what a line says. Raises AskMaskError; the conversation is then as it was."""
        if (command := line.command) is None:
            self._ask(line)
            return
        name, rest = command
        if name not in COMMANDS:
            raise SettingError("no such command", got=f":{name}", do=f"There are: {', '.join(COMMANDS)}.")
        try:
            COMMANDS[name].run(self, rest)
        except (ValueError, IndexError, KeyError) as error:
            if isinstance(error, SettingError) or type(error).__module__.startswith("askmask"):
                raise
            raise SettingError(f"usage: :{name} {COMMANDS[name].usage}", got=repr(rest)[:80]) from error

    # -- asking ------------------------------------------------------------------------------------------------

    def _ask(self, line: Line) -> None:
        about = line.about or self._about
        started = False
        keep = Keep(words=self.words)
        for event in self.kept.session.stream(
            line.text, about=about, points=line.points, boxes=line.boxes, keep=keep
        ):
            if isinstance(event, Words) and event.text:
                self.stream(event.text)
                started = True
            if isinstance(event, Done):
                answer = event.answer
        self._about = ()
        if started:
            self.say("")
        self._tell(answer, words=not started)

    def _tell(self, answer: Answer, *, words: bool = True) -> None:
        """Print an answer and draw it."""
        round = answer.round
        if words and answer.text:
            self.say(f'"{answer.text}"')
        score = f"score {answer.score:.2f}, " if answer.score_trained and answer.score is not None else ""
        self._tell_round(round, answer.found, f"{score}{answer.model}")
        for notice in answer.notices:
            self.say(f"    note: {notice}")

    def _tell_round(self, round: Round, found: bool, note: str) -> None:
        segments = round.segments or ()
        count = (
            f"{len(segments)} segment{'s' * (len(segments) != 1)}"
            if found
            else without_masks(round.segments, round.reply)
        )
        self.say(f"{round.id}  {count}, {note}")
        scored = self.kept.session.model.score_trained and not round.prompt.marks
        for segment, called in zip(segments, labels(segments), strict=True):
            self.say(f"    {_in_a_line(segment, called, scored=scored)}")
        if round.references:
            self.say(f"    about {', '.join(map(_why, round.references))}")
        self.say(f"    {self.kept.overlay(round.id, segments, round.text or 'marked', count)}")

    # -- commands ----------------------------------------------------------------------------------------------

    def help(self, rest: str) -> None:
        """This list."""
        for name, command in COMMANDS.items():
            self.say(f"  {f':{name} {command.usage}':40} {command.run.__doc__}")
        self.say(
            "  Anything else is asked. What it refers to may be said in words: its handle, all of them except m2."
        )

    def undo(self, rest: str) -> None:
        """Take back the last change."""
        self.kept.session.undo()
        self._list()

    def about(self, rest: str) -> None:
        """Say what the next prompt is about: ids or names, with commas."""
        names = tuple(name.strip() for name in rest.replace(",", "\n").splitlines() if name.strip())
        known = {r.id for r in self.kept.session.rounds}
        for name in names:
            if name not in known:
                self._segment(name)
        self._about = names
        self.say(f"the next prompt is about {', '.join(names) or 'nothing in particular'}")

    def add(self, rest: str) -> None:
        """Take a mask file of your own as a round; what is not black is the mask."""
        file, _, name = rest.partition(" as ")
        self._added(file.strip(), name=name.strip() or None)

    def box(self, rest: str) -> None:
        """Mark a box, in pixels: the model draws what it means."""
        numbers, _, name = rest.partition(" as ")
        self._added(None, box=box_of(numbers.split()), name=name.strip() or None)

    def point(self, rest: str) -> None:
        """Click on a thing, in pixels; what follows "not" is no part of it."""
        numbers, _, name = rest.partition(" as ")
        self._added(None, points=list(points_of(numbers.split())), name=name.strip() or None)

    def polygon(self, rest: str) -> None:
        """Draw a polygon, in pixels."""
        numbers, _, name = rest.partition(" as ")
        self._added(None, polygon=[float(n) for n in numbers.split()], name=name.strip() or None)

    def rename(self, rest: str) -> None:
        """Call a segment by a name of yours; without one, by its id again."""
        which, _, name = rest.partition(" ")
        segment = self._segment(which)
        self.kept.session.rename(segment.id, name.strip() or None)
        self.say(f"{label(self.kept.session[segment.id])}")

    def edit(self, rest: str) -> None:
        """Ask a round anew in other words."""
        which, words = rest.split(None, 1)
        self._tell(self.kept.session.edit(which, words, words=self.words))
        self._tell_stale()

    def delete(self, rest: str) -> None:
        """Remove a round."""
        self.kept.session.delete(rest)
        self._list()
        self._tell_stale()

    def fork(self, rest: str) -> None:
        """Keep the conversation as it stands in a file, and go on; `:load` goes back."""
        self.say(f"kept as {self.kept.fork()}")

    def stale(self, rest: str) -> None:
        """List rounds that refer to something changed since."""
        self._tell_stale(always=True)

    def refresh(self, rest: str) -> None:
        """Ask the stale rounds anew."""
        for answer in self.kept.session.refresh(words=self.words):
            self._tell(answer)
        self._tell_stale(always=True)

    def show(self, rest: str) -> None:
        """List the rounds, and draw all segments."""
        self._list()
        segments = list(self.kept.session.segments.values())
        self.say(f"{self.kept.overlay('all', segments, 'nothing yet', '')}")

    def save(self, rest: str) -> None:
        """Write the conversation (.json), or one mask (:save m1 FILE.png)."""
        which, _, file = rest.partition(" ")
        if file:
            self._segment(which).mask.to_png(file.strip())
        else:
            self.kept.write_copy(_json_file(rest))
        self.say(f"written to {file.strip() or rest}")

    def load(self, rest: str) -> None:
        """Go on with a saved conversation over the same picture."""
        self.kept.load(_json_file(rest))
        self._list()

    def quit(self, rest: str) -> None:
        """End; all is on disk."""
        self.ended = True

    # -- how ---------------------------------------------------------------------------------------------------

    def _added(self, region: str | None, **more: Any) -> None:
        session = self.kept.session
        if region is not None and not Path(region).is_file():
            raise SettingError("no such file", got=region)
        session.add(None if region is None else Path(region), **more)
        round = session.rounds[-1]
        self._tell_round(round, True, round.made_by)

    def _segment(self, name: str) -> Segment:
        try:
            return self.kept.session[name]
        except KeyError as error:
            has = ", ".join(map(label, self.kept.session.segments.values())) or "none"
            raise SettingError("no such segment", got=repr(name)[:80], do=f"There are: {has}.") from error

    def _list(self) -> None:
        for round in self.kept.session.rounds:
            mark = " (stale)" if round.id in self.kept.session.stale else ""
            names = ", ".join(labels(round.segments or ())) or without_masks(round.segments, round.reply)
            self.say(f"{round.id}{mark}  {round.text or 'marked by you'}: {names}")
        if not self.kept.session.rounds:
            self.say("nothing was asked yet")

    def _tell_stale(self, *, always: bool = False) -> None:
        stale = [round.id for round in self.kept.session.rounds if round.id in self.kept.session.stale]
        if stale or always:
            self.say(f"stale: {', '.join(stale)}; `:refresh` asks them anew" if stale else "nothing is stale")


@dataclass(frozen=True)
class Command:
    """What a command does, and what follows its name."""

    run: Callable[[Talk, str], None]
    usage: str = ""


COMMANDS = {
    "undo": Command(Talk.undo),
    "about": Command(Talk.about, "m1, m2"),
    "add": Command(Talk.add, "FILE [as NAME]"),
    "box": Command(Talk.box, "X0 Y0 X1 Y1 [as NAME]"),
    "point": Command(Talk.point, "X Y [not X Y] [as NAME]"),
    "polygon": Command(Talk.polygon, "X Y X Y X Y ... [as NAME]"),
    "rename": Command(Talk.rename, "m1 NAME"),
    "edit": Command(Talk.edit, "r1 OTHER WORDS"),
    "delete": Command(Talk.delete, "r1"),
    "fork": Command(Talk.fork),
    "stale": Command(Talk.stale),
    "refresh": Command(Talk.refresh),
    "show": Command(Talk.show),
    "save": Command(Talk.save, "FILE.json | m1 FILE.png"),
    "load": Command(Talk.load, "FILE.json"),
    "help": Command(Talk.help),
    "quit": Command(Talk.quit),
}


def _json_file(name: str) -> Path:
    path = Path(name)
    if path.suffix.lower() != ".json":
        raise SettingError("a conversation is a .json file", got=repr(name)[:80])
    return path


def _in_a_line(segment: Segment, called: str, *, scored: bool) -> str:
    box = segment.mask.box
    where = "empty" if box is None else "box {} {} {} {}".format(*box)
    sure = f", {segment.score:.2f}" if scored and segment.score is not None else ""
    made = f", from {', '.join(segment.parents)}" if segment.parents else ""
    return f"{called}: {where}{sure}{made}"


def _why(reference: Reference) -> str:
    by = f"by {reference.rule}" if reference.rule else "as given" if reference.given else "the model says"
    return f"{reference.id} ({by}, {reference.score:.2f})"
