"""A conversation over a picture: names that stay, undo, edit, fork, JSON; the same for any back-end."""

import gc
import json
import threading
import weakref
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import askmask
from askmask import Mask, Round, Session
from askmask.backend import Done, Found, State, Words
from askmask.conversation import Prompt
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


def test_an_answer_in_words_alone_is_saved_without_an_empty_mask(session, tmp_path):
    paths = session.ask("whichever").save(tmp_path)
    assert [path.name for path in paths] == ["overlay-00.png", "result.json"]
    assert json.loads(paths[1].read_text())["answers"][0]["asks"] is True


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
    session.undo()  # all that was asked anew, not the last of it
    assert session.stale == {"r2", "r4"} and session.rounds[1].masks == (Mask.from_array(LEFT),)
    session.refresh()
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


def test_words_that_clearly_refer_are_resolved_and_it_is_said_how(session):
    red = session.ask("the red thing")
    again = session.ask("that again, its colour")
    assert again.round.prompt.refers_to == ("m1",) and again.mask == red.mask
    (reference,) = again.references
    assert (reference.id, reference.given, reference.rule) == ("m1", False, "it") and 0 < reference.score < 1
    session.rename("m1", "lid")
    named = session.ask(
        "that again, left of lid", about="m2"
    )  # what is given wins over pronouns, not over names
    assert [(one.id, one.given, one.rule) for one in named.references] == [
        ("m2", True, ""),
        ("m1", False, "name"),
    ]
    assert Round.from_dict(named.round.to_dict()) == named.round and named.round.made_by == "colours"
    (alone,) = session.ask_many(["that again, its colour"])
    assert alone.references == () and alone.round.prompt.refers_to == ()


def test_what_is_not_clear_is_left_to_the_model_and_said(session):
    session.ask("the purple thing")
    answer = session.ask("its handle")
    assert answer.references == () and "'its' means was left to the model" in answer.notices[-1]


def test_algebra_is_computed_and_no_model_is_asked(session):
    red, blue = session.ask("the red thing"), session.ask("the blue thing")
    session.model.backend.answer = None  # whoever asks it now fails
    both = session.ask("m1 and m2 together")
    assert both.mask == red.mask | blue.mask and both.found and both.score is None
    assert (both.model, both.round.made_by, both.segments[0].source) == (
        "user algebra",
        "user algebra",
        "user",
    )
    assert both.segments[0].parents == ("m1", "m2") and both.round.prompt.refers_to == ("m1", "m2")
    rest = session.ask("everything but those")
    assert rest.mask == ~both.mask and [one.rule for one in rest.references] == ["those"]
    assert [s.mask for s in session.ask("r3 - m1").segments] == [blue.mask]
    none = session.ask("the overlap of m1 and m2")
    assert not none.found and none.score is None and none.presence == 0.0


def test_half_in_words_half_algebra_asks_for_the_words(session):
    session.add(Mask.full((24, 32)), name="all")
    answer = session.ask("it without the blue thing")
    assert answer.mask == ~Mask.from_array(RIGHT) and answer.round.text == "it without the blue thing"
    assert answer.round.made_by == "colours, user algebra" and "'the blue thing'" in answer.notices[-1]
    assert answer.segments[0].parents == ("m1",) and answer.score is None  # the model's is of the blue thing
    whole = session.ask("it without the purple thing")  # not found: all of the prompt is the model's
    assert whole.round.made_by == "colours" and not whole.found


def test_rounds_that_refer_by_words_follow_edits_and_deletions(session):
    session.ask("the red thing")
    session.ask("that again, its colour")
    session.ask("m1 and m2 together")
    session.edit("r1", "the blue thing")
    assert session.stale == {"r2", "r3"}
    session.refresh()
    assert not session.stale
    assert [r.masks for r in session.rounds] == 3 * [(Mask.from_array(RIGHT),)]
    assert session.rounds[2].segments[0].parents == session.rounds[2].prompt.refers_to
    edited = session.edit("r2", "the red thing")  # new words, nothing of what the old ones meant
    assert edited.references == () and edited.round.prompt.refers_to == () and session.stale == {"r3"}
    session.undo()
    other = session.fork()
    session.delete("r1")
    assert session.stale == {"r2", "r3"} and other.stale == frozenset()
    session.refresh()
    assert session.rounds[0].references == () and not session.rounds[0].segments
    assert other.rounds[2].masks == (Mask.from_array(RIGHT),)


def test_what_the_user_marks_is_a_round(session, tmp_path):
    left = Mask.from_array(LEFT)
    left.to_png(tmp_path / "left.png")
    (tmp_path / "small.png").write_bytes(Mask.full((3, 3)).to_png())
    for own in (LEFT, left, tmp_path / "left.png", str(tmp_path / "left.png"), left.to_png()):
        assert session.add(own).mask == left
    corners = session.add(polygon=[(2, 4), (8, 4), (8, 12), (2, 12)], name="patch")
    assert corners.mask == left and session["patch"].id == "m6"
    made = session.add(session["m1"] - Mask.from_array(LEFT & (np.arange(32) < 4)))
    assert made.parents == ("m1",) and session.rounds[-1].prompt.refers_to == ("m1",)
    for wrong in ({}, {"region": left, "polygon": [(0, 0), (1, 1), (2, 0)]}):
        with pytest.raises(PromptError, match="one thing is added at a time"):
            session.add(**wrong)
    with pytest.raises(PromptError, match="picture's size"):
        session.add(tmp_path / "small.png")
    with pytest.raises(PromptError, match="no prompt to edit"):
        session.edit("r1", "the red thing")
    session.delete("r1")
    assert session.stale == {"r7"} and session.refresh() == [] and session.stale == {"r7"}


def test_marks_go_to_the_model_where_it_takes_them(session):
    with pytest.raises(PromptError, match="the model finds nothing there"):
        session.add(points=[(3, 5)])
    assert session.rounds == ()
    session.model.backend.check = refuse_marks
    assert session.add(box=(2, 4, 8, 12), name="lid").mask == Mask.from_array(LEFT)
    with pytest.raises(PromptError, match="takes no clicks"):
        session.add(points=[(3, 5)])


@pytest.mark.slow  # loads a network
def test_a_network_draws_what_a_box_means():
    pytest.importorskip("torch", reason="a network needs it")
    session = askmask.load("mini", device="cpu").open(Path(__file__).parents[1] / "examples/table.png")
    segment = session.add(box=(4, 175, 135, 279), name="mug")
    assert segment.source == "predicted" and session["mug"] == segment
    assert segment.mask == session.ask(boxes=[(4, 175, 135, 279)]).mask != Mask.empty(session.picture.size)
    session.undo(), session.undo()
    assert session.rounds == ()


@pytest.mark.parametrize(
    "box", [(10, 10, 5, 5), (5, 10, 10, 5), (10, 5, 5, 10), (5, 5, 5, 10), (5, 5, 10, 5)]
)
def test_a_box_that_holds_nothing_is_refused_wherever_it_enters(session, box):
    session.ask("the red thing")
    prompt = Prompt(boxes=(tuple(map(float, box)),))
    for enter in (
        lambda: session.ask(boxes=[box]),
        lambda: list(session.stream("this", boxes=[box])),
        lambda: session.ask_many([prompt]),
        lambda: session.add(box=box),
        lambda: session.take(Round(prompt=prompt)),
        lambda: session.edit("r1", prompt),
    ):
        with pytest.raises(PromptError, match="x0 < x1 and y0 < y1"):
            enter()
    assert [round.text for round in session.rounds] == ["the red thing"]


def refuse_marks(prompt):
    if prompt.marks:
        raise PromptError("words only")
    return prompt


def test_a_conversation_replays_to_the_same_answers(session, picture):
    session.add(Mask.from_array(LEFT), name="lid")
    session.ask("the red thing")
    session.ask("the blue thing")
    session.undo()
    session.ask("that again, its lid")
    session.ask("that again", about="r2")
    session.edit("r2", "the blue thing")
    session.ask("m1 and m2 together")
    session.delete("r5")
    session.refresh()
    data = json.loads(json.dumps(session.to_dict()))
    again = Session.replay(data, ColourModel(), picture)
    assert again.rounds == session.rounds and again.to_dict() == data
    for index, round in enumerate(data["rounds"]):
        for number, segment in enumerate(
            round["segments"] if round["id"] != "r1" else ()
        ):  # is not looked at
            data["rounds"][index]["segments"][number] = segment | Mask.empty((24, 32)).to_dict()
    fresh = Session.replay(data, ColourModel(), picture)
    assert [r.masks for r in fresh.rounds] == [r.masks for r in session.rounds]
    assert [r.prompt.text for r in fresh.rounds] == [r.prompt.text for r in session.rounds]


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


def test_what_is_remembered_counts_and_conversations_are_forgotten_before_pictures(picture):
    @dataclass(frozen=True)
    class Remembering(State):
        nbytes: int = 40

    model = ColourModel()
    model.backend.begin = Remembering
    model.memory_limit = 200  # its picture takes 100
    sessions = [model.open(picture)]
    sessions += [sessions[0].fork() for _ in range(3)]
    for session in sessions:
        session.ask("the red thing")
    assert [model.state_of(one) is None for one in sessions] == [True, True, False, False]
    assert sessions[0].ask("that again").found and len(model.opened) == 1
    assert [model.state_of(one) is None for one in sessions] == [False, True, True, False]


def test_changes_are_undone_one_by_one_without_a_copy_of_all_rounds_each(session):
    seen = [session.rounds]
    for number in range(30):
        session.ask("the red thing" if number % 2 else "the blue thing")
        seen.append(session.rounds)
    session.rename("m3", "door")
    seen.append(session.rounds)
    session.edit("r5", "the green thing")
    seen.append(session.rounds)
    session.delete("r2")
    assert sum(len(step.rounds) for step in session._before) < 150
    for rounds in reversed(seen):
        session.undo()
        assert session.rounds == rounds


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


def test_a_session_may_go_at_any_moment_and_nobody_waits_for_it(picture):
    """The collector runs where it likes, also in a thread that holds the model's lock."""
    model = ColourModel()

    def work():
        session = model.open(picture)
        session.cycle = session  # so that the collector finds it, not the end of the block
        with model._lock:
            del session
            gc.collect()
        assert model.open(picture).ask("the red thing").found

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(30)
    assert not thread.is_alive(), "it waits for itself"
    gc.collect()
    assert not model._views and not model._users


@pytest.mark.parametrize("number", [1e999, "x", None, -5, 2, 10**30, True, 2.5])
def test_a_name_is_not_given_twice_whatever_a_file_says_comes_next(session, picture, number):
    session.ask("the red thing")
    session.ask("the blue thing")
    data = json.loads(json.dumps(session.to_dict()))
    for letter in "rm":
        with pytest.raises(DataError, match=f"the next {letter}"):
            Session.from_dict(data | {"next": data["next"] | {letter: number}}, session.model, picture)


def test_a_damaged_conversation_is_refused_or_goes_on(session, picture):
    import random

    from askmask.errors import AskMaskError
    from tests.hostile.mutate import damage_value, text_of

    session.ask("the red thing")
    session.ask("that again", about="m1")
    whole, outcomes = json.dumps(session.to_dict()), set()
    for seed in range(400):
        damaged, how = damage_value(json.loads(whole), random.Random(f"session {seed}"))
        try:
            data = json.loads(text_of(damaged))
        except (ValueError, RecursionError):
            continue
        try:
            found = Session.from_dict(data, session.model, picture)
        except AskMaskError:
            outcomes.add("refused")
        else:
            outcomes.add("read")
            found.ask("the blue thing")
            names = [name for r in found.rounds for name in (r.id, *(s.id for s in r.segments or ()))]
            assert len(names) == len(set(names)), how
            assert Session.from_dict(json.loads(json.dumps(found.to_dict())), session.model, picture), how
    assert outcomes == {"refused", "read"}


@pytest.mark.parametrize("name", ["../../x", "/tmp/x", "a/b", "a\\b", "..", "x\x1b]0;t", "m" * 65, "\ud83d"])
@pytest.mark.parametrize("of", ["round", "segment"])
def test_an_id_that_names_a_file_elsewhere_is_refused(session, picture, name, of):
    """Overlays, and masks in a ZIP, are named by ids."""
    session.ask("the red thing")
    data = session.to_dict()
    (data["rounds"][0] if of == "round" else data["rounds"][0]["segments"][0])["id"] = name
    with pytest.raises(DataError):
        Session.from_dict(data, session.model, picture)
