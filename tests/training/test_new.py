"""From base weights to an answer: `askmask new`, both phases, export, segment; the memory of real sizes."""

import json

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from askmask.cli.app import app, register_commands
from askmask.errors import CheckpointError
from askmask.model.checkpoint import HEAD, check_files, load_checkpoint
from askmask.model.new import new_network
from askmask.model.tiny import make_tiny, tiny_config
from askmask.training.estimate import cache_bytes, estimate
from tests.training.test_phases import four, run  # noqa: F401

CONFIG = tiny_config(128)


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    """Folders of a language model and a segmenter with random weights, as their makers publish such."""
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration, Sam2Config, Sam2Model

    root = tmp_path_factory.mktemp("bases")
    torch.manual_seed(0)
    vlm = Qwen2_5_VLForConditionalGeneration(Qwen2_5_VLConfig(**CONFIG.prompt_encoder))
    vlm.save_pretrained(root / "vlm", max_shard_size="200KB")
    for path in (make_tiny(root / "tiny", image_size=128) / "tokenizer").iterdir():
        (root / "vlm" / path.name).write_bytes(path.read_bytes())
    Sam2Model(Sam2Config(**CONFIG.segmenter)).save_pretrained(root / "sam2")
    return root / "vlm", root / "sam2"


@pytest.fixture(scope="module")
def made(bases, tmp_path_factory):
    return new_network(*bases, tmp_path_factory.mktemp("new") / "net", rank=4, alpha=8)


def test_from_base_weights_to_an_answer(bases, four, tmp_path):  # noqa: F811
    out = tmp_path / "net"
    run("new", out, "--vlm", bases[0], "--segmenter", bases[1], "--rank", "4", "--alpha", "8")
    short = ["steps=1", "batch=2", "threads=1"]
    run("train", "phase_one", f"data={four}", f"model={out}", f"run={tmp_path / 'one'}", *short)
    run(
        "train",
        "phase_two",
        f"data={four}",
        f"model={out}",
        f"run={tmp_path / 'two'}",
        f"start={tmp_path / 'one'}",
        *short,
    )
    run("export", tmp_path / "two", tmp_path / "mine")
    run("segment", four / "0.png", "red", "--model", tmp_path / "mine", "--out", tmp_path / "answer")
    assert Image.open(tmp_path / "answer" / "mask-00.png").size == (64, 64)
    before, after = (load_file(folder / "lora.safetensors") for folder in (out, tmp_path / "mine"))
    assert any(not torch.equal(before[name], after[name]) for name in before)
    assert torch.equal(*(load_file(folder / HEAD)["lm_head.weight"] for folder in (out, tmp_path / "mine")))
    assert HEAD in check_files(tmp_path / "mine", hashes=True)["files"]


def test_fresh_lora_changes_nothing_and_the_base_is_what_was_given(made, bases):
    from transformers import Qwen2_5_VLForConditionalGeneration

    net, config = load_checkpoint(made)
    base = Qwen2_5_VLForConditionalGeneration.from_pretrained(bases[0]).model.eval()
    ids = torch.tensor([[70, 71, 72, 256 + 2]])
    with torch.no_grad():
        ours = net.prompt_encoder.base(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state
        theirs = base(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state
    assert torch.equal(ours, theirs)
    assert config.lora["r"] == 4 and config.lora["alpha"] == 8 and not any(config.trained_heads.values())
    a = [value for name, value in net.state_dict().items() if ".lora_A." in name]
    assert a and all(value.std() > 0 for value in a)


def test_the_video_model_and_tied_heads_serve_too(bases, tmp_path):
    vlm, sam2 = tmp_path / "vlm", tmp_path / "sam2"
    vlm.mkdir(), sam2.mkdir()
    for path in bases[0].iterdir():
        (vlm / path.name).write_bytes(path.read_bytes())
    config = json.loads((vlm / "config.json").read_text()) | {"tie_word_embeddings": True}
    (vlm / "config.json").write_text(json.dumps(config))
    config = json.loads((bases[1] / "config.json").read_text()) | {"model_type": "sam2_video"}
    config["mask_decoder_config"]["model_type"] = "sam2_video_mask_decoder"
    (sam2 / "config.json").write_text(json.dumps(config))
    weights = load_file(bases[1] / "model.safetensors") | {"memory_attention.layers.0.x": torch.zeros(2)}
    save_file(weights, sam2 / "model.safetensors")
    made = new_network(vlm, sam2, tmp_path / "net")
    assert not (made / HEAD).exists() and check_files(made)["provenance"]["head"].startswith("the embeddings")
    load_checkpoint(made)


def test_what_is_no_base_is_named(bases, tmp_path):
    with pytest.raises(CheckpointError, match="a SAM2 model is needed"):
        new_network(bases[0], bases[0], tmp_path / "a")
    with pytest.raises(CheckpointError, match=r"a Qwen2\.5-VL model is needed"):
        new_network(bases[1], bases[1], tmp_path / "b")
    broken = tmp_path / "broken"
    broken.mkdir()
    for path in sorted(bases[0].iterdir())[:-1]:
        if not path.name.startswith("model-00002"):
            (broken / path.name).write_bytes(path.read_bytes())
    with pytest.raises(CheckpointError, match="model-00002"):
        new_network(broken, bases[1], tmp_path / "c")
    assert not any((tmp_path / name / "card.json").exists() for name in "abc")


def test_the_memory_of_real_sizes_is_known_without_weights():
    """Against the numbers of parameters that their makers and the paper give."""
    memory, language, lora, adapter = estimate("3b"), 3_754_622_976, 37.15e6, 1.12e6
    decoder, sam2 = 4.22e6, 216.9e6  # of hiera-large
    assert memory.trained == pytest.approx(lora + adapter + decoder, rel=1e-3)
    assert memory.weights == pytest.approx(2 * language + 4 * (sam2 + lora + adapter), rel=1e-3)


def test_the_memory_of_conversations_is_known_too():
    """Counted by hand for D = 2048, C = 256: signs, memory, roles, alignment, gated adapter; at 7B a head besides."""
    width, channels = 2048, 256
    memory = 2 * width + 2 * channels + (width + channels + 1) * width + (width + 1) * width + width
    box = 105 * width + (width + 1) * width + width
    rest = 10 * width + 4 * channels + 4 * channels * (channels + 1) + 320 + 65_792 + 1
    assert estimate("3b", talking=True).trained - estimate("3b").trained == memory + box + rest
    heavier = estimate("7b", talking=True).weights - estimate("7b").weights
    assert 0 < heavier - 2 * 152_064 * 3584 < 200e6
    assert cache_bytes("3b") == 2 * 2 * 36 * 2 * 128


def test_the_estimate_is_printed():
    register_commands()
    result = CliRunner().invoke(app, ["new", "--estimate", "7b"])
    assert result.exit_code == 0 and "16.0 GiB" in result.output and "53.7 million" in result.output
    assert "17.6 GiB" in result.output and "55 MiB for each 1000 tokens" in result.output
