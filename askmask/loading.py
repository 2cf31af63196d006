"""`load`: from a name or a folder to a Model ready to use."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from askmask.errors import CheckpointError, SettingError

if TYPE_CHECKING:
    from askmask.session import Model

DTYPES = ("float32", "bfloat16", "float16")


def load(
    name: str | os.PathLike[str] = "mini",
    *,
    protocol: str | None = None,
    device: str | None = None,
    dtype: Any = None,
    revision: str | None = None,
    confirm: Callable[[str], bool] | None = None,
) -> Model:
    """Load a model: `mini` (in the package), a checkpoint folder, or a release fetched from the Hub.

    `protocol`: "native", "published-eval" or "published-demo"; None: the one the checkpoint names. `device`:
    "cpu", "cuda", "cuda:1", "mps"; None: the best there is. `dtype` of the language side: "float32", "bfloat16",
    "float16"; None: as stored. `revision` pins a Hub release; `confirm` is asked before a download.
    Raises CheckpointError or SettingError, both AskMaskError.
    """
    from askmask.backends.neural import NeuralBackend, memory_guard
    from askmask.model.checkpoint import fingerprint, load_checkpoint
    from askmask.model.config import NetConfig
    from askmask.model.protocols import protocol_named
    from askmask.session import Model

    folder = find_checkpoint(name, revision=revision, confirm=confirm)
    rules = protocol_named(protocol or NetConfig.load(folder).protocol)
    place, kind = pick_device(device), _dtype(dtype)
    with memory_guard(f"the weights in {folder}"):
        net, config = load_checkpoint(folder, device=place, dtype=kind, published_text=rules.published_text)
    return Model(NeuralBackend(net, config, rules, fingerprint=fingerprint(folder)[:16]))


def find_checkpoint(
    name: str | os.PathLike[str], *, revision: str | None = None, confirm: Callable[[str], bool] | None = None
) -> Path:
    """Return the folder of a model: bundled, fetched and converted once into the cache, or given as such."""
    from askmask import hub

    text = os.fspath(name)
    # Names first: a folder that happens to be called mini must not take the default's place; ./mini still names it.
    if text in BUNDLED:
        folder = Path(__file__).parent / "weights" / text
        if not folder.is_dir():
            raise CheckpointError(
                f"the weights of {text!r} are not in this installation", do="Reinstall askmask."
            )
        return folder
    if text in hub.RELEASES:
        return hub.fetch(text, revision=revision, confirm=confirm)
    if Path(text).is_dir():
        return Path(text)
    names = [*BUNDLED, *hub.RELEASES]
    close = difflib.get_close_matches(text, names, 1)
    raise CheckpointError(
        "no such model or folder",
        got=repr(text),
        do=f"Did you mean {close[0]!r}?"
        if close
        else f"Give a checkpoint folder, or one of: {', '.join(names)}.",
    )


BUNDLED = ("mini",)


def pick_device(device: str | None) -> str:
    """Return the device to use: as given, else CUDA, else Apple's, else the processor."""
    import torch

    if device is None:
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    kind, _, number = str(device).partition(":")
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    last = torch.cuda.device_count() if kind == "cuda" else 1
    if not there.get(kind, False) or (number and not (number.isdecimal() and int(number) < last)):
        raise SettingError(
            f"device {device!r} is not here",
            do=f"Use one of: {', '.join(k for k, ok in there.items() if ok)}.",
        )
    return str(device)


def _dtype(dtype: Any) -> Any:
    import torch

    if dtype is None or isinstance(dtype, torch.dtype):
        return dtype
    if dtype not in DTYPES:
        raise SettingError("no such dtype", got=repr(dtype), do=f"Use one of: {', '.join(DTYPES)}.")
    return getattr(torch, dtype)
