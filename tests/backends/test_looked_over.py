"""What a reader is told of an answer whose words and masks disagree, and of specks."""

import numpy as np
import pytest

from askmask import Mask, Segment
from askmask.backends.looked_over import SPECK, looked_over


def segments(phrase, count, pixels=100):
    flat = np.zeros(1000, bool)
    flat[:pixels] = True
    mask = Mask.from_array(flat.reshape(25, 40))
    return [Segment(mask=mask, source="predicted", phrase=phrase, span=(0, len(phrase)))] * count


@pytest.mark.parametrize(
    ("phrase", "count", "said"),
    [
        ("seven things", 6, ('the reply says "seven things", and has 6 masks for it',)),
        ("the 2 red mugs", 1, ('the reply says "the 2 red mugs", and has 1 mask for it',)),
        ("all three mugs", 3, ()),
        ("one mug", 1, ()),
        ("the mugs", 4, ()),
        ("sevenfold mirror", 1, ()),
    ],
)
def test_a_number_that_is_said_is_the_number_shown(phrase, count, said):
    assert looked_over(segments(phrase, count)) == said


def test_phrases_are_counted_each_by_itself():
    both = segments("two mugs", 2) + [
        Segment(mask=one.mask, source="predicted", phrase="one cup", span=(20, 27))
        for one in segments("x", 2)
    ]
    assert looked_over(both) == ('the reply says "one cup", and has 2 masks for it',)


def test_specks_are_said_to_be_tiny():
    assert looked_over(segments("the mug", 1, SPECK)) == ()
    assert looked_over(segments("the mug", 1, 10)) == ("a mask is tiny: 10 pixels",)
    assert looked_over(segments("the mug", 1, 10) + segments("a cup", 1, 3)) == (
        "2 masks are tiny: 10, 3 pixels",
    )


def test_a_reply_that_names_what_no_mask_shows_is_told():
    assert looked_over((), named=True) == ("the reply names what no mask shows",)
    assert looked_over(()) == () == looked_over(segments("the mug", 1), named=True)
