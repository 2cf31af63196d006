"""What words speak of: resolved where they decide it, left open where they do not."""

from dataclasses import replace

import numpy as np
import pytest

from askmask import Mask, Round
from askmask.conversation import Prompt, Segment, named
from askmask.references import SURENESS, mentions, references_of, whole

DOT = Mask.from_array(np.eye(4))


def asked(text, count, *names, **fields):
    segments = tuple(
        Segment(mask=DOT, name=name, source="predicted") for name in (*names, *[None] * count)[:count]
    )
    return Round(prompt=Prompt(text=text), segments=segments, **fields)


MUG = named([asked("show me the red mug", 1, "teapot")])  # m1
PLATES = named([*MUG, asked("the plates", 3)])  # m2, m3, m4
POT = named([*PLATES, asked("the pot left of the mug", 1)])  # m5
NOTHING = named([*MUG, asked("the elephant", 0)])


def said(text, rounds):
    return {text[one.start : one.end]: one.ids for one in mentions(text, rounds)}


@pytest.mark.parametrize(
    ("text", "words", "ids"),
    [
        ("left of m1", "m1", ("m1",)),
        ("the spout of teapot", "teapot", ("m1",)),
        ("The spout of the Teapot?", "Teapot", ("m1",)),
        ("its handle", "its", ("m1",)),
        ("what is it standing on?", "it", ("m1",)),
        ("the hand holding it", "it", ("m1",)),
        ("what would fall if it is pulled away", "it", ("m1",)),
        ("not that one, the one behind", "that one", ("m1",)),
        ("the other one", "the other one", ("m1",)),
        ("the handle of the mug", "the mug", ("m1",)),
        ("the handle of the red mug", "the red mug", ("m1",)),
        ("the mug's handle", "the mug", ("m1",)),
        ("that mug", "that mug", ("m1",)),
        ("the mug you found", "the mug you found", ("m1",)),
        ("your first answer", "your first answer", ("m1",)),
        ("what you marked in round 1", "what you marked in round 1", ("m1",)),
        ("who stands left of instance 1?", "instance 1", ("m1",)),
    ],
)
def test_what_is_clear_is_resolved(text, words, ids):
    assert said(text, MUG) == {words: ids}


@pytest.mark.parametrize(
    ("text", "words", "ids"),
    [
        ("those", "those", ("r2",)),
        ("of those, the red ones", "those", ("r2",)),
        ("all of them", "all of them", ("r2",)),
        ("their rims", "their", ("r2",)),
        ("the second answer", "the second answer", ("r2",)),
        ("the last answer", "the last answer", ("r2",)),
        ("the rim of the plates", "the plates", ("r2",)),
        ("its rim, but m3", "m3", ("m3",)),
    ],
)
def test_a_whole_answer_is_meant_as_its_round(text, words, ids):
    assert said(text, PLATES)[words] == ids


@pytest.mark.parametrize(
    "text",
    [
        "where is it safe to put a pan",
        "is it raining",
        "the red teapot",  # describes, though m1 is called so
        "another teapot",
        "the mug with something on it",  # speaks of itself
        "the pot and its lid",
        "the mug on the left",  # describes anew
        "that one on the left",
        "those that roll",
        "the other end of the table",
        "a 2m1 pole",
        "everything",
    ],
)
def test_what_is_not_clear_is_not_forced(text):
    assert said(text, MUG) == {}


@pytest.mark.parametrize(
    ("text", "rounds", "why"),
    [
        ("its rim", PLATES, "the last answer has 3 segments"),
        ("both", PLATES, "the last answer has 3 segments"),
        ("both", MUG, "the last answer has 1 segment"),
        ("its rim", NOTHING, "the last answer found nothing"),
        ("those", NOTHING, "the last answer found nothing"),
        ("what is on m9?", MUG, "this conversation has no m9"),
        ("your fifth answer", POT, "there are 3 answers so far"),
    ],
)
def test_it_is_said_why_a_mention_stays_open(text, rounds, why):
    (one,) = mentions(text, rounds)
    assert (one.ids, one.why) == ((), why) and references_of([one]) == ()


def test_a_word_that_two_answers_fit_is_not_clear():
    two = named([asked("the mug", 1), asked("the mug on the shelf", 1)])
    assert said("the handle of that mug", two) == {
        "that mug": ("m1",)
    }  # the one asked for in just these words
    assert said("the handle of that mug", named([asked("the red mug", 1), asked("the blue mug", 1)])) == {}
    assert said("the rim of the plate", named([asked("the plate", 2)])) == {}  # one was asked for, two came


def test_the_latest_of_two_equal_names_is_meant_and_deleted_rounds_keep_their_numbers():
    rounds = named([asked("a", 1, "lid"), asked("b", 1, "lid"), asked("c", 1)])
    assert said("left of lid", rounds) == {"lid": ("m2",)}
    assert said("round 3", rounds[1:]) == {"round 3": ("m3",)}  # by its id, as it is shown
    assert said("the first answer", rounds[1:]) == {"the first answer": ("m2",)}


def test_a_users_own_mask_is_no_answer_but_can_be_meant_by_it():
    own = Round(prompt=Prompt(masks=(DOT,)), segments=(Segment(mask=DOT, source="user"),), made_by="user")
    rounds = named([own, asked("the mug", 1)])
    assert said("the first answer", rounds) == {"the first answer": ("m2",)}
    assert said("its handle", rounds[:1]) == {"its": ("m1",)}


def test_mentions_do_not_overlap_and_say_how_surely():
    found = mentions("m1 and teapot and its lid", MUG)
    assert [one.rule for one in found] == ["id", "name", "it"]
    assert [one.score for one in references_of(found)] == [SURENESS["id"]]  # m1, once


@pytest.mark.parametrize(
    ("text", "ids"),
    [("m3", ("m3",)), ("all of them", ("r2",)), ("the plates", ("r2",)), ("show me those.", ("r2",))],
)
def test_nothing_but_a_mention(text, ids):
    assert whole(text, PLATES).ids == ids


@pytest.mark.parametrize("text", ["m3 on the left", "the bowl", "left of m3", ""])
def test_more_than_a_mention(text):
    assert whole(text, PLATES) is None


def test_long_odd_texts_cost_little():
    rounds = named([asked("the " + "thing " * 30 + str(n), 1) for n in range(200)])
    for text in ("the " * 1000 + "it", "with " * 1000, "m" * 4000, "(" * 4000, "it " * 1000):
        mentions(text, rounds)


def test_what_answers_a_question_back_speaks_of_no_earlier_answer():
    """ "It does not matter, show me all of them" was taken to speak of the ball that was shown before."""
    question = Round(prompt=Prompt(text="my hands are wet"), reply="Two can wipe. Near the edge?", id="r9")
    for text in ("it does not matter", "show me all of them", "the other one"):
        assert said(text, MUG) or said(text, PLATES)
        assert said(text, (*MUG, question)) == said(text, (*PLATES, question)) == {}
    told = replace(question, reply="It would roll.")
    assert said("its lid", (*MUG, told))
