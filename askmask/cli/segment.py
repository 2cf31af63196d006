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
    from askmask.answer import json_text
    from askmask.imaging.files import read_picture

    picture = read_picture(image)  # before the model: a wrong path should not cost its loading
    if out is None and not as_json:
        out = DEFAULT_OUT
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
    loaded = load_model(model, protocol, device, dtype, yes)
    answers = loaded.open(picture).ask_many(prompts)
    result = {
        "image": str(image),
        "size": list(picture.size),
        "model": loaded.name,
        "protocol": loaded.backend.protocol_name,
        "answers": [
            {
                key: value
                for key, value in answer.to_dict().items()
                if key not in ("size", "model", "protocol")
            }
            for answer in answers
        ],
    }
    text = json_text(result, indent=1)
    if out is not None:
        for old in (*out.glob("mask-[0-9]*.png"), *out.glob("overlay-[0-9]*.png")):
            old.unlink()  # of an earlier call with more prompts
        for number, answer in enumerate(answers):
            answer.mask.to_png(out / f"mask-{number:02d}.png")
            answer.overlay().save(out / f"overlay-{number:02d}.png")
        (out / "result.json").write_text(text + "\n", encoding="utf-8")
    if as_json:
        typer.echo(text)
        return
    for number, answer in enumerate(answers):
        share = f"{100 * answer.mask.area / (picture.size[0] * picture.size[1]):.1f} % of the picture"
        said = f"{share}, score {answer.score:.2f}" if answer.found else "nothing found"
        say(f"{number:02d}  {answer.prompt}: {said}")
    for notice in dict.fromkeys(notice for answer in answers for notice in answer.notices):
        say(f"note: {notice}", err=True)
    say(f"written to {out}/: mask-NN.png, overlay-NN.png, result.json")
