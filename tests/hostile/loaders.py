"""Damaged files through every reader: `python -m tests.hostile.loaders SEED FIRST LAST` prints a row of JSON a case.

A case passes if reading ends in a result or in an AskMaskError that names the file, in time and within the memory
that is allowed, with no file changed. The process that reads is a child: it can be killed and started again.
"""

from __future__ import annotations

import json
import os
import random
import re
import resource
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from askmask.errors import AskMaskError
from tests.hostile.mutate import ELSEWHERE, damage
from tests.hostile.sets import SETS

ROOT = Path(__file__).parents[2]
MEMORY = 3 << 30  # bytes that a child may hold, the interpreter and the libraries included
SLOW_S = 1.0  # of processor time
AT_ONCE = (
    1000  # cases of one child: the limit is meant for a reader, not for what libraries keep of thousands
)
STUCK_S = 600.0  # of any time: a busy machine is no fault


def one_case(number: int, seed: int, folder: Path) -> dict[str, Any]:
    """Damage one file of one set below `folder`, read the set, and say how that ended."""
    names = sorted(SETS)
    name = names[number % len(names)]
    chance = random.Random(f"{seed} {number}")
    sets = SETS[name]
    clean, root = folder / "clean" / name, folder / "case"
    if not clean.exists():
        clean.mkdir(parents=True)
        sets.write(clean)
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(clean, root)
    hit = chance.choice(sets.hit)
    case = {"case": number, "set": name, "file": hit, "damage": damage(root / hit, chance)}
    before = _state(folder)
    began = time.process_time()
    try:
        sets.read(root)
        outcome = "read"
    except AskMaskError as error:
        said = str(error)
        outcome = "refused" if _names(said, root) else "no file named"
        case["said"] = said[:300]
    except MemoryError:
        outcome = "memory"
    except Exception as error:
        outcome, case["said"] = "crashed", f"{type(error).__name__}: {error}"[:300]
    took = time.process_time() - began
    if outcome in ("read", "refused") and took > SLOW_S:
        outcome = f"slow: {took:.1f} s"
    if _state(folder) != before:
        outcome = "files changed"
    return case | {"outcome": outcome}


def _names(said: str, root: Path) -> bool:
    kept = os.environ["ASKMASK_CACHE"]  # where pictures lie that were inside a table
    return (
        str(root) in said
        or kept in said
        or any(path in said for path in ELSEWHERE)  # the picture that a damaged row names
        or any(path.name in said for path in root.rglob("*") if path.is_file())
    )


def _state(folder: Path) -> list[tuple[str, int, int]]:
    return sorted((str(path), path.stat().st_size, path.stat().st_mtime_ns)
                  for path in [*folder.rglob("*"), *Path.cwd().glob("*")] if path.is_file())  # fmt: skip


def good(row: dict[str, Any]) -> bool:
    return row["outcome"] in ("read", "refused")


def run(seed: int, first: int, last: int) -> Iterator[dict[str, Any]]:
    """Yield a row a case; a child that is stuck or dies is the failure of the case that it was at."""
    while first < last:
        until = min(last, first + AT_ONCE)
        command = [sys.executable, "-m", "tests.hostile.loaders", str(seed), str(first), str(until)]
        child = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, env=os.environ | {"OMP_NUM_THREADS": "1"}
        )
        assert child.stdout is not None
        try:
            while first < until:
                if not select.select([child.stdout], [], [], STUCK_S)[0]:
                    outcome = f"stuck for {STUCK_S:.0f} s"
                    break
                line = child.stdout.readline()
                if not line:
                    outcome = f"the process died: {child.wait()}"
                    break
                yield json.loads(line)
                first += 1
            else:
                continue
            yield {"case": first, "set": sorted(SETS)[first % len(SETS)], "outcome": outcome}
            first += 1
        finally:
            child.kill()
            child.wait()
            child.stdout.close()


def main() -> None:
    import warnings

    warnings.simplefilter("ignore")
    seed, first, last = map(int, sys.argv[1:])
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # libraries print
    with tempfile.TemporaryDirectory() as temporary:
        os.environ["ASKMASK_CACHE"] = f"{temporary}/cache"
        (Path(temporary) / "at").mkdir()
        os.chdir(Path(temporary) / "at")
        for number in range(first, last):
            row = one_case(number, seed, Path(temporary) / "work")
            out.write(re.sub("[\ud800-\udfff]", "?", json.dumps(row)) + "\n")
            shutil.rmtree(Path(temporary) / "cache", ignore_errors=True)


if __name__ == "__main__":
    main()
