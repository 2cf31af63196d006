"""A vision-language model as a pointer: the request it gets, one repair, the conversation so far, the second look."""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import numpy as np

from askmask.conversation import Prompt, Round, Segment
from askmask.errors import SettingError
from askmask.imaging.files import Picture
from askmask.imaging.mask import Mask
from askmask.imaging.overlay import fit
from askmask.pointing.conventions import Convention, convention_of, is_known
from askmask.pointing.outcome import Outcome, Pointed, Unreadable
from askmask.pointing.reading import read_instances, read_pointing, written_places
from askmask.pointing.sent import Sent, to_send
from askmask.vlm.blocking import BlockingCaller
from askmask.vlm.budget import Budget, Price, sane
from askmask.vlm.caller import Caller
from askmask.vlm.errors import BudgetSpent, Quarantined, Refused
from askmask.vlm.ledger import Ledger
from askmask.vlm.marked import mark_numbered
from askmask.vlm.pictures import SentPicture
from askmask.vlm.reply import json_values
from askmask.vlm.request import Completion, Request, Turn, Vlm
from askmask.vlm.templates import fill, hash_of

R = TypeVar("R")
MOST_TOKENS = 2048  # of a reply
MOST_ROUNDS = 12  # of the conversation that are sent
VERDICTS = ("keep", "withdraw", "correct")


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one answer may use: calls (repairs and second looks among them), seconds, dollars."""

    calls: int = 8
    seconds: float = 300.0
    usd: float | None = None

    def __post_init__(self) -> None:
        sane("calls for an answer", self.calls, least=1, most=1000)
        sane("seconds for an answer", self.seconds, least=0.001, most=86_400)


@dataclass
class Meter:
    """What one answer has used so far of its limits."""

    limits: Limits
    input_tokens: int = 0
    output_tokens: int = 0
    budget: Budget = field(init=False)
    started: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.budget = Budget(max_calls=self.limits.calls, max_usd=self.limits.usd)

    @property
    def left_s(self) -> float:
        """Seconds left."""
        return self.limits.seconds - (time.monotonic() - self.started)

    def usage(self) -> dict[str, float]:
        """Return calls, tokens, dollars and seconds, for an answer."""
        return {
            "calls": self.budget.calls,
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "usd": round(self.budget.spent_usd, 6),
            "seconds": round(time.monotonic() - self.started, 3),
        }


@dataclass(frozen=True)
class SecondLook:
    """What a model said of its own drawn masks: for each kept or corrected one its new places, None as it is."""

    kept: Mapping[int, Any]  # index of a mask -> Instance | None
    missing: Pointed


class Pointer(Protocol):
    """Picture and prompt -> where. Safe to call from several threads."""

    name: str
    fingerprint: str
    notices: tuple[str, ...]  # what users should know of every answer

    def see(self, picture: Picture) -> Any:
        """Do what depends on the picture alone."""

    def point(self, seen: Any, prompt: Prompt, rounds: Sequence[Round], meter: Meter) -> Outcome:
        """Say where what is asked is. Raises UnitFailed or RunStopped where no reply came."""


class VlmPointer:
    """Any model behind a `Vlm` client. `convention`: a row of the table, if not the one of the model's name."""

    def __init__(
        self, vlm: Vlm, *, convention: str | None = None, price: Price | None = None, attempts: int = 4
    ):
        self.vlm, self.price, self.attempts = vlm, price, attempts
        self.convention: Convention = convention_of(vlm.model, convention)
        self.name = vlm.model
        self.fingerprint = hash_of(
            vlm.provider, vlm.model, self.convention.name, _template("point", self.convention, (1, 1))
        )
        self.notices: tuple[str, ...] = ()
        if convention is None and not is_known(vlm.model):
            self.notices = (
                f"how {vlm.model} writes coordinates is not known: {self.convention.name} was assumed; check with "
                "`askmask doctor --model point`",
            )
        self._ledger = Ledger()
        self._loop = BlockingCaller(lambda: Caller(vlm, self._ledger, Budget()))

    def see(self, picture: Picture) -> Sent:
        """Make the picture that is sent."""
        return to_send(picture.rgb, self.convention)

    def point(self, seen: Sent, prompt: Prompt, rounds: Sequence[Round], meter: Meter) -> Outcome:
        """Ask, once more if the reply cannot be read, and read the reply."""
        request = self._request(seen, prompt, rounds)
        completion = self._complete(request, meter)
        outcome = read_pointing(completion, seen, self.convention)
        if isinstance(outcome, Unreadable):
            more = 2 * MOST_TOKENS if completion.finish == "length" else MOST_TOKENS
            try:
                completion = self._complete(
                    request.repaired(outcome.raw, outcome.why, max_tokens=more), meter
                )
            except BudgetSpent:
                return outcome
            outcome = read_pointing(completion, seen, self.convention)
        return outcome

    def raw_places(
        self, seen: Sent, prompt: Prompt, meter: Meter
    ) -> list[tuple[str, tuple[float, float]]] | str:
        """Return (label, centre of the box as the model wrote it), or in words why the reply cannot be read."""
        completion = self._complete(self._request(seen, prompt, ()), meter)
        try:
            return written_places(completion.text)
        except (Quarantined, ValueError) as error:
            return str(error)

    def look_again(self, seen: Sent, prompt: Prompt, masks: Sequence[Mask], meter: Meter) -> SecondLook:
        """Show the drawn masks back. Raises Quarantined for a reply that cannot be read."""
        numbered = mark_numbered(
            seen.picture.rgb, {n: _as_sent(mask, seen) for n, mask in enumerate(masks, 1)}
        )
        template = _template("again", self.convention, seen.size)
        request = Request(
            stage="look",
            template_hash=hash_of(template),
            instructions=template,
            pictures=(seen.picture, SentPicture(numbered, "the same with regions numbered")),
            inputs={
                "asked": prompt.text,
                "regions": [
                    {"number": n, self.convention.box_key: self._box(mask.box, seen)}
                    for n, mask in enumerate(masks, 1)
                    if mask.box
                ],
            },
            schema_name="LookReply",
            schema=_look_schema(self.convention),
            max_tokens=MOST_TOKENS,
        )
        completion = self._complete(request, meter)
        if completion.finish == "length":
            raise Quarantined("truncated", "the reply stopped at its token limit")
        return _second_look(json_values(completion.text), len(masks), seen, self.convention)

    def close(self) -> None:
        """Close the client."""
        self._loop.close()

    def _request(self, seen: Sent, prompt: Prompt, rounds: Sequence[Round]) -> Request:
        named = {s.id: s for r in rounds for s in r.segments or ()}
        pictures, regions = [seen.picture], []
        if named:
            masks = {n: _as_sent(s.mask, seen) for n, s in enumerate(named.values(), 1)}
            pictures.append(
                SentPicture(mark_numbered(seen.picture.rgb, masks), "the same with earlier regions")
            )
            regions = [
                {"number": n, "name": s.id, **self._written(s, seen)} for n, s in enumerate(named.values(), 1)
            ]
        inputs: dict[str, Any] = {"asked": prompt.text}
        if regions:
            inputs["earlier_regions"] = regions
        if prompt.refers_to:
            of = {r.id: [s.id for s in r.segments or ()] for r in rounds}
            inputs["about"] = [name for one in prompt.refers_to for name in of.get(one, [one])]
        marked = [*prompt.boxes, *(mask.box for mask in prompt.masks if mask.box)]
        if marked:
            inputs["marked_boxes"] = [self._box(box, seen) for box in marked]
        if prompt.points:
            inputs["marked_points"] = [
                {"point": self._place(x, y, seen), "part_of_it": inside} for x, y, inside in prompt.points
            ]
        template = _template("point", self.convention, seen.size)
        return Request(
            stage="point",
            template_hash=hash_of(template),
            instructions=template,
            pictures=tuple(pictures),
            inputs=inputs,
            history=tuple(turn for r in rounds[-MOST_ROUNDS:] for turn in self._turns(r, seen)),
            schema_name="PointingReply",
            schema=_schema(self.convention),
            max_tokens=MOST_TOKENS,
        )

    def _turns(self, round: Round, seen: Sent) -> tuple[Turn, Turn]:
        said: dict[str, Any] = {
            "instances": [self._written(s, seen) for s in round.segments or ()],
            "nothing_because": (round.reply or "") if round.segments == () else "",
            "reply": (round.reply or "") if round.segments != () else "",
        }
        asked = {"asked": round.text or "(marked on the picture)"}
        return (
            Turn("user", (json.dumps(asked, ensure_ascii=False),)),
            Turn("assistant", (json.dumps(said, ensure_ascii=False),)),
        )

    def _written(self, segment: Segment, seen: Sent) -> dict[str, Any]:
        box = segment.mask.box
        written: dict[str, Any] = {} if box is None else {self.convention.box_key: self._box(box, seen)}
        return written | {"label": segment.name or segment.phrase or segment.id}

    def _box(self, box: Sequence[float], seen: Sent) -> list[float]:
        return [*self._place(box[0], box[1], seen), *self._place(box[2], box[3], seen)]

    def _place(self, x: float, y: float, seen: Sent) -> list[float]:
        return list(self.convention.written(x * seen.scale[0], y * seen.scale[1], seen.size))

    def _complete(self, request: Request, meter: Meter) -> Completion:
        """Send within the answer's limits. Raises BudgetSpent before a limit would be passed."""
        calls = meter.budget.calls

        if self.price is None and meter.limits.usd is not None:
            raise SettingError(
                f"no price is known for {self.vlm.model}, so dollars cannot be limited",
                do="Pass --price IN,OUT.",
            )

        async def complete(caller: Caller) -> Completion:
            return (await caller.complete(request))[1]

        completion = run_within(
            self._loop, meter, self.vlm, self._ledger, complete, price=self.price, attempts=self.attempts
        )
        if meter.budget.calls > calls:
            meter.input_tokens += completion.input_tokens or 0
            meter.output_tokens += completion.output_tokens or 0
        if completion.refused:
            raise Refused(*completion.refused)
        return completion


def run_within(
    loop: BlockingCaller,
    meter: Meter,
    vlm: Vlm,
    ledger: Ledger,
    work: Callable[[Caller], Coroutine[Any, Any, R]],
    *,
    price: Price | None = None,
    attempts: int = 4,
) -> R:
    """Run calls within what an answer may still use. Raises BudgetSpent before a limit would be passed."""

    async def within() -> R:
        stop = asyncio.Event()
        caller = Caller(
            vlm, ledger, meter.budget, price=price, attempts=attempts, longest_wait_s=10.0, stop=stop
        )
        try:
            async with asyncio.timeout(max(0.0, meter.left_s)):
                return await work(caller)
        except BudgetSpent as spent:
            raise BudgetSpent(
                f"this answer: {spent.what}", do="Allow more with --answer-calls or --answer-usd."
            ) from None
        except TimeoutError:
            stop.set()  # nothing is sent for this answer after its time
            raise BudgetSpent(
                f"no reply within the {meter.limits.seconds:g} s of an answer",
                do="Allow more with --answer-seconds.",
            ) from None

    return loop.run(within())


def _second_look(values: list[Any], masks: int, sent: Sent, convention: Convention) -> SecondLook:
    if len(values) != 1 or not isinstance(values[0], dict) or not isinstance(values[0].get("verdicts"), list):
        raise Quarantined("parse", "one object with verdicts is wanted")
    kept: dict[int, Any] = {n: None for n in range(masks)}
    try:
        for verdict in values[0]["verdicts"]:
            number, said = verdict["number"] - 1, verdict["verdict"]
            if number not in range(masks) or said not in VERDICTS:
                raise Quarantined("parse", "a verdict on no region, or none that is known")
            if said == "withdraw":
                kept.pop(number, None)
            elif said == "correct":
                kept[number] = read_instances([verdict], sent, convention).instances[0]
        return SecondLook(kept, read_instances(values[0].get("missing") or [], sent, convention))
    except (KeyError, TypeError, ValueError) as error:
        raise Quarantined("parse", f"verdicts that cannot be read: {error}") from error


def _as_sent(mask: Mask, sent: Sent) -> Mask:
    """Return a mask of the picture as one of the picture sent, padding included."""
    height, width = (
        min(side, max(1, math.floor(of * scale + 0.5)))
        for side, of, scale in zip(sent.size, sent.original, reversed(sent.scale), strict=True)
    )
    whole = np.zeros(sent.size, bool)
    whole[:height, :width] = fit(mask, (height, width))
    return Mask.from_array(whole)


def _template(name: str, convention: Convention, size: tuple[int, int]) -> str:
    return fill(
        "askmask.pointing",
        name,
        box_key=convention.box_key,
        points_key=convention.points_key,
        box="[y0, x0, y1, x1]" if convention.y_first else "[x0, y0, x1, y1]",
        point="[y, x]" if convention.y_first else "[x, y]",
        words=convention.in_words(size),
    )


def _schema(convention: Convention) -> dict[str, Any]:
    fields = {
        "instances": {
            "type": "array",
            "items": _object(_place_schema(convention) | {"label": {"type": "string"}}),
        },
        "nothing_because": {"type": "string"},
        "reply": {"type": "string"},
    }
    return _object(fields)


def _look_schema(convention: Convention) -> dict[str, Any]:
    place = _place_schema(convention)
    verdict = {"number": {"type": "integer"}, "verdict": {"type": "string", "enum": list(VERDICTS)}} | place
    return _object(
        {
            "verdicts": {"type": "array", "items": _object(verdict)},
            "missing": {"type": "array", "items": _object(place | {"label": {"type": "string"}})},
        }
    )


def _place_schema(convention: Convention) -> dict[str, Any]:
    numbers = {"type": "array", "items": {"type": "number"}}
    return {convention.box_key: numbers, convention.points_key: {"type": "array", "items": numbers}}


def _object(fields: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": fields, "required": list(fields), "additionalProperties": False}
