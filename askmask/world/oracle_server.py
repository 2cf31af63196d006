"""The oracle over HTTP: OpenAI's chat-completions protocol on 127.0.0.1, with faults of the line on request.

Faults of content (malformed, cut short, refused, blocked) depend on the request alone. Faults of the line (429, 500,
cut connection, lateness) also on how often it was asked, and come at most `MOST_FAULTS` times in a row for one
request, so that a client that is patient enough always gets its answer.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import io
import json
import re
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from askmask.errors import AskMaskError
from askmask.world.oracle import Draw, Oracle

MOST_BYTES = 64 << 20
MOST_FAULTS = 3
RETRY_AFTER_S = 0.2
MODEL = "oracle-1"


class OracleServer(ThreadingHTTPServer):
    """Serves one Oracle on the loopback interface; port 0 takes a free one (see `address`)."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(
        self,
        oracle: Oracle,
        port: int = 0,
        *,
        latency_s: float = 0.0,
        slow_s: float = 30.0,
        api_key: str | None = None,
        log: Path | None = None,
    ):
        super().__init__(("127.0.0.1", port), _Handler)
        self.oracle, self.latency_s, self.slow_s, self.api_key = oracle, latency_s, slow_s, api_key
        self._log = log.open("a", encoding="utf-8", buffering=1) if log else None
        self._lock = threading.Lock()
        self._asked: Counter[str] = Counter()
        self._faults: Counter[str] = Counter()
        self.answered = 0
        self.outcomes: Counter[str] = Counter()

    @property
    def address(self) -> str:
        """The base URL for a client."""
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def note(self, body: str, outcome: str, reply_id: str = "") -> None:
        """Count an outcome and write it into the log, if there is one."""
        with self._lock:
            self.outcomes[outcome] += 1
            if self._log:
                line = {"at": time.time(), "body": body, "outcome": outcome, "id": reply_id}
                self._log.write(json.dumps(line) + "\n")

    def next_id(self) -> str:
        """Return a new id for a reply."""
        with self._lock:
            self.answered += 1
            return f"chatcmpl-oracle-{self.answered}-{time.time_ns()}"

    def line_fault(self, body: str) -> str | None:
        """Return the fault this attempt meets, None if it goes through."""
        errors = self.oracle.errors
        with self._lock:
            self._asked[body] += 1
            attempt, met = self._asked[body], self._faults[body]
        draw = Draw(self.oracle.seed, f"{body}:{attempt}")
        for name in ("rate_limit", "server", "drop", "slow"):
            if draw.chance(getattr(errors, name)) and met < MOST_FAULTS:
                with self._lock:
                    self._faults[body] += 1
                return name
        return None

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: OracleServer
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        if self.path == "/v1/models":
            self._send(200, {"object": "list", "data": [{"id": MODEL, "object": "model"}]})
        else:
            self._fail(404, "not_found", "there are /v1/models and /v1/chat/completions")

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        if not 0 < length <= MOST_BYTES:
            self.close_connection = True
            return self._fail(413, "too_large", f"a body of 1 to {MOST_BYTES} bytes is needed")
        raw = self.rfile.read(length)
        if self.path != "/v1/chat/completions":
            return self._fail(404, "not_found", "POST to /v1/chat/completions")
        said = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        if self.server.api_key and not hmac.compare_digest(said.encode(), self.server.api_key.encode()):
            return self._fail(401, "invalid_api_key", f"wrong key: {said}")
        key = hashlib.sha256(raw).hexdigest()
        try:
            request = json.loads(raw)
            question = _Question(request)
        except (ValueError, KeyError, TypeError, RecursionError, OSError) as error:
            return self._fail(400, "invalid_request", f"{type(error).__name__}: {error}")
        if request.get("model") != MODEL:
            return self._fail(404, "model_not_found", f"the only model is {MODEL}")
        fault = self.server.line_fault(key)
        if fault == "rate_limit":
            self.server.note(key, fault)
            retry = {"Retry-After": str(RETRY_AFTER_S)}
            return self._fail(429, "rate_limit_exceeded", "too many requests", retry)
        if fault == "server":
            self.server.note(key, fault)
            return self._fail(500, "server_error", "the oracle is confused")
        time.sleep(self.server.latency_s + (self.server.slow_s if fault == "slow" else 0))
        self._answer(key, question, cut=fault == "drop")

    def _answer(self, key: str, question: _Question, *, cut: bool) -> None:
        oracle, errors = self.server.oracle, self.server.oracle.errors
        draw = Draw(oracle.seed, f"content:{key}")
        broken = {
            name: draw.chance(getattr(errors, name)) for name in ("refuse", "safety", "truncate", "json")
        }
        try:
            reply = oracle.answer(
                question.schema_name, question.schema, question.inputs, question.pictures, key
            )
        except AskMaskError as error:
            return self._fail(400, "invalid_request", str(error))
        text: str | None = json.dumps(reply)
        finish, outcome = "stop", "answered"
        refusal: str | None = None
        if broken["refuse"]:
            text, refusal, outcome = None, "I would rather not say anything about this picture.", "refuse"
        elif broken["safety"]:
            text, finish, outcome = None, "content_filter", "safety"
        elif broken["truncate"]:
            whole = json.dumps(reply)
            text, finish, outcome = whole[: len(whole) // 2], "length", "truncate"
        elif broken["json"]:
            text, outcome = "Sure! Here it is: " + json.dumps(reply).replace('"', ""), "json"
        reply_id = self.server.next_id()
        body = {
            "id": reply_id,
            "object": "chat.completion",
            "created": int(time.time()),
            "model": MODEL,
            "choices": [
                {
                    "index": 0,
                    "finish_reason": finish,
                    "message": {"role": "assistant", "content": text, "refusal": refusal},
                }
            ],
            "usage": {
                "prompt_tokens": question.tokens,
                "completion_tokens": len(text or "") // 4,
                "total_tokens": question.tokens + len(text or "") // 4,
            },
        }
        if cut:
            self.server.note(key, "drop")
            payload = json.dumps(body).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload[: len(payload) // 2])
            self.close_connection = True
            return
        # Noted before it is sent: what a client has received is always in the log.
        self.server.note(key, outcome, reply_id)
        self._send(200, body)

    def _fail(self, status: int, code: str, message: str, headers: dict[str, str] | None = None) -> None:
        self._send(status, {"error": {"message": message, "type": code, "code": code}}, headers)

    def _send(self, status: int, body: dict[str, Any], headers: dict[str, str] | None = None) -> None:
        payload = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(payload)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(payload)


class _Question:
    """A chat-completions body, read as a structured question about pictures."""

    def __init__(self, request: dict[str, Any]):
        form = request["response_format"]["json_schema"]
        self.schema_name, self.schema = str(form["name"]), form["schema"]
        user = next(m for m in request["messages"] if m["role"] == "user")
        texts = [part["text"] for part in user["content"] if part["type"] == "text"]
        self.inputs = json.loads(re.search(r"```json\n(.*?)\n```", texts[-1], re.DOTALL).group(1))  # type: ignore[union-attr]
        self.pictures = [
            _decode(part["image_url"]["url"]) for part in user["content"] if part["type"] == "image_url"
        ]
        words = sum(
            len(json.dumps(m["content"])) for m in request["messages"] if isinstance(m["content"], str)
        )
        self.tokens = words // 4 + sum(p.shape[0] * p.shape[1] // 784 + 85 for p in self.pictures)


def _decode(url: str) -> np.ndarray:
    if not url.startswith("data:image/"):
        raise ValueError("pictures come as data URLs")
    data = base64.b64decode(url.partition(",")[2], validate=True)
    with Image.open(io.BytesIO(data), formats=("JPEG", "PNG")) as image:
        if image.size[0] * image.size[1] > 1 << 24:
            raise ValueError("a picture too large")
        return np.asarray(image.convert("RGB"))
