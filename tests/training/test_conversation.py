"""Training of conversations: what cannot be known without memory is learnt by heart; runs go on where they stood."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

import askmask
from askmask.errors import SettingError
from askmask.formats.dense import read_shard
from askmask.loading import find_checkpoint
from askmask.model.config import NetConfig
from askmask.model.mini.config import MiniConfig
from askmask.training.conversation import numbers_of, said_before
from askmask.training.mini_scores import val_views
from askmask.training.recipes import RECIPES
from askmask.training.reference_cache import DAMAGED, TRUE, ReferenceCache, damaged
from askmask.training.run import BUILDERS, start
from askmask.training.run_folder import RunFolder
from askmask.training.settings import override
from askmask.training.talk_scores import Before, ask_talks, score_talks, val_talks
from askmask.training.talks import chains_of, keys_of, mask_of, talks_of
from tests.training.discs import write_discs

BUNDLED = str(find_checkpoint("mini"))


@pytest.fixture(scope="module")
def discs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("discs")
    write_discs(folder / "data", scenes=3, seed=0, size=64)
    return folder


def recipe(discs, run, *pairs):
    settings = [f"data.train={discs / 'data'}", f"data.val={discs / 'data'}", f"cache={discs / 'sight'}"]
    settings += [f"run={run}", "threads=1", "val_views=3", *pairs]
    return override(RECIPES["conversation"](), [f"start={BUNDLED}", *settings])


def rows(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


@pytest.mark.slow
def test_dialogues_are_learnt_by_heart_with_own_answers_before(discs, tmp_path):
    """ "All the others" has another answer in each dialogue: only what was answered before can tell."""
    settings = ["steps=24", "views=3", "talks=2", "prompts=1", "lr=2e-3", "word_drop=0", "evidence_noise=0"]
    settings += ["evaluate_every=24", "save_every=24", "own_until=0.6", "damage=0.1"]
    for _ in start(recipe(discs, tmp_path / "run", *settings)):
        pass
    scores = rows(tmp_path / "run")[-1]
    assert scores["val/talk_giou_follow_ups"] > 0.7, scores
    assert MiniConfig.from_dict(json.loads((tmp_path / "run" / "model.json").read_text())).remembers


@pytest.mark.slow
def test_a_run_that_was_stopped_goes_on_bit_for_bit(discs, tmp_path):
    settings = [
        "views=2",
        "log_every=1",
        "save_every=2",
        "evaluate_every=100",
        "own_from=0",
        "own_until=0.01",
    ]
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    for _ in start(recipe(discs, whole, "steps=4", *settings)):
        pass
    run = start(recipe(discs, broken, "steps=4", *settings))
    for _ in range(3):
        next(run)
    run.close()
    assert RunFolder(broken).newest_step() == 2
    for _ in start(recipe(discs, broken, "steps=4", *settings)):
        pass
    assert rows(broken) == rows(whole)


def test_new_parts_begin_without_a_say(discs, tmp_path):
    """Old weights in a network that remembers answer single prompts as before."""
    task = BUILDERS["conversation"](recipe(discs, tmp_path), RunFolder(tmp_path))
    config = MiniConfig.from_dict(NetConfig.load(BUNDLED).segmenter)
    assert task.module.remembers and task.module.config.kinds[: len(config.kinds)] == config.kinds
    old = askmask.load("mini", device="cpu").backend.net
    rgb = read_shard(discs / "data" / "shard-00000.npz").rgb[0]
    task.module.eval()
    looks = [net.look(rgb, net.segmenter.prepare(rgb)) for net in (old, task.module)]
    with torch.no_grad():
        one, other = (
            net.language(look.prefix.seen, net.language.words.tokens(["the red ball"]))
            for net, look in zip((old, task.module), looks, strict=True)
        )
    assert torch.equal(one.states, other.states) and torch.equal(one.of, other.of)


def test_names_are_put_right_by_what_the_world_calls_things(discs, tmp_path):
    task = BUILDERS["conversation"](recipe(discs, tmp_path, "views=2"), RunFolder(tmp_path))
    assert task.module.config.recognises
    loss, figures = task.loss(task.next_batch(0.0), 0.0)
    loss.backward()
    assert figures["names"] > 0
    assert task.module.language.recognise.more[-1].weight.grad.any()


def test_what_dialogues_answer_and_refer_to(discs):
    shard = read_shard(discs / "data" / "shard-00000.npz")
    scene, view = shard.facts(0)
    talk = talks_of(scene, view)[0]
    opening, others, again = talk
    assert opening.refers == () and others.refers == again.refers
    assert others.refers == tuple((0, at) for at in range(len(opening.answers)))
    assert not set(opening.answers) & set(others.answers) and again.answers == opening.answers
    for key, mask in zip(keys_of(view["dialogues"][0][0]["answer"]), opening.answers, strict=True):
        assert key == mask
        assert np.array_equal(
            mask_of(key, shard.objects[0], shard.parts[0]), shard.objects[0] == int(key[7:])
        )
    answers = [[None] * 3, [None], [None]]  # one mask too many: "those" means all three
    talk = (replace(opening, answers=("object 1", "object 2")), others, again)
    assert numbers_of(((0, 0), (0, 1)), talk, answers, [0, 3, 4]) == [0, 1, 2]
    assert numbers_of(((0, 1),), talk, answers, [0, 3, 4]) == [1]


def test_a_round_that_is_told_what_it_refers_to_hears_its_chain_alone(discs, tmp_path):
    """As in a session: a reference that is given is trusted above what else was said, and when."""
    settings = ["views=3", "talks=2", "damage=0", "unheard=0"]
    for given in (0, 1):
        task = BUILDERS["conversation"](
            recipe(discs, tmp_path / str(given), *settings, f"given={given}"),
            RunFolder(tmp_path / str(given)),
        )
        batch = task.next_batch(0.0)
        regions, _ = task._regions([view.seen for view in batch.views])
        answers = task._true_answers(batch)
        references, spoken, _ = task._references(batch, answers, task.module.language.see(regions))
        row = shorter = 0
        for drawn, found in zip(batch.talks, answers, strict=True):
            for number, (round, said) in enumerate(zip(drawn.talk, said_before(drawn), strict=True)):
                before = drawn.before[number]
                chain = chains_of(drawn.talk)[number]
                assert before == (chain if given and chain else list(range(number)))
                shorter += before != list(range(number))
                assert [prompt for prompt, _ in said.rounds] == [drawn.talk[at].text for at in before]
                meant = [found[of][mask][0] for of, mask in round.refers]
                mine = references.evidence[row][spoken[row].bool()]
                assert {tuple(one.tolist()) for one in meant} == {tuple(one.tolist()) for one in mine}
                row += 1
        assert bool(shorter) == bool(given)


def test_a_run_may_begin_by_reading_alone(discs, tmp_path):
    settings = ["steps=4", "views=1", "reads=6", "reads_first=0.5", "log_every=1", "evaluate_every=100"]
    for _ in start(recipe(discs, tmp_path / "run", *settings)):
        pass
    steps = rows(tmp_path / "run")[:4]
    assert all(row["alone_said"] > 0 and row["alone_kind"] > 0 for row in steps)
    assert [("select" in row) for row in steps] == [False, False, True, True]


def test_a_share_of_nothing_to_read_is_refused(discs, tmp_path):
    with pytest.raises(SettingError, match=r"reads is 0; got reads_first=0.5. .* reads=48"):
        BUILDERS["conversation"](recipe(discs, tmp_path, "reads_first=0.5"), RunFolder(tmp_path))


def test_processes_read_other_prompts_alone(discs, tmp_path, monkeypatch):
    read = []
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank in ("0", "1"):
        monkeypatch.setenv("RANK", rank)
        task = BUILDERS["conversation"](recipe(discs, tmp_path, "reads=40"), RunFolder(tmp_path))
        read.append([ask.text for ask in task.next_batch(0.0).reads])
    assert len(read[0]) == len(read[1]) == 40 and read[0] != read[1]


def test_half_of_what_is_read_alone_composes_evenly(discs, tmp_path):
    """Prompts that name two things are too rare among all others to learn which of them is which."""
    task = BUILDERS["conversation"](recipe(discs, tmp_path, "reads=400"), RunFolder(tmp_path))
    asks = task.next_batch(0.0).asks[0]
    kinds = [[replace(asks[0], kind=kind)] for kind in ("both", "instead")]
    task._readable = asks * 100, kinds
    read = [ask.kind for ask in task._to_read(400)]
    assert read.count("both") == read.count("instead") == 100
    assert task._to_read(0) == []


def test_what_rounds_have_of_those_before_can_be_taken_away(discs, tmp_path):
    """Ablations: without masks the memory takes no part, without words the ear does not."""

    def touched(name, *pairs):
        task = BUILDERS["conversation"](
            recipe(discs, tmp_path / name, "views=2", "own_from=0", "own_until=0.01", "own=1", *pairs),
            RunFolder(tmp_path / name),
        )
        loss, _ = task.loss(task.next_batch(1.0), 1.0)
        loss.backward()
        moved = {n for n, p in task.module.language.named_parameters() if p.grad is not None and p.grad.any()}
        return any(n.startswith("memory.") for n in moved), any(n.startswith("listen.") for n in moved)

    assert touched("both") == (True, True)
    assert touched("words", "masks=false") == (False, True)
    assert touched("masks", "words=false") == (True, False)
    assert touched("none", "masks=false", "words=false") == (False, False)


def test_dialogues_of_intents_can_be_left_out(discs, tmp_path):
    for suffix in (".npz", ".jsonl"):
        shutil.copy((discs / "data" / "shard-00000").with_suffix(suffix), tmp_path)
    scenes = [json.loads(line) for line in (tmp_path / "shard-00000.jsonl").read_text().splitlines()]
    (view,) = scenes[0]["views"]
    view["dialogues"][0][-1]["family"] = "intent"
    (tmp_path / "shard-00000.jsonl").write_text("".join(json.dumps(scene) + "\n" for scene in scenes))

    def talks(name, *pairs):
        settings = [f"data.train={tmp_path}", f"cache={tmp_path / 'sight'}", *pairs]
        task = BUILDERS["conversation"](recipe(discs, tmp_path / name, *settings), RunFolder(tmp_path / name))
        task.next_batch(0.0)
        return [view.talks for view in task._talks]

    (all_, *others), (left, *same) = talks("with"), talks("without", "intents=false")
    assert [any(round.intent for round in talk) for talk in all_] == [True] + [False] * (len(all_) - 1)
    assert left == all_[1:] and same == others


@pytest.fixture(scope="module")
def asked(discs):
    """A network that remembers, and the dialogues of discs as validation reads them."""
    net = askmask.load("mini", device="cpu").backend.net
    views = val_views(net, [str(discs / "data")], 2)
    return net, val_talks([str(discs / "data")], views)


def test_dialogues_side_by_side_are_answered_as_alone(asked):
    net, talks = asked
    together = ask_talks(net, talks)
    for talk, answers in zip(talks, together, strict=True):
        for one, other in zip(answers, ask_talks(net, [talk])[0], strict=True):
            assert (one[0] != other[0]).sum() <= 1 and one[1] == pytest.approx(other[1], abs=1e-4)
    assert (
        score_talks(net, talks)["talk_giou_round_1"]
        == score_talks(net, talks, Before(true=True))["talk_giou_round_1"]
    )


def test_what_rounds_have_before_them_when_they_are_scored(asked, monkeypatch):
    net, talks = asked
    given = []
    encode = net.prompt_encoder.encode
    monkeypatch.setattr(net.prompt_encoder, "encode", lambda *some: given.append(some[2:]) or encode(*some))
    alone = talks[0]

    def last(**how):
        given.clear()
        ask_talks(net, [alone], Before(true=True, **how))
        return given[-1]

    references, (said,) = last()
    opening, other, again = alone.talk
    assert again.rounds == (0,) and said.rounds == ((opening.text, opening.reply),)  # its chain
    first, second = (len(masks) for masks in alone.truth[:2])
    assert references.real[0].tolist() == [True] * first + [False] * second
    assert (
        references.when[0, :first, 0].eq(1).all()
        and references.given[0].tolist() == [1] * first + [0] * second
    )
    assert last(masks=False)[0] is None and last(words=False)[1] == []
    assert last(replies=False)[1][0].rounds == ((opening.text, ""),)
    loose = replace(alone, talk=(opening, other, replace(again, rounds=(), refers=())))
    ask_talks(net, [loose], Before(true=True))
    references, (said,) = given[-1]
    assert [text for text, _ in said.rounds] == [opening.text, other.text]
    assert references.when[0, :, 1].tolist() == [0] * first + [1] * second


def test_references_are_looked_at_once(discs, tmp_path):
    net = askmask.load("mini", device="cpu").backend.net
    cache = ReferenceCache(net, tmp_path / "cache")
    path = discs / "data" / "shard-00000.npz"
    views = cache.references(path)
    assert len(list((tmp_path / "cache").glob("references-*.npz"))) == 1
    cache._look = None  # from here on only the file can answer
    for one, other in zip(views, cache.references(path), strict=True):
        assert one.rows == other.rows and np.array_equal(one.lies, other.lies)
    (file,) = (tmp_path / "cache").glob("references-*.npz")
    whole, looked = file.read_bytes(), []
    cache._look = lambda shard: looked.append(1) or iter(views)
    for damage in (whole[: len(whole) // 2], b"", b"PK\x03\x04"):  # cut off, or another program's: made again
        file.write_bytes(damage)
        assert cache.references(path)[0].rows == views[0].rows and file.read_bytes() == whole
    assert len(looked) == 3
    key = next(key for key, how in views[0].rows if key.startswith("object"))
    true, broken = views[0].get(key, TRUE), views[0].get(key, DAMAGED)
    assert true[2][:, 0].max() > 0.5 and not torch.equal(true[0], broken[0])
    assert torch.equal(views[0].get(key, "own")[0], true[0])  # whole objects have no other form


@pytest.mark.parametrize("how", [0, 1, 2])
def test_damage_leaves_something_of_a_mask(how):
    mask = torch.zeros(20, 20)
    mask[5:12, 6:15] = 1
    mask[5:7, 6:9] = 0
    worse = damaged(mask, how)
    assert worse.sum() > 0 and not torch.equal(worse, mask)
    assert (worse * mask).sum() / (worse + mask).clamp(max=1).sum() > 0.3
    speck = torch.zeros(20, 20)
    speck[3, 3] = 1
    assert torch.equal(damaged(speck, how), speck)
