"""What a perfect pointer gives with each drawer, and what each of its errors costs: results/pointing.{json,md}.

    askmask world make --fixed tabletop-1 --dense --out data/tabletop-1
    python benchmarks/pointing.py data/tabletop-1 --pictures 60 --error-pictures 16

The world's oracle points over HTTP at true boxes and one true inner point, so the drawer is all that errs; then with
one kind of error at a time, with and without a second look. The oracle judges at its second look by the true boxes;
faults of coordinates (shifted, swapped, resized) meet both looks alike. Every picture that is done is a line in --work:
the same command goes on where it was.
"""

from __future__ import annotations

import argparse
import threading
import time
from pathlib import Path

import numpy as np

import askmask
from askmask.errors import AskMaskError
from askmask.evaluation.bootstrap import mean_interval
from askmask.imaging.mask import Mask
from askmask.imaging.overlap import iou
from askmask.loading import find_checkpoint
from askmask.model.checkpoint import fingerprint
from askmask.runs.append_log import AppendLog, whole_rows
from askmask.runs.json_text import read_object
from askmask.runs.whole_files import write_json, write_text
from askmask.world.oracle import Errors, Gallery, Oracle, read_truth
from askmask.world.oracle_server import OracleServer

RATE = 0.2
KINDS = {
    "none": "", "shifted": "shifted", "swapped axes": "swapped", "silent resize": "resized",
    "missing instance": "missing", "wrong instance": "wrong", "malformed": "json",
}  # fmt: skip


def asked(model, scene) -> dict:
    """Ask every question about one picture; an answer that failed counts as an empty mask, and is counted."""
    row = {"ious": [], "nothing": [], "failed": 0, "calls": 0}
    session = model.open(scene.rgb)
    start = time.perf_counter()
    for question in scene.questions:
        try:
            answer = session.ask_many([question.text])[0]
        except AskMaskError:
            answer = None
        row["failed"] += answer is None
        row["calls"] += 0 if answer is None else answer.usage.get("calls", 0)
        if question.mask.any():
            mask = Mask.empty(scene.rgb.shape[:2]) if answer is None else answer.mask
            row["ious"].append(float(iou(mask.to_array(), question.mask)))
        else:
            row["nothing"].append(answer is not None and not answer.found)
    return row | {"seconds": time.perf_counter() - start}


def model_of(run: dict, address: str):
    if run["drawer"] is None:
        return askmask.load("mini", device="cpu")
    return askmask.load(
        "point",
        vlm_model="oracle-1",
        base_url=address,
        drawer=run["drawer"],
        looks=run["looks"],
        device="cpu",
    )


def measure(run: dict, scenes: list, done: dict, log: AppendLog) -> dict:
    """Ask about the pictures of a run that are not done, and sum up all."""
    errors = Errors.parse(f"{run['error']}={RATE}" if run["error"] else "")
    server = OracleServer(Oracle(Gallery(scenes), errors))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    rows = []
    try:
        model = None
        for number, scene in enumerate(scenes[: run["pictures"]]):
            key = f"{run['weights']}|{run['drawer']}|{run['error']}|{run['looks']}|{number}"
            if key not in done:
                model = model or model_of(run, server.address)
                done[key] = asked(model, scene)
                log.append({"key": key} | done[key])
            rows.append(done[key])
    finally:
        server.shutdown()
        server.server_close()
    return summed(rows)


def summed(rows: list[dict]) -> dict:
    ious = [value for row in rows for value in row["ious"]]
    pictures = [str(number) for number, row in enumerate(rows) for _ in row["ious"]]
    nothing = [right for row in rows for right in row["nothing"]]
    answers = len(ious) + len(nothing)
    mean, low, high = mean_interval(ious, pictures)
    return {
        "gIoU": mean, "low": low, "high": high, "N_acc": float(np.mean(nothing)) if nothing else None,
        "prompts": answers, "with a target": len(ious), "failed": sum(row["failed"] for row in rows),
        "calls": sum(row["calls"] for row in rows) / answers, "seconds": sum(row["seconds"] for row in rows) / answers,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pictures", type=int, default=60)
    parser.add_argument("--error-pictures", type=int, default=16, help="0: the table of errors stays")
    parser.add_argument("--work", type=Path, default=Path("pointing-work.jsonl"))
    parser.add_argument("--out", type=Path, default=Path("results"))
    given = parser.parse_args()
    scenes = list(read_truth(given.folder))[: given.pictures]
    given.work.touch()
    done = {row["key"]: row for row in whole_rows(given.work)}
    weights = fingerprint(find_checkpoint("mini"))[:16]
    facts = read_object(path) if (path := given.out / "pointing.json").is_file() else {}
    facts |= {"data": given.folder.name, "rate": RATE}
    with AppendLog(given.work) as log:
        facts |= {"drawers": [], "weights": weights, "pictures": given.pictures}
        for drawer in (None, "classical", "mini"):
            run = {"drawer": drawer, "error": "", "looks": 1, "pictures": given.pictures, "weights": weights}
            name = "mini alone" if drawer is None else f"perfect pointer + {drawer}"
            facts["drawers"].append({"model": name} | measure(run, scenes, done, log))
            print(facts["drawers"][-1], flush=True)
        if given.error_pictures:
            facts |= {"errors": [], "error weights": weights, "error pictures": given.error_pictures}
        for kind, error in KINDS.items() if given.error_pictures else ():
            for looks in (1, 2):
                run = {"drawer": "mini", "error": error, "looks": looks, "pictures": given.error_pictures}
                run["weights"] = weights
                facts["errors"].append({"error": kind, "looks": looks} | measure(run, scenes, done, log))
                print(facts["errors"][-1], flush=True)
    write_json(given.out / "pointing.json", facts, indent=1)
    write_text(given.out / "pointing.md", page(facts))


def page(facts: dict) -> str:
    first, error = facts["drawers"][0], facts["errors"][0]
    lines = [
        "# A model that points, measured", "",
        f"{facts['data']}, its first {facts['pictures']} pictures: {first['prompts']} prompts asked alone, "
        f"{first['with a target']} of them with a target. gIoU is of those; N_acc is how many of the others were answered "
        f"with nothing. Weights of `mini`, alone and drawing: {facts['weights']}. Intervals: bootstrap over pictures, 95 %. The pointer is the world's oracle over HTTP, so seconds "
        "are those of drawing and of a local server, on two cores under other load: no measure of speed. Made by "
        "`python benchmarks/pointing.py`.",
        "", "| who answers | gIoU % | N_acc % | calls | seconds |", "| --- | --- | --- | --- | --- |",
    ]  # fmt: skip
    lines += [f"| {row['model']} | {_cells(row)}" for row in facts["drawers"]]
    lines += [
        "", f"Each error at a rate of {facts['rate']} (of replies; missing and wrong: of instances), drawer `mini` "
        f"(weights {facts['error weights']}), the first {facts['error pictures']} pictures, {error['prompts']} prompts:", "",
        "| error | looks | gIoU % | N_acc % | calls | seconds | failed |", "| --- | --- | --- | --- | --- | --- | --- |",
    ]  # fmt: skip
    lines += [
        f"| {row['error']} | {row['looks']} | {_cells(row)} {row['failed']} |" for row in facts["errors"]
    ]
    lines += [
        "", "Faults of coordinates meet both looks alike, and the oracle judges by true boxes: a real model's second look is "
        "worth less. An answer that failed (a reply unreadable twice) is an error for the user; here it counts as an empty "
        "mask, and its calls are not counted.", "",
    ]  # fmt: skip
    return "\n".join(lines)


def _cells(row: dict) -> str:
    span = f"{100 * row['gIoU']:.1f} ({100 * row['low']:.1f} to {100 * row['high']:.1f})"
    nothing = "" if row["N_acc"] is None else f"{100 * row['N_acc']:.1f}"
    return f"{span} | {nothing} | {row['calls']:.2f} | {row['seconds']:.2f} |"


if __name__ == "__main__":
    main()
