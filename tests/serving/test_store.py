"""Sessions on disk: what was written is there again, undo too; bounds hold; owners do not meet."""

import gc
import json
import os
import tracemalloc

import pytest

from askmask.errors import DataError
from askmask.imaging.mask import Mask
from askmask.serving.journal import FILE
from askmask.serving.refusal import Refusal
from askmask.serving.settings import Limits
from askmask.serving.store import Store
from askmask.session import Session
from tests.evaluation.colour_model import ColourModel
from tests.serving.conftest import picture


class Clock:
    now = 1_000_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def store(folder, clock, **limits):
    model = ColourModel()
    made = Store(folder, Limits(**limits), model=lambda name: model, clock=clock)
    made.model = model
    return made


def ask(kept_store, kept, text):
    session = kept_store.session(kept)
    answer = session.ask(text)
    kept_store.commit(kept, session, "ask", {answer.round.id: {"score": answer.score}})
    return answer


def test_a_session_is_there_again_as_it_was(tmp_path, clock):
    first = store(tmp_path, clock)
    kept = first.create("anna", "colours", picture(), "a b.png")
    ask(first, kept, "the red one")
    session = first.session(kept)
    session.rename("m1", "Tür")
    first.commit(kept, session, "rename")
    ask(first, kept, "the green one")
    before = session.to_dict()
    first.close()

    second = store(tmp_path, clock)
    again = second.find("anna", kept.id)
    assert second.session(again).to_dict() == before
    assert second.journal(again).now.answers["r1"] == {"score": 0.9}
    # What is kept is what the library writes.
    saved = second.journal(again).conversation()
    assert Session.from_dict(saved, second.model, picture()).segments["m1"].name == "Tür"


def test_undo_goes_back_also_after_a_restart_and_gives_no_name_twice(tmp_path, clock):
    first = store(tmp_path, clock)
    kept = first.create("anna", "colours", picture(), "p")
    for text in ("the red one", "the green one"):
        ask(first, kept, text)
    first.close()
    second = store(tmp_path, clock)
    kept = second.find("anna", kept.id)
    second.undo(kept)
    assert [round.text for round in second.session(kept).rounds] == ["the red one"]
    assert ask(second, kept, "the blue one").round.id == "r3"
    second.undo(kept)
    second.undo(kept)
    assert second.session(kept).rounds == ()
    with pytest.raises(Refusal, match="nothing to undo"):
        second.undo(kept)


def test_an_edit_in_the_middle_is_kept_with_what_became_stale(tmp_path, clock):
    first = store(tmp_path, clock)
    kept = first.create("anna", "colours", picture(), "p")
    session = first.session(kept)
    session.ask("the red one")
    session.ask("that again", about="m1")
    first.commit(kept, session, "ask")
    session.edit("r1", "the green one")
    first.commit(kept, session, "edit")
    first.close()
    again = store(tmp_path, clock)
    found = again.session(again.find("anna", kept.id))
    assert found.stale == {"r2"} and found.to_dict() == session.to_dict()


def test_a_line_cut_off_by_a_kill_is_not_there(tmp_path, clock):
    first = store(tmp_path, clock)
    kept = first.create("anna", "colours", picture(), "p")
    ask(first, kept, "the red one")
    first.close()
    path = kept.folder / FILE
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"op": "ask", "keep"')
    again = store(tmp_path, clock)
    kept = again.find("anna", kept.id)
    assert len(again.session(kept).rounds) == 1
    ask(again, kept, "the green one")
    again.close()
    assert [json.loads(line).get("op") for line in path.read_bytes().splitlines()] == [None, "ask", "ask"]


def test_what_a_kill_left_half_made_is_removed_and_what_cannot_be_read_is_left(tmp_path, clock):
    half, odd = "A" * 22, "B" * 22
    (tmp_path / half).mkdir()
    (tmp_path / half / "picture").write_bytes(b"x")
    (tmp_path / odd).mkdir()
    (tmp_path / odd / FILE).write_text("not ours\n")
    (tmp_path / "notes.txt").write_text("somebody's")
    made = store(tmp_path, clock)
    assert not (tmp_path / half).exists() and (tmp_path / odd / FILE).exists()
    assert made.unreadable == [odd] and len(made) == 0 and (tmp_path / "notes.txt").exists()


@pytest.mark.parametrize(
    "row",
    [
        "{}",
        '{"op": 5}',
        '{"op": "undo"}',
        '{"op": "ask", "keep": "x"}',
        '{"op": "ask", "keep": 0, "rounds": [5]}',
    ],
)
def test_a_journal_that_is_none_is_named_and_ends_no_server(tmp_path, clock, row):
    made = store(tmp_path, clock)
    kept = made.create("anna", "colours", picture(), "p")
    made.close()
    with (kept.folder / FILE).open("a") as file:
        file.write(row + "\n")
    again = store(tmp_path, clock)
    with pytest.raises(DataError, match=f"{FILE}: not the journal"):
        again.session(again.find("anna", kept.id))
    assert len(again.listed("anna")) == 1 and again.create("anna", "colours", picture(), "q").id


def test_owners_do_not_meet(tmp_path, clock):
    made = store(tmp_path, clock)
    kept = made.create("anna", "colours", picture(), "p")
    with pytest.raises(Refusal) as other:
        made.find("ben", kept.id)
    with pytest.raises(Refusal) as none:
        made.find("ben", "C" * 22)
    assert other.value.to_dict() == none.value.to_dict()
    assert made.listed("ben") == [] and made.listed("anna") == [kept]


def test_one_picture_is_looked_at_once_for_all_sessions_of_an_owner(tmp_path, clock):
    made = store(tmp_path, clock)
    one, two = (made.create("anna", "colours", picture(), "p") for _ in range(2))
    assert made.session(one).picture is made.session(two).picture
    assert made.model.opened == ["p"]
    other = made.create("ben", "colours", picture(), "p")
    assert made.session(other).picture is not made.session(one).picture


def test_memory_is_bounded_and_what_was_let_go_comes_back(tmp_path, clock):
    made = store(tmp_path, clock, memory_mb=1)
    kept = [made.create("anna", "colours", picture(n, scale=16), f"p{n}") for n in range(4)]  # 1.2 MB each
    assert made.awake() == 1 and kept[-1].session is not None
    ask(made, kept[0], "the red one")
    assert made.awake() == 1 and kept[0].session is not None


def test_what_a_session_takes_is_counted_as_it_grows(tmp_path, clock):
    made = store(tmp_path, clock)
    kept = made.create("anna", "colours", picture(), "p")
    ask(made, kept, "the red one")
    gc.collect()
    tracemalloc.start()
    try:
        before, said = tracemalloc.get_traced_memory()[0], kept.nbytes
        for number in range(150):
            ask(made, kept, f"the red one, once more: {number}")
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert grown / 2 < kept.nbytes - said < grown * 2


def test_sessions_that_grow_are_bounded_while_they_are_asked(tmp_path, clock):
    made = store(tmp_path, clock, memory_mb=1)
    first, second = (made.create("anna", "colours", picture(n), f"p{n}") for n in range(2))
    assert made.awake() == 2
    session = made.session(first)
    for number in range(3):
        session.add(Mask.full(session.picture.size), name=str(number) * 200_000)
        made.commit(first, session, "new")
    assert made.awake() == 1 and second.session is None
    assert len(made.session(second).rounds) == 0  # it comes back, in place of the other
    assert first.session is None and len(made.session(first).rounds) == 3


def test_old_sessions_are_removed_used_ones_stay(tmp_path, clock):
    made = store(tmp_path, clock, keep_days=1)
    old, used = (made.create("anna", "colours", picture(n), "p") for n in range(2))
    clock.now += 0.9 * 86_400
    made.find("anna", used.id)
    clock.now += 0.2 * 86_400
    assert made.sweep() == [old.id]
    assert not old.folder.exists() and used.folder.exists()
    made.close()
    os.utime(used.folder / FILE, (clock.now - 3 * 86_400,) * 2)
    assert store(tmp_path, clock, keep_days=1).sweep() == [used.id]


def test_a_fork_goes_its_own_way(tmp_path, clock):
    made = store(tmp_path, clock)
    kept = made.create("anna", "colours", picture(), "p")
    for text in ("the red one", "the green one"):
        ask(made, kept, text)
    fork = made.fork(kept, "colours", rounds=1)
    ask(made, fork, "the blue one")
    assert [r.text for r in made.session(fork).rounds] == ["the red one", "the blue one"]
    assert [r.text for r in made.session(kept).rounds] == ["the red one", "the green one"]
    assert made.journal(fork).head["parent"] == kept.id


def test_only_so_many_sessions_are_kept(tmp_path, clock):
    made = store(tmp_path, clock, sessions=1)
    made.create("anna", "colours", picture(), "p")
    with pytest.raises(Refusal, match="keeps 1 sessions"):
        made.create("anna", "colours", picture(), "p")
