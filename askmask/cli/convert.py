"""`askmask convert`: masks into the files of other tools, and from them."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from askmask.cli.app import app, say
from askmask.cli.options import progress_bar

EXAMPLES = """
Write masks in the format of another tool, and read them back from it.

Examples:

  askmask convert askmask-batch --to label-studio --out for-review

  askmask convert label-studio:export.json --to own --out data/reviewed

  askmask convert conversation.json --to cvat --out cvat --at photos

  askmask convert coco:data/coco@val2017 --to yolo-seg --out data/yolo --pictures link

SOURCE is a folder that `askmask segment` or `askmask batch` wrote, a saved session, a run of `askmask engine`, or
any data set: a path, or NAME:ROOT[@SPLIT] (see `askmask eval --help`; also label-studio, cvat, labelme, yolo-seg).

What the format has no place for is counted and said, and kept in convert.json. Stopped, the same command goes on.
The exit code is 1 if a picture had to be left out.
"""


class Format(StrEnum):
    """What can be written."""

    coco = "coco"
    yolo_seg = "yolo-seg"
    label_studio = "label-studio"
    cvat = "cvat"
    labelme = "labelme"
    voc = "voc"
    fiftyone = "fiftyone"
    geojson = "geojson"
    png = "png"
    own = "own"


class Pictures(StrEnum):
    """What becomes of the pictures."""

    copy = "copy"
    link = "link"
    none = "none"


@app.command(help=EXAMPLES)
def convert(
    source: Annotated[str, typer.Argument(help="What holds masks.", show_default=False)],
    to: Annotated[Format, typer.Option("--to", help="The format.", show_default=False)],
    out: Annotated[
        Path,
        typer.Option("--out", "-o", help="An empty folder, or one of this command's.", show_default=False),
    ],
    pictures: Annotated[
        Pictures, typer.Option("--pictures", help="Copy them, link them to save space, or leave them out.")
    ] = Pictures.copy,
    at: Annotated[
        Path | None,
        typer.Option(
            "--at", help="Folder of the pictures, if they do not lie where SOURCE says.", show_default=False
        ),
    ] = None,
    polygons: Annotated[
        bool,
        typer.Option("--polygons", help="With coco: outlines along pixel edges instead of run-length codes."),
    ] = False,
) -> None:
    """Convert masks."""
    from rich.console import Console

    from askmask.convert import convert as run

    with progress_bar(console=Console(stderr=True)) as bar:
        tasks = {}

        def show(what: str, done: int, total: int | None) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=total)
            bar.update(tasks[what], completed=done, total=total)

        result = run(
            source, to.value, out, pictures=pictures.value, at=at, polygons=polygons, on_progress=show
        )
    say(f"{result.masks} masks of {result.prompts} prompts on {result.pictures} pictures, written to {out}/")
    for what, notes in (("not held", result.lost), ("note", result.left_out)):
        for line in notes.lines():
            say(f"  {what}: {line}", err=True)
    if any(kind.startswith("pictures left out") for kind in result.left_out.counts):
        raise typer.Exit(1)
