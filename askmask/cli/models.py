"""`askmask models`: every model by name, and choices kept under one."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from askmask.cli.app import app, say
from askmask.cli.options import with_pointing

HEADINGS = {
    "model": "Models: --model NAME",
    "pointer": "What points in --model point: --pointer NAME; of a local one also --vlm-model NAME",
    "drawer": "What draws in --model point: --drawer NAME",
}
models_app = typer.Typer(help="Every model by name; keep a choice of your own under one.")
app.add_typer(models_app, name="models", invoke_without_command=True)


@models_app.callback()
def models(context: typer.Context) -> None:
    """List every model: what it is for, size, licence, needs, and whether it is here."""
    if context.invoked_subcommand is not None:
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from askmask.catalogue import listed

    console = Console()
    if not console.is_terminal:
        console.width = 160  # a file has no edge
    rows = listed()
    names = max(len(row.name) for row in rows)
    for role, heading in HEADINGS.items():
        table = Table(box=None, pad_edge=False, title=heading, title_justify="left")
        for name, width in (("name", names), ("download", 12), ("memory", 12), ("here", 4)):
            table.add_column(name, no_wrap=True, min_width=width)
        table.add_column("what for; licence; what it needs", overflow="fold")
        for row in rows:
            if row.role == role:
                here = {True: "yes", False: "no", None: "-"}[row.here]
                about = f"{row.purpose}; {row.licence}; {row.needs}"
                table.add_row(*map(escape, (row.name, row.download, row.memory, here, about)))
        console.print(table, "")


@models_app.command(name="save")
@with_pointing
def save(
    name: Annotated[str, typer.Argument(help="What --model will call it.", show_default=False)],
    point: Any = None,
) -> None:
    """Keep a model that points and one that draws under a name; never a key, only the name of its variable."""
    from askmask.errors import SettingError
    from askmask.hub import RELEASES
    from askmask.loading import BUNDLED, POINT
    from askmask.pointing.choice import choice_of, keep

    if name in (*BUNDLED, *RELEASES, POINT):
        raise SettingError("this name is taken", got=repr(name), do="Choose another.")
    path = keep(name, choice_of(point))
    say(f"kept in {path}: askmask segment PICTURE PROMPT --model {name}")
