"""Many callers on one back-end: answers as if alone, merged calls, faults and cancelling apart from each other."""

import gc
import threading
import time
import weakref
from dataclasses import replace

import pytest

from askmask.answer import Answer
from askmask.backend import Asked, Done, Keep, State
from askmask.conversation import Prompt
from askmask.errors import PromptError
from askmask.imaging.files import read_picture
from askmask.serving.refusal import Cancelled
from askmask.serving.together import Cancel, Together, cancel_of_call, hears_of_call
from askmask.session import Model
from tests.evaluation.colour_model import ColourBackend, ColourView
from tests.serving.conftest import picture


class CountingBackend(ColourBackend):
    """Colours that note how many prompts came at once, and wait at a gate."""

    def __init__(self):
        super().__init__()
        self.rows, self.gate, self.late = [], threading.Event(), threading.Event()

    def answer(self, asked, keep):
        self.rows.append(len(asked))
        self.gate.wait(10)
        for one in asked:
            if "fault" in one.prompt.text and len(asked) > 1:
                raise PromptError("one of them is at fault")
            if "fault" in one.prompt.text:
                raise PromptError(f"{one.prompt.text} is at fault")
        for row, one in enumerate(asked):
            if "late" in one.prompt.text:
                self.late.wait(10)
            yield from (replace(event, row=row) for event in super().answer([one], keep))


@pytest.fixture
def shared():
    inner = CountingBackend()
    together = Together(inner)
    yield inner, together
    inner.gate.set()
    inner.late.set()
    together.close()


def ask(together, text, into):
    def run():
        try:
            view = ColourView(read_picture(picture()))
            events = list(together.answer([Asked(State(view), Prompt(text=text))], Keep()))
            into[text] = events[-1].answer
        except Exception as error:
            into[text] = error

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def wait_until(condition):
    for _ in range(500):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("it did not happen")


def test_what_waits_is_answered_in_one_call(shared):
    inner, together = shared
    found = {}
    first = ask(together, "red", found)
    wait_until(lambda: inner.rows == [1])
    others = [ask(together, text, found) for text in ("green", "blue", "pink")]
    wait_until(lambda: len(together._waiting) == 3)
    inner.gate.set()
    for thread in (first, *others):
        thread.join()
    assert inner.rows == [1, 3]
    alone = ColourBackend()
    view = ColourView(read_picture(picture()))
    for text, answer in found.items():
        [*_, done] = alone.answer([Asked(State(view), Prompt(text=text))], Keep())
        assert isinstance(answer, Answer) and answer.masks == done.answer.masks, text


def test_who_is_answered_first_does_not_wait_for_those_asked_with_him(shared):
    inner, together = shared
    found = {}
    first = ask(together, "red", found)
    wait_until(lambda: inner.rows == [1])
    green = ask(together, "green", found)
    wait_until(lambda: len(together._waiting) == 1)  # or the late one might be answered first
    late = ask(together, "blue, late", found)
    wait_until(lambda: len(together._waiting) == 2)
    inner.gate.set()
    green.join(8)  # the late one waits for 10 s
    assert inner.rows == [1, 2] and found["green"].found and late.is_alive()
    inner.late.set()
    for thread in (first, green, late):
        thread.join()
    assert found["blue, late"].found


def test_words_are_told_to_those_alone_who_hear_them(shared):
    inner, together = shared
    inner.gate.set()
    asked = [Asked(State(ColourView(read_picture(picture()))), Prompt(text=text)) for text in ("red", "blue")]
    assert len(list(together.answer(asked, Keep()))) == 6
    token = hears_of_call.set(False)
    try:
        events = list(together.answer(asked, Keep()))
    finally:
        hears_of_call.reset(token)
    assert [(type(event), event.row) for event in events] == [(Done, 0), (Done, 1)]


def test_a_fault_stays_with_the_prompt_that_has_it(shared):
    inner, together = shared
    found = {}
    first = ask(together, "red", found)
    wait_until(lambda: inner.rows == [1])
    others = [ask(together, text, found) for text in ("green", "the fault")]
    wait_until(lambda: len(together._waiting) == 2)
    inner.gate.set()
    for thread in (first, *others):
        thread.join()
    assert found["green"].found
    assert str(found["the fault"]).startswith("the fault is at fault")


def test_what_is_cancelled_is_not_asked(shared):
    inner, together = shared
    found = {}
    first = ask(together, "red", found)
    wait_until(lambda: inner.rows == [1])
    cancel = Cancel()
    token = cancel_of_call.set(cancel)
    try:
        view = ColourView(read_picture(picture()))
        events = together.answer([Asked(State(view), Prompt(text="green"))], Keep())
        timer = threading.Timer(0.05, cancel.set)
        timer.start()
        with pytest.raises(Cancelled):
            next(events)
    finally:
        cancel_of_call.reset(token)
    inner.gate.set()
    first.join()
    together.close()
    assert inner.rows == [1]


def test_sessions_know_nothing_of_it(shared):
    inner, together = shared
    inner.gate.set()
    model = Model(together)
    session = model.open(picture())
    assert session.ask("the red one").found
    assert session.ask("that again").masks == session.rounds[0].masks
    assert inner.opened == ["picture"]


def test_a_call_that_is_answered_lets_go_of_its_conversation(shared):
    """At once, not when the collector comes: what is remembered of a long conversation is megabytes."""
    inner, together = shared
    inner.gate.set()
    cancel, state = Cancel(), State(ColourView(read_picture(picture())))
    gone = weakref.ref(state)
    token = cancel_of_call.set(cancel)
    gc.collect()
    gc.disable()
    try:
        assert list(together.answer([Asked(state, Prompt(text="red"))], Keep()))
        del state
        wait_until(lambda: gone() is None)
    finally:
        gc.enable()
        cancel_of_call.reset(token)
    assert not cancel
