"""Conversations on SAM2 and Qwen2.5-VL, tiny: what is read, what the losses look at, that runs go on and are kept.

That dialogues of both formats are learnt by heart is measured by benchmarks/talk.py (results/talk_*.json).
"""

import json
from collections import Counter
from dataclasses import replace

import pytest
import torch

import askmask
from askmask.conversation import Example, Prompt, Round, Segment
from askmask.errors import SettingError
from askmask.formats.catalogue import open_dataset
from askmask.imaging.mask import Mask
from askmask.model.checkpoint import load_checkpoint
from askmask.model.talk.grow import grow
from askmask.model.tiny import make_tiny
from askmask.training.dialogue import DialogueConfig, DialogueTask
from askmask.training.dialogues import placed, turns_of
from askmask.training.export import export_segmentation
from askmask.training.recipes import DialogueRecipe, recipe_for
from askmask.training.run import start
from askmask.training.settings import override
from tests.training.talk_sets import write_mrseg, write_prist


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """Two dialogues of each format, and a network that talks."""
    folder = tmp_path_factory.mktemp("dialogues")
    write_mrseg(folder / "mrseg", count=2)
    write_prist(folder / "prist", count=2)
    grow(make_tiny(folder / "tiny", image_size=128), folder / "talk")
    return folder


def task_on(work, *sources, **settings):
    net, config = load_checkpoint(work / "talk")
    names = tuple(f"{kind}:{work / kind}@train" for kind in sources)
    return DialogueTask(net, config, DialogueConfig(data=names, **settings))


def test_phases_of_single_prompts_refuse_a_network_that_talks(work, tmp_path):
    data = f"mrseg:{work / 'mrseg'}@train"
    settings = [f"data={data}", f"model={work / 'talk'}", f"run={tmp_path / 'run'}", "steps=1"]
    with pytest.raises(SettingError, match=r"single prompts is needed.*askmask train conversation"):
        list(start(override(recipe_for("phase_one", settings), settings)))


def test_turns_of_both_formats(work):
    talk = next(iter(open_dataset(f"mrseg:{work / 'mrseg'}@train")))
    turns = turns_of(talk, Counter())
    assert [turn.refers for turn in turns] == [(), (0,), (1,)]
    assert [len(turn.masks) for turn in turns] == [1, 1, 1]
    last = turns_of(next(iter(open_dataset(f"prist:{work / 'prist'}@train"))), Counter())[-1]
    assert last.reply.startswith("It is the") and "[SEG]" not in last.reply
    assert last.spans == ((len(last.reply) - 1,) * 2,) and last.refers == ()


def test_what_is_handed_over_comes_before_and_what_cannot_be_used_is_counted():
    mask = Mask.empty((4, 4)).complement()
    rounds = (
        Round(prompt=Prompt(text="the other one", masks=(mask,)), segments=(Segment(mask=mask),)),
        Round(prompt=Prompt(text="never answered")),
        Round(prompt=Prompt(text="here?", points=((1.0, 1.0, True),)), segments=()),
        Round(prompt=Prompt(text="a unicorn"), segments=(), reply="None."),
    )
    left = Counter()
    turns = turns_of(Example(id="e", image="x.png", rounds=rounds), left)
    assert [(turn.text, turn.refers, turn.nothing, turn.taught) for turn in turns] == [
        ("", (), False, False),
        ("the other one", (0,), False, True),
        ("a unicorn", (), True, True),
    ]
    assert sum(left.values()) == 2
    segments = (Segment(mask=mask, span=(0, 3)),)
    assert placed(Round(prompt=Prompt(text="x"), segments=segments, reply="red [SEG]")) == (
        "red [SEG]",
        ((0, 3),),
    )


def test_losses_look_at_words_masks_and_references(work):
    task = task_on(work, "mrseg", batch=2, given=0.0)
    batch = task.next_batch(0.0)
    talks = batch.talks
    assert [mark.mask for mark in talks.marks] == list(range(6))
    assert [len(numbers) for numbers in talks.spoken] == [0, 1, 1] * 2  # spoken of, though nothing was told
    assert all(numbers == () for numbers in talks.about)
    loss, figures = task.loss(batch, 0.0)
    loss.backward()
    assert torch.isfinite(loss) and figures["reference"] > 0
    net = task.module
    reached = {name for name, p in net.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    for part in (
        "signs",
        "sayable",
        "memory.under",
        "memory.box",
        "roles",
        "pad",
        "align",
        "to_sparse",
        "to_dense",
    ):
        assert any(f"adapter.{part}" in name for name in reached), part
    assert all(".lora_" in name for name in reached if name.startswith("prompt_encoder."))
    # A prompt that is told what it refers to opens the gate; one that speaks of nothing has no second loss.
    told = task_on(work, "mrseg", batch=1, given=1.0)
    told.loss(told.next_batch(0.0), 0.0)[0].backward()
    assert told.module.adapter.gate.grad.abs().sum() > 0
    plain = task_on(work, "prist", batch=2)
    assert "reference" not in plain.loss(plain.next_batch(0.0), 0.0)[1]


def test_ignored_pixels_carry_no_loss_in_dialogues(work):
    task = task_on(work, "mrseg", batch=2, given=0.0)
    batch = task.next_batch(0.0)
    counted = torch.rand(batch.targets.shape, generator=torch.Generator().manual_seed(0)) > 0.3
    other = torch.where(counted, batch.targets, 1 - batch.targets)
    figures = []
    for targets in (batch.targets, other):
        torch.manual_seed(0)
        figures.append(task.loss(replace(batch, targets=targets, counted=counted), 0.0)[1])
    assert figures[0]["reference"] > 0 and figures[0] == figures[1]


def test_a_crowd_alone_does_not_teach_that_nothing_matches():
    rounds = (Round.of("people", [], ignore=Mask.full((4, 4))), Round.of("a unicorn", [], reply="None."))
    left = Counter()
    (turn,) = turns_of(Example(id="e", image="x.png", rounds=rounds), left)
    assert turn.text == "a unicorn" and sum(left.values()) == 1


def test_own_masks_and_damaged_ones_take_the_place_of_true_ones(work):
    task = task_on(work, "mrseg", batch=2, own=1.0, damage=1.0, own_from=0.5, own_until=0.6)
    early, late = task.next_batch(0.4), task.next_batch(0.7)
    features = task.objective.encode(late.pixels)
    assert not any(early.own) and not any(early.damage)
    assert all(late.own) and all(late.damage)
    remembered = task._remembered(late, features)
    _, shown = task.module.eval().converse(features, late.talks, late.covers)
    assert torch.equal(remembered, (shown.out.logits[:, 0] > 0).float())
    broken = task._remembered(replace(late, own=(False, False)), features)
    assert not torch.equal(broken, late.covers)
    wrong = task._remembered(replace(late, own=(False, False), damage=("wrong",) * 6), features)
    assert torch.equal(wrong[0], late.covers[1])


def recipe(work, run, *pairs):
    settings = [f"data=mrseg:{work / 'mrseg'}@train", f"model={work / 'talk'}", f"run={run}", "batch=1"]
    settings += ["log_every=1", "own_from=0", "own_until=0", "threads=1", *pairs]
    return override(recipe_for("conversation", settings), settings)


def rows(run):
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


@pytest.mark.slow
def test_a_run_goes_on_bit_for_bit_and_its_export_talks(work, tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    val = [f"val=mrseg:{work / 'mrseg'}@train", "val_items=1"]
    for _ in start(recipe(work, whole, "steps=4", "save_every=4", *val)):
        pass
    steps = start(recipe(work, broken, "steps=4", "save_every=2"))
    for told in steps:
        if told.step == 2:
            break
    steps.close()
    for _ in start(recipe(work, broken, "steps=4", "save_every=2")):
        pass
    losses = [[row for row in rows(run) if "loss" in row] for run in (whole, broken)]
    assert losses[0] == losses[1] and [row["step"] for row in losses[0]] == [1, 2, 3, 4]
    assert losses[0][-1]["own"] > 0 or any(row["own"] for row in losses[0])
    assert "val/giou_round_3" in rows(whole)[-1] and list((whole / "panels").glob("*.png"))
    folder = export_segmentation(whole, tmp_path / "model")
    model = askmask.load(folder, device="cpu")
    assert model.backend.config.trained_heads == {"score": True, "presence": False}
    session = model.open(work / "mrseg" / "images_folder" / "0.png")
    session.ask("the red one")
    assert model.state_of(session).remembered == ()


def test_the_recipe_follows_the_network(work, tmp_path):
    assert isinstance(recipe(work, tmp_path / "run"), DialogueRecipe)
    assert recipe_for("conversation", ["start=mini"]).stage == "conversation"
    with pytest.raises(SettingError, match="--talking-from"):
        next(start(replace(recipe(work, tmp_path / "run"), model=str(work / "tiny"))))
