"""A run from its stored settings: begin one, open it again, work on it. What the command line and Ray both call."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from pydantic import ValidationError

from askmask.engine.opening import Models, VisionChoice, open_models
from askmask.engine.pipeline import Progress, RunStage, run_pictures, run_stage
from askmask.engine.settings import Settings
from askmask.engine.store import RunStore
from askmask.engine.templates import TEMPLATE_PACKAGES, all_hashes
from askmask.engine.tools import Tools
from askmask.engine.values import Value
from askmask.errors import DataError, SettingError
from askmask.runs.manifest import check_same, git_commit
from askmask.segmenters.queue import SegmentationQueue
from askmask.vlm.budget import Budget, Price
from askmask.vlm.caller import Caller
from askmask.vlm.opening import ModelChoice
from askmask.vlm.rate import Pace
from askmask.vlm.request import Vlm


class RunPlan(Value):
    """What decides a run's results; two runs with equal plans and replies end equal."""

    writer: ModelChoice
    verifier: ModelChoice | None = None  # None: the writer verifies its own work
    vision: VisionChoice = VisionChoice()
    settings: Settings = Settings()


class Limits(Value):
    """What decides how fast and how dear a run may be; may differ at every resume."""

    concurrency: int = 8
    pictures_at_once: int | None = None  # None: enough to keep `concurrency` calls in flight
    max_usd: float | None = None
    max_calls: int | None = None
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    attempts: int = 6
    first_wait_s: float = 1.0
    longest_wait_s: float = 60.0
    allow_floating: bool = False


def begin(store: RunStore, plan: RunPlan) -> None:
    """Store a plan with its manifest; an earlier, different plan is an error that names the difference."""
    found = store.meta("plan")
    if found is None:
        store.set_meta(plan=plan.to_dict(), manifest=manifest(store.template_packages))
        return
    check_same(found, plan.to_dict(), store.folder)
    made_with = store.meta("manifest")
    if made_with is None:  # killed between the two, by a version that wrote them one after the other
        store.set_meta(manifest=manifest(store.template_packages))
    elif made_with["templates"] != all_hashes(store.template_packages):
        raise SettingError(
            "this run was begun with other prompt texts",
            do="Finish it with the version it was begun with, or begin another.",
        )


def plan_of(store: RunStore) -> RunPlan:
    """Return the plan a run was begun with."""
    found = store.meta("plan")
    if found is None:
        raise DataError("nothing was begun there", got=store.folder, do="Begin it: askmask engine run --help")
    try:
        return RunPlan.model_validate(found)
    except ValidationError as error:
        raise store.damaged(f"plan: {error.errors()[0]['msg']}") from error


def opened(
    plan: RunPlan, limits: Limits, *, confirm: Callable[[str], bool] | None = None, segmenter: Any = None
) -> Models:
    """Open a plan's models and check its limits, before anything is written. Raises SettingError and its like."""
    Budget(max_usd=limits.max_usd, max_calls=limits.max_calls)
    Pace(limits.requests_per_minute, limits.tokens_per_minute)
    return open_models(
        plan.writer,
        plan.verifier,
        plan.vision,
        sent_px=plan.settings.sent_px,
        allow_floating=limits.allow_floating,
        priced=limits.max_usd is not None,
        confirm=confirm,
        segmenter=segmenter,
    )


async def work(
    store: RunStore,
    limits: Limits,
    models: Models | None = None,
    *,
    stage: RunStage = run_stage,
    on_progress: Callable[[Progress], None] = lambda _: None,
    tell: Callable[[str], None] = lambda _: None,
    stop: asyncio.Event | None = None,
) -> None:
    """Work on a run until all is done; raises RunStopped when it must stop before.

    `models`: those of `opened`, opened here if not given. `stage` does one stage of one picture. `tell` gets lines for
    people: what a server asked for.
    """
    plan = plan_of(store)
    models = models or opened(plan, limits)
    spent, calls = store.spent()
    budget = Budget(max_usd=limits.max_usd, max_calls=limits.max_calls, spent_usd=spent, calls=calls)
    slots = asyncio.Semaphore(limits.concurrency)
    callers: list[Caller] = []

    def caller_of(model: tuple[Vlm, Price | None], choice: ModelChoice | None = None) -> Caller:
        vlm, price = model
        callers.append(
            Caller(
                vlm,
                store,
                budget,
                price=price,
                pace=Pace(limits.requests_per_minute, limits.tokens_per_minute),
                slots=slots,
                attempts=limits.attempts,
                first_wait_s=limits.first_wait_s,
                longest_wait_s=limits.longest_wait_s,
                thinking_tokens=(choice and choice.thinking_tokens) or 0,
                stop=stop,
                tell=tell,
            )
        )
        return callers[-1]

    writer = caller_of(models.writer, plan.writer)
    try:
        async with SegmentationQueue(models.segmenter) as segmentation:
            tools = Tools(
                settings=plan.settings,
                writer=writer,
                verifier=caller_of(models.verifier, plan.verifier) if models.verifier else writer,
                locator=caller_of(models.locator) if models.locator else writer,
                detector=models.detector,
                segmentation=segmentation,
            )
            await run_pictures(
                store,
                tools,
                stage=stage,
                at_once=limits.pictures_at_once or max(2, limits.concurrency),
                on_progress=on_progress,
                stop=stop,
            )
    finally:
        for caller in callers:
            await caller.close()


def manifest(packages: tuple[str, ...] = TEMPLATE_PACKAGES) -> dict[str, Any]:
    """Return versions of the tools and hashes of the templates a run is made with."""
    versions = {}
    for name in ("askmask", "numpy", "pillow", "scipy", "openai", "pydantic", "pycocotools"):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return {"versions": versions, "git": git_commit(), "templates": all_hashes(packages)}
