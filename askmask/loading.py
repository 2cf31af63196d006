"""`load`: from a name or a folder to a Model ready to use."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from askmask.errors import CheckpointError, SettingError

if TYPE_CHECKING:
    from askmask.pointing.choice import PointChoice
    from askmask.pointing.pointer import Pointer
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
    threshold: float | None = None,
    **point: Any,
) -> Model:
    """Load a model: `mini` (in the package), `point`, a checkpoint folder, or a release fetched from the Hub.

    `point` (and a name kept with `askmask models save`) is a model that points and one that draws: `vlm_model`,
    `base_url`, `drawer` and the other fields of `askmask.pointing.choice.PointChoice` say which.

    `protocol`: "native", "published-eval" or "published-demo"; None: the one the checkpoint names. `device`:
    "cpu", "cuda", "cuda:1", "mps"; None: the best there is. `dtype` of the language side: "float32", "bfloat16",
    "float16"; None: as stored. `revision` pins a Hub release; `confirm` is asked before a download. `threshold` in
    [0, 1] is the presence from which something counts as found, instead of the checkpoint's own.
    Raises CheckpointError or SettingError, both AskMaskError.
    """
    if (choice := point_choice(name, point)) is not None:
        if threshold is not None:
            raise no_presence(str(name))
        return open_pointing(choice, device=device, confirm=confirm)
    from askmask.backends.neural import NeuralBackend, memory_guard
    from askmask.model.checkpoint import GRAPHS, fingerprint, load_checkpoint
    from askmask.model.config import NetConfig
    from askmask.model.protocols import protocol_named
    from askmask.session import Model

    folder = find_checkpoint(name, revision=revision, confirm=confirm)
    rules = protocol_named(protocol or NetConfig.load(folder).protocol)
    place, kind = pick_device(device), _dtype(dtype)
    with memory_guard(f"the weights in {folder}"):
        net, config = load_checkpoint(folder, device=place, dtype=kind, published_text=rules.published_text)
        # Graphs are of the weights as they are stored, for the processor.
        if (folder / GRAPHS).is_dir() and place.startswith("cpu") and dtype is None:
            from askmask.model.mini.graphs import run_graphs

            net = run_graphs(net, folder / GRAPHS)
    if threshold is not None and (rules.best_of_three or not config.trained_heads.get("presence")):
        raise no_presence(config.name)
    if threshold is not None and not 0 <= threshold <= 1:
        raise SettingError("a threshold lies in 0..1", got=threshold)
    return Model(NeuralBackend(net, config, rules, fingerprint=fingerprint(folder)[:16], threshold=threshold))


def no_presence(name: str) -> SettingError:
    """Return the error for a threshold where no probability decides what is found."""
    return SettingError(
        "a threshold needs a model that was trained to say whether anything matches",
        got=name,
        do="Leave --threshold out.",
    )


def point_choice(name: str | os.PathLike[str], settings: Mapping[str, Any]) -> PointChoice | None:
    """Return the model that points which a name and settings mean; None for a network. Raises SettingError."""
    from askmask.pointing.choice import choice_of, known

    if name == POINT:
        return choice_of(settings)
    if (
        isinstance(name, str)
        and name not in BUNDLED
        and not Path(name).is_dir()
        and (kept := known().get(name))
    ):
        return choice_of(asdict(kept) | dict(settings))
    if settings:
        raise SettingError(
            "these settings are for a model that points",
            got=", ".join(sorted(settings)),
            do="Add --model point.",
        )
    return None


def open_pointing(
    choice: PointChoice, *, device: str | None = None, confirm: Callable[[str], bool] | None = None
) -> Model:
    """Open a model that points and one that draws. Raises SettingError, CheckpointError or MissingExtra."""
    from askmask.backends.pointing import PointingBackend
    from askmask.pointing.meter import Limits
    from askmask.segmenters.segmenter import open_segmenter
    from askmask.session import Model

    place = pick_device(device)
    pointer = open_pointer(choice, device=place, confirm=confirm)
    drawer = open_segmenter(choice.drawer, at=choice.drawer_at, device=place, confirm=confirm)
    limits = Limits(calls=choice.answer_calls, seconds=choice.answer_seconds, usd=choice.answer_usd)
    return Model(
        PointingBackend(pointer, drawer, drawer_name=choice.drawer, looks=choice.looks, limits=limits)
    )


def open_pointer(
    choice: PointChoice, *, device: str = "cpu", confirm: Callable[[str], bool] | None = None
) -> Pointer:
    """Open what points."""
    from askmask.hub import fetch_weights

    if choice.pointer == "sam3":
        from askmask.detectors.sam3 import HUB_NAME, Sam3Pointer

        folder = fetch_weights(choice.vlm_model or HUB_NAME, confirm=confirm)
        return Sam3Pointer(str(folder), device=device)
    if choice.pointer in ("grounding-dino", "moondream"):
        from askmask.detectors.as_pointer import DetectorPointer
        from askmask.detectors.detector import open_detector

        at = choice.base_url if choice.pointer == "moondream" else choice.vlm_model or None
        return DetectorPointer(
            open_detector(
                choice.pointer,
                at=at,
                device=device,
                most=MOST_INSTANCES,
                weights=lambda hub: str(fetch_weights(hub, confirm=confirm)),
            )
        )
    from askmask.pointing.choice import LOCAL
    from askmask.pointing.conventions import convention_of
    from askmask.pointing.pointer import VlmPointer
    from askmask.vlm.opening import ModelChoice, open_vlm
    from askmask.vlm.prices import price_of

    model = choice.vlm_model
    if choice.pointer == "local":
        model = str(fetch_weights(LOCAL.get(model, model), confirm=confirm))
    vlm = open_vlm(
        ModelChoice(
            provider=choice.pointer,
            model=model,
            base_url=choice.base_url,
            api_key_env=choice.api_key_env,
            timeout_s=choice.answer_seconds,
        ),
        allow_floating=True,
        device=device,
    )
    # A folder of the Hub's cache is named by its commit: the family is known by the name that was asked for.
    convention = choice.convention or (
        convention_of(choice.vlm_model).name if choice.pointer == "local" else None
    )
    return VlmPointer(vlm, convention=convention, price=price_of(choice.vlm_model, choice.price))


POINT = "point"
MOST_INSTANCES = 20  # of a phrase, by Grounding DINO


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
    names = [*BUNDLED, *hub.RELEASES, POINT]
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
