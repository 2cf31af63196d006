"""The guard in front of every request: host, origin, key, rate, size and pace of the body; then headers and log.

An ASGI middleware. The log names method, route, status and time: no address, name, prompt, picture or key is in it.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from askmask.serving.metrics import Metrics
from askmask.serving.refusal import Refusal
from askmask.serving.safety import Keys, Names, Rate
from askmask.serving.settings import Limits

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

log = logging.getLogger("askmask.serve")
# What is no secret: whether the server is there, and the page itself, which asks for the key.
OPEN = ("/health", "/ready", "/label-studio/health", "/favicon.ico", "/", "/api", "/openapi.json")
OPEN_BELOW = "/page/"
WRONG_KEYS_A_SECOND = 2.0
PREFLIGHT = [
    (b"access-control-allow-methods", b"GET, POST, PUT, PATCH, DELETE"),
    (b"access-control-allow-headers", b"authorization, content-type, idempotency-key"),
    (b"access-control-max-age", b"600"),
]
HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
        b"manifest-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'",
    ),
]


class Guard:
    """Wraps the application."""

    def __init__(self, app: App, *, keys: Keys, names: Names, limits: Limits, metrics: Metrics):
        self.app, self.keys, self.names, self.limits, self.metrics = app, keys, names, limits, metrics
        self.rate, self.wrong = Rate(limits.rate), Rate(WRONG_KEYS_A_SECOND)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or refuse it."""
        if scope["type"] != "http":
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1003})
                return
            await self.app(scope, receive, send)
            return
        start = time.perf_counter()
        said: dict[str, Any] = {"status": 0, "begun": False}

        async def sending(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                said["status"], said["begun"] = message["status"], True
                message["headers"] = [*message.get("headers", []), *HEADERS, *self._cors(scope)]
            await send(message)

        scope.setdefault("state", {})
        body = _Body(receive, self.limits)
        try:
            if self._admit(scope, body):
                await self.app(scope, body.receive, sending)
            else:
                await sending({"type": "http.response.start", "status": 204, "headers": PREFLIGHT})
                await sending({"type": "http.response.body", "body": b""})
        except Refusal as refusal:
            if not said["begun"]:
                await _refuse(refusal, sending)
        finally:
            route = getattr(scope.get("route"), "path", None) or "-"
            seconds = time.perf_counter() - start
            self.metrics.request(route, said["status"], seconds)
            log.info("%s %s %s %.0f ms", scope["method"], route, said["status"], 1000 * seconds)

    def _admit(self, scope: Scope, body: _Body) -> bool:
        """Raise Refusal for who may not call; note whose the request is. False: a browser asks whether it may."""
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        host = headers.get("host", "")
        if not self.names.takes_host(host):
            raise Refusal(
                421,
                "this server is not called by that name",
                got=host,
                do="Add --allow-host NAME to its command.",
            )
        origin = headers.get("origin")
        if origin is not None and not self.names.takes_origin(origin, host):
            raise Refusal(
                403, "a page of another origin may not call", got=origin, do="Add --allow-origin ORIGIN."
            )
        if origin is None and headers.get("sec-fetch-site") == "cross-site" and scope["method"] != "GET":
            raise Refusal(403, "a page of another origin may not call")
        if scope["method"] == "OPTIONS" and origin is not None:
            return False
        length = headers.get("content-length")
        if length is not None and length.isdecimal() and int(length) > body.most:
            raise body.too_large()
        path = scope["path"]
        caller = (scope.get("client") or ("?",))[0]
        if path in OPEN or path.startswith(OPEN_BELOW):
            scope["state"]["owner"] = ""
            return True
        owner = self.keys.owner_of(_key_of(headers))
        if owner is None:
            if wait := self.wrong.wait_s(caller):
                raise Refusal(429, "too many calls without a right key", retry_s=wait)
            raise Refusal(401, "this needs a key", do="Send it as Authorization: Bearer KEY.")
        if wait := self.rate.wait_s(f"{owner} {caller}"):
            raise Refusal(429, f"more than {self.limits.rate:g} calls a second", retry_s=wait)
        scope["state"]["owner"] = owner
        return True

    def _cors(self, scope: Scope) -> list[tuple[bytes, bytes]]:
        """Return what lets the pages read answers that --allow-origin names."""
        origin = next((value for name, value in scope["headers"] if name == b"origin"), b"")
        if not origin or not self.names.takes_origin(origin.decode("latin-1"), ""):
            return []
        shown = (b"access-control-expose-headers", b"location, retry-after, content-disposition")
        return [(b"access-control-allow-origin", origin), (b"vary", b"origin"), shown]


class _Body:
    """A request's body, counted and timed as it comes."""

    def __init__(self, receive: Receive, limits: Limits):
        self._receive, self._limits = receive, limits
        self.most = limits.body_mb << 20
        self._got = 0
        self._ends = time.monotonic() + limits.body_s
        self._whole = False

    async def receive(self) -> MutableMapping[str, Any]:
        """Return the next piece. Raises Refusal for one too many, or one too late."""
        if self._whole:
            return await self._receive()  # waits for the caller to go
        try:
            async with asyncio.timeout(max(0.0, self._ends - time.monotonic())):
                message = await self._receive()
        except TimeoutError:
            raise Refusal(
                408, f"the request did not arrive within {self._limits.body_s:g} s", do="Send it again."
            ) from None
        if message["type"] == "http.request":
            self._got += len(message.get("body", b""))
            self._whole = not message.get("more_body", False)
            if self._got > self.most:
                raise self.too_large()
        return message

    def too_large(self) -> Refusal:
        """Return the refusal of a body of too many bytes."""
        return Refusal(
            413,
            f"a request may have {self._limits.body_mb} MB",
            do="Scale the picture down, or ask in parts.",
        )


def _key_of(headers: dict[str, str]) -> str | None:
    """Return the key a request carries: as a bearer token, or where Label Studio and X-AnyLabeling put one."""
    scheme, _, key = headers.get("authorization", "").partition(" ")
    if scheme.lower() in ("bearer", "token"):
        return key.strip()
    if scheme.lower() == "basic":
        return _password_of(key)
    return headers.get("x-api-key") or headers.get("token")


def _password_of(encoded: str) -> str | None:
    """Return the password of basic authentication, which Label Studio can send."""
    import base64
    import binascii

    try:
        return base64.b64decode(encoded, validate=True).decode().partition(":")[2]
    except (binascii.Error, ValueError):
        return None


async def _refuse(refusal: Refusal, send: Send) -> None:
    body = json.dumps(refusal.to_dict(), ensure_ascii=False).encode()
    headers = {"content-type": "application/json", "content-length": str(len(body))} | refusal.headers
    raw = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": refusal.status, "headers": raw})
    await send({"type": "http.response.body", "body": body})
