"""Jobs: work on models that is counted, bounded, followed and cancelled; its result outlives whoever asked for it.

Belongs to the event loop; what a job does in a thread tells of it through `Job.tell`.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from askmask.serving.refusal import Cancelled, Refusal, refusal_of
from askmask.serving.together import Cancel, cancel_of_call, hears_of_call

KEEP_S = 900.0  # a result nobody has fetched
KEEP_COUNT = 500
LONGEST_RETRY_S = 60.0


@dataclass(eq=False)
class Job:
    """One piece of work. `events` are what it told so far; the last is `done` or `error`."""

    owner: str
    kind: str
    loop: asyncio.AbstractEventLoop
    pool: ThreadPoolExecutor
    followed: bool = False  # by somebody who hears words and segments as they come
    id: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    state: str = "waiting"  # waiting, working, done, failed, cancelled
    done: int = 0
    total: int = 1
    result: Any = None
    refusal: Refusal | None = None
    asked_for: float = field(default_factory=time.time)
    ended: float | None = None
    cancel: Cancel = field(default_factory=Cancel)
    over: asyncio.Event = field(default_factory=asyncio.Event)
    events: list[tuple[str, Any]] = field(default_factory=list)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    async def in_thread(self, work: Callable[[], Any]) -> Any:
        """Do blocking work; a back-end under it hears when the job is cancelled."""

        def run() -> Any:
            token, hearing = cancel_of_call.set(self.cancel), hears_of_call.set(self.followed)
            try:
                if self.cancel:
                    raise Cancelled
                return work()
            finally:
                cancel_of_call.reset(token)
                hears_of_call.reset(hearing)

        self.state = "working"
        return await self.loop.run_in_executor(self.pool, run)

    def tell(self, kind: str, data: Any, *, done: int | None = None) -> None:
        """Say how it goes; from any thread."""
        self.loop.call_soon_threadsafe(self._take, kind, data, done)

    def _take(self, kind: str, data: Any, done: int | None = None) -> None:
        self.done = self.done if done is None else done
        self.events.append((kind, data))
        self._news.set()

    async def follow(self, beat_s: float) -> Any:
        """Yield events from the first to the last, and None after every `beat_s` seconds without one."""
        number = 0
        while True:
            self._news.clear()
            while number < len(self.events):
                yield self.events[number]
                number += 1
            if self.over.is_set():
                return
            try:
                await asyncio.wait_for(self._news.wait(), beat_s)
            except TimeoutError:
                yield None

    def to_dict(self) -> dict[str, Any]:
        """Return how it stands, ready for JSON."""
        data = {
            "id": self.id,
            "kind": self.kind,
            "state": self.state,
            "done": self.done,
            "total": self.total,
            "seconds": round((self.ended or time.time()) - self.asked_for, 3),
        }
        if self.refusal is not None:
            data |= self.refusal.to_dict()
        return data


class Jobs:
    """All jobs. At most `most` wait or are at work; a further one is refused with the time to come again."""

    def __init__(self, most: int, *, beat_s: float = 10.0, ended: Callable[[Job], None] = lambda job: None):
        self.most, self.beat_s, self._ended = most, beat_s, ended
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._by_key: dict[tuple[str, str], Job] = {}
        self._tasks: dict[asyncio.Task[None], Job] = {}
        self._pool = ThreadPoolExecutor(min(64, most), thread_name_prefix="job")
        self._seconds = 0.5  # that a job takes, on average of late
        self.stopping = False

    @property
    def at_work(self) -> int:
        """How many wait or are at work."""
        return len(self._tasks)

    def start(
        self,
        owner: str,
        kind: str,
        work: Callable[[Job], Awaitable[Any]],
        *,
        key: str | None = None,
        followed: bool = False,
    ) -> Job:
        """Begin work, or return the job that the same `key` of the same owner began. Raises Refusal."""
        if key is not None and (known := self._by_key.get((owner, key))) is not None:
            if known.state not in ("failed", "cancelled"):
                return known
        if self.stopping:
            raise Refusal(503, "this server is stopping", do="Ask again in a moment.", retry_s=5)
        if self.at_work >= self.most:
            raise Refusal(
                429,
                f"{self.most} calls wait already",
                do="Ask again after the time in Retry-After.",
                retry_s=min(LONGEST_RETRY_S, max(1.0, self._seconds * self.at_work / 2)),
            )
        job = Job(owner, kind, asyncio.get_running_loop(), self._pool, followed)
        self._forget()
        self._jobs[job.id] = job
        if key is not None:
            self._by_key[owner, key] = job
        task = asyncio.create_task(self._run(job, work))
        self._tasks[task] = job
        task.add_done_callback(self._tasks.pop)
        return job

    def find(self, owner: str, name: str) -> Job:
        """Return an owner's job. Raises Refusal: for what others own as for what does not exist."""
        job = self._jobs.get(name)
        if job is None or job.owner != owner:
            raise Refusal(404, "no such job", do="Results are kept for 15 minutes.")
        return job

    def told(self, job: Job) -> None:
        """Forget a job whose result its caller has got; one that was begun with a key may be asked for again."""
        if job.ended is not None and job not in self._by_key.values():
            self._jobs.pop(job.id, None)

    async def drain(self, seconds: float) -> int:
        """Take no more, wait for those at work, cancel what is left after `seconds`; return how many those were."""
        self.stopping = True
        if self._tasks:
            await asyncio.wait(list(self._tasks), timeout=seconds)
        left = list(self._tasks)
        for job in list(self._tasks.values()):
            job.cancel.set()
        if left:
            await asyncio.wait(left, timeout=5)
        self._pool.shutdown(wait=False)
        return len(left)

    async def _run(self, job: Job, work: Callable[[Job], Awaitable[Any]]) -> None:
        start = time.perf_counter()
        try:
            job.result = await work(job)
            job.state, job.done = "done", job.total
            job._take("done", job.result)
        except Cancelled:
            job.state, job.refusal = "cancelled", Refusal(409, "this was cancelled")
        except Exception as error:
            job.state, job.refusal = "failed", refusal_of(error)
            if job.refusal is not error:
                job.refusal.__cause__ = error
        if job.refusal is not None:
            job._take("error", job.refusal.to_dict()["error"])
        self._seconds += 0.1 * (time.perf_counter() - start - self._seconds)
        job.ended = time.time()
        job.over.set()
        job._news.set()
        self._ended(job)

    def _forget(self) -> None:
        """Forget results that are old, and the oldest of too many."""
        now = time.time()
        for name, job in list(self._jobs.items()):
            if job.ended is None:
                continue
            if now - job.ended < KEEP_S and len(self._jobs) < KEEP_COUNT:
                break
            del self._jobs[name]
            for key in [k for k, v in self._by_key.items() if v is job]:
                del self._by_key[key]
