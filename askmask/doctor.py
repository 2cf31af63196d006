"""Examine an installation: versions, devices, memory, weights, and whether the networks compute what they should.

The self-test asks the bundled picture of a miniature network with fixed random weights and compares with the
recorded outcome: a torch or transformers that computes something else shows here, before a model is blamed.
"""

from __future__ import annotations

import json
import platform
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from askmask import __version__
from askmask.errors import AskMaskError
from askmask.hub import RELEASES, is_here
from askmask.runs.content_hash import cache_root

if TYPE_CHECKING:
    from askmask.pointing.choice import PointChoice

LIBRARIES = (
    "torch",
    "transformers",
    "peft",
    "safetensors",
    "huggingface_hub",
    "numpy",
    "pillow",
    "pycocotools",
)
SELF_TEST = Path(__file__).parent / "selftest"  # picture.png and expected.json
TOLERANCE = 1e-3


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the examination."""

    ok: bool
    what: str
    found: str


def examine(model: str | None = None) -> Iterator[Finding]:
    """Yield findings, cheap ones first. `model`: also compare this checkpoint's files with their hashes."""
    yield Finding(True, "askmask", f"{__version__}, Python {sys.version.split()[0]}, {platform.platform()}")
    for name in LIBRARIES:
        try:
            yield Finding(True, name, version(name))
        except PackageNotFoundError:
            yield Finding(False, name, "not installed. pip install --force-reinstall askmask")
    yield from _devices()
    yield from _weights(model)
    yield _self_test()


def drawing(choice: PointChoice) -> Finding:
    """Have a model that draws draw a plain disc; weights that are not trained do not."""
    from askmask.loading import pick_device
    from askmask.segmenters.golden_click import ENOUGH, golden_click
    from askmask.segmenters.segmenter import SAM2, open_segmenter

    if choice.drawer_at is None and choice.drawer in SAM2 and not is_here(SAM2[choice.drawer]):
        return Finding(True, choice.drawer, "not on this machine yet: fetched when first used, after a yes")
    try:
        drawer = open_segmenter(choice.drawer, at=choice.drawer_at, device=pick_device(None))
    except AskMaskError as error:
        return Finding(False, choice.drawer, str(error))
    start = time.perf_counter()
    iou = golden_click(drawer)
    took = f"IoU {iou:.2f} with a plain disc, by its box and middle ({time.perf_counter() - start:.1f} s)"
    return Finding(iou >= ENOUGH, choice.drawer, took + ("" if iou >= ENOUGH else ": are these its weights?"))


def pointing(choice: PointChoice) -> Finding:
    """Send the calibration pictures to a model that points."""
    from askmask.loading import open_pointer
    from askmask.pointing.calibrate import calibrate
    from askmask.pointing.meter import Limits, Meter
    from askmask.pointing.pointer import VlmPointer

    try:
        pointer = open_pointer(choice)
        if not isinstance(pointer, VlmPointer):
            return Finding(True, pointer.name, "gives places by itself: nothing to calibrate")
        limits = Limits(
            calls=max(12, choice.answer_calls), seconds=4 * choice.answer_seconds, usd=choice.answer_usd
        )
        verdict = calibrate(pointer, Meter(limits))
    except AskMaskError as error:
        return Finding(False, choice.vlm_model or choice.pointer, str(error))
    return Finding(verdict.kind == "fine", pointer.name, verdict.words)


def _devices() -> Iterator[Finding]:
    import os

    import torch

    try:
        gigabytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
        memory = f", {gigabytes:.0f} GB memory"
    except (ValueError, OSError, AttributeError):  # not on Windows
        memory = ""
    yield Finding(True, "processor", f"{os.cpu_count()} cores, {torch.get_num_threads()} threads{memory}")
    for index in range(torch.cuda.device_count()):
        facts = torch.cuda.get_device_properties(index)
        yield Finding(True, f"cuda:{index}", f"{facts.name}, {facts.total_memory / 2**30:.0f} GB")
    if torch.backends.mps.is_available():
        yield Finding(True, "mps", "Apple GPU")
    if not torch.cuda.is_available() and not torch.backends.mps.is_available():
        yield Finding(True, "accelerator", "none: the processor is used")


def _weights(model: str | None) -> Iterator[Finding]:
    from askmask.loading import BUNDLED, find_checkpoint
    from askmask.model.checkpoint import check_files

    for name in BUNDLED:
        yield _checked(name, lambda name=name: check_files(find_checkpoint(name), hashes=True))
    for name in RELEASES:
        kept = sorted(path.parent for path in (cache_root() / name).glob("*/card.json"))
        yield Finding(True, name, str(kept[-1]) if kept else "not fetched")
    if model is not None and model not in BUNDLED:
        yield _checked(model, lambda: check_files(find_checkpoint(model), hashes=True))


def _checked(name: str, check) -> Finding:
    try:
        card = check()
        return Finding(True, name, f"{len(card['files'])} files equal their hashes")
    except AskMaskError as error:
        return Finding(False, name, str(error))


def _self_test() -> Finding:
    from askmask.answer import Answer
    from askmask.loading import load
    from askmask.model.tiny import make_tiny

    expected = json.loads((SELF_TEST / "expected.json").read_text(encoding="utf-8"))
    start = time.perf_counter()
    try:
        with tempfile.TemporaryDirectory() as folder:
            session = load(make_tiny(folder), device="cpu").open(SELF_TEST / "picture.png")
            answer = session.ask(expected["prompt"])
    except Exception as error:  # whatever breaks here is the finding
        return Finding(False, "self-test", f"{type(error).__name__}: {error}")
    wanted = Answer.from_dict(expected)
    scores = answer.score or 0.0, wanted.score or 0.0  # None: nothing was found, which the masks' IoU tells
    off = max(abs(scores[0] - scores[1]), abs(answer.presence - wanted.presence))
    iou = answer.mask.iou(wanted.mask)
    ok = off < TOLERANCE and iou > 1 - TOLERANCE
    took = f"{time.perf_counter() - start:.1f} s"
    return Finding(ok, "self-test", f"IoU {iou:.4f} with the recorded mask, scores off by {off:.1e} ({took})")
