"""What a run starts from."""

import re
from dataclasses import replace

import pytest
import torch
from torch import nn

from askmask.cli.train import placed
from askmask.errors import CheckpointError, SettingError
from askmask.loading import find_checkpoint
from askmask.model.config import NetConfig
from askmask.model.mini.config import MiniConfig
from askmask.runs.whole_files import write_json
from askmask.training.recipes import RECIPES, mini_phase_one
from askmask.training.run import _load, _network, model_of, started_from
from askmask.training.run_folder import RunFolder
from askmask.training.settings import override


def saved(folder, **weights):
    RunFolder(folder).save(1, {"step": 1, "model": weights})
    return str(folder)


def test_of_several_runs_the_later_ones_weights_count(tmp_path):
    whole = saved(tmp_path / "whole", weight=torch.zeros(1, 2), bias=torch.zeros(1))
    part = saved(tmp_path / "part", weight=torch.ones(1, 2))
    net = nn.Linear(2, 1)
    assert _load(net, (whole, part), wanted=("weight", "bias")) == {"weight", "bias"}
    assert net.weight.tolist() == [[1, 1]] and net.bias.tolist() == [0]
    with pytest.raises(CheckpointError, match="bias"):
        _load(net, (part,), wanted=("weight", "bias"))


def test_of_a_run_only_the_parts_that_are_named_count(tmp_path):
    words = saved(tmp_path / "words", **{"0.weight": torch.zeros(1, 2), "1.weight": torch.zeros(1, 1)})
    masks = saved(tmp_path / "masks", **{"0.weight": torch.ones(1, 2), "1.weight": torch.ones(1, 1)})
    (tmp_path / "odd@name").mkdir()
    odd = saved(tmp_path / "odd@name", **{"1.weight": torch.ones(1, 1)})
    found = started_from((words, f"{masks}@1"))
    assert found["0.weight"].tolist() == [[0, 0]] and found["1.weight"].tolist() == [[1]]
    assert set(started_from((f"{masks}@0+1",))) == {"0.weight", "1.weight"}
    assert set(started_from((odd,))) == {"1.weight"}  # a folder of that name is that folder
    with pytest.raises(CheckpointError, match=r"Its parts: 0, 1"):
        started_from((f"{masks}@segmenter",))
    for odd in ("0+adaptor", "0+", "+1"):  # one that is wrong among others was passed over
        with pytest.raises(CheckpointError, match=r"Its parts: 0, 1"):
            started_from((f"{masks}@{odd}",))


def test_parts_of_a_model_of_the_package_are_a_start_too(tmp_path):
    """`start=mini@adapter` was a file that cannot be read, and to be deleted."""
    found = started_from((placed("mini@adapter+prompt_encoder.language"),))
    assert found and all(name.startswith(("adapter.", "prompt_encoder.language.")) for name in found)
    assert placed("runs/mini@adapter") == "runs/mini@adapter"
    with pytest.raises(CheckpointError, match="no such run"):
        started_from((f"{tmp_path}/none@adapter",))


def test_weights_of_another_size_are_refused_by_name(tmp_path, tiny_folder, tiny):
    name, value = next((n, v) for n, v in tiny.backend.net.adapter.state_dict().items() if v.ndim == 2)
    other = saved(tmp_path / "other", **{f"adapter.{name}": torch.zeros(len(value) + 1, value.shape[1])})
    recipe = replace(RECIPES["phase_one"](), model=str(tiny_folder), start=(other,))
    with pytest.raises(CheckpointError, match=re.escape(f"of another size ['adapter.{name}']")):
        _network(recipe)


def test_a_forgotten_name_between_commas_is_named():
    assert override(mini_phase_one(), ["start=mini, runs/eyes"]).start == ("mini", "runs/eyes")
    with pytest.raises(SettingError, match="mini,,runs/eyes"):
        override(mini_phase_one(), ["start=mini,,runs/eyes"])


def test_a_start_may_lack_parts_that_another_has(tmp_path):
    """Words of one run, masks of another begun before it: the network has what either has."""
    config = MiniConfig.from_dict(NetConfig.load(find_checkpoint("mini")).segmenter)
    words, masks = (str(tmp_path / name) for name in ("words", "masks"))
    for name, sizes in ((words, {"word_roles": True, "blends": False}), (masks, {"blends": True})):
        write_json(RunFolder(name).root / "model.json", replace(config, **sizes).to_dict())
    both = model_of(RunFolder(tmp_path / "run"), (words, f"{masks}@segmenter+adapter"))
    assert both == replace(config, word_roles=True, blends=True)


def test_starts_must_be_of_one_network_and_the_runs_own_sizes_come_first(tmp_path):
    bundled = str(find_checkpoint("mini"))
    model = MiniConfig.from_dict(NetConfig.load(find_checkpoint("mini")).segmenter)
    other = replace(model, colours=tuple(reversed(model.colours)))  # the same sizes, other names
    eyes, run = RunFolder(tmp_path / "eyes"), RunFolder(tmp_path / "run")
    write_json(eyes.root / "model.json", model.to_dict())
    assert model_of(run, (bundled, str(eyes.root))) == model
    write_json(eyes.root / "model.json", other.to_dict())
    with pytest.raises(CheckpointError, match="other sizes or names"):
        model_of(run, (bundled, str(eyes.root)))
    silent, speaking = replace(model, replies=()), replace(model, replies=("the", "mug"))
    spoken = RunFolder(tmp_path / "spoken")
    write_json(spoken.root / "model.json", speaking.to_dict())
    for less in (
        silent,
        replace(model, replies=("the",)),
    ):  # masks of a run that began before there were these words
        write_json(eyes.root / "model.json", less.to_dict())
        for starts in ((eyes, spoken), (spoken, eyes)):
            assert model_of(run, tuple(str(one.root) for one in starts)) == speaking
    write_json(eyes.root / "model.json", replace(model, replies=("mug", "the")).to_dict())
    with pytest.raises(CheckpointError, match="other sizes or names"):
        model_of(run, (str(eyes.root), str(spoken.root)))
    write_json(run.root / "model.json", other.to_dict())
    assert model_of(run, (bundled,)) == other
