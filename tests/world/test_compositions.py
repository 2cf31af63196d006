"""Prompts that compose words: their truth, which of them are held out, and that nothing older changes."""

import re
import string

import numpy as np
import pytest

from askmask.world import compositions, record
from askmask.world.compositions import WORDS, held_combination, mistyped, prompts_for, queries
from askmask.world.ground import Ground
from askmask.world.phrases import BANK, CLAUSES, FRAMES_TRAIN, NOUNS, POINTERS

BANKS = {**WORDS["templates"], "verbs": WORDS["verbs"], "fillers": WORDS["fillers"]}
ROWS = (  # category, colour, material, x in the picture, width (cube), mass
    ("box", "red", "wood", 20, 0.05, 0.1), ("box", "blue", "wood", 50, 0.1, 0.9),
    ("box", "blue", "paper", 80, 0.2, 0.3),
    ("mug", "red", "ceramic", 110, 0.08, 0.4), ("book", "green", "paper", 140, 0.15, 0.6),
)  # fmt: skip


def thing(number, category, colour, material, x, size, mass):
    return {
        "id": number, "category": category, "colour": colour, "material": material, "mass": mass, "place": "table",
        "position": [x / 200, 0.1 * number, size / 2], "size": [size] * 3, "pose": "upright", "parts": [], "traits": [],
        "attributes": {}, "supports": [], "supported_by": [], "contains": [],
    }  # fmt: skip


@pytest.fixture(scope="module")
def ground():
    things = [thing(number, *row) for number, row in enumerate(ROWS, 1)]
    objects = {
        str(t["id"]): {"pixels": 300, "visible": 1.0, "cut": False, "centre": [row[3], 60], "hidden_by": []}
        for t, row in zip(things, ROWS, strict=True)
    }
    camera = {"position": [0, -1, 0.5], "right": [1, 0, 0], "forward": [0, 1, -0.3]}
    return Ground(things, {"objects": objects, "parts": {}, "table": 900, "floor": 0, "camera": camera}, 160)


@pytest.fixture(scope="module")
def asked(ground):
    """Answers of every composition about one picture, by kind and the words that fill its template."""
    found = {}
    for seed in range(12):
        for query in queries(ground, np.random.default_rng(seed)):
            slots = {k: v for k, v in query.slots.items() if isinstance(v, str)}
            found.setdefault(query.kind, []).append((slots, query.satisfying, query))
    return found


def answers(asked, kind, **slots):
    found = {tuple(yes) for known, yes, _ in asked[kind] if slots.items() <= known.items()}
    assert len(found) == 1, f"{kind} {slots}: {found}"
    return list(found.pop())


def meant(phrase):
    """Things that a plain noun phrase ("blue box", "wooden thing") fits; None if it says it otherwise."""
    *before, noun = phrase.split()
    noun = {"thing": None, "object": None, "item": None}.get(noun, noun)
    word = {"wooden": "wood"}.get(before[0], before[0]) if before else None
    known = {word for row in ROWS for word in row[1:3]}
    if len(before) > 1 or noun not in (None, "box", "mug", "book") or word not in (None, *known):
        return None
    return {n for n, row in enumerate(ROWS, 1) if noun in (None, row[0]) and word in (None, row[1], row[2])}


TRUTHS = {
    "both": lambda one, two: one | two,
    "neither": lambda one, two: set(range(1, 6)) - one - two,
    "instead": lambda one, two: one,
    "not": lambda one, _: set(range(1, 6)) - one,
    "named": lambda one, _: one,
    "pair": lambda one, _: one,
}


@pytest.mark.parametrize("kind", TRUTHS)
def test_answers_are_what_the_noun_phrases_say(asked, kind):
    checked = 0
    for slots, yes, _ in asked[kind]:
        one, two = meant(slots["n"]), meant(slots.get("o", "thing"))
        if one is not None and two is not None:
            assert set(yes) == TRUTHS[kind](one, two), slots
            checked += 1
    assert checked


def test_places_and_exceptions_are_what_the_words_say(asked):
    assert answers(asked, "except", n="box", o="red one") == [2, 3]
    assert answers(asked, "superlative", n="box", sup="smallest") == [1]
    assert answers(asked, "superlative", n="box", sup="heaviest") == [2]
    assert answers(asked, "superlative", n="box", sup="rightmost") == [3]
    assert answers(asked, "ordinal", n="box", sup="biggest", k="second") == [2]
    assert answers(asked, "from_side", n="box", side="right", k="third") == [1]
    assert answers(asked, "first_few", n="thing", sup="smallest", count="two") == [1, 4]


def test_comparisons_are_with_the_thing_named(asked):
    seen = [(q.facts["order"], q.facts["of"], yes) for s, yes, q in asked["compare"] if s["n"] == "box"]
    assert seen
    for order, of, yes in seen:
        if order == "large":
            assert yes == [n for n in (1, 2, 3) if ROWS[n - 1][4] > 1.3 * ROWS[of - 1][4] and n != of]


def test_unknown_things_are_nowhere(asked):
    for slots, yes, _ in asked["unknown"]:
        assert yes == []
        assert not set(re.findall(r"[a-z]+", slots["u"])) & compositions.KNOWN, slots["u"]


def test_every_query_is_of_a_kind_with_both_banks(asked):
    assert set(asked) <= set(WORDS["templates"])
    for kind, rows in asked.items():
        for bank in ("train", "held"):
            fields = {
                f for t in WORDS["templates"][kind][bank] for _, f, *_ in string.Formatter().parse(t) if f
            }
            assert all(fields <= set(query.slots) for *_, query in rows), kind


@pytest.mark.parametrize("name", BANKS)
def test_banks_share_no_template(name):
    train, held = ({t.lower().strip("= ?.!") for t in BANKS[name][bank]} for bank in ("train", "held"))
    assert train and held and not train & held
    assert len(BANKS[name]["train"]) == len(set(BANKS[name]["train"]))


def test_held_out_phrasings_use_words_that_are_trained():
    def words(template):
        return set(re.findall(r"[a-z']+", re.sub(r"\{[^}]*\}", " ", template.lower())))

    old = [t for train, _ in (*BANK.values(), *POINTERS.values()) for t in train]
    old += [t for sides in CLAUSES.values() for train, _ in sides for t in train]
    known = {w for t in (*old, *FRAMES_TRAIN) for w in words(t)}
    known |= {w for bank in BANKS.values() for t in bank["train"] for w in words(t)}
    known |= {w for names in NOUNS.values() for pair in names for name in pair for w in name.split()}
    unknown = {w for bank in BANKS.values() for t in bank["held"] for w in words(t)} - known
    assert not unknown


@pytest.mark.parametrize("name", ["unknown", "foreign", "markup"])
def test_unknown_words_of_the_test_are_not_trained(name):
    train, held = (set(map(str.lower, WORDS[name][bank])) for bank in ("train", "held"))
    assert train and held and not train & held


def test_training_never_sees_a_held_out_combination(ground):
    seen = set()
    for seed in range(30):
        for prompt in prompts_for(ground, np.random.default_rng(seed), train=True, count=30):
            assert not any(held_combination(*parts) for parts in prompt["facts"]["combined"])
            seen.add(prompt["kind"])
    assert len(seen) >= 12


def test_everything_is_asked_for_in_training_alone(ground):
    def of_all(train):
        drawn = (prompts_for(ground, np.random.default_rng(n), train=train, count=2) for n in range(20))
        return [
            p for some in drawn for p in some if not p["facts"]["combined"] and p["satisfying"] == ground.seen
        ]

    assert len(of_all(train=True)) >= 8 and not of_all(train=False)


def test_each_test_has_what_it_says(ground):
    found = {}
    for seed in range(20):
        for prompt in prompts_for(ground, np.random.default_rng(seed), train=False, count=30):
            held = any(held_combination(*parts) for parts in prompt["facts"]["combined"])
            found.setdefault(prompt["facts"]["test"], set()).add(held)
    assert found == {"ordinary": {False}, "composition": {True}, "paraphrase": {False}}


def test_a_slip_changes_one_word_and_never_into_a_known_one():
    rng = np.random.default_rng(0)
    for _ in range(200):
        before, after = "the wooden bottle".split(), mistyped("the wooden bottle", rng).split()
        assert len(before) == len(after) and sum(a != b for a, b in zip(before, after, strict=True)) == 1
        assert not {w for w in after if w not in before} & compositions.KNOWN


def test_compositions_leave_the_other_prompts_as_they_are(monkeypatch, ground):
    drawn = []
    monkeypatch.setattr(record, "queries", lambda ground, rng: drawn.append(rng.random()) or [])
    view = {"objects": {str(n): f for n, f in ground.view.items()}, "parts": {}, "table": 900, "floor": 0}
    view |= {"camera": {"right": [1, 0, 0], "forward": [0, 1, -0.3]}, "size": 160}
    both = [
        record.ask(
            list(ground.things.values()), view, None, 7, 0, "train", record.Asking(prompts=5, composed=n)
        )
        for n in (0, 4)
    ]
    assert drawn[0] == drawn[1] and not both[0]["prompts"]
    assert len(both[1]["prompts"]) in (4, 5)  # now and then one more, for everything there is
