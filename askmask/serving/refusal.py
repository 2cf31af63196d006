"""What a caller is told when something cannot be done: a status, and in words what was wrong, got, and to do."""

from __future__ import annotations

from typing import Any

from askmask.errors import AskMaskError, DataError, MaskError, PictureError, PromptError, SettingError


class Refusal(Exception):
    """An answer that says no. `retry_s`: when asking again may help."""

    def __init__(
        self,
        status: int,
        what: str,
        *,
        got: object = None,
        do: str | None = None,
        retry_s: float | None = None,
    ):
        self.status, self.what, self.got, self.do, self.retry_s = status, what, got, do, retry_s
        super().__init__(what)

    @property
    def headers(self) -> dict[str, str]:
        """Headers that go with it."""
        headers = {} if self.retry_s is None else {"Retry-After": str(max(1, round(self.retry_s)))}
        if self.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        if self.status == 408:
            headers["Connection"] = "close"  # what is still on its way is not waited for
        return headers

    @property
    def text(self) -> str:
        """All of it in one line."""
        said = self.what if self.got is None else f"{self.what}; got {str(self.got)[:300]}"
        return said if self.do is None else f"{said}. {self.do}"

    def to_dict(self) -> dict[str, Any]:
        """Return the body; `message` is where OpenAI's clients look."""
        error: dict[str, Any] = {"what": self.what, "status": self.status, "message": self.text}
        if self.got is not None:
            error["got"] = str(self.got)[:300]
        if self.do is not None:
            error["do"] = self.do
        if self.retry_s is not None:
            error["retry_after_s"] = round(self.retry_s, 1)
        return {"error": error}


class Cancelled(Exception):
    """Whoever asked has gone, or took it back."""


def refusal_of(error: BaseException) -> Refusal:
    """Return what to tell of an error; of one that is ours to mend, only that there was one."""
    if isinstance(error, Refusal):
        return error
    if isinstance(error, Cancelled):
        return Refusal(409, "this was cancelled")
    if isinstance(error, AskMaskError):
        mine = (PictureError, PromptError, MaskError, DataError, SettingError)
        status = 422 if isinstance(error, mine) else 502
        return Refusal(status, error.what, got=error.got, do=error.do)
    if isinstance(error, MemoryError):
        return Refusal(507, "out of memory", do="Use a smaller picture, or ask fewer prompts at once.")
    return Refusal(
        500,
        f"an error inside the server ({type(error).__name__})",
        do="Its log says where; please report it.",
    )
