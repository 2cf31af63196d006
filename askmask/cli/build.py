"""`askmask build`: data sets of conversations out of pictures. One command each."""

from __future__ import annotations

import typer

from askmask.cli.app import app

build = typer.Typer(no_args_is_help=True, help="Conversations with masks, made out of pictures.")
app.add_typer(build, name="build")
