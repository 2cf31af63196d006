"""What training a network of a released size will need, counted without any weights (`askmask new --estimate`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from askmask.errors import SettingError
from askmask.model.adapter import Adapter
from askmask.model.build import without_weights
from askmask.model.new import lora_settings
from askmask.model.published import SAM2_SIZES, sam2_config
from askmask.model.qwen import with_lora
from askmask.model.sam2 import Sam2Segmenter
from askmask.model.talk.adapter import TalkAdapter
from askmask.model.talk.config import TalkConfig
from askmask.training.memory import Memory, memory_of
from askmask.training.segmentation import choose_trainable

_TEXT = {
    "model_type": "qwen2_5_vl_text",
    "max_position_embeddings": 128_000,
    "rope_parameters": {"rope_type": "default", "mrope_section": [16, 24, 24], "rope_theta": 1_000_000.0},
}
_VISION = {
    "model_type": "qwen2_5_vl",
    "depth": 32,
    "hidden_size": 1280,
    "intermediate_size": 3420,
    "num_heads": 16,
    "window_size": 112,
    "fullatt_block_indexes": [7, 15, 23, 31],
}
# Sizes of Qwen2.5-VL-Instruct. Source: the config.json of each.
VLM_SIZES: dict[str, dict[str, Any]] = {
    "3b": {"hidden_size": 2048, "intermediate_size": 11_008, "num_hidden_layers": 36, "num_attention_heads": 16,
           "num_key_value_heads": 2, "vocab_size": 151_936, "tie_word_embeddings": True},
    "7b": {"hidden_size": 3584, "intermediate_size": 18_944, "num_hidden_layers": 28, "num_attention_heads": 28,
           "num_key_value_heads": 4, "vocab_size": 152_064, "tie_word_embeddings": False},
}  # fmt: skip
LARGE = (144, (2, 6, 36, 4))  # SAM2's and SAM2.1's hiera-large, of SAM2_SIZES


def estimate(size: str, *, rank: int = 16, talking: bool = False) -> Memory:
    """Count Qwen2.5-VL of a size ("3b", "7b") with SAM2 hiera-large in phases one and two, without any weights.

    `talking`: of a network that remembers and replies, in `askmask train conversation`.
    """
    _check(size)
    return memory_of(_on_meta(VLM_SIZES[size], rank, talking))


def cache_bytes(size: str) -> int:
    """Return the memory of one token in a conversation's key-value cache, in half precision."""
    _check(size)
    text = VLM_SIZES[size]
    width = text["hidden_size"] // text["num_attention_heads"] * text["num_key_value_heads"]
    return int(2 * 2 * text["num_hidden_layers"] * width)


def _check(size: str) -> None:
    if size not in VLM_SIZES:
        raise SettingError(
            "no such size of Qwen2.5-VL", got=repr(size), do=f"Use one of: {', '.join(VLM_SIZES)}."
        )


def _on_meta(text: Mapping[str, Any], rank: int, talking: bool) -> nn.Module:
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLModel

    width = text["hidden_size"]
    sizes = {key: value for key, value in text.items() if key != "tie_word_embeddings"}
    vlm: dict[str, Any] = {
        "text_config": _TEXT | sizes,
        "vision_config": _VISION | {"out_hidden_size": width},
    }
    heads, global_blocks, windows = SAM2_SIZES[LARGE]
    with without_weights():
        language: Any = Qwen2_5_VLModel(Qwen2_5_VLConfig(**vlm))
        language = with_lora(language.to(torch.bfloat16), lora_settings(rank))
        segmenter = Sam2Segmenter(sam2_config(*LARGE, heads, global_blocks, windows))
        net = nn.ModuleDict(
            {
                "segmenter": segmenter,
                "prompt_encoder": nn.ModuleDict({"base": language}),
                "adapter": TalkAdapter(TalkConfig(), width, segmenter.channels)
                if talking
                else Adapter(width, segmenter.channels),
            }
        )
        if talking and not text["tie_word_embeddings"]:
            head = nn.Linear(width, text["vocab_size"], bias=False)
            net["prompt_encoder"].add_module("head", head.to(torch.bfloat16))
    choose_trainable(net, language="lora", segmenter="decoder")
    return net
