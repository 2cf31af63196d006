"""Replies of one second, concurrency 16: how much faster than one call after the other, picture by picture?

The sequential order is that of the published script: one picture at a time, one call at a time. Both runs get the
same replies from one oracle; the ratio is taken within one invocation of this script.

    askmask world make --split val --count 8 --size 192 --dense --out truth
    python benchmarks/engine_throughput.py --data truth --out results
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image

from askmask.engine.pipeline import add_pictures
from askmask.engine.runs import Limits, RunPlan, begin, work
from askmask.engine.store import RunStore
from askmask.runs.whole_files import write_json
from askmask.vlm.opening import ModelChoice
from askmask.world.oracle import read_truth


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("results"))
    parser.add_argument("--pictures", type=int, default=16)
    parser.add_argument(
        "--sequential-pictures", type=int, default=None, help="fewer, to save time; scaled by calls"
    )
    parser.add_argument("--latency", type=float, default=1.0)
    parser.add_argument("--concurrency", type=int, default=16)
    args = parser.parse_args()
    command = [sys.executable, "-m", "askmask", "world", "oracle", "--data", str(args.data), "--port", "0"]
    server = subprocess.Popen([*command, "--latency", str(args.latency)], stdout=subprocess.PIPE, text=True)
    try:
        address = server.stdout.readline().split()[-1]
        with tempfile.TemporaryDirectory() as folder:
            paths = []
            for number, scene in zip(range(args.pictures), read_truth(args.data), strict=False):
                paths.append(Path(folder) / f"{number:03d}.png")
                Image.fromarray(scene.rgb).save(paths[-1])
            some = paths[: args.sequential_pictures or len(paths)]
            sequential = timed(Path(folder) / "one", address, some, concurrency=1, at_once=1)
            parallel = timed(
                Path(folder) / "many", address, paths, concurrency=args.concurrency, at_once=None
            )
    finally:
        server.terminate()
        server.wait()
    ratio = parallel["calls_per_second"] / sequential["calls_per_second"]
    report = {
        "made_by": made_by(),
        "latency_s": args.latency,
        "concurrency": args.concurrency,
        "sequential": sequential,
        "parallel": parallel,
        "ratio": round(ratio, 2),
        "machine": f"{os.cpu_count()} cores, shared with other work; load {os.getloadavg()[0]:.1f} at the end",
    }
    write_json(args.out / "engine_throughput.json", report)
    print(json.dumps(report, indent=1))


def timed(run: Path, address: str, paths: list[Path], *, concurrency: int, at_once: int | None) -> dict:
    with RunStore(run, create=True) as store:
        begin(store, RunPlan(writer=ModelChoice(model="oracle-1", base_url=address)))
        add_pictures(store, paths)
        began = time.monotonic()
        asyncio.run(work(store, Limits(concurrency=concurrency, pictures_at_once=at_once)))
        seconds = time.monotonic() - began
        calls = store.spent()[1]
        assert all(store.finished(row.sha256) for row in store.pictures())
    return {
        "pictures": len(paths),
        "calls": calls,
        "seconds": round(seconds, 1),
        "calls_per_second": round(calls / seconds, 3),
    }


def made_by() -> str:
    """Return this command, folders by name only."""
    return " ".join(
        [
            "python",
            "benchmarks/engine_throughput.py",
            *(Path(a).name if "/" in a else a for a in sys.argv[1:]),
        ]
    )


if __name__ == "__main__":
    main()
