"""What training a network of a released size will need, counted without any weights (`askmask new --estimate`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from askmask.errors import SettingError
from askmask.model.adapter import Adapter
from askmask.model.build import without_weights
from askmask.model.miras.encoder import MirasEncoder
from askmask.model.miras.new import lora_settings as miras_lora
from askmask.model.new import lora_settings
from askmask.model.published import SAM2_SIZES, sam2_config
from askmask.model.qwen import with_lora
from askmask.model.sam2 import Sam2Segmenter
from askmask.model.talk.adapter import TalkAdapter
from askmask.model.talk.aligned import AlignedAdapter
from askmask.model.talk.config import TalkConfig
from askmask.training.memory import Memory, memory_of
from askmask.training.recipes import miras_two, miras_two_as_coded
from askmask.training.segmentation import choose_trainable

_TEXT = {
    "model_type": "qwen2_5_vl_text",
    "max_position_embeddings": 128_000,
    "rope_parameters": {"rope_type": "default", "mrope_section": [16, 24, 24], "rope_theta": 1_000_000.0},
}
VISION = {
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
# MIRAS's towers and language model at the size of its paper. Source: the config.json of CLIP ViT-L/14-336, the
# ConvNeXt-L of OpenCLIP, and Vicuna-7B v1.5.
MIRAS: dict[str, Any] = {
    "clip": {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16,
             "image_size": 336, "patch_size": 14},
    "convnext": {"hidden_sizes": [192, 384, 768, 1536], "depths": [3, 3, 27, 3]},
    "language": {"hidden_size": 4096, "intermediate_size": 11_008, "num_hidden_layers": 32, "num_attention_heads": 32,
                 "vocab_size": 32_000, "max_position_embeddings": 4096},
}  # fmt: skip
LARGE = (144, (2, 6, 36, 4))  # SAM2's and SAM2.1's hiera-large, of SAM2_SIZES


def estimate(size: str, *, rank: int = 16, talking: bool = False) -> Memory:
    """Count Qwen2.5-VL of a size ("3b", "7b") with SAM2 hiera-large in phases one and two, without any weights.

    `talking`: of a network that remembers and replies, in `askmask train conversation`.
    """
    _check(size)
    return memory_of(_on_meta(VLM_SIZES[size], rank, talking))


def estimate_miras(*, as_coded: bool = False) -> Memory:
    """Count MIRAS at its paper's size with SAM2 hiera-large, trained as its paper says or as its code does."""
    with without_weights():
        encoder = MirasEncoder(MIRAS, miras_lora(), None).to(torch.bfloat16)
        segmenter = _large()
        adapter = AlignedAdapter(TalkConfig.miras(), encoder.width, segmenter.channels)
    net = nn.ModuleDict({"segmenter": segmenter, "prompt_encoder": encoder, "adapter": adapter})
    recipe = miras_two_as_coded() if as_coded else miras_two()
    data = recipe.data
    choose_trainable(net, language=data.language, segmenter=data.segmenter, front=data.front)
    return memory_of(net)


def cache_bytes(size: str) -> int:
    """Return the memory of one token in a conversation's key-value cache, in half precision. `size`: or "miras"."""
    if size == "miras":
        text = MIRAS["language"] | {"num_key_value_heads": MIRAS["language"]["num_attention_heads"]}
    else:
        _check(size)
        text = VLM_SIZES[size]
    width = text["hidden_size"] // text["num_attention_heads"] * text["num_key_value_heads"]
    return int(2 * 2 * text["num_hidden_layers"] * width)


def _check(size: str) -> None:
    if size not in VLM_SIZES:
        raise SettingError(
            "no such size of Qwen2.5-VL", got=repr(size), do=f"Use one of: {', '.join(VLM_SIZES)}; or miras."
        )


def _large() -> Sam2Segmenter:
    heads, global_blocks, windows = SAM2_SIZES[LARGE]
    return Sam2Segmenter(sam2_config(*LARGE, heads, global_blocks, windows))


def _on_meta(text: Mapping[str, Any], rank: int, talking: bool) -> nn.Module:
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLModel

    width = text["hidden_size"]
    sizes = {key: value for key, value in text.items() if key != "tie_word_embeddings"}
    vlm: dict[str, Any] = {
        "text_config": _TEXT | sizes,
        "vision_config": VISION | {"out_hidden_size": width},
    }
    with without_weights():
        language: Any = Qwen2_5_VLModel(Qwen2_5_VLConfig(**vlm))
        language = with_lora(language.to(torch.bfloat16), lora_settings(rank))
        segmenter = _large()
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
