"""What can go wrong with one call to a model, as states that a run can hold, show and retry.

A broken reply is never a verdict: it ends as `Quarantined`, a refusal as `Refused`, a lost connection as
`CallFailed`. Each has a class (one word) by which `askmask engine retry --only` selects.
"""

from __future__ import annotations

from askmask.errors import AskMaskError, Stopped
from askmask.vlm.secrets import redact

RETRYABLE = ("timeout", "conflict", "rate_limit", "server", "connection")
FATAL = (
    "auth",
    "model",
    "quota",
    "address",
)  # nothing else will succeed either: the run stops, all work kept
ADAPTED = "parameter"  # the client leaves out or renames what the server refused: asked again at once
QUARANTINED = ("parse", "truncated")
REFUSED = ("refusal", "safety")
ERROR_CLASSES = (
    *RETRYABLE, *QUARANTINED, *REFUSED, "request", "picture", "detector", "segmenter", "unexpected",
)  # fmt: skip
MOST_REASON = 500


class UnitFailed(AskMaskError):
    """One unit of a stage (a region, a concept, a prompt) could not be decided; others go on."""

    def __init__(self, error_class: str, reason: str, *, keys: tuple[str, ...] = ()):
        self.error_class = error_class
        self.reason = readable(reason)
        self.keys = keys  # cached replies to forget before asking anew
        super().__init__(f"{error_class}: {self.reason}")


class CallFailed(UnitFailed):
    """No usable response came: the line, the server's own error, or a body that is no chat completion."""

    def __init__(self, error_class: str, reason: str, *, retry_after_s: float | None = None):
        super().__init__(error_class, reason)
        self.retry_after_s = retry_after_s

    @property
    def retryable(self) -> bool:
        """Whether the same request may succeed later."""
        return self.error_class in RETRYABLE

    @property
    def billed(self) -> bool:
        """Whether the provider may have charged for it although nothing usable came back."""
        return self.error_class in ("timeout", "connection", "parse")


class Quarantined(UnitFailed):
    """A reply that did not fit its schema, nor after one repair round."""


class Refused(UnitFailed):
    """The model declined, or the provider's filter blocked, with the reason it gave."""


class RunStopped(Stopped):
    """The run cannot go on; everything answered so far is kept."""


class BudgetSpent(RunStopped):
    """The next call could pass the budget, so it was not made."""


def readable(text: str) -> str:
    """Return what a server said, fit to store and show: no keys, no half characters, at most 500 letters."""
    return redact(text).encode("utf-8", "replace").decode("utf-8")[:MOST_REASON]
