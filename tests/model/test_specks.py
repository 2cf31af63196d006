"""Specks beside a mask are left out; whatever is a piece of its own stays."""

import numpy as np
import pytest
import torch

import askmask
from askmask.imaging.files import read_picture
from askmask.model.mini.specks import PIXELS, SMALL, specks, without_specks
from askmask.model.net import Look


def pieces(mask):
    """Label pieces that touch, corners too, one flood at a time."""
    label, count = np.zeros(mask.shape, int), 0
    for start in zip(*np.nonzero(mask), strict=True):
        if label[start]:
            continue
        count += 1
        flood = [start]
        while flood:
            row, column = flood.pop()
            inside = 0 <= row < mask.shape[0] and 0 <= column < mask.shape[1]
            if inside and mask[row, column] and not label[row, column]:
                label[row, column] = count
                flood += [(row + down, column + right) for down in (-1, 0, 1) for right in (-1, 0, 1)]
    return label


@pytest.mark.parametrize("full", [0.05, 0.2, 0.35, 0.5])
def test_specks_are_small_pieces_beside_a_large_one(full):
    random = np.random.default_rng(3)
    for _ in range(20):
        mask = random.random(random.integers(1, 26, 2)) < full
        if mask.size > 200:
            mask[:10, :12] = True
        label = pieces(mask)
        sizes = np.bincount(label.ravel())
        sizes[0] = 0
        small = (sizes <= PIXELS) & (sizes * SMALL < sizes.max())
        assert (specks(mask) == (small[label] & mask)).all()


def test_a_small_mask_alone_stays():
    mask = np.zeros((9, 9), bool)
    mask[4, 4:6] = True
    assert without_specks(torch.zeros(0, 1, 9, 9)).shape == (0, 1, 9, 9)
    assert not specks(mask).any() and not specks(np.zeros((9, 9), bool)).any()


def test_logits_change_where_specks_are_and_nowhere_else():
    logits = torch.full((2, 1, 20, 20), -3.0)
    logits[:, :, 2:14, 2:14] = 2.0
    logits[1, 0, 18, 18] = 0.5
    kept = without_specks(logits)
    assert kept[1, 0, 18, 18] == -0.5 and logits[1, 0, 18, 18] == 0.5
    assert torch.equal(kept[0], logits[0]) and (kept != logits).sum() == 1


def test_what_mini_answers_has_no_specks(monkeypatch):
    model = askmask.load("mini", device="cpu")
    net = model.backend.net
    look = net.look(None, net.segmenter.prepare(read_picture("examples/table.png").rgb))
    assert isinstance(look, Look)
    decode = net.segmenter.decode

    def speckled(*args, **kwargs):
        out = decode(*args, **kwargs)
        out.logits[..., 1, 1] = 5.0
        return out

    monkeypatch.setattr(net.segmenter, "decode", speckled)
    out = net.ask(look, net.prompt_encoder.words.tokens(["the boxes"]))
    assert out.logits[0, 0, 1, 1] < 0 and (out.logits > 0).any()
