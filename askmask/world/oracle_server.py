"""The oracle over HTTP: chat completions on 127.0.0.1, with faults of the line on request.

Every request gets a reply or, when it comes too slowly, a closed connection; whatever is wrong with it is said.
Faults of content (malformed, cut short, refused, blocked) depend on the request alone. Faults of the line (429, 500,
cut connection, lateness) also on how often it was asked, and come at most `MOST_FAULTS` times in a row for one
request, so that a client that is patient enough always gets its answer.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np

from askmask.errors import PictureError, SettingError
from askmask.imaging.files import read_picture
from askmask.world.oracle import Draw, Oracle

MOST_BYTES = 64 << 20
MOST_PIXELS = 1 << 24  # of one picture
MOST_FAULTS = 3
RETRY_AFTER_S = 0.2
MODEL = "oracle-1"
# What reading values of another form than expected raises; AskMaskErrors of data and pictures are ValueErrors.
_UNREADABLE = (
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    StopIteration,
    RecursionError,
    ArithmeticError,
)


class OracleServer(ThreadingHTTPServer):
    """Serves one Oracle on the loopback interface; port 0 takes a free one (see `address`).

    A request has `patience_s` to arrive, and so has the next one on an open connection. Of connections at most
    `most_connections` are open; who comes beyond them is told to come back.
    """

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
        patience_s: float = 60.0,
        most_connections: int = 256,
    ):
        try:
            super().__init__(("127.0.0.1", port), _Handler)
        except OSError as error:
            raise SettingError(
                f"port {port} cannot be listened at",
                got=error.strerror,
                do="Choose another --port; 0 is any that is free.",
            ) from error
        self.oracle, self.latency_s, self.slow_s, self.api_key = oracle, latency_s, slow_s, api_key
        self.patience_s = patience_s
        self._log = log.open("a", encoding="utf-8", buffering=1) if log else None
        self._lock = threading.Lock()
        self._free = threading.BoundedSemaphore(most_connections)
        self._asked: Counter[str] = Counter()
        self._faults: Counter[str] = Counter()
        self.answered = 0
        self.outcomes: Counter[str] = Counter()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection in a thread of its own, or refuse it if too many are open."""
        if self._free.acquire(blocking=False):
            return super().process_request(request, client_address)
        self.note("", "refused: too many connections")
        request.settimeout(1.0)
        try:
            request.sendall(
                b"HTTP/1.1 503 Busy\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            )
        except OSError:
            pass  # it is gone already
        self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve a connection to its end."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

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

    def setup(self) -> None:
        super().setup()
        self.connection.settimeout(self.server.patience_s)

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        if self.path == "/v1/models":
            self._send(200, {"object": "list", "data": [{"id": MODEL, "object": "model"}]})
        else:
            self._fail(404, "not_found", "there are /v1/models and /v1/chat/completions")

    def do_POST(self) -> None:
        raw = self._body()
        if raw is None:
            return
        if self.path != "/v1/chat/completions":
            return self._fail(404, "not_found", "POST to /v1/chat/completions")
        said = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        if self.server.api_key and not hmac.compare_digest(said.encode(), self.server.api_key.encode()):
            # Providers do repeat the key; a client must keep it out of its files even so.
            return self._fail(401, "invalid_api_key", f"wrong key: {said}")
        key = hashlib.sha256(raw).hexdigest()
        try:
            request = json.loads(raw)
            if request["model"] != MODEL:
                return self._fail(404, "model_not_found", f"the only model is {MODEL}")
            question = _Question(request)
        except _UNREADABLE as error:
            return self._refuse(key, error)
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

    def _body(self) -> bytes | None:
        """Read the body; reply with what is wrong and return None if there is none, or it does not arrive."""
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit() and 0 < int(length[:19]) <= MOST_BYTES):
            self.close_connection = True
            self._fail(413, "bad_length", f"Content-Length must lie in 1..{MOST_BYTES}, not {length[:40]!r}")
            return None
        raw, deadline = bytearray(), time.monotonic() + self.server.patience_s
        try:
            while len(raw) < int(length) and time.monotonic() < deadline:
                piece = self.rfile.read1(min(int(length) - len(raw), 1 << 20))
                if not piece:
                    break
                raw += piece
        except TimeoutError:
            pass
        if len(raw) < int(length):
            self.close_connection = True
            self._fail(408, "timeout", f"{len(raw)} of {length} bytes came in {self.server.patience_s:g} s")
            return None
        return bytes(raw)

    def _refuse(self, key: str, error: Exception) -> None:
        self.server.note(key, "invalid request")
        self._fail(400, "invalid_request", f"{type(error).__name__}: {error}"[:500])

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
        except _UNREADABLE as error:  # inputs of another form than the question's
            return self._refuse(key, error)
        whole, refusal, finish = json.dumps(reply), None, "stop"
        text: str | None = whole
        outcome = next((name for name, is_so in broken.items() if is_so), "answered")
        if outcome == "refuse":
            text, refusal = None, "I would rather not say anything about this picture."
        elif outcome == "safety":
            text, finish = None, "content_filter"
        elif outcome == "truncate":
            text, finish = whole[: len(whole) // 2], "length"
        elif outcome == "json":
            text = "Sure! Here it is: " + whole.replace('"', "")
        reply_id = self.server.next_id()
        message = {"role": "assistant", "content": text, "refusal": refusal}
        spoken = len(text or "") // 4
        body = {
            "id": reply_id,
            "object": "chat.completion",
            "created": int(time.time()),
            "model": MODEL,
            "choices": [{"index": 0, "finish_reason": finish, "message": message}],
            "usage": {
                "prompt_tokens": question.tokens,
                "completion_tokens": spoken,
                "total_tokens": question.tokens + spoken,
            },
        }
        if cut:
            self.server.note(key, "drop")
            self.close_connection = True
            return self._send(200, body, share=0.5)
        # Noted before it is sent: what a client has received is always in the log.
        self.server.note(key, outcome, reply_id)
        self._send(200, body)

    def _fail(self, status: int, code: str, message: str, headers: dict[str, str] | None = None) -> None:
        self._send(status, {"error": {"message": message, "type": code, "code": code}}, headers)

    def _send(
        self, status: int, body: dict[str, Any], headers: dict[str, str] | None = None, share: float = 1.0
    ) -> None:
        """Send a reply, or only its first `share`."""
        payload = json.dumps(body).encode()
        self.send_response(status)
        fixed = {"Content-Type": "application/json", "Content-Length": str(len(payload))}
        for name, value in (fixed | (headers or {})).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(payload[: int(len(payload) * share)])


class _Question:
    """A chat-completions body, read as a structured question about pictures."""

    def __init__(self, request: dict[str, Any]):
        form = request["response_format"]["json_schema"]
        self.schema_name, self.schema = str(form["name"]), form["schema"]
        # The last message with a picture: earlier turns are words alone, a repair round too.
        users = [m for m in request["messages"] if m["role"] == "user"]
        user = next(m for m in reversed(users) if not isinstance(m["content"], str))
        texts = [part["text"] for part in user["content"] if part["type"] == "text"]
        _, begun, rest = (texts[-1] if texts else "").partition("```json\n")
        inputs, ended, _ = rest.partition("\n```")
        if not begun or not ended:
            raise ValueError("the last text must hold the inputs between ```json and ```")
        self.inputs = json.loads(inputs)
        self.pictures = [
            _decode(part["image_url"]["url"]) for part in user["content"] if part["type"] == "image_url"
        ]
        words = sum(
            len(json.dumps(m["content"])) for m in request["messages"] if isinstance(m["content"], str)
        )
        self.tokens = words // 4 + sum(p.shape[0] * p.shape[1] // 784 + 85 for p in self.pictures)


def _decode(url: str) -> np.ndarray:
    head, _, data = url.partition(",")
    if head not in ("data:image/jpeg;base64", "data:image/png;base64"):
        raise PictureError("pictures come as data URLs of JPEG or PNG", got=repr(head[:40]))
    return read_picture(base64.b64decode(data, validate=True), max_pixels=MOST_PIXELS).rgb
