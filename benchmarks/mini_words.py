"""Score how a model's words compose, on words-1: by kind, by what is held out, by how it is said; and calibration.

    python benchmarks/mini_words.py DENSE_FOLDER [--model mini] [--against JSON] [--out results/mini/words-1]

DENSE_FOLDER: `askmask world make --fixed words-1 --dense --out DIR`. Intervals: bootstrap over scenes, 95 %.
ECE is over ten bins of equal width: of the score against IoU, where a mask was given; of presence against truth.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from mini_on_world import interval, ious, truth_of

import askmask
from askmask.formats.dense import read_shard, shards
from askmask.world.compositions import TESTS

WRONG = 0.5  # a mask whose IoU is less is wrong; a score of so much is sure


def rows_of(model, folder, limit):
    """Yield one dict per prompt, and its picture."""
    views = 0
    for path in shards(folder):
        shard = read_shard(path)
        for row in range(len(shard.rgb)):
            if views == limit:
                return
            views += 1
            scene, view = shard.facts(row)
            objects = shard.objects[row]
            answers = model.open(shard.rgb[row]).ask_many([p["prompt"] for p in view["prompts"]])
            for prompt, answer in zip(view["prompts"], answers, strict=True):
                truth = truth_of(prompt, objects, shard.parts[row])
                said = answer.mask.to_array()
                yield {
                    "scene": scene["seed"],
                    "kind": prompt["kind"],
                    "test": prompt["facts"]["test"],
                    "said as": prompt["facts"]["said_as"],
                    "prompt": prompt["prompt"],
                    "present": not truth.no_target,
                    "found": answer.found,
                    "right": float(answer.found != truth.no_target),
                    "named": float(not answer.found or any("I do not know" in n for n in answer.notices)),
                    "score": answer.score,
                    "presence": answer.presence,
                    "iou": ious(truth, [said])[0],
                    "pictures": (shard.rgb[row], truth.mask.to_array(), said),
                }


def ece(sure, true):
    """Expected calibration error over ten bins of equal width."""
    sure, true = np.asarray(sure), np.asarray(true, float)
    bins = np.minimum((sure * 10).astype(int), 9)
    gaps = [abs(sure[bins == b].mean() - true[bins == b].mean()) * (bins == b).mean() for b in set(bins)]
    return round(float(sum(gaps)), 4)


def sure(rows):
    """The share of some masks that score a half or more."""
    return round(sum(row["score"] >= WRONG for row in rows) / max(1, len(rows)), 4)


def by(rows, key):
    groups = defaultdict(list)
    for row in rows:
        groups[row[key]].append(row)
    return groups


def report(rows):
    there = [row for row in rows if row["present"]]
    absent = [row for row in rows if not row["present"]]
    found = {}
    for name, group in {"all": rows, **by(rows, "test")}.items():
        shown = [row for row in group if row["found"]]
        wrong = [row for row in shown if row["iou"] < WRONG]
        right = [row for row in shown if row["iou"] >= WRONG]
        found[name] = {
            "giou": interval([row for row in group if row["present"]], "iou"),
            "target accuracy": interval([row for row in group if row["present"]], "right"),
            "no-target accuracy": interval([row for row in group if not row["present"]], "right"),
            "score ECE": ece([row["score"] for row in shown], [row["iou"] for row in shown]),
            "presence ECE": ece([row["presence"] for row in group], [row["present"] for row in group]),
            "wrong masks": len(wrong),
            "of them sure": sure(wrong),
            "of right masks sure": sure(right),
        }
    kinds = {
        kind: {test: interval([r for r in group if r["test"] == test], "iou", draws=200) for test in TESTS}
        for kind, group in sorted(by(there, "kind").items())
    }
    unknown = [row for row in absent if row["kind"] == "unknown"]
    return {
        "tests": found,
        "kinds": kinds,
        "said as": {name: interval(group, "iou") for name, group in sorted(by(there, "said as").items())},
        "unknown words": {
            test: {
                "nothing found": interval([r for r in unknown if r["test"] == test], "right"),
                "nothing found, or named": interval([r for r in unknown if r["test"] == test], "named"),
            }
            for test in ("ordinary", "paraphrase")
        },
    }


def markdown(found, before):
    def said(value):
        return "-" if value is None else f"{value['mean']:.3f} ({value['low']:.3f}-{value['high']:.3f})"

    def was(*keys):
        value = before
        for key in keys:
            value = value.get(key) if value else None
        return "-" if value is None else f"{value['mean']:.3f}" if isinstance(value, dict) else str(value)

    lines = [f"# {found['model']} on {found['data']}", "", found["note"], ""]
    lines += ["Before: the weights that were never taught these prompts.", ""] if before else []
    lines += [
        "| held out | n with a target | gIoU (95 %) | before | target | no-target | score ECE | presence ECE "
        "| wrong masks | of them score >= .5 | of right masks |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, row in found["tests"].items():
        lines.append(
            f"| {name} | {row['giou']['prompts']} | {said(row['giou'])} | {was('tests', name, 'giou')} "
            f"| {said(row['target accuracy'])} | {said(row['no-target accuracy'])} | {row['score ECE']} "
            f"| {row['presence ECE']} | {row['wrong masks']} (before {was('tests', name, 'wrong masks')}) "
            f"| {row['of them sure']} (before {was('tests', name, 'of them sure')}) "
            f"| {row['of right masks sure']} (before {was('tests', name, 'of right masks sure')}) |"
        )
    lines += ["", "gIoU by kind:", "", "| kind | " + " | ".join(f"{t} | before" for t in TESTS) + " |"]
    lines += ["|---" * (1 + 2 * len(TESTS)) + "|"]
    for kind, row in found["kinds"].items():
        cells = [f"{said(row[test])} | {was('kinds', kind, test)}" for test in TESTS]
        lines.append(f"| {kind} | " + " | ".join(cells) + " |")
    lines += ["", "| said as | n | gIoU | before |", "|---|---|---|---|"]
    for name, value in found["said as"].items():
        lines.append(f"| {name} | {value['prompts']} | {said(value)} | {was('said as', name)} |")
    lines += ["", "| unknown words | n | nothing found | before | nothing found, or named in a notice |"]
    lines += ["|---|---|---|---|---|"]
    for test, row in found["unknown words"].items():
        nothing = row["nothing found"]
        lines.append(
            f"| {test} | {nothing['prompts']} | {said(nothing)} "
            f"| {was('unknown words', test, 'nothing found')} | {said(row['nothing found, or named'])} |"
        )
    return "\n".join(lines) + "\n"


def draw_worst(rows, path):
    """Draw the worst answer of each of the ten kinds with the lowest mean: truth green, answer orange."""
    from PIL import Image, ImageDraw

    kinds = sorted(by(rows, "kind").values(), key=lambda group: np.mean([row["iou"] for row in group]))
    page = Image.new("RGB", (5 * 250, 2 * 250), "white")
    pen = ImageDraw.Draw(page)
    for number, group in enumerate(kinds[:10]):
        row = min(group, key=lambda row: row["iou"])
        rgb, truth, said = row["pictures"]
        picture = rgb.copy()
        for mask, colour in ((truth, (40, 200, 60)), (said, (255, 140, 0))):
            picture[mask] = picture[mask] // 2 + np.array(colour, np.uint8) // 2
        x, y = number % 5 * 250, number // 5 * 250
        page.paste(Image.fromarray(picture).resize((192, 192)), (x + 10, y + 40))
        words = row["prompt"]
        pen.text((x + 10, y + 6), row["kind"], "black")
        pen.text((x + 10, y + 20), words[:40], "black")
    page.save(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder")
    parser.add_argument("--model", default="mini")
    parser.add_argument("--views", type=int, default=-1)
    parser.add_argument("--against", help="an earlier JSON, whose numbers stand beside")
    parser.add_argument("--out", default="results/mini/words-1")
    options = parser.parse_args()
    torch.set_num_threads(1)
    began = time.time()
    model = askmask.load(options.model, device="cpu")
    rows = list(rows_of(model, options.folder, options.views))
    note = (
        f"{len(rows)} prompts over {len({row['scene'] for row in rows})} scenes, "
        f"protocol {model.backend.protocol_name}, "
        f"presence threshold {model.backend.config.presence_threshold}, {platform.machine()}, 1 thread, "
        f"{time.time() - began:.0f} s, torch {torch.__version__}."
    )
    found = {"model": model.name, "data": Path(options.folder).name, "note": note} | report(rows)
    before = json.loads(Path(options.against).read_text()) if options.against else None
    out = Path(options.out)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.with_suffix(".json").write_text(json.dumps(found, indent=1) + "\n")
    text = markdown(found, before)
    out.with_suffix(".md").write_text(text)
    draw_worst([row for row in rows if row["present"]], out.with_name(out.name + "-worst.png"))
    print(text)


if __name__ == "__main__":
    main()
