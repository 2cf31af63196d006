"""Requests and tokens per minute as token buckets; a 429 halves the pace, quiet minutes bring it back."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable

from askmask.vlm.budget import sane

ONE_MESSAGE_S = 2.0  # 429s so close together say one thing: requests that were sent together met the limit
RECOVER_AFTER_S = 5.0
RECOVER_BY = 1.2
LEAST_START = 600.0  # requests per minute from which an unstated limit is searched downward
SLOWEST = 0.25  # of the stated limit, or of the pace at the first 429: Retry-After does the rest


async def pause(seconds: float, stop: asyncio.Event | None = None) -> None:
    """Sleep so long, or until `stop` is set."""
    if stop is None:
        await asyncio.sleep(seconds)
        return
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)


class Bucket:
    """One token bucket: `per_minute` flows in, at most a tenth of it waits (at least one portion)."""

    def __init__(self, per_minute: float, clock: Callable[[], float]):
        self.per_minute, self._clock = per_minute, clock
        self._level, self._at = self._burst, clock()

    @property
    def _burst(self) -> float:
        return max(1.0, self.per_minute / 10)

    def wait_s(self, amount: float) -> float:
        """Take `amount` (the level may go below zero) and return how long the taker must wait."""
        now = self._clock()
        self._level = min(self._burst, self._level + (now - self._at) * self.per_minute / 60)
        self._at = now
        self._level -= amount
        return max(0.0, -self._level * 60 / self.per_minute)


class Pace:
    """The limits of one model at one endpoint. Without limits it only honours what 429s ask for."""

    def __init__(
        self,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ):
        sane("--rpm", requests_per_minute, least=0.001)
        sane("--tpm", tokens_per_minute, least=0.001, most=1e12)
        self._clock = clock
        stated = {"requests": requests_per_minute, "tokens": tokens_per_minute}
        self._ceilings = {name: limit for name, limit in stated.items() if limit is not None}
        self._buckets = {name: Bucket(limit, clock) for name, limit in self._ceilings.items()}
        self._recent: list[float] = []
        self._slowed_at: float | None = None
        self._paused_until = 0.0

    @property
    def requests_per_minute(self) -> float | None:
        """The present pace, None if unbounded."""
        bucket = self._buckets.get("requests")
        return bucket.per_minute if bucket else None

    async def take(self, tokens: int, stop: asyncio.Event | None = None) -> None:
        """Wait until one request of `tokens` may be sent, or `stop` is set."""
        self._recover()
        waits = [self._paused_until - self._clock()]
        if "requests" in self._buckets:
            waits.append(self._buckets["requests"].wait_s(1))
        if "tokens" in self._buckets:
            waits.append(self._buckets["tokens"].wait_s(tokens))
        while (wait := max(waits)) > 0 and not (stop and stop.is_set()):
            await pause(wait, stop)
            waits = [self._paused_until - self._clock()]
        now = self._clock()
        self._recent = [at for at in self._recent if at > now - 60] + [now]

    def slow_down(self, retry_after_s: float | None) -> None:
        """Halve the pace (once for a burst of 429s) and send nothing for `retry_after_s`."""
        now = self._clock()
        if retry_after_s:
            self._paused_until = max(self._paused_until, now + retry_after_s)
        if self._slowed_at is not None and now - self._slowed_at < ONE_MESSAGE_S:
            return
        self._slowed_at = now
        if "requests" not in self._buckets:
            # No stated limit: start from the pace that met one.
            seconds = max(1.0, now - self._recent[0]) if self._recent else 1.0
            self._ceilings["requests"] = max(LEAST_START, 60 * len(self._recent) / seconds)
            self._buckets["requests"] = Bucket(self._ceilings["requests"], self._clock)
        for name, bucket in self._buckets.items():
            bucket.per_minute = max(SLOWEST * self._ceilings[name], bucket.per_minute / 2)

    def _recover(self) -> None:
        now = self._clock()
        if self._slowed_at is None or now - self._slowed_at < RECOVER_AFTER_S:
            return
        self._slowed_at = now
        for name, bucket in self._buckets.items():
            bucket.per_minute = min(self._ceilings[name], bucket.per_minute * RECOVER_BY)
