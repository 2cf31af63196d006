"""The banks: large enough, well formed, and none of validation is near one of training."""

import re
from itertools import pairwise
from string import Formatter

import pytest

from askmask.build.mrseg.bank import KINDS, bank_of
from askmask.build.mrseg.words import clause, noun_of, plain_caption, with_article

NEEDS = {
    "direct": {"target"},
    "positional": {"target", "relation", "reference"},
    "hierarchical": {"part", "reference"},
    "interactional": {"target", "clause"},  # and "reference", which is in the clause
    "attribute": {"description"},
    "semantic": {"class"},
    "hard": {"class"},
    "next": {"class", "direction"},
}
TRAIN, VAL = bank_of("train"), bank_of("val")


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_has_enough_templates_with_their_slots(kind):
    for bank, least in ((TRAIN, 100), (VAL, 50)):
        templates = bank.templates[kind]
        assert len(templates) == len(set(map(normal, templates))) >= least
        for template in templates:
            slots = {name for _, name, _, _ in Formatter().parse(template) if name}
            assert NEEDS[kind] <= slots <= NEEDS[kind] | {"reference"}, template
            assert not set("[]") & set(template) and template == " ".join(template.split())


def normal(template):
    return tuple(re.findall(r"[a-z']+|{[a-z]+}", template.lower()))


def pairs(template):
    words = ("<", *normal(template), ">")
    return set(pairwise(words))


@pytest.mark.parametrize("kind", KINDS)
def test_no_template_of_validation_is_near_one_of_training(kind):
    train = [(t, pairs(t)) for t in TRAIN.templates[kind]]
    for template in VAL.templates[kind]:
        mine = pairs(template)
        near = max(train, key=lambda one: len(mine & one[1]) / len(mine | one[1]))
        shared = len(mine & near[1]) / len(mine | near[1])
        assert shared < 0.5, (template, near[0], shared)
    replies = [{normal(t) for t in (*bank.plain, *bank.named)} for bank in (TRAIN, VAL)]
    assert not replies[0] & replies[1]


def test_words_of_sets_become_words_of_templates():
    assert noun_of("mouse_(computer_equipment)") == "mouse" and noun_of("building, edifice") == "building"
    assert plain_caption(" Left  guy [the one]. ") == "left guy (the one)"
    for caption, said in (
        ("a man", "the man"),
        ("his hat", "his hat"),
        ("on right", "the one on right"),
        ("dog", "the dog"),
    ):
        assert with_article(caption) == said
    for predicate, said in (
        ("riding", "it is riding"),
        ("has", "it has"),
        ("on", "it is on"),
        ("across", "it is across"),
    ):
        assert clause("it", predicate) == said
