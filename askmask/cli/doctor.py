"""`askmask doctor`: is this installation sound?"""

from __future__ import annotations

from typing import Annotated

import typer

from askmask.cli.app import app

EXAMPLES = """
Show versions, devices, memory and where weights are, and run a self-test.

Examples:

  askmask doctor

  askmask doctor --model my-checkpoint    (also compares every file with its hash)
"""


@app.command(help=EXAMPLES)
def doctor(
    model: Annotated[str | None, typer.Option("--model", "-m", help="Also check this checkpoint.")] = None,
) -> None:
    """Check the installation."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from askmask.doctor import examine

    console = Console()
    table = Table(show_header=False, box=None, pad_edge=False)
    sound = True
    with console.status("looking"):
        for finding in examine(model):
            sound &= finding.ok
            table.add_row(
                "[green]ok[/]" if finding.ok else "[red]bad[/]", escape(finding.what), escape(finding.found)
            )
    console.print(table)
    if not sound:
        raise typer.Exit(1)
