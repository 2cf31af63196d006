"""An OpenAI-compatible endpoint on loopback that answers from a script: one entry for each request, in order.

An entry is (status, headers, body), a function of the request's body that returns one, "drop", or seconds to wait.
"""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def reply(content: str | None, *, finish: str = "stop", refusal: str | None = None) -> tuple[int, dict, dict]:
    """A chat completion."""
    message = {"role": "assistant", "content": content, "refusal": refusal}
    choice = {"index": 0, "message": message, "finish_reason": finish}
    usage = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}
    body = {"id": "r", "object": "chat.completion", "created": 1, "model": "m-1"}
    return 200, {}, body | {"choices": [choice], "usage": usage}


def failure(status: int, message: str = "no", code: str = "code", **headers: str) -> tuple[int, dict, dict]:
    """An error status."""
    return status, headers, {"error": {"message": message, "code": code, "type": code}}


@contextmanager
def scripted(*entries, port=0):
    """Serve `entries` one after the other (the last for ever) at a port, 0: any free one.

    Yields (base URL, list of (path, headers, body)).
    """
    seen: list[tuple[str, dict, dict]] = []
    left = list(entries)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            seen.append((self.path, {k.lower(): v for k, v in self.headers.items()}, body))
            entry = left.pop(0) if len(left) > 1 else left[0]
            if entry == "drop":
                self.close_connection = True
                self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{")
                return
            if isinstance(entry, float):
                threading.Event().wait(entry)
                entry = reply("{}")
            if callable(entry):
                entry = entry(body)
            status, headers, answer = entry
            payload = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1", seen
    finally:
        server.shutdown()
        server.server_close()
