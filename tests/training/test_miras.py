"""MIRAS's two stages, tiny: what trains, what the losses weigh, what is drawn; from base folders to an answer.

That dialogues are learnt by heart is measured by benchmarks/talk.py (results/talk_prist_miras.json).
"""

import json

import pytest
import torch
from torch.nn import functional as F
from typer.testing import CliRunner

from askmask.cli.app import app, register_commands
from askmask.errors import SettingError
from askmask.model.checkpoint import load_checkpoint
from askmask.model.miras.new import new_miras
from askmask.model.talk import saying
from askmask.training.dialogue import DialogueConfig, DialogueTask
from askmask.training.dialogues import LEADS, Turn, in_template
from askmask.training.losses import dice_loss
from askmask.training.mixtures import MIXTURES, weights_of
from askmask.training.optimiser import Schedule
from askmask.training.recipes import RECIPES
from askmask.training.segmentation import choose_trainable
from tests.miras_bases import SIDE, write_bases
from tests.training.talk_sets import write_prist
from tests.training.test_phases import four  # noqa: F401


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    folder = tmp_path_factory.mktemp("miras")
    write_prist(folder / "prist", count=2)
    new_miras(**write_bases(folder / "bases"), out=folder / "net", side=SIDE)
    return folder


def trained(net):
    """The parts that train, by the first words of their names."""
    parts = ("adapter", "segmenter.model.mask_decoder", "front.fusion", "front.connector", "front.clip")
    parts += ("front.convnext", "lora_", "embed_tokens", "head", "prompt_encoder.base")
    names = [name for name, p in net.named_parameters() if p.requires_grad]
    return {next(part for part in parts if part in name) for name in names}


def test_the_paper_and_its_code_train_different_parts(work):
    net, _ = load_checkpoint(work / "net")
    found = {}
    for name in ("miras_one", "miras_two", "miras_one_as_coded", "miras_two_as_coded"):
        data = RECIPES[name]().data
        choose_trainable(net, language=data.language, segmenter=data.segmenter, front=data.front)
        found[name] = trained(net)
        assert (data.words_weight, data.bce_weight, data.dice_weight) == (1.0, 2.0, 0.5)
    paper = {"adapter", "segmenter.model.mask_decoder", "front.fusion", "front.connector"}
    assert found["miras_one"] == found["miras_two"] == paper
    coded = {"adapter", "segmenter.model.mask_decoder", "lora_", "embed_tokens", "head"}
    assert found["miras_one_as_coded"] == found["miras_two_as_coded"] == coded
    choose_trainable(net, language="full", segmenter="frozen", front="full")
    assert {"front.clip", "front.convnext", "prompt_encoder.base"} < trained(net)


def test_a_front_is_asked_for_where_there_is_one(tiny_folder):
    net, _ = load_checkpoint(tiny_folder)
    with pytest.raises(SettingError, match="no front of its own"):
        choose_trainable(net, language="auto", segmenter="decoder", front="frozen")
    with pytest.raises(SettingError, match="front one of projections"):
        choose_trainable(net, language="auto", segmenter="decoder", front="half")


def test_losses_are_weighed_as_in_the_paper_and_reach_what_trains(work):
    net, config = load_checkpoint(work / "net")
    data = RECIPES["miras_two"]().data
    settings = {name: getattr(data, name) for name in ("language", "front", "own", "damage", "score_weight")}
    settings |= {name: getattr(data, name) for name in ("words_weight", "bce_weight", "dice_weight")}
    source = f"prist:{work / 'prist'}@train"
    task = DialogueTask(net, config, DialogueConfig(data=(source,), mixture="miras-two", batch=2, **settings))
    batch = task.next_batch(0.0)
    loss, figures = task.loss(batch, 0.0)
    loss.backward()
    talks, features = batch.talks, task.objective.encode(batch.pixels)
    assert len(talks.marks) == 2 and talks.ids.eq(net.prompt_encoder.words.image_id).sum() == 32
    states, shown = net.converse(features, talks, batch.covers)
    words = F.cross_entropy(
        net.next_logits(states[:, :-1][talks.said[:, 1:]]), talks.ids[:, 1:][talks.said[:, 1:]]
    )
    logits, true = shown.out.logits[:, 0], batch.targets
    bce, dice = F.binary_cross_entropy_with_logits(logits, true), dice_loss(logits, true).mean()
    torch.testing.assert_close(loss, words + 2 * bce + 0.5 * dice)
    assert figures["mask"] == pytest.approx((2 * bce + 0.5 * dice).item(), rel=1e-5)
    reached = {name for name, p in net.named_parameters() if p.grad is not None and p.grad.any()}
    for part in (
        "adapter.signs",
        "adapter.sayable",
        "adapter.project",
        "front.connector",
        "front.fusion.value",
    ):
        assert any(part in name for name in reached), part
    assert not any(name.startswith(("prompt_encoder.base", "prompt_encoder.head")) for name in reached)


@pytest.mark.parametrize("name", ["miras_two", "miras_two_as_coded"])
def test_what_trains_is_wider_than_what_is_frozen(work, name):
    """As on a GPU, where the language side stays in the half precision that it is published in."""
    net, config = load_checkpoint(work / "net", dtype=torch.bfloat16)
    data = RECIPES[name]().data
    settings = {"language": data.language, "front": data.front, "batch": 2}
    task = DialogueTask(net, config, DialogueConfig(data=(f"prist:{work / 'prist'}@train",), **settings))
    loss, _ = task.loss(task.next_batch(0.0), 0.0)
    loss.backward()
    grown = {p.dtype for p in net.parameters() if p.grad is not None}
    assert torch.isfinite(loss) and grown == {torch.float32}
    assert net.prompt_encoder.front.clip.pre_layrnorm.weight.dtype == torch.bfloat16


def test_alignment_learns_where_masks_have_words(work, four):  # noqa: F811
    net, config = load_checkpoint(work / "net")
    for data, learns in ((str(four), True), (f"prist:{work / 'prist'}@train", False)):
        net.zero_grad()
        settings = {"data": (data,), "templated": True, "language": "frozen", "batch": 2}
        task = DialogueTask(net, config, DialogueConfig(**settings))
        batch = task.next_batch(0.0)
        task.loss(batch, 0.0)[0].backward()
        gradients = [p.grad for name, p in net.adapter.named_parameters() if name.startswith("align")]
        assert gradients and {gradient is not None and bool(gradient.any()) for gradient in gradients} == {
            learns
        }


def test_masks_without_words_get_a_reply_that_names_them():
    def turn(text, **more):
        given = {"reply": "", "masks": ("m",), "spans": (None,), "refers": (), "nothing": False}
        return Turn(text, **given | more)

    said = {in_template(turn("The Red mug."), f"{n}").reply for n in range(200)}
    assert len(said) == len(LEADS) and "the red mug." in said and "Here: the red mug." in said
    one = in_template(turn("The red mug"), "a")
    assert one.reply[slice(*one.spans[0])] == "the red mug"
    asked = in_template(turn("Which of them holds water?", masks=("m", "n")), "a")
    assert asked.spans == ((len(asked.reply) - 1,) * 2,) * 2 and asked.reply[-1] == "."
    for other in (
        turn("x", reply="Yes."),
        turn("x", masks=(), spans=(), nothing=True),
        turn("x", taught=False),
    ):
        assert in_template(other, "a") is other


def test_published_mixtures_are_drawn_by_the_readers_there_are():
    assert weights_of("miras-one", ["coco:a", "refcoco:a", "refcoco:b", "reasonseg:c"]) == (9, 3, 3, 1)
    assert weights_of("miras-one", ["refcoco+:a", "refclef:b", "coco:c@train2017", "panoptic:d"]) == (
        3,
        3,
        4.5,
        4.5,
    )
    assert weights_of("", ["a", "b"]) == (1, 1)
    assert sum(share.weight for share in MIXTURES["miras-one"]) == 28
    with pytest.raises(SettingError, match=r"no weight for some data; got mrseg\. .*weights="):
        weights_of("miras-two", ["prist:a", "mrseg:b"])
    with pytest.raises(SettingError, match="no such mixture"):
        weights_of("miras", ["prist:a"])


def test_the_rate_falls_in_a_line_after_a_hundred_steps():
    loop = RECIPES["miras_one"]().loop
    rates = [loop.schedule.at(step, loop.steps) for step in range(loop.steps)]
    assert rates[99] == pytest.approx(3e-4) and rates[49] == pytest.approx(1.5e-4)
    assert rates[2550] == pytest.approx(1.5e-4, rel=1e-3) and 0 < rates[-1] < 1e-7
    assert RECIPES["miras_two"]().loop.schedule.at(99, 25_000) == pytest.approx(3e-4)
    with pytest.raises(SettingError, match="fall is one of"):
        Schedule(fall="up")


def test_from_base_folders_to_an_answer(work, tmp_path, monkeypatch):
    """The commands of the docs: both stages, export, and a question."""
    monkeypatch.setattr(saying, "LONGEST_REPLY", 24)  # it does not learn in five steps when to stop
    register_commands()

    def run(*words):
        result = CliRunner().invoke(app, [str(word) for word in words])
        assert result.exit_code == 0, result.output
        return result.output

    bases, net = work / "bases", tmp_path / "net"
    parts = [f"--clip={bases / 'clip'}", f"--convnext={bases / 'convnext'}", f"--vlm={bases / 'language'}"]
    made = run("new", net, "--miras", *parts, f"--segmenter={bases / 'segmenter'}", f"--side={SIDE}")
    assert "train miras_one" in made
    short = [f"model={net}", "batch=1", "accumulate=1", "threads=1", "log_every=1"]
    data = f"data=prist:{work / 'prist'}@train"
    one, two = tmp_path / "one", tmp_path / "two"
    run("train", "miras_one", data, "weights=1", "steps=1", f"run={one}", *short)
    run("train", "miras_two_as_coded", data, "steps=4", f"run={two}", f"start={one}", "lr=3e-3", *short)
    losses = [json.loads(line) for line in (two / "log.jsonl").read_text().splitlines()]
    losses = [row["loss"] for row in losses if "loss" in row]
    assert len(losses) == 4 and losses[-1] < losses[0]
    run("export", two, tmp_path / "mine")
    picture = work / "prist" / "textcaps" / "train" / "0.png"
    run("segment", picture, "the red one", "--model", tmp_path / "mine", "--out", tmp_path / "answer")
    assert (tmp_path / "answer").is_dir()
    result = CliRunner().invoke(app, ["new", str(tmp_path / "x"), "--miras", "--clip=a"])
    assert isinstance(result.exception, SettingError)
