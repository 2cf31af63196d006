"""Keys: read from the environment, and taken out of every text that is stored or shown."""

from __future__ import annotations

import base64
import html
import json
import os
import re
from urllib.parse import quote, quote_plus

KEY = "[key]"
SHORT = 8  # a key of fewer characters is only taken out where it stands as a word of its own
# What people type where a server needs no key; to take these words out would damage replies.
PLACEHOLDERS = {"none", "empty", "dummy", "ollama", "lm-studio", "not-needed", "none-needed", "no-key"}

_SHAPES = (
    re.compile(r"(?i)\b(bearer|basic)\s+[\w\-.~+/]{6,}=*"),
    re.compile(r"\b(sk|pk|rk|gsk|xai|AIza|hf|md)[-_][\w\-]{8,}"),
    re.compile(r"\bAIza[\w\-]{20,}"),
    re.compile(r"(?i)((?:api[-_]?key|token|key|auth)[\"']?\s*[=:]\s*[\"']?)[\w\-.]{8,}"),
)
_PASSWORD = re.compile(r"//[^/@\s]+@")
_known: dict[str, re.Pattern[str]] = {}


def read_key(variable: str) -> str | None:
    """Return the key in an environment variable without the newline that secret files end in, None if absent."""
    key = os.environ.get(variable, "").strip()
    keep_secret(key)
    return key or None


def keep_secret(key: str | None) -> None:
    """Make `redact` and `without_keys` remove this very text from now on, however it is spelt."""
    key = (key or "").strip()
    if not key or key.lower() in PLACEHOLDERS or key in _known:
        return
    encoded = base64.b64encode(key.encode("utf-8", "replace")).decode().rstrip("=")
    spellings = {
        key, repr(key)[1:-1], ascii(key)[1:-1], json.dumps(key)[1:-1], json.dumps(repr(key)[1:-1])[1:-1],
        quote(key, safe=""), quote_plus(key), html.escape(key), encoded,
    }  # fmt: skip
    pattern = "|".join(map(re.escape, sorted(spellings, key=len, reverse=True)))
    if len(key) < SHORT:
        _known[key] = re.compile(rf"(?<![\w-])(?:{pattern})(?![\w-])")
    else:
        _known[key] = re.compile(pattern, re.IGNORECASE)


def without_keys(text: str) -> str:
    """Return the text without the keys in use. For replies, whose other words must stay as they are."""
    for pattern in _known.values():
        text = pattern.sub(KEY, text)
    return text


def redact(text: str) -> str:
    """Return the text with everything that is or looks like a key replaced. For messages and logs."""
    text = without_keys(text)
    for pattern in _SHAPES:
        text = pattern.sub(KEY, text)
    return _PASSWORD.sub("//", text)
