"""The service behind all protocols: models, sessions and jobs; what may be done with a session, and in which order.

Knows nothing of HTTP.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from askmask.answer import Answer
from askmask.backend import Done, Found, Words
from askmask.conversation import Prompt
from askmask.errors import AskMaskError, PromptError
from askmask.imaging.files import read_picture
from askmask.serving.jobs import Job, Jobs
from askmask.serving.journal import Journal, Moment
from askmask.serving.masks import Form, mask_from_wire
from askmask.serving.metrics import Metrics
from askmask.serving.refusal import Cancelled, Refusal
from askmask.serving.safety import Keys, Names
from askmask.serving.settings import Settings
from askmask.serving.store import Kept, Store
from askmask.serving.together import Together
from askmask.serving.wire import (
    AddCall,
    EditCall,
    ForkCall,
    PromptIn,
    answer_to_wire,
    changes_to_wire,
    facts_of,
    session_to_wire,
)
from askmask.session import Model, Session

log = logging.getLogger("askmask.serve")
LOADING_S = 60.0  # that a call waits for a model being loaded
STEP = 8  # prompts of one call between two words on how it goes
SWEEP_S = 600.0
Act = Callable[[Session, Job], Mapping[str, Any]]
Shown = Callable[[Form], dict[str, Any]]  # a job's result: shown with masks in the form that a caller wants


class Service:
    """One server's models, sessions and jobs. `openers`: by name, what loads each model."""

    def __init__(self, settings: Settings, openers: Mapping[str, Callable[[], Model]]):
        self.settings, self.limits = settings, settings.limits
        self.metrics = Metrics()
        self.keys, self.names = Keys(settings.keys, settings.data), Names(settings)
        self._openers = dict(openers)
        self._models: dict[str, Model] = {}
        self.failed: str | None = None
        self.store = Store(settings.data / "sessions", self.limits, model=self.model)
        self.jobs = Jobs(self.limits.waiting, beat_s=self.limits.beat_s, ended=self._ended)
        self._sweeper: asyncio.Task[None] | None = None
        gauge = self.metrics.gauge
        gauge("askmask_jobs_at_work", "Work on models that waits or is done", lambda: self.jobs.at_work)
        gauge("askmask_sessions", "Sessions kept", lambda: len(self.store))
        gauge("askmask_sessions_in_memory", "Sessions with their picture in memory", self.store.awake)

    # -- life -----------------------------------------------------------------------------------------------

    async def start(self, failed: Callable[[BaseException], None] = lambda error: None) -> None:
        """Load the models in the background; `failed` is told if one cannot be."""
        loop = asyncio.get_running_loop()

        def load() -> None:
            try:
                for name, opener in self._openers.items():
                    model = opener()
                    told = lambda rows, seconds, name=name: self.metrics.batch(name, rows, seconds)  # noqa: E731
                    half = (self.limits.memory_mb << 20) // 2
                    self._models[name] = Model(Together(model.backend, told=told), memory_limit=half)
                    log.info("model %s is ready", name)
            except BaseException as error:
                self.failed = f"{type(error).__name__}"
                loop.call_soon_threadsafe(failed, error)

        threading.Thread(target=load, name="load", daemon=True).start()
        self._sweeper = asyncio.create_task(self._sweep())

    async def stop(self) -> None:
        """Take nothing more, finish what is at work, and close."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        if left := await self.jobs.drain(self.limits.drain_s):
            log.warning("%d calls were cancelled: they took more than %g s", left, self.limits.drain_s)
        self.store.close()

    @property
    def ready(self) -> bool:
        """Whether every model is loaded and calls are taken."""
        return len(self._models) == len(self._openers) and not self.jobs.stopping

    async def _sweep(self) -> None:
        while True:
            try:
                removed = await asyncio.to_thread(self.store.sweep)
            except Exception:
                log.exception("old sessions could not be removed")
            else:
                if removed:
                    log.info(
                        "%d sessions not used for %g days were removed", len(removed), self.limits.keep_days
                    )
            await asyncio.sleep(SWEEP_S)

    def _ended(self, job: Job) -> None:
        self.metrics.job(job.kind, job.state)
        cause = None if job.refusal is None else job.refusal.__cause__
        if cause is not None and job.refusal is not cause and not isinstance(cause, AskMaskError):
            # Where it was, without the text of the error, which may hold what was asked.
            where = "".join(traceback.format_tb(cause.__traceback__))
            log.error("%s failed: %s\n%s", job.kind, type(cause).__name__, where)

    # -- models ---------------------------------------------------------------------------------------------

    @property
    def model_names(self) -> list[str]:
        """Names of the models, the default first."""
        return list(self._openers)

    def model_name(self, name: str | None) -> str:
        """Return the name of a model that is there. Raises Refusal."""
        if name is None:
            return self.model_names[0]
        if name not in self._openers:
            raise Refusal(
                404, "no such model here", got=repr(name), do=f"There are: {', '.join(self._openers)}."
            )
        return name

    def model(self, name: str) -> Model:
        """Return a model, waiting a while for its loading. Raises Refusal; also for a model of an earlier run."""
        ends = time.monotonic() + LOADING_S
        while (model := self._models.get(self.model_name(name))) is None:
            if time.monotonic() < ends and self.failed is None:
                time.sleep(0.1)
                continue
            raise Refusal(503, f"the model {name} is being loaded", do="Ask again in a moment.", retry_s=3)
        return model

    def loaded(self, name: str) -> Model | None:
        """Return a model if it is loaded."""
        return self._models.get(name)

    # -- prompts that stand alone ---------------------------------------------------------------------------

    def segment(
        self,
        owner: str,
        data: bytes,
        prompts: Sequence[str | PromptIn],
        model: str | None,
        key: str | None = None,
    ) -> Job:
        """Answer prompts about one picture, each as if it were alone."""
        name = self.model_name(model)
        if len(prompts) > self.limits.prompts:
            raise Refusal(
                422, f"one call takes {self.limits.prompts} prompts", got=len(prompts), do="Ask in parts."
            )

        def work(job: Job) -> Shown:
            session = self.model(name).open(read_picture(data, max_pixels=self.limits.pixels))
            size = session.picture.size
            given = [p if isinstance(p, str) else p.prompt(size) for p in prompts]
            answers: list[Answer] = []
            for first in range(0, len(given), STEP):
                answers += [a.light() for a in session.ask_many(given[first : first + STEP])]
                job.tell("progress", {"done": len(answers), "total": len(given)}, done=len(answers))
            shown = {"model": name, "size": list(size)}
            return lambda form: shown | {"answers": [answer_to_wire(answer, form) for answer in answers]}

        job = self.jobs.start(owner, "segment", lambda job: job.in_thread(lambda: work(job)), key=key)
        job.total = len(prompts)
        return job

    # -- sessions -------------------------------------------------------------------------------------------

    def open(
        self,
        owner: str,
        data: bytes,
        name: str,
        model: str | None,
        saved: Mapping[str, Any] | None = None,
        key: str | None = None,
    ) -> Job:
        """Open a session over a picture, or go on with a saved conversation."""
        served = self.model_name(model)

        def work() -> Shown:
            stands = self.store.journal(self.store.create(owner, served, data, name, saved=saved)).standing()
            return lambda form: session_to_wire(stands, form)

        return self.jobs.start(owner, "open", lambda job: job.in_thread(work), key=key)

    def change(self, kept: Kept, op: str, act: Act, *, key: str | None = None, followed: bool = False) -> Job:
        """Change a session by `act`, which returns what is to be kept of new rounds; what `key` did is done once."""

        def work(job: Job) -> Shown:
            journal = self.store.journal(kept)
            if key is not None and key in journal.keys:
                done, stands = journal.keys[key], journal.standing()
                before = stands.moment.without(done)
                return lambda form: changes_to_wire(stands, before, form)
            session = self.store.session(kept)
            before, rounds = journal.now, session.rounds
            try:
                said = act(session, job)
            except BaseException:
                if session.rounds is not rounds:  # half done: what is on disk holds
                    kept.session = None
                raise
            return _changes(self.store.commit(kept, session, op, said, key=key), before)

        return self._under_lock(kept, op, work, key, followed=followed)

    def ask(self, kept: Kept, prompt: PromptIn, *, key: str | None = None, followed: bool = False) -> Job:
        """Ask the next round; of one that is `followed`, words and segments are told as they come."""

        def act(session: Session, job: Job) -> Mapping[str, Any]:
            self._room(session)
            answer = None
            for event in session.stream(**prompt.arguments(session.picture.size)):
                if job.cancel:
                    raise Cancelled
                if isinstance(event, Words):
                    job.tell("words", {"text": event.text})
                elif isinstance(event, Found):
                    job.tell("segment", event.segment)
                elif isinstance(event, Done):
                    answer = event.answer
            assert answer is not None
            return {answer.round.id: facts_of(answer)}

        return self.change(kept, "ask", act, key=key, followed=followed)

    def edit(self, kept: Kept, round: str, call: EditCall, *, key: str | None = None) -> Job:
        """Ask a round anew with another prompt, and maybe those that refer to it."""

        def act(session: Session, job: Job) -> Mapping[str, Any]:
            only_words = call.model_fields_set <= {"text", "refresh"}
            given = call.text if only_words else _about_by_id(session, call.prompt(session.picture.size))
            answers = [session.edit(round, given)]
            if call.refresh:
                answers += session.refresh()
            return {answer.round.id: facts_of(answer) for answer in answers}

        return self.change(kept, "edit", act, key=key)

    def refresh(self, kept: Kept, *, key: str | None = None) -> Job:
        """Ask the stale rounds anew."""
        return self.change(
            kept,
            "refresh",
            lambda session, job: {a.round.id: facts_of(a) for a in session.refresh()},
            key=key,
        )

    def add(self, kept: Kept, call: AddCall, *, key: str | None = None) -> Job:
        """Take in a drawn mask, or a segment mended by what is drawn or marked."""

        def act(session: Session, job: Job) -> Mapping[str, Any]:
            self._room(session)
            drawn = None if call.mask is None else mask_from_wire(call.mask, session.picture.size)
            if drawn is not None and not drawn:
                raise PromptError("what is drawn holds no pixel", do="Draw around a region.")
            if call.how == "new":
                if drawn is None:
                    raise PromptError(
                        "a new mask must be drawn", do='Send "mask", or ask with points or boxes.'
                    )
                session.add(drawn, name=call.name)
                return {session.rounds[-1].id: {"how": "new"}}
            old = _segment(session, call.of)
            facts = {"how": call.how, "replaces": [old.id]}
            if drawn is None and (answer := _mended_by_model(session, call, old)) is not None:
                return {answer.round.id: facts_of(answer) | facts}
            if drawn is None:
                marks = Prompt(
                    points=tuple((p[0], p[1], True) for p in call.points),
                    boxes=tuple((b[0], b[1], b[2], b[3]) for b in call.boxes),
                )
                drawn = session.ask_many([marks])[0].mask
                if not drawn:
                    raise PromptError("nothing was found at that place", do="Draw around what is meant.")
            mended = old.mask | drawn if call.how == "add" else old.mask - drawn
            if not mended:
                raise PromptError("nothing would be left of the mask", do="Remove its round instead.")
            session.add(mended, name=call.name or old.name)
            return {session.rounds[-1].id: facts}

        return self.change(kept, call.how, act, key=key)

    def undo(self, kept: Kept) -> Job:
        """Take the last change back."""

        def work(job: Job) -> Shown:
            before = self.store.journal(kept).now
            return _changes(self.store.undo(kept), before)

        return self._under_lock(kept, "undo", work, None)

    def fork(self, kept: Kept, call: ForkCall, *, key: str | None = None) -> Job:
        """Begin a second session as this one stands; asked anew, by the other model's own answers."""
        name = None if call.model is None else self.model_name(call.model)

        def work(job: Job) -> Shown:
            model = name or self.store.journal(kept).head["model"]
            other = self.store.fork(kept, model, call.rounds)
            refused = self._ask_anew(other, job) if call.ask_anew else []
            stands = self.store.journal(other).standing()
            return lambda form: session_to_wire(stands, form) | {"refused": refused}

        return self._under_lock(kept, "fork", work, key)

    def _ask_anew(self, kept: Kept, job: Job) -> list[dict[str, str]]:
        """Ask every round of a fork again; a round that its model cannot be asked is taken out, and said."""
        session, said, refused = self.store.session(kept), {}, []
        job.total = len(session.rounds)
        for number, round in enumerate(session.rounds, 1):
            job.tell("progress", {"done": number, "total": job.total}, done=number)
            if round.segments and all(one.source == "user" for one in round.segments):
                continue
            now = next(one for one in session.rounds if one.id == round.id)
            try:
                answer = session.edit(round.id, now.prompt)
                said[round.id] = facts_of(answer)
            except PromptError as error:
                session.delete(round.id)
                refused.append({"round": round.id, "why": str(error)})
        self.store.commit(kept, session, "ask_anew", said)
        return refused

    def _under_lock(
        self,
        kept: Kept,
        op: str,
        work: Callable[[Job], Shown],
        key: str | None,
        *,
        followed: bool = False,
    ) -> Job:
        async def locked(job: Job) -> Shown:
            async with kept.lock:
                shown: Shown = await job.in_thread(lambda: work(job))
                return shown

        name = None if key is None else f"{kept.id} {key}"
        return self.jobs.start(kept.owner, op, locked, key=name, followed=followed)

    def _room(self, session: Session) -> None:
        if len(session.rounds) >= self.limits.rounds:
            raise Refusal(
                422, f"a session has at most {self.limits.rounds} rounds", do="Go on in a new one, or a fork."
            )


def _changes(journal: Journal, before: Moment) -> Shown:
    stands = journal.standing()
    return lambda form: changes_to_wire(stands, before, form)


def _segment(session: Session, name: str | None) -> Any:
    try:
        return session[name or ""]
    except KeyError:
        raise Refusal(
            404, "no such segment", got=repr(name), do=f"There are: {', '.join(session.segments)}."
        ) from None


def _mended_by_model(session: Session, call: AddCall, old: Any) -> Answer | None:
    """Mend an outline by the model itself, where it takes a mask with marks; None where it does not."""
    points = [(p[0], p[1], call.how == "add") for p in call.points]
    if call.boxes and call.how == "cut":
        return None  # a box says what is meant, never what is not
    try:
        answer = session.ask(points=points, boxes=[tuple(b) for b in call.boxes], mask=old.mask, about=old.id)  # type: ignore[misc]
    except PromptError:
        return None
    if answer.mask and answer.mask != old.mask:
        return answer
    session.undo()  # nothing, or what was there before, takes the place of no mask
    return None


def _about_by_id(session: Session, prompt: Prompt) -> Prompt:
    names = {s.name: s.id for s in session.segments.values() if s.name}
    return replace(prompt, refers_to=tuple(names.get(name, name) for name in prompt.refers_to))
