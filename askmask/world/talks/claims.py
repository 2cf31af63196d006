"""Claims in a reply, held against the world's facts: which things there are, what they are, how they stand.

Reads any text, a model's own too. What is said of things it knows by their nouns, and the predicates of properties.py,
becomes a claim; the rest is passed over. Precision is the share of claims that are true.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from askmask.world.appearance import COLOURS, MATERIALS
from askmask.world.ground import Ground
from askmask.world.phrases import NOUNS
from askmask.world.talks.measures import superlatives
from askmask.world.talks.properties import PROPERTIES
from askmask.world.talks.replies import NUMBERS


@dataclass(frozen=True, slots=True)
class Claim:
    """Something said. `true` is None where the facts do not decide it."""

    text: str
    kind: str  # "thing" (there is such a thing), "shown" (it is what the answer holds), or a property's name
    true: bool | None


@dataclass(frozen=True, slots=True)
class _Named:
    """Things a phrase speaks of: those it fits, and of how many it speaks (0: all of them)."""

    text: str
    fits: tuple[int, ...]
    count: int


def claims(
    reply: str,
    ground: Ground,
    *,
    about: Sequence[int] = (),
    among: Sequence[int] = (),
    answer: Collection[int] | None = None,
) -> list[Claim]:
    """Return the claims of a reply.

    `about`: ids of the things that "it" means before the reply names any, and that "else" leaves out. `among`: of which
    things one is called the biggest, the leftmost. `answer`: ids of the things that rightly answer; named things, and
    that nothing matches, are then also held against them.
    """
    found: list[Claim] = []
    for sentence in re.split(r"[.?!]+\s*", reply.lower()):
        if not sentence or sentence.startswith("should "):
            continue
        if answer is not None and re.search(_EMPTY, sentence):
            found.append(Claim(sentence, "nothing", not answer))
        found += _of_sentence(sentence, ground, tuple(about), tuple(among), answer)
    return found


def precision(found: Sequence[Claim]) -> tuple[int, int]:
    """Return (true claims, claims that the facts decide)."""
    decided = [claim.true for claim in found if claim.true is not None]
    return sum(decided), len(decided)


def _of_sentence(
    sentence: str,
    ground: Ground,
    about: tuple[int, ...],
    among: tuple[int, ...],
    answer: Collection[int] | None,
) -> Iterator[Claim]:
    subject: list[_Named] = [_Named("it", about, 0)] if about else []
    everyone: list[_Named] | None = None  # "nothing here", "three things": subjects that all predicates share
    predicates: list[tuple[str, str, bool]] = []
    fresh = False  # whether the names so far wait for their predicate
    for kind, text in _pieces(sentence):
        if kind == "name":
            named = _named(text, ground)
            yield Claim(text, "thing", len(named.fits) >= max(named.count, 1))
            if answer is not None:
                yield Claim(text, "shown", sum(n in answer for n in named.fits) >= max(named.count, 1))
            if everyone is not None and everyone and everyone[0].text == "these":
                for name, value_text, value in predicates:
                    yield Claim(f"{text} {value_text}", name, _true([named], name, value, ground))
                continue
            subject = [*subject, named] if fresh else [named]
            fresh = True
        elif kind == "crowd":
            everyone, fresh = [_Named(text, tuple(ground.seen), 0)], False
        elif kind == "it":
            fresh = False
        else:
            name, value = _PREDICATES[text]
            predicates.append((name, text, value))
            fresh = False
            if everyone is None and subject:
                said = " and ".join(one.text for one in subject)
                yield Claim(f"{said} {text}", name, _true(subject, name, value, ground))
    sup = re.search(rf"is the ({'|'.join(_SUPERLATIVES)}) of them", sentence)
    if sup and subject:
        first = (
            [n for word, n, _ in superlatives(ground, among) if word == sup.group(1)]
            if len(among) > 1
            else []
        )
        true = None if not first else any(first[0] in named.fits for named in subject)
        yield Claim(f"{subject[-1].text} {sup.group(0)}", sup.group(1), true)
    if everyone is not None and predicates and everyone[0].text != "these":
        yield _of_crowd(everyone[0].text, predicates, ground, about)


_EMPTY = (
    r"^(nothing here matches|there is nothing like that|i find nothing like that|none of th|not one of th)"
)
_SUPERLATIVES = ("leftmost", "rightmost", "nearest", "farthest", "biggest", "smallest", "tallest")


def _of_crowd(
    text: str, predicates: Sequence[tuple[str, str, bool]], ground: Ground, about: tuple[int, ...]
) -> Claim:
    """Count the things that have all properties against "nothing here", "one thing", "three things"."""
    said = f"{text} {' and '.join(words for _, words, _ in predicates)}"
    pool = [n for n in ground.seen if not ("else" in text and n in about)]
    facts = {n: [_holds(n, name, value, ground) for name, _, value in predicates] for n in pool}
    sure = sum(all(values) for values in facts.values())
    perhaps = sum(False not in values for values in facts.values())
    word = text.split()[0]
    wanted = 0 if word == "nothing" else NUMBERS.index(word)
    true = sure == wanted if sure == perhaps else (None if sure <= wanted <= perhaps else False)
    return Claim(said, "count", true)


def _true(subject: Sequence[_Named], name: str, value: bool, ground: Ground) -> bool | None:
    """Whether a predicate holds of all that is named: of as many as a phrase speaks of."""
    found: list[bool | None] = []
    for named in subject:
        facts = [_holds(n, name, value, ground) for n in named.fits]
        wanted = named.count or len(facts)
        if facts.count(True) >= max(wanted, 1):
            found.append(True)
        else:
            found.append(None if facts.count(True) + facts.count(None) >= max(wanted, 1) else False)
    return False if False in found else None if None in found else True


def _holds(n: int, name: str, value: bool, ground: Ground) -> bool | None:
    kind, _, what = name.partition("=")
    if kind == "material":
        return (ground.things[n]["material"] == what) is value
    if kind == "category":
        return (ground.category(n) == what) is value
    truth = PROPERTIES[name].test(ground, n)
    return None if truth is None else truth is value


def _named(text: str, ground: Ground) -> _Named:
    words = text.split()
    count = NUMBERS.index(words[0]) if words[0] in NUMBERS else 1
    colour = next((w for w in words if w in COLOURS), None)
    noun = " ".join(w for w in words if w not in COLOURS and w not in NUMBERS and w not in ("the", "a", "an"))
    category = _NOUNS[noun]
    fits = [
        n
        for n in ground.seen
        if ground.category(n) == category and colour in (None, ground.things[n]["colour"])
    ]
    return _Named(text, tuple(fits), count)


def _pieces(sentence: str) -> Iterator[tuple[str, str]]:
    """Yield names, crowds, pronouns and predicates in order."""
    for match in _pattern().finditer(sentence):
        yield str(match.lastgroup), match.group(0)


_NOUNS = {name: category for category, names in NOUNS.items() for pair in names for name in pair}
_PREDICATES: dict[str, tuple[str, bool]] = {
    words: (name, value)
    for name, prop in PROPERTIES.items()
    for value in (False, True)
    for words in (prop.says if value else prop.denies)
}
_PREDICATES |= {f"{be} made of {m}": (f"material={m}", True) for m in MATERIALS for be in ("is", "are")}
_PREDICATES |= {
    f"is {article} {name}": (f"category={category}", True)
    for name, category in _NOUNS.items()
    for article in ("a", "an")
}


@lru_cache(maxsize=1)
def _pattern() -> re.Pattern[str]:
    def any_of(words: Collection[str]) -> str:
        return "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))

    numbers, colours = any_of(NUMBERS), any_of(COLOURS)
    return re.compile(
        rf"\b(?:(?P<predicate>{any_of(_PREDICATES)})"
        rf"|(?P<crowd>nothing else here|nothing here|these|(?:{numbers}) things?)"
        rf"|(?P<name>(?:the|an|a|{numbers}) (?:(?:{colours}) )?(?:{any_of(_NOUNS)}))"
        rf"|(?P<it>it|they))\b"
    )
