"""Phases one and two on the published format: end to end from the command line, and able to learn by heart."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

import askmask
from askmask.cli.app import app, register_commands
from askmask.errors import AskMaskError, DataError
from askmask.model.checkpoint import load_checkpoint
from askmask.training.segmentation import SegmentationConfig, SegmentationTask, choose_trainable


@pytest.fixture(scope="module")
def tiny_128(tmp_path_factory):
    from askmask.model.tiny import make_tiny

    return make_tiny(tmp_path_factory.mktemp("tiny"), image_size=128)


@pytest.fixture(scope="module")
def four(tmp_path_factory):
    """Four samples: two pictures of coloured squares, two prompts on each, so that words must be read."""
    folder = tmp_path_factory.mktemp("four")
    random = np.random.default_rng(1)
    rows = []
    for number in range(2):
        pixels = np.full((64, 64, 3), 90, np.uint8)
        for name, colour in (("red", (220, 30, 30)), ("blue", (30, 30, 220))):
            x = int(random.integers(2, 10)) + (32 if name == "blue" else 0)
            y = int(random.integers(4, 40))
            mask = np.zeros((64, 64), np.uint8)
            mask[y : y + 20, x : x + 20] = 255
            pixels[mask > 0] = colour
            Image.fromarray(mask).save(folder / f"{number}-{name}.png")
            rows.append({"image": f"{number}.png", "mask_merged": f"{number}-{name}.png", "prompt": name})
        Image.fromarray(pixels).save(folder / f"{number}.png")
    (folder / "dataset.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def run(*words):
    register_commands()
    result = CliRunner().invoke(app, [str(word) for word in words])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result


@pytest.mark.slow
def test_phase_two_learns_four_samples_by_heart_and_its_export_loads(four, tiny_128, tmp_path):
    settings = ["steps=60", "batch=4", "lr=2e-3", "language=full", "min_lr=1e-4", "weight_decay=0"]
    settings += ["evaluate_every=60", "save_every=60", f"cache={tmp_path / 'features'}", "segmenter=decoder"]
    run(
        "train",
        "phase_two",
        f"data={four}",
        f"val={four}",
        f"model={tiny_128}",
        f"run={tmp_path / 'run'}",
        *settings,
    )
    rows = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert rows[-1]["val/giou_all"] > 0.8  # half of that is had without reading
    assert list((tmp_path / "run" / "panels").glob("*.png"))
    run("export", tmp_path / "run", tmp_path / "model")
    answers = askmask.load(tmp_path / "model", device="cpu").open(four / "0.png").ask_many(["red", "blue"])
    for answer, name in zip(answers, ("red", "blue"), strict=True):
        assert answer.found and answer.mask.iou(askmask.Mask.from_png(four / f"0-{name}.png")) > 0.7


def task_on(folder, tiny, **settings):
    net, _ = load_checkpoint(tiny, device="cpu")
    return SegmentationTask(net, SegmentationConfig(data=(str(folder),), batch=2, **settings))


def test_gradients_reach_exactly_what_was_asked_for(four, tiny_128):
    task = task_on(four, tiny_128)
    loss, _ = task.loss(task.next_batch(0.0), 0.0)
    loss.backward()
    reached = {name for name, p in task.module.named_parameters() if p.grad is not None}
    assert {name.split(".")[0] for name in reached} == {"segmenter", "prompt_encoder", "adapter"}
    assert all(".lora_" in name for name in reached if name.startswith("prompt_encoder."))
    assert all("mask_decoder." in name for name in reached if name.startswith("segmenter."))
    # What the published training leaves untouched learns here: presence and score.
    assert any("iou_prediction_head" in name for name in reached)
    assert any("pred_obj_score_head" in name for name in reached)


def test_trained_parameters_are_single_precision_even_when_the_model_is_half(tiny_128):
    net, _ = load_checkpoint(tiny_128, device="cpu", dtype=torch.bfloat16)
    choose_trainable(net, language="lora", segmenter="decoder")
    assert {p.dtype for p in net.parameters() if p.requires_grad} == {torch.float32}


def test_batch_does_not_change_a_rounds_masks(four, tiny_128):
    task = task_on(four, tiny_128)
    task.module.eval()
    rounds, collate = [task.sources[0][n] for n in range(3)], task.evaluator.collate

    def masks(*rounds):
        batch = collate(rounds)
        return task.objective.masks(batch, task.objective.features(batch)).logits

    with torch.no_grad():
        together, alone = masks(*rounds), torch.cat([masks(one) for one in rounds])
    torch.testing.assert_close(together, alone, atol=2e-4, rtol=2e-4)


def test_bad_rows_stop_or_are_passed_over_and_counted(four, tiny_128, tmp_path):
    for name in ("0.png", "0-red.png"):
        (tmp_path / name).write_bytes((four / name).read_bytes())
    good = {"image": "0.png", "mask_merged": "0-red.png", "prompt": "red"}
    rows = [good, good | {"image": "gone.png"}]
    (tmp_path / "dataset.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(DataError, match="line 2"):
        task_on(tmp_path, tiny_128, check=True)
    task = task_on(tmp_path, tiny_128, on_bad="skip")
    for _ in range(3):
        assert len(task.next_batch(0.0).tokens) == 2
    assert task.skipped and all("gone.png" in line for line in task.skipped)
    assert task.seen == {"present": 6, "absent": 0}
    stopping = task_on(tmp_path, tiny_128)
    with pytest.raises(DataError, match="line 2"):
        for _ in range(3):
            stopping.next_batch(0.0)


def test_a_network_without_lora_says_how_to_train_it(four, tmp_path):
    from askmask.model.mini.net import Mini
    from tests.model.test_mini import SIZES

    with pytest.raises(AskMaskError, match="language=full"):
        SegmentationTask(Mini(SIZES), SegmentationConfig(data=(str(four),), language="lora"))
    task = SegmentationTask(Mini(SIZES), SegmentationConfig(data=(str(four),), batch=3))  # as it comes: whole
    assert all(p.requires_grad for p in task.module.prompt_encoder.parameters())
    loss, figures = task.loss(task.next_batch(0.0), 0.0)
    assert torch.isfinite(loss) and "iou" in figures


def test_mini_goes_on_from_the_bundled_weights(tmp_path):
    """`start=mini` names the model of the package; a run that starts there has its eyes and its words."""
    from askmask.model.config import NetConfig
    from askmask.model.mini.config import MiniConfig
    from askmask.training.run import model_of, newest
    from askmask.training.run_folder import RunFolder
    from tests.training.discs import write_discs

    write_discs(tmp_path / "discs", scenes=6, seed=0, size=64)
    settings = ["steps=1", "views=2", "prompts=2", "shards=1", f"cache={tmp_path / 'sight'}", "threads=1"]
    run(
        "train",
        "mini_phase_two",
        "start=mini",
        f"data.train={tmp_path / 'discs'}",
        f"run={tmp_path / 'run'}",
        *settings,
    )
    folder = RunFolder(tmp_path / "run")
    begun, ended = (
        newest(str(askmask.loading.find_checkpoint("mini")))["model"],
        newest(str(folder.root))["model"],
    )
    bundled = NetConfig.load(askmask.loading.find_checkpoint("mini")).segmenter
    assert model_of(folder, ()) == MiniConfig.from_dict(bundled)
    eyes = [name for name in ended if name.startswith("segmenter.encoder.")]
    assert eyes and all(torch.equal(ended[name], begun[name]) for name in eyes)
    assert any(not torch.equal(ended[n], begun[n]) for n in ended if n.startswith("prompt_encoder.language."))
