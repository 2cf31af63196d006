"""The typer application, its global options, and the one place where errors become exit codes."""

from __future__ import annotations

import os
import sys
import traceback
from importlib import import_module
from typing import Annotated, Any

import typer

from askmask.errors import AskMaskError
from askmask.notes import STEERING, visible

app = typer.Typer(
    name="askmask",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Ask a picture, get the mask.",
)


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


# One file each in askmask/cli; the order here is the order in `askmask --help`.
COMMANDS = (
    "segment",
    "chat",
    "batch",
    "serve",
    "convert",
    "score",
    "eval",
    "judge",
    "probe",
    "table",
    "engine",
    "build",
    "build_prist",
    "world",
    "world_oracle",
    "train",
    "checkpoint",
    "models",
    "doctor",
)


def register_commands() -> None:
    """Import every command file; each adds itself to `app`. They import heavy libraries only when run."""
    for name in COMMANDS:
        import_module(f"askmask.cli.{name}")


def main() -> None:
    """Run the command line: exit code 0 done, 1 finished with failed items, 2 could not, 130 interrupted."""
    # Before torch is loaded: threads that wait for work must not hold the cores that other programs need.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    register_commands()
    # Taken out by hand so that it works before and after the command's name; what follows -- is no option.
    given = sys.argv[1:]
    options = given[: given.index("--")] if "--" in given else given
    debug = "--debug" in options
    sys.argv[1:] = [argument for argument in options if argument != "--debug"] + given[len(options) :]
    try:
        app()
    except Exception as error:
        if debug:
            from askmask.vlm.secrets import redact

            for line in redact("".join(traceback.format_exception(error))).split("\n"):
                say(line, err=True)
        say(f"askmask: {in_one_line(error)}", err=True)
        sys.exit(2)


def say(text: str, *, err: bool = False) -> None:
    """Print a line in which prompts and file names may stand: what could steer the terminal is made visible."""
    typer.echo(visible(text), err=err)


def say_json(value: Any, *, indent: int) -> None:
    """Print JSON in which what could steer the terminal is escaped as JSON escapes it: a program reads the same."""
    from askmask.runs.json_text import json_text

    for line in json_text(value, indent=indent).split("\n"):
        typer.echo(STEERING.sub(lambda found: f"\\u{ord(found[0]):04x}", line))


def in_one_line(error: BaseException) -> str:
    """Say an error in one line with what to do."""
    if isinstance(error, AskMaskError):
        return str(error)
    if isinstance(error, PermissionError):
        return f"no permission for {error.filename!r}. Choose another place, or change its rights."
    if isinstance(error, OSError):
        said = f"{error.strerror}: {error.filename}" if error.filename else str(error.strerror or error)
        return f"{' '.join(said.split())}. Check the path and the free space."
    if isinstance(error, MemoryError):
        return "out of memory. Use a smaller picture, or ask fewer prompts at once."
    said = " ".join(str(error).split())[:300]
    return f"unexpected {type(error).__name__}: {said}. Run again with --debug to see where, and report it."
