"""Masks at the picture's side: convex blends of the cells around each pixel, the same for every mask of a picture."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from askmask.model.mini.blend import CELLS, Blend, blended
from askmask.model.mini.net import Mini
from askmask.model.seams import PastRound
from tests.model.test_mini import SIZES


def shares_of(cell):
    """Every pixel is wholly like one of the cells around its own."""
    shares = torch.zeros(1, 4, CELLS, 3, 5)
    shares[:, :, cell] = 1
    return shares.flatten(1, 2)


def test_what_is_like_its_own_cell_is_that_cell():
    masks = torch.rand(2, 1, 3, 5)
    whole = blended(shares_of(CELLS // 2), masks)
    assert torch.equal(whole, F.interpolate(masks, scale_factor=2, mode="nearest"))


def test_a_pixel_may_be_like_its_neighbour():
    masks = torch.rand(1, 1, 3, 5)
    whole = blended(shares_of(CELLS // 2 + 1), masks)  # the cell to the right
    assert torch.equal(whole[0, 0, ::2, :8:2], masks[0, 0, :, 1:])
    assert torch.equal(whole[0, 0, ::2, 8], masks[0, 0, :, 4])  # at the border, the last one


def test_a_blend_lies_between_the_cells_and_is_found_once_for_all_masks():
    torch.manual_seed(0)
    blend = Blend(8).eval()
    shares = blend(torch.rand(2, 3, 16, 16), torch.rand(2, 8, 8, 8))
    assert shares.unflatten(1, (4, CELLS)).sum(2).sub(1).abs().max() < 1e-5
    masks = torch.randn(2, 3, 8, 8)
    each = blended(shares, masks)
    assert each.shape == (2, 3, 16, 16)
    assert masks.amin() - 1e-5 <= each.amin() and each.amax() <= masks.amax() + 1e-5
    one = blended(shares[:1], masks[:1].expand(4, -1, -1, -1))
    torch.testing.assert_close(one, each[:1].expand(4, -1, -1, -1))


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(5)
    return Mini(replace(SIZES, blends=True, composes=True, remembers=True)).eval()


def test_answers_have_the_pictures_side_and_memory_the_cells(net):
    rgb = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    look = net.look(rgb, net.segmenter.prepare(rgb))
    tokens = net.prompt_encoder.words.tokens(["the mug"])
    out = net.ask(look, tokens)
    assert net.segmenter.mask_size == 64 and out.logits.shape == (1, 1, 64, 64)
    assert net.ask(look, tokens, multimask=True).logits.shape == (1, 3, 64, 64)
    square = torch.zeros(1, 64, 64)
    square[0, 8:24, 16:40] = 1
    coarse = F.avg_pool2d(square, 2)
    one, other = (
        net.remember(look, None, PastRound("it", "", masks, (None,), (), False)) for masks in (square, coarse)
    )
    assert torch.equal(one.evidence, other.evidence)  # as if it had been given at the side of the cells
