"""Together: a back-end that many callers share; what waits at the same time is answered in one call.

It stands behind the seam of backend.py, so that sessions, each in its own thread, need to know nothing of it.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from queue import SimpleQueue
from typing import Any

from askmask.backend import Asked, Backend, Done, Event, Keep, State, View
from askmask.conversation import Prompt, Round
from askmask.imaging.files import Picture
from askmask.serving.refusal import Cancelled

AT_ONCE = 32  # prompts of one call, for back-ends that answer many together
LANES = 8  # calls side by side, for back-ends that wait for another server


class Cancel:
    """Says to work under way that nobody waits for it any longer. Safe to set from any thread."""

    def __init__(self) -> None:
        self._said = threading.Event()
        self._then: list[Callable[[], None]] = []
        self._lock = threading.Lock()

    def __bool__(self) -> bool:
        return self._said.is_set()

    def set(self) -> None:
        """Cancel."""
        with self._lock:
            self._said.set()
            then, self._then = self._then, []
        for call in then:
            call()

    @contextmanager
    def then(self, call: Callable[[], None]) -> Iterator[None]:
        """Have it called when cancelled meanwhile: at once, if that has happened."""
        with self._lock:
            said = bool(self)
            if not said:
                self._then.append(call)
        if said:
            call()
        try:
            yield
        finally:
            with self._lock:
                if call in self._then:
                    self._then.remove(call)


cancel_of_call: ContextVar[Cancel | None] = ContextVar("cancel_of_call", default=None)
# Whether anybody hears words and segments before the answer. Each wakes a thread, which costs where many ask at once.
hears_of_call: ContextVar[bool] = ContextVar("hears_of_call", default=True)


@dataclass
class _Call:
    """Prompts of one caller, or a picture to look at; events go back through a queue."""

    asked: Sequence[Asked] = ()
    keep: Keep = field(default_factory=Keep)
    picture: Picture | None = None
    cancel: Cancel | None = None
    hears: bool = True
    events: SimpleQueue[Any] = field(default_factory=SimpleQueue)
    undone: set[int] = field(default_factory=set)

    @property
    def gone(self) -> bool:
        """Whether nobody waits for it."""
        return bool(self.cancel)


class _End:
    """Nothing more comes."""


class Together:
    """`inner`, called by one thread that takes all that waits; by several, one call each, where it `waits`.

    `told(rows, seconds)` is called after each call of `inner.answer`.
    """

    def __init__(self, inner: Backend, *, told: Callable[[int, float], None] = lambda rows, seconds: None):
        self.inner, self._told = inner, told
        self.name, self.protocol_name, self.fingerprint = inner.name, inner.protocol_name, inner.fingerprint
        self._waiting: deque[_Call] = deque()
        self._changed = threading.Condition()
        self._closed = False
        lanes = LANES if getattr(inner, "waits", False) else 1
        self._at_once = 1 if lanes > 1 else AT_ONCE
        self._threads = [
            threading.Thread(target=self._work, name=f"{self.name}-{n}", daemon=True) for n in range(lanes)
        ]
        for thread in self._threads:
            thread.start()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)  # what else a back-end may offer

    def check(self, prompt: Prompt) -> Prompt:
        """Return the prompt as it will be asked."""
        return self.inner.check(prompt)

    def look(self, picture: Picture) -> View:
        """Look at a picture, in turn with everything else."""
        view: View = next(self._events(_Call(picture=picture, cancel=cancel_of_call.get())))
        return view

    def begin(self, view: View) -> State:
        """Begin a conversation."""
        return self.inner.begin(view)

    def extend(self, state: State, round: Round) -> State:
        """Return the state after a round."""
        return self.inner.extend(state, round)

    def answer(self, asked: Sequence[Asked], keep: Keep) -> Iterator[Event]:
        """Answer prompts, together with those of others. Raises Cancelled when the caller's call is cancelled."""
        if asked:
            yield from self._events(
                _Call(list(asked), keep, None, cancel_of_call.get(), hears=hears_of_call.get())
            )

    def close(self) -> None:
        """Stop when what waits is done."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    # -- the callers' side ----------------------------------------------------------------------------------

    def _events(self, call: _Call) -> Iterator[Any]:
        call.undone = set(range(len(call.asked)))
        with self._changed:
            if self._closed:
                raise RuntimeError("this server is stopping")
            self._waiting.append(call)
            self._changed.notify()
        # It holds the queue alone: a cancel that held the call would hold itself, and the conversations asked about
        # with it, until the collector comes.
        events, left = call.events, len(call.asked)
        told = nullcontext() if call.cancel is None else call.cancel.then(lambda: events.put(Cancelled()))
        with told:
            while not isinstance(event := events.get(), _End):
                if isinstance(event, BaseException):
                    raise event
                yield event
                left -= isinstance(event, Done)
                if call.asked and not left:
                    return  # the others of the same call of `inner` need not be waited for

    # -- the threads' side ----------------------------------------------------------------------------------

    def _work(self) -> None:
        while calls := self._next():
            if calls[0].picture is not None:
                self._look(calls[0])
            else:
                self._answer(calls)
            del calls  # or they would be held while nothing is asked

    def _next(self) -> list[_Call]:
        """Take the first call that waits, and of those behind it all that can go with it; [] at the end."""
        with self._changed:
            while True:
                while self._waiting and self._waiting[0].gone:
                    self._waiting.popleft()
                if self._waiting or self._closed:
                    break
                self._changed.wait()
            if not self._waiting:
                return []
            calls = [self._waiting.popleft()]
            if calls[0].picture is None:
                rows = len(calls[0].asked)
                for call in list(self._waiting):
                    fits = call.picture is None and call.keep == calls[0].keep and not call.gone
                    if fits and rows + len(call.asked) <= self._at_once:
                        self._waiting.remove(call)
                        calls.append(call)
                        rows += len(call.asked)
            return calls

    def _look(self, call: _Call) -> None:
        assert call.picture is not None
        try:
            call.events.put(self.inner.look(call.picture))
        except BaseException as error:
            call.events.put(error)

    def _answer(self, calls: list[_Call]) -> None:
        rows = [(call, number) for call in calls for number in range(len(call.asked))]
        start = time.perf_counter()
        try:
            self._pass_on(rows, calls[0].keep)
        except BaseException as error:
            # One of several is at fault, and which is not said: each that is not done is asked alone.
            for call in calls:
                if not call.undone:
                    continue
                if len(calls) == 1:
                    call.events.put(error)
                    continue
                try:
                    self._pass_on([(call, number) for number in sorted(call.undone)], call.keep)
                except BaseException as own:
                    call.events.put(own)
        self._told(len(rows), time.perf_counter() - start)
        for call in calls:
            call.events.put(_End())

    def _pass_on(self, rows: list[tuple[_Call, int]], keep: Keep) -> None:
        for event in self.inner.answer([call.asked[number] for call, number in rows], keep):
            call, number = rows[event.row]
            if isinstance(event, Done):
                call.undone.discard(number)
            elif not call.hears:
                continue
            call.events.put(replace(event, row=number))
