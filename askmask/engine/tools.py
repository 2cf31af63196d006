"""What a stage works with: callers of the models, a detector, a segmenter; and units that fail alone.

A unit is the smallest piece of a stage that can fail alone (a region, a concept, a prompt). `run_units` runs them
together and keeps the failures of some from costing the others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from askmask.detectors.detector import Detector
from askmask.engine.pictures import Picture
from askmask.engine.replies import ReplySchema
from askmask.engine.settings import Settings
from askmask.engine.templates import hash_of
from askmask.engine.values import Failure, Verdict
from askmask.segmenters.queue import SegmentationQueue
from askmask.vlm.caller import Caller
from askmask.vlm.errors import RunStopped, UnitFailed, readable
from askmask.vlm.pictures import SentPicture, shrink
from askmask.vlm.request import Request

T = TypeVar("T")


@dataclass
class Tools:
    """Everything outside the picture that a stage needs."""

    settings: Settings
    writer: Caller
    verifier: Caller
    locator: Caller  # calls the detector's own model, or the writer
    detector: Detector
    segmentation: SegmentationQueue

    def original(self, picture: Picture) -> SentPicture:
        """Return the picture as models see it."""
        return SentPicture(shrink(picture.rgb, self.settings.sent_px), "the original")


def request_for(
    stage: str,
    schema: type[ReplySchema],
    *,
    instructions: str,
    templates: tuple[str, ...],
    pictures: tuple[SentPicture, ...],
    inputs: Mapping[str, Any],
    temperature: float = 0.0,
    max_tokens: int = 2048,
    vote: int = 0,
) -> Request:
    """Build a request whose schema is that of the reply's type."""
    return Request(
        stage=stage,
        template_hash=hash_of(*templates),
        instructions=instructions,
        pictures=pictures,
        inputs=inputs,
        schema_name=schema.__name__,
        schema=schema.model_json_schema(),
        temperature=temperature,
        max_tokens=max_tokens,
        vote=vote,
    )


async def run_units(units: Mapping[str, Coroutine[Any, Any, T]]) -> tuple[dict[str, T], list[Failure]]:
    """Run all units together; return the results that came and the failures, both in the units' order.

    Whatever a unit raises is its failure alone, except what stops the run: RunStopped, cancelling, Ctrl-C.
    """
    outcomes = await asyncio.gather(*units.values(), return_exceptions=True)
    results: dict[str, T] = {}
    failures: list[Failure] = []
    stop: BaseException | None = None
    for unit, outcome in zip(units, outcomes, strict=True):
        if isinstance(outcome, UnitFailed):
            failures.append(
                Failure(unit=unit, error_class=outcome.error_class, reason=outcome.reason, keys=outcome.keys)
            )
        elif isinstance(outcome, Exception) and not isinstance(outcome, RunStopped):
            failures.append(unexpected(unit, outcome))
        elif isinstance(outcome, BaseException):
            stop = stop or outcome
        else:
            results[unit] = outcome
    if stop is not None:
        raise stop
    return results, failures


def unexpected(unit: str, error: Exception) -> Failure:
    """Return the failure of a unit by an error that nobody foresaw."""
    return Failure(unit=unit, error_class="unexpected", reason=readable(f"{type(error).__name__}: {error}"))


async def vote(
    tools: Tools, build: Any, schema: type[ReplySchema], field: str
) -> tuple[Verdict, list[ReplySchema]]:
    """Ask the verifier `settings.votes` times; the majority decides, a tie declines.

    `build(vote, temperature)` makes the request. The first vote is at temperature 0, further ones are drawn. With
    several, the last are left out once the majority stands: they could change nothing.
    """
    wanted, votes, calls = tools.settings.votes, [], []
    replies: list[ReplySchema] = []
    for number in range(wanted):
        temperature = tools.settings.vote_temperature if number else 0.0
        answer = await tools.verifier.ask(build(number, temperature), schema)
        votes.append(bool(getattr(answer.value, field)))
        calls.append(answer.key)
        replies.append(answer.value)
        if 2 * sum(votes) > wanted or 2 * votes.count(False) >= wanted:
            break
    accept = 2 * sum(votes) > wanted
    reason = next(str(getattr(r, "reason", "")) for r, v in zip(replies, votes, strict=True) if v == accept)
    return Verdict(accept=accept, reason=reason, votes=tuple(votes), calls=tuple(calls)), replies
