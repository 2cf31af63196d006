"""The paper's training claims, reproduced small with `mini` on the simulated world: what holds here, what does not.

    python benchmarks/claims.py curriculum EYES --train DENSE --val DENSE [--seeds 3] [--out results/claims]
    python benchmarks/claims.py blind ...          the prompt encoder sees the picture, or words alone
    python benchmarks/claims.py adaptation ...     prompt encoder frozen, LoRA, or trained whole
    python benchmarks/claims.py dense ...          with and without the dense prompt
    python benchmarks/claims.py table              results/claims/*.json -> claims.md

EYES is a run of `mini_perception`, or `mini`: its eyes, which stay frozen everywhere; words are learnt anew. Where
masks are decoded, adapter and decoder begin as the bundled mini's: from nothing they need hours. Arms of a claim see
the same number of prompts. A finished arm is kept: the same command goes on where it was stopped.
Intervals are 95 % over seeds; a difference to the first arm is paired by seed, and "not told apart" unless it holds
over seeds and over validation scenes both.
"""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import time
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from askmask.evaluation.bootstrap import mean_interval
from askmask.evaluation.meter import Meter
from askmask.evaluation.protocols import UNGATED
from askmask.evaluation.scoring import Scored
from askmask.loading import find_checkpoint
from askmask.runs.whole_files import write_json
from askmask.training.loop import LoopConfig, train
from askmask.training.mini_scores import answer, val_views
from askmask.training.optimiser import Schedule
from askmask.training.recipes import RefinementRecipe, SelectionRecipe
from askmask.training.refinement import RefinementConfig
from askmask.training.run import BUILDERS, EYES, model_of, newest
from askmask.training.run_folder import RunFolder
from askmask.training.selection import SelectionConfig

SETTINGS = ("steps", "mask_steps", "shards", "views")  # arms are compared under the same ones
DECODER = ("adapter.", "segmenter.decoder.", "segmenter.clicks.")
FAST, SLOW = 1.2e-3, 6e-4  # rates of the two phases
T_975 = {
    1: 12.706,
    2: 4.303,
    3: 3.182,
    4: 2.776,
    5: 2.571,
    6: 2.447,
    7: 2.365,
    8: 2.306,
    9: 2.262,
}  # by degrees of freedom
LORA = r"language\.(read|join)\.\d+\.(qkv|out|mlp\.0|mlp\.2)"


class Lab:
    """Runs arms, each in a folder of its own, and scores them on the same validation views."""

    def __init__(self, options):
        self.options = options
        self.out, self.work = Path(options.out), Path(options.work)
        self.out.mkdir(parents=True, exist_ok=True)
        self.eyes, self.seen = self._part("eyes", self.options.eyes, EYES), None
        self.decoder = self._part("decoder", "mini", DECODER)

    def _part(self, name, source, prefixes):
        """Return a run folder that holds some weights of a run or model and nothing else."""
        folder = RunFolder(self.work / name)
        if not folder.checkpoints():
            source = source if Path(source).exists() else str(find_checkpoint(source))
            weights = newest(source)["model"]
            model = model_of(folder, (source,)).to_dict()
            write_json(folder.root / "model.json", model)
            kept = {name: value for name, value in weights.items() if name.startswith(prefixes)}
            folder.save(1, {"model": kept, "step": 1})
        return str(folder.root)

    def words(self, name, seed, start, steps, literal, lr):
        """Train the language stage; return (run folder, network)."""
        data = SelectionConfig(
            train=(self.options.train,), cache=self.options.sight or str(self.work / "sight"),
            shards=self.options.shards, views=12, prompts=10, literal=literal, seed=seed,
        )  # fmt: skip
        recipe = SelectionRecipe(
            stage="selection", run=str(self.work / f"{name}-{seed}"), start=(start,), data=data,
            loop=LoopConfig(steps=steps, schedule=Schedule(lr=lr, min_lr=lr / 30), seed=seed, save_every=100),
        )  # fmt: skip
        return self._run(recipe)

    def masks(self, name, seed, start, steps, change=None, **data):
        """Train mini's mask decoder (and the language, unless `change` says otherwise); return the network."""
        config = RefinementConfig(
            train=(self.options.train,), views=4, prompts=8, clicks=0, boxes=0, literal=0.3, seed=seed, **data
        )
        recipe = RefinementRecipe(
            stage="refinement", run=str(self.work / f"{name}-{seed}"), start=(start, self.decoder), data=config,
            loop=LoopConfig(steps=steps, schedule=Schedule(lr=8e-4, min_lr=2e-5), seed=seed, save_every=50),
        )  # fmt: skip
        return self._run(recipe, change)

    def _run(self, recipe, change=None):
        folder = RunFolder(recipe.run)
        with folder.held({"stage": recipe.stage}):
            torch.manual_seed(recipe.loop.seed)
            task = BUILDERS[recipe.stage](recipe, folder)
            if change:
                change(task.module)
            for told in train(task, recipe.loop, folder):
                if told.step % 50 == 0:
                    print(
                        f"  {recipe.run} {told.step}/{told.steps} loss {told.figures['loss']:.3f}", flush=True
                    )
        return recipe.run, task.module

    def score(self, net, *, decode):
        """Return per scene the sums of IoU and counts, of conversational and of literal prompts with a target."""
        found = defaultdict(lambda: [0.0, 0])
        if self.seen is None:  # the eyes are the same for every arm
            self.seen = val_views(net, [self.options.val], self.options.views)
        net.eval()
        for number, view in enumerate(self.seen):
            masks, _ = answer(net, view, decode=decode)
            for k, ask in enumerate(view.asks):
                if not ask.present:
                    continue
                row = Meter().update(masks[k].numpy(), view.truth[k], ignore=view.ignored[k])
                (iou,) = Scored(UNGATED, Meter()).ious([row])
                for key in ("literal" if ask.literal else "conversational", "all"):
                    cell = found[f"{number // 2}/{key}"]  # two views a scene
                    cell[0], cell[1] = cell[0] + float(iou), cell[1] + 1
        return dict(found)

    def arm(self, claim, name, seed, make):
        """Make one arm's score unless it is there."""
        path = self.out / f"{claim}-{name.replace(' ', '_')}-{seed}.json"
        settings = {name: getattr(self.options, name) for name in SETTINGS}
        if path.exists():
            if (kept := json.loads(path.read_text())["settings"]) != settings:
                raise SystemExit(
                    f"{path} is of other settings: {kept}, not {settings}. Use another --out and --work."
                )
            return
        began = time.time()
        print(f"{claim}: {name}, seed {seed}", flush=True)
        scores = make()
        row = {
            "claim": claim,
            "arm": name,
            "seed": seed,
            "settings": settings,
            "seconds": round(time.time() - began),
            "scores": scores,
        }
        row |= {
            "machine": f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}"
        }
        path.write_text(json.dumps(row) + "\n")


def words_alone(net):
    """Ablation: the prompt encoder does not see the picture."""
    net.language.register_forward_pre_hook(
        lambda _, given: (replace(given[0], real=torch.zeros_like(given[0].real)), *given[1:])
    )


def sparse_alone(net):
    """Ablation: the dense prompt, and the paint in it, are zero."""
    net.adapter.register_forward_hook(
        lambda _, __, said: replace(
            said, dense=torch.zeros_like(said.dense), paint=torch.zeros_like(said.paint)
        )
    )


def curriculum(lab, seed):
    eyes, steps = lab.eyes, lab.options.steps
    first = {}

    def phase_one():
        if not first:
            first["run"], first["net"] = lab.words("phase-one", seed, eyes, steps, 1.0, FAST)
        return first["run"]

    arms = {
        "curriculum, 50-50 mix": lambda: lab.words("mix", seed, phase_one(), steps, 0.5, SLOW),
        "curriculum, no mix": lambda: lab.words("no-mix", seed, phase_one(), steps, 0.0, SLOW),
        "conversational only": lambda: lab.words("conversational", seed, eyes, 2 * steps, 0.0, FAST),
        "all mixed from the start": lambda: lab.words("all-mixed", seed, eyes, 2 * steps, 0.5, FAST),
        "literal phase alone": lambda: (phase_one(), first["net"]),
    }
    for name, make in arms.items():
        lab.arm("curriculum", name, seed, lambda make=make: lab.score(make()[1], decode=False))


def blind(lab, seed):
    start, _ = lab.words("phase-one", seed, lab.eyes, lab.options.steps, 1.0, FAST)
    for name, run, change in (
        ("sees the picture", "blind-False", None),
        ("words alone", "blind-True", words_alone),
    ):
        lab.arm("blind", name, seed, lambda run=run, change=change: lab.score(
            lab.masks(run, seed, start, lab.options.mask_steps, change, choice=0.0)[1], decode=True))  # fmt: skip


def dense(lab, seed):
    start, _ = lab.words("phase-one", seed, lab.eyes, lab.options.steps, 1.0, FAST)
    # With it, the run is that of the other claim.
    arms = (
        ("with the dense prompt", "adapt-whole", None),
        ("sparse tokens alone", "dense-False", sparse_alone),
    )
    for name, run, change in arms:
        lab.arm("dense", name, seed, lambda run=run, change=change: lab.score(
            lab.masks(run, seed, start, lab.options.mask_steps, change)[1], decode=True))  # fmt: skip


def adaptation(lab, seed):
    start, _ = lab.words("phase-one", seed, lab.eyes, lab.options.steps, 1.0, FAST)

    def freeze(net):
        net.language.requires_grad_(False)

    def lora(net):
        from peft import LoraConfig, inject_adapter_in_model

        freeze(net)
        inject_adapter_in_model(LoraConfig(r=8, lora_alpha=16, target_modules=LORA), net.prompt_encoder)

    for name, change in (("LoRA", lora), ("frozen", freeze), ("whole", None)):
        lab.arm("adaptation", name, seed, lambda name=name, change=change: lab.score(
            lab.masks(f"adapt-{name}", seed, start, lab.options.mask_steps, change)[1], decode=True))  # fmt: skip


CLAIMS = {"curriculum": curriculum, "blind": blind, "adaptation": adaptation, "dense": dense}


def table(out):
    """Write claims.md from the arms that are there."""
    arms = defaultdict(list)
    for path in sorted(Path(out).glob("*-[0-9]*.json")):
        row = json.loads(path.read_text())
        arms[row["claim"], row["arm"]].append(row)
    lines = [
        "# The paper's claims, small",
        "",
        "Intervals are 95 % over seeds (Student's t). A difference, paired by seed, is higher or lower if it and the "
        "bootstrap over scenes of its mean both leave 0 on one side, else not told apart. Either is said of the stated "
        "budget alone, which is far from convergence: of more training nothing is decided.",
        "",
    ]
    for claim in CLAIMS:
        own = {arm: rows for (of, arm), rows in arms.items() if of == claim}
        if not own:
            continue
        order = sorted(own, key=lambda arm: ARMS.index(arm))
        settings = next(iter(own.values()))[0]["settings"].items()
        flags = " ".join(f"--{name.replace('_', '-')} {value}" for name, value in settings)
        lines += [
            f"## {claim}",
            "",
            f"`python benchmarks/claims.py {claim} mini --train TRAIN --val VAL {flags}`",
            "",
            "| arm | seeds | conversational gIoU | literal gIoU | conversational, against the first arm "
            "| literal, against the first arm |",
        ]
        lines += ["|---|---|---|---|---|---|"]
        for arm in order:
            keys = ("conversational", "literal")
            said = [written(*seed_interval(per_seed(own[arm], key).values())) for key in keys]
            against = ["-" if arm == order[0] else apart(own[arm], own[order[0]], key) for key in keys]
            lines.append(f"| {arm} | {len(own[arm])} | {' | '.join([*said, *against])} |")
        spread = {
            arm: [round(value, 3) for value in per_seed(own[arm], "conversational").values()] for arm in order
        }
        lines += ["", f"Each seed, conversational: {json.dumps(spread)}", ""]
    (Path(out) / "claims.md").write_text("\n".join(lines))
    print("\n".join(lines))


ARMS = [  # in the order of the table; the first of each claim is what the paper does
    "curriculum, 50-50 mix",
    "curriculum, no mix",
    "conversational only",
    "all mixed from the start",
    "literal phase alone",
    "sees the picture",
    "words alone",
    "LoRA",
    "frozen",
    "whole",
    "with the dense prompt",
    "sparse tokens alone",
]


def per_seed(rows, key):
    """Mean over scenes of each seed."""
    return {row["seed"]: float(np.mean([*per_scene([row], key).values()])) for row in rows}


def per_scene(rows, key):
    """Per scene, the mean IoU over seeds."""
    scenes = defaultdict(list)
    for row in rows:
        for name, (total, count) in row["scores"].items():
            scene, of = name.split("/")
            if of == key and count:
                scenes[scene].append(total / count)
    return {scene: float(np.mean(values)) for scene, values in scenes.items()}


def seed_interval(values):
    """Mean of one value per seed and its 95 % interval (mean, low, high); from one seed no interval can be told."""
    values = np.array(list(values))
    mean = float(values.mean())
    if len(values) - 1 not in T_975:
        return mean, None, None
    half = T_975[len(values) - 1] * values.std(ddof=1) / len(values) ** 0.5
    return mean, mean - half, mean + half


def apart(rows, first, key):
    """The difference of an arm to the first one, and whether it is decided, as text."""
    ours, others = per_seed(rows, key), per_seed(first, key)
    mean, low, high = seed_interval(
        [ours[seed] - others[seed] for seed in sorted(ours.keys() & others.keys())]
    )
    ours, others = per_scene(rows, key), per_scene(first, key)
    scenes = sorted(ours.keys() & others.keys())
    _, lower, upper = mean_interval([ours[s] - others[s] for s in scenes], scenes, resamples=2000)
    verdict = "not told apart"
    if low is not None and (min(low, lower) > 0 or max(high, upper) < 0):
        verdict = "**higher**" if mean > 0 else "**lower**"
    return f"{written(mean, low, high, sign=True)}, {verdict}"


def written(mean, low, high, sign=False):
    if low is None:
        return f"{mean:+.3f}" if sign else f"{mean:.3f}"
    return f"{mean:+.3f} ({low:+.3f} to {high:+.3f})" if sign else f"{mean:.3f} ({low:.3f} to {high:.3f})"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("claim", choices=[*CLAIMS, "table"])
    parser.add_argument("eyes", nargs="?")
    parser.add_argument("--train")
    parser.add_argument("--val")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=400, help="of each phase, 120 prompts a step")
    parser.add_argument(
        "--mask-steps", type=int, default=150, help="with the mask decoder, 32 prompts a step"
    )
    parser.add_argument("--shards", type=int, default=8)
    parser.add_argument("--views", type=int, default=200, help="validation views")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", default="results/claims")
    parser.add_argument("--work", default="runs/claims", help="runs and cached sight")
    parser.add_argument("--sight", help="cached sight of the same eyes, if there is some")
    parser.add_argument("--fresh", action="store_true", help="forget unfinished runs")
    options = parser.parse_args()
    if options.claim != "table":
        if not (options.eyes and options.train and options.val):
            parser.error("EYES, --train and --val are needed")
        torch.set_num_threads(options.threads)
        if options.fresh:
            shutil.rmtree(options.work, ignore_errors=True)
        lab = Lab(options)
        for seed in range(options.seeds):
            CLAIMS[options.claim](lab, seed)
    table(options.out)


if __name__ == "__main__":
    main()
