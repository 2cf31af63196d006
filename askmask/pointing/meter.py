"""What one answer may use, and what it has used: calls, seconds, tokens and dollars; a limit is never passed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from askmask.errors import AskMaskError
from askmask.vlm.blocking import BlockingCaller
from askmask.vlm.budget import Budget, Price, sane
from askmask.vlm.caller import Caller
from askmask.vlm.errors import BudgetSpent, CallFailed, RunStopped
from askmask.vlm.ledger import Ledger
from askmask.vlm.rate import Pace
from askmask.vlm.request import Completion, Vlm

R = TypeVar("R")
IN_A_ROW = 5  # so many answers that no server replied to, none between them that one did, stop a run


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one answer may use: calls (repairs and second looks among them), seconds, dollars."""

    calls: int = 8
    seconds: float = 300.0
    usd: float | None = None

    def __post_init__(self) -> None:
        sane("calls for an answer", self.calls, least=1, most=1000)
        sane("seconds for an answer", self.seconds, least=0.001, most=86_400)


class AnswerSpent(AskMaskError):
    """An answer has used up its calls, seconds or dollars; the next one has its own."""

    def __init__(self, what: str, *, do: str, late: bool = False):
        self.late = late
        super().__init__(what, do=do)


@dataclass
class Meter:
    """What one answer has used so far of its limits. Replies that were kept from before cost nothing of them."""

    limits: Limits
    input_tokens: int = 0
    output_tokens: int = 0
    kept: int = 0  # replies that were there already
    kept_usd: float = 0.0  # what these cost when they were asked for
    budget: Budget = field(init=False)
    started: float = field(default_factory=time.monotonic)
    _running: Future[Any] | None = field(default=None, init=False)
    _cancelled: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        self.budget = Budget(max_calls=self.limits.calls, max_usd=self.limits.usd)

    @property
    def left_s(self) -> float:
        """Seconds left."""
        return self.limits.seconds - (time.monotonic() - self.started)

    def count(self, completion: Completion, *, kept: bool, price: Price | None) -> None:
        """Count the tokens of a reply that came, or was there already."""
        tokens = completion.input_tokens or 0, completion.output_tokens or 0
        self.input_tokens += tokens[0]
        self.output_tokens += tokens[1]
        if kept:
            self.kept += 1
            self.kept_usd += price.of(*tokens) if price else 0.0

    def cancel(self) -> None:
        """End what is being asked for this answer, from any thread; it asks nothing more."""
        self._cancelled = True
        if self._running is not None:
            self._running.cancel()

    def usage(self) -> dict[str, float]:
        """Return what the answer rests on, whether asked now or kept from before (`kept`), and the seconds it took."""
        return {
            "calls": self.budget.calls + self.kept,
            "kept": self.kept,
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "usd": round(self.budget.spent_usd + self.kept_usd, 6),
            "seconds": round(time.monotonic() - self.started, 3),
        }

    def wait(self, running: Future[R]) -> R:
        """Return what a started piece of work comes to. Raises RunStopped if the answer was cancelled."""
        self._running = running
        if self._cancelled:
            running.cancel()
        try:
            return running.result()
        except CancelledError:
            raise RunStopped("interrupted; what was answered is kept") from None
        except BaseException:
            running.cancel()
            raise
        finally:
            self._running = None


class Calls:
    """The calls to one model: each answer's within its limits, all at one pace, every reply kept."""

    def __init__(self, vlm: Vlm, *, price: Price | None = None, attempts: int = 4):
        self.vlm, self.price, self.attempts = vlm, price, attempts
        self._ledger, self._pace = Ledger(), Pace()
        self._in_vain = 0  # answers in a row to which the server said nothing
        self._loop = BlockingCaller(lambda: Caller(vlm, self._ledger, Budget()))

    def run(self, meter: Meter, work: Callable[[Caller], Coroutine[Any, Any, R]]) -> R:
        """Run calls within what an answer may still use.

        Raises AnswerSpent before a limit would be passed, UnitFailed where no reply came, and RunStopped where none
        will: a refused key, or so many answers in a row to which the server said nothing.
        """
        try:
            result = meter.wait(self._loop.start(self._within(meter, work)))
        except (CallFailed, AnswerSpent) as error:
            gone = error.late if isinstance(error, AnswerSpent) else error.retryable
            self._in_vain = self._in_vain + 1 if gone else 0
            if self._in_vain < IN_A_ROW:
                raise
            raise RunStopped(
                f"{self._in_vain} answers in a row came to nothing at {self.vlm.provider}: {error.what}",
                do="See to the server, then do the same again.",
            ) from error
        self._in_vain = 0
        return result

    async def _within(self, meter: Meter, work: Callable[[Caller], Coroutine[Any, Any, R]]) -> R:
        stop = asyncio.Event()
        caller = Caller(
            self.vlm, self._ledger, meter.budget, price=self.price, pace=self._pace, attempts=self.attempts,
            longest_wait_s=10.0, stop=stop,
        )  # fmt: skip
        try:
            async with asyncio.timeout(max(0.0, meter.left_s)):
                return await work(caller)
        except asyncio.CancelledError:
            stop.set()
            raise
        except BudgetSpent as spent:
            raise AnswerSpent(
                f"this answer: {spent.what}", do="Allow more with --answer-calls or --answer-usd."
            ) from None
        except TimeoutError:
            stop.set()  # nothing is sent for this answer after its time
            raise AnswerSpent(
                f"no reply within the {meter.limits.seconds:g} s of an answer",
                do="Allow more with --answer-seconds.",
                late=True,
            ) from None

    @contextmanager
    def remembering(self, path: Path) -> Iterator[Ledger]:
        """Keep every reply in a file meanwhile: what was answered before is not asked again."""
        before, self._ledger = self._ledger, Ledger(path)
        try:
            yield self._ledger
        finally:
            self._ledger.close()
            self._ledger = before

    def close(self) -> None:
        """Close the client."""
        self._loop.close()
