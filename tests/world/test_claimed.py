"""Claims of replies to stored dialogues are held against the scenes that their seeds give."""

import json

import pytest

pytest.importorskip("mujoco")
from askmask.conversation import Example
from askmask.errors import DataError
from askmask.evaluation.truth import item_id
from askmask.formats.own import read_examples, write_examples
from askmask.world.generate import examples_of
from askmask.world.record import Asking, record
from askmask.world.talks.claimed import Grounds
from tests.cli.conftest import askmask  # noqa: F401


def test_true_replies_are_all_true_and_a_wrong_word_is_found(tmp_path, askmask):  # noqa: F811
    found = record(100_000_000, 64, Asking(prompts=1, dialogues=2), views=1)
    write_examples(examples_of(found), tmp_path / "examples.jsonl")
    talks = [e for e in read_examples(tmp_path) if len(e.rounds) > 1]
    said = {item_id(e, k): round.reply for e in talks for k, round in enumerate(e.rounds)}

    def precision():
        rows = [{"id": name, "masks": [], "text": text} for name, text in said.items()]
        (tmp_path / "said.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        ran = askmask("world", "claims", "said.jsonl", "--gt", tmp_path, "--json")
        assert ran.code == 0, ran.err
        return json.loads(ran.out)

    right = precision()
    assert right["precision"] == 1 and right["claims"] >= 4 and right["replies"] == len(said)
    first = next(iter(said))
    said[first] = "I see the purple teapot and the green candle."  # neither is there
    wrong = precision()
    assert wrong["precision"] < 1 and wrong["by_kind"]["thing"][0] < wrong["by_kind"]["thing"][1]
    with pytest.raises(DataError, match="no simulated scene"):
        Grounds().of(Example(id="photo", image="a.png", rounds=()))
