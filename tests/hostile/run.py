"""The long run: `python -m tests.hostile.run --cases 20000 --replies 500 --kills 100 --out results/hostile.md`."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from askmask.runs.manifest import git_commit
from askmask.runs.whole_files import write_text
from tests.conftest import GOLDEN

Rows = Iterable[dict[str, Any]]


def tally(title: str, rows: Rows, good: Callable[[dict[str, Any]], bool]) -> tuple[list[str], int]:
    """Return the lines of a table of sets and outcomes, and how many failed; failures are listed below it."""
    counts: dict[str, Counter[str]] = {}
    bad: list[str] = []
    began = time.monotonic()
    for number, row in enumerate(rows, 1):
        counts.setdefault(row["set"], Counter())[row["outcome"] if good(row) else "failed"] += 1
        if "hit" in row:
            counts[row["set"]]["killed at work"] += row["hit"]
        if not good(row):
            bad.append(
                f"- case {row['case']}, {row['set']}: {row['outcome']}; {row.get('file', '')} {row.get('damage', '')}; {row.get('said', '')}"
            )
            print(bad[-1], file=sys.stderr)
        if number % 500 == 0:
            print(f"{title}: {number}, {len(bad)} failed, {time.monotonic() - began:.0f} s", file=sys.stderr)
    columns = sorted({outcome for count in counts.values() for outcome in count} - {"failed"})
    lines = [
        f"## {title}",
        "",
        f"| | tried | {' | '.join(columns)} | failed |",
        "|---" + "|---:" * (len(columns) + 2) + "|",
    ]
    for name, count in [*sorted(counts.items()), ("all", sum(counts.values(), Counter()))]:
        tried = sum(count.values()) - count["killed at work"]
        lines.append(
            f"| {name} | {tried} | {' | '.join(str(count[c]) for c in columns)} | {count['failed']} |"
        )
    return [*lines, "", *(bad or ["Failed: nothing."]), ""], len(bad)


def main() -> int:
    """Run all three and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=20_000, help="damaged files")
    parser.add_argument("--replies", type=int, default=500)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--golden", type=Path, default=GOLDEN, help="for convert-published and the Hub")
    parser.add_argument("--out", type=Path, default=Path("results/hostile.md"))
    asked = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    from tests.hostile import kills, loaders, replies

    lines = ["# Attacked on purpose", "", "Made by `python -m tests.hostile.run "
             f"--cases {asked.cases} --replies {asked.replies} --kills {asked.kills} --seed {asked.seed}` at commit {git_commit()}.",
             "What counts as failed is said at the top of each file of `tests/hostile`.", ""]  # fmt: skip
    failed = 0
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        os.environ |= {"ASKMASK_CACHE": f"{root}/cache", "HF_HOME": f"{root}/hf", "HF_HUB_OFFLINE": "1"}
        for name in ("replies", "kills"):
            (root / name).mkdir()
        for title, rows, good in (
            ("Kills", lambda: kills.run(asked.seed, asked.kills, root / "kills", asked.golden), kills.good),
            (
                "Hostile replies",
                lambda: replies.run(asked.seed, 0, asked.replies, root / "replies"),
                replies.good,
            ),
            ("Damaged files", lambda: loaders.run(asked.seed, 0, asked.cases), loaders.good),
        ):
            if not {"Kills": asked.kills, "Hostile replies": asked.replies, "Damaged files": asked.cases}[
                title
            ]:
                continue
            told, bad = tally(title, rows(), good)  # type: ignore[no-untyped-call]
            lines, failed = [*lines, *told], failed + bad
    write_text(asked.out, "\n".join(lines).rstrip() + "\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
