"""Options that several commands share, and how a model is loaded for a command."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from askmask.errors import AskMaskError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, ProgressColumn

    from askmask.session import Model

ModelName = Annotated[
    str,
    typer.Option("--model", "-m", help="mini, converseg-net-3b, or a checkpoint folder.", show_default=True),
]
ProtocolName = Annotated[
    str | None,
    typer.Option(
        "--protocol",
        "-p",
        help="native, published-eval or published-demo; without it, the one the checkpoint names.",
        show_default=False,
    ),
]
Device = Annotated[
    str | None, typer.Option("--device", help="cpu, cuda, cuda:1, mps; without it, the best there is.")
]
Dtype = Annotated[
    str | None,
    typer.Option("--dtype", help="Of the language side: float32, bfloat16, float16; else as stored."),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Download without asking.")]


def confirm_with(yes: bool) -> Callable[[str], bool]:
    """Return what asks a person before a download: a notice in, yes or no out."""

    def confirm(notice: str) -> bool:
        typer.echo(notice, err=True)
        if not yes and not (sys.stdin and sys.stdin.isatty()):
            raise AskMaskError("a download needs a yes, and this is no terminal to ask at", do="Add --yes.")
        return yes or typer.confirm("Fetch it now?", err=True)

    return confirm


def progress_bar(*more: ProgressColumn, console: Console | None = None, disable: bool = False) -> Progress:
    """Return a bar that shows what is done, how many of how many, and the time left, then further columns."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    what = TextColumn("{task.description}", markup=False)
    columns = (what, BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), *more)
    return Progress(*columns, console=console, disable=disable)


def load_model(name: str, protocol: str | None, device: str | None, dtype: str | None, yes: bool) -> Model:
    """Load a model with a spinner on stderr, asking a person before a download."""
    from rich.console import Console
    from rich.markup import escape

    from askmask.loading import find_checkpoint, load

    folder = find_checkpoint(name, confirm=confirm_with(yes))
    with Console(stderr=True).status(f"loading {escape(name)}"):
        return load(folder, protocol=protocol, device=device, dtype=dtype)
