"""mini speaks, whatever its weights: replies are read as they were made, each alone as in a batch, broken ones too."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import askmask
from askmask.answer import Answer
from askmask.backend import Done, Found, Words
from askmask.model.checkpoint import save_checkpoint
from askmask.model.config import NetConfig
from askmask.model.mini.net import Mini
from askmask.model.mini.reply_words import (
    ALONE,
    BEGIN,
    END,
    FOUND,
    LONGEST,
    NOTHING,
    OBJ,
    SEG,
    SIGNS,
    ReplyWords,
)
from askmask.model.mini.speech import Making, padded
from askmask.model.mini.spoken import read_again
from askmask.model.seams import MaskOutput, Piece
from askmask.session import Session
from tests.model.test_mini import SIZES

SPEAKS = SIZES.speaking(["the", "red", "blue", "mug", "ball", "and", "I", "see", ".", "?", "nothing"])
PROMPTS = ["the mug", "a ball", "whatever stands to the left of the blue ball", "?"]


def built(config=SPEAKS):
    torch.manual_seed(3)
    silent = Mini(replace(config, replies=())).eval()
    net = Mini(config).eval()
    net.load_state_dict(silent.state_dict(), strict=False)
    return net


def loaded(net, folder, **more):
    config = NetConfig(
        name="mini",
        backend="mini",
        compute="float32",
        segmenter=net.config.to_dict(),
        prompt_encoder={},
        **more,
    )
    return askmask.load(save_checkpoint(folder, config, net.state_dict(), {}), device="cpu")


@pytest.fixture(scope="module")
def picture():
    return np.random.default_rng(0).integers(0, 255, (70, 90, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def net():
    return built()


@pytest.fixture(scope="module")
def look(net, picture):
    return net.look(picture, net.segmenter.prepare(picture))


def known_of(net, look, prompts):
    choice = net.prompt_encoder.encode(look.prefix, net.prompt_encoder.words.tokens(prompts))
    return choice, net.speech.know(choice, look.prefix.seen.expand(len(prompts)))


def made(net, known):
    *pieces, ids = net.speech.say(known, torch.ones(len(known.gate), dtype=torch.bool))
    return pieces, ids


def uttered(net, words):
    """The numbers of a reply, given by its signs and words."""
    return [net.speech.vocabulary.numbers[word] for word in words.split()]


@torch.no_grad()
def test_what_is_made_word_by_word_is_what_is_read_at_once(net, look):
    _, known = known_of(net, look, PROMPTS)
    _, ids = made(net, known)
    read = net.speech(known, padded(ids))
    for row, numbers in enumerate(ids):
        assert numbers[:2] in ([BEGIN, FOUND], [BEGIN, ALONE])
        assert read.logits[row, 1 : len(numbers) - 1].argmax(-1).tolist() == numbers[2:]


@torch.no_grad()
def test_a_reply_and_what_it_points_at_do_not_depend_on_other_prompts(net, look):
    words = "[BEGIN] [FOUND] I see [OBJ] the red mug [SEG] and [OBJ] the ball [SEG] . [END]"
    rows = [uttered(net, words), uttered(net, "[BEGIN] [FOUND] [OBJ] the mug [SEG] . [END]")]
    _, known = known_of(net, look, PROMPTS[:2])
    together = net.speech(known, padded(rows))
    for row in range(2):
        _, alone = known_of(net, look, [PROMPTS[row]])
        single = net.speech(alone, padded([rows[row]]))
        mine = together.row == row
        torch.testing.assert_close(together.point[mine], single.point, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(together.gate[mine], single.gate, atol=1e-4, rtol=1e-4)
        _, ids = made(net, alone)
        assert ids[0] == made(net, known)[1][row]


@torch.no_grad()
def test_only_the_words_of_a_phrase_count_for_what_it_points_at(net, look):
    _, known = known_of(net, look, PROMPTS[:1])
    first = "[BEGIN] [FOUND] [OBJ] the red mug [SEG]"
    a, b = (
        net.speech(known, padded([uttered(net, f"{first} {end} [END]")])) for end in ("and the ball", ".")
    )
    torch.testing.assert_close(a.point, b.point)
    assert (a.first.tolist(), a.last.tolist()) == ([2], [6])
    ids = uttered(net, f"{first} . [END]")
    assert (ids[2], ids[6]) == (OBJ, SEG)


@torch.no_grad()
def test_the_mask_is_the_choices_and_phrases_name_its_pieces(net, look):
    align = net.speech.align
    kept = {name: value.clone() for name, value in align.state_dict().items()}
    choice, known = known_of(net, look, PROMPTS[:1])
    count = choice.select.shape[1]
    assert count > 2
    choice = replace(choice, select=2.0 * (-1) ** torch.arange(count)[None])  # every other region
    known = net.speech.know(choice, look.prefix.seen)
    reply = uttered(net, "[BEGIN] [FOUND] I see [OBJ] the mug [SEG] . [END]")
    try:
        align.pick[-1].weight.zero_(), align.pick[-1].bias.zero_()
        align.called.weight.zero_(), align.called.bias.zero_()
        align.trust.fill_(1.0)  # a phrase then names what was chosen
        spoken = read_again(net.speech, known, [reply])
        assert torch.equal(spoken.named(0) == 0, choice.select[0] > 0)
        assert spoken.replies[0].spans and not spoken.replies[0].trouble
        align.trust[0] = -1.0  # and now all that was not: words that would be tied to masks of other things
        spoken = read_again(net.speech, known, [reply])
        assert spoken.named(0).eq(-1).all() and not spoken.replies[0].spans
        assert spoken.replies[0].trouble == "it names what is not shown"
    finally:
        align.load_state_dict(kept)


def test_a_network_that_speaks_shows_what_it_would_show_in_silence(picture, net, tmp_path):
    silent = loaded(built(replace(SPEAKS, replies=())), tmp_path / "silent").open(picture).ask_many(PROMPTS)
    answers = loaded(net, tmp_path / "net").open(picture).ask_many(PROMPTS)
    for one, other in zip(answers, silent, strict=True):
        assert one.asks or (one.found == other.found and one.mask == other.mask)


def saying(net, *words, alone=False):
    """The same network with a head that says the likeliest of some words, whatever comes before."""
    speech = net.speech
    with torch.no_grad():
        speech.last.weight.zero_(), speech.last.bias.zero_(), speech.bias.zero_()
        for place, word in enumerate(reversed(words), 1):
            speech.bias[speech.vocabulary.numbers[word]] = 10.0 * place
        speech.bias[ALONE] = 5.0 if alone else -5.0
    return net


@pytest.mark.parametrize(
    ("word", "trouble"), [("mug", "no end"), ("[END]", "names nothing"), ("[SEG]", "never began")]
)
def test_a_broken_reply_leaves_the_masks_of_a_silent_network_and_a_notice(picture, tmp_path, word, trouble):
    silent = loaded(built(replace(SPEAKS, replies=())), tmp_path / "silent").open(picture).ask_many(PROMPTS)
    answers = loaded(saying(built(), word), tmp_path / "net").open(picture).ask_many(PROMPTS)
    for one, other in zip(answers, silent, strict=True):
        assert one.masks == other.masks and one.found == other.found and not one.asks
        assert not one.found or any(trouble in notice for notice in one.notices)
        assert all(segment.span is None for segment in one.segments)
        assert len(one.text.split()) < LONGEST and not any(sign in one.text for sign in SIGNS)
        assert other.reply is None and other.text == ""


def test_a_model_that_speaks_can_be_asked_for_masks_alone(picture, tmp_path):
    silent = loaded(built(replace(SPEAKS, replies=())), tmp_path / "silent").open(picture)
    session = loaded(saying(built(), "mug", alone=True), tmp_path / "net").open(picture)
    assert session.ask(PROMPTS[0]).reply and session.ask_many(PROMPTS[:1])[0].reply
    quiet, plain = session.ask_many(PROMPTS, words=False), silent.ask_many(PROMPTS)
    assert [one.reply for one in quiet] == [None] * len(PROMPTS)
    assert [one.masks for one in quiet] == [one.masks for one in plain]
    assert session.fork().ask(PROMPTS[0], words=False).reply is None
    session.edit(
        "r1", PROMPTS[1], words=False
    )  # what is asked anew may go without words, too: they change what follows
    assert session.rounds[0].reply is None
    again = Session.replay(session.to_dict(), session.model, picture, words=False)
    assert [round.reply for round in again.rounds] == [None] and again.rounds[0].masks == session.rounds[
        0
    ].masks


def test_words_come_as_they_are_made_and_add_up_to_the_reply(picture, tmp_path):
    session = loaded(saying(built(), "mug"), tmp_path).open(picture)
    events = list(session.stream("the mug"))
    words = [event.text for event in events if isinstance(event, Words)]
    assert isinstance(events[-1], Done) and len(words) > 1
    answer = events[-1].answer
    assert "".join(words) == answer.reply == session.rounds[0].reply and answer.reply.startswith("Mug mug")
    assert all(isinstance(event, (Words, Found, Done)) for event in events)


def test_a_question_back_is_no_answer_and_not_nothing(picture, tmp_path):
    session = loaded(saying(built(), "[END]", alone=True), tmp_path).open(picture)
    with torch.no_grad():
        answer = session.ask("the mug")
    # This one says nothing at all: nothing to tell apart from silence.
    assert not answer.found and answer.segments == () and not answer.asks
    spoken = replace(answer, round=replace(answer.round, reply="The left one or the right one?"))
    assert spoken.round.segments is None and spoken.asks and "asks back" in repr(spoken)
    again = Answer.from_dict(spoken.to_dict())
    assert again.asks and again.reply == spoken.reply and again.round.segments is None


def test_without_the_words_nothing_changes(picture, net, look):
    tokens = net.prompt_encoder.words.tokens(PROMPTS)
    (alone,) = built(replace(SPEAKS, replies=())).stream(look, tokens)
    *pieces, out = net.stream(look, tokens)
    assert isinstance(alone, MaskOutput) and alone.replies is None and alone.named is None
    assert all(isinstance(piece, Piece) for piece in pieces) and len(out.replies) == len(PROMPTS)
    torch.testing.assert_close(alone.logits, net.ask(look, tokens).logits, rtol=0, atol=0)


def test_words_may_be_added_and_the_old_keep_their_numbers():
    more = SPEAKS.speaking(["zebra", "mug"])
    assert more.replies[: len(SPEAKS.replies)] == SPEAKS.replies and more.replies[-1] == "zebra"
    assert END < len(SIGNS)


def test_a_prompt_that_is_not_understood_is_not_answered_in_words_alone():
    """Words that were never taught would else be taken for small talk."""
    logits = torch.zeros(3, len(SIGNS))
    logits[:, ALONE] = 9.0
    making = Making(torch.tensor([False, False, True]), ReplyWords(()), torch.tensor([False, True, True]))
    list(making.add(logits))
    assert making.ids == [[BEGIN, ALONE], [BEGIN, NOTHING], [BEGIN, FOUND]]


@pytest.fixture(scope="module")
def shipped():
    return askmask.load("mini", device="cpu")


def test_after_a_round_what_it_does_not_know_is_not_small_talk(shipped):
    session = shipped.open("examples/table.png")
    assert session.ask("the boxes").found
    answer = session.ask("the giraffe")
    assert answer.round.segments == () and "giraffe" in str(answer.notices)
    assert session.ask("thanks").round.segments is None


def test_a_reply_to_a_part_of_a_prompt_is_not_the_whole_ones(shipped):
    session = shipped.open("examples/table.png")
    boxes = session.ask("the boxes")
    answer = session.ask("all of them except the red one")
    assert len(answer.segments) == len(boxes.segments) - 1 and answer.round.reply is None
