"""How mini's words compose over regions: ranks, exceptions, comparisons, and the words it was never taught."""

from dataclasses import replace

import pytest
import torch

from askmask.model.mini.compose import ORDERS, PLACES, Compose
from askmask.model.mini.config import MiniConfig
from askmask.model.mini.net import STRANGE, Mini
from askmask.model.mini.reading import Read
from askmask.model.mini.vocabulary import Vocabulary, one_slip
from askmask.model.mini.words import Said, WordHasher, split
from askmask.training.run import wider

SIZES = MiniConfig(
    image_size=64, widths=(8, 16, 24, 32), channels=24, language_width=32, joint_layers=2, word_buckets=256,
    piece_buckets=256, categories=("wall", "table", "box", "mug"), colours=("red", "blue"), parts=("none", "handle"),
    attributes=("material=wood", "tips"), kinds=("unknown", "one"), stuff=("wall", "table"),
).grown(["not", "ordinal"])  # fmt: skip
BOXES = (
    torch.tensor([[[0.0], [3.0], [1.0], [2.0]]]).expand(1, 4, len(ORDERS) // 2) / 4
)  # four regions, 1 smallest


@pytest.fixture(scope="module")
def compose():
    torch.manual_seed(0)
    made = Compose(SIZES, 20)
    with torch.no_grad():
        made.sharpness.fill_(4.0)
    return made


def sure(width, *at):
    logits = torch.full((1, width), -20.0)
    logits[0, list(at)] = 20.0
    return logits


def chances(*rows):
    """Regions as (category, colour, material=wood)."""
    table = torch.zeros(1, len(rows), 4 + 2 + 2)
    for number, (category, colour, wood) in enumerate(rows):
        table[0, number, SIZES.categories.index(category)] = table[
            0, number, 4 + SIZES.colours.index(colour)
        ] = 1
        table[0, number, 6] = wood
    return table


@pytest.mark.parametrize(
    ("order", "place", "member", "right"),
    [
        ("small", 1, [1, 1, 1, 1], 0),
        ("large", 1, [1, 1, 1, 1], 1),
        ("small", 3, [1, 1, 1, 1], 3),
        ("large", 2, [1, 0, 1, 1], 2),  # the second largest of the others
        ("left", 2, [0, 1, 1, 1], 3),
    ],
)
def test_a_place_is_counted_among_those_that_take_part(compose, order, place, member, right):
    got = compose.rank(sure(1 + len(ORDERS), 1 + ORDERS.index(order)), sure(PLACES, place - 1),
                       torch.tensor([member], dtype=torch.float32), torch.zeros(1, 4), BOXES)  # fmt: skip
    assert got[0, :, 0].tolist() == pytest.approx([float(n == right) for n in range(4)], abs=0.01)


def test_the_first_few_and_what_is_beyond_one(compose):
    order, place, of = (
        sure(1 + len(ORDERS), 1 + ORDERS.index("tall")),
        sure(PLACES, 1),
        torch.tensor([[0, 0, 1.0, 0]]),
    )
    got = compose.rank(order, place, torch.ones(1, 4), of, BOXES)
    assert got[0, :, 1].tolist() == pytest.approx([0, 1, 0, 1], abs=0.01)  # the two tallest
    assert got[0, :, 2].tolist() == pytest.approx([0, 1, 0, 1], abs=0.01)  # taller than region 2
    nothing = compose.rank(sure(1 + len(ORDERS), 0), place, torch.ones(1, 4), of, BOXES)
    assert nothing.abs().max() < 0.01


def test_a_noun_phrase_fits_what_is_all_of_it(compose):
    width = 4 + 2 + 2 + 3  # and parts
    seen = torch.cat(
        [chances(("box", "red", 1), ("box", "blue", 0), ("mug", "red", 1)), torch.zeros(1, 3, 3)], -1
    )
    read = Read(
        torch.zeros(1, 4), sure(width, 2, 4, 6), sure(width, 2, 3)
    )  # "wooden red box", "boxes and mugs"
    assert compose.fits(read, seen)[0, :, 0].tolist() == pytest.approx([1, 0, 0], abs=1e-3)
    assert compose.fits(read, seen)[0, :, 1].tolist() == pytest.approx([1, 1, 1], abs=1e-3)
    unsaid = Read(torch.zeros(1, 4), sure(width), sure(width))
    assert compose.fits(unsaid, seen).min() > 0.999  # "everything"


def test_growing_keeps_what_was_learnt():
    old = replace(SIZES, kinds=("unknown", "one"), composes=False)
    assert old.grown(["not", "ordinal"]) == SIZES == SIZES.grown(["not"])
    before, after = Mini(old).state_dict(), Mini(SIZES).state_dict()
    name = "prompt_encoder.language.weigh"
    grown = wider(name, before[name] + 1, after[name])
    assert torch.equal(grown[:2], before[name] + 1) and torch.equal(grown[2:], after[name][2:])


def test_unknown_words_are_named_with_what_is_spelt_like_them():
    words = Vocabulary(["apple", "the", "red", "bowl", "near", "box"])
    assert words.notice("the red apple") is None and words.unknown_words("  ") == []
    assert words.notice("the giraffe") == "I do not know: giraffe"
    assert words.notice("The aple <script>") == "I do not know: aple, script; nearest: apple"
    assert [one.slip for one in words.unknown_words("bwol giraffe bow")] == [True, False, True]
    assert not words.strange("the aple") and words.strange("the giraffe") and words.strange("???")
    assert Vocabulary([]).notice("anything") is None
    assert words.notice("the r\u200bed apple\0") is None


def test_a_typing_error_is_read_as_the_word_that_was_meant():
    words = WordHasher(256, 256, 48, ["the", "red", "bowl", "box", "near"])
    wrong, right = words.tokens(["the red bwol!"]), words.tokens(["the red bowl!"])
    assert torch.equal(wrong.ids, right.ids) and torch.equal(wrong.pieces, right.pieces)
    assert not torch.equal(words.tokens(["the giraffe"]).ids, words.tokens(["the bowl"]).ids)
    said = [words.earlier([Said(((text, "yes"),))]).tokens.ids for text in ("the red bwol", "the red bowl")]
    assert torch.equal(*said)
    short = WordHasher(256, 256, 48, ["the", "red", "ride", "mug", "can"])
    assert torch.equal(short.tokens(["the rde mgu"]).ids, short.tokens(["the red mug"]).ids)  # not "ride"
    ranks = WordHasher(256, 256, 48, ["the", "second", "box"])
    assert torch.equal(ranks.tokens(["the 2nd box"]).ids, ranks.tokens(["the second box"]).ids)
    assert ranks.vocabulary.notice("the 2nd box") is None
    assert torch.equal(ranks.tokens(["2"]).ids, ranks.tokens(["two"]).ids)
    assert ranks.vocabulary.notice("the 3rd box") == "I do not know: 3rd"


def test_american_spelling_is_read():
    """A newcomer's "gray" was an unknown word, and nothing was found."""
    words = WordHasher(256, 256, 48, ["give", "the", "grey", "one", "in", "centre", "of", "that", "colour"])
    prompts = (
        "gimme the gray one in the center of that Color",
        "give the grey one in the centre of that colour",
    )
    american, british = (words.tokens([prompt]) for prompt in prompts)
    assert torch.equal(american.ids, british.ids)
    assert words.vocabulary.notice(prompts[0]) is None and not words.vocabulary.strange(prompts[0])
    assert "colored" in words.vocabulary.notice("the colored one")  # whoever does not know "coloured"
    untaught = WordHasher(256, 256, 48)
    assert not torch.equal(untaught.tokens(["bwol"]).ids, untaught.tokens(["bowl"]).ids)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("What can't I reach?", "what can not i reach ?"),
        ("what CANNOT it hold", "what can not it hold"),
        ("cant", "can not"),
        ("can\u2019t, won\u00b4t, won`t", "can not , will not , will not"),
        ("isnt it, doesn't", "is not it , does not"),
        ("ain't, shan't; did'nt is n't", "is not , shall not ; did not is not"),
        ("isn\u2032t do\u201bnt", "is not do not"),
        ("box \u2116 2", "box \u2116 2"),
        ("a cantaloupe in a font, the plant I want", "a cantaloupe in a font , the plant i want"),
        ("what\u2019s that", "what ' s that"),
    ],
)
def test_a_word_has_one_spelling(written, read):
    assert split(written, 100) == read.split()


def test_a_slip_in_a_denial_is_the_denial():
    words = WordHasher(256, 256, 48, ["can", "not", "could", "count", "i", "reach", "m9", "many"])
    right = words.tokens(["i can not reach", "i could not reach"])
    assert torch.equal(words.tokens(["i canot reach", "i coudnt reach"]).ids, right.ids)
    assert words._read("i wnt can", 9) == ["i", "wnt", "can"]  # not "wont"
    assert words.vocabulary.notice("99 m99") == "I do not know: 99, m99"  # no mask's id is near to them
    assert len(words._read("canot " * 40, 48)) == 48


def test_marks_on_letters_without_end_are_read_in_a_line():
    """Unicode's own normal forms take the square of their number."""
    assert split("box a" + "\u0301\u0327" * 500_000, 3)[0] == "box"


@pytest.mark.parametrize(
    ("word", "slip"),
    [("aple", 1), ("appple", 1), ("paple", 1), ("appla", 1), ("ample", 1), ("applied", 0), ("pale", 0)],
)
def test_one_slip(word, slip):
    assert one_slip(word, "apple") is bool(slip)


def test_a_strange_word_lowers_presence_alone():
    torch.manual_seed(0)
    net = Mini(replace(SIZES, vocabulary=("the", "red", "box"))).eval()
    look = net.look(torch.randint(0, 255, (64, 64, 3)).numpy(), torch.rand(3, 64, 64) * 2 - 1)
    tokens = net.prompt_encoder.words.tokens(["the red box", "the red giraffe"])
    assert tokens.strange.tolist() == [False, True]
    with torch.no_grad():
        plain = net.prompt_encoder.encode(
            look.prefix, replace(tokens, strange=torch.zeros(2, dtype=torch.bool))
        )
        told = net.prompt_encoder.encode(look.prefix, tokens)
    assert torch.allclose(plain.presence - told.presence, torch.tensor([0.0, STRANGE]))
    assert torch.equal(plain.select, told.select)
    assert net.unread("the red giraffe") == ("I do not know: giraffe",) and net.unread("the box") == ()
