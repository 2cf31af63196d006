"""`askmask world`: make data in the simulated world, look at a scene with the facts behind its prompts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from askmask.cli.app import app

world = typer.Typer(no_args_is_help=True, help="Simulated scenes whose truths are measured.")
app.add_typer(world, name="world")


@world.command(
    epilog="Examples: askmask world make --split train --count 2000 --out data/world --workers 4 · "
    "askmask world make --split train --count 20000 --out data/dense --dense --size 160"
)
def make(
    count: Annotated[int, typer.Option(help="Scenes; each gives two pictures.")],
    out: Annotated[Path, typer.Option(help="Folder to write; a stopped run goes on where it was.")],
    split: Annotated[str, typer.Option(help="train, val or test: seeds and phrasings that share nothing.")] = "train",
    workers: Annotated[int, typer.Option(help="Processes.")] = 1,
    size: Annotated[list[int] | None, typer.Option(help="Pixels a side; give several to take them in turn.")] = None,
    dense: Annotated[bool, typer.Option("--dense", help="Write dense truth (ids, parts, depth, facts) in shards.")] = False,
    prompts: Annotated[int, typer.Option(help="Prompts a picture.")] = 20,
    start: Annotated[int, typer.Option(help="Scenes of the split to pass over.")] = 0,
    per_shard: Annotated[int, typer.Option(help="Scenes a shard.")] = 250,
) -> None:
    """Make examples.jsonl and images/ (or, with --dense, shards of dense truth)."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from askmask.world.generate import Plan, make as make_data

    plan = Plan(
        split=split,
        count=count,
        sizes=tuple(size or [192 if split == "test" else 160]),
        dense=dense,
        prompts=prompts,
        start=start,
        per_shard=per_shard,
    )
    columns = (TextColumn("scenes"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"), TimeRemainingColumn())
    with Progress(*columns) as bar:
        task = bar.add_task("scenes", total=count, rate="")

        def advance(done: int) -> None:
            bar.advance(task, done)
            speed = bar.tasks[task].speed
            bar.update(task, rate=f"{speed:.1f}/s" if speed else "")

        outcome = make_data(plan, out, workers=workers, progress=advance)
    typer.echo(f"{outcome.made} scenes made, {outcome.kept} found done, in {out}")
    for seed, why in (outcome.failed or {}).items():
        typer.echo(f"  seed {seed} gave no scene: {why}", err=True)
    if outcome.failed:
        raise typer.Exit(1)
