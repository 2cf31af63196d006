"""Model and Session: what answers, and one conversation with it over a picture; the things users hold.

A Session looks at its picture once. `ask` is the next round of its conversation; `ask_many` asks prompts that know
nothing of each other and leaves the conversation as it is.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from askmask.answer import Answer
from askmask.asking import answer_events, as_given
from askmask.backend import Asked, Backend, Done, Event, Keep, State, View
from askmask.conversation import SCHEMA, Box, Prompt, Round, Segment, named
from askmask.editing import made_by_user, replaced
from askmask.errors import DataError, PromptError, SettingError
from askmask.history import answered, translated
from askmask.imaging.files import Picture, read_picture
from askmask.imaging.mask import Mask

if TYPE_CHECKING:
    from PIL import Image

MOST_NAMES = 10**9
_NAME = re.compile("[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
MEMORY_LIMIT = 4 << 30  # bytes of encoded pictures that a Model's sessions keep together


class Model:
    """A back-end ready to use. Made by `askmask.load`.

    `memory_limit`: bytes that the encoded pictures of its open sessions, and what is remembered of their conversations,
    may take together; beyond it, what was not used for longest is forgotten, conversations first, and made again when
    its session is asked.
    """

    def __init__(self, backend: Backend, *, memory_limit: int = MEMORY_LIMIT):
        self.backend = backend
        self.memory_limit = memory_limit
        # Pictures looked at, the latest last, by the picture's identity: conversations over one picture share it.
        self._views: OrderedDict[int, View] = OrderedDict()
        self._users: Counter[int] = Counter()
        # What the back-end remembers of each conversation, the latest last: it goes when its picture's view goes.
        self._states: WeakKeyDictionary[Session, State] = WeakKeyDictionary()
        self._gone: deque[Picture] = (
            deque()
        )  # of sessions that are no more; kept, so that no other takes its identity
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"Model({self.name!r}, protocol={self.backend.protocol_name!r})"

    @property
    def name(self) -> str:
        """What results are labelled with."""
        return self.backend.name

    @property
    def score_trained(self) -> bool:
        """Whether training stands behind the scores of answers to words."""
        return bool(getattr(self.backend, "score_trained", False))

    def open(self, picture: Any) -> Session:
        """Look at a picture (path, bytes, Pillow image, uint8 array) and return a Session to ask.

        Raises PictureError for what cannot be read.
        """
        session = Session(self, read_picture(picture))
        self.view_of(session)
        return session

    def batch(self, items: Iterable[tuple[Any, str]]) -> Iterator[Answer]:
        """Answer (picture, prompt) pairs in order; neighbours on the same picture share its encoding.

        A picture or prompt that cannot be used raises when its turn comes; `askmask.batch` isolates them.
        """
        session, before = None, None
        for source, prompt in items:
            same = source is before or (isinstance(source, str) and source == before)
            if session is None or not same:
                session, before = self.open(source), source
            yield session.ask_many([prompt])[0]

    def answers(self, asked: Sequence[Asked], keep: Keep = Keep()) -> list[Answer]:
        """Answer prompts of any conversations together; the one way by which every answer is made."""
        found: dict[int, Answer] = {}
        for event in self.backend.answer(asked, keep):
            if isinstance(event, Done):
                found[event.row] = event.answer
        return [found[row] for row in range(len(asked))]

    def view_of(self, session: Session) -> View:
        """Return a session's picture as the back-end sees it, looking again if it was forgotten."""
        key = id(session.picture)
        with self._held():
            view = self._views.pop(key, None)
        if view is None:
            view = self.backend.look(session.picture)
        with self._held():
            self._views[key] = view
            self._forget(session)
        return view

    def state_of(self, session: Session) -> State | None:
        """Return what the back-end last remembered of a session, if its picture has not been forgotten since."""
        with self._held():
            return self._states.get(session)

    def keep_state(self, session: Session, state: State) -> None:
        """Remember a session's state for as long as its picture's view is kept."""
        with self._held():
            if self._views.get(id(session.picture)) is state.view:
                self._states.pop(session, None)
                self._states[session] = state
                self._forget(session)

    def _forget(self, spare: Session) -> None:
        """Let go of what was not used for longest, until the rest is within the limit; whoever calls holds the lock."""
        seen, remembered = self._views.values(), self._states.values()
        over = sum(v.nbytes for v in seen) + sum(s.nbytes for s in remembered) - self.memory_limit
        for session, state in list(self._states.items()):
            if over <= 0:
                return
            if session is not spare and state.nbytes:
                over -= state.nbytes
                del self._states[session]
        while over > 0 and len(self._views) > 1:
            _, view = self._views.popitem(last=False)
            over -= view.nbytes
            for session in [one for one, state in self._states.items() if state.view is view]:
                over -= self._states.pop(session).nbytes

    def _begun(self, picture: Picture) -> None:
        """Count a conversation over a picture."""
        with self._held():
            self._users[id(picture)] += 1

    def _ended(self, picture: Picture) -> None:
        """Count one less. The collector may call it at any moment, also where this thread holds the lock."""
        self._gone.append(picture)
        self._let_go()

    @contextmanager
    def _held(self) -> Iterator[None]:
        with self._lock:
            yield
        self._let_go()

    def _let_go(self) -> None:
        """Forget what was kept of pictures without conversations. Whoever holds the lock does it after."""
        while self._gone and self._lock.acquire(blocking=False):
            try:
                while self._gone:
                    key = id(picture := self._gone.popleft())
                    self._users[key] -= 1
                    if not self._users[key]:
                        del self._users[key]
                        self._views.pop(key, None)
                    del picture
            finally:
                self._lock.release()


@dataclass(frozen=True, slots=True)
class _Moment:
    """All that undo brings back."""

    rounds: tuple[Round, ...] = ()
    stale: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class _Step:
    """The way from a moment back to the one before: the rounds that both begin with are kept once."""

    keep: int
    rounds: tuple[Round, ...]
    stale: frozenset[str]

    @classmethod
    def between(cls, before: _Moment, later: _Moment) -> _Step:
        pairs = zip(before.rounds, later.rounds, strict=False)
        keep = sum(1 for _ in takewhile(lambda pair: pair[0] is pair[1], pairs))
        return cls(keep, before.rounds[keep:], before.stale)

    def back(self, later: _Moment) -> _Moment:
        return _Moment(later.rounds[: self.keep] + self.rounds, self.stale)


class Session:
    """One picture and the conversation over it so far. Safe to use from several threads, one call at a time.

    Rounds are named `r1`, `r2`, ..., their segments `m1`, `m2`, ...; a name is never given twice.
    """

    def __init__(self, model: Model, picture: Picture):
        self.model = model
        self.picture = picture
        self._now = _Moment()
        self._before: list[_Step] = []
        self._next = {"r": 1, "m": 1}
        self._lock = threading.RLock()
        model._begun(picture)

    def __repr__(self) -> str:
        return f"Session({self.picture.name!r}, {len(self.rounds)} rounds, {self.model!r})"

    def __del__(self) -> None:
        self.model._ended(self.picture)

    def overlay(self) -> Image.Image:
        """Return the picture with all rounds drawn on it, each in a colour, and their masks by name."""
        from askmask.show import draw_session

        return draw_session(self)

    def plot(self, axes: Any = None) -> Any:
        """Show the overlay on Matplotlib axes (extra `[notebook]`), new ones if none are given; return them."""
        from askmask.show import plot

        return plot(self.overlay(), axes)

    def _repr_html_(self) -> str:
        from askmask.show import session_html

        return session_html(self)

    def _repr_png_(self) -> bytes:
        from askmask.show import NOTEBOOK_SIDE, draw_session, png_of

        return png_of(draw_session(self, most=NOTEBOOK_SIDE))

    # -- asking ---------------------------------------------------------------------------------------------

    def ask(
        self,
        prompt: str | Prompt = "",
        *,
        about: str | Iterable[str] = (),
        points: Iterable[Sequence[float]] = (),
        boxes: Iterable[Box] = (),
        mask: Mask | None = None,
        words: bool = True,
        keep_logits: bool = False,
        keep_alternatives: bool = False,
    ) -> Answer:
        """Ask the next round, in words or by marks on the picture, and return its answer.

        `about` names earlier segments, rounds, or segments by the name a user gave them; without it, words that
        clearly speak of something earlier ("its handle", "the second answer") are taken so: see the answer's
        `references`. What is nothing but algebra over known segments ("all of them except m2") is computed.

        `points` are (x, y) or (x, y, inside) and together mean one thing; every box (x0, y0, x1, y1) means one thing;
        `mask` is a drawn mask to begin from. Raises PromptError for what cannot be asked; the conversation then stays
        as it was. Without `words`, a model that can leave out its reply (mini) does, and is several times as fast.
        """
        for event in self.stream(
            prompt,
            about=about,
            points=points,
            boxes=boxes,
            mask=mask,
            keep=Keep(logits=keep_logits, alternatives=keep_alternatives, words=words),
        ):
            if isinstance(event, Done):
                return event.answer
        raise RuntimeError("the back-end ended without an answer")

    def stream(
        self,
        prompt: str | Prompt = "",
        *,
        about: str | Iterable[str] = (),
        points: Iterable[Sequence[float]] = (),
        boxes: Iterable[Box] = (),
        mask: Mask | None = None,
        keep: Keep = Keep(),
    ) -> Iterator[Event]:
        """Ask the next round and yield words and segments as they come; see `ask`. The last event is `Done`."""
        full = self._prompt(prompt, about, points, boxes, mask)
        with self._lock:
            yield from self._answer(full, self.rounds, keep, self._append)

    def ask_many(
        self,
        prompts: Iterable[str | Prompt],
        *,
        words: bool = True,
        keep_logits: bool = False,
        keep_alternatives: bool = False,
    ) -> list[Answer]:
        """Answer prompts together, each as if it were the first; the conversation stays as it is. See `ask`."""
        if isinstance(prompts, str):
            raise PromptError(
                "ask_many takes a list of prompts", got="one text", do="Use ask, or put it in a list."
            )
        checked = [self.model.backend.check(self._prompt(prompt)) for prompt in prompts]
        state = self.model.backend.begin(self.model.view_of(self))
        keep = Keep(logits=keep_logits, alternatives=keep_alternatives, words=words)
        answers = self.model.answers([Asked(state, prompt) for prompt in checked], keep)
        # Named as the first of a conversation of their own, whatever they refer to in this one.
        alone = (replace(answer.round, prompt=Prompt()) for answer in answers)
        rounds = (
            replace(named([one])[0], prompt=answer.round.prompt)
            for one, answer in zip(alone, answers, strict=True)
        )
        return [replace(answer, round=round) for answer, round in zip(answers, rounds, strict=True)]

    # -- the conversation -----------------------------------------------------------------------------------

    @property
    def rounds(self) -> tuple[Round, ...]:
        """The rounds so far."""
        return self._now.rounds

    @property
    def stale(self) -> frozenset[str]:
        """Ids of rounds that refer to something that was changed after they were answered; see `refresh`."""
        return self._now.stale

    @property
    def segments(self) -> dict[str, Segment]:
        """All segments of the conversation by id, in order."""
        return {segment.id: segment for round in self.rounds for segment in round.segments or ()}

    def __getitem__(self, name: str) -> Segment:
        """Return a segment by its id, or by the name a user gave it. Raises KeyError."""
        segments = self.segments
        for segment in (segments[name],) if name in segments else reversed(segments.values()):
            if name in (segment.id, segment.name):
                return segment
        raise KeyError(f"no segment {name!r}; there are: {', '.join(segments) or 'none'}")

    def add(
        self,
        region: Segment | Mask | str | Path | bytes | Any = None,
        *,
        name: str | None = None,
        box: Box | None = None,
        points: Iterable[Sequence[float]] = (),
        polygon: Sequence[Any] | None = None,
    ) -> Segment:
        """Take something of the user's own into the conversation, as a round; return its segment.

        `region` is a Mask, a Segment (`m1 - m2`), a file whose pixels that are not black are the mask, or an array
        [H, W]; `polygon` is corners (x, y) in pixels. A `box` and `points` (see `ask`) go to the model, which draws
        what they mean; where it takes no marks, a box means its whole area. Raises PromptError for what is not of the
        picture, and where the model finds nothing.
        """
        marks = list(points)
        if sum((region is not None, box is not None or bool(marks), polygon is not None)) != 1:
            raise PromptError(
                "one thing is added at a time", do="Give a region, a polygon, or a box and points."
            )
        if box is not None or marks:
            prompt = self._prompt("", (), marks, () if box is None else (box,))
            try:
                return self._marked(prompt, name)
            except MarksRefused as refused:
                if box is None or marks:
                    raise PromptError(
                        "this model takes no clicks", got=refused, do="Add a mask."
                    ) from refused
            polygon = [(box[0], box[1]), (box[2], box[1]), (box[2], box[3]), (box[0], box[3])]
        segment = _users_own(region, polygon, self.picture.size)
        with self._lock:
            parents = tuple(one for one in segment.parents if one in self.segments)
            segment = replace(segment, id="", name=name or segment.name, parents=parents)
            prompt = Prompt(masks=(segment.mask,), refers_to=parents)
            return self.take(Round(prompt=prompt, segments=(segment,), made_by="user")).segments[0]  # type: ignore[index]

    def take(self, round: Round) -> Round:
        """Take a round that was answered elsewhere as the next one; return it with its names."""
        full = self._prompt(round.prompt)
        if any(mask.size != self.picture.size for mask in round.masks or ()):
            raise PromptError(
                "a mask must have the picture's size", got=[mask.size for mask in round.masks or ()]
            )
        with self._lock:
            return self._append(replace(round, prompt=full))

    def rename(self, segment: str, name: str | None) -> None:
        """Give a segment a name of the user's choice; its id stays."""
        with self._lock:
            found = self[segment]
            self._change(
                replace(
                    round,
                    segments=tuple(replace(s, name=name) if s.id == found.id else s for s in round.segments),
                )
                if round.segments
                else round
                for round in self.rounds
            )

    def edit(self, round: str, prompt: str | Prompt, *, words: bool = True) -> Answer:
        """Ask a round anew with another prompt; rounds that refer to it become stale. `words` as in `ask`.

        As many segments as before keep their ids and names, else they get new ones. What a Prompt refers to is as it
        says; with new words alone, what was given beside the old ones stays.
        """
        with self._lock:
            index = self._index(round)
            old = self.rounds[index]
            if made_by_user(old):
                raise PromptError(
                    "a mask of the user's own has no prompt to edit",
                    got=round,
                    do="Delete it, and add another.",
                )
            given = prompt if isinstance(prompt, Prompt) else replace(as_given(old), text=prompt)
            self._check_marks(given)
            return self._ask_anew(index, given, lambda new: self._named_like(new, old), words)

    def refresh(self, *, words: bool = True) -> list[Answer]:
        """Ask the stale rounds anew, in order; return their answers. A user's own masks stay as they are.

        `words` as in `ask`.
        """
        with self._lock:
            stale = [round.id for round in self.rounds if round.id in self.stale and not made_by_user(round)]
            known = len(self._before)
            try:
                return [
                    self.edit(name, as_given(self.rounds[self._index(name)]), words=words) for name in stale
                ]
            finally:
                del self._before[known + 1 :]  # one call, one change: undo brings back what was before it

    def delete(self, round: str) -> None:
        """Remove a round; rounds that refer to it become stale and lose the reference."""
        with self._lock:
            self._set(*replaced(self.rounds, self.stale, self._index(round), None))

    def undo(self) -> None:
        """Take back the last change: a round, an edit, a name. Raises SettingError when there is none."""
        with self._lock:
            if not self._before:
                raise SettingError("there is nothing to undo")
            self._now = self._before.pop().back(self._now)

    def fork(self) -> Session:
        """Return a second conversation that begins as this one stands."""
        with self._lock:
            other = Session(self.model, self.picture)
            other._now, other._before, other._next = self._now, list(self._before), dict(self._next)
            if (state := self.model.state_of(self)) is not None:
                self.model.keep_state(other, state)
            return other

    # -- as JSON --------------------------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """Return a form ready for JSON: all but the picture's pixels, of which the hash is kept."""
        with self._lock:
            return {
                "schema": SCHEMA,
                "picture": {
                    "name": self.picture.name,
                    "size": list(self.picture.size),
                    "sha256": self._sha256,
                },
                "model": {
                    "name": self.model.name,
                    "protocol": self.model.backend.protocol_name,
                    "fingerprint": self.model.backend.fingerprint,
                    "score_trained": self.model.score_trained,
                },
                "rounds": [round.to_dict() for round in self.rounds],
                "stale": sorted(self.stale),
                "next": dict(self._next),
            }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], model: Model, picture: Any) -> Session:
        """Go on with a conversation that `to_dict` wrote, over the same picture. Raises DataError."""
        session = model.open(picture)
        try:
            if data.get("schema", SCHEMA) > SCHEMA:
                raise DataError("this conversation was saved by a newer askmask", do="Upgrade askmask.")
            if data["picture"]["sha256"] != session._sha256:
                raise DataError(
                    "this is not the picture of the conversation",
                    got=f"{session.picture.name}, {session.picture.size}",
                    do=f"Give {data['picture']['name']} of {tuple(data['picture']['size'])}.",
                )
            rounds = named([Round.from_dict(round) for round in data["rounds"]])
            names = [name for r in rounds for name in (r.id, *(s.id for s in r.segments or ()))]
            if odd := [name for name in names if not _NAME.fullmatch(name)]:  # files are named by them
                raise DataError("an id of a conversation is letters and digits", got=repr(odd[0])[:80])
            sizes = {
                m.size
                for r in rounds
                for m in (*(r.masks or ()), *r.prompt.masks, *((r.ignore,) if r.ignore else ()))
            }
            if sizes - {session.picture.size}:
                raise DataError("a mask of the conversation has another size than the picture", got=sizes)
            session._now = _Moment(rounds, frozenset(map(str, data.get("stale", ()))))
            session._next = {letter: _next(data["next"][letter], letter, rounds) for letter in "rm"}
        except DataError:
            raise
        except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError) as error:
            raise DataError(
                "not a conversation of askmask", got=f"{type(error).__name__}: {error}"[:160]
            ) from error
        return session

    @classmethod
    def replay(cls, data: Mapping[str, Any], model: Model, picture: Any, *, words: bool = True) -> Session:
        """Ask all prompts of a conversation that `to_dict` wrote anew, in order; names stay. Raises DataError.

        The same model, asked with or without `words` as it was, gives the same answers; after an edit or a deletion,
        those it gives now that it was made.
        """
        old = cls.from_dict(data, model, picture)
        new = cls(model, old.picture)
        new._next = dict(old._next)
        for round in old.rounds:
            if made_by_user(round):
                new._set((*new.rounds, round), frozenset())
                continue
            prompt = as_given(round)
            meant = translated(prompt.refers_to, old.rounds[: len(new.rounds)], new.rounds)
            named_like = partial(new._named_like, old=round)
            new._ask_anew(len(new.rounds), replace(prompt, refers_to=meant), named_like, words)
        new._before.clear()
        return new

    # -- how ------------------------------------------------------------------------------------------------

    def _marked(self, prompt: Prompt, name: str | None) -> Segment:
        """Have the model draw what marks mean. Raises MarksRefused, and PromptError where it finds nothing."""
        try:
            self.model.backend.check(prompt)
        except PromptError as error:
            raise MarksRefused(str(error)) from error
        with self._lock:
            for event in self._answer(prompt, self.rounds, Keep(), lambda new: new):
                if isinstance(event, Done):
                    round = event.answer.round
            if not round.segments:
                raise PromptError("the model finds nothing there", do="Mark it otherwise, or add a mask.")
            first, *more = round.segments
            return self._append(replace(round, segments=(replace(first, name=name), *more))).segments[0]  # type: ignore[index]

    @cached_property
    def _sha256(self) -> str:
        return _hash(self.picture)

    def _prompt(
        self,
        prompt: str | Prompt,
        about: str | Iterable[str] = (),
        points: Iterable[Sequence[float]] = (),
        boxes: Iterable[Box] = (),
        mask: Mask | None = None,
    ) -> Prompt:
        """Build the whole prompt, with names resolved to ids. Raises PromptError."""
        if not isinstance(prompt, (str, Prompt)):
            raise PromptError("a prompt must be text", got=type(prompt).__name__)
        base = prompt if isinstance(prompt, Prompt) else Prompt(text=prompt)
        ids = {round.id for round in self.rounds} | self.segments.keys()
        names = {segment.name: segment.id for segment in self.segments.values() if segment.name}
        meant = [names.get(name, name) for name in ([about] if isinstance(about, str) else about)]
        if unknown := [name for name in (*base.refers_to, *meant) if name not in ids]:
            raise PromptError(
                "the prompt refers to something this conversation does not have",
                got=", ".join(map(repr, unknown)),
                do=f"It has: {', '.join(sorted(ids)) or 'nothing yet'}.",
            )
        try:
            marks = tuple((float(p[0]), float(p[1]), bool(p[2]) if len(p) > 2 else True) for p in points)
            corners = tuple((float(a), float(b), float(c), float(d)) for a, b, c, d in boxes)
        except (TypeError, ValueError, IndexError) as error:
            raise PromptError(
                "a point is (x, y) or (x, y, inside), a box (x0, y0, x1, y1)", got=error
            ) from error
        masks = base.masks + (() if mask is None else (mask,))
        full = replace(
            base,
            refers_to=tuple(dict.fromkeys((*base.refers_to, *meant))),
            points=base.points + marks,
            boxes=base.boxes + corners,
            masks=masks,
        )
        self._check_marks(full)
        return full

    def _check_marks(self, prompt: Prompt) -> None:
        """Raise PromptError for marks that are not of the picture, and boxes that hold nothing."""
        height, width = self.picture.size
        xs = [p[0] for p in prompt.points] + [x for box in prompt.boxes for x in box[::2]]
        ys = [p[1] for p in prompt.points] + [y for box in prompt.boxes for y in box[1::2]]
        if not all(0 <= x <= width for x in xs) or not all(0 <= y <= height for y in ys):
            raise PromptError(
                "a mark lies outside the picture", got=f"x {xs}, y {ys} of {width} x {height} px"
            )
        for box in prompt.boxes:
            if not (box[0] < box[2] and box[1] < box[3]):
                raise PromptError(
                    "a box is (x0, y0, x1, y1) with x0 < x1 and y0 < y1",
                    got=box,
                    do="Name its upper left corner first, then its lower right.",
                )
        if any(one.size != self.picture.size for one in prompt.masks):
            raise PromptError(
                "a drawn mask must have the picture's size", got=[one.size for one in prompt.masks]
            )

    def _answer(self, prompt: Prompt, before: Sequence[Round], keep: Keep, take: Any) -> Iterator[Event]:
        """Answer a prompt after some rounds; `take` puts the round into the conversation and names it."""
        seen = answered(before)
        events = answer_events(
            self.model.backend, self.picture, seen, prompt, keep, lambda: self._state_after(seen)
        )
        for event in events:
            if isinstance(event, Done):
                event = Done(0, replace(event.answer, round=take(event.answer.round)))
            yield event

    def _ask_anew(self, index: int, prompt: Prompt, name: Callable[[Round], Round], words: bool) -> Answer:
        """Answer a prompt after the rounds before `index`, and put it there, or at the end."""

        def take(made: Round) -> Round:
            made = name(made)
            if index == len(self.rounds):
                self._set((*self.rounds, made), self.stale)
            else:
                self._set(*replaced(self.rounds, self.stale, index, made))
            return made

        for event in self._answer(prompt, self.rounds[:index], Keep(words=words), take):
            if isinstance(event, Done):
                return event.answer
        raise RuntimeError("the back-end ended without an answer")

    def _state_after(self, rounds: Sequence[Round]) -> State:
        """Return the back-end's state after some rounds: the last one it was in, extended, where that leads there."""
        view, state = self.model.view_of(self), self.model.state_of(self)
        if state is None or state.view is not view or state.rounds != tuple(rounds[: len(state.rounds)]):
            state = self.model.backend.begin(view)
        for round in rounds[len(state.rounds) :]:
            state = self.model.backend.extend(state, round)
        self.model.keep_state(self, state)
        return state

    def _append(self, round: Round) -> Round:
        """Add a round at the end."""
        round = self._named(round)
        self._set((*self.rounds, round), self.stale)
        return round

    def _change(self, rounds: Iterable[Round]) -> None:
        self._set(tuple(rounds), self.stale)

    def _set(self, rounds: tuple[Round, ...], stale: frozenset[str]) -> None:
        later = _Moment(rounds, stale)
        self._before.append(_Step.between(self._now, later))
        self._now = later

    def _named(self, round: Round) -> Round:
        """Give a round and its segments the next names."""
        segments = tuple(replace(segment, id=self._name("m")) for segment in round.segments or ())
        return replace(round, id=self._name("r"), segments=None if round.segments is None else segments)

    def _named_like(self, round: Round, old: Round) -> Round:
        """Give a round and its segments the names of another's, as far as it has as many."""
        segments, names = round.segments, old.segments or ()
        if segments and len(segments) == len(names):
            pairs = zip(segments, names, strict=True)
            segments = tuple(replace(one, id=other.id, name=other.name) for one, other in pairs)
        elif segments:
            segments = tuple(replace(one, id=self._name("m")) for one in segments)
        return replace(round, id=old.id, segments=segments)

    def _name(self, letter: str) -> str:
        number = self._next[letter]
        self._next[letter] += 1
        return f"{letter}{number}"

    def _index(self, name: str) -> int:
        for index, round in enumerate(self.rounds):
            if round.id == name:
                return index
        raise SettingError(
            "no such round",
            got=repr(name),
            do=f"There are: {', '.join(r.id for r in self.rounds) or 'none'}.",
        )


class MarksRefused(PromptError):
    """Marks that a model cannot be asked with."""


def _next(number: Any, letter: str, rounds: Iterable[Round]) -> int:
    """Check the number that the next round ("r") or segment ("m") is named by: no name is given twice."""
    names = [name for round in rounds for name in (round.id, *(s.id for s in round.segments or ()))]
    taken = [int(name[1:]) for name in names if re.fullmatch(letter + "[0-9]{1,9}", name)]
    if type(number) is not int or not max(taken, default=0) < number <= MOST_NAMES:
        raise DataError(
            f"the next {letter} of a conversation is a number beyond those it has", got=repr(number)[:40]
        )
    return number


def _users_own(region: Any, polygon: Sequence[Any] | None, size: tuple[int, int]) -> Segment:
    """Return a region of the user's own as a segment of a picture of `size`. Raises PromptError."""
    if polygon is not None:
        mask = Mask.from_polygons([polygon], size)
    elif isinstance(region, Segment):
        return replace(region, source="user", phrase=None, span=None)
    elif isinstance(region, Mask):
        mask = region
    elif isinstance(region, (str, Path, bytes)):
        mask = Mask.from_png(region)
    else:
        mask = Mask.from_array(region)
    if mask.size != size:
        raise PromptError("a mask must have the picture's size", got=f"{mask.size}, not {size}")
    return Segment(mask=mask, source="user")


def _hash(picture: Picture) -> str:
    """Return the SHA-256 of a picture's upright pixels and size."""
    digest = hashlib.sha256(repr(picture.size).encode())
    digest.update(picture.rgb.tobytes())
    return digest.hexdigest()
