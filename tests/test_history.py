"""What a round may see: the one rule, and that no truth leaks through it."""

import numpy as np
import pytest

from askmask import Example, Mask, Prompt, Round, Segment
from askmask.errors import SettingError
from askmask.history import POLICIES, chain, chain_of, context

COLUMNS = np.arange(4)[None].repeat(4, 0)
LEFT, RIGHT = Mask.from_array(COLUMNS < 2), Mask.from_array(COLUMNS >= 2)
EXAMPLE = Example(
    id="a",
    image="a.png",
    rounds=(
        Round.of("both", [LEFT, RIGHT], reply="gold words", meta={"secret": 1}),
        Round.of("the second of them", [RIGHT], refers_to=["r1.2"]),
        Round.of("and those", [LEFT], refers_to=["r1", "m3"]),
    ),
)


def answers(*masks):
    rounds = [
        Round.of(f"asked {n}", given, source="predicted", reply="own words") for n, given in enumerate(masks)
    ]
    return Example(id="own", image="a.png", rounds=tuple(rounds)).rounds


def test_alone_a_round_sees_nothing():
    for index in range(3):
        seen = context(EXAMPLE, index, "none")
        assert (
            seen.rounds == ()
            and seen.prompt.refers_to == ()
            and seen.prompt.text == EXAMPLE.rounds[index].text
        )


def test_gold_is_what_came_before_and_never_the_round_itself_nor_what_a_source_notes():
    seen = context(EXAMPLE, 2, "gold")
    assert [round.masks for round in seen.rounds] == [(LEFT, RIGHT), (RIGHT,)]
    assert seen.prompt.refers_to == ("r1", "m3")
    assert all(not round.meta for round in seen.rounds)


def test_own_answers_take_the_place_of_true_ones():
    own = answers([RIGHT, LEFT], [LEFT])
    seen = context(EXAMPLE, 1, "own", own[:1])
    assert seen.rounds == own[:1] and seen.prompt.refers_to == ("m2",)  # the second of as many
    seen = context(EXAMPLE, 2, "own", own)
    assert seen.prompt.refers_to == ("r1", "m3")
    assert {s.source for round in seen.rounds for s in round.segments} == {"predicted"}


def test_another_number_of_answers_is_meant_as_a_whole():
    assert context(EXAMPLE, 1, "own", answers([RIGHT])).prompt.refers_to == ("r1",)
    assert context(EXAMPLE, 1, "own", answers([])).prompt.refers_to == ("r1",)


def test_truth_cannot_be_passed_off_as_own():
    with pytest.raises(ValueError, match="own answers"):
        context(EXAMPLE, 1, "own", EXAMPLE.rounds[:1])
    with pytest.raises(ValueError, match="own answers"):
        context(EXAMPLE, 2, "own", answers([LEFT]))


def test_independent_prompts_see_nothing_whatever_the_policy():
    apart = Example(
        id="a", image="a.png", rounds=(Round.of("x", [LEFT]), Round.of("y", [RIGHT])), independent=True
    )
    for policy in POLICIES:
        assert context(apart, 1, policy, answers([LEFT])).rounds == ()
    with pytest.raises(SettingError, match="none, own, gold"):
        context(EXAMPLE, 0, "self")


def test_a_chain_is_what_a_prompt_builds_on_whatever_came_between():
    assert chain([], [[], [0]]) == []
    assert chain([2], [[], [], [0], [1]]) == [0, 2]  # 1 and 3 are other talk
    assert chain([3, 0], [[], [], [0, 1], [2]]) == [1, 2, 3, 0]
    assert chain([1], [[1], [0]]) == [0, 1]  # a loop that an edit made ends
    assert chain([1000], [[], *([n] for n in range(1000))]) == list(range(1001))
    both, second, those = EXAMPLE.rounds
    assert chain_of(both.prompt, ()) == [] and chain_of(second.prompt, (both,)) == [0]
    assert chain_of(those.prompt, (both, second)) == [0, 1]  # "r1" and "m3"
    assert chain_of(those.prompt, (second,)) == [0]  # what is not there is not of it


def test_an_answer_to_a_question_back_builds_on_the_question():
    """Who says "not that one" of what came of it still wants what was asked for at first."""
    rounds = (
        Round(prompt=Prompt(text="my plant is dry"), reply="Two would do: with a handle?", id="r1"),
        Round(prompt=Prompt(text="yes"), segments=(Segment(mask=LEFT, id="m1"),), reply="The jug.", id="r2"),
        Round(prompt=Prompt(text="the plates"), segments=(Segment(mask=RIGHT, id="m2"),), id="r3"),
    )
    assert chain_of(Prompt(text="not that one", refers_to=("m1",)), rounds) == [0, 1]
    assert chain_of(Prompt(text="the left of them", refers_to=("m2",)), rounds) == [2]
    assert chain_of(Prompt(text="it does not matter", refers_to=("m9",)), rounds[:1]) == []
