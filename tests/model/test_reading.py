"""Words read one by one: which names each gives, in which role. Holds for any weights."""

from dataclasses import replace

import pytest
import torch

from askmask.model.mini.net import Mini
from askmask.model.mini.reading import ByWord
from tests.model.test_mini import SIZES


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(2)
    return Mini(replace(SIZES, composes=True, word_roles=True)).eval()


def read(net, *texts):
    return net.language.understand(net.language.words.tokens(list(texts)))


@torch.no_grad()
def test_a_prompt_says_the_same_beside_longer_ones(net):
    short, long = "no mugs, just the ball", "the red ball that is not on the table but behind the blue mug"
    together, alone = read(net, long, short).rows(torch.tensor([1])), read(net, short)
    for name in ("kind", "said", "denied", "of"):
        torch.testing.assert_close(getattr(together, name), getattr(alone, name))


@torch.no_grad()
def test_names_come_of_words_in_their_roles():
    by_word = ByWord(8, 3).eval()
    words, real = torch.randn(1, 4, 8), torch.tensor([[True, True, True, False]])
    by_word.role.weight.zero_()
    by_word.role.bias.copy_(torch.tensor([20.0, -20.0, 0.0]))  # every word says, and denies nothing
    said, denied, half = by_word(words, real)[0]
    given = torch.nn.functional.softplus(by_word.names(words[0, :3])).sum(0)
    torch.testing.assert_close(said.sigmoid(), 1 - (-given).exp(), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(half.sigmoid(), 1 - (-given / 2).exp(), atol=1e-4, rtol=1e-4)
    assert denied.sigmoid().max() < 1e-3


@torch.no_grad()
def test_the_order_of_words_matters_and_what_lies_behind_the_last_does_not(net):
    by_word = net.language.reading.by_word
    words, real = torch.randn(1, 5, 32), torch.ones(1, 5, dtype=torch.bool)
    turned = by_word(words.flip(1), real)
    assert (turned - by_word(words, real)).abs().max() > 1e-4  # the sum over words alone would be the same
    padded = torch.cat([words, torch.randn(1, 7, 32)], 1)
    torch.testing.assert_close(
        by_word(padded, torch.cat([real, torch.zeros(1, 7, dtype=torch.bool)], 1)), by_word(words, real)
    )


def test_a_network_without_roles_reads_the_summary_alone():
    net = Mini(replace(SIZES, composes=True)).eval()
    assert net.language.reading.by_word is None and read(net, "the mug").of is None
