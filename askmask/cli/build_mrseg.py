"""`askmask build mrseg`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from askmask.cli.app import say
from askmask.cli.options import progress_bar


def mrseg(
    source: Annotated[
        list[str],
        typer.Option("--source", "-s", help="NAME:ROOT[@SPLIT], once for each set.", show_default=False),
    ],
    out: Annotated[
        Path,
        typer.Option("--out", "-o", help="An empty folder, or one of this command's.", show_default=False),
    ],
    seed: Annotated[int, typer.Option(help="Equal seeds and files give equal bytes.")] = 0,
    pictures: Annotated[
        str, typer.Option(help="link (hard links), copy, or none: they are only named.")
    ] = "link",
    limit: Annotated[
        int | None, typer.Option(min=1, help="At most so many pictures of each source.")
    ] = None,
) -> None:
    """Build the multi-round conversations of SegLLM's MRSeg by its rules.

    Examples:

      askmask build mrseg --source refcoco:data/refer --source lvis:data/lvis --seed 7 --out data/mrseg

      askmask build mrseg -s paco:data/paco@val -s pascal:data/ppp@val --out data/mrseg-val --limit 100

    Sources: refcoco, refcoco+, refcocog, lvis, paco, pascal, vg, coco, ade20k, cocostuff, reasonseg; docs/build-mrseg.md
    shows how each lies on the disk. SPLIT is train without one. Written are SegLLM's conversation files (askmask eval
    MODEL mrseg:OUT@all_data_mix_train) and the same as askmask's own (OUT@train), with the paper's table of counts.

    Stopped, the same command goes on. What of a source cannot be used is left out, counted and said.
    """
    from rich.console import Console

    from askmask.build.mrseg.run import build_mrseg

    with progress_bar(console=Console(stderr=True)) as bar:
        tasks = {}

        def show(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=total)
            bar.update(tasks[what], completed=done, total=total)

        result = build_mrseg(source, out, seed=seed, pictures=pictures, limit=limit, on_progress=show)
    for line in (out / "statistics.md").read_text(encoding="utf-8").splitlines():
        say(line)
    for line in result.left_out.lines():
        say(f"  left out: {line}", err=True)
