"""Names of regions by all of their evidence: at first those of their pixels, then what is learnt. For any weights."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from askmask.model.mini.language import Regions
from askmask.model.mini.net import Mini
from askmask.model.mini.recognise import Recognise
from askmask.training.selection import name_loss
from askmask.training.vocabulary import Vocabulary
from tests.model.test_mini import SIZES

NAMES = [len(SIZES.categories), len(SIZES.colours), len(SIZES.attributes)]


@pytest.fixture
def recognise():
    torch.manual_seed(0)
    return Recognise(SIZES, 7).eval()


def chances(*shape):
    category, colour, attributes, parts = torch.randn(*shape, sum(NAMES) + 3).split([*NAMES, 3], -1)
    return torch.cat([category.softmax(-1), colour.softmax(-1), attributes.sigmoid(), parts.sigmoid()], -1)


@torch.no_grad()
def test_before_it_has_learnt_names_are_those_of_the_pixels(recognise):
    names = chances(2, 5)
    torch.testing.assert_close(recognise(torch.randn(2, 5, 7), names), names)


@torch.no_grad()
def test_what_it_learns_moves_names_and_leaves_parts(recognise):
    names, change = chances(1, 4), torch.zeros(sum(NAMES))
    change[1], change[NAMES[0] + NAMES[1]] = 3.0, -50.0
    recognise.more[-1].bias.copy_(change)
    category, colour, attributes, parts = recognise(torch.randn(1, 4, 7), names).split([*NAMES, 3], -1)
    before = names.split([*NAMES, 3], -1)
    assert (category[..., 1] > before[0][..., 1]).all() and (category[..., 0] < before[0][..., 0]).all()
    torch.testing.assert_close(category.sum(-1), torch.ones(1, 4))
    torch.testing.assert_close((colour, parts), (before[1], before[3]))
    assert attributes[..., 0].max() < 1e-6
    torch.testing.assert_close(attributes[..., 1:], before[2][..., 1:])


@torch.no_grad()
def test_chances_stay_chances_under_the_noise_of_training(recognise):
    torch.nn.init.normal_(recognise.more[-1].weight, std=3.0)
    names = chances(1, 200)
    found = recognise(torch.randn(1, 200, 7), names + 0.3 * torch.randn_like(names))
    assert found.min() >= 0 and found.max() <= 4  # of one-of-many names the noise adds up


@torch.no_grad()
def test_regions_that_are_only_padding_have_no_name():
    net = Mini(replace(SIZES, composes=True, recognises=True)).eval()
    size = net.language.evidence_mean.shape[0]
    real = torch.tensor([[True, True, False]])
    evidence = torch.rand(1, 3, size) * real[..., None]
    seen = net.language.see(Regions(evidence, torch.zeros(1, 3, 3, 18), real))
    assert seen.names[0, :2].abs().sum() > 0 and not seen.names[0, 2].any()


def test_the_loss_is_of_known_objects_and_stuff():
    words = Vocabulary(SIZES.categories, ("none", "red"), SIZES.parts, ("round", "flat"))
    config = replace(SIZES, stuff=("wall",), colours=words.colours, attributes=words.attributes)
    mug = {"id": 1, "category": "mug", "colour": "red", "parts": [], "attributes": {"round": True}}
    tables = [words.tables([mug])]
    owners = [np.array([1, 0, 0], np.int16)]  # the mug, nobody, the wall
    # wall, table, floor, mug, ball; none, red; round, flat
    right = torch.tensor([[[0, 0, 0, 1, 0, 0, 1, 1, 0.5], [0.2] * 9, [1, 0, 0, 0, 0, 0.5, 0.5, 0.5, 0.5]]])
    assert name_loss(right, tables, owners, config) < 1e-3
    for row, column in ((0, 3), (0, 6), (0, 7), (2, 0)):  # its category, colour and fact; the wall
        wrong = right.clone()
        wrong[0, row, column] = 0.01
        assert name_loss(wrong, tables, owners, config) > 0.1
    for row, column in ((0, 8), (1, 3), (2, 7)):  # what the data do not say; nobody; what stuff has not
        other = right.clone()
        other[0, row, column] = 0.99
        assert name_loss(other, tables, owners, config) < 1e-3
    assert name_loss(right, [None], owners, config) == 0
