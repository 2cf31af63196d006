"""Conversations on SAM2 and Qwen2.5-VL, tiny and untrained: what must hold for any weights."""

import json

import numpy as np
import pytest
import torch

import askmask
from askmask import Session
from askmask.backend import Asked, Keep
from askmask.conversation import Prompt
from askmask.errors import CheckpointError
from askmask.imaging.files import read_picture
from askmask.model.checkpoint import check_files, load_checkpoint
from askmask.model.config import NetConfig
from askmask.model.seams import PastRound
from askmask.model.talk.adapter import TalkAdapter
from askmask.model.talk.config import CHOICES, TalkConfig
from askmask.model.talk.grow import grow
from askmask.model.talk.memory import boxes_of
from askmask.model.talk.net import TalkNet
from askmask.model.talk.stream import Stream, Talks
from askmask.model.talk.words import NONE, OBJ, REF, SEG, Writer
from tests.conftest import ROOT

PICTURE = ROOT / "askmask" / "selftest" / "picture.png"
CLOSE = {"atol": 1e-4, "rtol": 1e-4}
ROUNDS = [  # words, reply, spans of its masks, what is referred to, whether nothing matches
    ("the ball and the box", "I see the ball and the box.", [(6, 14), (19, 26)], (), False),
    ("its lid", "Sure.", [None], (1,), False),
    ("a unicorn", "There is none.", [], (), True),
    ("what is left of those", "Two things: here", [(12, 16), (12, 16)], (0, 2), False),
]


@pytest.fixture(scope="module")
def folder(tiny_folder, tmp_path_factory):
    return grow(tiny_folder, tmp_path_factory.mktemp("talk") / "net")


@pytest.fixture(scope="module")
def model(folder):
    """The network with a gate that is open and memory tokens that are loud, so that what is remembered matters."""
    model = askmask.load(folder, device="cpu")
    adapter = model.backend.net.adapter
    torch.nn.init.constant_(adapter.gate, 0.5)
    for last in (adapter.memory.under[-1], adapter.memory.box[-1]):
        torch.nn.init.normal_(last.weight, std=0.5)
    return model


@pytest.fixture(scope="module")
def words(model):
    return model.backend.net.prompt_encoder.words


@pytest.fixture(scope="module")
def look(model):
    return model.backend.look(read_picture(PICTURE)).look


@pytest.fixture(scope="module")
def masks():
    """Six blobs over the square of the network."""
    random = np.random.default_rng(3)
    found = torch.zeros(6, 64, 64)
    for mask in found:
        x, y, w, h = random.integers(4, 28, 4)
        mask[y : y + h, x : x + w] = 1
    return found


def remembered(net, look, masks, count=len(ROUNDS)):
    memory, at = None, 0
    for text, reply, spans, meant, nothing in ROUNDS[:count]:
        given = masks[at : at + len(spans)]
        memory = net.remember(look, memory, PastRound(text, reply, given, tuple(spans), meant, nothing))
        at += len(spans)
    return memory


def whole(net, picture, replies=None, last=None):
    """The same dialogue as one stream from its picture; `last`: one more prompt with the numbers of its reply."""
    words = net.prompt_encoder.words
    patches, grid = words.picture(picture.rgb)
    stream = Stream(words, net.adapter.memory.slots, words.head(grid))
    for text, reply, spans, meant, nothing in ROUNDS:
        stream.asked(text, meant)
        stream.answered(reply, spans, nothing=nothing)
    if last is not None:
        text, meant, ids = last
        stream.asked(text, meant)
        stream.replied(ids)
    return Talks.of([stream], patches, grid)


# -- words -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "reply", "spans", "meant", "nothing"), ROUNDS)
def test_a_reply_reads_as_it_was_written(words, text, reply, spans, meant, nothing):
    ids, order = words.answer(reply, spans, nothing=nothing)
    said = words.read(ids)
    assert (said.text, said.nothing, said.trouble) == (reply, nothing, "")
    assert order == list(range(len(spans)))
    assert [phrase.span for phrase in said.marks] == [span or (len(reply), len(reply)) for span in spans]
    assert [ids[phrase.last] for phrase in said.marks] == [words.sign(SEG)] * len(spans)
    writer = Writer(words)
    assert "".join(writer.add(number) for number in ids) == reply


def test_masks_stand_where_the_words_name_them_whatever_their_order(words):
    ids, order = words.answer("a cup, a pot.", [(7, 12), (0, 5), None])
    assert order == [1, 0, 2]
    assert [phrase.span for phrase in words.read(ids).marks] == [(0, 5), (7, 12), (13, 13)]
    assert words.answer("é [SEG] <|im_end|>", [])[0].count(words.sign(SEG)) == 0  # typed signs are words


@pytest.mark.parametrize(
    ("signs", "why"),
    [
        ((OBJ, SEG), "does not say what it is about"),
        ((OBJ, REF, SEG), "no words"),
        ((REF,), "without the mask"),
        ((NONE, REF, SEG), "is not there"),
        ((OBJ,), "no end"),
        ((0,), "only a memory"),
    ],
)
def test_a_reply_that_breaks_the_rules_says_how(words, signs, why):
    said = words.read([*(words.sign(sign) for sign in signs), words.end_id])
    assert why in said.trouble and said.marks == ()
    assert "no end" in words.read(words.answer("a", [])[0][:-1]).trouble


# -- memory ------------------------------------------------------------------------------------------------


def test_boxes_of_masks():
    masks = torch.zeros(2, 4, 4)
    masks[0, 1:3, 0:3] = 1
    assert boxes_of(masks).tolist() == [[0, 0.25, 0.75, 0.75], [0, 0, 0, 0]]


@torch.no_grad()
def test_cached_rounds_equal_one_reading_of_everything_and_generation_equals_training(model, look, masks):
    """Masks of a reply that was made after cached rounds = those of the training path on the same numbers."""
    net = model.backend.net
    memory = remembered(net, look, masks)
    words = net.prompt_encoder.words
    ids, _ = words.answer("It is the red one here.", [(6, 17), None])
    stream = memory.stream.fork()
    stream.asked("and the other", (0, 3))
    out, _ = net._read_again(look, memory, [stream], [ids], [(0, 3)], False)
    talks = whole(net, read_picture(PICTURE), last=("and the other", (0, 3), ids))
    states, shown = net.converse(look.features, talks, masks[:5])
    assert len(talks.marks) == 7 and memory.prefix.length == talks.ids.shape[1] - len(stream.ids)
    torch.testing.assert_close(out.logits, shown.out.logits[-2:], **CLOSE)
    assert torch.equal(out.logits > 0, shown.out.logits[-2:] > 0)
    torch.testing.assert_close(out.scores, shown.out.scores[-2:], **CLOSE)
    # and what follows in words
    made = [*net.stream(look, words.tokens(["and the other"]), [memory], [(0, 3)])][-1]
    again = whole(net, read_picture(PICTURE), last=("and the other", (0, 3), made.replies[0].ids))
    states, _ = net.converse(look.features, again, masks[:5])
    start = again.ids.shape[1] - len(made.replies[0].ids)
    logits = net.next_logits(states[0, start - 1 : -1]).masked_fill(~words.sayable, -torch.inf)
    assert logits.argmax(1).tolist() == list(made.replies[0].ids)


@torch.no_grad()
def test_what_is_asked_together_is_answered_as_if_alone(model, look, masks):
    net = model.backend.net
    words = net.prompt_encoder.words
    memories = [remembered(net, look, masks), None, remembered(net, look, masks, 2)]
    memories.append(memories[0])
    texts, meant = ["its lid", "the ball", "what is there, then?", "it"], [(1,), (), (0, 2), ()]
    together = net.ask(look, words.tokens(texts), memories, meant)
    for row, text in enumerate(texts):
        alone = net.ask(look, words.tokens([text]), [memories[row]], [meant[row]])
        assert alone.replies[0] == together.replies[row]
        torch.testing.assert_close(alone.logits, together.logits[together.row == row], **CLOSE)


@torch.no_grad()
def test_what_is_remembered_changes_answers(model, look, masks):
    net = model.backend.net
    ids, _ = net.prompt_encoder.words.answer("here", [None])

    def logits(memory, meant):
        stream = memory.stream.fork()
        stream.asked("its lid", meant)
        return net._read_again(look, memory, [stream], [ids], [meant], False)[0].logits

    one, other = remembered(net, look, masks), remembered(net, look, masks.flip(0))
    assert (logits(one, ()) - logits(other, ())).abs().max() > 1e-3
    assert (logits(one, (0,)) - logits(one, (2,))).abs().max() > 1e-3


@torch.no_grad()
def test_gate_0_is_stock_sam2_exactly(folder, look, masks):
    net, _ = load_checkpoint(folder)
    assert float(net.adapter.gate.detach()) == 0
    memory = remembered(net, look, masks)
    stream = memory.stream.fork()
    stream.asked("its lid", (0,))
    stream.replied(net.prompt_encoder.words.answer("here", [None])[0])
    written = net._written([stream], memory.tokens)
    states, _ = net.prompt_encoder.go_on(memory.prefix, written, net.adapter.signs)
    with_mask, without = (
        net.show(look.features, states, stream.marks_in(0), [about], memory.prefix.picture).out.logits
        for about in (memory.masks[:1], memory.masks[:0])
    )
    assert torch.equal(with_mask, without)
    net.adapter.gate.fill_(0.1)
    about, picture = [memory.masks[:1]], memory.prefix.picture
    opened = net.show(look.features, states, stream.marks_in(0), about, picture).out.logits
    assert not torch.equal(opened, without)


@pytest.mark.parametrize(("setting", "value"), [
    (k, v) for k, values in CHOICES.items() for v in values if k != "adapter"  # MIRAS's: test_miras.py
] + [
    ("mask_tokens", n) for n in (0, 4)
])  # fmt: skip
@torch.no_grad()
def test_every_ablation_remembers_and_answers(model, look, masks, setting, value):
    whole = model.backend.net
    adapter = TalkAdapter(TalkConfig(**{setting: value}), 64, 64)
    net = TalkNet(whole.segmenter, whole.prompt_encoder, adapter).eval()
    memory = remembered(net, look, masks, 2)
    ids, _ = net.prompt_encoder.words.answer("the lid", [(0, 7)])
    stream = memory.stream.fork()
    stream.asked("its lid", (0,))
    out, _ = net._read_again(look, memory, [stream], [ids], [(0,)], False)
    assert out.logits.shape == (1, 1, 64, 64) and torch.isfinite(out.logits).all()
    assert memory.tokens.shape[1] == sum(net.adapter.memory.slots)


def test_a_mask_without_pixels_is_the_learnt_nothing(model, look):
    net = model.backend.net
    found = net.memory_of(torch.zeros(1, 64, 64), [0], [look.prefix.seen], look.features)
    assert torch.equal(found[0], torch.cat([net.adapter.memory.no_mask, net.adapter.memory.no_box]))


# -- through the session -----------------------------------------------------------------------------------


def test_a_conversation_saved_and_loaded_goes_on_with_the_same_answer(model, picture_path):
    session = model.open(picture_path)
    first = session.ask("the ball")
    array = np.zeros(session.picture.size, bool)
    array[10:40, 20:60] = True
    session.add(array)
    session.ask("its handle", about="m1")
    assert first.round.reply is not None or first.round.segments is not None
    other = Session.from_dict(json.loads(json.dumps(session.to_dict())), model, picture_path)
    answers = [one.ask("and what lies on it?", about="m1") for one in (session, other)]
    assert answers[0].round.to_dict() == answers[1].round.to_dict()
    states = [model.state_of(one) for one in (session, other)]
    assert states[0].memory.prefix.length == states[1].memory.prefix.length > 0


def test_masks_come_back_by_their_phrase_and_references_by_how_well_they_are_given_back(
    model, picture_path, monkeypatch
):
    """The decoder of words is made to write one reply, as it would once trained; all else is the network's own."""
    net, words = model.backend.net, model.backend.net.prompt_encoder.words
    ids, _ = words.answer("I see the lid.", [(6, 13)])
    monkeypatch.setattr(type(net.prompt_encoder), "next", writes(words, ids))
    session = model.open(picture_path)
    array = np.zeros(session.picture.size, bool)
    array[10:40, 20:60] = True
    session.add(array)
    state, events = None, []
    backend = model.backend
    state = backend.begin(model.view_of(session))
    for round in session.rounds:
        state = backend.extend(state, round)
    events = [*backend.answer([Asked(state, Prompt(text="its lid", refers_to=("m1",)))], Keep())]
    answer = events[-1].answer
    assert "".join(event.text for event in events if hasattr(event, "text")) == "I see the lid."
    assert answer.round.reply == "I see the lid."
    assert [one.id for one in answer.round.references] == ["m1"]
    for segment in answer.round.segments or ():
        assert (segment.phrase, segment.span) == ("the lid", (6, 13))
    assert answer.round.segments


def writes(words, ids):
    place = iter(ids)

    def next_(self, states, sayable):
        logits = torch.zeros(len(states), words.size)
        logits[:, next(place)] = 1
        return logits

    return next_


# -- checkpoints -------------------------------------------------------------------------------------------


def test_growing_keeps_what_was_there_and_a_network_without_it_stays_as_it_is(tiny_folder, folder):
    before, config = load_checkpoint(tiny_folder)
    after, grown = load_checkpoint(folder)
    assert config.conversation is None and "conversation" not in json.loads(
        (tiny_folder / "config.json").read_text()
    )
    assert grown.conversation == TalkConfig().to_dict()
    ours = after.state_dict()
    assert all(torch.equal(value, ours[key]) for key, value in before.state_dict().items())
    assert check_files(folder, hashes=True)["provenance"]["made_by"].startswith("askmask new")
    with pytest.raises(CheckpointError, match="talks"):
        grow(folder, folder.parent / "twice")
    with pytest.raises(CheckpointError, match="native"):
        askmask.load(folder, protocol="published-eval", device="cpu")
    with pytest.raises(CheckpointError, match="align is one of"):
        NetConfig(**{**vars(grown), "conversation": {"align": "guess"}})
