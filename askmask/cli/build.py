"""`askmask build`: data sets made of other people's annotations."""

from __future__ import annotations

import typer

from askmask.cli.app import app
from askmask.cli.build_mrseg import mrseg

build_app = typer.Typer(no_args_is_help=True, help="Build data sets from other people's annotations.")
app.add_typer(build_app, name="build")
build_app.command()(mrseg)
