"""`askmask segment`: one picture, some prompts, masks as files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from askmask.cli.app import app, say
from askmask.cli.options import Device, Dtype, ModelName, ProtocolName, Yes, load_model

EXAMPLES = """
Ask one picture one or more prompts, and write a mask and an overlay for each.

Examples:

  askmask segment kitchen.jpg "where can I put the hot pan?"

  askmask segment desk.png "the mug" "its handle" "what would roll off" --out masks

  askmask segment desk.png "the mug" --json | jq .answers[0].score

Writes mask-NN.png (0 and 255, size of the picture), overlay-NN.png and result.json.
"""
DEFAULT_OUT = Path("askmask-out")


@app.command(help=EXAMPLES)
def segment(
    image: Annotated[Path, typer.Argument(help="A picture file.", show_default=False)],
    prompts: Annotated[
        list[str], typer.Argument(help="What to look for.", metavar="PROMPT...", show_default=False)
    ],
    model: ModelName = "mini",
    protocol: ProtocolName = None,
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
) -> None:
    """Ask one picture."""
    from askmask.answer import SAVED_BY, result_of, save_answers
    from askmask.imaging.files import read_picture
    from askmask.runs.json_text import json_text
    from askmask.runs.manifest import check_free

    picture = read_picture(image)  # before the model: a wrong path should not cost its loading
    if out is None and not as_json:
        out = DEFAULT_OUT
    if out is not None:
        check_free(out, SAVED_BY)
    loaded = load_model(model, protocol, device, dtype, yes)
    answers = loaded.open(picture).ask_many(prompts)
    if out is not None:
        save_answers(answers, out)
    if as_json:
        typer.echo(json_text(result_of(answers), indent=1))
        return
    for number, answer in enumerate(answers):
        share = f"{100 * answer.mask.area / (picture.size[0] * picture.size[1]):.1f} % of the picture"
        said = f"{share}, score {answer.score:.2f}" if answer.found else "nothing found"
        say(f"{number:02d}  {answer.prompt}: {said}")
    for notice in dict.fromkeys(notice for answer in answers for notice in answer.notices):
        say(f"note: {notice}", err=True)
    say(f"written to {out}/: mask-NN.png, overlay-NN.png, result.json")
