"""Changes to rounds that were answered: what refers to a changed round follows it, and is stale."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from askmask.conversation import Round
from askmask.history import translated

Rounds = tuple[Round, ...]


def replaced(
    rounds: Sequence[Round], stale: Iterable[str], index: int, new: Round | None
) -> tuple[Rounds, frozenset[str]]:
    """Put a named round in the place of another, or remove that one; return the rounds, and ids of the stale ones."""
    old, outdated = rounds[index], set(stale)
    outdated.discard(old.id)
    changed = ids_of(old)

    def moved(names: Iterable[str]) -> tuple[str, ...]:
        theirs = [name for name in names if name in ids_of(old)]
        kept = [name for name in names if name not in theirs]
        return (*(() if new is None else translated(theirs, [old], [new])), *kept)

    result = [*rounds[:index], *([] if new is None else [new])]
    for round in rounds[index + 1 :]:
        if changed & {*round.prompt.refers_to, *(one.id for one in round.references)}:
            outdated.add(round.id)
            # What depends on a round that will change is stale too, though its references stay good.
            changed |= ids_of(round)
            references = (replace(one, id=name) for one in round.references for name in moved([one.id]))
            prompt = replace(round.prompt, refers_to=moved(round.prompt.refers_to))
            round = replace(round, prompt=prompt, references=tuple(references))
        result.append(round)
    return tuple(result), frozenset(outdated)


def ids_of(round: Round) -> set[str]:
    """Return a round's id and those of its segments."""
    return {round.id, *(segment.id for segment in round.segments or ())}


def made_by_user(round: Round) -> bool:
    """Whether a round is a mask of the user's own, which no model was asked for."""
    segments = round.segments or ()
    return not round.text and bool(segments) and all(segment.source == "user" for segment in segments)
