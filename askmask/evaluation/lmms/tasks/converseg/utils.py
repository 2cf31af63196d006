"""Functions that the task beside this file calls."""

from functools import partial
from typing import Any

from askmask.evaluation.lmms.results import aggregation
from askmask.evaluation.lmms.results import process_results as _process

process_results = partial(_process, protocol="converseg")
giou = aggregation("gIoU")
ciou = aggregation("cIoU")
n_acc = aggregation("N_acc")
t_acc = aggregation("T_acc")
pr_0_5 = aggregation("Pr@0.5")
n_missing = aggregation("n_missing")


def doc_to_visual(doc: dict[str, Any]) -> list[Any]:
    """Return the pictures of a document."""
    return [doc["image"].convert("RGB")]


def doc_to_text(doc: dict[str, Any]) -> str:
    """Return the prompt."""
    return str(doc.get("expression") or doc["prompt"])
