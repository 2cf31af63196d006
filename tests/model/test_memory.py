"""mini's memory: what is remembered changes answers, and nothing else does; for any weights."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

import askmask
from askmask import Answer, Mask, Session
from askmask.backend import Asked, Keep
from askmask.backends import neural
from askmask.backends.neural import FORGETS, UNSHOWN
from askmask.conversation import Prompt, Round, Segment
from askmask.errors import PromptError
from askmask.formats.dense import read_shard
from askmask.model.checkpoint import save_checkpoint
from askmask.model.config import NetConfig
from askmask.model.mini import language
from askmask.model.mini.encoder import pyramid
from askmask.model.mini.memory import Remembered, pad_memories, refer
from askmask.model.mini.net import Mini
from askmask.model.mini.words import (
    FARTHEST,
    LONGEST_WORD,
    MOST_HEARD,
    Said,
    WordEmbedding,
    WordHasher,
    split,
)
from tests.training.discs import write_discs

FOLLOWING = ["its lid", "the other one, please", "what is left of it"]


@pytest.fixture(scope="module")
def plain():
    """The bundled weights, made to forget."""
    model = askmask.load("mini", device="cpu")
    model.backend.net.remembers = False
    return model


@pytest.fixture(scope="module")
def net(plain):
    """The bundled weights with a memory whose weights are random and loud."""
    torch.manual_seed(5)
    net = Mini(plain.backend.net.config.grown((), remembers=True))
    net.load_state_dict(plain.backend.net.state_dict(), strict=False)
    for parameter in (*net.language.memory.parameters(), net.language.listen.weight):
        torch.nn.init.normal_(parameter, std=0.5)
    return net.eval()


@pytest.fixture(scope="module")
def model(net, tmp_path_factory):
    """That network, stored as a model and loaded."""
    config = NetConfig(
        name="mini",
        backend="mini",
        compute="float32",
        segmenter=net.config.to_dict(),
        prompt_encoder={},
        presence_threshold=0.0,
    )
    folder = save_checkpoint(tmp_path_factory.mktemp("memory"), config, dict(net.state_dict()), {})
    return askmask.load(folder, device="cpu")


@pytest.fixture(scope="module")
def discs(tmp_path_factory):
    return read_shard(write_discs(tmp_path_factory.mktemp("discs"), scenes=1, seed=3, size=96))


@pytest.fixture(scope="module")
def picture(discs):
    return discs.rgb[0]


def box(y0, y1, x0, x1):
    mask = np.zeros((96, 96), bool)
    mask[y0:y1, x0:x1] = True
    return Mask.from_array(mask)


def talk(model, picture):
    """A conversation of three rounds: two masks of the user's, and a prompt."""
    session = model.open(picture)
    session.add(box(40, 70, 10, 40), name="left")
    session.add(box(30, 60, 50, 80), name="right")
    session.ask("the red things beside it")
    return session


def test_without_a_conversation_answers_are_the_bundled_ones(plain, model, picture):
    prompts = ["the mug", "the red ball beside the table", "?"]
    before = plain.open(picture).ask_many(prompts, keep_logits=True)
    now = model.open(picture).ask_many(prompts, keep_logits=True)
    for one, other in zip(before, now, strict=True):
        np.testing.assert_allclose(one.logits, other.logits, atol=1e-5)  # stored as halves, and as they are
        assert other.references == ()


def test_a_memory_without_a_conversation_changes_no_bit(net, picture):
    look = net.look(picture, net.segmenter.prepare(picture))
    tokens = net.prompt_encoder.words.tokens(["the red ball", "everything on the table"])
    with_memory = net.ask(look, tokens, [None, None], [[], []])
    memory, net.language.memory, net.remembers = net.language.memory, None, False
    try:
        without = net.ask(look, tokens)
    finally:
        net.language.memory, net.remembers = memory, True
    for name in ("logits", "scores", "presence_logits", "chosen"):
        assert torch.equal(getattr(with_memory, name), getattr(without, name))
    assert with_memory.references is None


def test_what_was_answered_and_what_is_meant_change_the_answer(model, picture):
    session = talk(model, picture)
    unsaid, left, right = (
        session.fork().ask(FOLLOWING[0], about=about, keep_logits=True) for about in ((), "left", "right")
    )
    alone = session.ask_many([FOLLOWING[0]], keep_logits=True)[0]
    every = [alone, unsaid, left, right]
    for number, one in enumerate(every):
        for other in every[:number]:
            assert np.abs(one.logits - other.logits).max() > 1e-3
    assert {ref.id for ref in left.references if ref.given} == {session["left"].id}
    assert {ref.id for ref in right.references if ref.given} == {session["right"].id}
    assert all(0 <= ref.score <= 1 for ref in left.references) and "left to the model" not in str(
        left.notices
    )
    assert all(ref.score >= 0.5 and not ref.given for ref in unsaid.references)


def test_a_round_that_is_meant_means_all_of_its_masks(model, discs):
    """Here what two boxes found: marks are remembered like words."""
    session = talk(model, discs.rgb[0])
    places = [np.nonzero(discs.objects[0] == number) for number in (1, 2)]
    corners = [(int(x.min()), int(y.min()), int(x.max()) + 1, int(y.max()) + 1) for y, x in places]
    pointed = session.ask(boxes=corners).round
    assert len(pointed.segments) == 2
    answer = session.ask("all but those", about=pointed.id)
    assert [ref.id for ref in answer.references if ref.given] == [pointed.id]
    state = model.state_of(session)
    assert [state.remembered[n] for n in state.meant(answer.round.prompt)] == [s.id for s in pointed.segments]


def test_going_on_is_the_same_as_beginning_anew(model, picture):
    """The state that a session keeps between prompts, and one made of all rounds at once."""
    session = talk(model, picture)
    data = json.loads(json.dumps(session.to_dict()))
    kept = session.ask(FOLLOWING[1], about="right", keep_logits=True)
    again = Session.from_dict(data, model, picture)
    anew = again.ask(FOLLOWING[1], about="right", keep_logits=True)
    assert np.array_equal(kept.logits, anew.logits) and kept.round == anew.round
    assert kept.references == anew.references


def test_a_changed_past_is_remembered_as_it_is_now(model, picture):
    session = talk(model, picture)
    session.ask(FOLLOWING[2])  # the state has seen all rounds
    other = session.fork()
    other.undo()
    other.delete("r1")
    fresh = Session.from_dict(other.to_dict(), model, picture)
    now, anew = other.ask(FOLLOWING[2], keep_logits=True), fresh.ask(FOLLOWING[2], keep_logits=True)
    assert np.array_equal(now.logits, anew.logits)


def test_conversations_in_one_batch_do_not_touch_each_other(model, picture):
    view = model.backend.look(askmask.imaging.files.read_picture(picture))
    state = model.backend.begin(view)
    asked = [Asked(state, Prompt(text="the mug"))]
    for round, text in zip(talk(model, picture).rounds, FOLLOWING, strict=True):
        state = model.backend.extend(state, round)
        asked.append(Asked(state, Prompt(text=text, refers_to=("m1",))))
    together = model.answers(asked, Keep(logits=True))
    for one, answer in zip(asked, together, strict=True):
        (alone,) = model.answers([one], Keep(logits=True))
        np.testing.assert_allclose(answer.logits, alone.logits, atol=1e-4)
        assert answer.mask == alone.mask
        assert [ref.id for ref in answer.references] == [ref.id for ref in alone.references]


def test_the_order_in_which_references_are_listed_means_nothing(net, picture):
    look = net.look(picture, net.segmenter.prepare(picture))
    masks = (torch.rand(5, 96, 96, generator=torch.Generator().manual_seed(0)) > 0.6).float()
    memory = None
    for part in masks.split([2, 1, 2]):
        memory = net.prompt_encoder.remember(look.prefix, look.features, memory, part)
    order = [3, 0, 4, 2, 1]
    shuffled = Remembered(
        *(
            getattr(memory, name)[order]
            for name in ("evidence", "relation", "overlap", "round", "place", "many")
        ),
        memory.rounds,
    )
    tokens = net.prompt_encoder.words.tokens(["the second of those"])
    one = net.ask(look, tokens, [memory], [[0, 3]])
    other = net.ask(look, tokens, [shuffled], [[order.index(0), order.index(3)]])
    torch.testing.assert_close(one.logits, other.logits, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(one.references[:, order], other.references, atol=1e-5, rtol=1e-4)


def test_what_is_told_is_all_that_is_heard_in_whatever_order_it_came(model, picture):
    """Earlier rounds in another order changed one answer in eleven."""
    rounds = {
        name: Round(prompt=prompt, segments=segments, reply=f"Reply {name}.", id=name)
        for name, prompt, segments in (
            ("a", Prompt(text="the left disc"), (Segment(mask=box(5, 30, 10, 40), id="m1"),)),
            ("b", Prompt(text="the right disc"), (Segment(mask=box(40, 70, 50, 80), id="m2"),)),
            ("c", Prompt(text="and beside it?", refers_to=("m2",)), ()),
        )
    }
    view = model.backend.look(askmask.imaging.files.read_picture(picture))

    def logits(order, *refers_to):
        state = model.backend.begin(view)
        for name in order:
            state = model.backend.extend(state, rounds[name])
        asked = Asked(state, Prompt(text=FOLLOWING[0], refers_to=refers_to))
        return model.answers([asked], Keep(logits=True))[0].logits

    for name, same in (("c", ("abc", "bac", "bca", "bc")), ("m1", ("abc", "cba", "a"))):
        for order in same[1:]:
            np.testing.assert_allclose(logits(order, name), logits(same[0], name), atol=1e-4)
    assert np.abs(logits("abc") - logits("cab")).max() > 1e-3  # what is not told hears all of it


def test_a_regions_own_mask_gives_the_evidence_of_the_region(net, picture):
    prefix = net.look(picture, net.segmenter.prepare(picture)).prefix
    features = net.look(picture, net.segmenter.prepare(picture)).features
    instances = prefix.instances
    evidence, relation, overlap = refer(
        prefix.percept, pyramid(features), 0, instances, instances.masks, net.config
    )
    solid = (instances.masks > 0.5).flatten(1).any(1)
    torch.testing.assert_close(evidence[:, :-17], instances.evidence[:, :-17])
    torch.testing.assert_close(relation[..., :12], instances.relation[..., :12])
    assert torch.equal(overlap[solid][:, solid][..., 0].diagonal(), torch.ones(int(solid.sum())))


def test_rounds_that_found_nothing_count_as_rounds(net, picture):
    look = net.look(picture, net.segmenter.prepare(picture))
    empty, some = torch.zeros(0, 96, 96), torch.ones(1, 96, 96)
    memory = None
    for masks in (some, empty, some):
        memory = net.prompt_encoder.remember(look.prefix, look.features, memory, masks)
    assert memory.round.tolist() == [0, 2] and memory.rounds == 3
    references = pad_memories([memory, None], [[1], []], look.prefix.seen.states.shape[1])
    assert references.when[0, :, 0].tolist() == [3, 1] and references.given.tolist() == [[0, 1], [0, 0]]
    assert not references.real[1].any()
    assert pad_memories([None, None], [[], []], 3) is None


def test_notices_say_what_was_not_used(plain, model, picture):
    named = Prompt(text="its handle", refers_to=("m1",))
    for one, notice in ((plain, FORGETS), (model, UNSHOWN)):
        session = one.open(picture)
        session.add(box(5, 30, 10, 40))
        asked_alone = session.ask_many([named])[0]
        assert notice in asked_alone.notices
        assert (notice in session.ask(named).notices) == (one is plain)
        with pytest.raises(PromptError):
            session.ask("it", about="m9")


def test_references_are_stored_with_the_answer(model, picture):
    answer = talk(model, picture).ask("its handle", about="left")
    assert answer.references
    again = Answer.from_dict(json.loads(json.dumps(answer.to_dict())))
    assert again == answer and again.references == answer.references
    assert replace(answer, round=replace(answer.round, references=())) != answer


class TestWordsBefore:
    def test_it_changes_the_answer_of_its_own_conversation_alone(self, model, picture):
        view = model.backend.look(askmask.imaging.files.read_picture(picture))
        alone = model.backend.begin(view)
        rounds = [Round(prompt=Prompt(text=text), segments=()) for text in ("the red disc", "the blue disc")]
        asked = [
            Asked(state, Prompt(text="no, but a round one"))
            for state in (alone, *(model.backend.extend(alone, round) for round in rounds))
        ]
        together = [answer.presence for answer in model.answers(asked)]
        assert len({round(presence, 4) for presence in together}) == 3
        for one, presence in zip(asked, together, strict=True):
            assert model.answers([one])[0].presence == pytest.approx(presence, abs=1e-5)

    def test_only_the_last_reply_and_the_latest_words_are_heard(self):
        said = Said()
        for number in range(12):
            said = said.then(f"{number} " * 40, f"reply {number}")
        assert len(list(said.latest_first())) == 1 + FARTHEST and next(said.latest_first()) == "reply 11"
        hasher = WordHasher(100, 100, 48)
        (heard, unheard), ago = hasher.earlier([said, Said()]).tokens.real, hasher.earlier([said]).ago
        assert heard.sum() == MOST_HEARD and not unheard.any()
        assert ago[0, 0] == 0 and (ago[0].diff() >= 0).all() and ago.max() == 4
        assert hasher.earlier([Said(), Said()]) is None

    def test_a_word_of_a_megabyte_is_not_kept(self):
        """Each was, with its hash: fifty thousand of them for as long as the process lives."""
        assert split("A" * 10**6 + "!mug", 9) == ["a" * LONGEST_WORD, "!", "mug"]

    def test_a_network_of_short_prompts_hears_no_more_of_earlier_ones(self):
        """It had no place for the ninth word, and every second prompt fell over."""
        earlier = WordHasher(64, 64, 8).earlier([Said(((" ".join("abcdefghijkl"), "yes"),))])
        vectors, read = WordEmbedding(64, 64, 16, 8)(earlier.tokens, place=earlier.place)
        assert vectors.shape == (1, 9, 16) and read.all()


def test_a_long_conversation_is_attended_to_in_parts_with_the_same_answer(model, picture, monkeypatch):
    session = talk(model, picture)
    square = np.zeros(session.picture.size, bool)
    for number in range(6):
        square[:] = False
        square[5 * number : 5 * number + 20, 3 * number : 3 * number + 20] = True
        session.add(Mask.from_array(square))
    whole = session.fork().ask(FOLLOWING[0], about="left", keep_logits=True)
    tall = []
    inner = torch.nn.functional.scaled_dot_product_attention

    def attend(query, *rest, attn_mask=None, **more):
        if attn_mask is not None and attn_mask.shape[-2] > 1:
            tall.append(attn_mask.shape[-2])
        return inner(query, *rest, attn_mask=attn_mask, **more)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", attend)
    monkeypatch.setattr(language, "WHOLE", 16)
    monkeypatch.setattr(language, "ROWS", 7)
    parts = session.fork().ask(FOLLOWING[0], about="left", keep_logits=True)
    assert tall and max(tall) == 7
    assert np.abs(whole.logits - parts.logits).max() < 1e-5 * np.abs(whole.logits).max()
    assert [ref.id for ref in whole.references] == [ref.id for ref in parts.references]


def test_memory_counts_what_was_worked_out_and_shared_tensors_once(model, picture):
    view = model.view_of(model.open(picture))
    percept, whole = view.look.prefix.percept, view.nbytes
    chances = vars(percept).pop("chances")
    assert whole - view.nbytes == sum(one.nbytes for one in chances) > 0
    assert percept.shares.data_ptr() == view.look.prefix.parts.data_ptr()
    less = view.nbytes
    vars(percept).pop("shares")
    assert view.nbytes == less


def test_long_memories_go_through_a_few_at_a_time(model, picture, monkeypatch):
    session = talk(model, picture)
    state = model.backend.begin(model.view_of(session))
    for round in session.rounds:
        state = model.backend.extend(state, round)
    assert state.nbytes == sum(
        value.nbytes for value in vars(state.memory).values() if isinstance(value, torch.Tensor)
    )
    asked = [Asked(state, Prompt(text=text)) for text in (*FOLLOWING, *FOLLOWING)]
    together = model.answers(asked)
    rows = []
    inner = model.backend.net.ask

    def ask(look, tokens, *rest, **more):
        rows.append(len(tokens))
        return inner(look, tokens, *rest, **more)

    monkeypatch.setattr(neural, "REMEMBERED_AT_ONCE", 2 * len(state.remembered))
    monkeypatch.setattr(model.backend.net, "ask", ask)
    apart = model.answers(asked, Keep(words=False))
    assert rows == [2, 2, 2]
    assert [one.masks for one in apart] == [one.masks for one in together]


def test_words_that_name_an_earlier_answer_are_not_told_as_unknown():
    model = askmask.load("mini", device="cpu")
    assert any("frobnicator" in notice for notice in model.backend.net.unread("left of frobnicator"))
    session = model.open(np.full((48, 64, 3), 128, np.uint8))
    for text in ("the mug", "the bowl"):
        session.ask(text, words=False)
    square = np.zeros((48, 64), bool)
    square[4:9, 4:9] = True
    session.add(Mask.from_array(square), name="frobnicator")
    for text in ("left of instance 2", "left of frobnicator"):
        assert not any("know" in notice for notice in session.ask(text, words=False).notices)
    assert any("wug" in notice for notice in session.ask("the wug of instance 2", words=False).notices)
