"""`askmask probe`: what a model's answers depend on that they should not, or should."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from askmask.cli.app import app, say, say_json
from askmask.cli.options import (
    Device,
    Dtype,
    ProtocolName,
    Rewrite,
    Yes,
    load_model,
    progress_bar,
    with_pointing,
    with_rewriting,
)
from askmask.notes import visible

PROBE_HELP = """Probe MODEL on the conversations of DATASET: ask in two ways, and compare the answers.

order: earlier rounds shuffled. queries: prompts without reference shuffled. swap: another reference. necessity:
scores with right, no and wrong references. propagation: what wrong earlier rounds cost. keyword: the side alone.
mirror: picture and words mirrored. template: the same in other words.

"agreement" is the IoU of two answers, "changed" the share below 0.5; intervals are over conversations. Stopped or
killed, the same command goes on where it was. DATASET is as for `askmask eval`.

Examples:

    askmask probe order mini world/val --out runs/order

    askmask probe necessity mini world/val --limit 200 --out runs/necessity --json

    askmask probe template converseg-net-3b refcoco:data/refer@val --limit 500 --out runs/template
"""


class Kind(StrEnum):
    """The probes, spelt out so that `--help` shows them without loading anything."""

    order = "order"
    queries = "queries"
    swap = "swap"
    necessity = "necessity"
    propagation = "propagation"
    keyword = "keyword"
    mirror = "mirror"
    template = "template"


@app.command(name="probe", help=PROBE_HELP)
@with_pointing
def probe_command(
    kind: Annotated[Kind, typer.Argument(help="What to probe.", show_default=False)],
    model: Annotated[
        str, typer.Argument(help="mini, a release, or a checkpoint folder.", show_default=False)
    ],
    dataset: Annotated[str, typer.Argument(help="NAME:ROOT@SPLIT, or a path.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the run.")] = Path("askmask-probe"),
    limit: Annotated[
        int | None, typer.Option(min=1, help="Take the first so many conversations only.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of what is shuffled or drawn.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as one JSON object.")] = False,
    rewrite: Rewrite = None,
    protocol: ProtocolName = None,
    device: Device = None,
    dtype: Dtype = None,
    yes: Yes = False,
    point: Any = None,
) -> None:
    """Probe a model; see PROBE_HELP."""
    from itertools import islice

    from rich.console import Console
    from rich.markup import escape

    from askmask.errors import DataError
    from askmask.evaluation.probing import MADE_BY, run_probe, summary
    from askmask.formats import open_dataset
    from askmask.runs.manifest import check_free

    check_free(out, MADE_BY)
    console = Console(stderr=True)
    with console.status(f"reading {escape(visible(dataset))}"):
        talks = (
            e for e in open_dataset(dataset) if kind not in DIALOGUES or (len(e.rounds) > 1 or handed(e))
        )
        examples = list(islice(talks, limit))
    if not examples:
        raise DataError("the data set holds no conversation to probe", got=dataset)
    loaded = with_rewriting(load_model(model, protocol, device, dtype, yes, point), rewrite)
    facts = {
        "model": loaded.name, "weights": loaded.backend.fingerprint, "net_protocol": loaded.backend.protocol_name,
        "dataset": dataset,
    }  # fmt: skip
    failed = 0
    with progress_bar(console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(f"probing {kind}", total=None)
        for progress in run_probe(kind.value, loaded, examples, out, facts=facts, seed=seed):
            bar.update(task, completed=progress.done + progress.failed, total=progress.total)
            failed = progress.failed
    found = summary(out)
    if as_json:
        say_json(found, indent=1)
    else:
        _print(found)
    if failed:
        say(
            f"{failed} conversations failed, see {out}/failed.jsonl; the same command tries them again",
            err=True,
        )
        raise typer.Exit(1)


DIALOGUES = (Kind.order, Kind.queries, Kind.swap, Kind.necessity, Kind.propagation)


def handed(example: Any) -> bool:
    """Whether a prompt of an example was handed a mask beside its words."""
    return any(round.prompt.masks for round in example.rounds)


def _print(found: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table()
    for heading in ("group", "n", "conversations", "measure", "mean", "95% interval"):
        table.add_column(heading, justify="left" if heading in ("group", "measure") else "right")
    for group, part in found.items():
        for number, (measure, (mean, low, high)) in enumerate(
            (name, value) for name, value in part.items() if isinstance(value, list)
        ):
            head = (group, f"{part['n']:,}", f"{part['conversations']:,}") if not number else ("", "", "")
            table.add_row(*head, measure, f"{mean:.3f}", f"{low:.3f} .. {high:.3f}")
    Console().print(table if found else "no prompt of these conversations can be probed so")
