"""`askmask segment`: one picture, some prompts, masks as files."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from askmask.cli.app import app, say, say_json
from askmask.cli.options import (
    AllowUrls,
    Device,
    Dtype,
    ModelName,
    ProtocolName,
    Threshold,
    WithWords,
    Yes,
    load_model,
    with_pointing,
)
from askmask.errors import AskMaskError, SettingError

if TYPE_CHECKING:
    from askmask.answer import Answer
    from askmask.session import Session

EXAMPLES = """
Ask one picture one or more prompts, and write a mask and an overlay for each.

Examples:

  askmask segment kitchen.jpg "where can I put the hot pan?"

  askmask segment desk.png "the mug" "the mug's handle" "what would roll off" --out masks

  askmask segment desk.png "the mug" --json | jq .answers[0].score

  askmask segment https://example.org/desk.jpg "the mug" --allow-urls

  grab-screen | askmask segment - "the button that ends the call"

  askmask segment desk.jpg "the mug" -m point --vlm-model qwen3-vl:8b --base-url http://localhost:11434/v1

PICTURE is a file, a pattern that means one, - for the standard input, clipboard: or, if allowed, a URL.
Writes mask-NN.png (0 and 255, size of the picture), overlay-NN.png and result.json.
"""
DEFAULT_OUT = Path("askmask-out")
NO_PROMPTS = {
    "a",
    "an",
    "the",
    "what",
    "which",
    "where",
    "of",
    "that",
}  # alone they are words of a prompt without quotes


@app.command(help=EXAMPLES)
@with_pointing
def segment(
    image: Annotated[str, typer.Argument(help="A picture.", metavar="PICTURE", show_default=False)],
    prompts: Annotated[
        list[str], typer.Argument(help="What to look for.", metavar="PROMPT...", show_default=False)
    ],
    model: ModelName = "mini",
    protocol: ProtocolName = None,
    threshold: Threshold = None,
    words: WithWords = True,
    allow_urls: AllowUrls = False,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="Folder for the files. Default: askmask-out, or no files with --json."
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print result.json to stdout, and nothing else.")
    ] = False,
    device: Device = None,
    dtype: Dtype = None,
    yes: Yes = False,
    point: Any = None,
) -> None:
    """Ask one picture."""
    from askmask.answer import SAVED_BY, result_of, save_answers
    from askmask.imaging.files import SUFFIXES
    from askmask.imaging.given import one_of, read_given
    from askmask.runs.manifest import check_free
    from askmask.show import outcome_of

    if file := next((p for p in prompts if Path(p).suffix.lower() in SUFFIXES and os.path.isfile(p)), None):
        raise SettingError(
            "one picture is asked at a time, and the other words are prompts",
            got=f"the file {file!r} as a prompt",
            do="Use `askmask batch` for several.",
        )
    picture = read_given(
        one_of(image), allow_urls=allow_urls
    )  # before the model: a wrong path should not cost its loading
    if out is None and not as_json:
        out = DEFAULT_OUT
    if out is not None:
        check_free(out, SAVED_BY)
    loaded = load_model(model, protocol, device, dtype, yes, point, threshold)
    answers, failed = _asked(loaded.open(picture), prompts, words)
    if not answers:
        raise failed[0][1]
    if out is not None:
        save_answers(answers, out)
    if as_json:
        say_json(result_of(answers), indent=1)
        return _end(failed)
    for number, answer in enumerate(answers):
        share = f"{100 * answer.mask.area / (picture.size[0] * picture.size[1]):.1f} % of the picture"
        said = ", ".join(filter(None, [share if answer.found else "", outcome_of(answer)]))
        said += f': "{answer.text}"' if answer.text else ""
        say(f"{number:02d}  {answer.prompt}: {said}{_used(answer.usage)}")
    for notice in dict.fromkeys(notice for answer in answers for notice in answer.notices):
        say(f"note: {notice}", err=True)
    if len(prompts) > 1 and NO_PROMPTS & {prompt.lower() for prompt in prompts}:
        say("note: each word was asked by itself; put a prompt of several words in quotes", err=True)
    say(f"written to {out}/: mask-NN.png, overlay-NN.png, result.json")
    _end(failed)


def _asked(
    session: Session, prompts: list[str], words: bool
) -> tuple[list[Answer], list[tuple[str, AskMaskError]]]:
    """Ask all prompts together; if that fails one by one, so that what can be answered is."""
    try:
        return session.ask_many(prompts, words=words), []
    except AskMaskError as error:
        if len(prompts) == 1:
            return [], [(prompts[0], error)]
    answers, failed = [], []
    for prompt in prompts:
        try:
            answers += session.ask_many(
                [prompt], words=words
            )  # a reply that came is kept, and costs no second call
        except AskMaskError as error:
            failed.append((prompt, error))
    return answers, failed


def _end(failed: list[tuple[str, AskMaskError]]) -> None:
    for prompt, error in failed:
        say(f"failed  {prompt}: {error}", err=True)
    if failed:
        raise typer.Exit(1)


def _used(usage: Mapping[str, float]) -> str:
    if not usage:
        return ""
    cost = f", ${usage['usd']:.4f}" if usage.get("usd") else ""
    return f" ({usage['calls']:g} calls, {usage['input_tokens'] + usage['output_tokens']:g} tokens{cost})"
