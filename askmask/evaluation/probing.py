"""Run a probe over a data set: append-only, resumable; its rows summed up with intervals over conversations.

askmask-run.json   what is probed of what; a resume that differs is refused
rows.jsonl         one line per conversation: {"id", "rows": [{"group", measure: number, ...}, ...]}
failed.jsonl       conversations that could not be asked, tried again by the next run
summary.json       means and intervals
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from askmask.conversation import Example
from askmask.errors import AskMaskError, DataError, SettingError
from askmask.evaluation.bootstrap import mean_interval
from askmask.evaluation.predict import Progress
from askmask.evaluation.probes import PROBES
from askmask.evaluation.sequential import Asker
from askmask.runs.append_log import whole_rows
from askmask.runs.manifest import output_folder
from askmask.runs.whole_files import write_json

MADE_BY = "askmask probe"
ROWS, FAILED, SUMMARY = "rows.jsonl", "failed.jsonl", "summary.json"
EVERY = "all"  # the group of all rows


def run_probe(
    name: str,
    model: Any,
    examples: Sequence[Example],
    out: str | Path,
    *,
    facts: Mapping[str, str],
    seed: int = 0,
) -> Iterator[Progress]:
    """Probe a model on conversations that `out` does not hold yet; yield after every one. Raises SettingError."""
    if name not in PROBES:
        raise SettingError("no such probe", got=repr(name), do=f"Choose of {', '.join(PROBES)}.")
    ids = [example.id for example in examples]
    if len(set(ids)) < len(ids):
        raise DataError("an id occurs twice in the data set")
    out = Path(out)
    questions = hashlib.sha256("\n".join(ids).encode("utf-8", "surrogatepass")).hexdigest()
    with output_folder(
        out, MADE_BY, {**facts, "probe": name, "seed": seed, "questions": questions}
    ) as folder:
        folder.paths([ROWS, FAILED, SUMMARY])
        folder.remove(FAILED)
        with closing(folder.log(ROWS)) as rows, closing(folder.log(FAILED)) as failures:
            done = {str(row["id"]) for row in whole_rows(out / ROWS)}
            count, failed = len(done), 0
            asker, image = None, None
            yield Progress(count, len(ids))
            for example in examples:
                if example.id in done:
                    continue
                try:
                    if asker is None or image != example.image:
                        asker, image = Asker(model, example.image), example.image
                    chance = np.random.default_rng(
                        [seed, *hashlib.sha256(ascii(example.id).encode()).digest()]
                    )
                    found = list(PROBES[name](asker, example, chance))
                except AskMaskError as error:
                    failed += 1
                    failures.append({"id": example.id, "image": example.image, "reason": str(error)})
                else:
                    count += 1
                    rows.append({"id": example.id, "rows": found})
                yield Progress(count, len(ids), failed)
        write_json(out / SUMMARY, summary(out))


def summary(out: str | Path, *, resamples: int = 1000, seed: int = 0) -> dict[str, Any]:
    """Return {group: {"n", "conversations", measure: [mean, low, high]}} of a probe's rows, "all" first."""
    groups: dict[str, list[tuple[str, dict[str, Any]]]] = {EVERY: []}
    for line in whole_rows(Path(out) / ROWS):
        for row in line["rows"]:
            groups[EVERY].append((str(line["id"]), row))
            groups.setdefault(str(row["group"]), []).append((str(line["id"]), row))
    if len(groups) == 2:
        groups = {EVERY: groups[EVERY]}
    return {
        name: _means(groups[name], resamples, seed)
        for name in sorted(groups, key=lambda name: (name != EVERY, len(name), name))
        if groups[name]
    }


def _means(rows: Sequence[tuple[str, Mapping[str, Any]]], resamples: int, seed: int) -> dict[str, Any]:
    measures = list(dict.fromkeys(name for _, row in rows for name in row if name != "group"))
    means: dict[str, Any] = {"n": len(rows), "conversations": len({talk for talk, _ in rows})}
    for name in measures:
        talks, values = zip(*((talk, float(row[name])) for talk, row in rows if name in row), strict=True)
        means[name] = list(mean_interval(values, talks, resamples=resamples, seed=seed))
    return means
