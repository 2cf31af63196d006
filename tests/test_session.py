"""A conversation over a picture: names that stay, undo, edit, fork, JSON; the same for any back-end."""

import gc
import json
import weakref

import numpy as np
import pytest

from askmask import Mask, Session
from askmask.backend import Done, Found, Words
from askmask.errors import DataError, PromptError, SettingError
from tests.evaluation.colour_model import COLOURS, ColourModel

LEFT, RIGHT = np.zeros((24, 32), bool), np.zeros((24, 32), bool)
LEFT[4:12, 2:8] = True
RIGHT[4:12, 20:26] = True


@pytest.fixture
def picture():
    rgb = np.full((24, 32, 3), 128, np.uint8)
    rgb[LEFT], rgb[RIGHT] = COLOURS["red"], COLOURS["blue"]
    return rgb


@pytest.fixture
def session(picture):
    return ColourModel().open(picture)


def test_ask_is_the_next_round_and_remembers(session):
    red = session.ask("the red thing")
    again = session.ask("that again", about="m1")
    assert (red.round.id, red.segments[0].id, again.round.id, again.segments[0].id) == (
        "r1",
        "m1",
        "r2",
        "m2",
    )
    assert again.mask == red.mask == Mask.from_array(LEFT)
    assert session.rounds == (red.round, again.round)
    assert session.rounds[1].prompt.refers_to == ("m1",) and session["m2"].mask == again.mask


def test_prompts_asked_together_know_nothing_of_each_other(session):
    session.ask("the red thing")
    found, again = session.ask_many(["the blue thing", "that again"])
    assert found.mask == Mask.from_array(RIGHT) and not again.found
    assert len(session.rounds) == 1 and found.segments[0].id == "m1"  # names of its own


def test_events_come_before_the_answer_is_done(session):
    events = list(session.stream("the red thing"))
    assert [type(event) for event in events] == [Found, Words, Done]
    assert events[-1].answer.round == session.rounds[0] and events[1].text == events[-1].answer.text


def test_undo_never_gives_a_name_twice(session):
    session.ask("the red thing")
    session.undo()
    assert session.rounds == () and session.ask("the blue thing").segments[0].id == "m2"
    session.undo()
    with pytest.raises(SettingError, match="nothing to undo"):
        session.undo()


def test_an_edited_round_makes_later_ones_stale_until_they_are_asked_anew(session):
    session.ask("the red thing")
    session.ask("that again", about="m1")
    session.ask("the blue thing")
    session.ask("that again", about="r2")
    edited = session.edit("r1", "the blue thing")
    assert edited.round.id == "r1" and edited.mask == Mask.from_array(RIGHT)
    assert session.stale == {"r2", "r4"}  # what refers to it, and what refers to that
    assert session.rounds[1].prompt.refers_to == (edited.segments[0].id,)
    assert session.rounds[1].masks == (Mask.from_array(LEFT),)  # old until asked
    session.refresh()
    assert not session.stale and session.rounds[1].masks == (Mask.from_array(RIGHT),)
    assert [round.id for round in session.rounds] == ["r1", "r2", "r3", "r4"]


def test_a_deleted_round_takes_its_references_with_it(session):
    session.ask("the red thing")
    session.ask("that again", about=["m1", "r1"])
    session.delete("r1")
    assert [round.id for round in session.rounds] == ["r2"] and session.rounds[0].prompt.refers_to == ()
    assert session.stale == {"r2"}
    with pytest.raises(SettingError, match="no such round; got 'r1'"):
        session.delete("r1")
    session.undo()
    assert [round.id for round in session.rounds] == ["r1", "r2"] and not session.stale


def test_a_fork_goes_its_own_way_and_looks_at_nothing_again(session):
    session.ask("the red thing")
    other = session.fork()
    other.ask("the blue thing")
    assert len(session.rounds) == 1 and len(other.rounds) == 2
    assert len(session.model.opened) == 1


def test_users_masks_and_names_are_part_of_the_conversation(session):
    own = session.add(Mask.from_array(RIGHT), name="lid")
    assert own.source == "user" and session["lid"] == own
    again = session.ask("that again", about="lid")
    assert again.mask == own.mask and session.rounds[1].prompt.refers_to == (own.id,)
    session.rename(own.id, "cap")
    assert session["cap"].id == own.id
    with pytest.raises(KeyError):
        session["lid"]
    with pytest.raises(PromptError, match="picture's size"):
        session.add(Mask.empty((2, 2)))


def test_a_saved_conversation_goes_on_with_the_same_next_answer(session, picture):
    session.ask("the red thing")
    session.ask("the blue thing")
    session.undo()
    data = json.loads(json.dumps(session.to_dict()))
    again = Session.from_dict(data, ColourModel(), picture)
    assert again.rounds == session.rounds
    assert again.ask("that again", about="r1").round == session.ask("that again", about="r1").round
    other = picture.copy()
    other[0, 0] = 0
    with pytest.raises(DataError, match="not the picture"):
        Session.from_dict(data, ColourModel(), other)
    for broken in ({}, {**data, "rounds": [1]}, {**data, "next": {"r": "x", "m": 1}}, {**data, "schema": 99}):
        with pytest.raises(DataError):
            Session.from_dict(broken, ColourModel(), picture)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"prompt": "it", "about": "m7"}, "'m7'"),
        ({"prompt": "this", "points": [(40, 3)]}, "outside the picture"),
        ({"prompt": "this", "points": [(1,)]}, "a point is"),
        ({"prompt": "this", "boxes": [(0, 0, float("nan"), 3)]}, "outside the picture"),
        ({"prompt": "this", "mask": Mask.empty((2, 2))}, "picture's size"),
        ({"prompt": "unanswerable"}, "refused"),
        ({"prompt": 7}, "must be text"),
    ],
)
def test_what_cannot_be_asked_leaves_the_conversation_as_it_was(session, arguments, said):
    session.ask("the red thing")
    with pytest.raises(PromptError, match=said):
        session.ask(**arguments)
    assert len(session.rounds) == 1 and session.ask("the blue thing").segments[0].id == "m2"


def test_what_is_remembered_of_a_conversation_goes_with_its_picture(picture):
    model = ColourModel()
    model.memory_limit = 150
    first, other = model.open(picture.copy()), model.open(picture.copy())
    other.ask("the red thing")
    before = first.ask("the red thing"), first.ask("the blue thing")
    assert model.state_of(first) is not None
    view = weakref.ref(model.state_of(first).view)
    for _ in range(2):
        model.open(picture.copy()).ask("the red thing")
    gc.collect()
    assert model.state_of(first) is None and view() is None  # the limit holds, whatever the session still has
    assert first.ask("the blue thing").mask == before[1].mask and len(first.rounds) == 3


def test_pictures_over_the_memory_limit_are_forgotten_and_looked_at_again(picture):
    model = ColourModel()
    model.memory_limit = 150
    sessions = [model.open(picture.copy()) for _ in range(3)]
    assert len(model.opened) == 3
    assert sessions[2].ask("the red thing").found and len(model.opened) == 3  # the latest is still there
    assert sessions[0].ask("the red thing").found and len(model.opened) == 4


def test_a_session_that_is_gone_keeps_no_memory(picture):
    model = ColourModel()
    session = model.open(picture)
    assert len(model._views) == 1
    del session
    gc.collect()
    assert not model._views
