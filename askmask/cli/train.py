"""`askmask train RECIPE [key=value ...]`: start a training run, or go on with one that was stopped."""

from __future__ import annotations

import difflib
from typing import Annotated

import typer

from askmask.cli.app import app, say
from askmask.cli.options import progress_bar

# Of training/recipes.py, which needs torch: `--help` must not.
NAMES = (
    "phase_one",
    "phase_two",
    "mini_perception",
    "mini_phase_one",
    "mini_phase_two",
    "conversation",
    "miras_one",
    "miras_two",
    "miras_one_as_coded",
    "miras_two_as_coded",
    "mini_masks",
    "mini_replies",
)


@app.command()
def train(
    recipe: Annotated[str, typer.Argument(help=f"{', '.join(NAMES)}.")],
    settings: Annotated[list[str] | None, typer.Argument(help="key=value, e.g. lr=1e-5 run=runs/a.")] = None,
    show: Annotated[bool, typer.Option("--show", help="Print all settings and stop.")] = False,
) -> None:
    """Train a network. Run the same command again to go on after a stop: nothing is lost or repeated."""
    from askmask.errors import SettingError
    from askmask.training.recipes import RECIPES, recipe_for
    from askmask.training.settings import override, paths

    if recipe not in RECIPES:
        near = difflib.get_close_matches(recipe, RECIPES, n=1, cutoff=0.3)
        raise SettingError(
            f"there is no recipe {recipe!r}",
            do=f"Did you mean {near[0]!r}?" if near else f"Known: {', '.join(RECIPES)}.",
        )
    chosen = override(recipe_for(recipe, settings or []), settings or [])
    if show:
        for path, (_, value) in paths(chosen).items():
            say(f"{path}={','.join(map(str, value)) if isinstance(value, tuple) else value}")
        return
    from dataclasses import replace

    from askmask.loading import find_checkpoint
    from askmask.training.recipes import DialogueRecipe, SegmentationRecipe
    from askmask.training.run import start

    if isinstance(chosen, (SegmentationRecipe, DialogueRecipe)):
        chosen = replace(chosen, model=str(find_checkpoint(chosen.model)))
    chosen = replace(chosen, start=tuple(map(placed, chosen.start)))

    _watch(start(chosen, lambda line: say(line, err=True)), chosen.run)


def placed(one: str) -> str:
    """Return one of `start` with the folder of a model of the package in the place of its name."""
    from askmask.loading import BUNDLED, find_checkpoint
    from askmask.training.run import split_start

    place, _ = split_start(one)
    return f"{find_checkpoint(place)}{one.removeprefix(place)}" if place in BUNDLED else one


def _watch(steps, run: str) -> None:
    from rich.progress import TextColumn

    with progress_bar(TextColumn("loss {task.fields[loss]:.4f}  lr {task.fields[lr]:.1e}")) as bar:
        task = None
        for told in steps:
            if task is None:
                task = bar.add_task(run, total=told.steps, completed=told.step - 1, loss=0.0, lr=0.0)
            bar.update(task, completed=told.step, loss=told.figures["loss"], lr=told.figures["lr"])


@app.command()
def export(
    run: Annotated[str, typer.Argument(help="The run's folder.")],
    out: Annotated[str, typer.Argument(help="The model folder to write.")],
    train: Annotated[list[str] | None, typer.Option(help="mini: dense truth it was trained on.")] = None,
    val: Annotated[list[str] | None, typer.Option(help="mini: dense truth it never saw.")] = None,
) -> None:
    """Turn a run's newest checkpoint into a model folder that `--model` and `askmask.load` read."""
    from pathlib import Path

    from askmask.errors import SettingError
    from askmask.training.export import export_mini, export_segmentation, newest

    newest(run)  # that there is a run comes before what its kind needs
    if (Path(run) / "source.txt").is_file():
        written = export_segmentation(run, out)
    elif train and val:
        written = export_mini(run, out, train=train, val=val, provenance={"made_by": "askmask export"})
    else:
        raise SettingError("mini's sense of its domain needs pictures", do="Give --train DIR and --val DIR.")
    say(str(written))
