"""`askmask batch`: many pictures, resumable."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer

from askmask.cli.app import app, say
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
    progress_bar,
    with_pointing,
)

EXAMPLES = """
Ask many pictures. Started again with the same --out, it goes on where it stopped.

Examples:

  askmask batch photos/ --prompt "what could fall" --prompt "the exit" --out results

  askmask batch "photos/**/*.jpg" --prompt "what could fall" --out results

  askmask batch questions.jsonl --out results --overlays

INPUT is a folder or a pattern in quotes (every picture gets every --prompt), or a JSONL file with
{"image", "prompt", "id"?} a line, where an image may be a URL if those are allowed.
Writes results.jsonl, one answer a line, and failed.jsonl with reasons; the exit code is 1 if any item failed.
"""


@app.command(help=EXAMPLES)
@with_pointing
def batch(
    source: Annotated[
        str, typer.Argument(metavar="INPUT", help="A folder, a pattern or a JSONL file.", show_default=False)
    ],
    prompt: Annotated[
        list[str] | None, typer.Option("--prompt", help="For a folder; may be repeated.")
    ] = None,
    model: ModelName = "mini",
    protocol: ProtocolName = None,
    threshold: Threshold = None,
    words: WithWords = True,
    allow_urls: AllowUrls = False,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the results.")] = Path("askmask-batch"),
    overlays: Annotated[
        bool, typer.Option("--overlays", help="Also write an overlay for each answer.")
    ] = False,
    device: Device = None,
    dtype: Dtype = None,
    yes: Yes = False,
    point: Any = None,
) -> None:
    """Ask many pictures."""
    from rich.console import Console

    from askmask.batch import FAILED, MADE_BY, RESULTS, read_items, run_batch
    from askmask.runs.manifest import check_free

    items, bad = read_items(source, prompt or ())
    check_free(out, MADE_BY)
    loaded = load_model(model, protocol, device, dtype, yes, point, threshold)
    failures = [f"{row}: {reason}" for row, reason in bad]
    found = answered = 0
    notices = Counter[str]()
    with progress_bar(console=Console(stderr=True)) as bar:
        task = bar.add_task("asking", total=len(items))

        def start(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)
            if done:
                bar.console.print(f"{done} of {total} were answered before")

        for outcome in run_batch(
            loaded,
            items,
            out,
            source=source,
            unusable=bad,
            overlays=overlays,
            words=words,
            on_start=start,
            allow_urls=allow_urls,
            threshold=threshold,
        ):
            bar.advance(task)
            if outcome.answer is None:
                failures.append(f"{outcome.item.key}: {outcome.reason}")
            else:
                answered += 1
                found += outcome.answer.found
                notices.update(outcome.answer.notices)
    say(f"{answered} answered now ({found} found something), {len(failures)} failed; {out / RESULTS}")
    for notice, count in notices.most_common(5):
        say(f"note, of {count} answers: {notice}", err=True)
    if failures:
        for line in failures[:20]:
            say(f"  failed  {line}", err=True)
        if len(failures) > 20:
            say(f"  and {len(failures) - 20} more, in {out / FAILED}", err=True)
        raise typer.Exit(1)
