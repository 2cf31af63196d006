"""`askmask eval`: a model over a data set, resumable and in shards, then its scores."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from askmask.cli.app import app, say, say_json
from askmask.cli.options import (
    Device,
    Dtype,
    Rewrite,
    Threshold,
    Yes,
    load_model,
    progress_bar,
    with_pointing,
    with_rewriting,
)
from askmask.cli.options import ProtocolName as NetProtocol
from askmask.cli.score import ProtocolName, about_run, print_scores, print_words, score_run
from askmask.notes import visible
from askmask.runs.whole_files import write_json

if TYPE_CHECKING:
    from askmask.conversation import Example

EVAL_HELP = """Run MODEL over DATASET and score the answers.

Stopped or killed, the same command goes on where it was. Nothing is teacher-forced but with --reference gt.

DATASET is NAME:ROOT@SPLIT (own, world, converseg, refcoco, refcoco+, refcocog, refclef, grefcoco, reasonseg,
mrseg, prist, muse, mmr, coco) or the path of askmask's own or ConverSeg's files.

Examples:

    askmask eval mini world/val --out runs/mini

    askmask eval converseg-net-3b converseg:data/ConverSeg@human_annotated --out runs/net --score-by converseg

    askmask eval point world/val --out runs/point --vlm-model qwen3-vl:8b --base-url http://localhost:11434/v1

    askmask eval mini world/val --reference pred --out runs/talks

    askmask eval converseg-net-3b refcoco:data/refer@val --out runs/rc --processes 2 --device cuda:0,cuda:1
"""


@app.command(name="eval", help=EVAL_HELP)
@with_pointing
def eval_command(
    model: Annotated[
        str,
        typer.Argument(
            help="mini, point, a kept name, a release, or a checkpoint folder.", show_default=False
        ),
    ],
    dataset: Annotated[str, typer.Argument(help="NAME:ROOT@SPLIT, or a path.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the run.")] = Path("askmask-eval"),
    score_by: Annotated[
        ProtocolName, typer.Option("--score-by", help="Whose conventions to score by.")
    ] = ProtocolName.askmask,
    reference: Annotated[
        str,
        typer.Option(
            help="The history a prompt has: none (each prompt alone), pred (the model's own answers), last (of these "
            "the round just before), gt (the true ones: teacher-forced), words (pred, references said by words alone), "
            "swap or random (wrong references)."
        ),
    ] = "none",
    processes: Annotated[
        int, typer.Option(min=1, max=256, help="Processes to share the pictures among.")
    ] = 1,
    shard: Annotated[
        str | None,
        typer.Option(help="I/N: answer shard I (from 0) of N only, e.g. one per machine; no scores."),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Take the first so many pictures only.")] = None,
    report: Annotated[bool, typer.Option("--report", help="Also write OUT/report/report.html.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the scores as one JSON object.")] = False,
    rewrite: Rewrite = None,
    protocol: NetProtocol = None,
    threshold: Threshold = None,
    device: Device = None,
    dtype: Dtype = None,
    yes: Yes = False,
    point: Any = None,
) -> None:
    """Run a model over a data set; see EVAL_HELP."""
    from askmask.evaluation.predict import answered_ids, failures

    known = {path: path.stat().st_size for path in out.glob("stats-*.jsonl")}
    if shard is not None or processes == 1:
        _run_shard(
            model,
            dataset,
            out,
            reference,
            shard,
            limit,
            rewrite,
            protocol,
            device,
            dtype,
            yes,
            point,
            threshold,
        )
    else:
        _run_processes(
            model,
            dataset,
            out,
            reference,
            processes,
            limit,
            rewrite,
            protocol,
            device,
            dtype,
            point,
            threshold,
        )
    failed = failures(out)
    for row in failed[:10]:
        say(f"  failed  {row['id']}: {row['reason']}", err=True)
    if len(failed) > 10:
        say(f"  and {len(failed) - 10} more, in {out}/failed-*.jsonl", err=True)
    for line in _statistics(out, known):
        say(line, err=True)
    if shard is None and (answered_ids(out) or not failed):
        _score(dataset, out, score_by, reference, limit, report, as_json)
    if failed:
        raise typer.Exit(1)


def _run_shard(
    model: str,
    dataset: str,
    out: Path,
    reference: str,
    shard: str | None,
    limit: int | None,
    rewrite: str | None,
    protocol: str | None,
    device: str | None,
    dtype: str | None,
    yes: bool,
    point: Mapping[str, Any],
    threshold: float | None,
) -> None:
    from rich.console import Console
    from rich.markup import escape

    from askmask.backend import replies_kept
    from askmask.evaluation.predict import MADE_BY, predict, predictor_of
    from askmask.evaluation.sequential import mode_of
    from askmask.runs.manifest import check_free

    number, shards = _shard(shard)
    check_free(out, MADE_BY)
    console = Console(stderr=True)
    with console.status(f"reading {escape(visible(dataset))}"):
        pictures = _plan(dataset, reference)
    loaded = with_rewriting(load_model(model, protocol, device, dtype, yes, point, threshold), rewrite)
    facts = {
        "model": loaded.name, "weights": loaded.backend.fingerprint, "net_protocol": loaded.backend.protocol_name,
        "dataset": dataset, "reference": reference, "mode": mode_of(reference),
    } | ({} if threshold is None else {"threshold": str(threshold)})  # fmt: skip
    with progress_bar(console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("asking", total=None)
        ask = predictor_of(loaded, reference=reference)  # type: ignore[arg-type]
        progresses = predict(
            ask, pictures, out,
            facts=facts, shard=number, shards=shards, limit=limit, keep_replies=partial(replies_kept, loaded.backend),
        )  # fmt: skip
        for progress in progresses:
            bar.update(task, completed=progress.done + progress.failed, total=progress.total)


def _run_processes(
    model: str,
    dataset: str,
    out: Path,
    reference: str,
    processes: int,
    limit: int | None,
    rewrite: str | None,
    protocol: str | None,
    device: str | None,
    dtype: str | None,
    point: Mapping[str, Any],
    threshold: float | None,
) -> None:
    """Start one process per shard and show their common progress by what they have written."""
    from rich.console import Console

    from askmask.errors import AskMaskError
    from askmask.evaluation.predict import MADE_BY, answered_ids, failures
    from askmask.runs.manifest import output_folder

    total = sum(len(c.items) for picture in _plan(dataset, reference)[:limit] for c in picture.conversations)
    devices = device.split(",") if device else [None]
    with output_folder(out, MADE_BY) as folder:  # let go before the processes, each of which holds its shard
        logs = folder.paths(f"log-{number:05d}-of-{processes:05d}.txt" for number in range(processes))
    children = []
    options: dict[str, Any] = {
        "--reference": reference,
        "--limit": limit,
        "--rewrite": rewrite,
        "--protocol": protocol,
        "--dtype": dtype,
        "--threshold": threshold,
    }
    options |= {"--" + name.replace("_", "-"): value for name, value in point.items()}
    for number in range(processes):
        options |= {"--shard": f"{number}/{processes}", "--device": devices[number % len(devices)]}
        flags = [str(part) for name, value in options.items() if value is not None for part in (name, value)]
        words = ["eval", model, dataset, "--out", str(out), *flags, "--yes"]
        command = [sys.executable, "-m", "askmask", *words]
        with logs[number].open("wb") as log:
            children.append(subprocess.Popen(command, stdout=log, stderr=log, env=os.environ))
    console = Console(stderr=True)
    try:
        with progress_bar(console=console, disable=not console.is_terminal) as bar:
            task = bar.add_task(f"asking, {processes} processes", total=total)
            written = _WrittenLines(out)
            while any(child.poll() is None for child in children):
                time.sleep(0.5)
                bar.update(task, completed=written.count())
    except BaseException:
        for child in children:
            child.terminate()
        raise
    finally:
        for child in children:
            child.wait()
    left = total - len(answered_ids(out)) - len(failures(out))
    broken = [number for number, child in enumerate(children) if child.returncode not in (0, 1)]
    if broken or left > 0:  # a crash ends with code 1 too, but leaves items neither answered nor failed
        number = broken[0] if broken else 0
        last = logs[number].read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
        raise AskMaskError(
            f"{left} items are not done; shard {number} of {processes} ended with code "
            f"{children[number].returncode}",
            got=last[0] if last else "no output",
            do=f"See {out}/log-*.txt; the same command goes on where it was.",
        )


class _WrittenLines:
    """Counts the lines that all shards have written, reading only what is new each time."""

    def __init__(self, out: Path):
        self.out, self.lines = out, 0
        self._read: dict[Path, int] = {}

    def count(self) -> int:
        """Return the number of whole lines now."""
        for kind in ("predictions", "replies"):
            for path in self.out.glob(f"{kind}-*.jsonl"):
                with path.open("rb") as file:
                    file.seek(self._read.get(path, 0))
                    new = file.read()
                self._read[path] = self._read.get(path, 0) + len(new)
                self.lines += new.count(b"\n")
        return self.lines


def _plan(dataset: str, reference: str) -> list:
    from askmask.errors import DataError
    from askmask.evaluation.predict import plan
    from askmask.formats import open_dataset

    pictures = plan(open_dataset(dataset), reference=reference)
    if not pictures:
        raise DataError(
            "the data set holds no labelled item", got=dataset, do="Check the path and the split."
        )
    return pictures


def _shard(text: str | None) -> tuple[int, int]:
    from askmask.errors import SettingError

    if text is None:
        return 0, 1
    number, slash, shards = text.partition("/")
    if not slash or not re.fullmatch(r"[0-9]{1,6}", number) or not re.fullmatch(r"0*[1-9][0-9]{0,5}", shards):
        raise SettingError("--shard must be I/N, counted from 0", got=repr(text))
    return int(number), int(shards)


def _score(
    dataset: str,
    out: Path,
    score_by: ProtocolName,
    reference: str,
    limit: int | None,
    report: bool,
    as_json: bool,
) -> None:
    from askmask.evaluation.predict import MADE_BY, plan
    from askmask.evaluation.sequential import TEACHER_FORCED, mode_of
    from askmask.evaluation.truth import truths_of
    from askmask.formats import open_dataset
    from askmask.notes import Notes
    from askmask.runs.manifest import output_folder

    pictures = plan(open_dataset(dataset))[:limit] if limit else []
    kept, notes = {picture.image for picture in pictures}, Notes()
    examples = (e for e in open_dataset(dataset, notes=notes) if limit is None or e.image in kept)
    scored = score_run(out, truths_of(examples), score_by, 0, notes)
    data = scored.to_dict() | {"mode": mode_of(reference), "reference": reference}
    words = (e for e in open_dataset(dataset) if limit is None or e.image in kept)
    data |= _scores_of_words(out, words, data["notes"])
    if reference == "gt":
        data["notes"] = [TEACHER_FORCED.capitalize() + ".", *data["notes"]]
    with output_folder(out, MADE_BY) as folder:
        write_json(folder.path("scores.json"), data, indent=2)
    if report:
        from askmask.evaluation.report import write_report

        page = write_report(out / "report", scored, data, truth=dataset, about=about_run(out, dataset))
        say(f"report: {page}", err=True)
    if as_json:
        say_json(data, indent=2)
        return
    print_scores(data)
    print_words(data)
    if alone := (data.get("apart") or {}).get("alone"):
        say(
            f"Prompts asked alone that have a target, which is what the README reports: gIoU "
            f"{100 * alone['gIoU_target']:.1f} %. Rounds of dialogues, asked with reference {reference!r}, are apart."
        )


def _scores_of_words(out: Path, examples: Iterable[Example], notes: list[str]) -> dict[str, Any]:
    """Return {"words": scores} where the data set holds gold replies and the model said anything; else {}."""
    from askmask.errors import MissingExtra
    from askmask.evaluation.text_scores import read_texts, references_of, text_scores

    texts, references = read_texts(out), list(references_of(examples))
    if not references or not any(texts.values()):
        return {}
    try:
        return {"words": text_scores(texts, references)}
    except MissingExtra as error:
        notes.append(f"Replies in words are not scored: {error}")
        return {}


def _statistics(out: Path, known: Mapping[Path, int]) -> list[str]:
    """Return a line for each shard; of one whose file is as large as is `known`, nothing was asked now."""
    from askmask.errors import DataError
    from askmask.runs.append_log import whole_rows

    lines = []
    for path in sorted(out.glob("stats-*.jsonl")):
        row = next(reversed(list(whole_rows(path))), None)
        if row is None:  # killed before its line was whole
            continue
        try:
            when = "nothing was left to ask; before: " if path.stat().st_size == known.get(path) else ""
            lines.append(f"{path.stem.removeprefix('stats-')}: {when}{_in_words(row)}")
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{path}: no statistics of a run", got=repr(error), do="Remove it.") from error
    return lines


def _in_words(row: Mapping[str, Any]) -> str:
    words = f"{row['items']} items in {row['seconds']} s, {row['items_per_second']} a second"
    if paid := row.get("paid"):
        words += f", {paid['calls']} calls"
        words += f" for ${paid['usd']:.4f}" if paid["usd"] else ""
    for key, what in (("memory_mb", "memory"), ("cuda_memory_mb", "graphics memory")):
        if key in row:
            words += f", {what} {row[key]:,.0f} MB"
    return words
