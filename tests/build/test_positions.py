"""The rule of positions: what it promises of any two boxes."""

from hypothesis import given
from hypothesis import strategies as st

from askmask.build.mrseg.positions import (
    MARGIN,
    OVERLAPPING,
    SIDE,
    WORDS,
    could_be,
    is_clear,
    offsets,
    relation,
)

OPPOSITE = {"left": "right", "right": "left", "above": "below", "below": "above", OVERLAPPING: OVERLAPPING}


@st.composite
def boxes(draw):
    x, y = draw(st.integers(0, 300)), draw(st.integers(0, 300))
    return x, y, x + draw(st.integers(1, 200)), y + draw(st.integers(1, 200))


def opposite(name, *, across=True, down=True):
    sides = {"left": across, "right": across, "above": down, "below": down}
    return " ".join(OPPOSITE[w] if sides.get(w, True) else w for w in name.split())


@given(boxes(), boxes())
def test_it_is_antisymmetric_and_turns_with_the_picture(target, reference):
    name = relation(target, reference)
    assert name in WORDS
    assert relation(reference, target) == opposite(name)
    assert is_clear(target, reference) == is_clear(reference, target)
    mirrored = [(500 - x1, y0, 500 - x0, y1) for x0, y0, x1, y1 in (target, reference)]
    assert relation(*mirrored) == opposite(name, down=False)
    upside_down = [(x0, 500 - y1, x1, 500 - y0) for x0, y0, x1, y1 in (target, reference)]
    assert relation(*upside_down) == opposite(name, across=False)


@given(boxes(), boxes(), st.integers(1, 7), st.integers(-400, 400))
def test_it_is_blind_to_scale_and_place(target, reference, scale, shift):
    moved = [tuple(scale * v + shift for v in box) for box in (target, reference)]
    assert relation(*moved) == relation(target, reference)
    assert is_clear(*moved) == is_clear(target, reference)


@given(boxes(), boxes())
def test_what_is_clear_keeps_its_margins_and_what_holds_could_be_said(target, reference):
    name = relation(target, reference)
    if is_clear(target, reference):
        ux, uy, shared = offsets(target, reference)
        assert all(abs(abs(u) - SIDE) >= MARGIN for u in (ux, uy)) and abs(shared - 0.3) >= MARGIN
        assert could_be(name, target, reference)
        for side in name.split():
            assert could_be(side, target, reference)


def test_examples():
    cup = (100, 100, 140, 140)
    for box, name in (
        ((10, 100, 50, 140), "left"), ((200, 105, 240, 145), "right"), ((100, 10, 140, 50), "above"),
        ((10, 10, 50, 50), "above left"), ((200, 200, 240, 240), "below right"),
        ((105, 105, 145, 145), OVERLAPPING), ((110, 110, 120, 120), OVERLAPPING),
    ):  # fmt: skip
        assert relation(box, cup) == name and is_clear(box, cup)
