"""Fetch a published release from the Hugging Face Hub and convert it once into the cache.

Nothing is fetched unless a release is asked for by name. Downloads resume; offline, what is in the Hub's own
cache is used.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from askmask.errors import AskMaskError, CheckpointError
from askmask.runs.claim import in_turn
from askmask.runs.content_hash import cache_root


@dataclass(frozen=True, kw_only=True)
class Release:
    """A three-part release on the Hub. `revision` "main" is resolved to a commit at the first fetch, and kept."""

    repo: str
    vlm: str  # where config and tokenizer of the language model are
    revision: str = "main"
    vlm_revision: str = "main"
    sam2: str = "*_sam2_*.torch*"
    adapter: str = "*_plm_*.torch*"
    lora: str = "lora_plm_adapter*/*"
    sam2_config: str = "sam2_config.json"  # optional: sizes of a SAM2 that is none of the published ones


RELEASES = {
    "converseg-net-3b": Release(repo="aadarsh99/ConverSeg-Net-3B", vlm="Qwen/Qwen2.5-VL-3B-Instruct"),
}
VLM_FILES = ("*.json", "*.txt", "*.jinja")
WEIGHT_FILES = (*VLM_FILES, "*.safetensors")  # no pickles


def fetch(name: str, *, revision: str | None = None, confirm: Callable[[str], bool] | None = None) -> Path:
    """Return the checkpoint folder of a release, fetching and converting it if it is not in the cache.

    `confirm` gets the notice about origin and licence and says whether to go on; without it the notice is
    printed to stderr. Raises CheckpointError when the Hub cannot be reached or the release has changed shape.
    """
    release = RELEASES[name]
    root = cache_root() / name
    folder = root / revision if revision else _kept(root)
    if folder is not None and (folder / "card.json").is_file():
        return folder
    notice = (
        f"{name} is published by its authors at huggingface.co/{release.repo}; askmask did not make it and could "
        "not read its licence. Check the licence of the weights before you use them. About 9 GB are fetched, "
        f"and 9 GB more are written to {root}."
    )
    if confirm is None:
        print(notice, file=sys.stderr)
    elif not confirm(notice):
        raise AskMaskError(f"{name} was not fetched, as you chose")
    patterns = (release.sam2, release.adapter, release.lora, release.sam2_config)
    commit, files = _snapshot(release.repo, revision or release.revision, patterns)
    final = root / commit
    with in_turn(root / ".askmask-lock"):  # of two processes that begin together, one converts
        # There already if `revision` was a branch or tag of a commit converted before.
        return final if (final / "card.json").is_file() else _convert(release, name, files, final)


def _convert(release: Release, name: str, files: Path, final: Path) -> Path:
    from askmask.model.published import convert_published

    sizes = files / release.sam2_config
    vlm = fetch_vlm(release.vlm, release.vlm_revision)
    return convert_published(
        _one(files, release.sam2),
        _one(files, release.adapter),
        _one(files, release.lora.replace("/*", "/adapter_config.json")).parent,
        vlm,
        final,
        sam2_config=sizes if sizes.is_file() else None,
        name=name,
        origin=f"huggingface.co/{release.repo} at {final.name}; tokenizer and config: {release.vlm} at {vlm.name}",
    )


def fetch_vlm(repo: str, revision: str = "main") -> Path:
    """Fetch config and tokenizer (no weights) of a language model on the Hub; return their folder."""
    return _snapshot(repo, revision, VLM_FILES)[1]


def fetch_weights(name: str, *, confirm: Callable[[str], bool] | None = None) -> Path:
    """Return the folder of a model in transformers' layout: a folder as given, or a Hub name's in the Hub's cache.

    What is not there yet is fetched only if `confirm`, given the notice, says yes. Raises CheckpointError otherwise.
    """
    if Path(name).is_dir():
        return Path(name)
    if (folder := _complete(name)) is not None:
        return folder
    if confirm is None:
        raise CheckpointError(
            f"{name} is neither a folder nor in the Hub's cache on this machine",
            do="Name a folder, or let it be fetched from huggingface.co with --yes.",
        )
    if not confirm(
        f"{name} is fetched from huggingface.co into the Hub's cache. askmask did not make it: check the licence of "
        "the weights before you use them."
    ):
        raise AskMaskError(f"{name} was not fetched, as you chose")
    return _snapshot(name, "main", WEIGHT_FILES)[1]


def is_here(name: str) -> bool:
    """Whether the weights of a Hub name are in the Hub's cache."""
    return _complete(name) is not None


def _complete(name: str) -> Path | None:
    """Return the cached folder of a repository with all of its weights, None if a file is missing."""
    from huggingface_hub import snapshot_download

    try:
        folder = Path(snapshot_download(name, allow_patterns=list(WEIGHT_FILES), local_files_only=True))
        index = folder / "model.safetensors.index.json"
        shards = set(json.loads(index.read_text())["weight_map"].values()) if index.is_file() else ()
    except Exception:  # not there, no such name, or a broken index: all mean that it must be fetched
        return None
    there = all((folder / shard).is_file() for shard in shards) and any(folder.glob("*.safetensors"))
    return folder if there else None


def _kept(root: Path) -> Path | None:
    """Return the converted checkpoint fetched before, the newest if there are several."""
    done = [path.parent for path in root.glob("*/card.json")]
    return max(done, key=lambda path: path.stat().st_mtime, default=None)


def _snapshot(repo: str, revision: str, patterns: tuple[str, ...]) -> tuple[str, Path]:
    """Download the files of one commit that match; return the commit and the folder."""
    from huggingface_hub import snapshot_download

    try:
        folder = Path(snapshot_download(repo, revision=revision, allow_patterns=list(patterns)))
    except Exception as error:  # network, authentication and cache errors share no base class
        raise CheckpointError(
            f"could not fetch {repo} from the Hugging Face Hub",
            got=str(error).splitlines()[0][:200] if str(error) else type(error).__name__,
            do="Check the network and HF_TOKEN, or convert downloaded files with `askmask convert-published`.",
        ) from error
    return folder.name, folder  # the Hub's cache names a snapshot by its commit


def _one(folder: Path, pattern: str) -> Path:
    found = [
        path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and fnmatch(path.relative_to(folder).as_posix(), pattern)
    ]
    if len(found) != 1:
        raise CheckpointError(
            f"the release must have one file {pattern}",
            got=[p.name for p in found] or "none",
            do="Pin a revision.",
        )
    return found[0]
