"""The same stages on Ray Data, for more pictures than one machine can take (extra `[ray]`).

Each worker runs the local pipeline over a few pictures in a store of its own and hands back what it wrote; the
driver puts that into the run's store as it comes. The stages, callers and rules are the same code, and a picture's
result depends on nothing but its pixels, the plan and the replies: so the run ends equal to a local one.

Pictures are read by path, so all machines must see them under the same path. A run that is killed keeps every
batch that came back; a batch on its way is asked again, which is the price of having no shared disk.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from askmask.engine.opening import open_segmenter_of
from askmask.engine.runs import Limits, RunPlan, begin, opened, plan_of, work
from askmask.engine.store import PictureRow, RunStore
from askmask.errors import MissingExtra
from askmask.vlm.errors import BudgetSpent, RunStopped

PICTURES_A_BATCH = 4


class PictureWorker:
    """One Ray actor: batches of pictures in, rows of the store out."""

    def __init__(self, plan: dict[str, Any], limits: dict[str, Any], replies: list[tuple[Any, ...]]):
        self._plan, self._limits = RunPlan.model_validate(plan), Limits.model_validate(limits)
        self._replies = replies
        self._segmenter = open_segmenter_of(self._plan.vision)  # loaded once an actor, not once a batch
        self._spent_usd, self._calls = 0.0, 0

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[str]]:
        """Run the stages over the pictures of a batch."""
        with tempfile.TemporaryDirectory(prefix="askmask-") as folder, RunStore(folder, create=True) as store:
            begin(store, self._plan)
            store.absorb({"replies": self._replies})
            for text in batch["picture"]:
                store.absorb({"pictures": [json.loads(text)]})
            left = self._limits.model_copy(
                update={
                    "max_usd": None
                    if self._limits.max_usd is None
                    else max(0.0, self._limits.max_usd - self._spent_usd),
                    "max_calls": None
                    if self._limits.max_calls is None
                    else max(0, self._limits.max_calls - self._calls),
                }
            )
            stopped = None
            try:
                models = opened(self._plan, left, segmenter=self._segmenter)
                asyncio.run(work(store, left, models))
            except RunStopped as error:
                stopped = [type(error) is BudgetSpent, str(error)]
            spent, calls = store.spent()
            self._spent_usd, self._calls = self._spent_usd + spent, self._calls + calls
            known = {row[0] for row in self._replies}
            rows = store.contents()
            rows["replies"] = [row for row in rows["replies"] if row[0] not in known]
            return {"rows": [json.dumps(rows)], "stopped": [json.dumps(stopped)]}


def run_on_ray(
    store: RunStore,
    limits: Limits,
    *,
    workers: int,
    address: str | None = None,
    on_batch: Callable[[], None] = lambda: None,
) -> None:
    """Work on a run with `workers` actors on the cluster at `address` (None: one on this machine).

    Budgets are divided: each worker gets an equal share of what is left, so that the sum cannot be passed.
    Raises RunStopped when a worker had to stop, after all that came back is kept.
    """
    try:
        import ray
    except ImportError as error:
        raise MissingExtra("ray", "ray") from error
    pictures = [row for row in store.pictures() if not store.finished(row.sha256)]
    if not pictures:
        return
    workers = max(1, min(workers, len(pictures)))
    spent, calls = store.spent()
    share = limits.model_copy(
        update={
            "max_usd": None if limits.max_usd is None else max(0.0, limits.max_usd - spent) / workers,
            "max_calls": None if limits.max_calls is None else max(0, limits.max_calls - calls) // workers,
            "requests_per_minute": limits.requests_per_minute and limits.requests_per_minute / workers,
            "tokens_per_minute": limits.tokens_per_minute and limits.tokens_per_minute / workers,
        }
    )
    # Workers on this machine find the package where the driver did, installed or not.
    here = {"env_vars": {"PYTHONPATH": str(Path(__file__).resolve().parents[2])}} if address is None else None
    ray.init(
        address=address,
        ignore_reinit_error=True,
        log_to_driver=False,
        include_dashboard=False,
        runtime_env=here,
    )
    batch = max(1, min(PICTURES_A_BATCH, len(pictures) // workers))
    results = ray.data.from_items([{"picture": json.dumps(_as_row(row))} for row in pictures]).map_batches(
        PictureWorker,
        batch_size=batch,
        compute=ray.data.ActorPoolStrategy(size=workers),
        fn_constructor_kwargs={
            "plan": plan_of(store).to_dict(),
            "limits": share.to_dict(),
            "replies": store.contents()["replies"],  # answered in an earlier sitting: not asked again
        },
    )
    stopped: list[tuple[bool, str]] = []
    for row in results.iter_rows():
        store.absorb(json.loads(row["rows"]))
        if (said := json.loads(row["stopped"])) is not None:
            stopped.append((said[0], said[1]))
        on_batch()
    if stopped:
        raise (BudgetSpent if stopped[0][0] else RunStopped)(stopped[0][1])


def _as_row(row: PictureRow) -> list[Any]:
    return [
        row.sha256,
        row.number,
        row.path,
        row.height,
        row.width,
        f"{row.dhash:016x}",
        row.source,
        row.licence,
    ]
