"""`askmask world`: make data in the simulated world, look at a scene with the facts behind its prompts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from askmask.cli.app import app, say, say_json

world = typer.Typer(no_args_is_help=True, help="Simulated scenes whose truths are measured.")
app.add_typer(world, name="world")


@world.command(
    epilog="Examples: askmask world make --split train --count 2000 --out data/world --workers 4 · "
    "askmask world make --split train --count 20000 --out data/dense --dense --size 160 · "
    "askmask world make --fixed conversation-1 --out data/conversation-1"
)
def make(
    out: Annotated[Path, typer.Option(help="Folder to write; a stopped run goes on where it was.")],
    count: Annotated[int | None, typer.Option(help="Scenes.")] = None,
    fixed: Annotated[
        str | None,
        typer.Option(
            help="A fixed split (tabletop-1, words-1, conversation-1, dialogue-1) instead of --split, ..."
        ),
    ] = None,
    split: Annotated[
        str, typer.Option(help="train, val or test: seeds and phrasings that share nothing.")
    ] = "train",
    workers: Annotated[int, typer.Option(help="Processes.")] = 1,
    size: Annotated[
        list[int] | None, typer.Option(help="Pixels a side; give several to take them in turn.")
    ] = None,
    dense: Annotated[
        bool, typer.Option("--dense", help="Write dense truth (ids, parts, depth, facts) in shards.")
    ] = False,
    prompts: Annotated[int, typer.Option(help="Prompts a picture.")] = 20,
    views: Annotated[int, typer.Option(help="Pictures of a scene, 1 to 6.")] = 2,
    converseg: Annotated[
        bool, typer.Option("--converseg", help="Also write dataset.jsonl, items.json, masks/.")
    ] = False,
    parquet: Annotated[
        bool, typer.Option("--parquet", help="Also write examples.parquet, pictures inside.")
    ] = False,
    start: Annotated[int, typer.Option(help="Scenes of the split to pass over.")] = 0,
    per_shard: Annotated[int, typer.Option(help="Scenes a shard.")] = 250,
    composed: Annotated[int, typer.Option(help="Besides, prompts that compose words, a picture.")] = 0,
    conversations: Annotated[
        int, typer.Option(help="Conversations of 2 to 10 rounds that remember masks, a picture.")
    ] = 0,
    dialogues: Annotated[
        int, typer.Option(help="Dialogues in words and masks with an intent that moves, a picture.")
    ] = 0,
) -> None:
    """Make examples.jsonl and images/ (or, with --dense, shards of dense truth)."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from askmask.errors import SettingError
    from askmask.world.export import to_converseg, to_parquet
    from askmask.world.generate import Plan
    from askmask.world.generate import make as make_data

    if dense and (converseg or parquet):
        raise SettingError("--dense writes shards of its own", do="Leave out --converseg and --parquet.")

    if fixed:
        from dataclasses import replace

        from askmask.world.tabletop import plan_of

        plan = replace(plan_of(fixed), dense=dense)
    elif count is None:
        raise SettingError("how many scenes?", do="Give --count, or --fixed tabletop-1.")
    else:
        plan = Plan(
            split=split, count=count, sizes=tuple(size or [192 if split == "test" else 160]), dense=dense,
            prompts=prompts, views=views, start=start, per_shard=per_shard, composed=composed,
            conversations=conversations, dialogues=dialogues,
        )  # fmt: skip
    columns = (
        TextColumn("scenes"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns) as bar:
        task = bar.add_task("scenes", total=plan.count, rate="")

        def advance(done: int) -> None:
            bar.advance(task, done)
            speed = bar.tasks[task].speed
            bar.update(task, rate=f"{speed:.1f}/s" if speed else "")

        outcome = make_data(plan, out, workers=workers, progress=advance)
    say(f"{outcome.made} scenes made, {outcome.kept} found done, in {out}")
    if converseg:
        say(f"{to_converseg(out)} rows in dataset.jsonl and items.json")
    if parquet:
        say(f"wrote {to_parquet(out)}")
    for seed, why in (outcome.failed or {}).items():
        say(f"  seed {seed} gave no scene: {why}", err=True)
    if outcome.failed:
        raise typer.Exit(1)


@world.command(
    epilog="Examples: askmask world show 200000031 --out sheet.png · askmask world show 1 2 3 4 5 6 7 8"
)
def show(
    seed: Annotated[
        list[int],
        typer.Argument(
            min=0,
            max=299_999_999,
            help="Seeds; 0.. train, 100000000.. val, 200000000.. test.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path | None, typer.Option(help="PNG to write. Default: world.png, if there is none.")
    ] = None,
    view: Annotated[int, typer.Option(min=0, max=5, help="Which of its pictures.")] = 0,
    size: Annotated[int, typer.Option(min=32, max=2048, help="Pixels a side.")] = 256,
    prompts: Annotated[int, typer.Option(min=0, max=500, help="How many prompts to draw.")] = 14,
) -> None:
    """Draw a contact sheet of one seed (picture, things, prompts, masks, facts), or one prompt of each of many."""
    from askmask.errors import SettingError
    from askmask.runs.whole_files import whole_file
    from askmask.world.record import record
    from askmask.world.show import gallery, sheet

    if out is None and Path("world.png").exists():
        raise SettingError("world.png is there already", do="Say with --out where to draw.")
    out = out or Path("world.png")
    found = [record(number, size, views=view + 1) for number in seed]
    page = sheet(found[0], view=view, prompts=prompts) if len(found) == 1 else gallery(found)
    with whole_file(out) as temporary:
        page.save(temporary, format="PNG")
    say(f"drew {out}")


@world.command(
    epilog="Examples: askmask world reask data/dense · "
    "askmask world reask data/dense --conversations 4 --dialogues 3"
)
def reask(
    folder: Annotated[Path, typer.Argument(help="A folder of dense truth.")],
    prompts: Annotated[int, typer.Option(help="Prompts a picture.")] = 20,
    composed: Annotated[int, typer.Option(help="Besides, prompts that compose words, a picture.")] = 0,
    conversations: Annotated[
        int, typer.Option(help="Conversations of 2 to 10 rounds that remember masks, a picture.")
    ] = 0,
    dialogues: Annotated[
        int, typer.Option(help="Dialogues in words and masks with an intent that moves, a picture.")
    ] = 0,
) -> None:
    """Write new prompts and dialogues for stored scenes: no simulation, no drawing."""
    from rich.progress import track

    from askmask.errors import DataError
    from askmask.formats.dense import shards
    from askmask.world.generate import made_folder
    from askmask.world.generate import reask as reask_shard
    from askmask.world.record import Asking

    paths = shards(folder)
    if not paths:
        raise DataError(
            f"{folder} holds no shard of dense truth", do="Make some: askmask world make --dense."
        )
    asking = Asking(prompts, composed, conversations, dialogues)
    with made_folder(folder, dense=True):
        scenes = sum(reask_shard(path, asking) for path in track(paths, "shards"))
    say(f"asked anew about {scenes} scenes in {folder}")


@world.command(
    epilog="Examples: askmask world check --count 20 · "
    "askmask world make --fixed tabletop-1 --dense --out data/tabletop-1"
)
def check(
    name: Annotated[str, typer.Argument(help="A fixed split.")] = "tabletop-1",
    count: Annotated[int | None, typer.Option(min=1, help="Only its first scenes.")] = None,
    data: Annotated[Path | None, typer.Option(help="Check this folder of dense truth; make nothing.")] = None,
) -> None:
    """Compare a fixed test split, made anew or read, with its written hashes; exit code 1 if it differs."""
    from collections import Counter

    from rich.progress import Progress

    from askmask.world.tabletop import HASHES, plan_of
    from askmask.world.tabletop import check as differences

    total = count or plan_of(name).count
    with Progress() as bar:
        task = bar.add_task("scenes", total=total)
        found = list(differences(name, count=count, folder=data, tick=lambda: bar.advance(task)))
    differs = Counter(difference.what for difference in found)
    told = ", ".join(f"{what} {total - differs[what]}/{total}" for what in HASHES)
    say(f"{name}: equal in {told}")
    if differs["picture"] and not differs["scene"] and not differs["truth"]:
        say("Only pictures differ: another GL driver draws other pixels. Scores remain comparable.")
    if found:
        say(f"first difference: seed {found[0].seed}, {found[0].what}", err=True)
        raise typer.Exit(1)


@world.command(epilog="Example: askmask world flips --count 100 --out results/world_flips.json")
def flips(
    count: Annotated[int, typer.Option(min=1, max=100_000, help="Scenes.")] = 100,
    split: Annotated[str, typer.Option(help="train, val or test.")] = "val",
    out: Annotated[Path | None, typer.Option(help="JSON to write.")] = None,
) -> None:
    """Perturb friction, mass and poses; say how many labels turn over, for each query."""
    from rich.progress import Progress

    from askmask.runs.whole_files import write_json
    from askmask.world.flips import FRICTION, MASS, SHIFT, TURN, count_flips
    from askmask.world.scene import first_seed

    seeds = range(first_seed(split), first_seed(split) + count)
    with Progress() as bar:
        task = bar.add_task("scenes", total=count)
        found = count_flips(seeds, tick=lambda: bar.advance(task))
    table = found.rates()
    for kind, rates in table.items():
        worst = sorted(rates.items(), key=lambda item: -item[1]["flipped"])
        told = ", ".join(f"{name} {rate['flipped']:.1%}" for name, rate in worst if rate["flipped"])
        say(f"{kind}: {told or 'none'}; {found.refused[kind]} of {count} scenes no longer came to rest")
    if out:
        turn = round(TURN * 57.29578, 3)
        settings = {"friction": FRICTION, "mass": MASS, "shift_m": SHIFT, "turn_deg": turn}
        report = {"split": split, "scenes": count, "settings": settings}
        write_json(out, {**report, "refused": dict(found.refused), "rates": table})


@world.command(name="claims")
def claims_command(
    run: Annotated[Path, typer.Argument(help="Folder of `askmask eval`, or a JSONL of predictions.")],
    gt: Annotated[str, typer.Option("--gt", help="The examples it was run over, of `askmask world make`.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Hold what a model's replies claim against the facts of the scenes; precision is the share that is true.

    Example: askmask world claims runs/talks --gt data/dialogue-1
    """
    from collections import Counter

    from askmask.errors import DataError
    from askmask.evaluation.bootstrap import mean_interval
    from askmask.evaluation.text_scores import read_texts
    from askmask.evaluation.truth import item_id
    from askmask.formats import open_dataset
    from askmask.world.talks.claimed import Grounds, claims_by_reply

    texts, grounds = read_texts(run), Grounds()
    values: list[float] = []
    scenes: list[str] = []
    kinds: Counter[tuple[str, bool]] = Counter()
    replies = undecided = 0
    for example in open_dataset(gt):
        said = [texts.get(item_id(example, k)) for k in range(len(example.rounds))]
        if len(said) < 2 or not any(said):
            continue
        replies += sum(bool(text) for text in said)
        for found in claims_by_reply(example, said, grounds.of(example)):
            undecided += sum(claim.true is None for claim in found)
            for claim in found:
                if claim.true is not None:
                    values.append(float(claim.true))
                    scenes.append(str(example.meta["seed"]))
                    kinds[(claim.kind, claim.true)] += 1
    if not values:
        raise DataError(
            "no claim in the replies that the facts decide", got=f"{replies} replies", do="Check --gt."
        )
    mean, low, high = mean_interval(values, scenes)
    by_kind = {
        kind: [kinds[(kind, True)], kinds[(kind, True)] + kinds[(kind, False)]] for kind, _ in sorted(kinds)
    }
    data = {
        "precision": mean, "interval": [low, high], "claims": len(values), "undecided": undecided,
        "replies": replies, "by_kind": by_kind,
    }  # fmt: skip
    if as_json:
        say_json(data, indent=2)
        return
    say(
        f"claim precision {100 * mean:.1f} % ({100 * low:.1f} to {100 * high:.1f}), {len(values)} claims in "
        f"{replies} replies; {undecided} more that the facts do not decide"
    )
    for kind, (true, all_) in sorted(by_kind.items(), key=lambda item: -item[1][1]):
        say(f"  {kind:20} {true} of {all_}")
