"""Hostile soak: ten thousand mixed requests, two thousand of them hostile; no crash, no leak, every refusal says why.

    python benchmarks/serve_soak.py [--requests 10000] [--hostile 2000] [--out results/serve_soak.json]

Two owners, anna and ben, work in their own sessions whose names hold a mark of theirs; whatever one gets back must not
hold the other's mark, session or key. Hostile are: broken JSON, wrong types, huge and cut and slow bodies, bombs, path
tricks, private addresses, foreign origins and hosts, wrong keys, and ben's reach for anna's sessions.
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import random
import shlex
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import httpx
from PIL import Image
from serve_load import Server, pictures

OWNERS = {"anna": "anna-key-0123456789abcdef", "ben": "ben-key-0123456789abcdefg"}
SESSIONS, CLIENTS = 10, 8


def bomb() -> str:
    """A small file of very many pixels."""
    buffer = io.BytesIO()
    Image.new("1", (30_000, 30_000)).save(buffer, format="PNG")
    return base64.b64encode(buffer.getvalue()).decode()


class Soak:
    """What all clients share."""

    def __init__(self, server: Server):
        self.server = server
        self.address = server.url.removeprefix("http://").split(":")
        self.sessions: dict[str, list[str]] = {owner: [] for owner in OWNERS}
        self.status: Counter = Counter()
        self.silent: list[str] = []  # refusals that do not say why
        self.leaks: list[str] = []
        self.broken: list[str] = []  # answers that should not have come
        self.bomb = bomb()
        self.lock = threading.Lock()

    def client(self, owner: str) -> httpx.Client:
        return httpx.Client(
            base_url=self.server.url, timeout=120, headers={"Authorization": f"Bearer {OWNERS[owner]}"}
        )

    def note(self, kind: str, owner: str, answer: httpx.Response, *, refused: bool) -> None:
        """Look at an answer."""
        text = answer.text if "json" in answer.headers.get("content-type", "") else ""
        other = "ben" if owner == "anna" else "anna"
        with self.lock:
            self.status[f"{kind} {answer.status_code}"] += 1
            if any(secret in text for secret in (OWNERS[other], f"mark-of-{other}", *self.sessions[other])):
                self.leaks.append(f"{kind}: {text[:200]}")
            if answer.status_code >= 400 and not _says_why(answer):
                self.silent.append(f"{kind} {answer.status_code}: {text[:200]}")
            inside = answer.status_code >= 500 and answer.status_code != 503
            if inside or (refused and answer.status_code < 400):
                self.broken.append(f"{kind} {answer.status_code}: {text[:200]}")
            if not refused and answer.status_code >= 400 and answer.status_code not in (409, 429):
                self.broken.append(f"{kind} {answer.status_code}: {text[:200]}")


def _says_why(answer: httpx.Response) -> bool:
    try:
        return len(answer.json()["error"]["what"]) > 5
    except (ValueError, KeyError, TypeError):
        # The HTTP layer itself refuses what is no HTTP, in plain words.
        return answer.status_code == 400 and len(answer.text) > 5


def usual(soak: Soak, client: httpx.Client, owner: str, dice: random.Random) -> None:
    """One thing that people do."""
    number = dice.randrange(SESSIONS)
    session, prompts = soak.sessions[owner][number], pictures()[number % 12][1]
    base = f"/v1/sessions/{session}"
    kind, call = dice.choices(
        [
            ("ask", lambda: client.post(f"{base}/rounds", json={"text": dice.choice(prompts)})),
            ("box", lambda: client.post(f"{base}/rounds", json={"boxes": [[100, 100, 200, 200]]})),
            ("read", lambda: client.get(base)),
            ("list", lambda: client.get("/v1/sessions")),
            ("models", lambda: client.get("/v1/models")),
            ("overlay", lambda: client.get(f"{base}/overlay.png")),
            ("masks", lambda: client.get(f"{base}/masks.zip")),
            ("saved", lambda: client.get(f"{base}/saved")),
            ("undo", lambda: client.post(f"{base}/undo")),
            ("add", lambda: client.post(f"{base}/segments", json={"mask": {"polygons": [[[[9, 9], [90, 9], [90, 90]]]]}})),
            ("metrics", lambda: client.get("/metrics")),
            ("page", lambda: client.get("/")),
        ],
        weights=[12, 2, 30, 10, 10, 2, 4, 5, 12, 3, 5, 5],
    )[0]  # fmt: skip
    soak.note(kind, owner, call(), refused=False)


def hostile(soak: Soak, client: httpx.Client, owner: str, dice: random.Random) -> None:
    """One thing that nobody should do."""
    other = "ben" if owner == "anna" else "anna"
    mine, theirs = dice.choice(soak.sessions[owner]), dice.choice(soak.sessions[other])
    rounds = f"/v1/sessions/{mine}/rounds"
    raw = {"Content-Type": "application/json"}
    private = [
        "http://127.0.0.1/",
        "http://169.254.169.254/",
        "http://[::1]:80/",
        "file:///etc/passwd",
        "http://10.1.2.3/",
    ]
    junk = bytes(dice.randrange(256) for _ in range(200))
    choices = [
        ("broken json", lambda: client.post(rounds, content=dice.choice([b"{", b"]", junk, b'{"text":', b"\xff"]), headers=raw)),
        ("wrong types", lambda: client.post(rounds, json=dice.choice([[], 5, {"text": []}, {"points": "x"}, {"boxes": [[1]]}, {"about": [1]}, {"mask": 3}]))),
        ("odd marks", lambda: client.post(rounds, json={"points": [[dice.choice([-1, 1e9, 99999]), 5]]})),
        ("deep", lambda: client.post(rounds, content=b'{"a":' * 5000, headers=raw)),
        ("long", lambda: client.post(rounds, json={"text": "x" * 50_000})),
        ("many", lambda: client.post("/v1/segment", json={"picture": {"data": "AAAA"}, "prompts": ["x"] * 5000})),
        ("huge", lambda: client.post("/v1/segment", content=b"x" * (3 << 20), headers={"Content-Type": "image/png"})),
        ("bomb", lambda: client.post("/v1/segment", json={"picture": {"data": soak.bomb}, "prompts": ["x"]})),
        ("no picture", lambda: client.post("/v1/sessions", files={"picture": ("a.png", junk)})),
        ("bad form", lambda: client.post("/v1/sessions", content=junk, headers={"Content-Type": "multipart/form-data; boundary=x"})),
        ("private address", lambda: client.post("/v1/segment", json={"picture": {"url": dice.choice(private)}, "prompts": ["x"]})),
        ("wrong key", lambda: httpx.get(soak.server.url + "/v1/sessions", headers={"Authorization": "Bearer " + "x" * 20})),
        ("foreign host", lambda: client.get("/v1/sessions", headers={"Host": "evil.example"})),
        ("foreign origin", lambda: client.post(rounds, json={"text": "x"}, headers={"Origin": "https://evil.example"})),
        ("others' session", lambda: client.request(*dice.choice([("GET", f"/v1/sessions/{theirs}"), ("DELETE", f"/v1/sessions/{theirs}"), ("GET", f"/v1/sessions/{theirs}/saved"), ("GET", f"/v1/sessions/{theirs}/page.html"), ("POST", f"/v1/sessions/{theirs}/undo")]))),
        ("others' round", lambda: client.post(f"/v1/sessions/{theirs}/rounds", json={"text": "x"})),
        ("no such thing", lambda: client.get(dice.choice(["/v1/jobs/x", "/v2", "/v1/sessions/" + "A" * 22, "/page/x", "/.env"]))),
        ("wrong method", lambda: client.request("PATCH", "/v1/segment")),
        ("bad label studio", lambda: client.post("/label-studio/predict", json={"tasks": [{"data": {"image": "/etc/passwd"}}], "label_config": "<View/>"})),
        ("bad chat", lambda: client.post("/openai/v1/chat/completions", json={"messages": [{"role": "user", "content": junk.hex()}]})),
    ]  # fmt: skip
    kind = dice.randrange(len(choices) + 3)
    if kind < len(choices):
        name, call = choices[kind]
        soak.note(name, owner, call(), refused=True)
    else:
        name, sent, wait = [
            ("path trick", f"GET /page/{dice.choice(['../app.py', '..%2f..%2fapp.py', '%2e%2e/app.py', '....//app.py'])} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", True),
            ("cut", f"POST {rounds} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {OWNERS[owner]}\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n{{", False),
            ("slow", "GET /v1/ses", dice.random() < 0.05),
        ][kind - len(choices)]  # fmt: skip
        said = raw_request(soak.address, sent, wait)
        with soak.lock:
            soak.status[f"{name} {said.split()[1].decode() if said[:4] == b'HTTP' else 'cut off'}"] += 1
            if name == "path trick" and b"import" in said:
                soak.leaks.append(name)


def raw_request(address: list[str], sent: str, wait: bool) -> bytes:
    """Send bytes; wait for the answer, or go away in the middle."""
    with socket.create_connection((address[0], int(address[1])), timeout=60) as line:
        line.sendall(sent.encode())
        said = b""
        while wait and (piece := line.recv(65536)):
            said += piece
    return said


def worker(soak: Soak, owner: str, kinds: list[bool], seed: int) -> None:
    """Do a client's part."""
    dice = random.Random(seed)
    with soak.client(owner) as client:
        for bad in kinds:
            try:
                (hostile if bad else usual)(soak, client, owner, dice)
            except httpx.HTTPError as error:
                with soak.lock:
                    soak.status[f"connection {type(error).__name__}"] += 1


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--hostile", type=int, default=2_000)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        keys = Path(folder) / "keys"
        keys.write_text("\n".join(OWNERS.values()))
        options = ("--keys", str(keys), "--max-body", "2", "--max-pixels", "4", "--allow-urls", "--rate", "0")
        server = Server(Path(folder) / "data", *options)
        soak = Soak(server)
        for owner in OWNERS:
            with soak.client(owner) as client:
                for number in range(SESSIONS):
                    path = pictures()[number % 12][0]
                    name = f"mark-of-{owner}-{number}.jpg"
                    made = client.post("/v1/sessions", files={"picture": (name, path.read_bytes())})
                    soak.sessions[owner].append(made.raise_for_status().json()["id"])
        kinds = [True] * given.hostile + [False] * (given.requests - given.hostile)
        random.Random(0).shuffle(kinds)
        before, start = server.memory_mb(), time.perf_counter()
        threads = [
            threading.Thread(target=worker, args=(soak, ["anna", "ben"][n % 2], kinds[n::CLIENTS], n))
            for n in range(CLIENTS)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        seconds, after = time.perf_counter() - start, server.memory_mb()
        alive = httpx.get(f"{server.url}/ready", timeout=60).status_code == 200
        with soak.client("anna") as client:
            whole = all(client.get(f"/v1/sessions/{s}").status_code == 200 for s in soak.sessions["anna"])
        code = server.stop()
        log = server.log_text()
    secrets = [
        s for s in (*OWNERS.values(), "mark-of-", *soak.sessions["anna"], *soak.sessions["ben"]) if s in log
    ]
    result = {
        "command": shlex.join(["python", "benchmarks/serve_soak.py", *sys.argv[1:]]),
        "requests": given.requests,
        "hostile": given.hostile,
        "seconds": seconds,
        "alive_at_the_end": alive,
        "all_sessions_there": whole,
        "leaks": soak.leaks,
        "refusals_that_do_not_say_why": soak.silent,
        "answers_that_should_not_have_come": soak.broken,
        "errors_in_the_log": log.count("ERROR"),
        "secrets_in_the_log": len(secrets),
        "memory_mb": {"before": before, "after": after},
        "exit_code": code,
        "status": dict(sorted(soak.status.items())),
    }
    print(json.dumps(result, indent=1))
    if given.out:
        given.out.write_text(json.dumps(result, indent=1) + "\n")
    sys.exit(bool(soak.leaks or soak.silent or soak.broken or not alive))


if __name__ == "__main__":
    main()
