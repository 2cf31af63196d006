"""What a run starts from."""

import pytest
import torch
from torch import nn

from askmask.errors import CheckpointError
from askmask.training.run import _load
from askmask.training.run_folder import RunFolder


def saved(folder, **weights):
    RunFolder(folder).save(1, {"model": weights})
    return str(folder)


def test_of_several_runs_the_later_ones_weights_count(tmp_path):
    whole = saved(tmp_path / "whole", weight=torch.zeros(1, 2), bias=torch.zeros(1))
    part = saved(tmp_path / "part", weight=torch.ones(1, 2))
    net = nn.Linear(2, 1)
    assert _load(net, f"{whole},{part}", wanted=("weight", "bias")) == {"weight", "bias"}
    assert net.weight.tolist() == [[1, 1]] and net.bias.tolist() == [0]
    with pytest.raises(CheckpointError, match="bias"):
        _load(net, part, wanted=("weight", "bias"))
