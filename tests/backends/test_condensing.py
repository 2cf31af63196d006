"""A language model condenses a conversation: what it is asked, what the back-end is asked, and that once."""

import json
import sqlite3

import pytest

pytest.importorskip("pydantic")
from askmask import Mask, Round
from askmask.backends.rewriting import RewritingBackend
from askmask.conversation import Prompt
from askmask.errors import SettingError


class Inner:
    name, protocol_name, fingerprint = "inner", "none", "f"


def test_the_conversation_becomes_one_phrase_and_is_asked_for_once(tmp_path):
    told = [
        {"person": "What could roll?", "assistant": "Two. (marked 1)"},
        {"person": "Not near the edge.", "assistant": "I see."},
    ]
    row = {
        "stage": "condense",
        "schema": "CondensedReply",
        "inputs": {"conversation": told, "last": "Mark it."},
    }
    recording = tmp_path / "said.jsonl"
    recording.write_text(json.dumps(row | {"reply": {"phrase": "the  ball far from the edge"}}) + "\n")
    backend = RewritingBackend(Inner(), f"condense={recording}")
    assert backend.name == "inner+condense=said.jsonl"
    rounds = (
        Round.of("What could roll?", [Mask.empty((4, 4))], reply="Two."),
        Round.of("Not near the edge.", reply="I see."),
    )
    prompt = Prompt(text="Mark it.", refers_to=("m1",))
    with backend.remembering(tmp_path / "calls.sqlite") as ledger:
        for _ in range(2):
            assert backend.written(prompt, rounds) == Prompt(text="the ball far from the edge")
        assert ledger.spent()[1] == 1
    with sqlite3.connect(tmp_path / "calls.sqlite") as db:
        assert db.execute("SELECT COUNT(*) FROM replies").fetchone()[0] == 1
    assert backend.written(Prompt(text="Mark it."), ()) == Prompt(text="Mark it.")  # nothing came before it


@pytest.mark.parametrize("how", ["condense", "condense=", "shorten"])
def test_a_way_that_is_none_is_refused(how):
    with pytest.raises(SettingError, match=r"condense=MODEL"):
        RewritingBackend(Inner(), how)
