"""What the HTTP clients share: addresses and keys checked, error bodies read, Retry-After, limits of size."""

from __future__ import annotations

import json
import math
import re
import sys
import time
from email.utils import parsedate_to_datetime
from typing import Any, Protocol
from urllib.parse import SplitResult, parse_qsl, urlsplit

from askmask.errors import SettingError
from askmask.vlm.errors import CallFailed
from askmask.vlm.request import Completion
from askmask.vlm.secrets import read_key

MOST_BYTES = 8 << 20  # of a response, unpacked
MOST_ERROR_BYTES = 64 << 10
LOOPBACK = ("localhost", "127.0.0.1", "::1")

_CLASS_OF_STATUS = {
    401: "auth", 402: "quota", 403: "auth", 404: "model", 408: "timeout", 409: "conflict", 429: "rate_limit",
}  # fmt: skip
_BLOCKED = re.compile(
    r"content[_ -]?filter|content[_ -]policy|content management policy|responsibleai|moderation|flagged|"
    r"data_?inspection|inappropriate content|safety",
    re.IGNORECASE,
)
# A limit per minute is no empty purse, though some providers say "quota" and "billing" for both.
_NO_MONEY = re.compile(
    r"insufficient[_ ](quota|balance|credit|fund)|billing_hard_limit|not enough credit|out of credit",
    re.IGNORECASE,
)
_NO_KEY = re.compile(r"api[_ ]key[_ ](not[_ ]valid|invalid)|invalid[_ ]api[_ ]key", re.IGNORECASE)
_RETRY_DELAY = re.compile(r'"retryDelay":\s*"(\d+(?:\.\d+)?)s"')


class Headers(Protocol):
    """HTTP headers of any library."""

    def get(self, name: str, /) -> str | None:
        """Return a header's value, whatever the case of its name."""


def checked_address(url: str) -> SplitResult:
    """Split a base URL. Raises SettingError for one that is none, or that holds a password or a key."""
    try:
        address = urlsplit(url)
        port = address.port
    except ValueError as error:
        raise SettingError("the base URL cannot be read", got=str(error)) from None
    if address.username or address.password:
        raise SettingError("a base URL must not hold a password", do="Put the key into --api-key-env.")
    if any(name.lower() != "api-version" for name, _ in parse_qsl(address.query, keep_blank_values=True)):
        raise SettingError(
            "a base URL takes no parameters after '?'",
            do="Put a key into --api-key-env, others into --extra.",
        )
    spaced = any(letter.isspace() or not letter.isprintable() for letter in url)
    if address.scheme not in ("http", "https") or not address.hostname or port == 0 or spaced:
        raise SettingError("a base URL must be like http://host:port/v1", got=repr(url))
    return address


def checked_key(variable: str, address: SplitResult) -> str | None:
    """Return the key for an address, None for a server on this machine that needs none. Raises SettingError."""
    key = read_key(variable)
    if key is None and address.hostname not in LOOPBACK:
        raise SettingError(f"no key for {address.hostname}", do=f"Set the environment variable {variable}.")
    if key is not None and not (key.isascii() and key.isprintable()):
        raise SettingError(f"the key in {variable} holds characters that no key can hold")
    return key


def outcome_of_error(status: int, body: Any, headers: Headers, said: str = "") -> Completion:
    """Turn an error status and its body into a refusal (a reply, to be kept), or raise CallFailed.

    `said` is used where the body has no sentence of its own.
    """
    text = json.dumps(body)[:MOST_ERROR_BYTES] if isinstance(body, dict | list) else str(body or "")
    sentence = sentence_of(body) or " ".join(said.split()) or "no reason given"
    if status in (400, 403, 422, 451) and _BLOCKED.search(text):
        return Completion(text="", refused=("safety", sentence), input_tokens=None, output_tokens=None)
    told = retry_after(headers)
    if told is None and (found := _RETRY_DELAY.search(text)):
        told = float(found[1])
    kind = status_class(status)
    if kind in ("rate_limit", "auth") and told is None and _NO_MONEY.search(text):
        kind = "quota"
    if kind == "request" and _NO_KEY.search(text):
        kind = "auth"
    raise CallFailed(kind, f"HTTP {status}: {sentence}", retry_after_s=told) from None


def sentence_of(body: Any) -> str:
    """Return the provider's own sentence in an error body, "" if there is none."""
    if isinstance(body, str):
        return "" if body.lstrip().startswith("<") else " ".join(body.split())
    if isinstance(body, list):
        return next((said for part in body[:5] if (said := sentence_of(part))), "")
    if not isinstance(body, dict):
        return ""
    for name in ("message", "detail", "msg", "error", "error_description", "reason"):
        if said := sentence_of(body.get(name)):
            place = body.get("loc")
            where = f" ({'.'.join(map(str, place[:6]))})" if name == "msg" and isinstance(place, list) else ""
            return said + where
    return ""


def status_class(status: int) -> str:
    """Return the error class of an HTTP status."""
    return _CLASS_OF_STATUS.get(status) or ("server" if status >= 500 else "request")


def retry_after(headers: Headers) -> float | None:
    """Return the seconds a Retry-After header asks for (number or HTTP date), None without one that says it."""
    value = headers.get("retry-after")
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - time.time()
        except (TypeError, ValueError, OverflowError):
            return None
    return None if math.isnan(seconds) else max(0.0, seconds)


async def bound_errors(response: Any) -> None:
    """Let no more than 64 kB of an error's body be read. A response hook of httpx."""
    if response.status_code < 400:
        return
    # httpx or its successor, whichever the SDK was built on.
    base: Any = getattr(sys.modules[type(response).__module__.partition(".")[0]], "AsyncByteStream")  # noqa: B009
    whole = response.stream

    class Bounded(base):
        async def __aiter__(self):
            left = MOST_ERROR_BYTES
            async for chunk in whole:
                yield chunk[:left]
                left -= len(chunk)
                if left <= 0:
                    return

        async def aclose(self):
            await whole.aclose()

    response.stream = Bounded()
