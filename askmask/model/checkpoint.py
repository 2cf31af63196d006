"""Checkpoints: one folder, written whole, read strictly.

    config.json              how to build the network (config.py)
    segmenter.safetensors    visual back-end
    adapter.safetensors      adapter and heads
    language.safetensors     language back-end
    speech.safetensors       what makes replies in words, of small networks that do
    lora.safetensors         its LoRA weights, if any
    head.safetensors         the language model's own head, if it has one apart: for replies, not part of the network
    graphs/                  modules of small networks as ONNX, if `askmask onnx` made them (mini/graphs.py)
    tokenizer/               tokenizer, chat template and picture settings, if the back-end has them
    card.json                where it comes from: sources, hashes, versions, licence note

A key that is missing, unexpected or of another shape is an error that names it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from askmask import __version__
from askmask.errors import AskMaskError, CheckpointError
from askmask.model.build import BUILDING, TOKENIZER, build_net
from askmask.model.config import NetConfig
from askmask.model.net import AskMaskNet
from askmask.runs.claim import claim
from askmask.runs.content_hash import hash_of_files, sha256
from askmask.runs.json_text import read_json
from askmask.runs.manifest import check_free
from askmask.runs.whole_files import copy_file, settle, whole_file, whole_folder, write_json

CARD = "card.json"
PARTS = ("segmenter", "adapter", "language", "speech", "lora")
HEAD = "head.safetensors"
GRAPHS = "graphs"
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
NAMED = 6  # keys an error names before it only counts


def part_of(key: str) -> str:
    """Return the file (without suffix) that holds a key of the network's state."""
    if ".lora_A." in key or ".lora_B." in key:
        return "lora"
    head = key.split(".", 1)[0]
    return {"segmenter": "segmenter", "prompt_encoder": "language", "speech": "speech"}.get(head, "adapter")


def save_checkpoint(
    folder: str | Path,
    config: NetConfig,
    state: Mapping[str, Tensor],
    provenance: Mapping[str, Any],
    *,
    tokenizer: Path | None = None,
    head: Path | None = None,
) -> Path:
    """Write a whole checkpoint: config, weights, copies of the folder `tokenizer` and the file `head`, card.

    See `new_checkpoint`.
    """
    with new_checkpoint(folder) as fresh:
        for path in tokenizer.iterdir() if tokenizer is not None else ():
            if path.is_file():
                copy_file(path, fresh / TOKENIZER / path.name)
        if head is not None:
            copy_file(head, fresh / HEAD)
        write_checkpoint(fresh, config, state, provenance)
    return Path(folder)


@contextmanager
def new_checkpoint(folder: str | Path) -> Iterator[Path]:
    """Yield an empty folder to write a checkpoint into; at the end it takes the place of the one in `folder`.

    Until then, and after any error or kill, the one that was there stays whole. Files that its card does not list
    stay too. Raises SettingError if `folder` is neither empty nor a checkpoint.
    """
    folder = Path(folder)
    check_free(folder, "askmask checkpoint", adopt=(CARD,))
    with claim(folder):
        before = [*_read_card(folder)[1], CARD] if (folder / CARD).is_file() else []
        with whole_folder(folder, lambda _: before) as fresh:
            yield fresh


def write_checkpoint(
    folder: Path, config: NetConfig, state: Mapping[str, Tensor], provenance: Mapping[str, Any]
) -> None:
    """Write config, weights and card into a folder of `new_checkpoint`, where a tokenizer may lie.

    `provenance` goes into the card as it is: sources with hashes, the command, licence notes. Raises
    CheckpointError for weights that are not finite.
    """
    config.save(folder)
    for key, value in state.items():
        if value.dtype in FLOATS and not bool(torch.isfinite(value).all()):
            raise CheckpointError(f"the weights are not finite: {key}", do="Go back to a checkpoint before.")
    for part in PARTS:
        tensors = {key: value.contiguous() for key, value in state.items() if part_of(key) == part}
        if tensors:
            with whole_file(folder / f"{part}.safetensors") as temporary:
                save_file(tensors, temporary, metadata={"format": "pt"})
    write_card(folder, config, provenance)


def write_card(folder: Path, config: NetConfig, provenance: Mapping[str, Any]) -> None:
    """Write the card of a folder in which all else lies."""
    card = {
        "askmask": __version__,
        "name": config.name,
        "backend": config.backend,
        "provenance": dict(provenance),
        "files": {
            name: {"bytes": path.stat().st_size, "sha256": sha256(path)}
            for name, path in files_of(folder).items()
        },
    }
    write_json(folder / CARD, card)


def fingerprint(folder: str | Path) -> str:
    """Return a hash of all that decides a checkpoint's answers: the bytes of weights, graphs, config and tokenizer."""
    return hash_of_files(files_of(Path(folder)))


def load_checkpoint(
    folder: str | Path, *, device: str | torch.device = "cpu", dtype: torch.dtype | None = None, **build: Any
) -> tuple[AskMaskNet, NetConfig]:
    """Read a folder into a network in evaluation mode, with no second copy of the weights in memory.

    `dtype` casts the language side (None: as stored); the visual side stays as stored. `build` goes to
    `build_net`. Raises CheckpointError.
    """
    folder = Path(folder)
    config = NetConfig.load(folder)
    check_files(folder)
    try:
        net = build_net(config, folder, **build)
    except AskMaskError as error:
        raise CheckpointError(f"{folder}: {error}") from error
    except Exception as error:  # settings of a stranger: the libraries that read them raise nearly anything
        raise CheckpointError(
            f"{folder}: its config.json and tokenizer make no network",
            got=f"{type(error).__name__}: {str(error)[:200]}",
            do="Fetch or convert it again.",
        ) from error
    wanted = {key: tuple(value.shape) for key, value in net.state_dict().items()}
    kinds = {key: value.dtype for key, value in net.state_dict().items()}
    state: dict[str, Tensor] = {}
    found: dict[str, tuple[int, ...]] = {}
    for path in _part_files(folder):
        try:
            with safe_open(path, framework="pt", device="cpu") as file:
                shapes = {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}
                if twice := sorted(found.keys() & shapes):
                    raise CheckpointError(f"{folder}: {path.name} has keys of another file", got=twice[0])
                found |= shapes
                if not compare_keys(wanted, shapes, missing=False):
                    for key in shapes:
                        tensor = file.get_tensor(key)
                        check_kind(key, tensor, kinds[key], f"{path.name} in {folder}")
                        cast = dtype is not None and part_of(key) in ("language", "lora")
                        state[key] = tensor.to(device=device, dtype=dtype if cast else None)
        except SafetensorError as error:
            raise CheckpointError(
                f"{path.name} in {folder} is damaged or only partly downloaded",
                got=error,
                do="Fetch it again.",
            ) from error
    if problems := compare_keys(wanted, found):
        raise CheckpointError(f"the weights in {folder} do not fit its config.json: {problems}")
    with BUILDING:
        net.load_state_dict(state, strict=True, assign=True)
    if config.compute == "float32":
        net = net.float()
    return net.to(device).eval(), config


def check_kind(key: str, tensor: Tensor, wanted: torch.dtype, where: str) -> None:
    """Raise CheckpointError for weights that are no real numbers of 16 to 64 bits where the network has such."""
    counter = key.endswith("num_batches_tracked")  # of batch norm: no answer depends on it
    if tensor.dtype != wanted and not (tensor.dtype in FLOATS and (wanted in FLOATS or counter)):
        raise CheckpointError(f"{where}: {key} must be {wanted} or another width of it", got=tensor.dtype)


def compare_keys(
    wanted: Mapping[str, tuple[int, ...]], found: Mapping[str, tuple[int, ...]], *, missing: bool = True
) -> str:
    """Say in words how two lists of key -> shape differ; "" if they do not."""
    lacking = [key for key in wanted if key not in found] if missing else []
    extra = [key for key in found if key not in wanted]
    shaped = [
        f"{key} is {list(found[key])}, not {list(wanted[key])}"
        for key in found
        if key in wanted and found[key] != wanted[key]
    ]
    said = (("missing", lacking), ("unexpected", extra), ("wrong shape", shaped))
    return "; ".join(
        f"{len(keys)} {what}: {', '.join(keys[:NAMED])}{', ...' if len(keys) > NAMED else ''}"
        for what, keys in said
        if keys
    )


def check_files(folder: str | Path, *, hashes: bool = False) -> dict[str, Any]:
    """Compare the folder with its card: files there, sizes equal, and with `hashes` contents equal.

    Returns the card. Raises CheckpointError naming the first file that differs.
    """
    folder = Path(folder)
    settle(folder)
    card, files = _read_card(folder)
    for path in (folder / "config.json", *_part_files(folder)):
        if path.name not in files:
            raise CheckpointError(
                f"{folder}: {CARD} does not list {path.name}", do="Convert or fetch it again."
            )
    for name, (size, digest) in files.items():
        path = folder / name
        if not path.is_file():
            raise CheckpointError(f"{folder}: {name} is missing", do="Convert or fetch it again.")
        if path.stat().st_size != size:
            raise CheckpointError(
                f"{folder}: {name} must be {size} bytes",
                got=path.stat().st_size,
                do="Fetch it again.",
            )
        if hashes and sha256(path) != digest:
            raise CheckpointError(f"{folder}: {name} differs from its hash in {CARD}", do="Fetch it again.")
    return card


def _read_card(folder: Path) -> tuple[dict[str, Any], dict[str, tuple[int, str]]]:
    """Return the card, and name -> (bytes, SHA-256) of the files that it lists."""
    if not (folder / CARD).is_file():
        raise CheckpointError(
            f"{folder} has no {CARD}: it was not written to its end", do="Convert or fetch it again."
        )
    try:
        card = read_json(folder / CARD)
        files = {name: (int(facts["bytes"]), str(facts["sha256"])) for name, facts in card["files"].items()}
    except (AskMaskError, ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise CheckpointError(f"{folder / CARD}: not readable", got=error) from error
    for name in files:
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise CheckpointError(f"{folder / CARD}: a file outside the folder", got=repr(name))
    return card, files


def _part_files(folder: Path) -> list[Path]:
    paths = [folder / f"{part}.safetensors" for part in PARTS]
    return [path for path in paths if path.is_file()]


def files_of(folder: Path) -> dict[str, Path]:
    """Return name -> path of the files of a checkpoint; the folder may hold others."""
    tokenizer = sorted(path for path in (folder / TOKENIZER).rglob("*") if path.is_file())
    graphs = sorted((folder / GRAPHS).glob("*.onnx"))
    head = [folder / HEAD] if (folder / HEAD).is_file() else []
    paths = (folder / "config.json", *_part_files(folder), *head, *graphs, *tokenizer)
    return {path.relative_to(folder).as_posix(): path for path in paths}
