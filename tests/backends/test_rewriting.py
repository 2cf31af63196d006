"""Conversations written into the words of a prompt, for models without memory."""

import numpy as np
import pytest

from askmask import Mask, Model
from askmask.backends.rewriting import RewritingBackend, rewritten
from askmask.conversation import Prompt, Round, Segment, named
from askmask.errors import PromptError, SettingError
from tests.evaluation.colour_model import COLOURS, ColourBackend

DOT = Mask.from_array(np.eye(4))


def asked(text, count=1, refers_to=(), name=None):
    return Round(
        prompt=Prompt(text=text, refers_to=refers_to), segments=(Segment(mask=DOT, name=name),) * count
    )


ROUNDS = named([asked("show me the red mug"), asked("its handle", refers_to=("m1",)), asked("the plates", 2)])


@pytest.mark.parametrize(
    ("text", "meant", "caption", "mask"),
    [
        ("its rim", ("m1",), "the red mug's rim", "the mask's rim"),
        ("their rims", ("r3",), "the plates' rims", "the mask's rims"),
        ("the tip of it", ("m2",), "the tip of the red mug's handle", "the tip of the mask"),
        ("the other one", ("m1",), "the other one than the red mug", "the other one than the mask"),
        ("left of instance 1?", ("m1",), "left of the red mug?", "left of the mask?"),
        ("the spoon", ("m1",), "the red mug: the spoon", "the mask: the spoon"),
        (
            "between m1 and m2",
            (),
            "between the red mug and the red mug's handle",
            "between the mask and the mask",
        ),
        ("the lamp", (), "the lamp", "the lamp"),
    ],
)
def test_what_is_meant_is_spelt_out(text, meant, caption, mask):
    prompt = Prompt(text=text, refers_to=meant)
    assert rewritten(prompt, ROUNDS, captions=True) == caption
    assert rewritten(prompt, ROUNDS, captions=False) == mask


def test_a_users_name_is_the_caption_and_long_chains_cost_little():
    rounds = [asked("the pot", name="kettle")]
    rounds += [asked("its handle", refers_to=(f"m{n}",)) for n in range(1, 60)]
    chain = named(rounds)
    assert rewritten(Prompt(text="its lid", refers_to=("m1",)), chain, captions=True) == "the kettle's lid"
    assert rewritten(Prompt(text="its tip", refers_to=("m60",)), chain, captions=True).count("handle") == 59


class Recording(ColourBackend):
    def __init__(self):
        super().__init__()
        self.got = []

    def check(self, prompt):
        if len(prompt.text) > 60:
            raise PromptError("too long")
        return super().check(prompt)

    def answer(self, asked, keep):
        self.got += [(one.prompt, one.state.rounds) for one in asked]
        return super().answer(asked, keep)


@pytest.fixture
def picture():
    rgb = np.full((8, 8, 3), 128, np.uint8)
    rgb[2:4, 2:4] = COLOURS["red"]
    return rgb


def test_the_model_is_asked_alone_and_the_answer_keeps_the_prompt(picture):
    inner = Recording()
    session = Model(RewritingBackend(inner, "caption")).open(picture)
    session.ask("the red thing")
    answer = session.ask("its other side, that again")
    text, rounds = inner.got[-1][0].text, inner.got[-1][1]
    assert (text, rounds) == ("the red thing's other side, that again", ()) and inner.got[-1][
        0
    ].refers_to == ()
    assert answer.prompt == "its other side, that again" and answer.round.prompt.refers_to == ("m1",)
    assert answer.model == answer.round.made_by == "colours+caption" and answer.notices == (
        f"asked as: {text}",
    )
    assert answer.found  # "red" is in the words now


def test_a_transcript_holds_as_many_rounds_as_fit(picture):
    inner = Recording()
    session = Model(RewritingBackend(inner, "transcript")).open(picture)
    for text in ("the red thing", "the purple thing", "its lid"):
        session.ask(text)
    assert inner.got[1][0].text == "Before: the red thing: found. Now: the purple thing"
    assert inner.got[2][0].text == "Before: the purple thing: found. Now: its lid"  # red was in the words
    session.ask("whichever")
    session.ask("its top")
    assert inner.got[4][0].text == "Before: whichever: asks back. Now: its top"  # a question is not "nothing"
    session.ask("a green thing " * 4)
    assert inner.got[5][0].text == "a green thing " * 4
    with pytest.raises(SettingError, match="mask, caption, transcript"):
        RewritingBackend(inner, "other")
