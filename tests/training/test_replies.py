"""Replies are learnt through the public command, to the word, and the masks stay as they were."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

pytest.importorskip("mujoco", reason="the data are the world's")

import askmask
from askmask.cli.app import app, register_commands
from askmask.formats.dense import read_shard
from askmask.loading import find_checkpoint
from askmask.training.export import load_run
from askmask.training.recipes import RECIPES
from askmask.training.reply_targets import WHOLE, dialogues_of, singles_of, to_say
from askmask.training.run import start
from askmask.training.run_folder import RunFolder
from askmask.training.settings import override
from askmask.world.generate import Plan, make
from askmask.world.ground import ground_of


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    out = tmp_path_factory.mktemp("talks")
    plan = Plan(split="train", count=1, sizes=(96,), dense=True, per_shard=1, prompts=6, views=1, conversations=1,
                dialogues=1)  # fmt: skip
    make(plan, out)
    return out


@pytest.fixture(scope="module")
def facts(data):
    return read_shard(next(data.glob("*.npz"))).facts(0)


def train(data, run, *more):
    from typer.testing import CliRunner

    register_commands()
    settings = ["start=mini", f"data.train={data}", f"data.val={data}", f"run={run}", f"cache={data}/sight"]
    settings += ["threads=1", "views=1", "prompts=4", "rounds=3", "evidence_noise=0", "log_every=5", *more]
    done = CliRunner().invoke(app, ["train", "mini_replies", *settings])
    assert done.exit_code == 0, done.output
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


def rng():
    return np.random.default_rng(0)


def test_what_is_said_is_true_of_what_was_chosen(facts):
    ground = ground_of(*facts)
    asked = next(one for one in singles_of(*facts) if one.ids and not one.part and len(one.ids) < 4)
    right = to_say(asked, ground, asked.ids, WHOLE, rng())
    assert {id for _, ids in right.phrases for id in ids} == asked.ids
    other = next(n for n in ground.seen if n not in asked.ids)
    wrong = to_say(asked, ground, frozenset((other,)), WHOLE, rng())
    assert [ids for _, ids in wrong.phrases] == [{other}] and ground.things[other]["colour"] in wrong.text
    assert not to_say(asked, ground, frozenset(), WHOLE, rng()).phrases
    assert to_say(asked, ground, frozenset((0,)), WHOLE, rng()) is None, (
        "there are no words for what is no thing"
    )


def test_rounds_in_words_alone_are_kept_and_references_count_masks(facts):
    rounds = [one for dialogue in dialogues_of(*facts) for one in dialogue]
    assert all(one.reply is not None for one in rounds)
    for one in rounds:
        assert all(number < sum(map(len, one.before)) for number in one.refers)
        if one.alone:
            assert to_say(one, ground_of(*facts), frozenset((1,)), WHOLE, rng()) == one.reply


@pytest.mark.slow
def test_replies_are_learnt_and_the_masks_stay(data, tmp_path):
    rows = train(data, tmp_path / "run", "steps=60", "lr=3e-3", "save_every=60")
    first, last = rows[0], rows[-3]
    assert last["words"] < 0.7 * first["words"]  # the shipped weights know most of it
    net, _ = load_run(tmp_path / "run")
    before = askmask.load(find_checkpoint("mini"), device="cpu").backend.net
    assert net.speech is not None
    old, new = before.state_dict(), net.state_dict()
    assert all(torch.equal(old[n].float(), new[n].float()) for n in old if "speech" not in n), (
        "only speech trains"
    )
    assert sorted((tmp_path / "run" / "panels").glob("replies-*.txt"))


@pytest.mark.slow
def test_a_run_that_was_stopped_goes_on_bit_for_bit(data, tmp_path):
    def recipe(run):
        pairs = [
            "steps=6",
            "save_every=3",
            "lr=1e-3",
            "log_every=1",
            "threads=1",
            "views=1",
            f"cache={data}/sight",
        ]
        made = override(RECIPES["mini_replies"](), [*pairs, f"data.train={data}", f"run={run}"])
        return replace(made, start=(str(find_checkpoint("mini")),))

    list(start(recipe(tmp_path / "whole")))
    steps = start(recipe(tmp_path / "broken"))
    for _ in range(4):  # one step more than is saved
        next(steps)
    steps.close()
    list(start(recipe(tmp_path / "broken")))
    whole, broken = (RunFolder(tmp_path / name) for name in ("whole", "broken"))
    assert whole.log_path.read_text() == broken.log_path.read_text()
    one, other = (folder.load()["model"] for folder in (whole, broken))
    assert all(torch.equal(one[name], other[name]) for name in one)
