"""Build dialogues from simulated pictures under kills: what is lost, what leaks, how much is true, what it costs.

    askmask world make --split val --start 300 --count 50 --size 160 --views 1 --prompts 40 --dense --out truth
    python benchmarks/prist_builder.py --data truth --kills 10 --out results

An undisturbed run and one that is killed with SIGKILL again and again, against one oracle with set mistakes. What they
made is held against the world's truth:

    mask       the last mask is the thing that `focus` names (IoU 0.7)
    path       the person's turns lead to exactly this thing, and every turn points at what still fits
    turns      masks at the turns before that show the thing named
    nothing    turns after which rightly nothing is marked
    right      mask and path both

beside the same of all that reached the last check, what it declined included. The price of a token is assumed.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

from engine_kill import made_by, replies_in, run_under_kills
from PIL import Image

from askmask.conversation import Example
from askmask.engine.dialogues.store import DialogueStore
from askmask.formats import open_dataset
from askmask.formats.own import read_examples
from askmask.imaging.files import read_picture
from askmask.imaging.mask import Mask
from askmask.runs.json_text import read_rows
from askmask.runs.whole_files import write_json, write_text
from askmask.world.oracle import FITS_IOU, Gallery, TrueScene, read_truth
from askmask.world.oracle_dialogues import fitting, leads_to

ERRORS = "missed=0.05,attribute=0.1,box=0.1,verdict=0.1,named=0.1,told=0.15,astray=0.15,untrue=0.1,"
ERRORS += "json=0.03,truncate=0.01,rate_limit=0.03,server=0.03,drop=0.03"
PRICE = "0.30,2.50"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("/tmp/prist-builder"))
    parser.add_argument("--out", type=Path, default=Path("results"))
    parser.add_argument("--pictures", type=int, default=50)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--concurrency", type=int, default=8)
    parser.add_argument("--errors", default=ERRORS)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    report = measured(args)
    args.out.mkdir(parents=True, exist_ok=True)
    write_json(args.out / "prist.json", report, indent=1)
    write_text(args.out / "prist.md", page(report))
    print(page(report))
    if not report["kills"]["same_store"] or report["kills"]["answered_calls_repeated"]:
        sys.exit(1)


def measured(args) -> dict:
    """Run both and hold them against each other and the truth."""
    shutil.rmtree(args.work, ignore_errors=True)
    pictures = args.work / "pictures"
    pictures.mkdir(parents=True)
    scenes = [scene for scene, _ in zip(read_truth(args.data), range(args.pictures), strict=False)]
    for number, scene in enumerate(scenes):
        Image.fromarray(scene.rgb).save(pictures / f"{number:03d}.png")
    log = args.work / "oracle.jsonl"
    command = [sys.executable, "-m", "askmask", "world", "oracle", "--data", str(args.data), "--port", "0"]
    command += ["--errors", args.errors, "--log", str(log)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        address = server.stdout.readline().split()[-1]
        start = [sys.executable, "-m", "askmask", "build", "prist", str(pictures), "--model", "oracle-1"]
        start += ["--base-url", address, "--concurrency", str(args.concurrency), "--first-wait", "0.02"]
        start += ["--price", PRICE]
        calm, rough = args.work / "calm", args.work / "rough"
        began = time.monotonic()
        subprocess.run([*start, "--out", str(calm)], stderr=subprocess.DEVNULL, check=False)
        seconds = time.monotonic() - began
        calm_lines = len(log.read_text().splitlines())
        kills, code, repeated = run_under_kills(
            start, rough, log, calm_lines, kills=args.kills, seed=args.seed, file=DialogueStore.FILE
        )
    finally:
        server.terminate()
        server.wait()
    lines = [json.loads(line) for line in log.read_text().splitlines()[calm_lines:]]
    with DialogueStore(calm) as one, DialogueStore(rough) as other:
        same, unfinished = (
            one.digest() == other.digest(),
            [r for r in other.pictures() if not other.finished(r.sha256)],
        )
        kept = other.query("SELECT COUNT(*) FROM replies")[0][0]
    known = replies_in(rough, DialogueStore.FILE)
    stats = [json.loads((run / "data/stats.json").read_text()) for run in (calm, rough)]
    files = [(run / "data/examples.jsonl").read_bytes() for run in (calm, rough)]
    gallery = Gallery(scenes)
    read = list(open_dataset(f"prist:{rough / 'data'}@train"))
    return {
        "kills": {
            "kills": kills, "exit_code_of_the_last": code, "same_store": same, "same_data_set": files[0] == files[1],
            "unfinished_pictures": len(unfinished), "replies_kept": kept,
            "calls_answered": sum(bool(line["id"]) for line in lines),
            "in_flight_at_kills": sum(bool(line["id"]) and line["id"] not in known for line in lines),
            "answered_calls_repeated": len(repeated),
        },
        "built": {k: v for k, v in stats[1].items() if k not in ("cost", "digest")},
        "read_by_prist_reader": len(read),
        "kept": truth_of(read_examples(rough / "data"), gallery),
        "declined": declined(rough / "data", gallery),
        "cost": stats[0]["cost"]
        | {"price": PRICE, "usd_per_dialogue": stats[0]["cost"]["usd"] / max(1, stats[0]["dialogues"])},
        "undisturbed_seconds": round(seconds, 1),
        "pictures": len(scenes), "errors": args.errors, "made_by": made_by("prist_builder"),
    }  # fmt: skip


def truth_of(examples, gallery: Gallery) -> dict:
    """Count what of the dialogues that are kept is true: name -> [right, of how many]."""
    counts: dict[str, list[int]] = {name: [0, 0] for name in ("right", "mask", "path", "turns", "nothing")}

    def count(name: str, right: bool) -> None:
        counts[name][0] += right
        counts[name][1] += 1

    for example in examples:
        scene = scene_of(example, gallery)
        last = example.rounds[-1]
        mask = shows(scene, last.meta["focus"], last.masks[0])
        turns = [
            {"person": r.text, "points_at": [s.phrase for s in r.segments or ()]} for r in example.rounds[:-1]
        ]
        led = leads_to(scene, turns)
        path = led is not None and [led] == fitting(scene, last.meta["focus"])
        count("mask", mask)
        count("path", path)
        count("right", mask and path)
        for round in example.rounds[:-1]:
            if round.meta["kind"] == "nothing":
                question = scene.question(round.text)
                count("nothing", question is not None and not question.mask.any())
            for segment in round.segments or ():
                count("turns", shows(scene, segment.phrase, segment.mask))
    return counts


def declined(data: Path, gallery: Gallery) -> dict:
    """Count the declined dialogues whose last mask is right all the same."""
    rows = [
        row
        for _, row in read_rows(data / "rejects.jsonl")
        if row["grain"] == "dialogue" and not row["verdict"]
    ]
    right = 0
    for row in rows:
        if (data / row["image"]).is_file():
            scene = gallery.scenes[gallery.recognise(read_picture(data / row["image"]).rgb)]
            right += shows(scene, row["prompt"], Mask.from_dict(row["mask"]))
    return {"dialogues": len(rows), "with_a_right_mask": right}


def scene_of(example: Example, gallery: Gallery) -> TrueScene:
    """Return the truth of an example's picture."""
    return gallery.scenes[gallery.recognise(read_picture(example.image).rgb)]


def shows(scene: TrueScene, name: str, mask: Mask) -> bool:
    """Whether a mask is the one thing that a name fits."""
    found = fitting(scene, name)
    return len(found) == 1 and Mask.from_array(found[0].mask).iou(mask) >= FITS_IOU


def page(report: dict) -> str:
    """Return the report as Markdown."""
    kills, built, cost = report["kills"], report["built"], report["cost"]
    rows = [
        f"| {name} | {right} of {of} | {f'{right / of:.3f}' if of else '-'} |"
        for name, (right, of) in report["kept"].items()
    ]
    leak = {k: f"{v:.1%}" for k, v in built["leakage"].items() if v is not None}
    before = {k: f"{v:.1%}" for k, v in built["leakage_before_the_bound"].items() if v is not None}
    return "\n".join([
        "# PRIST builder on simulated pictures", "",
        f"{report['pictures']} pictures, oracle with mistakes ({report['errors']}).",
        f"Made by `{report['made_by']}`.", "",
        f"- {built['dialogues_written']} dialogues written, {built['dialogues']} kept, turns: "
        + ", ".join(f"{n} {kind}" for kind, n in built["turns"].items()),
        f"- dropped by rule: {', '.join(f'{n} {rule}' for rule, n in built['dropped_by_rule'].items())}; for review: "
        f"{built['rejects']}; undecided units: {built['undecided']}",
        f"- nodes that several paths share: {built['shared_nodes']} (paths: {built['paths']})",
        f"- leakage, by the person {leak['person']} (before the bound {before['person']}), by anyone {leak['anyone']}",
        f"- {kills['kills']} kills: same store {kills['same_store']}, same data set {kills['same_data_set']}, answered "
        f"calls repeated {kills['answered_calls_repeated']} of {kills['calls_answered']}, in flight at kills "
        f"{kills['in_flight_at_kills']}, unfinished pictures {kills['unfinished_pictures']}",
        f"- undisturbed: {cost['calls']} calls, {cost['input_tokens']} tokens in, {cost['output_tokens']} out; at an "
        f"assumed price of {cost['price']} dollars a million ${cost['usd']:.3f}, ${cost['usd_per_dialogue']:.4f} a "
        f"dialogue; {report['undisturbed_seconds']} s",
        f"- read back by the reader of PRIST's files: {report['read_by_prist_reader']} dialogues of split train", "",
        "| true, of what is kept | | share |", "|---|---:|---:|", *rows, "",
        f"Declined by the last check: {report['declined']['dialogues']}, of which "
        f"{report['declined']['with_a_right_mask']} with a right mask (their words may lead elsewhere).",
    ]) + "\n"  # fmt: skip


if __name__ == "__main__":
    main()
