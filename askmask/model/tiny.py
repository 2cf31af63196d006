"""Miniature networks with the real parts and random weights: for tests, the self-test, and trying the tools.

Their answers mean nothing; that they are the same everywhere does. Weights come from NumPy's generator, seeded
per key, so that they do not depend on the version of torch.
"""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import torch

from askmask.model.build import TOKENIZER, build_net
from askmask.model.checkpoint import new_checkpoint, write_checkpoint
from askmask.model.config import NetConfig
from askmask.runs.whole_files import write_json

SPECIAL = (
    *("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>"),
    *("<|box_start|>", "<|box_end|>", "<|quad_start|>", "<|quad_end|>"),
    *("<|vision_start|>", "<|vision_end|>", "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>"),
)
VOCABULARY = 256 + len(SPECIAL)
# The form of Qwen's conversations for one text per message, enough for the network's one user turn.
CHAT_TEMPLATE = (
    "{%- if messages[0]['role'] != 'system' -%}"
    "{{ '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' }}{%- endif -%}"
    "{%- for message in messages -%}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{%- endfor -%}"
)


def make_tiny(folder: str | Path, *, seed: int = 0, image_size: int = 256) -> Path:
    """Write a checkpoint of a miniature SAM2 + Qwen2.5-VL network (about 1 MB) and return its folder."""
    config = tiny_config(image_size)
    with new_checkpoint(folder) as fresh:
        _write_tokenizer(fresh / TOKENIZER)
        state = {}
        for key, value in build_net(config, fresh).state_dict().items():
            random = np.random.default_rng([seed, zlib.crc32(key.encode())]).standard_normal(value.shape)
            # Norms near 1, the rest by fan-in: signals keep their size through the layers.
            fan_in = np.prod(value.shape[1:]) if value.dim() > 1 else 400
            centre = 1.0 if value.dim() < 2 and key.endswith(("weight", "scale", "temp")) else 0.0
            state[key] = torch.from_numpy(np.asarray(centre + random / np.sqrt(max(1, fan_in)), np.float32))
        write_checkpoint(
            fresh, config, state, {"made_by": f"make_tiny(seed={seed})", "licence": "Apache-2.0"}
        )
    return Path(folder)


def tiny_config(image_size: int = 256) -> NetConfig:
    """Return the config of the miniature network: C = 64 decoder channels, D = 64 language width."""
    ids = {token: 256 + index for index, token in enumerate(SPECIAL)}
    cells = image_size // 16
    widths = [16, 32, 64, 128]
    return NetConfig(
        name="tiny",
        backend="sam2-qwen2.5-vl",
        segmenter={
            "vision_config": {
                "backbone_config": {
                    "model_type": "sam2_hiera_det_model",
                    "hidden_size": 16,
                    "num_attention_heads": 1,
                    "blocks_per_stage": [1, 1, 2, 1],
                    "embed_dim_per_stage": widths,
                    "num_attention_heads_per_stage": [1, 2, 4, 8],
                    "window_size_per_stage": [8, 4, 8, 4],
                    "global_attention_blocks": [3],
                    "image_size": [image_size, image_size],
                },
                "backbone_channel_list": widths[::-1],
                "backbone_feature_sizes": [[cells * n, cells * n] for n in (4, 2, 1)],
                "fpn_hidden_size": 64,
            },
            "prompt_encoder_config": {"hidden_size": 64, "image_size": image_size},
            "mask_decoder_config": {"hidden_size": 64, "mlp_dim": 128, "iou_head_hidden_dim": 64},
        },
        prompt_encoder={
            "image_token_id": ids["<|image_pad|>"],
            "video_token_id": ids["<|video_pad|>"],
            "vision_start_token_id": ids["<|vision_start|>"],
            "vision_end_token_id": ids["<|vision_end|>"],
            "text_config": {
                "model_type": "qwen2_5_vl_text",
                "hidden_size": 64,
                "intermediate_size": 96,
                "num_hidden_layers": 2,
                "num_attention_heads": 4,
                "num_key_value_heads": 2,
                "vocab_size": VOCABULARY,
                "max_position_embeddings": 32768,
                "rope_parameters": {
                    "rope_type": "default",
                    "mrope_section": [2, 3, 3],
                    "rope_theta": 1000000.0,
                },
                "bos_token_id": ids["<|endoftext|>"],
                "eos_token_id": ids["<|im_end|>"],
                "pad_token_id": ids["<|endoftext|>"],
            },
            "vision_config": {
                "model_type": "qwen2_5_vl",
                "depth": 2,
                "fullatt_block_indexes": [1],
                "hidden_size": 32,
                "intermediate_size": 48,
                "num_heads": 2,
                "out_hidden_size": 64,
                "window_size": 112,
            },
        },
        lora={
            "r": 4,
            "alpha": 8,
            "dropout": 0.05,
            "targets": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
        },
    )


def _write_tokenizer(folder: Path) -> None:
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = Tokenizer(models.BPE(vocab={letter: n for n, letter in enumerate(alphabet)}, merges=[]))
    words.normalizer = normalizers.NFC()
    words.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    words.decoder = decoders.ByteLevel()
    words.add_special_tokens(list(SPECIAL))
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words,
        pad_token="<|endoftext|>",
        eos_token="<|im_end|>",
        additional_special_tokens=list(SPECIAL),
        chat_template=CHAT_TEMPLATE,
    )
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save_pretrained(folder)
    settings = {
        "min_pixels": 3136,
        "max_pixels": 12845056,
        "patch_size": 14,
        "temporal_patch_size": 2,
        "merge_size": 2,
        "image_mean": [0.48145466, 0.4578275, 0.40821073],
        "image_std": [0.26862954, 0.26130258, 0.27577711],
    }
    write_json(folder / "preprocessor_config.json", settings)
