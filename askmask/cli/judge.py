"""`askmask judge`: a model grades the dialogues of a run, and compares them with the true ones or another run's."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from askmask.cli.app import app, say, say_json
from askmask.errors import DataError, SettingError
from askmask.runs.json_text import read_object
from askmask.runs.whole_files import write_json

if TYPE_CHECKING:
    from askmask.evaluation.judge import Dialogue

JUDGE_HELP = """Have a model grade the dialogues of RUN: PR, LC, CC, TR from 1 to 5, and the win rate against others.

Temperature 0, every question --repeats times, pairs in both orders; replies that cannot be read are counted. Every
reply is kept in RUN/judge.sqlite: the same command again calls nobody. A dialogue that cannot be asked about is
counted and named, and the exit code is 1.

Examples:

    askmask judge runs/talks --gt world/val --model qwen3-vl:8b --base-url http://localhost:11434/v1

    askmask judge runs/talks --gt world/val --model judge.jsonl --vlm replay
"""


@app.command(name="judge", help=JUDGE_HELP)
def judge_command(
    run: Annotated[Path, typer.Argument(help="Folder of `askmask eval`.", show_default=False)],
    gt: Annotated[str, typer.Option("--gt", help="The data set it was run over.")],
    model: Annotated[str, typer.Option(help="The judge's model id; a file for replay.")],
    vlm: Annotated[
        str, typer.Option(help="openai (any compatible server), google, local or replay.")
    ] = "openai",
    base_url: Annotated[str | None, typer.Option(help="Of an OpenAI-compatible endpoint.")] = None,
    api_key_env: Annotated[str | None, typer.Option(help="Variable that holds the key.")] = None,
    against: Annotated[
        Path | None, typer.Option(help="Another run to compare with; without it, the true dialogues.")
    ] = None,
    repeats: Annotated[int, typer.Option(min=1, max=9, help="How often everything is asked.")] = 3,
    limit: Annotated[int | None, typer.Option(min=1, help="Take the first so many dialogues.")] = None,
    pictures: Annotated[bool, typer.Option(help="Show the judge picture and marks.")] = True,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Default RUN/judged.json.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print all as one JSON object.")] = False,
) -> None:
    """Judge a run; see JUDGE_HELP."""
    from askmask.evaluation.judge import VlmJudge, judge_dialogues, win_rate
    from askmask.vlm.opening import ModelChoice

    if not run.is_dir():
        raise DataError("RUN must be a folder of `askmask eval`", got=run)
    kept = out or _free(run / "judged.json")
    ours = _dialogues(run, gt, pictures)[:limit]
    theirs = _dialogues(against, gt, pictures)[:limit]
    if not ours:
        raise DataError("no dialogue there that ends on something to mark", got=gt)
    choice = ModelChoice(provider=vlm, model=model, base_url=base_url, api_key_env=api_key_env)
    with VlmJudge(choice, ledger=run / "judge.sqlite") as judge:
        data: dict[str, Any] = {
            "grades": judge_dialogues(judge, ours, repeats=repeats),
            "against": "the true dialogues" if against is None else against.name,
            "win_rate": win_rate(judge, ours, theirs, repeats=repeats),
        }
    write_json(kept, data, indent=2)
    if as_json:
        say_json(data, indent=2)
        return _end(data)
    grades, pairs = data["grades"], data["win_rate"]
    say(f"{grades['n']} dialogues, judged by {grades['judge']}, {repeats} times each")
    for name, what in (("PR", "progress"), ("LC", "coherence"), ("CC", "fits the picture"), ("TR", "target")):
        mean, spread = grades[name], grades["sd_between_repeats"][name]
        say(f"{name} {'-' if mean is None else f'{mean:.2f} (sd of repeats {spread:.2f})'}  {what}")
    rate = "-" if pairs["win_rate"] is None else f"{100 * pairs['win_rate']:.1f} %"
    say(
        f"wins against {data['against']}: {rate} ({pairs['wins']} won, {pairs['losses']} lost, {pairs['ties']} tied)"
    )
    unread = grades["replies_unread"], pairs["n_unread"]
    say(
        f"not read: {unread[0]} of {grades['replies']} grades, {unread[1]} of {pairs['comparisons']} comparisons"
    )
    _end(data)


def _free(path: Path) -> Path:
    """Return the path unless somebody else's file lies there: it would be written over unasked."""
    if path.exists() and not {"grades", "win_rate"} <= read_object(path).keys():
        raise SettingError(
            f"{path} is in the way and was not written by `askmask judge`", do="Choose another --out."
        )
    return path


def _end(data: dict[str, Any]) -> None:
    failed = data["win_rate"]["failed"] | data["grades"]["failed"]
    for name, reason in failed.items():
        say(f"failed  {name}: {reason}", err=True)
    if failed:
        raise typer.Exit(1)


def _dialogues(run: Path | None, gt: str, pictures: bool) -> list[Dialogue]:
    """Return a run's dialogues, or the true ones without a run."""
    from askmask.evaluation.judge import dialogues_of
    from askmask.evaluation.predictions import PredictionFiles
    from askmask.evaluation.text_scores import read_texts
    from askmask.formats import open_dataset

    examples = open_dataset(gt)
    if run is None:
        return dialogues_of(examples, pictures=pictures)
    return dialogues_of(examples, read_texts(run), PredictionFiles(run), pictures=pictures)
