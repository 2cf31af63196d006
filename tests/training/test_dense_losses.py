"""Losses of the dense heads."""

from dataclasses import replace

import pytest
import torch

from askmask.model.mini.perception import FREE, Percept
from askmask.training.dense_losses import DenseTargets, dense_loss

SIDE, NAMES = 32, 4
RIM = (slice(8, 9), slice(8, 24))  # one row of sixteen cells on a body of 256


def truth():
    objects, parts = (
        torch.zeros(1, SIDE, SIDE, dtype=torch.long),
        torch.zeros(1, SIDE, SIDE, dtype=torch.long),
    )
    objects[:, 8:24, 8:24], parts[:, 8:24, 8:24] = 1, 1
    parts[0][RIM] = 2
    table = torch.full((1, 256), -100)
    table[0, :3] = torch.tensor([0, 2, 3])
    kinds = torch.zeros(1, 256, dtype=torch.long)
    quarter = objects[:, ::2, ::2]
    return DenseTargets(
        objects4=quarter, objects2=objects, parts2=parts, surface2=torch.full_like(objects, -1),
        depth4=torch.ones(quarter.shape), category=kinds, colour=kinds, part=table,
        attributes=torch.zeros(1, 256, 2, dtype=torch.int8),
    )  # fmt: skip


def percept(parts):
    coarse = torch.zeros(1, 3, SIDE // 2, SIDE // 2)
    fine = torch.zeros(1, 1, SIDE, SIDE)
    return Percept(
        coarse, coarse, torch.zeros(1, 2, SIDE // 2, SIDE // 2), coarse[:, :1] + 1, parts, fine, fine, fine,
        torch.zeros(1, 2 + FREE, SIDE, SIDE),
    )  # fmt: skip


def logits(rim_found):
    said = torch.zeros(1, NAMES, SIDE, SIDE)
    said[:, 0] = 8.0
    said[:, :, 8:24, 8:24] = 0.0
    said[:, 2, 8:24, 8:24] = 8.0
    if rim_found:
        said[:, 2][:, *RIM], said[:, 3][:, *RIM] = 0.0, 8.0
    return said


def test_a_missed_thin_part_costs_half_of_two_parts_shown():
    _, found = dense_loss(percept(logits(True)), truth())
    _, missed = dense_loss(percept(logits(False)), truth())
    assert found["part_dice"] == pytest.approx(0, abs=0.01)
    weight = 2.0
    assert missed["part_dice"] == pytest.approx(weight / 2, abs=0.1)  # of body and rim, the rim is lost whole
    most = 8.0  # what a wrong logit of 8 costs a cell
    assert missed["parts"] - found["parts"] < 0.1 * most  # cross-entropy hardly notices sixteen cells of 1024


def test_parts_nobody_knows_the_name_of_cost_nothing():
    known = truth()
    nameless = replace(known, part=torch.full_like(known.part, -100))
    total, figures = dense_loss(percept(logits(False)), nameless)
    assert figures["part_dice"] == 0 and torch.isfinite(total)
