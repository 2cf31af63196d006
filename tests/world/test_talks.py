"""Conversations: every reference points where it says, every answer follows from the facts, every reply is true."""

from __future__ import annotations

from collections import Counter
from itertools import product

import pytest

from askmask.conversation import Example
from askmask.formats import dense
from askmask.world.facts import Facts
from askmask.world.generate import examples_of
from askmask.world.ground import Ground
from askmask.world.phrases import NOUNS
from askmask.world.prompts import SurfaceMask
from askmask.world.record import Asking, SceneRecord, ask, surface_of
from askmask.world.talks.aims import GOALS, NARROWERS
from askmask.world.talks.claims import claims, precision
from askmask.world.talks.leakage import leakage
from askmask.world.talks.measures import superlatives
from askmask.world.talks.memory import OF_THOSE
from askmask.world.talks.properties import PROPERTIES
from askmask.world.talks.small_talk import KIND as SMALL_TALK

ASKING = Asking(prompts=0, conversations=12, dialogues=12)


def asked(
    scene: SceneRecord,
    number: int = 0,
    split: str | None = None,
    asking: Asking = ASKING,
    surface: SurfaceMask | None = None,
) -> Facts:
    view, facts = scene.views[number], scene.facts
    seen = {k: v for k, v in facts["views"][number].items() if k not in ("prompts", "dialogues")}
    surface = surface or (lambda n: view.objects == n)
    return ask(facts["objects"], seen, surface, facts["seed"], number, split or facts["split"], asking)


@pytest.fixture(scope="module")
def talks(recorded) -> list[tuple[Ground, list[Facts]]]:
    """(the picture's facts, a conversation or dialogue over it), of training and of held-out words."""
    found = []
    for scene, number, split in product(recorded.values(), (0, 1), ("train", "test")):
        seen = scene.facts["views"][number]
        ground = Ground(scene.facts["objects"], seen, seen["size"])
        found += [(ground, talk) for talk in asked(scene, number, split)["dialogues"]]
    return found


def of(talks, name):
    """Those of one sort; the ones that train may pass from one to the other."""
    return [(ground, talk) for ground, talk in talks if all(r["set"] == name for r in talk)]


def test_there_are_conversations_of_every_length_and_way_to_refer(talks):
    memory = [talk for _, talk in of(talks, "conversation")]
    assert {len(talk) for talk in memory} == set(range(2, 11))
    references = [r["reference"] for talk in memory for r in talk if "reference" in r]
    assert {r["how"] for r in references} >= {
        "it", "newest", "noun", "index", "name", "given", "sided", "spoken", "whole", "several", "question",
    }  # fmt: skip
    assert 0.1 < sum(r["hard"] for r in references) / len(references) < 0.9
    assert 0.1 < sum(not r["latest"] for r in references) / len(references)
    assert any(not r["satisfying"] for talk in memory for r in talk)


def test_a_reference_is_to_an_earlier_answer_that_has_that_segment(talks):
    for _, talk in of(talks, "conversation"):
        for k, prompt in enumerate(talk):
            assert not k or prompt["refers_to"] or prompt["facts"]
            for reference in prompt["refers_to"]:
                assert reference["round"] < k
                earlier = talk[reference["round"]]
                if "mask" in reference:
                    assert reference["mask"] < len(earlier["answer"]["objects"])


def test_conversations_that_train_pass_from_one_sort_to_the_other(talks):
    """And what is said next to an intent speaks of what that brought, by rounds as they then are."""
    both = [talk for _, talk in talks if len({r["set"] for r in talk}) == 2]
    starts = {talk[0]["set"] for talk in both}
    assert starts == {"conversation", "dialogue"} and all(len(talk) <= 14 for talk in both)
    across = 0
    for talk in both:
        for k, prompt in enumerate(talk):
            for reference in prompt["refers_to"]:
                assert reference["round"] < k
                across += talk[reference["round"]]["set"] != prompt["set"]
                if "mask" in reference:
                    assert reference["mask"] < len(talk[reference["round"]]["answer"]["objects"])
    assert across > 20


def test_small_talk_shows_nothing_and_stays_in_training(talks, recorded):
    idle = [r for _, talk in talks for r in talk if r["kind"] == SMALL_TALK]
    assert len({r["prompt"] for r in idle}) > 30
    assert all(r["answer"] is None and r["reply"] and not r["refers_to"] for r in idle)
    held = [r for scene in recorded.values() for talk in asked(scene, 0, "test")["dialogues"] for r in talk]
    assert not any(r["kind"] == SMALL_TALK for r in held)


def test_one_of_several_is_asked_for_in_the_singular_too(recorded):
    many = Asking(prompts=0, conversations=30, dialogues=0)
    talks = [
        t
        for scene, n in product(recorded.values(), (0, 1))
        for t in asked(scene, n, "train", many)["dialogues"]
    ]
    said = [
        r for talk in talks for r in talk if r["kind"] == "coloured_of_those" and len(r["satisfying"]) == 1
    ]
    one = [r for r in said if " one" in r["prompt"] and " ones" not in r["prompt"]]
    assert len(one) > 5 and len(said) - len(one) > 5


def test_what_is_asked_of_a_thing_is_asked_of_the_thing_referred_to(talks):
    checked = 0
    for _, talk in of(talks, "conversation"):
        for prompt in talk:
            how = prompt.get("reference", {}).get("how")
            n = prompt["facts"].get("of")
            if (
                how in (None, "whole", "several", "question")
                or not isinstance(n, int)
                or len(prompt["refers_to"]) != 1
            ):
                continue
            reference = prompt["refers_to"][0]
            earlier = talk[reference["round"]]["answer"]["objects"]
            assert earlier[reference.get("mask", 0)] == n
            assert "mask" in reference or len(earlier) == 1
            checked += 1
    assert checked > 50


def test_a_name_in_the_text_is_the_segments_name(recorded):
    checked = 0
    for seed in recorded:
        for example in conversations(recorded[seed]):
            for talk_round in example.rounds:
                if talk_round.meta.get("reference", {}).get("how") == "name":
                    (name,) = {word for word in talk_round.text.replace("?", " ").replace(",", " ").replace(":", " ")
                               .replace("'s", "").split() if word[0] == "m" and word[1:].isdigit()}  # fmt: skip
                    meant = talk_round.prompt.refers_to[0]
                    if meant.startswith("r"):
                        (segment,) = next(r for r in example.rounds if r.id == meant).segments
                        meant = segment.id
                    assert name == meant
                    checked += 1
    assert checked > 5


def conversations(scene: SceneRecord) -> list[Example]:
    facts = scene.facts | {"views": [seen | asked(scene, k) for k, seen in enumerate(scene.facts["views"])]}
    return examples_of(SceneRecord(scene=scene.scene, facts=facts, views=scene.views))


def test_follow_ups_of_an_answer_are_right_by_the_facts(talks):
    """An own reading of each kind, from the facts alone."""
    checked: Counter[str] = Counter()
    for ground, talk in of(talks, "conversation"):
        answers = [set(r["satisfying"]) for r in talk]
        for prompt in talk:
            kind, yes, facts = prompt["kind"], set(prompt["satisfying"]), prompt["facts"]
            if "reference" not in prompt:
                continue
            pools = [answers[r["round"]] for r in prompt["refers_to"]]
            pool, things = pools[0], ground.things
            kin = (
                {n for n in ground.seen if things[n]["category"] == things[min(pool)]["category"]}
                if pool
                else set()
            )
            if kind in OF_THOSE:
                assert yes < pool
            if kind == "coloured_of_those":
                assert yes == {n for n in pool if things[n]["colour"] == facts["colour"]}
            elif kind == "kind_of_those":
                assert yes == {n for n in pool if things[n]["category"] == facts["category"]}
            elif kind == "of_those":
                assert yes == {n for n in pool if ground.attribute(n, facts["attribute"]) is facts["value"]}
            elif kind in ("other_one", "others"):
                assert yes == kin - pool and len(pool) == 1 and (len(yes) == 1) == (kind == "other_one")
            elif kind == "all_but":
                assert yes < pool and len(yes) == len(pool) - 1
            elif kind == "superlative_of_those":
                assert (facts["sorted"], *yes) in [
                    (word, n) for word, n, _ in superlatives(ground, sorted(pool))
                ]
            elif kind == "rest":
                assert yes == set(ground.on_table) - pool
            elif kind == "union":
                assert yes == set.union(*pools) and len(pools) > 1
            elif kind == "minus":
                assert yes == pools[0] - pools[1] and yes
            elif kind == "remaining":
                assert yes == pools[0] - pools[1] and len(pools[0]) == 2
            elif kind in ("again", "whole_of"):
                assert yes == pool
            elif kind == "reject_all":
                assert not yes & pool and len({things[n]["category"] for n in yes}) == 1
            elif kind == "correct_to_quality":
                assert yes == {n for n in kin - pool if things[n]["colour"] == facts["c"]}
            else:
                continue
            checked[kind] += 1
    assert len(checked) >= 14 and min(checked.values()) >= 1


def test_a_phrase_fits_one_thing_of_the_answers_only(talks):
    for _, talk in of(talks, "conversation"):
        for k, prompt in enumerate(talk):
            if prompt.get("reference", {}).get("how") == "it":
                meant = prompt["refers_to"][0]["round"]
                between = talk[meant + 1 : k]
                assert len(talk[meant]["answer"]["objects"]) == 1
                assert all(not r["satisfying"] for r in between) and len(between) <= 1


def test_hard_follow_ups_have_three_of_a_kind_and_other_answers_for_others(talks):
    checked = 0
    for ground, talk in of(talks, "conversation"):
        for prompt in talk:
            if not prompt.get("reference", {}).get("hard") or not isinstance(prompt["facts"].get("of"), int):
                continue
            kind = ground.category(prompt["facts"]["of"])
            same = sum(ground.category(m) == kind for m in ground.seen)
            colour = sum(ground.things[m]["colour"] == prompt["facts"].get("c") for m in ground.seen)
            assert max(same, colour) >= 3
            text = f" {prompt['prompt'].lower()} "
            described = f"{ground.things[prompt['facts']['of']]['colour']} {NOUNS[kind][0][0]}"
            assert described not in text
            checked += 1
    assert checked > 20


def test_spans_name_the_segments_in_the_reply(recorded):
    checked = 0
    for scene in recorded.values():
        for example in conversations(scene):
            for one in example.rounds:
                for segment in one.segments or ():
                    start, end = segment.span
                    assert one.reply[start:end] == segment.phrase != ""
                    checked += 1
    assert checked > 500


def test_masks_are_one_per_instance_and_never_empty(recorded):
    kinds = set()
    for scene in recorded.values():
        view, seen = scene.views[0], scene.facts["views"][0]
        surface = surface_of(view.objects, view.depth, seen["camera"], scene.facts["objects"])
        for talk in asked(scene, surface=surface)["dialogues"]:
            for prompt in talk:
                masks = dense.answer_masks(prompt["answer"], view.objects, view.parts)
                assert len(masks) == len(prompt["spans"]) and all(mask.sum() >= 6 for mask in masks)
                kinds |= set(prompt["answer"] or ())
    assert kinds == {"objects", "parts", "masks"}


def test_replies_are_true(talks):
    right = decided = 0
    for ground, talk in talks:
        shown: list[int] = []
        before: list[int] = []
        for prompt in talk:
            answer = None if prompt["answer"] is None else prompt["satisfying"]
            found = claims(prompt["reply"], ground, about=shown, among=before, answer=answer)
            assert found or prompt["kind"] == SMALL_TALK, prompt["reply"]
            assert not [claim for claim in found if claim.true is False], prompt["reply"]
            true, known = precision(found)
            right, decided = right + true, decided + known
            if answer:
                shown = list(answer)
            before = prompt["facts"].get("fits") or before
    assert right == decided > 1000


def test_a_reply_about_another_picture_is_mostly_false(talks):
    right = decided = 0
    for (ground, _), (_, talk) in zip(talks, talks[len(talks) // 2 :] + talks, strict=False):
        for prompt in talk:
            answer = (
                None if prompt["answer"] is None else [n for n in prompt["satisfying"] if n in ground.things]
            )
            true, known = precision(claims(prompt["reply"], ground, answer=answer))
            right, decided = right + true, decided + known
    assert right < 0.5 * decided


@pytest.mark.parametrize(
    ("reply", "kinds"),
    [
        ("The red mug would hold water and has a handle.", [("thing", True), ("holds_water", True), ("handle", True)]),
        ("The blue mug is near the edge.", [("thing", False), ("near_edge", False)]),
        ("It would break: it is made of metal.", [("breaks", True), ("material=metal", False)]),
        ("Nothing here can be eaten.", [("count", True)]),
        ("Two things would hold water. Should it have a handle?", [("count", False)]),
        ("Take the red mug: it would not break.", [("thing", True), ("breaks", False)]),
        ("These would break: the red mug and the green ball.",
         [("thing", True), ("breaks", True), ("thing", True), ("breaks", False)]),
        ("Hello, what a fine day.", []),
    ],
)  # fmt: skip
def test_claims_by_hand(by_hand, reply, kinds):
    found = claims(reply, by_hand, about=[1])
    assert [(claim.kind, claim.true) for claim in found] == kinds


@pytest.fixture
def by_hand(recorded) -> Ground:
    """A red ceramic mug that would hold water, and a green ball."""
    scene = recorded[3].facts
    attributes = dict.fromkeys(scene["objects"][0]["attributes"], False)
    base = scene["objects"][0] | {"pose": "upright", "place": "table", "touches": [], "traits": []}
    mug = base | {
        "id": 1,
        "category": "mug",
        "colour": "red",
        "material": "ceramic",
        "traits": ["vessel", "drink"],
    }
    mug["attributes"] = attributes | {"holds_liquid": True, "graspable": True, "container": True}
    ball = base | {"id": 2, "category": "ball", "colour": "green", "material": "plastic", "traits": ["round"]}
    ball["attributes"] = attributes | {"rolls_left": True}
    seen = {
        "pixels": 500,
        "visible": 1.0,
        "cut": False,
        "centre": [20.0, 50.0],
        "box": [0, 0, 9, 9],
        "hidden_by": [],
    }
    view = scene["views"][0] | {"objects": {"1": seen, "2": seen | {"centre": [70.0, 50.0]}}, "parts": {}}
    return Ground([mug, ball], view, 96)


def test_an_intent_is_answered_by_the_rule(talks):
    """Nothing: said. One needed and several fit: asked back, in words alone. Else shown."""
    states: Counter[str] = Counter()
    for ground, talk in of(talks, "dialogue"):
        for prompt in talk:
            facts = prompt["facts"]
            if prompt["kind"] == SMALL_TALK:
                continue
            goal = GOALS[facts["goal"]]
            tests = [(goal["property"], True)]
            tests += [(w["property"], w["value"]) for w in (NARROWERS[n] for n in facts["wishes"])]
            fits = [n for n in ground.seen if all(PROPERTIES[p].test(ground, n) is v for p, v in tests)]
            assert set(facts["fits"]) <= set(fits)
            state = prompt["kind"]
            states[state] += 1
            if state == "intent_show":
                assert prompt["satisfying"] == sorted(facts["fits"]) != []
            elif state == "intent_none":
                assert prompt["answer"] == {"objects": []} and not facts["fits"]
            else:
                assert prompt["answer"] is None and prompt["reply"]
            if state == "intent_ask":
                assert goal["one"] and len(fits) > 1
    assert set(states) == {f"intent_{name}" for name in ("show", "none", "ask", "count", "words")}


def test_the_user_never_names_what_is_looked_for(talks):
    leaks = Counter()
    total = 0
    for ground, talk in of(talks, "dialogue"):
        found = leakage(talk, ground.things)
        leaks.update(who for who in found if found[who])
        total += 1
    assert leaks["user"] == 0 and leaks["assistant"] < 0.25 * total


def test_leakage_is_found():
    mug = {"id": 1, "category": "mug", "colour": "red"}
    rounds = [
        {"prompt": "I am thirsty", "reply": "Is the red mug fine?", "answer": None},
        {"prompt": "show me the mug", "reply": "The red mug.", "answer": {"objects": [1]}},
    ]
    assert leakage(rounds, {1: mug}) == {"user": True, "assistant": True}
    rounds[1]["prompt"] = "show me"
    rounds[0]["reply"] = "One thing fits."
    assert leakage(rounds, {1: mug}) == {"user": False, "assistant": False}


def test_replies_use_few_words(talks):
    said = " ".join(r["reply"] for _, talk in talks for r in talk).lower()
    assert len({word.strip(".,:?") for word in said.split()}) < 400


def test_the_same_seed_gives_the_same_talks_and_more_of_one_sort_changes_nothing_in_the_other(recorded):
    scene = recorded[4]
    for split in ("train", "test"):
        both = asked(scene, split=split)["dialogues"]
        assert both == asked(scene, split=split)["dialogues"]
    alone = asked(scene, split="test", asking=Asking(prompts=0, dialogues=12))["dialogues"]
    assert alone == [talk for talk in both if talk[0]["set"] == "dialogue"]


def test_without_talks_everything_is_as_it_was(recorded):
    """Prompts and short dialogues do not depend on whether talks are asked for."""
    scene = recorded[4]
    plain = asked(scene, asking=Asking())
    stored = scene.facts["views"][0]
    assert plain["prompts"] == stored["prompts"] and plain["dialogues"] == stored["dialogues"]
    assert asked(scene, asking=Asking(conversations=2))["prompts"] == plain["prompts"]


def test_training_and_test_share_no_follow_up(recorded):
    scene = recorded[10]
    texts = []
    for split in ("train", "test"):
        found = asked(scene, split=split)["dialogues"]
        texts.append({r["prompt"].lower() for talk in found for r in talk if r.get("reference")})
    texts = [{t for t in some if len(t.split()) > 2} for some in texts]
    assert not texts[0] & texts[1]


def test_superlatives_need_a_clear_gap(by_hand):
    assert ("leftmost", 1) in [(word, n) for word, n, _ in superlatives(by_hand, [1, 2])]
    by_hand.view[2]["centre"] = by_hand.view[1]["centre"]
    assert "leftmost" not in [word for word, *_ in superlatives(by_hand, [1, 2])]


def test_as_often_as_not_what_is_asked_of_a_thing_is_so_and_why_gives_the_same_reason(talks):
    """Of most things nearly all is denied: "would it tip over?" was answered no, whatever was shown."""
    says = {value.says[0]: True for value in PROPERTIES.values()} | {
        value.denies[0]: False for value in PROPERTIES.values()
    }
    so, whys = Counter(), 0
    for _, talk in of(talks, "conversation"):
        for prompt in talk:
            if "checked" not in prompt["facts"]:
                continue
            words = prompt["reply"].removeprefix("It ").rstrip(".").partition(":")[0]
            so[says[words]] += 1
            before = talk[prompt["refers_to"][0]["round"]]
            if prompt["facts"]["checked"] == before["facts"].get("checked"):
                whys += 1
                assert prompt["reply"] == before["reply"]
    assert 0.35 < so[True] / so.total() < 0.65 and so.total() > 15 and whys > 1
