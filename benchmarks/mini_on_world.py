"""Score a model on dense truth of the world: gIoU per concept with intervals, presence, baselines, hard subsets.

    python benchmarks/mini_on_world.py DENSE_FOLDER [--model mini] [--views N] [--out results/mini/NAME]

Baselines answer from the *true* objects, so their masks are perfect: "all objects", and each family's shortcut
("the top of each stack" for what can be taken away, and so on). Intervals: bootstrap over scenes, 95 %.
"""

from __future__ import annotations

import argparse
import platform
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch

import askmask
from askmask.conversation import CONCEPTS
from askmask.evaluation.bootstrap import mean_interval
from askmask.evaluation.meter import Meter, count
from askmask.evaluation.predictions import Prediction
from askmask.evaluation.protocols import PROTOCOLS
from askmask.evaluation.scoring import Scored
from askmask.evaluation.truth import Truth
from askmask.formats.dense import answer_masks, read_shard, shards
from askmask.imaging.mask import Mask
from askmask.runs.whole_files import write_json

# Of the smallest object asked for, its share of the picture; of the most hidden one, the share of it that is seen.
SMALL = {"under 1 % of the picture": 0.01, "1 to 4 %": 0.04, "over 4 %": np.inf}
HIDDEN = {"under .6 of it seen": 0.6, ".6 to .95": 0.95, "all of it": np.inf}


def truth_of(prompt, objects, parts):
    """What rightly answers one prompt of a view with these id maps [H, W]."""
    return Truth(
        id="",
        size=objects.shape,
        masks=tuple(map(Mask.from_array, answer_masks(prompt["answer"], objects, parts))),
        ignore=Mask.from_array(np.isin(objects, prompt.get("ignore") or [])),
    )


def ious(truth, guesses):
    """IoU of each mask [H, W] with the truth, by the neutral scorer under its own protocol."""
    rows = [count(truth, Prediction("", (Mask.from_array(guess),))) for guess in guesses]
    return Scored(PROTOCOLS["askmask"], Meter()).ious(rows).tolist()


def sizes_of(prompt, view, pixels):
    """Say how small the smallest object asked for is, and how much of the most hidden one is seen."""
    asked = (str(number) for number in prompt["answer"].get("objects", ()))
    things = [view["objects"][number] for number in asked if number in view["objects"]]  # not the table
    if not things:
        return {}
    share = min(thing["pixels"] for thing in things) / pixels
    seen = min(thing["visible"] for thing in things)
    small = next(name for name, most in SMALL.items() if share < most)
    hidden = next(name for name, most in HIDDEN.items() if seen < most)
    return {"small": small, "hidden": hidden}


def rows_of(model, folder, limit):
    """Yield one dict per prompt: what is true, what the model and the baselines score."""
    views = 0
    for path in shards(folder):
        shard = read_shard(path)
        for row in range(len(shard.rgb)):
            if views == limit:
                return
            scene, view = shard.facts(row)
            prompts = view["prompts"]
            if not prompts:
                continue
            views += 1
            objects, parts = shard.objects[row], shard.parts[row]
            session = model.open(shard.rgb[row])
            answers = session.ask_many([prompt["prompt"] for prompt in prompts])
            everything = (objects > 0) & (objects < 200)
            for prompt, answer in zip(prompts, answers, strict=True):
                truth = truth_of(prompt, objects, parts)
                guesses = {"iou": answer.mask.to_array(), "iou_all_objects": everything}
                for name, ids in (prompt.get("shortcuts") or {}).items():
                    guesses[f"shortcut:{name}"] = np.isin(objects, ids)
                row_ = {
                    "scene": scene["seed"],
                    "concept": prompt["concept"],
                    "family": prompt["family"],
                    "kind": prompt.get("kind", ""),
                    "prompt": prompt["prompt"],
                    "present": not truth.no_target,
                    "found": answer.found,
                    "hard": bool(prompt.get("hard")),
                    "part": "parts" in prompt["answer"],
                    **sizes_of(prompt, view, objects.size),
                } | dict(zip(guesses, ious(truth, guesses.values()), strict=True))
                shortcuts = [value for key, value in row_.items() if key.startswith("shortcut:")]
                row_["best_shortcut"] = max(shortcuts, default=0.0)
                row_["above_shortcut"] = row_["iou"] - row_["best_shortcut"]
                yield row_


def interval(rows, key, draws=1000):
    """Mean and 95 % interval over scenes."""
    if not rows:
        return None
    scenes = [str(row["scene"]) for row in rows]
    mean, low, high = mean_interval([row[key] for row in rows], scenes, resamples=draws)
    return {"mean": round(mean, 4), "low": round(low, 4), "high": round(high, 4), "prompts": len(rows)}


def among(rows, key, names):
    """Intervals of groups of rows that have some value of a key."""
    return {name: interval([row for row in rows if row.get(key) == name], "iou") for name in names}


def report(rows):
    positive = [row for row in rows if row["present"]]
    groups = {concept: [row for row in positive if row["concept"] == concept] for concept in CONCEPTS}
    groups |= {
        "all": positive,
        "parts": [row for row in positive if row["part"]],
        "hard": [row for row in positive if row["hard"]],
        "hard physics": [row for row in positive if row["hard"] and row["concept"] == "physics"],
    }
    table = {
        name: {"model": interval(group, "iou"), "all objects": interval(group, "iou_all_objects")}
        for name, group in groups.items()
        if group
    }
    shortcuts = {}
    for name in sorted({key for row in positive for key in row if key.startswith("shortcut:")}):
        own = [row | {"difference": row["iou"] - row[name]} for row in positive if name in row]
        shortcuts[name.removeprefix("shortcut:")] = {
            subset: {
                "model": interval(chosen, "iou"),
                "shortcut": interval(chosen, name),
                "difference": interval(chosen, "difference"),
            }
            if chosen
            else None
            for subset, chosen in (("all", own), ("hard", [row for row in own if row["hard"]]))
        }
    physics = groups["hard physics"]
    against = {key: interval(physics, key) for key in ("iou", "best_shortcut", "above_shortcut")}
    kinds = defaultdict(list)
    for row in positive:
        kinds[f"{row['concept']}/{row['family']}/{row['kind']}"].append(row)
    for row in rows:
        row["presence_right"] = float(row["found"] == row["present"])
    return {
        "giou": table,
        "hard physics": against if physics else None,
        "shortcuts": shortcuts,
        "the smallest asked for": among(positive, "small", SMALL),
        "the most hidden": among(positive, "hidden", HIDDEN),
        "kinds": {name: interval(group, "iou", draws=200) for name, group in sorted(kinds.items())},
        "target accuracy": interval(positive, "presence_right"),
        "no-target accuracy": interval([row for row in rows if not row["present"]], "presence_right"),
    }


def markdown(found):
    def said(value):
        return "-" if value is None else f"{value['mean']:.3f} ({value['low']:.3f}-{value['high']:.3f})"

    lines = [f"# {found['model']} on {found['data']}", "", found["note"], ""]
    lines += ["| prompts with a target | n | model gIoU (95 %) | all objects |", "|---|---|---|---|"]
    for name, pair in found["giou"].items():
        lines.append(
            f"| {name} | {pair['model']['prompts']} | {said(pair['model'])} | {said(pair['all objects'])} |"
        )
    lines += [
        "",
        f"Target accuracy {said(found['target accuracy'])}, no-target accuracy {said(found['no-target accuracy'])}.",
        "",
    ]
    if hard := found["hard physics"]:
        lines += [
            f"Hard physics, {hard['iou']['prompts']} prompts: model {said(hard['iou'])}; the better of each prompt's "
            f"own shortcuts, with perfect masks, {said(hard['best_shortcut'])}; difference, paired "
            f"{said(hard['above_shortcut'])}.",
            "",
        ]
    lines += [
        "| shortcut (with perfect masks) | model, all | shortcut, all | n hard | model, hard | shortcut, hard "
        "| paired difference, hard |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, pair in found["shortcuts"].items():
        hard = pair["hard"] or {"model": None, "shortcut": None, "difference": None}
        count = hard["model"]["prompts"] if hard["model"] else 0
        lines.append(
            f"| {name} | {said(pair['all']['model'])} | {said(pair['all']['shortcut'])} "
            f"| {count} | {said(hard['model'])} | {said(hard['shortcut'])} | {said(hard['difference'])} |"
        )
    for title in ("the smallest asked for", "the most hidden"):
        lines += ["", f"| {title} | n | gIoU |", "|---|---|---|"]
        lines += [f"| {name} | {row['prompts']} | {said(row)} |" for name, row in found[title].items() if row]
    lines += ["", "| kind | n | gIoU |", "|---|---|---|"]
    lines += [f"| {name} | {value['prompts']} | {said(value)} |" for name, value in found["kinds"].items()]
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder")
    parser.add_argument("--model", default="mini")
    parser.add_argument("--views", type=int, default=-1)
    parser.add_argument("--out", default="results/mini/world")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    began = time.time()
    model = askmask.load(options.model, device="cpu")
    rows = list(rows_of(model, options.folder, options.views))
    found = report(rows)
    scenes = len({row["scene"] for row in rows})
    note = (
        f"{len(rows)} prompts over {scenes} scenes, protocol {model.backend.protocol_name}, "
        f"{platform.machine()}, {options.threads} thread, {time.time() - began:.0f} s, torch {torch.__version__}."
    )
    found = {"model": model.name, "data": Path(options.folder).name, "note": note} | found
    out = Path(options.out)
    write_json(out.with_suffix(".json"), found)
    out.with_suffix(".md").write_text(markdown(found))
    print(markdown(found))


if __name__ == "__main__":
    main()
