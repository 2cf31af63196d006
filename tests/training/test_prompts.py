"""What a prompt of dense truth says, of whom it speaks, and what objects are to each other."""

import numpy as np
import pytest

from askmask.errors import DataError
from askmask.model.mini.compose import MIDDLE, SPREAD
from askmask.model.mini.pairs import FACTS
from askmask.training.prompts import NOBODY, UNSAID, asks_of, measure_table, of_target, pair_table

OBJECTS = [
    {"id": 1, "category": "box", "colour": "brown", "parts": [{"id": 1, "name": "body"}], "supports": [2]},
    {"id": 2, "category": "bowl", "colour": "red", "parts": [{"id": 2, "name": "body"}], "contains": [3]},
    {"id": 3, "category": "ball", "colour": "red", "parts": [{"id": 3, "name": "body"}]},
    {
        "id": 4,
        "category": "mug",
        "colour": "blue",
        "parts": [{"id": 4, "name": "body"}, {"id": 5, "name": "handle"}],
    },
]


def ask(text, kind, ids=(), facts=None, candidates=(1, 2, 3, 4), **more):
    prompt = {"prompt": text, "kind": kind, "answer": {"objects": list(ids)}, "satisfying": list(ids)}
    prompt |= {
        "candidates": list(candidates),
        "facts": facts or {},
        "concept": "physics",
        "family": "",
    } | more
    view = {
        "objects": {str(n): {"hidden_by": [4] if n == 1 else []} for n in (1, 2, 3, 4)},
        "prompts": [prompt],
    }
    return asks_of({"objects": OBJECTS}, view)[0]


def test_the_thing_spoken_of_comes_from_the_facts():
    assert ask("what is on the box?", "carried_by", [2], {"of": 1}).of == 1
    assert ask("what falls without the box?", "falls_with", [2], {"removed": 1}).of == 1
    assert ask("what blocks the mug?", "blocked_by", [1], {"blocked_by": [1]}, candidates=(1, 2, 3)).of == 4
    assert ask("left of the kettle", "left_of", [], {"absent": "the kettle"}).of == NOBODY
    assert ask("red things", "colour", [2, 3], {"colour": "red"}).of == NOBODY
    assert ask("the pile with the box", "stack", [1, 2], {"stack": [1, 2, 3]}).of == UNSAID


def test_a_kind_that_is_not_known_is_an_error():
    with pytest.raises(DataError, match="nothing is known of prompts of kind 'sideways'"):
        ask("the sideways box", "sideways", [1])
    assert ask("the sideways box", "sideways", [1], {"of": 1}).of == 1
    assert ask("the box", "", [1]).of == UNSAID


def test_orders_and_places_come_from_the_facts():
    one = ask(
        "the second smallest box",
        "ordinal",
        [1],
        {"said": ["box"], "other": [], "order": "small", "place": 2},
    )
    assert (one.order, one.place, one.said) == ("small", 2, {"box"})
    two = ask("the third thing from the right", "nth_right", [2], {"order": [4, 3, 2, 1]})
    assert (two.order, two.place) == ("right", 3)
    assert ask("left of the box", "left_of", [2], {"of": 1}).order == "left"
    assert ask("things that tip", "tips", [2]).order == ""
    bigger = ask("what is bigger than it?", "compare", [1], {"of": 2, "compared": "bigger"})
    assert (bigger.order, bigger.place) == ("large", 0)
    lowest = ask("the lowest of those", "superlative_of_those", [1], {"sorted": "lowest"})
    assert (lowest.order, lowest.place) == ("low", 1)


def test_a_comparison_without_an_order_is_an_error():
    with pytest.raises(DataError, match="'rounder' has no order"):
        ask("what is rounder than it?", "compare", [1], {"of": 2, "compared": "rounder"})


def test_a_correction_asks_for_its_colour_and_an_exception_denies_it():
    wanted = ask("not quite: the red bowl", "correct_to_quality", [2], {"of": 4, "c": "red"})
    assert "red" in wanted.said and not wanted.denied
    without = ask("them but the box", "all_but", [2], {"not": "box"})
    assert without.denied == {"box"} and "box" not in without.said


@pytest.mark.parametrize("kind", ["intent_show", "intent_none"])
def test_needs_that_name_nothing_speak_of_nobody(kind):
    assert ask("I want to water the plant", kind, [2] if kind == "intent_show" else []).of == NOBODY


def test_quantities_are_the_worlds_and_nearness_is_from_the_viewer():
    things = [
        item
        | {
            "place": "table",
            "size": [0.1, 0.1, 0.1 * item["id"]],
            "mass": 0.5,
            "position": [0, item["id"], 0.08],
        }
        for item in OBJECTS
    ]
    view = {
        "objects": {str(n): {"pixels": 500, "visible": 1.0, "centre": [40 * n, 60], "cut": False} for n in range(1, 4)},
        "parts": {}, "table": 0, "floor": 0, "size": 160,
        "camera": {"position": [0, -1, 1], "right": [1, 0, 0], "forward": [0, 1, 0]},
    }  # fmt: skip
    view["objects"]["4"] = {"pixels": 0, "visible": 0.0}  # out of the picture: has no place in it
    table = measure_table({"objects": things}, view) * np.float32(SPREAD) + np.float32(MIDDLE)
    assert table[1:4, 0] == pytest.approx([0.25, 0.5, 0.75]) and table[1:4, 1] == pytest.approx([2, 3, 4])
    assert table[2, 2] == pytest.approx(np.log(0.2), abs=1e-5) and table[1, 5] == pytest.approx(0.08)


def test_names_said_and_denied():
    one = ask("the wooden thing left of the red bowl", "left_of", [1], {"of": 2})
    assert {"red", "bowl", "material=wood"} <= one.said and "box" not in one.said and not one.denied
    other = ask("any bowl that would not tip, but not the red ones", "compose_not", [],
                {"attribute": "tips", "value": False, "c": "red"}, candidates=(2,))  # fmt: skip
    assert other.denied == {"tips", "red"} and "bowl" in other.said and "red" not in other.said
    part = ask("the handle of the mug", "part", [4], {"part": "handle", "of": 4})
    assert {"handle", "mug"} <= part.said


def test_the_region_spoken_of_is_found_by_its_owner():
    owner = np.array([3, 1, -1, 0, 200])
    found = [of_target(ask("", "carried_by", [2], {"of": n}), owner) for n in (1, 3, 2)]
    assert found == [1, 0, -100]  # object 2 was not found by the eyes: no loss
    assert of_target(ask("", "colour"), owner) == len(owner)
    assert of_target(ask("", "stack"), owner) == -100


def test_pairs_know_direction_and_stacks_are_closed():
    view = {"objects": {"1": {"hidden_by": [4]}}, "prompts": []}
    table = pair_table({"objects": OBJECTS}, view)
    assert table[1, 2, FACTS.index("carries")] and not table[2, 1, FACTS.index("carries")]
    assert table[2, 3, FACTS.index("holds")] and table[1, 4, FACTS.index("hidden_by")]
    together = table[:, :, FACTS.index("stacked_with")]
    assert together[1, 3] and together[3, 1] and not together[1, 4]


@pytest.mark.parametrize("kind", ["surface"])
def test_free_form_answers_keep_the_object_they_lie_on(kind):
    mask = {"size": [2, 2], "counts": "04"}
    one = ask("the top of the box", kind, [1], answer={"masks": [mask]})
    assert one.parts == ("surface",) and one.ids == {1} and one.of == 1
