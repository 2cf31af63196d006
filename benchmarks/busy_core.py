"""Time `mini` on two cores, quiet and with another program holding one of them: one thread, or torch's own choice.

python benchmarks/busy_core.py [--repeat 20] [--out results/busy_core.json]

Every number comes from a process of its own that may use two cores. Only the ratios within one run mean something, and
the quiet ones only on a quiet machine: the load before each is kept beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time

import numpy as np

from askmask.runs.whole_files import write_json

BUSY = "while True: pass"
PROMPTS = ("the red mug left of the tallest bottle", "what could I take away without anything falling?")
CASES = {  # threads of mini (None: torch's own choice), how threads wait
    "torch's own choice": (None, "ACTIVE"),
    "torch's own choice, waiting passively": (None, "PASSIVE"),
    "as askmask does": (1, "PASSIVE"),
}


def measure(threads: int | None, repeat: int) -> dict[str, float]:
    """Return the medians in milliseconds of a first and of a further prompt about a picture."""
    import torch

    import askmask

    torch.set_num_threads(2)
    model = askmask.load("mini", device="cpu")
    model.backend.net.threads = threads
    picture = np.random.default_rng(0).integers(0, 255, (192, 192, 3), dtype=np.uint8)
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(repeat + 2):
        session = None
        for prompt, taken in zip(PROMPTS, times, strict=True):
            began = time.perf_counter()
            session = session or model.open(picture)
            session.ask(prompt)
            taken.append(1000 * (time.perf_counter() - began))
    first, further = (round(statistics.median(taken[2:]), 1) for taken in times)
    return {"first_prompt_ms": first, "further_prompt_ms": further}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeat", type=int, default=20)
    parser.add_argument("--out", default="results/busy_core.json")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
    if given.case:
        print(json.dumps(measure(CASES[given.case][0], given.repeat)))
        return
    rows = []
    for busy in (False, True):
        beside = subprocess.Popen([sys.executable, "-c", BUSY]) if busy else None
        try:
            for case, (_, waiting) in CASES.items():
                load = round(os.getloadavg()[0], 1)
                done = subprocess.run(
                    [sys.executable, __file__, "--case", case, "--repeat", str(given.repeat)],
                    env=os.environ | {"OMP_WAIT_POLICY": waiting, "OMP_NUM_THREADS": "2"},
                    capture_output=True, text=True, check=True,
                )  # fmt: skip
                rows.append(
                    {"threads": case, "busy_core": busy, "load_before": load} | json.loads(done.stdout)
                )
                print(rows[-1], flush=True)
        finally:
            if beside:
                beside.kill()
                beside.wait()
    write_json(given.out, {"cores": 2, "machine": platform.processor() or platform.machine(), "rows": rows})


if __name__ == "__main__":
    main()
