"""`askmask table`: runs of `askmask eval` side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from askmask.cli.app import app, say

TABLE_HELP = """Set runs of `askmask eval` side by side: scores with 95 % intervals, concepts, calls, seconds, cost.

Examples:

  askmask table runs/mini runs/point

  askmask table runs/* --format html > table.html
"""


@app.command(help=TABLE_HELP)
def table(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", show_default=False)],
    kind: Annotated[str, typer.Option("--format", help="markdown, html or csv.")] = "markdown",
) -> None:
    """Set runs side by side."""
    from askmask.errors import SettingError
    from askmask.evaluation.table import FORMATS, rows_of, written

    if kind not in FORMATS:
        raise SettingError("no such format", got=repr(kind), do=f"Use one of: {', '.join(FORMATS)}.")
    rows, notes = rows_of(runs)
    for line in written(rows, notes, kind).splitlines():
        say(line)
