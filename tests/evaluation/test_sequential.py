"""Conversations asked in order, with right, true and wrong references."""

from dataclasses import replace

import numpy as np
import pytest

from askmask import Example, Mask, Round
from askmask.conversation import Prompt, Segment
from askmask.errors import SettingError
from askmask.evaluation.predict import plan, predict, predictor_of
from askmask.evaluation.predictions import PredictionFiles
from askmask.evaluation.scoring import score
from askmask.evaluation.sequential import REFERENCES, TEACHER_FORCED, Asker, disturbed, in_order, mode_of
from askmask.evaluation.truth import truths_of
from askmask.history import without_truth
from tests.evaluation.referring import ReferringModel, make_talks


@pytest.fixture(scope="module")
def talks(tmp_path_factory):
    return make_talks(tmp_path_factory.mktemp("talks"))


def scores(talks, out, reference):
    list(
        predict(
            predictor_of(ReferringModel(), reference=reference),
            plan(talks, reference=reference),
            out,
            facts={},
        )
    )
    data = score(PredictionFiles(out), truths_of(talks)).to_dict(resamples=200)
    return data, {n: part["gIoU"] for n, part in data["groups"]["round"].items()}


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("none", [1, 1, 0, 0]),
        ("pred", [1, 1, 1, 1]),
        ("gt", [1, 1, 1, 1]),
        ("words", [1, 1, 0, 0]),  # "the same", "this, the other": the words do not say
        ("swap", [1, 1, 0, 0.5]),  # of the two other answers one is not it: half of "all but that"
        ("random", [1, 1, 0, 0]),
    ],
)
def test_what_is_referred_to_decides(talks, tmp_path, reference, expected):
    _, by_round = scores(talks, tmp_path, reference)
    got = list(by_round.values())
    assert got[:3] == expected[:3]
    assert got[3] == expected[3] or reference in ("swap", "random", "words")


def test_rounds_that_follow_a_disturbed_one_stand_on_the_models_own_answers(talks):
    asked = {
        how: list(in_order(Asker(ReferringModel(), talks[0].image), without_truth(talks[0]), how))
        for how in ("pred", "swap")
    }
    assert [one.answer.mask for one in asked["swap"]][:2] == [one.answer.mask for one in asked["pred"]][:2]
    assert asked["swap"][2].prompt.refers_to == ("m2",) and asked["pred"][2].prompt.refers_to == ("r1",)


def test_truth_is_seen_by_teacher_forcing_alone(talks):
    everything = [Mask.full((24, 32))]
    rounds = Round.of("the purple thing", everything), Round.of("the same", everything, refers_to=["m1"])
    wrong = Example(id="w", image=talks[0].image, size=(24, 32), rounds=rounds)
    found = {}
    for how in ("pred", "gt"):
        (picture,) = plan([wrong], reference=how)
        (found[how],) = predictor_of(ReferringModel(), reference=how)(
            wrong.image, [c.example for c in picture.conversations]
        )
    assert [answer.found for answer in found["pred"]] == [False, False]
    assert [answer.found for answer in found["gt"]] == [False, True]
    assert (mode_of("gt"), mode_of("pred")) == (TEACHER_FORCED, "generation")
    for call in (lambda: mode_of("gold"), lambda: plan([], reference="own")):
        with pytest.raises(SettingError, match=", ".join(REFERENCES)):
            call()


def test_a_mask_handed_over_is_referred_to(talks):
    given = talks[0].rounds[0].segments[0].mask
    alone = Round(prompt=Prompt(text="the same", masks=(given,)), segments=(Segment(mask=given),))
    hard = Example(id="h", image=talks[0].image, size=(24, 32), rounds=(alone,))
    asker = Asker(ReferringModel(), hard.image)
    answers = {how: next(in_order(asker, hard, how)).answer for how in REFERENCES}
    assert answers["pred"].mask == answers["gt"].mask == given
    assert (
        not answers["none"].found
        and answers["random"].mask != given
        and answers["random"].mask.overlap(given) < 0.5
    )
    assert len(ReferringModel().open(hard.image).ask_many([replace(hard.rounds[0].prompt, masks=())])) == 1


def test_a_reference_elsewhere_has_the_same_area_and_the_same_seed_the_same_place():
    area = np.zeros((40, 60), bool)
    area[5:15, 5:25] = True
    mask = Mask.from_array(area)
    rounds = (Round(prompt=Prompt(text="a"), segments=(Segment(mask=mask, id="m1"),), id="r1"),)
    put = [
        disturbed(Prompt(text="b", refers_to=("r1",)), rounds, "random", (40, 60), seed)
        for seed in ("x", "x", "y")
    ]
    assert put[0] == put[1] != put[2] and put[0].refers_to == ()
    assert put[0].masks[0].area == 200 and put[0].masks[0].overlap(mask) < 0.5
    only = disturbed(Prompt(text="b", refers_to=("r1",)), rounds, "swap", (40, 60), "x")
    assert only.masks and not only.refers_to  # there is no other segment
