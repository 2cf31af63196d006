"""The long run: `python -m tests.hostile.run --cases 20000 --replies 500 --uploads 2000 --kills 100`.

Every case is a row of a log in `--work`: a run that was stopped goes on where it was, with the same commit and seed.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from askmask.runs.append_log import whole_rows
from askmask.runs.manifest import OutputFolder, git_commit, output_folder
from askmask.runs.whole_files import write_text
from tests.conftest import GOLDEN

Row = dict[str, Any]


@dataclass(frozen=True)
class Part:
    """One kind of attack: `run(first, last)` yields the rows of these cases, `good` says which of them passed."""

    title: str
    cases: int
    run: Callable[[int, int], Iterator[Row]]
    good: Callable[[Row], bool]


def rows_of(part: Part, folder: OutputFolder) -> list[Row]:
    """Return the rows of a part, those in its log and then those that are still to be tried."""
    name = part.title.lower().replace(" ", "-") + ".jsonl"
    with folder.log(name) as log:
        rows = list(whole_rows(log.path))
        began, bad = time.monotonic(), 0
        for row in part.run(len(rows), part.cases) if len(rows) < part.cases else ():
            log.append(row)
            rows.append(row)
            if not part.good(row):
                bad += 1
                print(told(row), file=sys.stderr)
            if len(rows) % 100 == 0:
                took = time.monotonic() - began
                print(
                    f"{part.title}: {len(rows)} of {part.cases}, {bad} failed, {took:.0f} s", file=sys.stderr
                )
    return rows[: part.cases]


def told(row: Row) -> str:
    """Return one failed case in words."""
    where = f"{row.get('file', '')} {row.get('damage', '')}"
    return f"- case {row['case']}, {row['set']}: {row['outcome']}; {where}; {row.get('said', '')}"


def table(part: Part, rows: list[Row]) -> list[str]:
    """Return the lines of a table of sets and outcomes, and the failed cases below it."""
    counts: dict[str, Counter[str]] = {}
    for row in rows:
        count = counts.setdefault(row["set"], Counter())
        count[row["outcome"] if part.good(row) else "failed"] += 1
        if "hit" in row:
            count["killed at work"] += row["hit"]
    columns = sorted({outcome for count in counts.values() for outcome in count} - {"failed"})
    lines = [f"## {part.title}", "", f"| | tried | {' | '.join(columns)} | failed |",
             "|---" + "|---:" * (len(columns) + 2) + "|"]  # fmt: skip
    for name, count in [*sorted(counts.items()), ("all", sum(counts.values(), Counter()))]:
        tried = sum(count.values()) - count["killed at work"]
        cells = " | ".join(str(count[column]) for column in columns)
        lines.append(f"| {name} | {tried} | {cells} | {count['failed']} |")
    bad = [told(row) for row in rows if not part.good(row)]
    return [*lines, "", *(bad or ["Failed: nothing."]), ""]


def main() -> int:
    """Run all three and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=20_000, help="damaged files")
    parser.add_argument("--replies", type=int, default=500)
    parser.add_argument("--uploads", type=int, default=2_000, help="damaged requests to a server")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--golden", type=Path, default=GOLDEN, help="for convert-published and the Hub")
    parser.add_argument("--work", type=Path, default=Path("runs/hostile"), help="logs of the cases tried")
    parser.add_argument("--out", type=Path, default=Path("results/hostile.md"))
    asked = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    from tests.hostile import kills, loaders, replies, uploads

    seed = asked.seed
    facts = {"seed": seed, "commit": git_commit(), "golden": asked.golden.is_dir()}
    with (
        tempfile.TemporaryDirectory() as temporary,
        output_folder(asked.work, "tests.hostile.run", facts, option="--work") as folder,
    ):
        root = Path(temporary)
        os.environ |= {"ASKMASK_CACHE": f"{root}/cache", "HF_HOME": f"{root}/hf", "HF_HUB_OFFLINE": "1"}
        parts = (
            Part("Damaged files", asked.cases, lambda *some: loaders.run(seed, *some), loaders.good),
            Part("Hostile replies", asked.replies, lambda *some: replies.run(seed, *some, root / "r"), replies.good),
            Part("Uploads", asked.uploads, lambda *some: uploads.run(seed, *some, root / "u"), uploads.good),
            Part("Kills", asked.kills, lambda *some: kills.run(seed, *some, root / "k", asked.golden), kills.good),
        )  # fmt: skip
        tried = {part: rows_of(part, folder) for part in parts if part.cases}
    lines = ["# Attacked on purpose", "", "Made by `python -m tests.hostile.run "
             f"--cases {asked.cases} --replies {asked.replies} --uploads {asked.uploads} --kills {asked.kills} "
             f"--seed {seed}` at commit {facts['commit']}.",
             "What counts as failed is said at the top of each file of `tests/hostile`.", ""]  # fmt: skip
    for part, rows in tried.items():
        lines += table(part, rows)
    write_text(asked.out, "\n".join(lines).rstrip() + "\n")
    return int(any(not part.good(row) for part, rows in tried.items() for row in rows))


if __name__ == "__main__":
    sys.exit(main())
