"""The published ConverSeg release -> an askmask checkpoint: names, sizes, and the three files it comes in.

The release has three parts: SAM2's state, `{"plm": adapter + whole language backbone + LoRA}`, and a PEFT folder
whose LoRA replaces the one in the second part. Formats are facts; nothing of that repository's text is here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor

from askmask.errors import AskMaskError, CheckpointError
from askmask.model.build import TOKENIZER, build_net
from askmask.model.checkpoint import check_kind, compare_keys, new_checkpoint, write_checkpoint
from askmask.model.config import NetConfig
from askmask.runs.content_hash import remembered_sha256
from askmask.runs.json_text import read_object
from askmask.runs.whole_files import copy_file

LORA_ALPHA = 32  # the published code builds LoRA with this alpha and never reads the folder's
# Video memory and tracking: in SAM2's file, not in a still-picture network.
DROPPED = re.compile(
    r"(memory_attention|memory_encoder|obj_ptr_proj|obj_ptr_tpos_proj|mask_downsample)\.|"
    r"(maskmem_tpos_enc|no_mem_pos_enc|no_obj_ptr|no_obj_embed_spatial)$"
)
# Published -> transformers, applied in this order.
SAM2_NAMES = [
    (r"^image_encoder\.trunk\.", "vision_encoder.backbone."),
    (r"^image_encoder\.neck\.convs\.(\d+)\.conv\.", r"vision_encoder.neck.convs.\1."),
    (r"^sam_prompt_encoder\.", "prompt_encoder."),
    (r"^sam_mask_decoder\.", "mask_decoder."),
    (r"^no_mem_embed$", "no_memory_embedding"),
    (r"patch_embed\.proj\.", "patch_embed.projection."),
    (r"(blocks\.\d+)\.norm([12])\.", r"\1.layer_norm\2."),
    (r"(transformer\.layers\.\d+)\.norm([1-4])\.", r"\1.layer_norm\2."),
    (r"transformer\.norm_final_attn\.", "transformer.layer_norm_final_attn."),
    (r"(mask_decoder\.transformer\..*)\.out_proj\.", r"\1.o_proj."),
    (r"mask_downscaling\.0\.", "mask_embed.conv1."),
    (r"mask_downscaling\.1\.", "mask_embed.layer_norm1."),
    (r"mask_downscaling\.3\.", "mask_embed.conv2."),
    (r"mask_downscaling\.4\.", "mask_embed.layer_norm2."),
    (r"mask_downscaling\.6\.", "mask_embed.conv3."),
    (r"output_upscaling\.0\.", "upscale_conv1."),
    (r"output_upscaling\.1\.", "upscale_layer_norm."),
    (r"output_upscaling\.3\.", "upscale_conv2."),
    # Two-layer perceptrons are proj_in, proj_out; three-layer ones proj_in, layers.0, proj_out.
    (r"\.mlp\.layers\.0\.", ".mlp.proj_in."),
    (r"\.mlp\.layers\.1\.", ".mlp.proj_out."),
    (r"(hypernetworks_mlps\.\d+|iou_prediction_head|pred_obj_score_head)\.layers\.0\.", r"\1.proj_in."),
    (r"(hypernetworks_mlps\.\d+|iou_prediction_head|pred_obj_score_head)\.layers\.1\.", r"\1.layers.0."),
    (r"(hypernetworks_mlps\.\d+|iou_prediction_head|pred_obj_score_head)\.layers\.2\.", r"\1.proj_out."),
]
POINTS = "sam_prompt_encoder.point_embeddings."
GAUSSIAN = "sam_prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"
# What a SAM2 file does not say, by (first width, blocks per stage): heads, global blocks, windows. Source: SAM2 2.0.
SAM2_SIZES: dict[tuple[int, tuple[int, ...]], tuple[int, list[int], list[int]]] = {
    (96, (1, 2, 7, 2)): (1, [5, 7, 9], [8, 4, 14, 7]),
    (96, (1, 2, 11, 2)): (1, [7, 10, 13], [8, 4, 14, 7]),
    (112, (2, 3, 16, 3)): (2, [12, 16, 20], [8, 4, 14, 7]),
    (144, (2, 6, 36, 4)): (2, [23, 33, 43], [8, 4, 16, 8]),
}
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.json",
    "merges.txt",
    "added_tokens.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "chat_template.json",
    "preprocessor_config.json",
)


def convert_published(
    sam2: str | Path,
    adapter: str | Path,
    lora: str | Path,
    vlm: str | Path,
    out: str | Path,
    *,
    sam2_config: str | Path | None = None,
    name: str | None = None,
    origin: str | None = None,
) -> Path:
    """Turn the three-part release into a checkpoint folder `out`, and return it.

    `sam2`, `adapter`: the two pickles (read with weights_only) or safetensors of the same keys. `lora`: the PEFT
    folder. `vlm`: a folder with the language model's config and tokenizer (its weights are in `adapter`).
    `sam2_config`: sizes as JSON, for a SAM2 that is none of the four published sizes. Raises CheckpointError.
    """
    out, vlm, lora = Path(out), Path(vlm), Path(lora)
    sam2_state = read_state(sam2, "model")
    plm_state = read_state(adapter, "plm")
    lora_state, lora_settings = _read_lora(lora)
    with _of_strangers(sam2_config or sam2):
        sizes = sam2_settings(sam2_state, read_object(Path(sam2_config)) if sam2_config else None)
    with _of_strangers(vlm):
        config = NetConfig(
            name=name or out.resolve().name,
            backend="sam2-qwen2.5-vl",
            segmenter=sizes,
            prompt_encoder=vlm_settings(vlm),
            lora=lora_settings,
            protocol="published-eval",
        )
    inputs = (Path(sam2), Path(adapter), lora, vlm)
    if within := next((path for path in inputs if path.resolve().is_relative_to(out.resolve())), None):
        raise CheckpointError(f"{within} lies in {out}, which is to be written", do="Choose another --out.")
    state = net_state(sam2_state, plm_state, lora_state)
    with new_checkpoint(out) as fresh:
        copy_tokenizer(vlm, fresh / TOKENIZER)
        with _of_strangers("the three parts"):
            net = build_net(config, fresh).state_dict()
        wanted = {key: tuple(value.shape) for key, value in net.items()}
        if problems := compare_keys(wanted, {key: tuple(value.shape) for key, value in state.items()}):
            raise CheckpointError(f"the three parts do not make one network: {problems}")
        for key, value in state.items():
            check_kind(key, value, net[key].dtype, "the three parts")
        sources = [Path(sam2), Path(adapter), *sorted(p for p in lora.iterdir() if p.is_file())]
        provenance = {
            "made_by": "askmask convert-published",
            "origin": origin or "files given by the user",
            "licence": "not known to askmask: check the licence of the weights where you got them",
            "sources": [
                {"file": p.name, "bytes": p.stat().st_size, "sha256": remembered_sha256(p)} for p in sources
            ],
            "lora_alpha": f"{LORA_ALPHA}, as the published code uses whatever the folder says",
        }
        write_checkpoint(fresh, config, state, provenance)
    return out


@contextmanager
def _of_strangers(what: object) -> Iterator[None]:
    """Whatever libraries raise over settings and shapes that make no network becomes a CheckpointError."""
    try:
        yield
    except AskMaskError:
        raise
    except Exception as error:
        raise CheckpointError(
            f"{what}: its settings make no network", got=f"{type(error).__name__}: {str(error)[:200]}"
        ) from error


def net_state(
    sam2: Mapping[str, Tensor], plm: Mapping[str, Tensor], lora: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Rename the three parts' tensors to the network's own keys. Values may be on the meta device."""
    state = {f"segmenter.model.{key}": value for key, value in sam2_names(sam2).items()}
    for key, value in plm.items():
        if not key.startswith("backbone."):
            state[f"adapter.{key}"] = value
        elif not key.endswith("lm_head.weight"):  # the head is not part of the network
            state[f"prompt_encoder.base.{backbone_name(key.removeprefix('backbone.'))}"] = value
    replaced = set()
    for key, value in lora.items():
        renamed = re.sub(r"\.(lora_[AB])\.weight$", r".\1.default.weight", backbone_name(key))
        target = f"prompt_encoder.base.{renamed}"
        if target not in state:
            raise CheckpointError("the LoRA folder has a tensor that the adapter file does not wrap", got=key)
        state[target] = value
        replaced.add(target)
    if left := sorted(key for key in state if ".lora_" in key and key not in replaced):
        raise CheckpointError("the LoRA folder lacks a tensor that the adapter file wraps", got=left[0])
    return state


def sam2_names(published: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename SAM2's published tensors to transformers' Sam2Model. Drops those for video."""
    points = sorted(key for key in published if key.startswith(POINTS))
    renamed: dict[str, Tensor] = {}
    for key, value in published.items():
        if DROPPED.match(key) or key in points or key == GAUSSIAN:
            continue
        for pattern, replacement in SAM2_NAMES:
            key = re.sub(pattern, replacement, key)
        renamed[key] = value
    if GAUSSIAN not in published or len(points) != 4:
        raise CheckpointError("not a SAM2 checkpoint", got=f"keys such as {sorted(published)[:3]}")
    renamed["prompt_encoder.point_embed.weight"] = torch.cat([published[key] for key in points])
    renamed["prompt_encoder.shared_embedding.positional_embedding"] = published[GAUSSIAN]
    renamed["shared_image_embedding.positional_embedding"] = published[GAUSSIAN].clone()
    return renamed


def sam2_settings(state: Mapping[str, Tensor], given: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the transformers config of a SAM2 state: read off its shapes, the rest from `given` or by size."""
    trunk = "image_encoder.trunk."
    try:
        width = state[f"{trunk}patch_embed.proj.weight"].shape[0]
        background = list(state[f"{trunk}pos_embed"].shape[2:])
        channels = state["image_encoder.neck.convs.0.conv.weight"].shape[0]
        mlp = state["sam_mask_decoder.transformer.layers.0.mlp.layers.0.weight"].shape[0]
        iou_hidden = state["sam_mask_decoder.iou_prediction_head.layers.0.weight"].shape[0]
    except KeyError as error:
        raise CheckpointError("not a SAM2 checkpoint", got=f"no key {error}") from error
    numbers = [key.split(".")[3] for key in state if key.startswith(f"{trunk}blocks.")]
    if not numbers or not all(re.fullmatch(r"[0-9]{1,3}", number) for number in numbers):
        raise CheckpointError("not a SAM2 checkpoint", got=f"blocks {sorted(set(numbers))[:4]}")
    blocks = 1 + max(map(int, numbers))
    starts = [0, *(n for n in range(1, blocks) if f"{trunk}blocks.{n}.proj.weight" in state)]
    stages = tuple(end - start for start, end in zip(starts, [*starts[1:], blocks], strict=True))
    image_size, heads_decoder, depth = 1024, 8, 2
    if given is not None:
        try:
            heads = given["trunk"]["num_heads"]
            global_blocks, windows = given["trunk"]["global_att_blocks"], given["trunk"]["window_spec"]
            image_size = given.get("image_size", image_size)
            heads_decoder, depth = given["decoder"]["num_heads"], given["decoder"]["depth"]
        except (KeyError, TypeError) as error:
            raise CheckpointError("the SAM2 config lacks a size", got=f"no {error}") from error
        if type(image_size) is not int or not 32 <= image_size <= 8192 or image_size % 16:
            raise CheckpointError(
                "the SAM2 config's image_size must be 32 to 8192, a multiple of 16", got=repr(image_size)[:40]
            )
        if tuple(given["trunk"]["stages"]) != stages or given["trunk"]["embed_dim"] != width:
            raise CheckpointError(
                "the SAM2 config is for another network",
                got=f"embed_dim {given['trunk']['embed_dim']}, stages {given['trunk']['stages']}",
                do=f"The weights have embed_dim {width}, stages {list(stages)}.",
            )
    elif (width, stages) in SAM2_SIZES:
        heads, global_blocks, windows = SAM2_SIZES[width, stages]
    else:
        raise CheckpointError(
            "this SAM2 is none of the published sizes",
            got=f"embed_dim {width}, stages {list(stages)}",
            do="Give its sizes with --sam2-config.",
        )
    return sam2_config(
        width, stages, heads, global_blocks, windows, background=background, channels=channels, mlp=mlp,
        iou_hidden=iou_hidden, image_size=image_size, heads_decoder=heads_decoder, depth=depth,
    )  # fmt: skip


def sam2_config(
    width: int,
    stages: Sequence[int],
    heads: int,
    global_blocks: Sequence[int],
    windows: Sequence[int],
    *,
    background: Sequence[int] = (7, 7),
    channels: int = 256,
    mlp: int = 2048,
    iou_hidden: int = 256,
    image_size: int = 1024,
    heads_decoder: int = 8,
    depth: int = 2,
) -> dict[str, Any]:
    """Return the transformers config of a SAM2 of these sizes; those with a default are equal in all published."""
    widths = [width * 2**n for n in range(len(stages))]
    cells = image_size // 16
    return {
        "vision_config": {
            "backbone_config": {
                "model_type": "sam2_hiera_det_model",
                "hidden_size": width,
                "num_attention_heads": heads,
                "blocks_per_stage": list(stages),
                "embed_dim_per_stage": widths,
                "num_attention_heads_per_stage": [heads * 2**n for n in range(len(stages))],
                "window_size_per_stage": list(windows),
                "global_attention_blocks": list(global_blocks),
                "window_positional_embedding_background_size": list(background),
                "image_size": [image_size, image_size],
            },
            "backbone_channel_list": widths[::-1],
            "backbone_feature_sizes": [[cells * n, cells * n] for n in (4, 2, 1)],
            "fpn_hidden_size": channels,
        },
        "prompt_encoder_config": {"hidden_size": channels, "image_size": image_size},
        "mask_decoder_config": {
            "hidden_size": channels,
            "mlp_dim": mlp,
            "num_attention_heads": heads_decoder,
            "num_hidden_layers": depth,
            "iou_head_hidden_dim": iou_hidden,
        },
    }


def backbone_name(key: str) -> str:
    """Strip PEFT's and the language-head wrapper's prefixes, in the namings of transformers 4 and 5."""
    key = key.removeprefix("base_model.model.")
    key = re.sub(r"^model\.(?=visual|language_model)", "", key)
    return re.sub(r"^model\.", "language_model.", key)


def read_state(path: str | Path, wrapper: str) -> dict[str, Tensor]:
    """Read tensors by name from a pickle (weights_only), bare or under the key `wrapper`, or from safetensors."""
    path = Path(path)
    if not path.is_file():
        raise CheckpointError("no such checkpoint file", got=path, do="Check the path.")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except UnpicklingError as error:  # what torch says of it reads like advice to run the file's code
        raise CheckpointError(
            f"{path}: it holds more than plain weights, or is damaged; code in it was not run",
            do="Get the weights as safetensors.",
        ) from error
    except Exception as error:  # zip, pickle and safetensors readers raise many kinds
        raise CheckpointError(
            f"{path}: damaged, partly downloaded, or not plain weights",
            got=str(error)[:200] or type(error).__name__,
        ) from error
    state = state.get(wrapper, state) if isinstance(state, dict) else state
    if not isinstance(state, dict) or not all(
        isinstance(key, str) and isinstance(value, Tensor) and value.layout == torch.strided
        for key, value in state.items()
    ):
        got = f"keys {list(state)[:4]}" if isinstance(state, dict) else type(state).__name__
        raise CheckpointError(f'{path}: {{"{wrapper}": tensors by name}} is needed', got=got)
    return state


def _read_lora(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    settings = read_object(folder / "adapter_config.json")
    weights = folder / "adapter_model.safetensors"
    state = read_state(weights if weights.is_file() else folder / "adapter_model.bin", "model")
    try:
        return state, {
            "r": int(settings["r"]),
            "alpha": LORA_ALPHA,
            "dropout": float(settings["lora_dropout"]),
            "targets": sorted(settings["target_modules"])
            if isinstance(settings["target_modules"], list)
            else str(settings["target_modules"]),
        }
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise CheckpointError(f"{folder}: adapter_config.json is not LoRA's", got=f"no {error}") from error


def vlm_settings(folder: Path) -> dict[str, Any]:
    """Return the transformers config of a Qwen2.5-VL folder. Raises CheckpointError for another model's."""
    from transformers import Qwen2_5_VLConfig

    settings = read_object(folder / "config.json")
    if settings.get("model_type") != "qwen2_5_vl":
        raise CheckpointError(
            f"{folder}: a Qwen2.5-VL model is needed", got=f"model_type {settings.get('model_type')!r}"
        )
    config = Qwen2_5_VLConfig.from_pretrained(str(folder), local_files_only=True).to_dict()
    return {
        key: value for key, value in config.items() if key not in ("transformers_version", "_name_or_path")
    }


def copy_tokenizer(source: Path, target: Path) -> None:
    """Copy tokenizer, chat template and picture settings. Raises CheckpointError if one is missing."""
    for name in TOKENIZER_FILES:
        if (source / name).is_file():
            copy_file(source / name, target / name)
    for name in ("tokenizer_config.json", "preprocessor_config.json"):
        if not (target / name).is_file():
            raise CheckpointError(
                f"{source}: {name} is missing", do="Give the whole folder of the language model."
            )
