"""`askmask chat`: a conversation over one picture in the terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from askmask.cli.app import app, in_one_line, say
from askmask.cli.options import (
    Device,
    Dtype,
    ModelName,
    ProtocolName,
    Rewrite,
    WithWords,
    Yes,
    load_model,
    with_pointing,
    with_rewriting,
)
from askmask.errors import AskMaskError
from askmask.notes import visible

if TYPE_CHECKING:
    from askmask.chat.lines import Line
    from askmask.chat.talk import Talk

EXAMPLES = """
Talk about one picture. Answers get names (m1, m2, ...) that later prompts may use.

Examples:

  askmask chat desk.png

  askmask chat desk.png --model point --vlm-model qwen3-vl:8b --base-url http://localhost:11434/v1 --out talks/desk

  printf 'the mug\\nits handle\\n:show\\n' | askmask chat desk.png --out talks/desk

  askmask chat desk.png --script questions.jsonl --out talks/desk --resume

In the conversation: the mug / its handle / :about m1 / what is left of it / all of them except m2 / m1 - m3 /
:undo / :help. A line of a script is a text, or {"prompt": ..., "about"?: ..., "points"?: ..., "boxes"?: ...}.

Each round is on disk before the next line is read: OUT/conversation.json, and OUT/r1.png, OUT/r2.png, ... Killed,
the same command with --resume goes on. The exit code is 1 if a line of a script could not be done.
"""


@app.command(help=EXAMPLES)
@with_pointing
def chat(
    image: Annotated[Path, typer.Argument(metavar="PICTURE", help="A picture file.", show_default=False)],
    model: ModelName = "mini",
    protocol: ProtocolName = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the conversation.")] = Path(
        "askmask-chat"
    ),
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the conversation in OUT.")] = False,
    script: Annotated[
        Path | None, typer.Option("--script", help="Lines to ask, from a file; then end.", show_default=False)
    ] = None,
    rewrite: Rewrite = None,
    words: WithWords = True,
    device: Device = None,
    dtype: Dtype = None,
    yes: Yes = False,
    point: Any = None,
) -> None:
    """Talk about one picture."""
    from askmask.chat.kept import check_resume, opened
    from askmask.chat.lines import read_script
    from askmask.chat.talk import Talk
    from askmask.imaging.files import read_picture

    picture = read_picture(image)  # before the model: a wrong path should not cost its loading
    lines = None if script is None else read_script(script)
    check_resume(out, resume=resume)
    loaded = with_rewriting(load_model(model, protocol, device, dtype, yes, point), rewrite)
    with opened(out, loaded, picture, resume=resume) as kept:
        talk = Talk(kept, say, lambda text: typer.echo(visible(text), nl=False), words=words)
        if lines is None:
            failed = _talk(talk)
        else:
            done = kept.done([line.shown for line in lines]) if resume else 0
            kept.begin_script(done)
            if done:
                say(f"{done} of {len(lines)} lines were done before", err=True)
            failed = sum(
                not _done(talk, line, line.shown, echo=True) for line in lines[done:] if not talk.ended
            )
    if failed:
        raise typer.Exit(1)


def _talk(talk: Talk) -> int:
    """Take lines from the terminal, or from what is piped in; return how many piped ones failed."""
    from askmask.chat.lines import Line

    asked = sys.stdin is not None and sys.stdin.isatty()
    if asked:
        session = talk.kept.session
        so_far = f", {len(session.rounds)} rounds so far" if session.rounds else ""
        say(
            f"{session.picture.name} with {session.model.name}{so_far}; `:help` lists the commands, `:quit` ends."
        )
    failed = 0
    for text in _typed() if asked else _piped():
        if text.strip():
            failed += not _done(talk, Line(text.strip()), None, echo=not asked)
        if talk.ended:
            break
    return 0 if asked else failed


def _done(talk: Talk, line: Line, script_line: str | None, *, echo: bool) -> bool:
    """Do one line and put what came of it on disk; say what is wrong with it."""
    if echo:
        say(f"> {line.shown}")
    try:
        talk.take(line)
        return True
    except (AskMaskError, OSError) as error:
        say(f"    {in_one_line(error)}", err=sys.stdin is not None and not sys.stdin.isatty())
        return False
    finally:
        talk.kept.write(script_line)


def _typed() -> Iterator[str]:
    """Yield what a person types, with the lines before at hand by the arrow keys."""
    try:
        import readline  # noqa: F401  # `input` then knows history and editing
    except ImportError:  # Windows has its own
        pass
    while True:
        try:
            yield input("> ")
        except (EOFError, KeyboardInterrupt):
            say("")
            return


def _piped() -> Iterator[str]:
    for line in sys.stdin or ():
        yield line.rstrip("\n")
