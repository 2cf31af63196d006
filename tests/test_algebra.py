"""Algebra over known masks: in words, exactly; and not where a prompt is something else."""

import numpy as np
import pytest

from askmask import Mask
from askmask.algebra import formula
from askmask.conversation import Prompt, Round, Segment, named


def box(x0, y0, x1, y1):
    array = np.zeros((20, 20), bool)
    array[y0:y1, x0:x1] = True
    return Mask.from_array(array)


def asked(text, *masks, name=None):
    segments = tuple(Segment(mask=mask, source="predicted", score=0.9, name=name) for mask in masks)
    return Round(prompt=Prompt(text=text), segments=segments)


M1, M2, M3, M4 = box(0, 0, 4, 4), box(6, 0, 10, 4), box(12, 0, 16, 4), box(2, 2, 8, 8)
MUGS = named([asked("the mugs", M1, M2, M3)])
ROUNDS = named([*MUGS, asked("the pot", M4, name="kettle")])


@pytest.mark.parametrize(
    ("text", "rounds", "masks", "parents"),
    [
        ("m1 and m3", ROUNDS, [M1, M3], [("m1",), ("m3",)]),
        ("m1, m2 and m4", ROUNDS, [M1, M2, M4], [("m1",), ("m2",), ("m4",)]),
        ("kettle and m1", ROUNDS, [M4, M1], [("m4",), ("m1",)]),
        ("m1 and m3 together", ROUNDS, [M1 | M3], [("m1", "m3")]),
        ("the union of m1 and m4", ROUNDS, [M1 | M4], [("m1", "m4")]),
        ("the mugs and the pot together", ROUNDS, [M1 | M2 | M3 | M4], [("m1", "m2", "m3", "m4")]),
        ("all of them except m2", MUGS, [M1, M3], [("m1",), ("m3",)]),
        ("all of them except m2", ROUNDS, [M1, M3], [("m1",), ("m3",)]),  # of whom m2 is one
        ("All but m2.", MUGS, [M1, M3], [("m1",), ("m3",)]),
        ("show me those except m1 and m3", MUGS, [M2], [("m2",)]),
        ("the mugs except m2", ROUNDS, [M1, M3], [("m1",), ("m3",)]),
        ("the first answer but not m1", ROUNDS, [M2, M3], [("m2",), ("m3",)]),
        ("m1 without m4", ROUNDS, [M1 - M4], [("m1", "m4")]),
        ("it without m1", ROUNDS, [M4 - M1], [("m4", "m1")]),
        ("everything but those", MUGS, [~(M1 | M2 | M3)], [("m1", "m2", "m3")]),
        ("everything outside kettle", ROUNDS, [~M4], [("m4",)]),
        ("the overlap of m1 and m4", ROUNDS, [M1 & M4], [("m1", "m4")]),
        ("where m1 and the pot overlap", ROUNDS, [M1 & M4], [("m1", "m4")]),
        ("the overlap of m1 and m2", ROUNDS, [], []),
        ("m1 - m4", ROUNDS, [M1 - M4], [("m1", "m4")]),
        ("m4 - m1 + m2", ROUNDS, [(M4 - M1) | M2], [("m4", "m1", "m2")]),
        ("~m1 & m4", ROUNDS, [~M1 & M4], [("m1", "m4")]),
        ("r1 - m2", ROUNDS, [M1 | M3], [("m1", "m2", "m3")]),
        ("m1", ROUNDS, [M1], [("m1",)]),
        ("show me M3.", ROUNDS, [M3], [("m3",)]),
        ("r1", ROUNDS, [M1, M2, M3], [("m1",), ("m2",), ("m3",)]),
        ("the kettle", ROUNDS, [M4], [("m4",)]),
        ("m1 - kettle", ROUNDS, [M1 - M4], [("m1", "m4")]),
        ("kettle & m1 + m2", ROUNDS, [(M4 & M1) | M2], [("m4", "m1", "m2")]),
    ],
)
def test_algebra_in_words_is_exact(text, rounds, masks, parents):
    segments = formula(text, rounds).solved()
    assert [one.mask for one in segments] == masks
    assert [one.parents for one in segments] == parents
    assert {(one.source, one.id, one.score) for one in segments} <= {("user", "", None)}


@pytest.mark.parametrize(
    "text",
    [
        "it",  # a mention alone that words decide
        "m1 - the red one",
        "something - red - hot",
        "its handle",
        "the mug left of m2",
        "the mug between m1 and m2",
        "what is between m1 and m2",
        "the mugs and the pot",  # may be asked anew
        "those without a handle",  # describes
        "those without the lid",
        "m1 and m9",
        "m1 - m9",
        "it without it",
        "a lamp and a table",
        "everything but the mug on the left",
        "and",
        "",
    ],
)
def test_what_is_not_algebra_is_asked(text):
    assert formula(text, ROUNDS) is None
    assert formula(text, ()) is None


def test_the_red_one_is_asked_for_and_left_out():
    known = formula("all of them except the red one", MUGS)
    assert (known.ask, known.of) == ("the red one", "drop")
    red = Segment(mask=box(6, 0, 10, 3), source="predicted")  # a model's m2 is not the same to the pixel
    assert [one.mask for one in known.solved([red])] == [M1, M3]


@pytest.mark.parametrize("answer", [[], [box(0, 10, 4, 14)], [M1, M2, M3], [M1 | M2]])
def test_an_answer_that_fits_no_part_of_the_set_solves_nothing(answer):
    known = formula("all of them except the red one", MUGS)
    assert known.solved([Segment(mask=mask, source="predicted") for mask in answer]) is None


def test_a_part_is_cut_out_and_a_thing_is_added():
    handle = Segment(mask=box(2, 2, 4, 4), source="predicted", score=0.8)
    (left,) = formula("it without its handle", ROUNDS).solved([handle])
    assert left.mask == M4 - handle.mask and left.parents == ("m4",)
    both = formula("m1 and the lamp", ROUNDS).solved([handle])
    assert [one.mask for one in both] == [M1, handle.mask]
    assert (both[0].source, both[1].source, both[1].score) == ("user", "predicted", 0.8)
    lamps = formula("the lamps except m2", ROUNDS)
    fresh = [Segment(mask=mask, source="predicted") for mask in (M2, box(0, 15, 4, 19))]
    assert [one.mask for one in lamps.solved(fresh)] == [box(0, 15, 4, 19)]
    assert lamps.solved(fresh[1:]) is None  # m2 is no lamp


def test_segments_in_python():
    m1, m2, m4 = (Segment(mask=mask, id=name) for mask, name in ((M1, "m1"), (M2, "m2"), (M4, "m4")))
    assert (m1 - m4).mask == M1 - M4 and ((m1 | m2) - m4).parents == ("m1", "m2", "m4")
    assert (m1 & M4).parents == ("m1",) and (~m1).mask == ~M1 and m1.union(m2, m4).mask == M1 | M2 | M4
    assert m1.inside(m4) == 4 / 16 and m4.inside(m1) == 4 / 36 and m1.overlap(m4) == m4.overlap(m1) == 4 / 16
    assert (
        m1.overlap(m2) == 0 and Mask.empty((20, 20)).inside(M1) == 1 and Mask.empty((20, 20)).overlap(M1) == 0
    )
