"""Replies as numbers: what is written can be read, with every phrase in its place; what breaks the rules says how."""

import pytest

from askmask.errors import DataError
from askmask.model.grammar import circles
from askmask.model.mini.reply_words import (
    ALONE,
    BEGIN,
    END,
    FOUND,
    NOTHING,
    OBJ,
    SEG,
    ReplyWords,
    words_in,
)

REPLIES = [
    ("I see the red mug and two blue books.", ("the red mug", "two blue books"), FOUND),
    ("The grey mug.", ("The grey mug",), FOUND),
    ("Here: an apple, the top of the plate and a jar.", ("an apple", "the top of the plate", "a jar"), FOUND),
    ("Nothing here matches.", (), NOTHING),
    ("Three things would do: the left one or the right one?", (), ALONE),
    ("Take the cloth: it is soft. I see no other.", ("the cloth",), FOUND),
]
WORDS = ReplyWords(sorted(words_in(text for text, *_ in REPLIES)))


@pytest.mark.parametrize(("text", "phrases", "kind"), REPLIES)
def test_what_is_written_is_read(text, phrases, kind):
    spans = [(text.index(phrase), text.index(phrase) + len(phrase)) for phrase in phrases]
    said = WORDS.read(WORDS.ids(text, spans, kind))
    assert (said.text, said.kind, said.trouble) == (text, kind, "")
    assert [phrase.span for phrase in said.phrases] == spans
    assert "[" not in said.text


def test_places_of_a_phrase_are_those_of_its_signs():
    ids = WORDS.ids("The grey mug.", [(0, 12)], FOUND)
    (phrase,) = WORDS.read(ids).phrases
    assert (ids[phrase.first], ids[phrase.last]) == (OBJ, SEG)


@pytest.mark.parametrize(
    ("inside", "trouble"),
    [
        ("[OBJ] the mug .", "a phrase has no end"),
        ("the mug [SEG] .", "a phrase ends that never began"),
        ("[OBJ] [SEG] .", "a phrase has no words"),
        ("[OBJ] the [OBJ] mug [SEG] .", "a phrase begins inside another"),
        ("[OBJ] the mug [SEG] [BEGIN] .", r"\[BEGIN\] stands inside"),
        ("the mug .", "it names nothing"),
    ],
)
def test_a_reply_that_breaks_the_rules_says_how(inside, trouble):
    ids = [BEGIN, FOUND, *(WORDS.numbers[word] for word in inside.split()), END]
    with pytest.raises(AssertionError, match=trouble):
        assert not WORDS.read(ids).trouble, WORDS.read(ids).trouble


def test_what_is_cut_off_or_says_no_kind_is_read_too():
    ids = WORDS.ids("The grey mug.", [(0, 12)], FOUND)
    for end in range(len(ids)):
        assert WORDS.read(ids[:end]).trouble
    assert "kind" in WORDS.read([BEGIN, *ids[2:]]).trouble
    assert "not there" in WORDS.read([BEGIN, NOTHING, *ids[2:]]).trouble


def test_going_round_in_circles_is_noticed():
    assert circles([1, 2, 9, 9, 9]) and circles([1, 5, 6, 7, 5, 6, 7, 5, 6, 7])
    assert not circles([1, 2, 9, 9]) and not circles([5, 6, 7, 5, 6, 7, 5, 6, 8])


def test_a_word_of_no_reply_is_refused_by_name():
    with pytest.raises(DataError, match="zebra"):
        WORDS.ids("I see a zebra.", [], NOTHING)
