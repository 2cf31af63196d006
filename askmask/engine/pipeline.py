"""The five stages over many pictures at once: bounded, resumable, stoppable. Knows no model by name.

A picture's result is a function of its pixels, the settings and the replies; nothing depends on the order in which
replies come. Every finished stage is in the store before the next begins.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from askmask.engine.align import align
from askmask.engine.describe import describe
from askmask.engine.pictures import Picture
from askmask.engine.segment import segment
from askmask.engine.store import PictureRow, RunStore
from askmask.engine.tools import Tools, unexpected
from askmask.engine.values import Failure, Value
from askmask.engine.verify import verify
from askmask.engine.write import write
from askmask.errors import PictureError
from askmask.vlm.errors import QUARANTINED, REFUSED, RETRYABLE, RunStopped
from askmask.vlm.pictures import difference_hash

# So many pictures in a row without a single reply mean that the endpoint is gone, not that they are bad.
GONE_AFTER = 5


@dataclass(frozen=True)
class Progress:
    """One finished stage of one picture."""

    sha256: str
    stage: str
    state: str


# (name of the stage, the picture, results of the stages before, tools) -> result, None if nothing came; failures
RunStage = Callable[
    [str, Picture, Mapping[str, Any], Tools], Coroutine[Any, Any, tuple[Value | None, list[Failure]]]
]


def add_pictures(
    store: RunStore, paths: Iterable[Path], *, source: str = "", licence: str = ""
) -> tuple[int, int, int]:
    """Read, identify and add pictures; return how many were (new, already there, unreadable)."""
    new = known = bad = 0
    for path in paths:
        try:
            picture = Picture.read(path)
        except PictureError as error:
            store.add_unreadable(str(path), str(error))
            bad += 1
            continue
        added = store.add_picture(
            picture.sha256,
            str(path.resolve()),
            picture.size,
            difference_hash(picture.rgb),
            source=source,
            licence=licence,
        )
        new, known = new + added, known + (not added)
    return new, known, bad


async def run_pictures(
    store: RunStore,
    tools: Tools,
    *,
    stage: RunStage | None = None,
    at_once: int,
    on_progress: Callable[[Progress], None] = lambda _: None,
    stop: asyncio.Event | None = None,
) -> None:
    """Bring every picture of the run through all stages.

    Raises RunStopped (budget, a refused key, an endpoint that is gone) after the calls in flight are kept.
    """
    rows = iter([row for row in store.pictures() if not store.finished(row.sha256)])
    stopped: list[RunStopped] = []
    lost_in_a_row = 0

    async def worker() -> None:
        nonlocal lost_in_a_row
        for row in rows:
            if stopped or (stop is not None and stop.is_set()):
                return
            try:
                lost = await run_picture(store, row, tools, on_progress, stage or run_stage)
            except RunStopped as error:
                stopped.append(error)
                return
            lost_in_a_row = lost_in_a_row + 1 if lost else 0
            if lost and lost_in_a_row >= GONE_AFTER:
                stopped.append(
                    RunStopped(
                        f"{GONE_AFTER} pictures in a row got no reply at all; the last: {lost.reason}",
                        do="Check that the endpoint is up, then ask again, e.g.: askmask engine retry RUN "
                        "--only timeout,connection,server,rate_limit",
                    )
                )

    await asyncio.gather(*(worker() for _ in range(max(1, at_once))))
    if stopped:
        raise stopped[0]


async def run_picture(
    store: RunStore,
    row: PictureRow,
    tools: Tools,
    on_progress: Callable[[Progress], None] = lambda _: None,
    run: RunStage | None = None,
) -> Failure | None:
    """Bring one picture through the stages that are left; return why its first stage got no reply, if it got none."""
    results: dict[str, Any] = {}
    picture: Picture | None = None
    stages = store.stages
    for stage in stages:
        state, results[stage] = store.stage(row.sha256, stage)
        if state not in ("pending", "running"):
            continue
        if any(results[earlier] is None for earlier in stages[: stages.index(stage)]):
            store.finish_stage(row.sha256, stage, "skipped", None)
            on_progress(Progress(row.sha256, stage, "skipped"))
            continue
        store.start_stage(row.sha256, stage)
        if picture is None:
            try:
                picture = await asyncio.to_thread(_same_picture, row)
            except PictureError as error:
                failure = Failure(unit="", error_class="picture", reason=str(error)[:500])
                store.finish_stage(row.sha256, stage, "failed", None, [failure])
                on_progress(Progress(row.sha256, stage, "failed"))
                continue
        try:
            result, failures = await (run or run_stage)(stage, picture, results, tools)
        except RunStopped:
            raise
        except Exception as error:  # a stage's own, outside its units: this picture's failure, not the run's
            result, failures = None, [unexpected("", error)]
        state = "done" if result is not None else state_of(failures)
        store.finish_stage(row.sha256, stage, state, result, failures)
        results[stage] = result
        on_progress(Progress(row.sha256, stage, state))
    if store.stage(row.sha256, stages[0])[0] != "failed":
        return None
    lost = [failure for _, stage, failure in store.failures(row.sha256) if stage == stages[0]]
    return next((failure for failure in lost if failure.error_class in RETRYABLE), None)


async def run_stage(
    stage: str, picture: Picture, results: Mapping[str, Any], tools: Tools
) -> tuple[Value | None, list[Failure]]:
    """Do one of the five stages of a picture."""
    if stage == "describe":
        return await describe(picture, tools)
    if stage == "segment":
        return await segment(picture, results["describe"], tools)
    if stage == "verify":
        return await verify(picture, results["segment"], tools)
    if stage == "write":
        return await write(picture, results["verify"], tools)
    return await align(picture, results["verify"], results["write"], tools)


def state_of(failures: list[Failure]) -> str:
    """Return the state of a stage of which nothing succeeded."""
    classes = {failure.error_class for failure in failures}
    if classes and classes <= set(REFUSED):
        return "refused"
    if classes and classes <= {*QUARANTINED, *REFUSED}:
        return "quarantined"
    return "failed"


def _same_picture(row: PictureRow) -> Picture:
    picture = Picture.read(row.path)
    if picture.sha256 != row.sha256:
        raise PictureError(f"{row.path} has changed since the run began", do="Put the old file back.")
    return picture
