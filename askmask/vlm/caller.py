"""One question, answered once: cache, budget, pace, retries, schema, one repair round, quarantine.

Everything that may go wrong between a stage and a model is decided here, in the order it happens. Stages get a
checked value or a UnitFailed; RunStopped passes through to the pipeline.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Generic, TypeVar

from pydantic import BaseModel, ValidationError
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt
from tenacity.wait import wait_base, wait_random_exponential

from askmask.engine.store import RunStore
from askmask.vlm.budget import Budget, Price
from askmask.vlm.errors import FATAL, CallFailed, Quarantined, Refused, RunStopped
from askmask.vlm.rate import Pace
from askmask.vlm.request import Completion, Request, Vlm

T = TypeVar("T", bound=BaseModel)
MAX_REPLY_CHARS = 200_000


@dataclass(frozen=True)
class Answer(Generic[T]):
    """A checked reply and the key it is cached under."""

    value: T
    key: str


class wait_as_told(wait_base):
    """Full jitter that grows exponentially, but never less than the server's Retry-After."""

    def __init__(self, first_s: float, longest_s: float):
        self._jitter = wait_random_exponential(multiplier=first_s, max=longest_s)

    def __call__(self, retry_state: RetryCallState) -> float:
        """Return seconds to wait."""
        error = retry_state.outcome.exception() if retry_state.outcome else None
        told = error.retry_after_s if isinstance(error, CallFailed) else None
        return max(told or 0.0, self._jitter(retry_state))


class Caller:
    """All calls to one model in one run."""

    def __init__(
        self,
        vlm: Vlm,
        store: RunStore,
        budget: Budget,
        *,
        price: Price | None = None,
        pace: Pace | None = None,
        slots: asyncio.Semaphore | None = None,
        attempts: int = 6,
        first_wait_s: float = 1.0,
        longest_wait_s: float = 60.0,
        stop: asyncio.Event | None = None,
    ):
        self.vlm = vlm
        self._stop = stop
        self._store, self._budget, self._price = store, budget, price
        self._pace = pace or Pace()
        self._slots = slots or asyncio.Semaphore(8)
        self._attempts, self._waits = attempts, wait_as_told(first_wait_s, longest_wait_s)
        self._in_flight: dict[str, asyncio.Task[Completion]] = {}

    async def ask(self, request: Request, schema: type[T]) -> Answer[T]:
        """Return the reply as `schema`. Raises CallFailed, Quarantined, Refused, or RunStopped."""
        key, completion = await self._reply_to(request)
        try:
            return Answer(parse(completion, schema, key), key)
        except Quarantined as broken:
            more = request.max_tokens * (2 if completion.finish == "length" else 1)
            again = request.repaired(completion.text, broken.reason, max_tokens=more)
        repair_key, completion = await self._reply_to(again)
        try:
            return Answer(parse(completion, schema, repair_key), repair_key)
        except (Quarantined, Refused) as broken:
            broken.keys = (key, repair_key)  # a retry asks from the start
            raise

    async def close(self) -> None:
        """Let calls in flight end and close the client."""
        await asyncio.gather(*self._in_flight.values(), return_exceptions=True)
        await self.vlm.close()

    async def _reply_to(self, request: Request) -> tuple[str, Completion]:
        key = request.key(self.vlm.provider, self.vlm.model)
        if (cached := self._store.reply(key)) is not None:
            return key, cached
        # Two units with the very same question share one call.
        task = self._in_flight.get(key)
        if task is None:
            task = asyncio.ensure_future(self._send_until_answered(key, request))
            self._in_flight[key] = task
            task.add_done_callback(lambda _: self._in_flight.pop(key, None))
        return key, await asyncio.shield(task)

    async def _send_until_answered(self, key: str, request: Request) -> Completion:
        retrying = AsyncRetrying(
            stop=stop_after_attempt(self._attempts),
            wait=self._waits,
            retry=retry_if_exception(lambda error: isinstance(error, CallFailed) and error.retryable),
            reraise=True,
        )
        async for attempt in retrying:
            with attempt:
                return await self._send(key, request)
        raise AssertionError("tenacity returns or raises")

    async def _send(self, key: str, request: Request) -> Completion:
        tokens_in, tokens_out = request.tokens_at_most()
        worst = self._price.of(tokens_in, tokens_out) if self._price else 0.0
        await self._pace.take(tokens_in + tokens_out)
        async with self._slots:
            if self._stop is not None and self._stop.is_set():
                raise RunStopped(
                    "interrupted; what was answered is kept", do="Go on with: askmask engine resume"
                )
            self._budget.reserve(worst)
            call = self._store.begin_call(key, request.stage, self.vlm.model, worst)
            started, cost = time.monotonic(), worst
            try:
                completion = await self.vlm.complete(request)
                cost = (
                    self._price.of(completion.input_tokens, completion.output_tokens) if self._price else 0.0
                )
                self._store.keep_reply(
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
                return completion
            except CallFailed as error:
                cost = worst if error.billed else 0.0
                self._store.end_call(call, error.error_class, cost, time.monotonic() - started)
                if error.error_class == "rate_limit":
                    self._pace.slow_down(error.retry_after_s)
                if error.error_class in FATAL:
                    raise RunStopped(
                        f"{self.vlm.provider} refuses every call: {error.reason}",
                        do="Check the key and the model's name, then resume.",
                    ) from error
                raise
            finally:
                # Cancelled in mid-call: the ledger keeps it as sent, and so does the budget.
                self._budget.settle(worst, cost)


def parse(completion: Completion, schema: type[T], key: str) -> T:
    """Read a completion as `schema`; raises Refused or Quarantined("parse" | "truncated")."""
    if completion.refused:
        raise Refused(*completion.refused, keys=(key,))
    if completion.finish == "length":
        raise Quarantined("truncated", "the reply stopped at its token limit", keys=(key,))
    text = completion.text.strip()
    if len(text) > MAX_REPLY_CHARS:
        raise Quarantined("parse", f"a reply of {len(text)} characters", keys=(key,))
    # Endpoints without structured output like to fence their JSON.
    if text.startswith("```"):
        text = text.removeprefix("```json").removeprefix("```").removesuffix("```")
    try:
        return schema.model_validate_json(text)
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, fault['loc'])) or 'reply'}: {fault['msg']}" for fault in error.errors()[:5]
        )
        raise Quarantined("parse", faults, keys=(key,)) from error
