"""Real sizes on the meta device: every published key finds its place, for 3B and 7B, without a byte of weights."""

import pytest
import torch

from askmask.model.build import build_net
from askmask.model.checkpoint import compare_keys
from askmask.model.config import NetConfig
from askmask.model.published import LORA_ALPHA, net_state, sam2_settings
from askmask.model.tiny import tiny_config
from tests.conftest import recorded_keys

LORA = {
    "r": 16,
    "alpha": LORA_ALPHA,
    "dropout": 0.05,
    "targets": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
}
# From the released config.json files of Qwen2.5-VL.
SIZES = {
    "3b": {"hidden_size": 2048, "num_hidden_layers": 36, "num_attention_heads": 16, "num_key_value_heads": 2}
    | {"intermediate_size": 11008, "vocab_size": 151936},
    "7b": {"hidden_size": 3584, "num_hidden_layers": 28, "num_attention_heads": 28, "num_key_value_heads": 4}
    | {"intermediate_size": 18944, "vocab_size": 152064},
}


def meta(name):
    return {
        key: torch.empty(shape, dtype=getattr(torch, dtype), device="meta")
        for key, (shape, dtype) in recorded_keys(name).items()
    }


def qwen(size, tokens):
    """Settings of a real size; the special tokens are those of the miniature tokenizer."""
    config = {key: value for key, value in tokens.items() if key.endswith("_token_id")}
    rope = {"rope_type": "default", "mrope_section": [16, 24, 24], "rope_theta": 1e6}
    config["text_config"] = SIZES[size] | {"model_type": "qwen2_5_vl_text", "rope_parameters": rope}
    config["vision_config"] = {
        "model_type": "qwen2_5_vl",
        "depth": 32,
        "fullatt_block_indexes": [7, 15, 23, 31],
        "hidden_size": 1280,
        "intermediate_size": 3420,
        "num_heads": 16,
        "out_hidden_size": SIZES[size]["hidden_size"],
    }
    return config


@pytest.mark.parametrize("size", ["3b", "7b"])
def test_published_keys_of_real_sizes_fit_exactly(tiny_folder, size):
    sam2 = meta("real_sam2_hiera_l")
    state = net_state(sam2, meta(f"real_plm_qwen2.5-vl-{size}"), meta(f"real_lora_qwen2.5-vl-{size}"))
    config = NetConfig(
        name="real",
        backend="sam2-qwen2.5-vl",
        segmenter=sam2_settings(sam2, None),  # sizes inferred from the weights
        prompt_encoder=qwen(size, tiny_config().prompt_encoder),
        lora=LORA,
    )
    net = build_net(config, tiny_folder)
    wanted = {key: tuple(value.shape) for key, value in net.state_dict().items()}
    found = {key: tuple(value.shape) for key, value in state.items()}
    assert compare_keys(wanted, found) == ""
    lora = [key for key in found if ".lora_" in key]
    if size == "3b":
        assert len(lora) == 696  # of them 192 on the vision MLPs
        assert sum(".visual." in key for key in lora) == 192
        parameters = sum(value.numel() for key, value in net.named_parameters())
        assert parameters == pytest.approx(3.793e9 + 216.9e6 - 6e3, rel=0.01)


def test_the_decoder_is_built_with_sam2_larges_windows():
    settings = sam2_settings(meta("real_sam2_hiera_l"), None)["vision_config"]["backbone_config"]
    assert settings["global_attention_blocks"] == [23, 33, 43]
    assert settings["window_size_per_stage"] == [8, 4, 16, 8]
    assert settings["num_attention_heads_per_stage"] == [2, 4, 8, 16]
