"""`askmask models`: every model by name, and choices kept under one."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from askmask.cli.app import app, say
from askmask.cli.options import with_pointing

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

    table = Table(box=None, pad_edge=False)
    for heading in ("name", "role", "for", "download", "memory", "licence", "needs", "here"):
        table.add_column(heading, overflow="fold")
    for row in listed():
        here = {True: "yes", False: "no", None: "-"}[row.here]
        cells = (row.name, row.role, row.purpose, row.download, row.memory, row.licence, row.needs, here)
        table.add_row(*map(escape, cells))
    Console().print(table)


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
