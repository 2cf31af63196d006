"""Kill a run again and again with SIGKILL at random moments: is the store the same, was an answered call repeated?

    askmask world make --split val --count 10 --size 192 --dense --out truth
    python benchmarks/engine_kill.py --data truth --kills 30 --out results

A call counts as answered when its reply is in the store at the moment of the kill; the oracle's log tells what was
asked afterwards. Replies that were on their way when the process died cannot be known to it: at most `concurrency`
a kill, and they are counted.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from PIL import Image

from askmask.engine.store import RunStore
from askmask.runs.whole_files import write_json
from askmask.world.oracle import read_truth


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("/tmp/engine-kill"))
    parser.add_argument("--out", type=Path, default=Path("results"))
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--pictures", type=int, default=12)
    parser.add_argument("--concurrency", type=int, default=8)
    parser.add_argument("--latency", type=float, default=0.15)
    parser.add_argument("--errors", default="verdict=0.1,attribute=0.1,json=0.05,server=0.05,drop=0.05")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    report = kill_again_and_again(args)
    args.out.mkdir(parents=True, exist_ok=True)
    report["made_by"] = made_by()
    write_json(args.out / "engine_kill.json", report)
    print(json.dumps(report, indent=1))
    if not report["same_store"] or report["answered_calls_repeated"]:
        sys.exit(1)


def kill_again_and_again(args) -> dict:
    """Run undisturbed, then under kills, against one oracle; compare."""
    shutil.rmtree(args.work, ignore_errors=True)
    pictures = args.work / "pictures"
    pictures.mkdir(parents=True)
    for number, scene in zip(range(args.pictures), read_truth(args.data), strict=False):
        Image.fromarray(scene.rgb).save(pictures / f"{number:03d}.png")
    log = args.work / "oracle.jsonl"
    command = [sys.executable, "-m", "askmask", "world", "oracle", "--data", str(args.data), "--port", "0"]
    command += ["--errors", args.errors, "--latency", str(args.latency), "--log", str(log)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        address = server.stdout.readline().split()[-1]
        start = [sys.executable, "-m", "askmask", "engine", "run", str(pictures), "--model", "oracle-1"]
        start += ["--base-url", address, "--concurrency", str(args.concurrency), "--first-wait", "0.02"]
        calm, rough = args.work / "calm", args.work / "rough"
        began = time.monotonic()
        subprocess.run([*start, "--out", str(calm)], stderr=subprocess.DEVNULL, check=False)
        calm_s = time.monotonic() - began
        calm_lines = len(log.read_text().splitlines())
        kills, code, repeated = run_under_kills(
            start, rough, log, calm_lines, kills=args.kills, seed=args.seed, file=RunStore.FILE
        )
        lines = [json.loads(line) for line in log.read_text().splitlines()[calm_lines:]]
        with RunStore(calm) as one, RunStore(rough) as other:
            same = one.digest() == other.digest()
            integrity = other.query("PRAGMA integrity_check")[0][0]
            unfinished = sum(not other.finished(row.sha256) for row in other.pictures())
            replies = other.query("SELECT COUNT(*) FROM replies")[0][0]
        known = replies_in(rough, RunStore.FILE)
        after = [line for line in lines if line["id"]]
        return {
            "kills": kills,
            "exit_code_of_the_last": code,
            "same_store": same,
            "integrity": integrity,
            "unfinished_pictures": unfinished,
            "replies_kept": replies,
            "calls_answered": len(after),
            "in_flight_at_kills": sum(line["id"] not in known for line in after),
            "most_that_can_be_in_flight": kills * args.concurrency,
            "answered_calls_repeated": len(repeated),
            "undisturbed_seconds": round(calm_s, 1),
            "pictures": args.pictures,
            "concurrency": args.concurrency,
            "errors": args.errors,
        }
    finally:
        server.terminate()
        server.wait()


def run_under_kills(
    start: list[str], rough: Path, log: Path, before: int, *, kills: int, seed: int, file: str
) -> tuple[int, int, list[str]]:
    """Start a run again and again, killing it; return kills, the last exit code, answered requests asked again.

    `before`: lines of the oracle's log that an undisturbed run has left; `file`: the store in the run's folder.
    """
    done, moments = 0, random.Random(seed)
    recorded: set[str] = set()
    repeated: list[str] = []
    while True:
        process = subprocess.Popen([*start, "--out", str(rough)], stderr=subprocess.DEVNULL)
        if done < kills and not ended_before(process, log, moments, before // kills):
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            done += 1
            lines = [json.loads(line) for line in log.read_text().splitlines()[before:]]
            body_of = {line["id"]: line["body"] for line in lines if line["id"]}
            known = replies_in(rough, file)
            recorded |= {body_of[i] for i in known if i in body_of}
            answered = Counter(line["body"] for line in lines if line["id"])
            repeated = [body for body in recorded if answered[body] > 1 + _unkept(body, lines, known)]
            continue
        return done, process.wait(), repeated


def ended_before(process: subprocess.Popen, log: Path, moments: random.Random, calls: int) -> bool:
    """Wait for a random number of further calls and a random moment more; True if the run ended before.

    One kill in six comes while the process is still starting.
    """
    until = time.monotonic() + moments.uniform(0.1, 3) if moments.random() < 1 / 6 else None
    target = len(log.read_text().splitlines()) + moments.randint(1, max(2, 2 * calls))
    while process.poll() is None:
        if until is not None and time.monotonic() >= until:
            return False
        if len(log.read_text().splitlines()) >= target:
            time.sleep(moments.uniform(0, 0.25))
            return process.poll() is not None
        time.sleep(0.02)
    return True


def _unkept(body: str, lines: list[dict], known: set[str]) -> int:
    """How often this request was answered without the reply reaching the store (it was in flight at a kill)."""
    return sum(line["body"] == body and bool(line["id"]) and line["id"] not in known for line in lines)


def replies_in(run: Path, file: str) -> set[str]:
    """Return the ids of replies in a store that nobody has open."""
    path = run / file
    if not path.is_file():
        return set()
    with sqlite3.connect(path) as db:
        try:
            return {row[0] for row in db.execute("SELECT reply_id FROM replies")}
        except sqlite3.OperationalError:  # killed before its tables were made
            return set()


def made_by(script: str = "engine_kill") -> str:
    """Return this command, folders by name only."""
    return " ".join(
        ["python", f"benchmarks/{script}.py", *(Path(a).name if "/" in a else a for a in sys.argv[1:])]
    )


if __name__ == "__main__":
    main()
