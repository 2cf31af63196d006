"""What a perfect pointer gives with each drawer, and what each of its errors costs: results/pointing.{json,md}.

    python -m benchmarks.pointing DENSE_FOLDER --pictures 60 --error-pictures 20 --out results

The world's oracle points over HTTP at true boxes and one true inner point, so the drawer is all that errs; then with
one kind of error at a time, with and without a second look. The oracle judges at its second look by the true boxes;
faults of coordinates (shifted, swapped, resized) meet both looks alike.
"""

from __future__ import annotations

import argparse
import json
import threading
import time
from pathlib import Path

import numpy as np

import askmask
from askmask.errors import AskMaskError
from askmask.imaging.mask import Mask
from askmask.imaging.overlap import iou
from askmask.world.oracle import Errors, Gallery, Oracle, read_truth
from askmask.world.oracle_server import OracleServer

KINDS = {
    "none": Errors(), "shifted": Errors(shifted=0.2), "swapped axes": Errors(swapped=0.2),
    "silent resize": Errors(resized=0.2), "missing instance": Errors(missing=0.2), "wrong instance": Errors(wrong=0.2),
    "malformed": Errors(json=0.2),
}  # fmt: skip


def measure(ask, scenes) -> dict[str, float]:
    """Ask every question of every scene; an answer that failed counts as an empty mask, and is counted."""
    ious, right_nothing, nothing, failed, calls = [], 0, 0, 0, 0
    start = time.perf_counter()
    for scene in scenes:
        for question, answer in ask(scene):
            mask = Mask.empty(scene.rgb.shape[:2]) if answer is None else answer.mask
            failed += answer is None
            calls += 0 if answer is None else answer.usage.get("calls", 0)
            if question.mask.any():
                ious.append(iou(mask.to_array(), question.mask))
            else:
                nothing += 1
                right_nothing += answer is not None and not answer.found
                ious.append(1.0 if answer is not None and not answer.found else 0.0)
    answers = len(ious)
    draws = np.random.default_rng(0).choice(ious, (1000, answers)).mean(axis=1)
    return {
        "gIoU": float(np.mean(ious)), "low": float(np.quantile(draws, 0.025)), "high": float(np.quantile(draws, 0.975)),
        "N_acc": right_nothing / nothing if nothing else float("nan"), "n": answers, "failed": failed,
        "calls": calls / answers, "seconds": (time.perf_counter() - start) / answers,
    }  # fmt: skip


def asking(model):
    def ask(scene):
        session = model.open(scene.rgb)
        for question in scene.questions:
            try:
                yield question, session.ask_many([question.text])[0]
            except AskMaskError:
                yield question, None

    return ask


def pointed(scenes, errors, drawer, looks=1):
    server = OracleServer(Oracle(Gallery(scenes), errors))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    model = askmask.load(
        "point", vlm_model="oracle-1", base_url=server.address, drawer=drawer, looks=looks, device="cpu"
    )
    try:
        return measure(asking(model), scenes)
    finally:
        server.shutdown()
        server.server_close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pictures", type=int, default=60)
    parser.add_argument("--error-pictures", type=int, default=20)
    parser.add_argument("--out", type=Path, default=Path("results"))
    given = parser.parse_args()
    scenes = list(read_truth(given.folder))[: given.pictures]
    rows = [{"model": "mini alone", **measure(asking(askmask.load("mini", device="cpu")), scenes)}]
    for drawer in ("classical", "mini"):
        rows.append({"model": f"perfect pointer + {drawer}", **pointed(scenes, Errors(), drawer)})
    print(*rows, sep="\n", flush=True)
    errors = []
    for kind, rates in KINDS.items():
        for looks in (1, 2):
            few = scenes[: given.error_pictures]
            errors.append({"error": kind, "looks": looks, **pointed(few, rates, "mini", looks)})
            print(errors[-1], flush=True)
    facts = {"data": "tabletop-1", "pictures": len(scenes), "rate": 0.2, "drawers": rows, "errors": errors}
    (given.out / "pointing.json").write_text(json.dumps(facts, indent=1) + "\n")
    (given.out / "pointing.md").write_text(page(facts))


def page(facts: dict) -> str:
    lines = [
        "# A model that points, measured", "",
        f"tabletop-1, the first {facts['pictures']} pictures, {facts['drawers'][0]['n']} prompts asked alone; 95 % "
        "bootstrap intervals over prompts. The pointer is the world's oracle over HTTP; made by "
        "`python -m benchmarks.pointing`.",
        "", "| who answers | gIoU % | N_acc % | calls | seconds |", "| --- | --- | --- | --- | --- |",
    ]  # fmt: skip
    lines += [f"| {row['model']} | {_cells(row)}" for row in facts["drawers"]]
    lines += [
        "", f"Each error at a rate of {facts['rate']} (of replies; missing and wrong: of instances), drawer `mini`, "
        f"{facts['errors'][0]['n']} prompts:", "",
        "| error | looks | gIoU % | N_acc % | calls | seconds | failed |", "| --- | --- | --- | --- | --- | --- | --- |",
    ]  # fmt: skip
    lines += [
        f"| {row['error']} | {row['looks']} | {_cells(row)} {row['failed']} |" for row in facts["errors"]
    ]
    lines += [
        "", "Faults of coordinates meet both looks alike, and the oracle judges by true boxes: a real model's second look is "
        "worth less. An answer that failed (a reply unreadable twice) is an error for the user; here it counts as an empty "
        "mask.", "",
    ]  # fmt: skip
    return "\n".join(lines)


def _cells(row: dict) -> str:
    span = f"{100 * row['gIoU']:.1f} ({100 * row['low']:.1f} to {100 * row['high']:.1f})"
    return f"{span} | {100 * row['N_acc']:.1f} | {row['calls']:.2f} | {row['seconds']:.2f} |"


if __name__ == "__main__":
    main()
