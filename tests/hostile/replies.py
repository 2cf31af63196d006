"""Hostile replies: a real endpoint on loopback whose oracle answers well, but for one reply of a run.

A case passes if the run ends in a result or an AskMaskError in time, the key is nowhere on disk, and the endpoint
being well again, `retry` brings the run to what it would have been.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import random
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from askmask.engine.pipeline import add_pictures
from askmask.engine.report import report_of
from askmask.engine.runs import Limits, RunPlan, begin, work
from askmask.engine.settings import Settings
from askmask.engine.store import RunStore
from askmask.engine.values import STAGES
from askmask.errors import AskMaskError
from askmask.vlm.errors import ERROR_CLASSES
from askmask.vlm.opening import ModelChoice
from askmask.world.oracle import Gallery, Oracle, read_truth
from askmask.world.oracle_server import OracleServer, _Handler
from tests.engine.flatworld import write_flatworld
from tests.hostile.mutate import damage_value, text_of

KEY = "hK$7:tile/Key=Zq9"
STUCK_S = 900  # of any time: a busy machine is no fault
LIMITS = Limits(concurrency=4, attempts=2, first_wait_s=0.01, longest_wait_s=0.05)
STATUSES = (200, 204, 302, 400, 401, 402, 403, 404, 408, 409, 413, 418, 422, 429, 500, 503, 529, 599)
CODES = (
    "content_filter",
    "insufficient_quota",
    "invalid_api_key",
    "data_inspection_failed",
    "unsupported_parameter",
    5,
    None,
    ["x"],
)
WAITS = (
    "0",
    "-5",
    "nan",
    "inf",
    "1e400",
    "99999999",
    "Wed, 21 Oct 2099 07:28:00 GMT",
    "soon",
    "²",
    "9" * 5000,
)
WAYS = ("content", "body", "bytes", "status", "echo", "sort of reply", "size")


def spoil(body: dict[str, Any], random: random.Random) -> tuple[str, int, bytes, dict[str, str]]:
    """Return (how, status, payload, headers) in the place of a good reply."""
    way = random.choice(WAYS)
    whole, headers, status = json.dumps(body).encode(), {}, 200
    message = body["choices"][0]["message"]
    if way == "content":
        content, how = damage_value(json.loads(message["content"]), random)
        message["content"] = text_of(content)
        return f"content: {how}", 200, json.dumps(body).encode(), {}
    if way == "body":
        damaged, how = damage_value(body, random)
        return f"body: {how}", 200, text_of(damaged).encode(), {}
    if way == "bytes":
        at = random.randrange(len(whole))
        change = random.choice(
            (
                whole[:at],
                whole[:at] + b"\xff\xfe" + whole[at:],
                b"",
                b"null",
                b"[1]",
                b'"x"',
                b"5",
                b"[" * 200_000,
                b"<html>no</html>",
                b"\0" * 100,
            )
        )
        return "bytes", 200, change, {}
    if way == "status":
        status = random.choice(STATUSES)
        error = {
            "message": random.choice(
                ("no", "", None, 5, {"a": [KEY]}, "\ud83d", "<b>\x1b[31m", "seed is not supported")
            ),
            "code": random.choice(CODES),
            "type": "t",
            "param": random.choice(("seed", None, "model", [])),
        }
        headers = {"Retry-After": random.choice(WAITS)} if random.random() < 0.5 else {}
        return (
            f"status {status}",
            status,
            json.dumps(
                random.choice(({"error": error}, {"error": "no"}, {"detail": [error]}, [], {}))
            ).encode(),
            headers,
        )
    if way == "echo":
        place = random.choice(("content", "refusal", "model", "id", "name", "header"))
        if place in ("content", "refusal"):
            message[place] = f"the key is {KEY}, Bearer {KEY}"
        elif place == "header":
            headers = {"X-Request-Id": KEY, "Retry-After": KEY}
        else:
            body[place] = KEY
        return f"echo in {place}", random.choice((200, 400, 401, 500)), json.dumps(body).encode(), headers
    if way == "size":
        big = random.choice(("x" * 3_000_000, "9" * 6000, "{" * 100_000))
        if random.random() < 0.3:
            return "gzip of much", 200, gzip.compress(b" " * 200_000_000, 1), {"Content-Encoding": "gzip"}
        message["content"] = random.choice(
            (
                big,
                json.dumps(
                    {"scene": big, "regions": [{"description": big, "kind": "thing", "parent": None}] * 3}
                ),
            )
        )
        return "large", 200, json.dumps(body).encode(), {}
    message.update(random.choice((
        {"content": None}, {"content": ""}, {"content": [{"type": "text", "text": message["content"]}]}, {"content": None, "refusal": "I will not."},
        {"content": None, "tool_calls": [{"id": "x", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
        {"content": "<think>" + "no " * 400}, {"content": message["content"][:20]}, {"content": None, "reasoning_content": "hm"},
    )))  # fmt: skip
    body["choices"][0]["finish_reason"] = random.choice(
        ("stop", "length", "content_filter", "tool_calls", "odd", None, 5)
    )
    body["usage"] = random.choice(
        (
            None,
            {},
            [],
            "many",
            {"prompt_tokens": -5, "completion_tokens": 1e308},
            {"prompt_tokens": 10**30, "completion_tokens": True},
        )
    )
    # A reply that thought until its limit has later calls of this model ask for more, which the oracle answers otherwise.
    thought = body["choices"][0]["finish_reason"] == "length" and not message["content"]
    how = "limit: nothing but thoughts" if thought else "a reply of another sort"
    return how, 200, json.dumps(body).encode(), {}


class _Hostile(_Handler):
    """The oracle's own handler; reply number `server.spoiled` is spoilt, for ever if the client asks again."""

    def _send(self, status: int, body: dict[str, Any], headers: Any = None, share: float = 1.0) -> None:
        server = self.server
        server.sent += 1  # type: ignore[attr-defined]
        if status != 200 or server.sent != server.spoiled:  # type: ignore[attr-defined]
            return super()._send(status, body, headers, share)
        how, status, payload, odd = spoil(body, server.chance)  # type: ignore[attr-defined]
        server.how = how  # type: ignore[attr-defined]
        self.send_response(status)
        for name, value in ({"Content-Type": "application/json"} | odd).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(payload) if status not in (204, 302) else 0))
        self.end_headers()
        if status not in (204, 302):
            self.wfile.write(payload)


@contextmanager
def hostile_server(folder: Path) -> Iterator[OracleServer]:
    """Serve flat scenes truthfully until `server.spoiled` and `server.chance` are set."""
    write_flatworld(folder, 1)
    server = OracleServer(Oracle(Gallery(list(read_truth(folder / "truth")))))
    server.RequestHandlerClass = _Hostile  # type: ignore[assignment]
    server.sent, server.spoiled, server.how = 0, -1, ""  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


def run(seed: int, first: int, last: int, folder: Path) -> Iterator[dict[str, Any]]:
    """Yield a row a case."""
    os.environ["HOSTILE_KEY"] = KEY + "\n"
    settings = Settings(concepts=("physics",))
    with hostile_server(folder) as server:
        picture = next((folder / "pictures").iterdir())

        def begun(name: str) -> RunStore:
            shutil.rmtree(folder / name, ignore_errors=True)
            store = RunStore(folder / name, create=True)
            begin(
                store,
                RunPlan(
                    writer=ModelChoice(model="oracle-1", base_url=server.address, api_key_env="HOSTILE_KEY"),
                    settings=settings,
                ),
            )
            add_pictures(store, [picture])
            return store

        with begun("calm") as store:
            asyncio.run(work(store, LIMITS))
            calm, calls = _result(store), server.sent  # type: ignore[attr-defined]
        for number in range(first, last):
            chance = random.Random(f"{seed} reply {number}")
            server.sent, server.spoiled, server.chance, server.how = 0, 1 + number % calls, chance, "none"  # type: ignore[attr-defined]
            began, case = time.monotonic(), {"case": number, "set": "replies"}
            try:
                with _deadline(), begun("run") as store:
                    try:
                        asyncio.run(work(store, LIMITS))
                    except AskMaskError as error:
                        case["said"] = str(error)[:300]
                    outcome = "the key is on disk" if _key_in(folder / "run") else ""
                    server.spoiled = -1  # type: ignore[attr-defined]
                    failed = report_of(store).failures
                    store.retry(ERROR_CLASSES)
                    asyncio.run(work(store, LIMITS))
                    report = report_of(store)
                    if report.failures or report.finished != 1:
                        outcome = outcome or f"not mended: {failed}"
                    elif not server.how.startswith(("content", "large", "limit")) and _result(store) != calm:  # type: ignore[attr-defined]
                        outcome = outcome or "another result than undisturbed"
                    outcome = outcome or (
                        "the key is on disk" if _key_in(folder / "run") else "mended" if failed else "read"
                    )
            except Exception as error:
                outcome, case["said"] = "crashed", f"{type(error).__name__}: {error}"[:300]
            took = time.monotonic() - began
            yield case | {"damage": server.how, "outcome": outcome, "seconds": round(took, 2)}  # type: ignore[attr-defined]


def _result(store: RunStore) -> list[Any]:
    """What a run found, without the names of the calls that found it: a repaired reply has another."""
    without = {"verdict": {"calls"}, "prompt": {"call"}}
    return [
        [store.stage(row.sha256, stage)[0] for stage in STAGES]
        + [
            pair.model_dump_json(exclude=without)
            for pair in getattr(store.stage(row.sha256, "align")[1], "pairs", ())
        ]
        for row in store.pictures()
    ]


def good(row: dict[str, Any]) -> bool:
    return row["outcome"] in ("read", "mended")


def _key_in(folder: Path) -> bool:
    spelt = (KEY, KEY.replace("/", "\\/"), KEY.replace("$", "%24").replace("/", "%2F"))
    kept = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    return any(text.encode() in kept for text in spelt)


@contextmanager
def _deadline() -> Iterator[None]:
    def late(*_: Any) -> None:
        raise TimeoutError(f"not done after {STUCK_S} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(STUCK_S)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
