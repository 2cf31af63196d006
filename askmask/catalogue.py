"""Every model by name: what it is for, its size, licence, what it needs, and whether it is on this machine."""

from __future__ import annotations

from dataclasses import dataclass

from askmask.hub import RELEASES, is_here
from askmask.loading import BUNDLED, POINT
from askmask.pointing.choice import LOCAL, known
from askmask.runs.content_hash import cache_root
from askmask.segmenters.segmenter import SAM2


@dataclass(frozen=True, slots=True)
class Listed:
    """One line. `role`: model (ask it), pointer or drawer (of `point`); `here`: None where nothing is fetched."""

    name: str
    role: str
    purpose: str
    download: str
    memory: str
    licence: str
    needs: str
    here: bool | None


# name -> what for, download, memory, licence; sizes: 2 bytes for each parameter that the name or its authors state
_LOCAL = {
    "qwen3-vl-2b": ("questions and conversation", "4 GB", "6 GB", "Apache-2.0 (check it)"),
    "qwen3-vl-4b": ("questions and conversation", "9 GB", "11 GB", "Apache-2.0 (check it)"),
    "qwen3-vl-8b": ("questions and conversation, the best", "18 GB", "20 GB", "Apache-2.0 (check it)"),
    "qwen2.5-vl-3b": ("questions and conversation", "8 GB", "9 GB", "of Qwen (check it)"),
    "qwen2.5-vl-7b": ("questions and conversation", "17 GB", "19 GB", "Apache-2.0 (check it)"),
}
# Sizes of SAM 2.1 and EdgeTAM: 4 bytes for each of the parameters that their authors state (39, 46, 81, 224; 14 M).
_DRAWERS = {
    "sam2": ("as sam2.1-large, older", "900 MB", "2 GB"),
    "sam2.1-tiny": ("outlines, the default", "160 MB", "1 GB"),
    "sam2.1-small": ("outlines", "180 MB", "1 GB"),
    "sam2.1-base-plus": ("outlines", "320 MB", "1.5 GB"),
    "sam2.1-large": ("the best outlines", "900 MB", "2 GB"),
    "edgetam": ("outlines, quick on a processor", "56 MB", "1 GB"),
    "sam3": ("outlines; weights of your own", "3.4 GB", "4 GB"),
}
_GATED = "SAM License, asked for at its Hub page"


def listed() -> list[Listed]:
    """Return all models: those to ask, those kept under a name, those that draw."""
    rows = [
        Listed(
            name, "model", "simulated tables; no photographs", "none", "0.3 GB", "Apache-2.0", "nothing", True
        )
        for name in BUNDLED
    ]
    rows.append(
        Listed(
            POINT,
            "model",
            "photographs: a VLM points, a segmenter draws",
            "the drawer's",
            "the drawer's",
            "the parts'",
            "a VLM server, a key or a local VLM",
            None,
        )
    )
    for name, choice in sorted(known().items()):
        at = choice.base_url or choice.pointer
        rows.append(
            Listed(
                name, "model", f"kept: {choice.vlm_model or choice.pointer} + {choice.drawer}", "-", "-", "-",
                f"${choice.api_key_env}, {at}" if choice.api_key_env else at, None,
            )
        )  # fmt: skip
    for name in RELEASES:
        kept = any((cache_root() / name).glob("*/card.json"))
        rows.append(
            Listed(
                name,
                "model",
                "photographs, one pass",
                "9 GB",
                "9.5 GB",
                "check it",
                "16 GB, better a GPU",
                kept,
            )
        )
    rows += _pointers()
    rows += [
        Listed(
            "classical",
            "drawer",
            "by colour; for tests, offline",
            "none",
            "0.1 GB",
            "Apache-2.0",
            "nothing",
            True,
        ),
        Listed("mini", "drawer", "simulated tables", "none", "0.3 GB", "Apache-2.0", "nothing", True),
    ]
    rows += [
        Listed(
            name,
            "drawer",
            *_DRAWERS[name],
            _GATED if name == "sam3" else "Apache-2.0 (check it)",
            "timm, network once" if name == "edgetam" else "network once",
            is_here(repo),
        )
        for name, repo in SAM2.items()
    ]
    return rows


def _pointers() -> list[Listed]:
    """Return what can point in `point`: `--pointer` and, of local ones, `--vlm-model`."""
    role, here = "pointer", None
    rows = [
        Listed("openai", role, "any OpenAI-compatible server", "-", "-", "the model's", "--base-url or a key", here),
        Listed("google", role, "Gemini by Google's SDK", "-", "-", "its terms", "askmask[google], a key", here),
        Listed("moondream", role, "noun phrases", "-", "-", "its terms", "a key, or --base-url", here),
        Listed(
            "grounding-dino", role, "noun phrases, the best boxes", "690 MB", "2 GB", "Apache-2.0 (check it)",
            "network once", is_here("IDEA-Research/grounding-dino-tiny"),
        ),
        Listed(
            "sam3", role, "noun phrases, every instance; draws too", "3.4 GB", "6 GB", _GATED, "network once",
            is_here(SAM2["sam3"]),
        ),
    ]  # fmt: skip
    rows += [
        Listed(f"local {name}", role, *_LOCAL[name], "network once, better a GPU", is_here(repo))
        for name, repo in LOCAL.items()
    ]
    return rows
