"""How good a mask is to be expected: at first what its decoder says; less where choosing was narrow; cautious."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from askmask.model.mini.net import Mini
from askmask.model.mini.score import HALF, LOW, RISE, SIGNS, Score, cautious, signs
from tests.model.test_mini import SIZES


@pytest.fixture
def look_and_nets():
    torch.manual_seed(0)
    plain = Mini(replace(SIZES, composes=True)).eval()
    scored = Mini(replace(SIZES, composes=True, doubts=True)).eval()
    scored.load_state_dict(scored.state_dict() | plain.state_dict())
    side = SIZES.image_size
    picture = np.random.default_rng(0).integers(0, 255, (side, side, 3), np.uint8)
    return scored.look(picture, scored.segmenter.prepare(picture)), plain, scored


def test_before_it_is_fitted_a_score_is_the_decoders(look_and_nets):
    look, plain, scored = look_and_nets
    tokens = plain.prompt_encoder.words.tokens(["the mug", "the wall"])
    before, after = plain.ask(look, tokens), scored.ask(look, tokens)
    torch.testing.assert_close(after.scores, before.scores)
    assert torch.equal(after.logits, before.logits)


@torch.no_grad()
def test_what_was_fitted_reaches_answers_but_not_alternatives(look_and_nets):
    look, plain, scored = look_and_nets
    tokens = plain.prompt_encoder.words.tokens(["the mug", "the wall"])
    scored.score.weigh.bias.fill_(-20.0)
    assert scored.ask(look, tokens).scores.max() < 1e-4
    three = scored.ask(look, tokens, multimask=True).scores
    torch.testing.assert_close(three, plain.ask(look, tokens, multimask=True).scores)
    assert three.shape == (2, 3)


def test_caution_keeps_the_order_and_both_ends():
    cut, raw = torch.tensor(0.76), torch.linspace(0, 1, 1001)
    said = cautious(raw, cut)
    assert (said.diff() > 0).all()
    low, high = raw <= LOW, raw >= 0.76 + RISE
    torch.testing.assert_close(said[low], raw[low])
    torch.testing.assert_close(said[high], raw[high])
    assert ((said < HALF) == (raw < 0.76)).float().mean() > 0.998
    assert (said <= raw + 1e-6).all(), "nothing becomes surer"


@pytest.mark.parametrize("cut", [0.0, HALF])
def test_who_is_sure_of_right_masks_alone_needs_no_caution(cut):
    raw = torch.linspace(0, 1, 101)
    assert torch.equal(cautious(raw, torch.tensor(cut)), raw)


@pytest.mark.parametrize("cut", [0.99, 1.0, 7.0])
def test_caution_stays_within_bounds(cut):
    said = cautious(torch.linspace(0, 1, 101), torch.tensor(cut))
    assert said.min() >= 0 and said.max() <= 1


def told(select, painted=None, said=0.0):
    """The signs of one mask over two regions, left and right half."""
    masks = torch.zeros(2, 4, 4)
    masks[0, :, :2] = masks[1, :, 2:] = 1
    painted = masks[:1] if painted is None else painted
    read = SimpleNamespace(said=torch.tensor([[said]]), denied=torch.full((1, 1), -9.0))
    choice = SimpleNamespace(select=torch.tensor([select]), painted=painted, read=read)
    drawn = torch.zeros(1, 8, 8)
    drawn[:, :, :4], drawn[:, :, 4:] = 5, -5
    return signs(torch.tensor([0.8]), drawn, choice, masks, torch.tensor([[0.5], [1.0]]))[0]


def test_signs_tell_a_narrow_choice_a_mask_that_left_it_and_names_that_are_not_clear():
    sure = told([9.0, -9.0], said=-9.0)
    assert sure.shape == (SIGNS,) and sure[0] == torch.logit(torch.tensor(0.8))
    narrow = told([0.1, -0.1], said=-9.0)
    assert narrow[2] > sure[2] + 1 and torch.equal(narrow[:2], sure[:2])
    left = told([9.0, -9.0], painted=1 - torch.ones(1, 4, 4), said=-9.0)
    assert left[1] < sure[1] - 1 and left[2] == sure[2]
    unclear = told([9.0, -9.0], said=9.0)
    assert unclear[3] > sure[3] + 1 and torch.equal(unclear[:3], sure[:3])


def test_signs_of_nothing_are_numbers():
    nothing = SimpleNamespace(
        select=torch.zeros(1, 0), painted=torch.zeros(1, 4, 4),
        read=SimpleNamespace(said=torch.zeros(1, 1), denied=torch.zeros(1, 1)),
    )  # fmt: skip
    found = signs(torch.tensor([1.0]), -torch.ones(1, 4, 4), nothing, torch.zeros(0, 4, 4), torch.zeros(0, 1))
    assert found.isfinite().all()
    assert Score()(found).isfinite().all()
