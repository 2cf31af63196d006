"""How a job's outcome goes back over HTTP: at once, as a stream of events, or later under the job's id."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from askmask.conversation import Segment
from askmask.runs.json_text import json_text
from askmask.serving.jobs import Job, Jobs
from askmask.serving.masks import Form
from askmask.serving.refusal import Refusal
from askmask.serving.wire import segment_to_wire

LONGEST_WAIT_S = 60.0
EVENTS = "text/event-stream"
STILL = b": still at work\n\n"  # a comment, which clients pass over


class Json(Response):
    """JSON with letters as they are; fit for any name."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """Return the body."""
        return json_text(content, compact=True).encode()


def key_of(request: Request) -> str | None:
    """Return the request's Idempotency-Key: asked again with it, the same work is not done again."""
    key = request.headers.get("idempotency-key")
    if key is not None and not (1 <= len(key) <= 100 and key.isascii() and key.isprintable()):
        raise Refusal(400, "an Idempotency-Key has 1 to 100 printable characters", got=repr(key[:40]))
    return key


def follows(request: Request) -> bool:
    """Whether the caller wants to hear how it goes, as events."""
    return EVENTS in request.headers.get("accept", "")


async def outcome(
    jobs: Jobs, request: Request, job: Job, form: Form, wait: float, *, status: int = 200
) -> Response:
    """Return what a job gave; its id, if that takes longer than `wait` seconds.

    A caller who goes away before cancels it, unless the request has an Idempotency-Key. Raises Refusal.
    """
    stays = key_of(request) is not None
    if follows(request):
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        return StreamingResponse(_events(jobs, job, form, stays), media_type=EVENTS, headers=headers)
    await watched(request, job, wait=min(wait, LONGEST_WAIT_S), stays=stays)
    if job.over.is_set():
        jobs.told(job)
        return told(job, form, status)
    return Json({"job": job.to_dict()}, 202, headers={"Location": f"/v1/jobs/{job.id}", "Retry-After": "1"})


async def watched(request: Request, job: Job, *, wait: float | None = None, stays: bool = False) -> None:
    """Wait for a job, at most `wait` seconds; if the caller goes away before, cancel it unless it `stays`."""
    over, gone = asyncio.create_task(job.over.wait()), asyncio.create_task(_gone(request))
    try:
        await asyncio.wait({over, gone}, timeout=wait, return_when=asyncio.FIRST_COMPLETED)
        if gone.done() and not job.over.is_set():
            if not stays:
                job.cancel.set()
            raise Refusal(499, "the caller went away")
    finally:
        over.cancel()
        gone.cancel()


def told(job: Job, form: Form, status: int = 200) -> Response:
    """Return the result of a job that is over. Raises its Refusal."""
    if job.refusal is not None:
        raise job.refusal
    return Json(job.result(form), status)


async def _events(jobs: Jobs, job: Job, form: Form, stays: bool) -> AsyncIterator[bytes]:
    """Yield what a job tells, as server-sent events."""
    try:
        yield _event("job", job.to_dict())
        async for told in job.follow(jobs.beat_s):
            if told is None:
                yield STILL
                continue
            kind, data = told
            if isinstance(data, Segment):
                data = segment_to_wire(data, form)
            yield _event(kind, data(form) if callable(data) else data)
    finally:
        if not job.over.is_set() and not stays:
            job.cancel.set()
        jobs.told(job)


def _event(kind: str, data: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n".encode()


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
