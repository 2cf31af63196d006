"""What a run keeps is the network that was validated; what no loss may see costs nothing; workers change nothing."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from askmask.conversation import Example, Round
from askmask.errors import CheckpointError, DataError, SettingError
from askmask.formats.own import write_examples
from askmask.imaging.mask import Mask
from askmask.model.checkpoint import load_checkpoint
from askmask.model.mini.config import MiniConfig
from askmask.model.mini.net import Mini
from askmask.training.export import export_segmentation
from askmask.training.losses import alternatives_loss, mask_loss, presence_loss, score_loss
from askmask.training.recipes import RECIPES
from askmask.training.refinement import RefinementConfig, RefinementTask
from askmask.training.run import start
from askmask.training.run_folder import RunFolder
from askmask.training.segmentation import SegmentationConfig, SegmentationTask
from askmask.training.settings import override
from tests.training.discs import write_discs
from tests.training.test_phases import four  # noqa: F401


@pytest.fixture(scope="module")
def squares(tmp_path_factory):
    """Three pictures with a square and an ignored strip each; a prompt with an answer and one without."""
    folder = tmp_path_factory.mktemp("squares")
    examples = []
    for number in range(3):
        pixels, mask, ignore = (
            np.full((48, 48, 3), 110, np.uint8),
            np.zeros((48, 48), bool),
            np.zeros((48, 48), bool),
        )
        mask[10 + 4 * number : 26 + 4 * number, 8:24], ignore[:, 40:] = True, True
        pixels[mask] = (40, 200, 60)
        Image.fromarray(pixels).save(folder / f"{number}.png")
        rounds = (
            Round.of(
                "the green thing", [Mask.from_array(mask)], concept="entities", ignore=Mask.from_array(ignore)
            ),
            Round.of("the red thing", [], concept="physics"),
        )
        examples.append(Example(id=str(number), image=f"{number}.png", rounds=rounds, independent=True))
    write_examples(examples, folder / "examples.jsonl")
    return folder


@pytest.fixture
def recipe(small_mini):
    """Settings of a short run on a small network with random weights."""

    def make(run, data, *pairs, steps=3):
        settings = [
            f"run={run}",
            f"data.data={data}",
            f"val={data}",
            f"steps={steps}",
            "batch=2",
            "threads=1",
        ]
        settings += [*pairs, "log_every=1", f"model={small_mini}"]
        return override(override(RECIPES["phase_one"](), settings), ["lr=3e-3"])

    return make


def logged(run):
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


def validated(run):
    return {k: v for row in logged(run) for k, v in row.items() if k.startswith("val/")}


@pytest.mark.parametrize("language", ["auto", "frozen"])
def test_the_network_that_was_validated_is_the_one_that_is_kept(
    small_mini, recipe, squares, tmp_path, language
):
    run = tmp_path / "run"
    list(start(recipe(run, squares, f"language={language}")))
    known = validated(run)
    assert "val/giou_all" in known and "val/giou_entities" in known and "val/no_target_right" in known
    base, _ = load_checkpoint(small_mini)
    moved = [
        name
        for name, value in RunFolder(run).load()["model"].items()
        if "running_" in name and not torch.equal(value, base.state_dict()[name])
    ]
    assert bool(moved) == (language != "frozen"), "statistics of what is frozen stay, of what trains are kept"
    net, config = load_checkpoint(export_segmentation(run, tmp_path / "model"))
    task = SegmentationTask(net, SegmentationConfig(data=(str(squares),), val=(str(squares),)))
    for name, value in task.evaluate().items():
        assert value == pytest.approx(known[f"val/{name}"], abs=1e-7), name
    assert config.trained_heads == {"score": True, "presence": True}
    # Stopped after two steps and gone on, it is the same network.
    again = tmp_path / "again"
    steps = start(recipe(again, squares, f"language={language}", "save_every=1"))
    next(steps), next(steps), steps.close()
    list(start(recipe(again, squares, f"language={language}", "save_every=1")))
    assert validated(again) == known and logged(again) == logged(run)


def test_heads_that_saw_one_kind_of_prompt_are_not_called_trained(recipe, four, tmp_path):  # noqa: F811
    list(start(recipe(tmp_path / "run", four, steps=1)))
    _, config = load_checkpoint(export_segmentation(tmp_path / "run", tmp_path / "model"))
    assert config.trained_heads == {"score": False, "presence": False}
    list(start(recipe(tmp_path / "off", four, "presence_weight=0", steps=1)))
    _, config = load_checkpoint(export_segmentation(tmp_path / "off", tmp_path / "model-off"))
    assert config.trained_heads == {"score": False, "presence": True}, "what it did not train stays as it was"


def test_ignored_pixels_carry_no_loss():
    random = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, 8, 8, generator=random, requires_grad=True)
    target = (torch.rand(2, 8, 8, generator=random) > 0.5).float()
    counted = torch.rand(2, 8, 8, generator=random) > 0.3
    scores = torch.rand(2, 3, generator=random)

    def losses(logits, target, counted):
        return mask_loss(logits[:, 0], target, counted), score_loss(scores, logits, target, counted)

    mask, score = losses(logits, target, counted)
    mask.backward()
    assert not logits.grad[:, 0][~counted].any() and logits.grad[:, 0][counted].all()
    other = torch.where(counted[:, None], logits, -logits).detach()
    assert losses(other, torch.where(counted, target, 1 - target), counted) == (mask, score)
    everywhere = torch.ones_like(counted)
    torch.testing.assert_close(losses(logits, target, everywhere), losses(logits, target, None))
    logits.grad = None
    alternatives_loss(logits, target, counted).backward()
    assert logits.grad.any() and not logits.grad[(~counted)[:, None].expand_as(logits)].any()
    nowhere = mask_loss(logits[:, 0], target, ~everywhere)
    assert torch.isfinite(nowhere)
    present = presence_loss(torch.tensor([2.0, 5.0]), torch.tensor([1.0, -1.0]))
    assert present == presence_loss(torch.tensor([2.0]), torch.tensor([1.0]))
    assert presence_loss(torch.tensor([2.0]), torch.tensor([-1.0])) == 0


def test_what_a_prompt_of_the_world_leaves_open_costs_nothing(small_mini, tmp_path):
    """An object of which it is not known whether it matches teaches neither a mask nor that nothing matches."""
    path = write_discs(tmp_path, scenes=1, seed=1, size=48)
    facts = json.loads(path.with_suffix(".jsonl").read_text())
    (view,) = facts["views"]
    (prompt, *_) = (one for one in view["prompts"] if not one["satisfying"])
    net, _ = load_checkpoint(small_mini)
    presence = {}
    for open_ in ([], [1]):
        view["prompts"] = [prompt | {"ignore": open_}]
        path.with_suffix(".jsonl").write_text(json.dumps(facts) + "\n")
        config = RefinementConfig(train=(str(tmp_path),), views=1, prompts=1, clicks=0, boxes=0, choice=0)
        task = RefinementTask(net, config)
        _, figures = task.loss(task.next_batch(0.0), 0.0)
        presence[bool(open_)] = figures["presence"]
    assert presence[True] == 0 < presence[False]


@pytest.mark.parametrize("choice", [0.5, 0])
def test_masks_are_learnt_with_the_language_side_or_over_it(small_mini, tmp_path, choice):
    write_discs(tmp_path, scenes=1, seed=1, size=48)
    net, _ = load_checkpoint(small_mini)
    config = RefinementConfig(train=(str(tmp_path),), views=1, prompts=4, clicks=0, boxes=0, choice=choice)
    task = RefinementTask(net, config)
    loss, _ = task.loss(task.next_batch(0.0), 0.0)
    loss.backward()
    moved = {name for name, parameter in net.named_parameters() if parameter.grad is not None}
    assert any(name.startswith("segmenter.decoder.") for name in moved)
    assert any(name.startswith("prompt_encoder.language.") for name in moved) == bool(choice)


def test_parts_are_asked_for_as_often_as_is_wanted(small_mini, tmp_path):
    write_discs(tmp_path, scenes=1, seed=1, size=48)
    net, _ = load_checkpoint(small_mini)
    for share in (0.0, 1.0):
        data = RefinementConfig(train=(str(tmp_path),), views=1, prompts=6, literal=1.0 - share, parts=share)
        (wanted,) = RefinementTask(net, data).next_batch(0.0)
        asked = [bool(ask.parts) for ask in wanted.asks]
        assert all(asked) if share else not all(asked)


def test_blends_are_learnt_with_the_mask_decoder_over_all_pixels(small_mini, tmp_path):
    write_discs(tmp_path, scenes=1, seed=1, size=48)
    net, config = load_checkpoint(small_mini)
    whole = Mini(MiniConfig.from_dict(config.segmenter | {"blends": True}))
    whole.load_state_dict(net.state_dict(), strict=False)
    data = RefinementConfig(train=(str(tmp_path),), views=1, prompts=4, clicks=1, boxes=1, choice=0)
    task = RefinementTask(whole, data)
    optimiser = torch.optim.AdamW(whole.segmenter.blend.parameters(), 1e-2)
    batch, losses = task.next_batch(0.0), []
    for _ in range(8):
        loss, figures = task.loss(batch, 0.0)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(figures["mask"])
    assert losses[-1] < losses[0]
    assert whole.segmenter.decoder.neck.weight.grad is not None


def test_a_batch_knows_what_to_ignore_and_whether_anything_is_there(small_mini, squares, tmp_path):
    net, _ = load_checkpoint(small_mini)
    task = SegmentationTask(net, SegmentationConfig(data=(str(squares),)))
    batch = task.evaluator.collate([task.sources[0][n] for n in range(2)])
    assert batch.present.tolist() == [1, 0]
    assert batch.counted.float().mean((1, 2)).tolist() == pytest.approx(
        [40 / 48, 1], abs=0.03
    )  # half a column
    everything = Mask.full((48, 48))
    rounds = (Round.of("people", [], ignore=everything),)
    (tmp_path / "0.png").write_bytes((squares / "0.png").read_bytes())
    write_examples([Example(id="1", image="0.png", rounds=rounds)], tmp_path / "examples.jsonl")
    crowd = SegmentationTask(net, SegmentationConfig(data=(str(tmp_path),), batch=1)).next_batch(0.0)
    assert crowd.present.tolist() == [-1] and not crowd.counted.any()


def test_workers_change_nothing_and_a_run_may_go_on_with_another_number(recipe, squares, tmp_path):
    list(start(recipe(tmp_path / "alone", squares, steps=4)))
    steps = start(recipe(tmp_path / "three", squares, "workers=2", "save_every=1", steps=4))
    next(steps), next(steps), steps.close()
    list(start(recipe(tmp_path / "three", squares, "workers=1", "save_every=1", steps=4)))
    assert logged(tmp_path / "three") == logged(tmp_path / "alone")


def test_a_bad_row_in_a_worker_is_named(recipe, squares, tmp_path):
    (tmp_path / "examples.jsonl").write_text((squares / "examples.jsonl").read_text())
    with pytest.raises(DataError, match=r"example \d, round r\d: "):
        list(start(recipe(tmp_path / "run", tmp_path, "workers=1", "val=")))


def test_wrong_validation_data_stop_a_run_before_its_first_step(recipe, squares, tmp_path):
    with pytest.raises(DataError, match=r"no examples\.jsonl"):
        next(start(recipe(tmp_path / "run", squares, f"val={tmp_path}")))
    write_discs(tmp_path / "discs", scenes=4, seed=0, size=32)
    dense = override(
        RECIPES["mini_perception"](), [f"train={tmp_path / 'discs'}", f"run={tmp_path / 'eyes'}"]
    )
    with pytest.raises(DataError, match="validate"):
        next(start(override(dense, [f"data.val={tmp_path}"])))
    assert not list(tmp_path.glob("*/log.jsonl"))


def test_changed_data_are_refused_and_said(recipe, squares, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    for path in squares.iterdir():
        (data / path.name).write_bytes(path.read_bytes())
    said = []
    list(start(recipe(tmp_path / "run", data, steps=1), said.append))
    assert any("6 rounds" in line for line in said)
    facts = json.loads((tmp_path / "run" / "config.json").read_text())
    assert len(facts["data"][0]["sha256"]) == 64 and "commit" in facts
    list(start(recipe(tmp_path / "run", data, steps=1), said.append))
    assert "has had its 1 steps" in said[-1]
    with pytest.raises(SettingError, match=r"data\.batch"):
        next(start(recipe(tmp_path / "run", data, "batch=3")))
    rows = (data / "examples.jsonl").read_text()
    (data / "examples.jsonl").write_text(rows.replace("the green thing", "a green thing"))
    with pytest.raises(DataError, match="changed since the run began"):
        next(start(recipe(tmp_path / "run", data, steps=2)))


def test_export_refuses_weights_that_are_not_finite_or_of_another_shape(recipe, squares, tmp_path):
    list(start(recipe(tmp_path / "run", squares, steps=1)))
    path = RunFolder(tmp_path / "run").checkpoints()[-1]
    state = torch.load(path, weights_only=True)
    for spoil, said in (
        (lambda w: w * float("nan"), "not finite"),
        (lambda w: w[:1], "wrong shape"),
        (torch.Tensor.int, "another kind"),
    ):
        broken = {
            name: spoil(value) if name == "adapter.to_sparse.weight" else value
            for name, value in state["model"].items()
        }
        torch.save(state | {"model": broken}, path)
        with pytest.raises(CheckpointError, match=said):
            export_segmentation(tmp_path / "run", tmp_path / "model")
        with pytest.raises(CheckpointError, match=f"{said}|another network|does not belong"):
            next(start(recipe(tmp_path / "run", squares, steps=2)))
    assert not (tmp_path / "model" / "card.json").exists()
    for odd in (
        {"sums": 5},
        {"sums": {"loss": "x"}},
        {"counted": "x"},
        {"optimiser": []},
        {"random": "x"},
        {"task": 5},
    ):
        torch.save(state | odd, path)
        with pytest.raises(CheckpointError, match="does not belong to this run"):
            next(start(recipe(tmp_path / "run", squares, steps=2)))


@pytest.mark.parametrize(
    "pair",
    ["data.batch=0", "batch=-1", "lr=-1", "lr=nan", "warmup=nan", "threads=100000", "threads=-1", "clip=0",
     "weights=nan", "log_every=0", "save_every=0", "evaluate_every=0", "loop.seed=100000000000000000000",
     "data.batch=1000000000", "steps=0", "accumulate=0", "presence_weight=inf", "workers=-1"],
)  # fmt: skip
def test_settings_that_make_no_sense_are_refused_before_anything_starts(recipe, pair, squares, tmp_path):
    with pytest.raises(SettingError, match=pair.split("=")[0].split(".")[-1]):
        next(start(override(recipe(tmp_path / "run", squares), [pair])))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", RECIPES)
def test_the_settings_of_every_recipe_make_sense(name):
    from askmask.training.settings import check_values

    check_values(RECIPES[name]())


def test_the_help_names_every_recipe():
    from askmask.cli.train import NAMES

    assert NAMES == tuple(RECIPES)
