"""One question, answered once: cache, budget, pace, retries, schema, one repair round, quarantine.

Everything that may go wrong between a question and a model is decided here, in the order it happens. Who asks gets a
checked value or a UnitFailed; RunStopped means that no further question will fare better.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Generic, NoReturn, TypeVar

from pydantic import BaseModel

from askmask.vlm.budget import Budget, Price, sane
from askmask.vlm.errors import ADAPTED, FATAL, BudgetSpent, CallFailed, Quarantined, Refused, RunStopped
from askmask.vlm.ledger import Ledger
from askmask.vlm.rate import Pace, pause
from askmask.vlm.reply import read_reply
from askmask.vlm.request import Completion, Request, Vlm

T = TypeVar("T", bound=BaseModel)
LONGEST_TOLD_S = 300.0  # a server that asks to wait longer stops the run
WORTH_TELLING_S = 5.0
IN_A_ROW = 5  # so many refused requests of one kind, none answered between them, stop the run
STOPPED_S = 10.0  # after a stop, so long no waiting request is sent: none would fare better
MOST_ADAPTED = 12  # parameters that one request may lose on its way
THINKING = "thinking"  # the whole limit went on thinking: asked again with more room
MORE_TOKENS = (8_192, 24_576)  # beside the reply itself, where thinking used it up

_WHAT_TO_DO = {
    "auth": "Check the key and the model's name, then resume.",
    "model": "Check the model's name and the address, then resume.",
    "address": "Check --base-url, then resume.",
    "quota": "Add credit or wait until the quota is renewed, then resume.",
}


@dataclass(frozen=True)
class Answer(Generic[T]):
    """A checked reply, the key it is cached under, and the reply as it came."""

    value: T
    key: str
    completion: Completion


class Caller:
    """All calls to one model in one run.

    `slots` bounds the calls in flight, over several callers if they share it; `stop`, once set, ends every wait.
    `tell` is given lines for people: waits that a server asked for, and limits that were raised.
    """

    def __init__(
        self,
        vlm: Vlm,
        ledger: Ledger,
        budget: Budget,
        *,
        price: Price | None = None,
        pace: Pace | None = None,
        slots: asyncio.Semaphore | None = None,
        attempts: int = 6,
        first_wait_s: float = 1.0,
        longest_wait_s: float = 60.0,
        thinking_tokens: int = 0,
        stop: asyncio.Event | None = None,
        tell: Callable[[str], None] = lambda _: None,
    ):
        self.vlm = vlm
        self._ledger, self._budget, self._price = ledger, budget, price
        self._pace = pace or Pace()
        self._slots = slots or asyncio.Semaphore(8)
        self._attempts = attempts
        sane("the first wait", first_wait_s, most=3600)
        sane("the longest wait", longest_wait_s, most=3600)
        sane("--thinking-tokens", thinking_tokens, most=1_000_000)
        self._first_wait_s, self._longest_wait_s = first_wait_s, longest_wait_s
        self._thinking = thinking_tokens
        self._stop, self._tell = stop, tell
        self._told_until = 0.0
        self._stopped: tuple[float, RunStopped] | None = None
        self._last_failed = ""  # why the last call came to nothing; "" once one was answered
        self._refused: Counter[tuple[str, str]] = Counter()  # by stage and schema
        self._in_flight: dict[str, asyncio.Task[Completion]] = {}

    async def ask(self, request: Request, schema: type[T]) -> Answer[T]:
        """Return the reply as `schema`. Raises CallFailed, Quarantined, Refused, or RunStopped."""
        key, completion = await self.complete(request)
        try:
            return Answer(parse(completion, schema, key), key, completion)
        except Quarantined as broken:
            more = request.max_tokens
            if more is not None and completion.finish == "length":
                more *= 2
            again = request.repaired(completion.text, broken.reason, max_tokens=more)
        repair_key, completion = await self.complete(again)
        try:
            return Answer(parse(completion, schema, repair_key), repair_key, completion)
        except (Quarantined, Refused) as broken:
            broken.keys = (key, repair_key)  # a retry asks from the start
            raise

    async def complete(self, request: Request) -> tuple[str, Completion]:
        """Return the key and the raw reply, from the cache if it is there. Raises CallFailed or RunStopped."""
        key = request.key(self.vlm.provider, self.vlm.model, self.vlm.extra)
        if (cached := self._ledger.reply(key)) is not None:
            return key, cached
        # Two units with the very same question share one call.
        task = self._in_flight.get(key)
        if task is None:
            task = asyncio.ensure_future(self._send_until_answered(key, request))
            self._in_flight[key] = task
            task.add_done_callback(lambda _: self._in_flight.pop(key, None))
        return key, await asyncio.shield(task)

    def usd_of(self, completion: Completion) -> float | None:
        """Return what a reply cost, None where no price or no count of tokens is known."""
        if self._price is None or completion.input_tokens is None or completion.output_tokens is None:
            return None
        return self._price.of(completion.input_tokens, completion.output_tokens)

    async def close(self) -> None:
        """Let calls in flight end and close the client."""
        await asyncio.gather(*self._in_flight.values(), return_exceptions=True)
        await self.vlm.close()

    async def _send_until_answered(self, key: str, request: Request) -> Completion:
        failed = adapted = 0
        while True:
            try:
                completion = await self._send(key, request)
                self._last_failed = ""
                return completion
            except BudgetSpent as spent:
                # Why the calls came to nothing matters more than that they did.
                if reason := self._last_failed:
                    raise BudgetSpent(f"{spent.what}; the last call failed: {reason}", do=spent.do) from None
                raise
            except CallFailed as error:
                if error.error_class in (ADAPTED, THINKING):
                    adapted += 1
                    if adapted > MOST_ADAPTED:
                        raise CallFailed("request", error.reason) from None
                    continue
                failed += 1
                self._last_failed = error.reason
                if not error.retryable or failed >= self._attempts:
                    raise
                # Full jitter that grows exponentially, but never less than the server's Retry-After.
                longest = min(self._longest_wait_s, self._first_wait_s * 2 ** (failed - 1))
                await pause(max(error.retry_after_s or 0.0, random.uniform(0, longest)), self._stop)

    async def _send(self, key: str, request: Request) -> Completion:
        thinking = self._thinking
        if thinking and request.max_tokens is not None:
            request = replace(request, max_tokens=request.max_tokens + thinking)
        tokens_in, tokens_out = request.tokens_at_most()
        worst = self._price.of(tokens_in, tokens_out) if self._price else 0.0
        await self._pace.take(tokens_in + tokens_out, self._stop)
        async with self._slots:
            if self._stop is not None and self._stop.is_set():
                raise RunStopped(
                    "interrupted; what was answered is kept", do="Go on with: askmask engine resume"
                )
            if self._stopped and time.monotonic() - self._stopped[0] < STOPPED_S:
                raise RunStopped(self._stopped[1].what, do=self._stopped[1].do)
            self._budget.reserve(worst)
            call = self._ledger.begin_call(key, request.stage, self.vlm.model, worst)
            started, cost = time.monotonic(), worst
            try:
                completion = (await self.vlm.complete(request)).without_keys()
                # Without a count of tokens the worst case is what was spent.
                counted = self.usd_of(completion)
                cost = worst if counted is None else counted
                if self._thought_to_the_end(completion, thinking):
                    raise CallFailed(THINKING, "the limit went on thinking")
                self._ledger.keep_reply(
                    call,
                    key=key,
                    provider=self.vlm.provider,
                    model=self.vlm.model,
                    stage=request.stage,
                    template=request.template_hash,
                    completion=completion,
                    cost_usd=cost if self._price else None,
                    seconds=time.monotonic() - started,
                )
                self._refused[request.stage, request.schema_name] = 0
                return completion
            except CallFailed as error:
                if error.error_class != THINKING:
                    cost = worst if error.billed else 0.0
                self._ledger.end_call(call, error.error_class, cost, time.monotonic() - started)
                self._stop_if_hopeless(error, request)
                raise
            except Exception as error:  # a fault of ours or a library's ends this unit, not the run
                self._ledger.end_call(call, "unexpected", worst, time.monotonic() - started)
                raise CallFailed("unexpected", f"{type(error).__name__}: {error}") from error
            finally:
                # Cancelled in mid-call: the ledger keeps it as sent, and so does the budget.
                self._budget.settle(worst, cost)

    def _thought_to_the_end(self, completion: Completion, allowed: int) -> bool:
        """Whether a reply stopped at its limit before its first word, and more room can still be given."""
        if completion.finish != "length" or completion.text.strip() or completion.refused:
            return False
        more = next((tokens for tokens in MORE_TOKENS if tokens > self._thinking), None)
        if allowed == self._thinking and more is not None:
            self._thinking = more
            self._tell(
                f"{self.vlm.model} used its whole limit before the first word of a reply: {more} tokens more are "
                "allowed from now on (set them with --thinking-tokens)"
            )
        return allowed < self._thinking

    def _stop_if_hopeless(self, error: CallFailed, request: Request) -> None:
        """Raise RunStopped where the next request would fare alike; slow down and tell where a server asks to."""
        who, kind = self.vlm.provider, error.error_class
        if kind in FATAL:
            self._raise_stopped(f"{who} refuses every call: {error.reason}", _WHAT_TO_DO[kind], error)
        told = error.retry_after_s or 0.0
        if error.retryable and told > LONGEST_TOLD_S:
            when = f"until {_clock_in(told)}" if told < 30 * 86_400 else "for longer than a month"
            self._raise_stopped(f"{who} asks to wait {when}: {error.reason}", "Resume after that.", error)
        if kind == "rate_limit":
            self._pace.slow_down(error.retry_after_s)
        if told >= WORTH_TELLING_S and time.monotonic() + told > self._told_until + 1:
            self._told_until = time.monotonic() + told
            self._tell(f"{who} asks to wait until {_clock_in(told)}: {error.reason}")
        if kind in ("request", "parse"):
            place = (request.stage, request.schema_name)
            self._refused[place] += 1
            if self._refused[place] >= IN_A_ROW:
                self._raise_stopped(
                    f"{IN_A_ROW} requests of {request.stage} in a row came to nothing at {who}: {error.reason}",
                    f"Set that right, then ask them again: retry --only {kind}.",
                    error,
                )

    def _raise_stopped(self, what: str, do: str, error: CallFailed) -> NoReturn:
        self._stopped = time.monotonic(), RunStopped(what, do=do)
        raise self._stopped[1] from error


def parse(completion: Completion, schema: type[T], key: str) -> T:
    """Read a completion as `schema`; raises Refused or Quarantined("parse" | "truncated")."""
    if completion.refused:
        raise Refused(*completion.refused, keys=(key,))
    if completion.finish == "length":
        raise Quarantined("truncated", "the reply stopped at its token limit", keys=(key,))
    try:
        return read_reply(completion.text, schema)
    except Quarantined as broken:
        broken.keys = (key,)
        raise


def _clock_in(seconds: float) -> str:
    """Return the time of day so many seconds from now, with the date if it is not today."""
    then, now = time.localtime(time.time() + seconds), time.localtime()
    return time.strftime("%H:%M:%S" if then[:3] == now[:3] else "%Y-%m-%d %H:%M", then)
