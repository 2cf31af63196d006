"""`askmask doctor`: is this installation sound?"""

from __future__ import annotations

from itertools import chain
from typing import Annotated, Any

import typer

from askmask.cli.app import app
from askmask.cli.options import with_pointing

EXAMPLES = """
Show versions, devices, memory and where weights are, and run a self-test.

Examples:

  askmask doctor

  askmask doctor --model my-checkpoint    (also compares every file with its hash)

  askmask doctor --model point --vlm-model qwen3-vl:8b --base-url http://localhost:11434/v1

The last one sends pictures with known marks to your server, says whether its places are right, and has the model that
draws draw a plain disc.
"""


@app.command(help=EXAMPLES)
@with_pointing
def doctor(
    model: Annotated[str | None, typer.Option("--model", "-m", help="Also check this checkpoint.")] = None,
    point: Any = None,
) -> None:
    """Check the installation."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from askmask.doctor import drawing, examine, pointing
    from askmask.loading import point_choice

    console = Console()
    table = Table(show_header=False, box=None, pad_edge=False)
    sound = True
    with console.status("looking"):
        choice = point_choice(model or "", point) if model or point else None
        of_choice = (check(choice) for check in (pointing, drawing)) if choice else ()
        findings = chain(examine(None if choice else model), of_choice)
        for finding in findings:
            sound &= finding.ok
            table.add_row(
                "[green]ok[/]" if finding.ok else "[red]bad[/]", escape(finding.what), escape(finding.found)
            )
    console.print(table)
    if not sound:
        raise typer.Exit(1)
