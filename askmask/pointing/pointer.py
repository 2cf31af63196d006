"""A vision-language model as a pointer: it is asked, once more if its reply cannot be read, and read."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol

from askmask.conversation import Prompt, Round
from askmask.errors import SettingError
from askmask.imaging.files import Picture
from askmask.imaging.mask import Mask
from askmask.pointing.again import SecondLook, looking_again, read_look
from askmask.pointing.asking import MOST_TOKENS, asking, template_of
from askmask.pointing.conventions import Convention, convention_of, is_known
from askmask.pointing.meter import AnswerSpent, Calls, Meter
from askmask.pointing.outcome import Outcome, Unreadable
from askmask.pointing.reading import read_pointing, written_places
from askmask.pointing.sent import Sent, to_send
from askmask.vlm.budget import Price
from askmask.vlm.caller import Caller
from askmask.vlm.errors import CallFailed, Quarantined, Refused
from askmask.vlm.request import Completion, Request, Vlm
from askmask.vlm.templates import hash_of, text_of

_ONE_PICTURE = re.compile(
    r"at most 1 image|(?:only|maximum of|max(?:imum)?) (?:one|1|a single) image|(?:single|one) image (?:only|per|at a)"
    r"|multiple images (?:are|is)? ?(?:not|un)|does not support multiple images|limit.{0,20}mm.{0,10}per.{0,10}prompt",
    re.IGNORECASE,
)


class Pointer(Protocol):
    """Picture and prompt -> where. Safe to call from several threads."""

    name: str
    fingerprint: str
    draws: bool  # whether its instances come with masks, so that no drawer is needed for them

    @property
    def notices(self) -> tuple[str, ...]:
        """What users should know of every answer."""

    def see(self, picture: Picture) -> Any:
        """Do what depends on the picture alone."""

    def point(self, seen: Any, prompt: Prompt, rounds: Sequence[Round], meter: Meter) -> Outcome:
        """Say where what is asked is. Raises UnitFailed or RunStopped where no reply came."""


class VlmPointer:
    """Any model behind a `Vlm` client. `convention`: a row of the table, if not the one of the model's name."""

    draws = False

    def __init__(
        self, vlm: Vlm, *, convention: str | None = None, price: Price | None = None, attempts: int = 4
    ):
        self.vlm, self.price = vlm, price
        self.convention: Convention = convention_of(vlm.model, convention)
        self.name = vlm.model
        texts = [template_of(name, self.convention, (1, 1)) for name in ("point", "again")]
        texts.append(text_of("askmask.pointing", "earlier"))
        self.fingerprint = hash_of(vlm.provider, vlm.model, self.convention.name, *texts)
        self._guessed = convention is None and not is_known(vlm.model)
        self._one_picture = False  # the server takes no second one
        self._calls = Calls(vlm, price=price, attempts=attempts)
        self.remembering, self.close = self._calls.remembering, self._calls.close

    @property
    def notices(self) -> tuple[str, ...]:
        """What users should know of every answer."""
        guessed = (
            f"how {self.vlm.model} writes coordinates is not known: {self.convention.name} was assumed; check with "
            "`askmask doctor --model point`"
        )
        alone = (
            "the server takes one picture at a time: it sees earlier regions outlined on the picture itself"
        )
        return (guessed,) * self._guessed + (alone,) * self._one_picture

    def see(self, picture: Picture) -> Sent:
        """Make the picture that is sent."""
        return to_send(picture.rgb, self.convention)

    def point(self, seen: Sent, prompt: Prompt, rounds: Sequence[Round], meter: Meter) -> Outcome:
        """Ask, once more if the reply cannot be read, and read the reply."""
        request = asking(prompt, rounds, seen, self.convention)
        earlier = [segment.id for round in rounds for segment in round.segments or ()]
        completion = self._complete(request, meter)
        outcome = read_pointing(completion, seen, self.convention, earlier)
        if isinstance(outcome, Unreadable):
            more = 2 * MOST_TOKENS if completion.finish == "length" else MOST_TOKENS
            try:
                completion = self._complete(
                    request.repaired(outcome.raw, outcome.why, max_tokens=more), meter
                )
            except AnswerSpent:
                return outcome
            outcome = read_pointing(completion, seen, self.convention, earlier)
        return outcome

    def raw_places(
        self, seen: Sent, prompt: Prompt, meter: Meter
    ) -> list[tuple[str, tuple[float, float]]] | str:
        """Return (label, centre of the box as the model wrote it), or in words why the reply cannot be read."""
        completion = self._complete(asking(prompt, (), seen, self.convention), meter)
        try:
            return written_places(completion.text)
        except (Quarantined, ValueError) as error:
            return str(error)

    def look_again(self, seen: Sent, prompt: Prompt, masks: Sequence[Mask], meter: Meter) -> SecondLook:
        """Show the drawn masks back. Raises Quarantined for a reply that cannot be read."""
        completion = self._complete(looking_again(prompt, masks, seen, self.convention), meter)
        return read_look(completion, len(masks), seen, self.convention)

    def _complete(self, request: Request, meter: Meter) -> Completion:
        """Send within the answer's limits. Raises AnswerSpent before a limit would be passed."""
        if self.price is None and meter.limits.usd is not None:
            raise SettingError(
                f"no price is known for {self.vlm.model}, so dollars cannot be limited",
                do="Pass --price IN,OUT.",
            )
        if self._one_picture:
            request = replace(request, pictures=request.pictures[-1:])
        calls = meter.budget.calls

        async def complete(caller: Caller) -> Completion:
            return (await caller.complete(request))[1]

        try:
            completion = self._calls.run(meter, complete)
        except CallFailed as error:
            if self._one_picture or len(request.pictures) < 2 or not _ONE_PICTURE.search(error.reason):
                raise
            self._one_picture = True
            return self._complete(request, meter)
        meter.count(completion, kept=meter.budget.calls == calls, price=self.price)
        if completion.refused:
            raise Refused(*completion.refused)
        return completion
