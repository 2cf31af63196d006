"""Plug-in for lmms-eval: askmask's models there, and segmentation tasks scored as masks.

lmms-eval passes text alone between model and task. Masks travel as the JSON text its SAM 3 model already writes:

    {"masks": [{"size": [H, W], "counts": "..."}, ...],
     "boxes": [{"x_min", "y_min", "x_max", "y_max"}, ...],   each 0..1 of the picture
     "scores": [0.93, ...]}                                   and, from ours, "no_target" and "text"
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

TASKS = Path(__file__).parent / "tasks"  # for lmms-eval's --include_path


def manifests() -> list[Any]:
    """Return what the entry-point group `lmms_eval.models` asks for. Imports lmms-eval, which is calling."""
    from lmms_eval.models.registry_v2 import ModelManifest

    return [ModelManifest(model_id="askmask", simple_class_path="askmask.evaluation.lmms.model.AskMask")]
