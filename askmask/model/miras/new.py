"""A network of MIRAS's design to train, from the base weights of its four parts as their makers published them.

Its own weights are not published, and neither is a connector that goes with its fusion: that begins as nothing, so that
the language model sees at first what LLaVA-1.5 sees, through its connector if the folder is one of LLaVA.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from askmask.errors import CheckpointError
from askmask.model.build import TOKENIZER
from askmask.model.checkpoint import compare_keys, new_checkpoint, write_checkpoint
from askmask.model.config import NetConfig
from askmask.model.miras.encoder import SIDE
from askmask.model.miras.front import PatchFusion
from askmask.model.miras.words import IMAGE
from askmask.model.new import (
    DROPOUT,
    check_apart,
    read_segmenter,
    read_shards,
    shapes_wanted,
    sources_of,
    with_fresh_lora,
)
from askmask.model.talk.adapter import TalkAdapter
from askmask.model.talk.aligned import AlignedAdapter
from askmask.model.talk.config import TalkConfig
from askmask.model.talk.grow import add_signs
from askmask.runs.json_text import read_object

TARGETS = ("q_proj", "v_proj")  # of LoRA
LLAVA = "multi_modal_projector."
FRONT, BASE, HEAD = "prompt_encoder.front.", "prompt_encoder.base.", "prompt_encoder.head.weight"
# Of whole CLIP models, of ConvNeXt that names pictures, and of older files: nothing that this network has a use for.
UNUSED = ("text_model.", "text_projection.", "visual_projection.", "logit_scale", "classifier.")


def lora_settings(rank: int = 8, alpha: int = 16) -> dict[str, Any]:
    """Return the LoRA settings of a new network, as published."""
    return {"r": rank, "alpha": alpha, "dropout": DROPOUT, "targets": list(TARGETS)}


def new_miras(
    clip: str | Path,
    convnext: str | Path,
    language: str | Path,
    segmenter: str | Path,
    out: str | Path,
    *,
    talk: TalkConfig | None = None,
    rank: int = 8,
    alpha: int = 16,
    side: int = SIDE,
    framing: str = "stretch",
    seed: int = 0,
) -> Path:
    """Write a checkpoint folder `out` that training can begin with, and return it.

    All are folders in transformers' layout: `clip` and `convnext` of the towers, `language` of Llama, Vicuna or
    LLaVA-1.5, `segmenter` of SAM2. Raises CheckpointError for folders that are not such models.
    """
    bases = tuple(map(Path, (clip, convnext, language, segmenter)))
    out, talk = Path(out), talk or TalkConfig.miras()
    if rank < 1 or alpha < 1:
        raise CheckpointError("rank and alpha of LoRA must be at least 1", got=f"{rank} and {alpha}")
    check_apart(out, *bases)
    eyes, fine = _clip_settings(bases[0]), _settings(bases[1], "convnext", "ConvNeXt")
    llama = _llama_settings(bases[2])
    words, connector, head = _language(bases[2])
    sizes, sam2 = read_segmenter(bases[3])
    config = NetConfig(
        name=out.resolve().name,
        backend="sam2-miras",
        segmenter=sizes,
        prompt_encoder={
            "clip": eyes,
            "convnext": fine,
            "language": llama,
            "side": side,
            "framing": framing,
        },
        lora=lora_settings(rank, alpha),
        conversation=talk.to_dict(),
    )
    with new_checkpoint(out) as fresh:
        add_signs(bases[2], fresh / TOKENIZER, IMAGE)
        wanted = shapes_wanted(config, fresh)
        state = {f"segmenter.model.{key}": value.float() for key, value in sam2.items()}
        state |= {f"{FRONT}clip.{key}": value for key, value in _tower(bases[0], "vision_model.").items()}
        state |= {f"{FRONT}convnext.{key}": value for key, value in _tower(bases[1], "convnext.").items()}
        state |= with_fresh_lora(wanted, words, seed)
        if HEAD in wanted:
            state[HEAD] = words["embed_tokens.weight"].clone() if head is None else head
        dtype = words["embed_tokens.weight"].dtype
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            state |= _fresh(wanted, dtype) | _adapter(wanted, talk)
        state |= {f"{FRONT}connector.{key}": value for key, value in connector.items()}
        if problems := compare_keys(wanted, {key: tuple(value.shape) for key, value in state.items()}):
            raise CheckpointError(
                f"{', '.join(map(str, bases))} do not make one network: {problems}",
            )
        provenance = {
            "made_by": "askmask new --miras",
            "origin": dict(
                zip(("clip", "convnext", "language", "segmenter"), [base.name for base in bases], strict=True)
            ),
            "licence": "of the base weights: check it where you got them",
            "sources": sources_of(*bases),
            "connector": "LLaVA's" if connector else "fresh",
            "head": "tied"
            if HEAD not in wanted
            else "a copy of the embeddings"
            if head is None
            else "its own",
            "seed": seed,
        }
        write_checkpoint(fresh, config, state, provenance)
    return out


def _settings(folder: Path, kind: str, what: str, part: str = "") -> dict[str, Any]:
    """Return the settings that a folder's config.json has of a kind of model, or of a part of it."""
    data = read_object(folder / "config.json")
    if data.get("model_type") != kind or (part and not isinstance(data.get(part), Mapping)):
        raise CheckpointError(
            f"{folder}: a {what} model is needed", got=f"model_type {data.get('model_type')!r}"
        )
    return _plain(data[part] if part else data)


def _plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings without those that say where and how a file was written."""
    left_out = (
        "transformers_version",
        "_name_or_path",
        "architectures",
        "dtype",
        "torch_dtype",
        "model_type",
    )
    return {key: value for key, value in settings.items() if key not in left_out}


def _clip_settings(folder: Path) -> dict[str, Any]:
    if read_object(folder / "config.json").get("model_type") == "clip":
        return _settings(folder, "clip", "CLIP", "vision_config")
    return _settings(folder, "clip_vision_model", "CLIP")


def _llama_settings(folder: Path) -> dict[str, Any]:
    if read_object(folder / "config.json").get("model_type") == "llava":
        data = read_object(folder / "config.json").get("text_config")
        if isinstance(data, Mapping) and data.get("model_type", "llama") == "llama":
            return _plain(data)
    return _settings(folder, "llama", "Llama, Vicuna or LLaVA-1.5")


def _tower(folder: Path, prefix: str) -> dict[str, Tensor]:
    """Return the weights of a vision tower by its own names, whatever model it is a part of."""
    return {
        key.removeprefix(prefix): value
        for key, value in read_shards(folder).items()
        if not key.startswith(UNUSED) and not key.endswith("position_ids")
    }


def _language(folder: Path) -> tuple[dict[str, Tensor], dict[str, Tensor], Tensor | None]:
    """Return Llama's weights by its own names, those of LLaVA's connector if there is one, and the head."""
    words: dict[str, Tensor] = {}
    connector: dict[str, Tensor] = {}
    head = None
    for key, value in read_shards(folder).items():
        # The places of parts in LLaVA's files changed with transformers 4.52.
        name = key.removeprefix("model.").removeprefix("language_model.").removeprefix("model.")
        if name == "lm_head.weight":
            head = value
        elif name.startswith(LLAVA):
            number, which = name.removeprefix(LLAVA).split(".", 1)
            connector[f"{ {'linear_1': 0, 'linear_2': 2}.get(number, number) }.{which}"] = value
        elif not name.startswith("vision_tower.") and not name.endswith("rotary_emb.inv_freq"):
            words[name] = value
    if "embed_tokens.weight" not in words:
        raise CheckpointError(f"{folder}: embed_tokens.weight is missing", do="Give a whole folder.")
    return words, connector, head


def _fresh(wanted: Mapping[str, tuple[int, ...]], dtype: torch.dtype) -> dict[str, Tensor]:
    """Return a fusion that adds nothing yet, and a connector."""
    width, _ = wanted[f"{FRONT}fusion.query.1.weight"]
    _, fine = wanted[f"{FRONT}fusion.key.1.weight"]
    fusion = PatchFusion(width, fine)
    nn.init.zeros_(fusion.value[1].weight)  # type: ignore[arg-type]
    nn.init.zeros_(fusion.value[1].bias)  # type: ignore[arg-type]
    _, into = wanted[f"{FRONT}connector.0.weight"]
    out, _ = wanted[f"{FRONT}connector.2.weight"]
    connector = nn.Sequential(nn.Linear(into, out), nn.GELU(), nn.Linear(out, out))
    parts = {"fusion": fusion, "connector": connector}
    return {
        f"{FRONT}{name}.{key}": value.to(dtype)
        for name, part in parts.items()
        for key, value in part.state_dict().items()
    }


def _adapter(wanted: Mapping[str, tuple[int, ...]], talk: TalkConfig) -> dict[str, Tensor]:
    _, width = wanted["adapter.signs"]
    channels = wanted["segmenter.model.prompt_encoder.no_mask_embed.weight"][1]
    kind = TalkAdapter if talk.refers else AlignedAdapter
    adapter = kind(talk, width, channels)
    return {f"adapter.{key}": value for key, value in adapter.state_dict().items()}
