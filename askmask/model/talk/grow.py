"""From a network that answers single prompts to one that talks: the signs, and fresh parts of the adapter.

What it had learnt is kept: the maps of the adapter go on to be used, now for the states of replies.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from askmask.errors import CheckpointError
from askmask.model.build import TOKENIZER, build_net
from askmask.model.checkpoint import (
    HEAD,
    check_files,
    compare_keys,
    fingerprint,
    load_checkpoint,
    new_checkpoint,
    write_checkpoint,
)
from askmask.model.config import NetConfig
from askmask.model.talk.adapter import TalkAdapter
from askmask.model.talk.config import TalkConfig
from askmask.model.talk.words import SIGNS
from askmask.runs.whole_files import copy_file

TABLE = "prompt_encoder.base.language_model.embed_tokens.weight"


def grow(source: str | Path, out: str | Path, talk: TalkConfig | None = None, *, seed: int = 0) -> Path:
    """Write a checkpoint `out` of the network in `source` that remembers and replies, and return its folder.

    Until it is trained, what it says and shows means nothing. Raises CheckpointError for a network that cannot talk,
    or does already.
    """
    source, talk = Path(source), talk or TalkConfig()
    config = NetConfig.load(source)
    if config.backend != "sam2-qwen2.5-vl" or config.conversation is not None:
        raise CheckpointError(
            "a network of SAM2 and Qwen2.5-VL that answers single prompts is needed",
            got=f"{source}: {config.backend}{', which talks' if config.conversation is not None else ''}",
        )
    net, _ = load_checkpoint(source)
    state = dict(net.state_dict())
    grown = replace(
        config,
        name=Path(out).resolve().name,
        conversation=talk.to_dict(),
        protocol="native",
        trained_heads={"score": False, "presence": False},
    )
    tied = bool(config.prompt_encoder.get("tie_word_embeddings"))
    with new_checkpoint(out) as fresh:
        for path in (source / TOKENIZER).iterdir():
            if path.is_file():
                copy_file(path, fresh / TOKENIZER / path.name)
        add_signs(source / TOKENIZER, fresh / TOKENIZER)
        if not tied:
            state["prompt_encoder.head.weight"] = _head(source, state)
        channels, width = state["adapter.to_sparse.weight"].shape
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            adapter = TalkAdapter(talk, width, channels)
        state = {f"adapter.{key}": value for key, value in adapter.state_dict().items()} | state
        wanted = {key: tuple(value.shape) for key, value in build_net(grown, fresh).state_dict().items()}
        if problems := compare_keys(wanted, {key: tuple(value.shape) for key, value in state.items()}):
            raise CheckpointError(f"{source} cannot be made to talk: {problems}")
        head = "tied" if tied else HEAD if (source / HEAD).is_file() else "a copy of the embeddings"
        provenance = {
            "made_by": "askmask new --talking-from",
            "from": {"name": config.name, "fingerprint": fingerprint(source)},
            "head": head,
            "seed": seed,
            "begun_from": check_files(source).get("provenance"),
        }
        write_checkpoint(fresh, grown, state, provenance)
    return Path(out)


def _head(source: Path, state: dict[str, Tensor]) -> Tensor:
    """Return the language model's own head; where it was not kept, its embeddings, which training must make one."""
    if (source / HEAD).is_file():
        return load_file(source / HEAD)["lm_head.weight"]
    return state[TABLE].clone()


def add_signs(source: Path, target: Path, *more: str) -> None:
    """Write the tokenizer of a folder with the signs of a conversation, and what is needed `more`, into another."""
    from transformers import AddedToken, AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(str(source), local_files_only=True, trust_remote_code=False)
    except Exception as error:  # transformers raises many kinds, at its settings beside it as well
        first = f"{type(error).__name__}: {error}".splitlines()[0][:200]
        raise CheckpointError(
            f"{source}: no tokenizer that can be read", got=first, do="Give a whole folder."
        ) from error
    signs = [AddedToken(sign, special=True, normalized=False) for sign in SIGNS]
    if tokenizer.add_tokens(signs, special_tokens=True) != len(SIGNS):
        raise CheckpointError(f"{source}: the tokenizer has some of {', '.join(SIGNS)} already")
    others = [AddedToken(name, special=True, normalized=False) for name in more]
    tokenizer.add_tokens(others, special_tokens=True)
    tokenizer.save_pretrained(target)
