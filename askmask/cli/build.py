"""`askmask build`: data sets of conversations, out of pictures or of other people's annotations. One command each."""

from __future__ import annotations

import typer

from askmask.cli.app import app
from askmask.cli.build_mrseg import mrseg

build = typer.Typer(no_args_is_help=True, help="Build data sets of conversations with masks.")
app.add_typer(build, name="build")
build.command()(mrseg)
