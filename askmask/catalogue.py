"""Every model by name: what it is for, its size, licence, what it needs, and whether it is on this machine."""

from __future__ import annotations

from dataclasses import dataclass

from askmask.hub import RELEASES, is_here
from askmask.loading import BUNDLED, POINT
from askmask.pointing.choice import known
from askmask.runs.content_hash import cache_root
from askmask.segmenters.segmenter import SAM2


@dataclass(frozen=True, slots=True)
class Listed:
    """One line. `role`: model (ask it) or drawer (of a model that points); `here`: None where nothing is fetched."""

    name: str
    role: str
    purpose: str
    download: str
    memory: str
    licence: str
    needs: str
    here: bool | None


# Sizes of SAM 2.1 and EdgeTAM: 4 bytes for each of the parameters that their authors state (39, 46, 81, 224; 14 M).
_DRAWERS = {
    "sam2": ("as sam2.1-large, older", "900 MB", "2 GB"),
    "sam2.1-tiny": ("outlines, quick on a processor", "160 MB", "1 GB"),
    "sam2.1-small": ("outlines", "180 MB", "1 GB"),
    "sam2.1-base-plus": ("outlines", "320 MB", "1.5 GB"),
    "sam2.1-large": ("the best outlines", "900 MB", "2 GB"),
    "edgetam": ("outlines, the smallest", "56 MB", "1 GB"),
}


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
        Listed(name, "drawer", *_DRAWERS[name], "Apache-2.0 (check it)", "network once", is_here(repo))
        for name, repo in SAM2.items()
    ]
    return rows
