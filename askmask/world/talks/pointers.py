"""How a later round points at one thing of an earlier answer, and at no other."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Sequence
from itertools import accumulate

from askmask.world.ground import Ground
from askmask.world.phrases import NOUNS
from askmask.world.talks.measures import SIDE
from askmask.world.talks.talk import (
    ORDINALS,
    Talk,
)


def pointer(talk: Talk, number: int, n: int) -> tuple[str, str] | None:
    """Find words that point at one thing of an answer and at no other: (how, the words)."""
    said, ground, last = talk.said[number], talk.ground, number == len(talk.said) - 1
    things = said.things
    ways: dict[str, float] = {"name": 0.15, "given": 0.2}
    everything = [m for s in talk.said for m in (*s.query.satisfying, *([] if s.of is None else [s.of]))]
    noun = talk.scope.nouns[n][0]
    if len({m for m in everything if talk.scope.nouns[m][0] == noun}) == 1:
        ways["noun"] = 0.15 if last else 0.4
    if len(things) == 1:
        ways["index"] = 0.1 if last else 0.35
        if last:
            ways["it" if said.of is None else "newest"] = 1.0
        elif number == len(talk.said) - 2 and talk.said[-1].query.empty and talk.said[-1].of == n:
            ways["it"] = 0.8  # nothing was found about it: it is still spoken of
    elif last:
        side = sided(things, ground)
        if side is not None and side[1] == n:
            ways["sided"] = 1.0
        if apart(things, n, ground) is not None:
            ways["spoken"] = 1.0
    names = sorted(ways)
    edges = list(accumulate(ways[name] for name in names))
    how = names[bisect(edges, talk.rng.random() * edges[-1])]
    if how == "sided":
        word = side[0]  # type: ignore[index]
        return how, talk.pick(how, side=word, way=word.removesuffix("most"))
    if how == "spoken":
        return how, talk.pick(how, o=apart(things, n, ground) or "")
    return how, talk.pick(
        how,
        n=noun,
        number=str(number + 1),
        k=ORDINALS[number],
        m=f"m{said.first + things.index(n)}",
    )


def sided(things: Sequence[int], ground: Ground) -> tuple[str, int] | None:
    """The leftmost or rightmost of some things, if it is clear which."""
    if len(things) < 2:
        return None
    ranked = sorted((n for n in things if n in ground.seen), key=ground.x)
    if len(ranked) < len(things):
        return None
    if ground.x(ranked[1]) - ground.x(ranked[0]) > SIDE:
        return "leftmost", ranked[0]
    if ground.x(ranked[-1]) - ground.x(ranked[-2]) > SIDE:
        return "rightmost", ranked[-1]
    return None


def apart(things: Sequence[int], n: int, ground: Ground) -> str | None:
    """Words that tell a thing from the others of an answer: "red one", "mug"; None if neither does."""
    kind, colour = ground.category(n), ground.things[n]["colour"]
    if sum(ground.things[m]["colour"] == colour for m in things) == 1:
        return f"{colour} one"
    return NOUNS[kind][0][0] if sum(ground.category(m) == kind for m in things) == 1 else None
