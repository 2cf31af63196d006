"""Folders of CLIP, ConvNeXt, Llama and SAM2, tiny and with random weights, as their makers publish such models."""

import torch

from askmask.model.tiny import tiny_config

WORDS = ("th", "the", "▁the", "▁r", "▁re", "▁red", "It", "▁It")  # each joins two that come before it
CLIP = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "image_size": 56,
    "patch_size": 14,
}
CONVNEXT = {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 1, 1]}
SIDE = 64  # of the square that both see


def write_bases(root, image_size=128, seed=0):
    """Write the four folders; return them by the names of `new_miras`' arguments."""
    from transformers import (
        CLIPVisionConfig,
        CLIPVisionModel,
        ConvNextConfig,
        ConvNextForImageClassification,
        LlamaConfig,
        LlamaForCausalLM,
        Sam2Config,
        Sam2Model,
    )

    tokenizer = llama_tokenizer()
    language = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=4096,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        models = {
            "clip": CLIPVisionModel(CLIPVisionConfig(**CLIP)),
            "convnext": ConvNextForImageClassification(ConvNextConfig(**CONVNEXT)),
            "language": LlamaForCausalLM(language),
            "segmenter": Sam2Model(Sam2Config(**tiny_config(image_size).segmenter)),
        }
        for stage in models["convnext"].convnext.encoder.stages:
            for layer in stage.layers:  # a layer's own part is scaled by 1e-6 at first
                torch.nn.init.ones_(layer.layer_scale_parameter)
    for name, model in models.items():
        model.save_pretrained(root / name)
    tokenizer.save_pretrained(root / "language")
    return {name: root / name for name in models}


def llama_tokenizer():
    """Llama's kind of tokenizer: pieces with their space before, letters, and bytes for all else."""
    from transformers import LlamaTokenizer

    letters = ["▁", *(chr(number) for number in range(33, 127))]
    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{number:02X}>" for number in range(256)), *letters, *WORDS]
    halves = [
        next((word[:n], word[n:]) for n in (1, *range(2, len(word))) if {word[:n], word[n:]} <= {*pieces})
        for word in WORDS
    ]
    return LlamaTokenizer(vocab={piece: number for number, piece in enumerate(pieces)}, merges=halves)
