"""Options that several commands share, and how a model is loaded for a command."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from askmask.errors import AskMaskError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, ProgressColumn

    from askmask.session import Model

ModelName = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        help="mini, point, converseg-net-3b, a kept name, or a checkpoint folder; see `askmask models`.",
        show_default=True,
    ),
]
ProtocolName = Annotated[
    str | None,
    typer.Option(
        "--protocol",
        "-p",
        help="native, published-eval or published-demo; without it, the one the checkpoint names.",
        show_default=False,
    ),
]
Device = Annotated[
    str | None, typer.Option("--device", help="cpu, cuda, cuda:1, mps; without it, the best there is.")
]
Dtype = Annotated[
    str | None,
    typer.Option("--dtype", help="Of the language side: float32, bfloat16, float16; else as stored."),
]
Threshold = Annotated[
    float | None,
    typer.Option(
        "--threshold",
        min=0,
        max=1,
        help="Presence from which something counts as found; without it, the checkpoint's own.",
        show_default=False,
    ),
]
AllowUrls = Annotated[
    bool, typer.Option("--allow-urls", help="Fetch pictures given as URLs, from public addresses only.")
]
Rewrite = Annotated[
    str | None,
    typer.Option(
        help="A baseline without memory: what is referred to is written into the words, as mask, caption or "
        "transcript; condense=MODEL has a language model at OPENAI_BASE_URL condense the conversation to one phrase.",
        show_default=False,
    ),
]
WithWords = Annotated[
    bool,
    typer.Option("--words/--no-words", help="Whether a reply in words is wanted; mini is faster without."),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Download without asking.")]


def confirm_with(yes: bool) -> Callable[[str], bool]:
    """Return what asks a person before a download: a notice in, yes or no out."""

    def confirm(notice: str) -> bool:
        typer.echo(notice, err=True)
        if not yes and not (sys.stdin and sys.stdin.isatty()):
            raise AskMaskError("a download needs a yes, and this is no terminal to ask at", do="Add --yes.")
        return yes or typer.confirm("Fetch it now?", err=True)

    return confirm


def progress_bar(*more: ProgressColumn, console: Console | None = None, disable: bool = False) -> Progress:
    """Return a bar that shows what is done, how many of how many, and the time left, then further columns."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    what = TextColumn("{task.description}", markup=False)
    columns = (what, BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), *more)
    return Progress(*columns, console=console, disable=disable)


# name, kind and help of what --model point takes
_POINTING: tuple[tuple[str, Any, str], ...] = (
    ("vlm_model", str, "With --model point: the model that points, as its server names it."),
    ("base_url", str, "Its OpenAI-compatible address, e.g. http://localhost:11434/v1."),
    ("pointer", str, "openai (any compatible server), google, local, moondream, grounding-dino, sam3."),
    ("drawer", str, "What draws: classical, mini, sam2.1-tiny ... -large, edgetam, sam3."),
    ("drawer_at", str, "Folder or Hub name of its weights."),
    ("convention", str, "How the model writes coordinates, if not as its name says."),
    ("looks", int, "2: the model sees its masks once more and may mend them."),
    ("api_key_env", str, "Variable that holds the key."),
    ("price", str, "Dollars per million tokens, IN,OUT."),
    ("answer_calls", int, "At most so many calls for an answer."),
    ("answer_seconds", float, "At most so many seconds."),
    ("answer_usd", float, "At most so many dollars."),
)
POINTING: dict[str, Any] = {
    name: Annotated[Optional[kind], typer.Option("--" + name.replace("_", "-"), help=text)]  # noqa: UP045
    for name, kind, text in _POINTING
}


def with_pointing(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of a model that points; it gets those that were set as `point`."""
    signature = inspect.signature(command, eval_str=True)
    own = [p for p in signature.parameters.values() if p.name != "point"]
    more = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind)
        for name, kind in POINTING.items()
    ]

    @functools.wraps(command)
    def taking(**given: Any) -> None:
        point = {name: value for name in POINTING if (value := given.pop(name, None)) is not None}
        command(**given, point=point)

    taking.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own] + more
    )
    taking.__annotations__ = {p.name: p.annotation for p in [*own, *more]}
    del taking.__wrapped__  # type: ignore[attr-defined]  # typer would read its signature instead
    return taking


def load_model(
    name: str,
    protocol: str | None,
    device: str | None,
    dtype: str | None,
    yes: bool,
    point: Mapping[str, Any] = {},
    threshold: float | None = None,
) -> Model:
    """Load a model with a spinner on stderr, asking a person before a download."""
    from rich.console import Console
    from rich.markup import escape

    from askmask.loading import find_checkpoint, load, no_presence, open_pointing, point_choice

    if (choice := point_choice(name, point)) is not None:
        if threshold is not None:
            raise no_presence(name)
        return open_pointing(choice, device=device, confirm=confirm_with(yes))
    folder = find_checkpoint(name, confirm=confirm_with(yes))
    with Console(stderr=True).status(f"loading {escape(name)}"):
        return load(folder, protocol=protocol, device=device, dtype=dtype, threshold=threshold)


def with_rewriting(model: Model, how: str | None) -> Model:
    """Return a model that is asked every prompt alone, with the conversation in its words; see rewriting.py."""
    if how is None:
        return model
    from askmask.backends.rewriting import RewritingBackend
    from askmask.session import Model

    return Model(RewritingBackend(model.backend, how), memory_limit=model.memory_limit)
