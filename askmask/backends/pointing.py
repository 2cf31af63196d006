"""PointingBackend: one model points, another draws. A reply that cannot be read is an error, never "nothing"."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from askmask.answer import Answer
from askmask.backend import Asked, Done, Event, Found, Keep, State, View
from askmask.backends.marks import of_marks, resolved
from askmask.conversation import Prompt, Round, Segment
from askmask.errors import AskMaskError, PromptError
from askmask.imaging.files import Picture
from askmask.pointing.meter import AnswerSpent, Limits, Meter
from askmask.pointing.outcome import Instance, NothingHere, Outcome, Pointed, Unreadable
from askmask.pointing.pointer import Pointer
from askmask.segmenters.segmenter import Drawer, Marked, ScoredMask
from askmask.vlm.errors import UnitFailed
from askmask.vlm.ledger import Ledger

MOST_PROMPT_CHARS = 4000
AT_ONCE = 8  # prompts that a pointer is asked at the same time
Drawn = tuple[Instance, ScoredMask]


class ReplyUnreadable(AskMaskError):
    """A model's reply that says neither where nor that nothing is there; `raw` is all of it."""

    def __init__(self, who: str, outcome: Unreadable):
        self.raw = outcome.raw
        super().__init__(
            f"the reply of {who} could not be read: {outcome.why}",
            got=repr(outcome.raw[:160]),
            do="Ask again, or check the model with `askmask doctor --model point`.",
        )


@dataclass
class PointingView:
    """One picture as the pointer and the drawer see it. `encoded` is made when something is to be drawn, or before."""

    picture: Picture
    seen: Any
    encoded: Any
    seconds: float

    @property
    def nbytes(self) -> int:
        """Memory of its pixels, as they are and as they are sent, and of what was made of them."""
        return self.picture.rgb.nbytes + _bytes_of(self.seen) + _bytes_of(self.encoded)


class PointingBackend:
    """A pointer and a drawer. `looks`: how often the model sees its drawn masks again, and may mend them."""

    waits = True  # for another server: a server of ours calls it side by side, not in one thread

    def __init__(
        self, pointer: Pointer, drawer: Drawer, *, drawer_name: str, looks: int = 1, limits: Limits = Limits()
    ):
        if looks > 1 and not hasattr(pointer, "look_again"):
            raise PromptError(
                f"{pointer.name} cannot look again", do="Use a model that speaks, or --looks 1."
            )
        self.pointer, self.drawer, self.looks, self.limits = pointer, drawer, looks, limits
        self.name = f"point:{pointer.name}+{drawer_name}"
        self.protocol_name = f"point-{looks}"
        self.fingerprint = f"{pointer.fingerprint}+{drawer_name}"
        self._drawing = threading.Lock()

    def check(self, prompt: Prompt) -> Prompt:
        """Return the prompt if it can be asked. Raises PromptError."""
        if not isinstance(prompt.text, str):
            raise PromptError("a prompt must be text", got=type(prompt.text).__name__)
        if not prompt.text.strip() and not prompt.marks:
            raise PromptError("the prompt is empty", do="Say what to look for.")
        if len(prompt.text) > MOST_PROMPT_CHARS:
            raise PromptError(f"a prompt has at most {MOST_PROMPT_CHARS} characters", got=len(prompt.text))
        if any("\ud800" <= letter <= "\udfff" for letter in prompt.text):
            raise PromptError("the prompt holds bytes that are not text", do="Use UTF-8.")
        return prompt

    def look(self, picture: Picture) -> PointingView:
        """Make the picture that is sent, and encode it for the drawer."""
        start = time.perf_counter()
        seen = self.pointer.see(picture)
        encoded = None if self.pointer.draws else self.drawer.encode(picture.rgb)
        return PointingView(picture, seen, encoded, time.perf_counter() - start)

    def begin(self, view: View) -> State:
        """Begin a conversation."""
        return State(view)

    def extend(self, state: State, round: Round) -> State:
        """Remember a round: it goes to the model as turns of a chat."""
        return state.with_round(round)

    def remembering(self, path: Path) -> AbstractContextManager[Ledger | None]:
        """Keep every reply of the model that points in a file meanwhile, for a run that may be taken up again."""
        keep = getattr(self.pointer, "remembering", None)
        return nullcontext() if keep is None else keep(path)

    def answer(self, asked: Sequence[Asked], keep: Keep) -> Iterator[Event]:
        """Answer prompts. What was answered comes first; then the first error, if there was one, is raised."""
        failed: list[Exception] = []
        meters = [Meter(self.limits) for _ in asked]
        pool = ThreadPoolExecutor(min(AT_ONCE, max(1, len(asked))))
        try:
            waiting = [
                pool.submit(self._pointed, one, meter) for one, meter in zip(asked, meters, strict=True)
            ]
            for row, (one, meter, future) in enumerate(zip(asked, meters, waiting, strict=True)):
                try:
                    answer = self._drawn(one, future.result(), meter)
                except AskMaskError as error:
                    failed.append(error)
                    continue
                yield from (Found(row, segment) for segment in answer.segments)
                yield Done(row, answer)
        finally:
            # Ctrl-C, or nobody wants the rest: what is still being asked ends at once, and nothing more is sent.
            for meter in meters:
                meter.cancel()
            pool.shutdown(cancel_futures=True)
        if failed:
            raise failed[0]

    def _pointed(self, one: Asked, meter: Meter) -> Outcome:
        """Ask where; marks without words say it themselves: they mend an outline or draw one, without the model."""
        view, prompt = one.state.view, one.prompt
        assert isinstance(view, PointingView)
        if not prompt.text.strip():
            return of_marks(prompt, one.state.rounds)
        outcome = self.pointer.point(view.seen, prompt, one.state.rounds, meter)
        if isinstance(outcome, Unreadable):
            raise ReplyUnreadable(self.pointer.name, outcome)
        return resolved(outcome, one.state.rounds)

    def _drawn(self, one: Asked, outcome: Outcome, meter: Meter) -> Answer:
        view, prompt = one.state.view, one.prompt
        assert isinstance(view, PointingView)
        notices = list(self.pointer.notices)
        start, found, text = time.perf_counter(), [], ""
        if isinstance(outcome, NothingHere):
            text = outcome.reason
        elif isinstance(outcome, Pointed):
            text = outcome.text
            found = self._draw(view, outcome.instances, () if prompt.text.strip() else prompt.points)
            if outcome.outside:
                notices.append(f"{outcome.outside} places lay outside the picture and were clipped to it")
        drawn_s = time.perf_counter() - start
        for _ in range(self.looks - 1 if found and prompt.text.strip() else 0):
            try:
                better = self._looked(view, prompt, found, meter)
            except (AnswerSpent, UnitFailed) as error:
                notices.append(f"the second look brought nothing: {error}")
                break
            same, found = better == found, better
            if not found:
                text = "withdrawn at the second look"
            if same or not found:
                break
        inked = [(instance, mask, score) for instance, (mask, score) in found if mask]
        if found and not inked:
            raise AskMaskError(
                f"{self.name} drew nothing where it was pointed to", do="Try another --drawer."
            )
        if len(inked) < len(found):
            notices.append(f"{len(found) - len(inked)} of {len(found)} places could not be drawn")
        segments = tuple(
            Segment(
                mask=mask,
                source="predicted",
                score=score,
                phrase=instance.label or None,
                parents=(instance.earlier,) if instance.earlier else (),
            )
            for instance, mask, score in inked
        )
        words_alone = isinstance(outcome, Pointed) and not outcome.instances
        usage = meter.usage()
        seconds = usage.pop("seconds")
        return Answer(
            round=Round(prompt=prompt, segments=None if words_alone else segments, reply=text or None),
            size=view.picture.size,
            score=max((one.score for one in segments if one.score is not None), default=None),
            presence=1.0 if segments else 0.0,
            score_trained=False,
            presence_trained=False,
            found=bool(segments),
            model=self.name,
            protocol=self.protocol_name,
            notices=tuple(notices),
            timings={"picture": view.seconds, "draw": drawn_s, "prompt": seconds},
            usage=usage | {"outside": outcome.outside if isinstance(outcome, Pointed) else 0},
            pointed=tuple(_places(instance) for instance, _, _ in inked),
            picture=view.picture,
        )

    def _draw(
        self, view: PointingView, instances: Sequence[Instance], points: Sequence[tuple[float, float, bool]]
    ) -> list[Drawn]:
        """Draw what is not drawn yet; `points` are the user's own, for every instance."""
        marked = [
            Marked(one.box, (*((x, y, True) for x, y in one.points), *points))
            for one in instances
            if one.mask is None
        ]
        drawn = iter(self.drawer.draw(self._features(view), marked) if marked else ())
        result: list[Drawn] = []
        for one in instances:
            if one.mask is not None:
                result.append((one, (one.mask, 1.0 if one.sure is None else one.sure)))
            else:
                mask, score = next(drawn)
                result.append((one, (mask, score if one.sure is None else score * one.sure)))
        return result

    def _features(self, view: PointingView) -> Any:
        with self._drawing:
            if view.encoded is None:
                view.encoded = self.drawer.encode(view.picture.rgb)
            return view.encoded

    def _looked(self, view: PointingView, prompt: Prompt, found: list[Drawn], meter: Meter) -> list[Drawn]:
        """Show the masks back and do as the model says; those it keeps stay bit for bit."""
        look = self.pointer.look_again(view.seen, prompt, [mask for _, (mask, _) in found], meter)  # type: ignore[attr-defined]
        kept = [
            (found[n], None)
            if new is None
            else (found[n], replace(new, label=new.label or found[n][0].label))
            for n, new in sorted(look.kept.items())
        ]
        fresh = [new for _, new in kept if new is not None] + list(look.missing.instances)
        drawn = iter(self._draw(view, fresh, ()))
        return [old if new is None else next(drawn) for old, new in kept] + list(drawn)


def _places(instance: Instance) -> Prompt:
    """Return the marks that an instance was drawn from."""
    return Prompt(
        boxes=() if instance.box is None else (instance.box,),
        points=tuple((x, y, True) for x, y in instance.points),
    )


def _bytes_of(features: Any) -> int:
    if hasattr(features, "nbytes"):
        return int(features.nbytes)
    if isinstance(features, (tuple, list)):
        return sum(map(_bytes_of, features))
    return _bytes_of(getattr(features, "maps", ()))
