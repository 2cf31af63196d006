"""A network to train: base Qwen2.5-VL and SAM2 weights as published by their makers, fresh adapter and LoRA between.

Sources: Qwen2.5-VL technical report 2025; SAM 2 (Ravi et al. 2024); rank, alpha and places of LoRA as in ConverSeg
(CVPR 2026), section 5.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from askmask.errors import AskMaskError, CheckpointError
from askmask.model.adapter import Adapter
from askmask.model.build import TOKENIZER, build_net
from askmask.model.checkpoint import HEAD, compare_keys, new_checkpoint, write_checkpoint
from askmask.model.config import NetConfig
from askmask.model.published import (
    backbone_name,
    copy_tokenizer,
    read_state,
    sam2_names,
    sam2_settings,
    vlm_settings,
)
from askmask.runs.content_hash import remembered_sha256
from askmask.runs.json_text import read_object
from askmask.runs.whole_files import whole_file

TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
DROPOUT = 0.05
SAM2_PARTS = ("vision_config", "prompt_encoder_config", "mask_decoder_config")
# Of SAM2's video model, which the still-picture network has no use for.
VIDEO = (
    "mask_downsample.", "memory_attention.", "memory_encoder.", "memory_temporal_positional_encoding",
    "no_memory_positional_encoding", "no_object_pointer", "object_pointer_proj.",
    "occlusion_spatial_embedding_parameter", "temporal_positional_encoding_projection_layer.",
)  # fmt: skip


def lora_settings(rank: int = 16, alpha: int = 32) -> dict[str, Any]:
    """Return the LoRA settings of a new network."""
    return {"r": rank, "alpha": alpha, "dropout": DROPOUT, "targets": list(TARGETS)}


def new_network(
    vlm: str | Path, segmenter: str | Path, out: str | Path, *, rank: int = 16, alpha: int = 32, seed: int = 0
) -> Path:
    """Write a checkpoint folder `out` that phase one can begin with, and return it.

    `vlm`: a transformers folder of Qwen2.5-VL. `segmenter`: one of SAM2 or SAM2.1, the video model's too, or the
    file of their first release. Until trained, LoRA changes nothing and masks mean nothing. The language model's
    own head is kept. Raises CheckpointError for folders that are not such models.
    """
    vlm, segmenter, out = Path(vlm), Path(segmenter), Path(out)
    if rank < 1 or alpha < 1:
        raise CheckpointError("rank and alpha of LoRA must be at least 1", got=f"{rank} and {alpha}")
    sizes, sam2 = read_segmenter(segmenter)
    language = {backbone_name(key): value for key, value in read_shards(vlm).items()}
    head = language.pop("lm_head.weight", None)
    config = NetConfig(
        name=out.resolve().name,
        backend="sam2-qwen2.5-vl",
        segmenter=sizes,
        prompt_encoder=vlm_settings(vlm),
        lora=lora_settings(rank, alpha),
    )
    check_apart(out, vlm, segmenter)
    with new_checkpoint(out) as fresh:
        copy_tokenizer(vlm, fresh / TOKENIZER)
        wanted = shapes_wanted(config, fresh)
        state = {f"segmenter.model.{key}": value.float() for key, value in sam2.items()}
        state |= _with_fresh_parts(wanted, language, seed)
        if problems := compare_keys(wanted, {key: tuple(value.shape) for key, value in state.items()}):
            raise CheckpointError(f"{vlm} and {segmenter} do not make one network: {problems}")
        tied = bool(config.prompt_encoder.get("tie_word_embeddings"))
        if head is not None and not tied:
            with whole_file(fresh / HEAD) as temporary:
                save_file({"lm_head.weight": head.contiguous()}, temporary, metadata={"format": "pt"})
        provenance = {
            "made_by": "askmask new",
            "origin": {"vlm": vlm.name, "segmenter": segmenter.name},
            "licence": "of the base weights: check it where you got them",
            "sources": sources_of(vlm, segmenter),
            "head": "the embeddings, transposed" if tied else HEAD if head is not None else "none",
            "seed": seed,
        }
        write_checkpoint(fresh, config, state, provenance)
    return out


def read_shards(folder: Path) -> dict[str, Tensor]:
    """Read all safetensors files of a folder. Raises CheckpointError for one that is missing or damaged."""
    files = weight_files(folder)
    index = folder / "model.safetensors.index.json"
    listed = set(read_object(index).get("weight_map", {}).values()) if index.is_file() else set()
    if not files or (lacking := sorted(listed - {path.name for path in files})):
        raise CheckpointError(
            f"{folder}: weights are missing",
            got=", ".join(lacking[:4]) if files else "no *.safetensors",
            do="Give a whole folder in transformers' layout.",
        )
    state: dict[str, Tensor] = {}
    for path in files:
        try:
            state |= load_file(path)
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"{path} is damaged or only partly downloaded", got=error) from error
    return state


def check_apart(out: Path, *bases: Path) -> None:
    """Raise CheckpointError if a base lies where the new network is to be written."""
    for given in bases:
        if given.resolve().is_relative_to(out.resolve()):
            raise CheckpointError(f"{given} lies in {out}, which is to be written", do="Choose another OUT.")


def sources_of(*bases: Path) -> list[dict[str, Any]]:
    """Return name, size and hash of all files of weights of some bases."""
    return [
        {"file": path.name, "bytes": path.stat().st_size, "sha256": remembered_sha256(path)}
        for base in bases
        for path in weight_files(base)
    ]


def weight_files(place: Path) -> list[Path]:
    """Return the files of weights of a folder, or the one that is given."""
    return sorted(place.glob("*.safetensors")) if place.is_dir() else [place]


def read_segmenter(place: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return the sizes of a SAM2 and its weights by transformers' names."""
    if place.is_file():
        published = read_state(place, "model")
        return sam2_settings(published, None), sam2_names(published)
    from transformers import Sam2Config

    data = read_object(place / "config.json")
    if data.get("model_type") not in ("sam2", "sam2_video") or not all(
        isinstance(data.get(part), dict) for part in SAM2_PARTS
    ):
        raise CheckpointError(
            f"{place}: a SAM2 model is needed", got=f"model_type {data.get('model_type')!r}"
        )
    parts: dict[str, Any] = {
        part: {k: v for k, v in data[part].items() if k != "model_type"} for part in SAM2_PARTS
    }
    try:
        whole = Sam2Config(**parts).to_dict()
    except Exception as error:  # settings of a stranger: the library raises nearly anything
        raise CheckpointError(f"{place / 'config.json'}: not SAM2's", got=str(error)[:200]) from error
    state = {key: value for key, value in read_shards(place).items() if not key.startswith(VIDEO)}
    return {part: whole[part] for part in SAM2_PARTS}, state


def shapes_wanted(config: NetConfig, folder: Path) -> dict[str, tuple[int, ...]]:
    """Return key -> shape of a network whose tokenizer is in `folder`. Raises CheckpointError if there is none."""
    try:
        net = build_net(config, folder)
    except AskMaskError:
        raise
    except Exception as error:  # as above
        raise CheckpointError(
            "the configs and the tokenizer make no network",
            got=f"{type(error).__name__}: {str(error)[:200]}",
        ) from error
    return {key: tuple(value.shape) for key, value in net.state_dict().items()}


def _with_fresh_parts(
    wanted: Mapping[str, tuple[int, ...]], language: Mapping[str, Tensor], seed: int
) -> dict[str, Tensor]:
    """Return the language side by the network's names, with LoRA that changes nothing yet, and a fresh adapter."""
    state = with_fresh_lora(wanted, language, seed)
    channels, width = wanted["adapter.to_sparse.weight"]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        adapter = Adapter(width, channels)
    return state | {f"adapter.{key}": value for key, value in adapter.state_dict().items()}


def with_fresh_lora(
    wanted: Mapping[str, tuple[int, ...]], language: Mapping[str, Tensor], seed: int
) -> dict[str, Tensor]:
    """Return a language model by the network's names, with LoRA that changes nothing yet."""
    random = torch.Generator().manual_seed(seed)
    given = dict(language)
    state: dict[str, Tensor] = {}
    for key, shape in wanted.items():
        name = key.removeprefix("prompt_encoder.base.").replace(".base_layer.", ".")
        if ".lora_A." in key:  # PEFT's own start: A uniform in 1 / sqrt(fan-in), B zero
            state[key] = (torch.rand(shape, generator=random) * 2 - 1) / shape[1] ** 0.5
        elif ".lora_B." in key:
            state[key] = torch.zeros(shape)
        elif key.startswith("prompt_encoder.base.") and name in given:
            state[key] = given.pop(name)
    return state | {
        f"prompt_encoder.base.{name}": value for name, value in given.items()
    }  # to be named as unexpected
