"""Load on loopback: many clients ask in many sessions, against the same prompts asked in one process, in the same run.

    python benchmarks/serve_load.py [--clients 16] [--asks 200] [--sessions 50] [--out results/serve_load.json]

The work is cut into pieces; each piece is asked of the server and then in this process, so that whatever else the
machine does falls on both. Prints requests a second of both and their ratio, latencies, refusals by status, and the
server's memory in the first and the last quarter.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import shlex
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

if TYPE_CHECKING:
    import askmask

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "askmask" / "serving" / "page" / "examples"
PIECES = 10  # short, as what else the machine does changes
REPLAYED = 3  # sessions asked once more at the end, one round after the other


class Server:
    """`askmask serve` in a process of its own."""

    def __init__(self, data: Path, *options: str):
        env = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
        command = [sys.executable, "-m", "askmask", "serve", "--port", "0", "--data", str(data), *options]
        self.log = (data.parent / "server.log").open("ab")
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=self.log, text=True
        )
        assert self.process.stdout is not None
        first = self.process.stdout.readline()
        self.url = next((word for word in first.split() if word.startswith("http")), "")
        if not self.url:
            raise SystemExit(f"the server did not start; see {self.log.name}")
        while httpx.get(f"{self.url}/ready", timeout=60).status_code != 200:
            time.sleep(0.2)

    def memory_mb(self) -> float:
        """Memory that the process holds now (Linux)."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) / 1024

    def cpu_s(self) -> float:
        """Processor time that the process has taken so far (Linux)."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def log_text(self) -> str:
        """What it wrote to stderr so far."""
        return Path(self.log.name).read_text(errors="replace")

    def stop(self, how: int = 15) -> int:
        """Send a signal and wait."""
        self.process.send_signal(how)
        return self.process.wait(120)


def pictures() -> list[tuple[Path, list[str]]]:
    """The example pictures and what may be asked about each."""
    listed = json.loads((EXAMPLES / "examples.json").read_text(encoding="utf-8"))["pictures"]
    return [(EXAMPLES / one["file"], one["prompts"]) for one in listed]


def planned(clients: int, asks: int, sessions: int, seed: int = 0) -> list[list[tuple[int, str]]]:
    """Return for each client its asks: (session, prompt)."""
    dice, shelf = random.Random(seed), pictures()
    plan = []
    for _ in range(clients):
        chosen = [dice.randrange(sessions) for _ in range(asks)]
        plan.append([(s, dice.choice(shelf[s % len(shelf)][1])) for s in chosen])
    return plan


def open_sessions(url: str, count: int) -> list[str]:
    """Open sessions over the example pictures in turn; return their ids."""
    shelf = pictures()
    with httpx.Client(base_url=url, timeout=120) as client:
        opened = []
        for number in range(count):
            path = shelf[number % len(shelf)][0]
            answer = client.post("/v1/sessions", files={"picture": (path.name, path.read_bytes())})
            opened.append(answer.raise_for_status().json()["id"])
    return opened


def ask_all(
    lines: list[httpx.Client], sessions: list[str], plan: list[list[tuple[int, str]]], seen: dict
) -> float:
    """Let every client ask its part; return the seconds that took."""

    def client(line: httpx.Client, part: list[tuple[int, str]]) -> None:
        place = ""
        for session, prompt in part:
            while True:
                start = time.perf_counter()
                answer = line.post(f"/v1/sessions/{sessions[session]}/rounds", json={"text": prompt})
                seen["status"][answer.status_code] += 1
                while answer.status_code == 202:  # it takes longer than a call waits: its job has it
                    place = answer.headers.get("location") or place
                    answer = line.get(place, params={"wait": 25})
                if answer.status_code == 200:
                    seen["latency"].append(time.perf_counter() - start)
                    break
                if answer.status_code != 429:
                    seen["faults"].append(answer.text[:200])
                    break
                time.sleep(float(answer.headers["retry-after"]))

    threads = [
        threading.Thread(target=client, args=(line, part)) for line, part in zip(lines, plan, strict=True)
    ]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--asks", type=int, default=200, help="of each client")
    parser.add_argument("--sessions", type=int, default=50)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()

    import torch

    import askmask

    torch.set_num_threads(1)
    model = askmask.load(device="cpu")
    shelf = pictures()
    own = [model.open(shelf[n % len(shelf)][0]) for n in range(given.sessions)]
    own[0].ask_many(["warm up"])
    plan = planned(given.clients, given.asks, given.sessions)
    seen: dict = {"status": Counter(), "latency": [], "faults": []}
    served: list[float] = []
    alone: list[float] = []
    memory: list[float] = []
    cpu = {"server": 0.0, "clients": 0.0, "in_one_process": 0.0}
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder) / "data", "--quiet")
        sessions = open_sessions(server.url, given.sessions)
        lines = [httpx.Client(base_url=server.url, timeout=120) for _ in plan]
        size = -(-given.asks // PIECES)
        for first in range(0, given.asks, size):
            piece = [part[first : first + size] for part in plan]
            watch = threading.Event()
            watcher = threading.Thread(target=_watch, args=(server, watch, memory))
            watcher.start()
            before = server.cpu_s(), time.process_time()
            served.append(ask_all(lines, sessions, piece, seen))
            cpu["server"] += server.cpu_s() - before[0]
            cpu["clients"] += time.process_time() - before[1]
            watch.set()
            watcher.join()
            start, before_cpu = time.perf_counter(), time.process_time()
            for step in range(size):
                for part in piece:
                    if step < len(part):
                        own[part[step][0]].ask(part[step][1])
            alone.append(time.perf_counter() - start)
            cpu["in_one_process"] += time.process_time() - before_cpu
            print(
                f"piece {len(served)}: served {served[-1]:.1f} s, in one process {alone[-1]:.1f} s",
                flush=True,
            )
        figures = httpx.get(f"{server.url}/metrics", timeout=60).text
        same = _same_masks(server.url, sessions, model)
        code = server.stop()
        log = server.log_text()
    total = given.clients * given.asks
    quarter = max(1, len(memory) // 4)
    latency = sorted(seen["latency"])
    rows = _figure(figures, "askmask_batch_prompts_sum"), _figure(figures, "askmask_batch_prompts_count")
    result = {
        "command": shlex.join(["python", "benchmarks/serve_load.py", *sys.argv[1:]]),
        "model": model.name,
        "machine": f"{platform.machine()}, {platform.system()}, {os.cpu_count()} cores, shared",
        "asks": total,
        "served_per_s": total / sum(served),
        "in_one_process_per_s": total / sum(alone),
        "ratio": sum(alone) / sum(served),
        "ratio_of_pieces": {"median": statistics.median(a / s for a, s in zip(alone, served, strict=True))},
        "processor_s_per_ask": {name: seconds / total for name, seconds in cpu.items()},
        "latency_s": {
            "median": statistics.median(latency),
            "p95": latency[int(0.95 * len(latency))],
            "max": latency[-1],
        },
        "status": {str(status): count for status, count in sorted(seen["status"].items())},
        "faults": seen["faults"][:5],
        "prompts_answered_together": rows[0] / rows[1],
        "memory_mb": {
            "first_quarter": statistics.mean(memory[:quarter]),
            "last_quarter": statistics.mean(memory[-quarter:]),
            "most": max(memory),
        },
        "same_masks_as_in_one_process": {"sessions": min(REPLAYED, given.sessions), "same": same},
        "errors_in_the_log": log.count("ERROR"),
        "exit_code": code,
    }
    print(json.dumps(result, indent=1))
    if given.out:
        given.out.write_text(json.dumps(result, indent=1) + "\n")


def _watch(server: Server, stop: threading.Event, memory: list[float]) -> None:
    while not stop.wait(0.5):
        memory.append(server.memory_mb())


def _figure(text: str, name: str) -> float:
    return float(next(line for line in text.splitlines() if line.startswith(name)).split()[-1])


def _same_masks(url: str, sessions: list[str], model: askmask.Model) -> bool:
    """Whether the rounds of a session, asked one after the other in one process, get the masks that were served.

    In the order in which they were asked: what was said before is part of a prompt.
    """
    shelf = pictures()
    with httpx.Client(base_url=url, timeout=120) as client:
        for number, name in enumerate(sessions[:REPLAYED]):
            session = model.open(shelf[number % len(shelf)][0])
            for round in client.get(f"/v1/sessions/{name}").json()["rounds"]:
                answer = session.ask(round["prompt"]["text"])
                served = [segment["mask"]["rle"]["counts"] for segment in round["segments"] or ()]
                if [mask.counts for mask in answer.masks] != served:
                    return False
    return True


if __name__ == "__main__":
    main()
