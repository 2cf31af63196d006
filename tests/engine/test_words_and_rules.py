"""Rules of stages 2 to 4 that no model decides: duplicates, the pool, what a prompt must be."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from askmask.engine.segment import clip, merge_duplicates
from askmask.engine.templates import FAMILIES, all_hashes, fill, fill_write, hash_of
from askmask.engine.values import Region, WrittenPrompt
from askmask.engine.verify import assign_pool
from askmask.engine.words import caption_solves, normal_words, same_request, starts_with_verb
from askmask.engine.write import broken_rule, tidy
from askmask.imaging.mask import Mask
from askmask.segmenters.segmenter import suppress


def box_mask(x0, y0, x1, y1, size=(40, 40)) -> Mask:
    array = np.zeros(size, bool)
    array[y0:y1, x0:x1] = True
    return Mask.from_array(array)


def region(number: int, text: str, mask: Mask | None = None, score: float = 0.5) -> Region:
    return Region(
        id=number, text=text, kind="thing", box=(0, 0, 9, 9), mask=mask or box_mask(0, 0, 9, 9), score=score
    )


CUPS = (region(1, "white cup, left"), region(2, "blue cup, right"), region(3, "wooden table, bottom"))


def prompt(text: str, candidates=(1, 2), satisfying=(1,), negative=None) -> WrittenPrompt:
    return WrittenPrompt(
        id="p",
        concept="physics",
        family="support",
        text=text,
        candidates=candidates,
        satisfying=satisfying,
        negative=negative,
    )


@pytest.mark.parametrize(
    ("written", "rule"),
    [
        (prompt("Segment what would tip over first"), None),
        (prompt("Segment what would tip over", satisfying=(), negative="none_satisfies"), None),
        (prompt("Segment a cup made of glass", (), (), "false_attribute"), None),
        (prompt("The cup that would tip over"), "no_verb"),
        (prompt("Segment " + "very " * 9 + "unstable cups"), "too_long"),
        (prompt(""), "empty"),
        (prompt("Segment all unstable things", (1, 2), (1, 2)), "not_a_strict_subset"),
        (prompt("Segment what tips", (1, 2), (3,)), "not_a_strict_subset"),
        (prompt("Segment what tips", (1,), ()), "one_candidate"),
        (prompt("Segment what tips", (1, 7), (1,)), "unknown_region"),
        (prompt("Segment the white cup", (1, 2), (1,)), "trivial"),
        (prompt("Segment the cups", (1, 2, 3), (1, 2)), "trivial"),
        (prompt("Segment the masked region that tips"), "speaks_of_marks"),
        (prompt("Segment region 2 if it tips"), "speaks_of_marks"),
    ],
)
def test_rules_of_a_prompt(written, rule):
    assert broken_rule(written, CUPS, 10) == rule


def test_caption_solves_only_when_exactly_the_answer_is_found():
    captions = {1: "red cup, left", 2: "red cup, right", 3: "blue bowl"}
    assert caption_solves("Segment the blue bowl", captions, {3})
    assert not caption_solves("Segment the red cup", captions, {1})  # both match: looking is needed
    assert not caption_solves("Segment the chipped cup", captions, {1})


@given(st.text(max_size=60))
def test_same_request_is_reflexive_and_ignores_punctuation(text):
    assert same_request(text, text)
    assert same_request(text, f"  {text}  !")
    assert starts_with_verb(text) in (True, False)
    assert normal_words(tidy(text)) == normal_words(text)


def test_same_request():
    assert same_request("Segment the red cups", "Find the red cup.")
    assert not same_request("Segment the red cup", "Segment the red cup on the left")


def test_duplicates_keep_the_better_score_and_say_of_which():
    a, b = region(1, "cup", score=0.4), region(2, "mug", score=0.9)
    kept, dropped = merge_duplicates([a, b, region(3, "tray", box_mask(20, 20, 39, 39))], 0.85)
    assert [r.id for r in kept] == [2, 3]
    assert dropped[0].what == "cup" and "2" in dropped[0].detail


def test_pool_gives_each_mask_to_one_region_and_best_first():
    good, rough = box_mask(0, 0, 10, 10), box_mask(0, 0, 10, 8)
    a, b = region(1, "a", good), region(2, "b", rough)
    pool = [box_mask(0, 0, 10, 9), box_mask(30, 30, 39, 39)]
    given_masks = assign_pool((a, b), pool, 0.5)
    assert list(given_masks.values()) == [pool[0]] and len(given_masks) == 1
    assert assign_pool((a,), [good], 0.5) == {}  # the same mask is no alternative
    assert assign_pool((a,), [box_mask(0, 0, 10, 3)], 0.5) == {}  # too far


def test_suppress_keeps_the_better_of_near_duplicates():
    masks = [(box_mask(0, 0, 10, 10), 0.5), (box_mask(0, 0, 10, 9), 0.8), (box_mask(20, 20, 30, 30), 0.1)]
    assert [score for _, score in suppress(masks)] == [0.8, 0.1]


def test_boxes_are_ordered_and_cut_to_the_picture():
    assert clip((30, -5, -10, 20), (40, 25)) == (0.0, 0.0, 25.0, 20.0)
    assert clip((30, 0, 50, 10), (40, 25)) is None


def test_templates_parse_and_carry_every_family():
    for concept, families in FAMILIES.items():
        text = fill_write(concept)
        assert all(f"`{family}`" in text for family in families)
    assert "$" not in fill("verify_mask", tint="red")
    assert len(set(all_hashes().values())) == len(all_hashes())
    assert hash_of("describe") != hash_of("describe", "verify_mask")
    with pytest.raises(ValueError, match="needs"):
        fill("verify_mask", colour="red")
