"""The findings of SegLLM and MIRAS, small, with `mini` on the simulated world: what holds here, what does not.

    python benchmarks/findings.py memory --train DENSE --val DENSE [--seeds 3] [--out results/findings]
    python benchmarks/findings.py dialogues --before OLD ...    dialogues of intents in training, or conversations alone
    python benchmarks/findings.py single --before OLD ...       single prompts beside conversations, or alone
    python benchmarks/findings.py all --before OLD ...          all of them, what decides most first
    python benchmarks/findings.py table            results/findings/*.json -> findings.md

Memory begins with the bundled mini, what remembers masks and hears earlier words being new: a memory learnt
beside new words would take hours. So the rest had learnt in conversations. Dialogues and single prompts begin with a
mini that had never seen a conversation, as the repository has it:

    git archive a6e6d2a askmask/weights/mini | tar -x -C OLD        --before OLD/askmask/weights/mini

All have the same frozen eyes; every arm takes as many steps of the stage `conversation`. DENSE is made by
`askmask world make --dense --conversations 2 --dialogues 3`. A finished arm is kept: the same command goes on where it
was stopped. Rounds are asked in order with the network's own masks before them and what they refer to given, the words
before being the prompts alone: true replies would tell the answers. Masks are the painted choice of regions.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections import defaultdict
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

import torch
from claims import per_scene, per_seed, seed_interval, written

from askmask.evaluation.bootstrap import mean_interval
from askmask.evaluation.meter import Meter
from askmask.evaluation.protocols import UNGATED
from askmask.evaluation.scoring import Scored
from askmask.formats.dense import shards
from askmask.loading import find_checkpoint
from askmask.runs.whole_files import write_json, write_text
from askmask.training.conversation import ConversationConfig, ConversationTask
from askmask.training.loop import LoopConfig, train
from askmask.training.mini_scores import answer, val_views
from askmask.training.optimiser import Schedule
from askmask.training.prompts import asks_of
from askmask.training.recipes import ConversationRecipe
from askmask.training.run import conversation_task, model_of, newest
from askmask.training.run_folder import RunFolder
from askmask.training.selection import facts_of
from askmask.training.talk_scores import LATER, Before, ask_talks, rows_of, val_talks

SETTINGS = ("steps", "views", "prompts", "lr", "shards", "scenes")  # arms are compared under the same ones
NEW = tuple(f"prompt_encoder.language.{part}" for part in ("memory.", "listen.", "attend"))
ANY = -1  # the seed of an arm that is not trained

WAYS = {
    "own": Before(replies=False),
    "true": Before(replies=False, true=True),
    "without masks": Before(replies=False, masks=False),
    "without words": Before(replies=False, words=False),
}


@dataclass(frozen=True)
class Arm:
    """What is trained otherwise than the stage does it, from where, and which ways of asking it are scored."""

    data: dict = field(default_factory=dict)
    ways: tuple[str, ...] = ("own",)
    before: bool = False  # begins with what has never seen a conversation
    trained: bool = True


NOTHING_BEFORE = {"masks": False, "words": False}
ARMS = {  # what decides most comes first
    "both": Arm(ways=tuple(WAYS)),
    "none": Arm(NOTHING_BEFORE),
    "words": Arm({"masks": False}),
    "masks": Arm({"words": False}),
    "with dialogues": Arm(ways=("own", "true"), before=True),
    "conversations alone": Arm({"intents": False}, before=True),
    "start": Arm(NOTHING_BEFORE, before=True, trained=False),
    "single prompts alone": Arm(NOTHING_BEFORE | {"talks": 0}, before=True),
}
FIRST = 7  # of these, for all seeds, before the others


@dataclass(frozen=True)
class Claim:
    """That one (arm, way) does better on `key` than another, or worse where it is not `more`."""

    says: str
    key: str
    ours: tuple[str, str]
    other: tuple[str, str]
    more: bool = True
    paper: bool = True  # else it is a question of ours, or one that the paper only asks of its own network


OWN, TRUE, TALKED = ("both", "own"), ("both", "true"), ("with dialogues", "own")
WITHOUT = ("conversations alone", "own")
BARE, DEAF = ("both", "without masks"), ("both", "without words")
FINDINGS: dict[str, tuple[str, tuple[Claim, ...]]] = {
    "memory": (
        "SegLLM: masks are remembered (Tables 1 and 7; necessity is of its appendix D)",
        (
            *(
                Claim(f"memory beats the single-turn baseline, round {at}", f"round_{at}", OWN, ("none", "own"))
                for at in range(2, LATER + 1)
            ),
            Claim("masks help follow-ups", "follow_ups", ("masks", "own"), ("none", "own")),
            Claim("masks help hard follow-ups", "hard", ("masks", "own"), ("none", "own")),
            Claim("words alone help follow-ups", "follow_ups", ("words", "own"), ("none", "own")),
            Claim("words alone help where somebody wants something", "intents", ("words", "own"), ("none", "own")),
            Claim("masks help beside words", "follow_ups", OWN, ("words", "own")),
            Claim("masks help beside words, hard follow-ups", "hard", OWN, ("words", "own")),
            Claim("words help beside masks", "follow_ups", OWN, ("masks", "own")),
            Claim("memory helps single prompts too", "single", OWN, ("none", "own")),
            Claim("removed when asked, masks are missed", "follow_ups", BARE, OWN, more=False, paper=False),
            Claim("and in hard follow-ups", "hard", BARE, OWN, more=False, paper=False),
            Claim("removed when asked, words are missed", "follow_ups", DEAF, OWN, more=False, paper=False),
            Claim("and where somebody wants something", "intents", DEAF, OWN, more=False, paper=False),
            Claim("own masks before cost against true ones", "follow_ups", OWN, TRUE, more=False, paper=False),
        ),
    ),
    "single": (
        "SegLLM: conversations in training help single prompts, steps and prompts being equal",
        (
            Claim("conversations help single prompts", "single", TALKED, ("single prompts alone", "own")),
            Claim("conversations help first rounds", "round_1", TALKED, ("single prompts alone", "own")),
        ),
    ),
    "dialogues": (
        "MIRAS: training with dialogues",
        (
            Claim("training lifts the masks of dialogues", "intents", TALKED, ("start", "own")),
            Claim("and their precision", "intents_precision", TALKED, ("start", "own")),
            Claim("and their recall", "intents_recall", TALKED, ("start", "own")),
            Claim("dialogues, not conversations alone, lift them", "intents", TALKED, WITHOUT, paper=False),
            Claim("dialogues tell when nothing matches", "nothing", TALKED, WITHOUT, paper=False),
            Claim("own masks cost against true ones", "intents", TALKED, ("with dialogues", "true"), False, False),
        ),
    ),
}  # fmt: skip


class ReadOnce(ConversationTask):
    """Reads each shard once for all arms of a process."""

    kept: ClassVar[dict] = {}

    def _read(self, path):
        key = str(path), self.config.intents
        if key not in self.kept:
            before = len(self._talks)
            views = super()._read(path)
            self.kept[key] = views, self._talks[before:]
        else:
            self._talks += self.kept[key][1]
        return self.kept[key][0]


class Lab:
    """Trains arms, each in a folder of its own, and scores them on the same dialogues."""

    def __init__(self, options):
        self.options = options
        self.out, self.work = Path(options.out), Path(options.work)
        self.out.mkdir(parents=True, exist_ok=True)
        self.seen = None

    def start(self, arm):
        """Return where an arm begins; without memory and ear these are drawn by the arm's seed."""
        if arm.before:
            return self.options.before
        folder = RunFolder(self.work / "forgetful")
        if not folder.checkpoints():
            source = str(find_checkpoint("mini"))
            write_json(folder.root / "model.json", model_of(folder, (source,)).to_dict())
            known = newest(source)["model"].items()
            folder.save(
                1, {"model": {name: value for name, value in known if not name.startswith(NEW)}, "step": 1}
            )
        return str(folder.root)

    def arm(self, name, seed):
        """Make one arm's score unless it is there."""
        arm = ARMS[name]
        seed = seed if arm.trained else ANY
        path = self.out / f"{name.replace(' ', '_')}-{seed if arm.trained else 'any'}.json"
        settings = {key: getattr(self.options, key) for key in SETTINGS}
        if path.exists():
            if (kept := json.loads(path.read_text())["settings"]) != settings:
                raise SystemExit(
                    f"{path} is of other settings: {kept}, not {settings}. Use another --out and --work."
                )
            return
        began, spent = time.time(), time.process_time()
        print(f"{name}, seed {seed}", flush=True)
        net, config = self.trained(name, seed)
        trained_s = time.process_time() - spent
        scores = self.score(net, arm.ways, config)
        write_json(
            path,
            {
                "arm": name,
                "seed": seed,
                "settings": settings,
                "scores": scores,
                "processor_s": round(time.process_time() - spent, 1),
                "of_it_training_s": round(trained_s, 1),
                "wall_s": round(time.time() - began, 1),
                "machine": f"{platform.machine()}, {torch.get_num_threads()} thread, {os.cpu_count()} cores shared, "
                f"torch {torch.__version__}",
            },
        )  # fmt: skip

    def trained(self, name, seed):
        """Train an arm from the start; return (network, its settings)."""
        options, arm = self.options, ARMS[name]
        rounds = 4  # that a dialogue has about, so that arms without any see as many prompts
        data = ConversationConfig(
            train=(options.train,), cache=options.sight or str(self.work / "sight"), cache_gb=64, seed=max(seed, 0),
            shards=options.shards, views=options.views, prompts=options.prompts, unheard=0.5, own_until=0.4,
        )  # fmt: skip
        data = replace(data, **arm.data)
        if not data.talks:
            data = replace(data, prompts=options.prompts + rounds)
        recipe = ConversationRecipe(
            stage="conversation", run=str(self.work / f"{name.replace(' ', '-')}-{seed}"), start=(self.start(arm),),
            data=data, loop=LoopConfig(
                steps=options.steps, schedule=Schedule(lr=options.lr, min_lr=options.lr / 30), seed=max(seed, 0),
                save_every=40, evaluate_every=10**9,
            ),
        )  # fmt: skip
        folder = RunFolder(recipe.run)
        with folder.held({"stage": recipe.stage}):
            torch.manual_seed(recipe.loop.seed)
            task = conversation_task(recipe, folder)
            task.__class__ = ReadOnce
            for told in train(task, recipe.loop, folder) if arm.trained else ():
                if told.step % 20 == 0:
                    print(
                        f"  {recipe.run} {told.step}/{told.steps} loss {told.figures['loss']:.3f}", flush=True
                    )
        return task.module, data

    def looked_at(self, net):
        """Return the first view of each validation scene, its dialogues, and the scene of each; looks once."""
        if self.seen is None:  # the eyes are the same for every arm
            facts = [pair for path in shards(self.options.val) for pair in facts_of(path)]
            scenes = [scene["seed"] for scene, view in facts if asks_of(scene, view)]
            first = [at for at in range(len(scenes)) if at == scenes.index(scenes[at])][: self.options.scenes]
            looked = val_views(net, [self.options.val], first[-1] + 1)
            views = [looked[at] for at in first]
            self.seen = views, val_talks([self.options.val], views), {id(v): n for n, v in enumerate(views)}
        return self.seen

    def score(self, net, ways, config):
        """Return for each way of asking, by scene and kind of round, the sum of scores and their count."""
        views, talks, scene = self.looked_at(net)
        found = {way: defaultdict(lambda: [0.0, 0]) for way in ways}
        said = {}
        for way in ways:
            before = WAYS[way]
            before = replace(before, masks=before.masks and config.masks, words=before.words and config.words)
            said[way] = ask_talks(net, talks, before)
            for talk, answers in zip(talks, said[way], strict=True):
                for at, row in rows_of(talk, answers, Meter(), ""):
                    for key, value in scored(talk.talk[at], at, row):
                        add(found[way], f"{scene[id(talk.view)]}/{key}", value)
        if "own" in ways:
            for number, view in enumerate(views):
                masks, _ = answer(net, view, decode=False)
                for k, ask in enumerate(view.asks):
                    if ask.present:
                        row = Meter().update(masks[k].numpy(), view.truth[k], ignore=view.ignored[k])
                        add(found["own"], f"{number}/single", iou(row))
        return found


def add(found, key, value):
    found[key] = [found[key][0] + float(value), found[key][1] + 1]


def iou(row):
    return float(Scored(UNGATED, Meter()).ious([row])[0])


def scored(round, at, row):
    """Yield (kind, score) of one answered round: every kind that it belongs to."""
    if row.no_target:
        yield "nothing", row.said_none
        return
    value = iou(row)
    yield f"round_{min(at + 1, LATER)}", value
    if round.refers:
        yield "follow_ups", value
        yield "hard" if round.hard else "not_hard", value
    if round.intent:
        yield "intents", value
        yield "intents_precision", row.intersection / row.predicted if row.predicted else 0.0
        yield "intents_recall", row.intersection / row.true if row.true else 0.0
    elif round.refers:
        yield "others", value


def asked(rows, key):
    """Whether there is any such round in every run of an arm."""
    return bool(rows) and all(any(name.endswith(f"/{key}") for name in row["scores"]) for row in rows)


def difference(ours, others, key):
    """Return the mean difference, its interval over seeds (paired) and over scenes, and how many seeds it has.

    An arm that is not trained is the same for every seed. From one seed no interval over seeds can be told.
    """
    mine, theirs = per_seed(ours, key), per_seed(others, key)
    if ANY in theirs:
        theirs = dict.fromkeys(mine, theirs[ANY])
    seeds = sorted(mine.keys() & theirs.keys())
    mean, low, high = seed_interval([mine[seed] - theirs[seed] for seed in seeds])
    paired = [[row for row in rows if row["seed"] in (*seeds, ANY)] for rows in (ours, others)]
    one, other = (per_scene(rows, key) for rows in paired)
    scenes = sorted(one.keys() & other.keys())
    _, lower, upper = mean_interval([one[s] - other[s] for s in scenes], scenes, resamples=2000)
    return mean, (low, high), (lower, upper), len(seeds)


def verdict(over_seeds, over_scenes, more, paper=True):
    """Say whether a finding reproduces, or ours holds: both intervals must leave 0 on one side, whichever it is."""
    low, high = over_seeds
    if low is None or not (min(low, over_scenes[0]) > 0 or max(high, over_scenes[1]) < 0):
        return "undecided"
    if (low > 0) == more:
        return "**reproduces**" if paper else "**holds**"
    return "**does not**" if paper else "**does not hold**"


def read(out):
    """Return the finished arms, {(arm, way): rows of seed and scores}, and all that was written of them."""
    found, rows = defaultdict(list), []
    for path in sorted(Path(out).glob("*.json")):
        row = json.loads(path.read_text())
        rows.append(row)
        for way, scores in row["scores"].items():
            found[row["arm"], way].append({"seed": row["seed"], "scores": scores})
    return found, rows


KEYS = (
    "single",
    "round_1",
    "round_2",
    "round_3",
    "round_4",
    "round_5",
    "follow_ups",
    "hard",
    "intents",
    "nothing",
)


def table(out):
    """Write findings.md from the arms that are there."""
    arms, rows = read(out)
    if not rows:
        raise SystemExit(f"no finished arm in {out}")
    settings = rows[0]["settings"]
    flags = " ".join(f"--{name} {value}" for name, value in settings.items())
    lines = [
        "# Findings of SegLLM and MIRAS, small",
        "",
        f"`python benchmarks/findings.py all --before OLD --train TRAIN --val VAL {flags}`",
        "",
        f"{len(rows)} runs, {sum(row['processor_s'] for row in rows) / 60:.0f} minutes of one thread in all "
        f"({rows[0]['machine']}). Each takes {settings['steps']} steps of {settings['views']} views: far from "
        "convergence; what is decided holds within that budget. Single and first-round scores are of prompts that "
        "nothing comes before. A score is a mean over scenes; brackets are 95 % over seeds (Student's t). A difference "
        "is paired by seed, and decided if it and the bootstrap over scenes both leave 0 on one side: it "
        "**reproduces**, or **does not** where it goes the other way. Of what no paper claims "
        "it is said whether it **holds**.",
        "",
        "| arm, how it is asked | seeds | " + " | ".join(key.replace("_", " ") for key in KEYS) + " |",
        "|---" * (len(KEYS) + 2) + "|",
    ]
    order = [(arm, way) for arm in ARMS for way in WAYS if (arm, way) in arms]
    for one in order:
        cells = []
        for key in KEYS:
            values = per_seed(arms[one], key) if asked(arms[one], key) else {}
            cells.append(written(*seed_interval(values.values())) if values else "-")
        seeds = "-" if arms[one][0]["seed"] == ANY else str(len(arms[one]))
        lines.append(f"| {one[0]}, {one[1]} | {seeds} | {' | '.join(cells)} |")
    for title, claims in FINDINGS.values():
        told = [c for c in claims if all(asked(arms.get(arm, ()), c.key) for arm in (c.ours, c.other))]
        if not told:
            continue
        lines += [
            "",
            f"## {title}",
            "",
            "| finding | here, over seeds | over scenes | seeds | verdict |",
            "|---" * 5 + "|",
        ]
        for claim in told:
            mean, seeds, scenes, count = difference(arms[claim.ours], arms[claim.other], claim.key)
            kind = verdict(seeds, scenes, claim.more, claim.paper)
            lines.append(
                f"| {claim.says}: {' '.join(claim.ours)} - {' '.join(claim.other)}, {claim.key.replace('_', ' ')} | "
                f"{written(mean, *seeds, sign=True)} | {scenes[0]:+.3f} to {scenes[1]:+.3f} | {count} | {kind} |"
            )
    text = "\n".join([*lines, ""])
    write_text(Path(out) / "findings.md", text)
    print(text)


def needed(finding):
    """Return the arms that a finding compares, in the order of ARMS."""
    if finding == "all":
        return list(ARMS)
    names = {arm for claim in FINDINGS[finding][1] for arm, _ in (claim.ours, claim.other)}
    return [arm for arm in ARMS if arm in names]


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("finding", choices=[*FINDINGS, "all", "table"])
    parser.add_argument("--before", help="folder of mini's weights that have never seen a conversation")
    parser.add_argument("--train")
    parser.add_argument("--val")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--views", type=int, default=4, help="of a step, each with one dialogue")
    parser.add_argument("--prompts", type=int, default=3, help="single ones of each view")
    parser.add_argument("--lr", type=float, default=8e-4)
    parser.add_argument("--shards", type=int, default=1)
    parser.add_argument("--scenes", type=int, default=30, help="validation scenes, one view of each")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", default="results/findings")
    parser.add_argument("--work", default="runs/findings", help="runs and cached sight")
    parser.add_argument("--sight", help="cached sight of the same eyes, if there is some")
    options = parser.parse_args()
    if options.finding != "table":
        names = needed(options.finding)
        if not (options.train and options.val):
            parser.error("--train and --val are needed")
        if not options.before and any(ARMS[name].before for name in names):
            parser.error("--before is needed")
        torch.set_num_threads(options.threads)
        lab = Lab(options)
        for some in (names[:FIRST], names[FIRST:]):
            for seed in range(options.seeds):
                for name in some:
                    lab.arm(name, seed)
    table(options.out)


if __name__ == "__main__":
    main()
