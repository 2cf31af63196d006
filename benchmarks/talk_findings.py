"""MIRAS's ablations on a tiny network of its kind: what of a reply reaches the mask decoder, and its first stage.

    python benchmarks/talk_findings.py all [--seeds 3] [--work FOLDER] [--out results/findings/talk]
    python benchmarks/talk_findings.py table

Alignment: `askmask train miras_one` on 32 prompts about eight made pictures of four squares, with each of `--talk
align=attention|seg|mean|tokens`. First stage: `miras_two` on eight PRIST dialogues about the same pictures, from random
weights or from the first stage, which saw their squares. All weights begin at random, so that the language model and
the eyes train as well. Scored is how well that is known which was taught, asked through Session after a fixed number
of steps: how quickly each learns it by heart, not how well it would do on anything else. A finished arm is kept.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from pathlib import Path

import torch
from claims import per_seed, seed_interval, written
from findings import difference, verdict
from talk import answered

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

ALIGN = ("attention", "seg", "mean", "tokens")
ONE, TWO = 120, 80  # steps of the stages
SQUARES = "the {} square"


def write_prompts(folder: Path, count: int = 8) -> Path:
    """Write the pictures of `talk_sets.write_prist` with a prompt and a mask for each square."""
    import numpy as np
    from PIL import Image

    from tests.training.talk_sets import SIDE, draw

    rows = []
    for number in range(count):
        for colour, (x, y, w, h) in draw(folder, number).items():
            mask = np.zeros((SIDE, SIDE), np.uint8)
            mask[y : y + h, x : x + w] = 255
            Image.fromarray(mask).save(folder / f"{number}-{colour}.png")
            name = {"image": f"{number}.png", "mask_merged": f"{number}-{colour}.png"}
            rows.append(json.dumps(name | {"prompt": SQUARES.format(colour)}) + "\n")
    (folder / "dataset.jsonl").write_text("".join(rows))
    return folder


class Lab:
    """Trains arms and scores them; keeps what is finished."""

    def __init__(self, out: Path, work: Path, steps: tuple[int, int]):
        from tests.training.talk_sets import write_prist

        self.out, self.work, self.steps = out, work, steps
        out.mkdir(parents=True, exist_ok=True)
        self.prompts = str(write_prompts(work / "prompts"))
        self.dialogues = f"prist:{write_prist(work / 'prist')}@train"

    def model(self, seed: int, align: str) -> Path:
        from dataclasses import replace

        from askmask.model.miras.new import new_miras
        from askmask.model.talk.config import TalkConfig
        from tests import miras_bases

        folder = self.work / f"net-{align}-{seed}"
        if not folder.exists():
            bases = miras_bases.write_bases(self.work / f"bases-{seed}", image_size=256, seed=seed)
            talk = replace(TalkConfig.miras(), align=align)
            new_miras(**bases, out=folder, side=miras_bases.SIDE, talk=talk, seed=seed)
        return folder

    def train(
        self, stage: str, seed: int, align: str, data: str, steps: int, start: Path | None = None
    ) -> Path:
        from askmask.training.recipes import recipe_for
        from askmask.training.run import start as begin
        from askmask.training.settings import override

        run = self.work / f"{stage}-{align}-{'after' if start else 'alone'}-{seed}"
        settings = [
            f"data={data}",
            "weights=1",
            f"model={self.model(seed, align)}",
            f"run={run}",
            f"steps={steps}",
        ]
        settings += [
            "batch=8",
            "accumulate=1",
            "lr=2e-3",
            "min_lr=1e-4",
            "language=full",
            "front=full",
            "threads=1",
        ]
        settings += ["evaluate_every=100000", "save_every=40", f"loop.seed={seed}", f"data.seed={seed}"]
        settings += [f"cache={self.work / 'features'}", *([f"start={start}"] if start else [])]
        for told in begin(override(recipe_for(stage, settings), settings), print):
            if told.step % 40 == 0:
                print(f"  {run} {told.step}/{told.steps} loss {told.figures['loss']:.3f}", flush=True)
        return run

    def score(self, run: Path, source: str) -> dict[str, list[float]]:
        """Return of each example the IoU of its masks and whether its replies are exact: sums and counts."""
        import askmask
        from askmask.training.export import export_segmentation

        folder = run.with_name(f"{run.name}-model")
        if not folder.exists():
            export_segmentation(run, folder)
        model = askmask.load(folder, device="cpu")
        found: dict[str, list[float]] = {}
        for number, (_, _, iou, exact) in enumerate(answered(model, source)):
            picture = number // (
                4 if source == self.prompts else 3
            )  # prompts of a picture, rounds of a dialogue
            for key, value in (("iou", iou), ("exact", float(exact))):
                if value is not None:
                    cell = found.setdefault(f"{picture}/{key}", [0.0, 0])
                    cell[0], cell[1] = cell[0] + value, cell[1] + 1
        return found

    def arm(self, name: str, seed: int) -> None:
        path = self.out / f"{name.replace(' ', '_')}-{seed}.json"
        settings = {"one": self.steps[0], "two": self.steps[1]}
        if path.exists():
            if (kept := json.loads(path.read_text())["settings"]) != settings:
                raise SystemExit(
                    f"{path} is of other settings: {kept}, not {settings}. Use another --out and --work."
                )
            return
        print(f"{name}, seed {seed}", flush=True)
        began, spent = time.time(), time.process_time()
        one, two = self.steps
        if name in ALIGN:
            source, run = self.prompts, self.train("miras_one", seed, name, self.prompts, one)
        else:
            first = (
                self.train("miras_one", seed, "attention", self.prompts, one)
                if name == "after stage 1"
                else None
            )
            source, run = (
                self.dialogues,
                self.train("miras_two", seed, "attention", self.dialogues, two, first),
            )
        row = {"arm": name, "seed": seed, "settings": settings, "scores": self.score(run, source)}
        row |= {"processor_s": round(time.process_time() - spent, 1), "wall_s": round(time.time() - began, 1)}
        row["machine"] = (
            f"{platform.machine()}, {torch.get_num_threads()} thread, {os.cpu_count()} cores shared"
        )
        path.write_text(json.dumps(row) + "\n")


ARMS = (*ALIGN, "stage 2 alone", "after stage 1")
FINDINGS = (
    *(("attention over the span", "attention", other) for other in ALIGN[1:]),
    ("the first stage helps", "after stage 1", "stage 2 alone"),
)


def table(out: Path) -> None:
    """Write findings.md from the arms that are there."""
    rows: dict[str, list] = {}
    for path in sorted(out.glob("*.json")):
        row = json.loads(path.read_text())
        rows.setdefault(row["arm"], []).append(row)
    if not rows:
        raise SystemExit(f"no finished arm in {out}")
    every = [row for some in rows.values() for row in some]
    steps = every[0]["settings"]
    lines = [
        "# MIRAS's ablations, tiny",
        "",
        f"`python benchmarks/talk_findings.py all --one {steps['one']} --two {steps['two']}`",
        "",
        f"{len(every)} runs, {sum(row['processor_s'] for row in every) / 60:.0f} minutes of one thread in all "
        f"({every[0]['machine']}). Scores are of what was taught, after {steps['one']} steps of stage 1 or "
        f"{steps['two']} of stage 2: how quickly it is learnt by heart. Brackets: 95 % over seeds.",
        "",
        "| arm | seeds | IoU | replies exact |",
        "|---|---|---|---|",
    ]
    for arm in (arm for arm in ARMS if arm in rows):
        said = [written(*seed_interval(per_seed(rows[arm], key).values())) for key in ("iou", "exact")]
        exact = "-" if arm in ALIGN else said[1]
        lines.append(f"| {arm} | {len(rows[arm])} | {said[0]} | {exact} |")
    lines += ["", "| finding | IoU, over seeds | over pictures | seeds | verdict |", "|---" * 5 + "|"]
    for says, ours, other in FINDINGS:
        if ours in rows and other in rows:
            mean, seeds, pictures, count = difference(rows[ours], rows[other], "iou")
            lines.append(
                f"| {says}: {ours} - {other} | {written(mean, *seeds, sign=True)} | "
                f"{pictures[0]:+.3f} to {pictures[1]:+.3f} | {count} | {verdict(seeds, pictures, True)} |"
            )
    text = "\n".join([*lines, ""])
    (out / "findings.md").write_text(text)
    print(text)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("all", "table"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--one", type=int, default=ONE, help="steps of the first stage")
    parser.add_argument("--two", type=int, default=TWO, help="and of the second")
    parser.add_argument("--work", type=Path, default=Path("runs/talk-findings"))
    parser.add_argument("--out", type=Path, default=Path("results/findings/talk"))
    options = parser.parse_args()
    if options.what == "all":
        torch.set_num_threads(1)
        lab = Lab(options.out, options.work, (options.one, options.two))
        for seed in range(options.seeds):
            for name in ARMS:
                lab.arm(name, seed)
    table(options.out)


if __name__ == "__main__":
    main()
