"""What the engine's verification buys: precision and recall of accepted pairs against the error of the VLM.

Runs the engine over simulated pictures with an oracle that errs at a set rate (`askmask world oracle`), with and
without each verification stage, and holds every accepted pair against the world's truth. Stage 3 changes what is
asked later, so it needs its own run; stage 5 only judges, so "without" it is the same run with its verdicts ignored.

    askmask world make --split val --count 100 --size 256 --prompts 40 --dense --out truth
    python benchmarks/engine_verification.py --data truth --work /tmp/verification --out results
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import subprocess
import sys
import time
from dataclasses import dataclass, field, fields
from pathlib import Path

import numpy as np
from PIL import Image

from askmask.engine.opening import VisionChoice
from askmask.engine.pictures import Picture
from askmask.engine.pipeline import add_pictures
from askmask.engine.runs import Limits, RunPlan, begin, work
from askmask.engine.settings import Settings
from askmask.engine.store import RunStore
from askmask.engine.values import Aligned, Verified
from askmask.imaging.mask import Mask
from askmask.runs.whole_files import write_json
from askmask.vlm.opening import ModelChoice
from askmask.world.oracle import FITS_IOU, Errors, Gallery, read_truth

MISTAKES = (
    "missed attribute box satisfying context negative false_accept false_reject choice".split()
)  # of the answer; the line is left in order here
CONFIGS = ("none", "stage 3", "stage 5", "both")


@dataclass
class Tally:
    """Accepted pairs of one configuration, per picture: (right, accepted)."""

    pictures: list[tuple[int, int]] = field(default_factory=list)

    @property
    def right(self) -> int:
        return sum(r for r, _ in self.pictures)

    @property
    def accepted(self) -> int:
        return sum(a for _, a in self.pictures)

    @property
    def precision(self) -> float:
        return self.right / max(1, self.accepted)

    def interval(self, seed: int = 0) -> tuple[float, float]:
        """95 % bootstrap interval of the precision, over pictures."""
        rng = np.random.default_rng(seed)
        table = np.array(self.pictures)
        drawn = table[rng.integers(0, len(table), (2000, len(table)))].sum(axis=1)  # [2000, 2]
        values = drawn[:, 0] / np.maximum(1, drawn[:, 1])
        return float(np.quantile(values, 0.025)), float(np.quantile(values, 0.975))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="dense truth")
    parser.add_argument("--work", type=Path, required=True, help="folder for the runs; kept, so it resumes")
    parser.add_argument("--out", type=Path, default=Path("results"))
    parser.add_argument("--main-error", type=float, default=0.15, help="on all pictures")
    parser.add_argument("--curve", default="0,0.05,0.1,0.2,0.3", help="further rates, on fewer pictures")
    parser.add_argument("--curve-pictures", type=int, default=60)
    parser.add_argument("--pictures", type=int, default=200)
    parser.add_argument("--segmenter", default="classical")
    parser.add_argument("--add", action="store_true", help="keep the other rates that the results file has")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    gallery = Gallery([scene for _, scene in zip(range(args.pictures), read_truth(args.data), strict=False)])
    folder = args.work / "pictures"
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number, scene in enumerate(gallery.scenes):
        paths.append(folder / f"scene-{number:05d}.png")
        if not paths[-1].exists():
            Image.fromarray(scene.rgb).save(paths[-1])
    rates = sorted({args.main_error, *(float(r) for r in args.curve.split(",") if r)})
    rows = []
    for rate in rates:
        count = args.pictures if rate == args.main_error else min(args.curve_pictures, args.pictures)
        started = time.perf_counter()
        tallies, regions, calls = measure(args, gallery, paths[:count], rate)
        seconds = time.perf_counter() - started
        baseline = tallies["none"].right
        for config in CONFIGS:
            tally = tallies[config]
            rows.append(
                {
                    "error": rate,
                    "pictures": count,
                    "verification": config,
                    "accepted": tally.accepted,
                    "right": tally.right,
                    "precision": round(tally.precision, 4),
                    "interval95": [round(v, 4) for v in tally.interval(args.seed)],
                    "right_per_picture": round(tally.right / count, 2),
                    "right_kept": round(tally.right / max(1, baseline), 4),
                }
            )
        print(f"error {rate}: {seconds:.0f} s, {calls} calls", *rows[-4:], sep="\n  ", flush=True)
        rows[-1] |= {"regions": regions, "calls": calls, "seconds": round(seconds, 1)}
    commands = [made_by()]
    if args.add:
        told = json.loads((args.out / "engine_verification.json").read_text())
        if (told["segmenter"], told["seed"]) != (args.segmenter, args.seed):
            parser.error("the results there are of another --segmenter or --seed")
        kept = [row for row in told["rows"] if row["error"] not in rates]
        rows = sorted([*kept, *rows], key=lambda row: row["error"])
        commands.insert(0, told["made_by"])
    report = {
        "made_by": "; ".join(commands),
        "right_means": f"IoU of accepted mask and true answer >= {FITS_IOU}; both empty is right",
        "right_kept_means": "right pairs relative to the run without any verification at the same error",
        "segmenter": args.segmenter,
        "seed": args.seed,
        "machine": f"{platform.machine()}, {platform.processor() or 'cpu'}, shared",
        "rows": rows,
    }
    write_json(args.out / "engine_verification.json", report)
    (args.out / "engine_verification.md").write_text(table_of(report))
    plot(rows, args.out / "engine_verification.png")


def measure(args, gallery: Gallery, paths: list[Path], rate: float):
    """Run with and without stage 3 at one error rate; return tallies per configuration, regions, calls."""
    tallies, regions, calls = {}, {}, 0
    for stage3 in (False, True):
        run = args.work / f"error-{rate}-{'with' if stage3 else 'without'}-{len(paths)}"
        with RunStore(run, create=True) as store:
            if store.meta("plan") is None or not all(store.finished(row.sha256) for row in store.pictures()):
                finish(args, store, paths, rate, stage3)
            unverified, verified = tally_pairs(store, gallery)
            tallies["stage 3" if stage3 else "none"] = unverified
            tallies["both" if stage3 else "stage 5"] = verified
            regions["with" if stage3 else "without"] = tally_regions(store, gallery)
            calls += store.spent()[1]
    return tallies, regions, calls


def finish(args, store: RunStore, paths: list[Path], rate: float, stage3: bool) -> None:
    """Begin or go on with one run against an oracle of its own."""
    assert set(MISTAKES) <= {f.name for f in fields(Errors)}
    spec = ",".join(f"{name}={rate}" for name in MISTAKES)
    command = [sys.executable, "-m", "askmask", "world", "oracle", "--data", str(args.data), "--port", "0"]
    server = subprocess.Popen(
        [*command, "--errors", spec, "--seed", str(args.seed), "--most", str(args.pictures)],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        address = server.stdout.readline().split()[-1]
        if store.meta("plan") is None:
            begin(
                store,
                RunPlan(
                    writer=ModelChoice(model="oracle-1", base_url=address),
                    vision=VisionChoice(segmenter=args.segmenter),
                    settings=Settings(verify_masks=stage3, refine=stage3),
                ),
            )
            add_pictures(store, paths)
        plan = store.meta("plan")  # a run that goes on meets its oracle at another port
        plan["writer"]["base_url"] = address
        store.set_meta(plan=plan)
        asyncio.run(work(store, Limits(concurrency=8)))
    finally:
        server.terminate()
        server.wait()


def tally_pairs(store: RunStore, gallery: Gallery) -> tuple[Tally, Tally]:
    """Return tallies ignoring and heeding stage 5."""
    every, heeded = Tally(), Tally()
    for row in store.pictures():
        index = gallery.recognise(Picture.read(row.path).rgb)
        aligned = store.stage(row.sha256, "align")[1]
        counts = [[0, 0], [0, 0]]
        for pair in aligned.pairs if isinstance(aligned, Aligned) else ():
            question = gallery.scenes[index].question(pair.prompt.text)
            right = question is not None and pair.mask.iou(Mask.from_array(question.mask)) >= FITS_IOU
            for side in (0, 1) if pair.verdict.accept else (0,):
                counts[side][0] += right
                counts[side][1] += 1
        every.pictures.append(tuple(counts[0]))
        heeded.pictures.append(tuple(counts[1]))
    return every, heeded


def tally_regions(store: RunStore, gallery: Gallery) -> dict[str, int]:
    """Count accepted regions, and those whose mask is the described thing's."""
    right = accepted = 0
    for row in store.pictures():
        scene = gallery.scenes[gallery.recognise(Picture.read(row.path).rgb)]
        verified = store.stage(row.sha256, "verify")[1]
        for region in verified.accepted if isinstance(verified, Verified) else ():
            thing = scene.described(region.text)
            accepted += 1
            right += thing is not None and region.mask.iou(Mask.from_array(thing.mask)) >= FITS_IOU
    return {"accepted": accepted, "right": right}


def table_of(report: dict) -> str:
    lines = [
        "# What verification buys\n",
        f"`{report['made_by']}`\n",
        f"Right: {report['right_means']}. Kept: {report['right_kept_means']}. Intervals: bootstrap over pictures.",
        f"Segmenter: {report['segmenter']}; seed {report['seed']}; {report['machine']}.\n",
        "| VLM error | pictures | verification | accepted | precision | 95 % | right per picture | right kept |",
        "|---:|---:|---|---:|---:|---|---:|---:|",
    ]
    for row in report["rows"]:
        low, high = row["interval95"]
        lines.append(
            f"| {row['error']:.2f} | {row['pictures']} | {row['verification']} | {row['accepted']} "
            f"| {row['precision']:.3f} | {low:.3f}..{high:.3f} | {row['right_per_picture']:.2f} "
            f"| {row['right_kept']:.2f} |"
        )
    return "\n".join(lines) + "\n"


def plot(rows: list[dict], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 3.8), constrained_layout=True)
    colours = {"none": "#8a93a5", "stage 3": "#e69f00", "stage 5": "#56b4e9", "both": "#009e73"}
    for config in CONFIGS:
        own = [row for row in rows if row["verification"] == config]
        x = [row["error"] for row in own]
        y = [row["precision"] for row in own]
        spread = np.abs(np.array([row["interval95"] for row in own]).T - y)
        left.errorbar(x, y, spread, label=config, color=colours[config], marker="o", capsize=3)
        right.plot(x, [row["right_per_picture"] for row in own], color=colours[config], marker="o")
    left.set(xlabel="rate of each VLM mistake", ylabel="precision of accepted pairs", ylim=(0, 1.02))
    right.set(xlabel="rate of each VLM mistake", ylabel="right pairs per picture")
    right.set_ylim(bottom=0)
    left.legend(title="verification", frameon=False)
    for axis in (left, right):
        axis.grid(alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=130)


def made_by() -> str:
    """Return this command, folders by name only."""
    return " ".join(
        [
            "python",
            "benchmarks/engine_verification.py",
            *(Path(a).name if "/" in a else a for a in sys.argv[1:]),
        ]
    )


if __name__ == "__main__":
    main()
