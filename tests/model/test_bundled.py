"""What the bundled weights understand: other words for the same thing give the same mask."""

import pytest

import askmask
from tests.conftest import ROOT


@pytest.fixture(scope="module")
def model():
    return askmask.load("mini", device="cpu")


@pytest.mark.parametrize(
    ("plain", "other"),
    [
        ("the glass", "the glsas"),  # a typing error
        ("the bottle", "no boxes, just the bottle"),
        ("the bottle", "leave the boxes, take the bottle"),
        ("the bottle", "the bottle, not the glass"),
        ("the glass", "no bottle, only the glass"),
    ],
)
def test_other_words_for_the_same(model, plain, other):
    """With one summary of all words, "no boxes, just the bottle" was often read as the boxes."""
    sessions = [model.open(ROOT / "examples" / "table.png") for _ in range(2)]  # each asked alone
    one, two = (
        session.ask(text, words=False).mask for session, text in zip(sessions, (plain, other), strict=True)
    )
    assert one.area > 100 and one.iou(two) > 0.8
