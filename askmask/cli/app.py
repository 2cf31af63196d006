"""The typer application, its global options, and the one place where errors become exit codes."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from askmask.errors import AskMaskError

app = typer.Typer(
    name="askmask",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Ask a picture, get the mask.",
)
_debug = False


def _print_version(wanted: bool) -> None:
    if wanted:
        from askmask import __version__

        typer.echo(f"askmask {__version__}")
        raise typer.Exit


@app.callback()
def root(
    debug: Annotated[bool, typer.Option("--debug", help="Show the whole traceback of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Ask a picture, get the mask."""
    global _debug
    _debug = debug


def register_commands() -> None:
    """Import every command file; each adds itself to `app`. They import heavy libraries only when run."""
    # One line per file: the order here is the order in `askmask --help`.
    from askmask.cli import train  # noqa: F401


def main() -> None:
    """Run the command line: exit code 0 done, 1 finished with failed items, 2 could not, 130 interrupted."""
    register_commands()
    try:
        app()
    except AskMaskError as error:
        _fail(str(error))
    except PermissionError as error:
        _fail(f"no permission for {error.filename!r}. Choose another place, or change its rights.")
    except KeyboardInterrupt:
        typer.echo("interrupted; what was finished is kept", err=True)
        sys.exit(130)


def _fail(line: str) -> None:
    if _debug:
        raise
    typer.echo(f"askmask: {line}", err=True)
    sys.exit(2)
