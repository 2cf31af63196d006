"""kill -9 at random moments under load: is any round lost that was answered?

    python benchmarks/serve_kill.py [--kills 20] [--out results/serve_kill.json]

Eight clients ask in twelve sessions; the server is killed, started again, asked for all that it holds, and the load
goes on. Every round that a client got an answer for must be there with the same masks, and none twice.
"""

from __future__ import annotations

import argparse
import json
import random
import shlex
import sys
import tempfile
import threading
import time
from pathlib import Path

import httpx
from serve_load import Server, open_sessions, pictures

CLIENTS, SESSIONS = 8, 12


def load(url: str, sessions: list[str], kept: list, stop: threading.Event, seed: int) -> None:
    """Ask, rename and undo until the server is gone; note every round that was answered, and its end."""
    dice, shelf = random.Random(seed), pictures()
    with httpx.Client(base_url=url, timeout=30) as client:
        while not stop.is_set():
            number = dice.randrange(len(sessions))
            session, prompt = sessions[number], dice.choice(shelf[number % len(shelf)][1])
            key = f"{seed}-{dice.random()}"
            try:
                answer = client.post(
                    f"/v1/sessions/{session}/rounds", json={"text": prompt}, headers={"Idempotency-Key": key}
                )
            except httpx.HTTPError:
                kept.append((session, key, prompt, None))  # nobody knows: asked again under its key later
                return
            if answer.status_code == 200:
                kept.append((session, key, prompt, answer.json()["rounds"][0]))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    dice = random.Random(1)
    kept: list = []
    sessions: list[str] = []
    lost: list = []
    starts: list[float] = []
    answered = unknown = 0
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        for kill in range(given.kills):
            start = time.perf_counter()
            server = Server(data, "--quiet")
            starts.append(time.perf_counter() - start)
            sessions = sessions or open_sessions(server.url, SESSIONS)
            stop, before = threading.Event(), len(kept)
            threads = [
                threading.Thread(target=load, args=(server.url, sessions, kept, stop, 1000 * kill + n))
                for n in range(CLIENTS)
            ]
            for thread in threads:
                thread.start()
            target = before + dice.randrange(5, 60)
            while len(kept) < target:
                time.sleep(dice.uniform(0, 0.05))
            server.stop(9)
            stop.set()
            for thread in threads:
                thread.join()
            print(f"kill {kill + 1}/{given.kills} after {len(kept) - before} more answers", flush=True)
        server = Server(data, "--quiet")
        with httpx.Client(base_url=server.url, timeout=120) as client:
            held = {}
            for session in sessions:
                for round in client.get(f"/v1/sessions/{session}").json()["rounds"]:
                    held[session, round["id"]] = round
            for session, _key, _prompt, round in kept:
                if round is not None:
                    answered += 1
                    found = held.get((session, round["id"]))
                    if found is None or found["segments"] != round["segments"]:
                        lost.append((session, round["id"]))
                else:
                    unknown += 1
            twice = len(held) - answered
            # What was under way: asked again under its key, it is there once.
            for session, key, prompt, round in kept:
                if round is None:
                    client.post(
                        f"/v1/sessions/{session}/rounds",
                        json={"text": prompt},
                        headers={"Idempotency-Key": key},
                    ).raise_for_status()
            total = sum(len(client.get(f"/v1/sessions/{s}").json()["rounds"]) for s in sessions)
        server.stop()
    result = {
        "command": shlex.join(["python", "benchmarks/serve_kill.py", *sys.argv[1:]]),
        "kills": given.kills,
        "answered_rounds": answered,
        "lost": len(lost),
        "under_way_when_killed": unknown,
        "of_these_on_disk": twice,
        "rounds_after_all_were_asked_again_under_their_keys": total,
        "none_twice": total == answered + unknown,
        "start_s": {"median": sorted(starts)[len(starts) // 2], "max": max(starts)},
    }
    print(json.dumps(result, indent=1))
    if given.out:
        given.out.write_text(json.dumps(result, indent=1) + "\n")
    sys.exit(bool(lost))


if __name__ == "__main__":
    main()
