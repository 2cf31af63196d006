"""The words of conversations: nothing held out is trained on or nearly so, and nothing held out is an unknown word."""

from __future__ import annotations

import re

import numpy as np
import pytest

from askmask.world.phrases import BANK, CLAUSES, FOLLOW, FRAMES_TRAIN, NOUNS
from askmask.world.talks import aims
from askmask.world.talks.words import ABOUT, OWN, POINTERS, about

INTENTS = {
    f"{sort} {name}": (tuple(bank["train"]), tuple(bank["held_out"]))
    for sort in ("GOALS", "NARROWERS", "SUPERLATIVES", "ACTS", "CHECKS")
    for name, bank in getattr(aims, sort).items()
}
INTENTS |= {
    f"clause {name}": (tuple(bank["clause_train"]), tuple(bank["clause_held_out"]))
    for name, bank in aims.NARROWERS.items()
}
BANKS = {**OWN, **{f"about {name}": bank for name, bank in ABOUT.items()}, **INTENTS}
# Words without which a phrase says the same.
IDLE = frozenset("the a an and please now to of that it is ok so then me in for".split())


def words(template: str) -> list[str]:
    return re.findall(r"[a-z']+", re.sub(r"\{[^}]*\}", " ", template.lower()))


def gist(template: str) -> frozenset[str]:
    return frozenset(re.findall(r"\{?[a-z']+\}?", template.lower())) - IDLE


def near(a: frozenset[str], b: frozenset[str]) -> bool:
    """Whether two templates differ in idle words alone, or long ones in one word."""
    return a == b or (min(len(a), len(b)) > 4 and len(a ^ b) <= 1)


@pytest.mark.parametrize("name", BANKS)
def test_nothing_held_out_nearly_repeats_what_is_trained(name):
    train, held = BANKS[name]
    trained = [gist(template) for template in train]
    assert not [template for template in held for known in trained if near(gist(template), known)]
    assert len(set(train)) == len(train) and len(set(held)) == len(held)


@pytest.mark.parametrize("name", [*OWN, *(f"about {kind}" for kind in ABOUT)])
def test_each_follow_up_has_forty_phrasings_and_ten_held_out(name):
    train, held = BANKS[name]
    assert len(train) >= 40 and len(held) >= 10


def test_held_out_words_are_all_trained():
    trained = [
        t
        for train, _ in (*BANKS.values(), *POINTERS.values(), *BANK.values(), *FOLLOW.values())
        for t in train
    ]
    trained += [t for sides in CLAUSES.values() for train, _ in sides for t in train]
    trained += [*FRAMES_TRAIN, *(noun for names in NOUNS.values() for pair in names for noun in pair)]
    known = {word for template in trained for word in words(template)}
    held = {word for _, bank in (*BANKS.values(), *POINTERS.values()) for t in bank for word in words(t)}
    assert not held - known


def test_pointers_read_well_in_every_template():
    rng = np.random.default_rng(0)
    for kind in ABOUT:
        for pointer in ("it", "that", "the one from round 2", "that one"):
            for held in (False, True):
                for _ in range(30):
                    text = about(kind, pointer, rng, held=held)
                    assert "{" not in text and "round 2's" not in text and "that's" not in text
                    if pointer == "it":
                        assert not re.search(r"\bit's (left|right|top|neigh|closest|nearest|immediate)", text)
