"""`askmask score` and `askmask compare`: anybody's predictions against any ground truth."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from askmask.cli.app import app, say, say_json
from askmask.notes import Notes

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import Console

    from askmask.evaluation.scoring import Scored
    from askmask.evaluation.truth import Truth


class ProtocolName(StrEnum):
    """The named protocols, spelt out so that `--help` shows them without loading anything."""

    askmask = "askmask"
    converseg = "converseg"
    lisa = "lisa"
    rela = "rela"
    segllm = "segllm"
    prist = "prist"


GroundTruth = Annotated[
    str, typer.Option("--gt", help="Ground truth: a JSONL file, or a data set NAME:ROOT@SPLIT.")
]
ProtocolOption = Annotated[
    ProtocolName, typer.Option("--protocol", "-p", help="Whose conventions to score by.")
]
Json = Annotated[bool, typer.Option("--json", help="Print the scores as one JSON object and nothing else.")]
Resamples = Annotated[
    int, typer.Option(min=0, max=100_000, help="Bootstrap resamples; 0 leaves intervals out.")
]
Seed = Annotated[int, typer.Option(min=0, help="Seed of the bootstrap.")]
MinPixels = Annotated[
    int, typer.Option(min=0, help='Without a "no_target" statement, at most so many pixels mean "nothing".')
]

SCORE_HELP = """Score the PREDICTIONS of any model against ground truth.

A prediction is one line of JSON: {"id", "masks": \\[RLE or PNG path, ...], "no_target"?, "score"?, "text"?}.
What is missing counts as an empty mask, what is unknown is not scored, what is malformed or doubled is an
error that names the line. docs/evaluation.md says what every number means.

Examples:

    askmask score predictions.jsonl --gt truth.jsonl

    askmask score predictions.jsonl --gt reasonseg:data/ReasonSeg@val --protocol lisa --json

    askmask score predictions.jsonl --gt refcoco:data/refer@testA --report report/
"""

COMPARE_HELP = """Compare two runs item by item: differences B - A with bootstrap intervals.

A and B are prediction files (then --gt is needed) or report folders that `askmask score --report` wrote.

Examples:

    askmask compare old.jsonl new.jsonl --gt truth.jsonl

    askmask compare report-old/ report-new/ --protocol lisa
"""


TEXT_HELP = """Score the words of PREDICTIONS against gold replies: BLEU-4, ROUGE-L, METEOR, Dist-1/2.

Reads "text" of each prediction, of replies*.jsonl too where PREDICTIONS is the folder of a run. Replies that mark
a segmentation are templates and left out. METEOR says whether WordNet's synonyms were on this machine.

Examples:

    askmask score-text runs/net --gt "prist:data/PRIST@test?labels=no"

    askmask score-text predictions.jsonl --gt truth.jsonl --json
"""


@app.command(name="score", help=SCORE_HELP)
def score_command(
    predictions: Annotated[Path, typer.Argument(help="JSONL file, or a folder of predictions*.jsonl.")],
    gt: GroundTruth,
    protocol: ProtocolOption = ProtocolName.askmask,
    as_json: Json = False,
    report: Annotated[
        Path | None, typer.Option(help="Write report.html, report.md and all counts here.")
    ] = None,
    resamples: Resamples = 1000,
    seed: Seed = 0,
    min_pixels: MinPixels = 0,
) -> None:
    """Score predictions; see SCORE_HELP."""
    scored = _score(predictions, gt, protocol, min_pixels)
    data = scored.to_dict(resamples=resamples, seed=seed)
    if report is not None:
        from askmask.evaluation.report import write_report

        page = write_report(report, scored, data, truth=gt, about=about_run(predictions, gt))
        say(f"report: {page}", err=True)
    if as_json:
        say_json(data, indent=2)
    else:
        print_scores(data)


@app.command(name="score-text", help=TEXT_HELP)
def score_text_command(
    predictions: Annotated[Path, typer.Argument(help="JSONL file, or the folder of a run.")],
    gt: GroundTruth,
    as_json: Json = False,
) -> None:
    """Score replies in words; see TEXT_HELP."""
    from askmask.evaluation.opening import open_references
    from askmask.evaluation.text_scores import read_texts, text_scores

    data = text_scores(read_texts(predictions), open_references(gt))
    if as_json:
        say_json(data, indent=2)
        return
    print_words({"words": data})


@app.command(name="compare", help=COMPARE_HELP)
def compare_command(
    a: Annotated[Path, typer.Argument(help="Predictions or report folder A.")],
    b: Annotated[Path, typer.Argument(help="Predictions or report folder B.")],
    gt: Annotated[str | None, typer.Option("--gt", help="Ground truth, as for `score`.")] = None,
    protocol: ProtocolOption = ProtocolName.askmask,
    as_json: Json = False,
    resamples: Resamples = 1000,
    seed: Seed = 0,
    min_pixels: MinPixels = 0,
) -> None:
    """Compare two runs; see COMPARE_HELP."""
    from askmask.errors import SettingError
    from askmask.evaluation.compare import compare, read_counts

    runs = []
    for path in (a, b):
        if gt is not None:
            runs.append(_score(path, gt, protocol, min_pixels))
        elif (path / "counts.jsonl").is_file():
            runs.append(read_counts(path, protocol.value, min_pixels=min_pixels))
        else:
            raise SettingError(
                f"{path} is no report folder, so ground truth is needed",
                do="Add --gt, as for `askmask score`.",
            )
    data = compare(*runs, resamples=resamples, seed=seed)
    if as_json:
        say_json(data, indent=2)
    else:
        _print_comparison(data)


def _score(predictions: Path, gt: str, protocol: ProtocolName, min_pixels: int) -> Scored:
    from dataclasses import replace

    from askmask.evaluation.opening import open_truths, truth_hash

    notes = Notes()
    scored = score_run(predictions, open_truths(gt, notes), protocol, min_pixels, notes)
    digest = truth_hash(gt)
    return scored if digest is None else replace(scored, hashes={**scored.hashes, "truth": digest})


def score_run(
    predictions: Path, truths: Iterable[Truth], protocol: ProtocolName, min_pixels: int, left_out: Notes
) -> Scored:
    """Score with a progress line on stderr; `left_out` is what `truths` counts as left out while it is read."""
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    from askmask.evaluation.predictions import PredictionFiles
    from askmask.evaluation.scoring import score

    columns = SpinnerColumn(), TextColumn("scoring {task.completed:,} items"), TimeElapsedColumn()
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("")
        return score(
            PredictionFiles(predictions), truths, protocol=protocol.value, min_pixels=min_pixels, left_out=left_out,
            on_item=lambda _: progress.advance(task),
        )  # fmt: skip


def about_run(predictions: Path, gt: str) -> dict[str, str]:
    """Return what a report says of the run it tells of."""
    import shlex
    import sys
    from datetime import UTC, datetime

    from askmask.evaluation.opening import run_facts

    facts = {"predictions": str(predictions), "data set": gt} | run_facts(predictions)
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return facts | {"date": now, "command": shlex.join(["askmask", *sys.argv[1:]])}


def print_scores(data: dict[str, Any]) -> None:
    """Print the scores as tables; of prompts asked alone and of rounds of dialogues apart, if there are both."""
    from rich.console import Console

    console = Console()
    for name, part in (data.get("apart") or {"": data}).items():
        _print_part(console, part, f"prompts {name}, " if name else "")
    for note in data["notes"]:
        console.print(f"note: {_shown(note)}", markup=False)


def print_words(data: dict[str, Any]) -> None:
    """Print the scores of replies in words, if there are any."""
    for name, value in data.get("words", {}).items():
        say(f"{name:16}{_percent(value) + ' %' if isinstance(value, float) else value}")


def _print_part(console: Console, data: dict[str, Any], what: str) -> None:
    from rich.markup import escape
    from rich.table import Table

    from askmask.evaluation.scoring import telling_groups

    names = list(data["intervals"]) or ["gIoU", "cIoU"]
    title = f"{what}protocol {data['protocol']}, {data['n']:,} items"
    table = Table(title=title, title_justify="left")
    for heading in ("score", "%", "95% interval"):
        table.add_column(heading, justify="left" if heading == "score" else "right")
    for name in names:
        table.add_row(name, _percent(data[name]), _range(data["intervals"].get(name)))
    console.print(table)
    for key, values in telling_groups(data).items():
        table = Table(title=f"by {key}", title_justify="left")
        for heading in (key, "n", "gIoU %", "95% interval", "cIoU %", "N_acc %", "T_acc %"):
            table.add_column(heading, justify="left" if heading == key else "right")
        for value, part in values.items():
            table.add_row(
                escape(_shown(value)), f"{part['n']:,}", _percent(part["gIoU"]),
                _range(part["intervals"].get("gIoU")), *(_percent(part[name]) for name in ("cIoU", "N_acc", "T_acc")),
            )  # fmt: skip
        console.print(table)
    _print_rounds(console, data.get("rounds", {}))
    if "matched" in data:
        part = data["matched"]
        console.print(
            f"single masks, matched one to one ({part['n_masks']:,}): gIoU {_percent(part['gIoU'])} %, "
            f"cIoU {_percent(part['cIoU'])} %"
        )
    if "AP" in data:
        console.print(
            f"AP@[.5:.95] {_percent(data['AP'])} %, AP50 {_percent(data['AP50'])} %, by each mask's score"
        )


def _print_rounds(console: Console, data: dict[str, Any]) -> None:
    """Print gIoU by round of the dialogues that have all rounds up to one, and what a wrong first round costs."""
    from rich.table import Table

    if not data:
        return
    common, shown = data["common"], list(data["common"])[:9]
    if not shown:
        return
    table = Table(title="gIoU % by round, of dialogues that have them all", title_justify="left")
    for heading in ("rounds 1 to", "n", *(f"round {n}" for n in range(1, int(shown[-1]) + 1)), "fall"):
        table.add_column(heading, justify="right")
    for upto in shown:
        values = [_percent(value[0]) for value in common[upto]["gIoU"].values()]
        gap = [""] * (int(shown[-1]) - len(values))
        table.add_row(
            upto, f"{common[upto]['n']:,}", *values, *gap, _percent(common[upto]["fall"][0], sign=True)
        )
    console.print(table)
    table = Table(title="gIoU % after a right and a wrong round 1", title_justify="left")
    for heading in ("round", "right", "n", "wrong", "n", "difference", "95% interval"):
        table.add_column(heading, justify="right")
    for number, part in list(data["after_round_1"].items())[:9]:
        difference = part.get("difference") or [None, None, None]
        table.add_row(
            number, _percent(part["right"][1]), f"{part['right'][0]:,}", _percent(part["wrong"][1]),
            f"{part['wrong'][0]:,}", _percent(difference[0], sign=True),
            "-" if difference[1] is None else _range(difference[1:], sign=True),
        )  # fmt: skip
    console.print(table)


def _print_comparison(data: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    table = Table(title=f"protocol {data['protocol']}, {data['n']:,} items in both", title_justify="left")
    for heading in ("score", "A %", "B %", "B - A", "95% interval", "share of resamples B > A"):
        table.add_column(heading, justify="left" if heading == "score" else "right")
    for name, row in data["scores"].items():
        table.add_row(
            name, _percent(row["a"]), _percent(row["b"]), _percent(row["difference"], sign=True),
            _range(row["interval"], sign=True), "-" if row["b_better"] is None else f"{row['b_better']:.3f}",
        )  # fmt: skip
    console.print(table)
    console.print(
        f"item by item: B better on {data['b_wins']:,}, A better on {data['a_wins']:,}, equal on {data['ties']:,}"
    )
    for note in data["notes"]:
        console.print(f"note: {_shown(note)}", markup=False)


def _shown(text: str) -> str:
    """Spell out what a terminal would obey or could not print."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def _percent(value: float | None, *, sign: bool = False) -> str:
    return "-" if value is None else f"{100 * value:+.2f}" if sign else f"{100 * value:.2f}"


def _range(value: list[float] | None, *, sign: bool = False) -> str:
    return "-" if value is None else f"{_percent(value[0], sign=sign)} .. {_percent(value[1], sign=sign)}"
