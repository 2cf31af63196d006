"""What can go wrong with one call to a model, as states a run can hold, show and retry.

A broken reply is never a verdict: it ends as `Quarantined`, a refusal as `Refused`, a lost connection as
`CallFailed`. Each has a class (one word) by which `askmask engine retry --only` selects.
"""

from __future__ import annotations

import re

from askmask.errors import AskMaskError

RETRYABLE = ("timeout", "conflict", "rate_limit", "server", "connection")
FATAL = ("auth", "model")  # nothing else will succeed either: the run stops, all work kept
QUARANTINED = ("parse", "truncated")
REFUSED = ("refusal", "safety")
ERROR_CLASSES = (*RETRYABLE, *QUARANTINED, *REFUSED, "request", "picture", "detector", "segmenter")


class UnitFailed(AskMaskError):
    """One unit of a stage (a region, a concept, a prompt) could not be decided; others go on."""

    def __init__(self, error_class: str, reason: str, *, keys: tuple[str, ...] = ()):
        super().__init__(f"{error_class}: {redact(reason)[:500]}")
        self.error_class = error_class
        self.reason = redact(reason)[:500]
        self.keys = keys  # cached replies to forget before asking anew


class CallFailed(UnitFailed):
    """No reply came: transport or the endpoint's own error."""

    def __init__(self, error_class: str, reason: str, *, retry_after_s: float | None = None):
        super().__init__(error_class, reason)
        self.retry_after_s = retry_after_s

    @property
    def retryable(self) -> bool:
        """Whether the same request may succeed later."""
        return self.error_class in RETRYABLE

    @property
    def billed(self) -> bool:
        """Whether the provider may have charged for it although nothing came back."""
        return self.error_class in ("timeout", "connection")


class Quarantined(UnitFailed):
    """A reply that did not fit its schema, nor after one repair round."""


class Refused(UnitFailed):
    """The model declined, or the provider's filter blocked, with the reason it gave."""


class RunStopped(AskMaskError):
    """The run cannot go on; everything answered so far is kept."""


class BudgetSpent(RunStopped):
    """The next call could pass the budget, so it was not made."""


_SECRETS = (
    re.compile(r"(?i)\b(bearer|basic)\s+[\w\-.~+/]{6,}=*"),
    re.compile(r"\b(sk|pk|rk|gsk|xai|AIza|hf|md)[-_][\w\-]{8,}"),
    re.compile(r"\bAIza[\w\-]{20,}"),
    re.compile(r"(?i)((?:api[-_]?key|token|key|auth)[\"']?\s*[=:]\s*[\"']?)[\w\-.]{8,}"),
    re.compile(r"//[^/@\s]+@"),
)
_known: set[str] = set()


def keep_secret(key: str | None) -> None:
    """Make `redact` remove this very text from now on, whatever it looks like."""
    if key and len(key) >= 4:
        _known.add(key)


def redact(text: str) -> str:
    """Return the text with anything that is or looks like a key replaced by `[key]`."""
    for key in _known:
        text = text.replace(key, "[key]")
    for pattern in _SECRETS:
        text = pattern.sub("//" if pattern.pattern.startswith("//") else "[key]", text)
    return text
