"""From a user's prompt to its answer: what the words refer to is added, algebra is computed, the rest is asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from askmask.algebra import MADE_BY, Formula, formula
from askmask.answer import Answer
from askmask.backend import Asked, Backend, Done, Event, Found, Keep, State
from askmask.conversation import Prompt, Reference, Round, Segment
from askmask.imaging.files import Picture
from askmask.references import SURENESS, Mention, mentions, references_of


def answer_events(
    backend: Backend,
    picture: Picture,
    rounds: Sequence[Round],
    prompt: Prompt,
    keep: Keep,
    state: Callable[[], State],
) -> Iterator[Event]:
    """Answer a prompt after some rounds; `state` makes the back-end's state after them, if it must be asked.

    What the prompt refers to by `refers_to` stays; without it, pronouns and earlier words are resolved too.
    """
    prompt = backend.check(prompt)
    known = formula(prompt.text, rounds) if prompt.text and not (prompt.refers_to or prompt.marks) else None
    if known is not None and not known.ask:
        yield from _computed(known, prompt, picture)
        return
    if known is not None:
        part = _ask(
            backend, state(), rounds, replace(prompt, text=known.ask, refers_to=_set_meant(known)), keep
        )
        answer = next(event.answer for event in part if isinstance(event, Done))
        segments = known.solved(answer.segments)
        if segments is not None:
            yield from (Found(0, segment) for segment in segments)
            yield Done(0, _joined(answer, known, prompt, segments))
            return
    yield from _ask(backend, state(), rounds, prompt, keep)


def as_given(round: Round) -> Prompt:
    """Return a round's prompt as it was asked: without what the words were found to refer to."""
    found = {reference.id for reference in round.references if not reference.given}
    kept = tuple(name for name in round.prompt.refers_to if name not in found)
    return replace(round.prompt, refers_to=kept)


def _ask(
    backend: Backend, state: State, rounds: Sequence[Round], prompt: Prompt, keep: Keep
) -> Iterator[Event]:
    rules = ("id", "name") if prompt.refers_to else tuple(SURENESS)
    found = mentions(prompt.text, rounds, rules)
    given = tuple(Reference(name, 1.0, True) for name in prompt.refers_to)
    said = tuple(one for one in references_of(found) if one.id not in prompt.refers_to)
    full = replace(prompt, refers_to=(*prompt.refers_to, *(one.id for one in said)))
    for event in backend.answer([Asked(state, full)], keep):
        if isinstance(event, Done):
            answer = event.answer
            models = (one for one in answer.references if not one.given and one.id not in full.refers_to)
            segments = answer.round.segments  # who takes the round in names them
            fresh = None if segments is None else tuple(replace(segment, id="") for segment in segments)
            round = replace(answer.round, prompt=full, segments=fresh, references=(*given, *said, *models))
            event = Done(0, replace(answer, round=round, notices=(*answer.notices, *_unclear(prompt, found))))
        yield event


def _unclear(prompt: Prompt, found: Sequence[Mention]) -> tuple[str, ...]:
    return tuple(
        f"what {prompt.text[one.start : one.end]!r} means was left to the model: {one.why}"
        for one in found
        if not one.ids
    )


def _set_meant(known: Formula) -> tuple[str, ...]:
    """Return what "the red one" is one of, in "all of them except the red one"."""
    return tuple(one.id for one in known.references) if known.of == "drop" else ()


def _computed(known: Formula, prompt: Prompt, picture: Picture) -> Iterator[Event]:
    segments = known.solved() or ()
    yield from (Found(0, segment) for segment in segments)
    yield Done(
        0,
        Answer(
            round=_round(known, prompt, segments),
            size=picture.size,
            score=None,  # nothing was guessed
            presence=float(bool(segments)),
            score_trained=False,
            presence_trained=False,
            found=bool(segments),
            model=MADE_BY,
            protocol="exact",
            picture=picture,
        ),
    )


def _joined(answer: Answer, known: Formula, prompt: Prompt, segments: tuple[Segment, ...]) -> Answer:
    """Return an answer to a part of a prompt as one to all of it."""
    # Without the model's reply, which is of the part.
    round = replace(_round(known, prompt, segments), made_by=f"{answer.model}, {MADE_BY}")
    note = f"the model was asked for {known.ask!r}; the rest is algebra"
    return replace(
        answer,
        round=round,
        found=bool(segments),
        score=None,  # the model's is of the part that it was asked for
        notices=(*answer.notices, note),
        alternatives=(),
        logits=None,
    )


def _round(known: Formula, prompt: Prompt, segments: tuple[Segment, ...]) -> Round:
    names = tuple(one.id for one in known.references)
    return Round(prompt=replace(prompt, refers_to=names), segments=segments, references=known.references)
