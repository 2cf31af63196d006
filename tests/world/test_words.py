"""The phrase banks: nothing held out is trained on, and nothing held out uses words never seen."""

from __future__ import annotations

import json
import re
import string
from importlib import resources

import numpy as np
import pytest

from askmask.world.assets import ASSETS
from askmask.world.ground import Query
from askmask.world.phrases import BANK, CLAUSES, FOLLOW, FRAMES_HELD, FRAMES_TRAIN, NOUNS, POINTERS
from askmask.world.prompts import phrase
from tests.conftest import ROOT

PAIRS = {
    **BANK,
    **{f"clause {name} {side}": pair for name, sides in CLAUSES.items() for side, pair in enumerate(sides)},
    **{f"pointer {name}": pair for name, pair in POINTERS.items()},
    **{f"follow {name}": pair for name, pair in FOLLOW.items()},
    "frames": (FRAMES_TRAIN, FRAMES_HELD),
}


def words(template: str) -> set[str]:
    return set(re.findall(r"[a-z']+", re.sub(r"\{[^}]*\}", " ", template.lower())))


@pytest.mark.parametrize("name", PAIRS)
def test_the_held_out_bank_shares_no_template(name):
    train, held = PAIRS[name]
    assert isinstance(train, tuple) and isinstance(held, tuple) and train and held
    plain = [[t.lower().strip("= ?") for t in bank] for bank in (train, held)]
    assert not set(plain[0]) & set(plain[1])
    assert len(set(train)) == len(set(train) | set(train)) and len(held) == len(set(held))
    slots = [
        {field for t in bank for _, field, *_ in string.Formatter().parse(t) if field}
        for bank in (train, held)
    ]
    assert slots[1] <= slots[0]


def test_held_out_templates_use_known_words():
    known = {w for train, _ in PAIRS.values() for t in train for w in words(t)}
    known |= {w for names in NOUNS.values() for name in names for word in name for w in word.split()}
    unknown = {w for _, held in PAIRS.values() for t in held for w in words(t)} - known
    assert not unknown


def test_whole_prompts_differ_between_banks():
    rng = np.random.default_rng(0)
    slots = {
        "x": "the red mug",
        "n": "mug",
        "ns": "mugs",
        "c": "red",
        "m": "metal",
        "p": "handle",
        "k": "second",
        "that": "that rolls",
    }
    for kind in BANK:
        drawn = [{phrase(kind, slots, rng, held=held).lower() for _ in range(60)} for held in (False, True)]
        assert not drawn[0] & drawn[1], kind


def test_a_query_knows_when_its_shortcut_fails():
    query = Query(
        concept="physics",
        family="stability",
        kind="removable",
        satisfying=[1, 2],
        candidates=[1, 2, 3],
        shortcuts={"top": [2, 1]},
    )
    assert query.hard is False
    query.shortcuts = {"top": [1, 3]}
    assert query.hard is True
    query.shortcuts = {}
    assert query.hard is None


def test_the_page_counts_kinds_and_templates_as_they_are():
    text = resources.files("askmask.world").joinpath("paraphrases.json").read_text(encoding="utf-8")
    paraphrases = sum(len(bank) for bank in json.loads(text)["templates"].values())
    templates = sum(len(train) for train, _ in BANK.values())
    page = " ".join((ROOT / "docs" / "world.md").read_text(encoding="utf-8").split())
    assert f"{len(BANK)} kinds in five concepts" in page
    assert (
        f"holds {templates:,} templates (a test counts them); {paraphrases:,} of them are paraphrases" in page
    )
    assert f"- **Things**: {len(ASSETS)} categories" in page
