"""`askmask eval`: scores belong to the weights that were asked."""

import json
import shutil

import pytest

from askmask.formats import own
from tests.evaluation.colour_model import make_dataset


def test_another_checkpoint_of_the_same_name_does_not_get_the_firsts_scores(askmask, tiny_folder, tmp_path):
    own.write_examples(make_dataset(tmp_path / "data", 1), tmp_path / "data" / "examples.jsonl")
    other = shutil.copytree(tiny_folder, tmp_path / "other")
    weights = bytearray((other / "adapter.safetensors").read_bytes())
    weights[-1] ^= 1
    (other / "adapter.safetensors").write_bytes(weights)
    call = ["data", "-o", "out", "--device", "cpu", "--json"]
    first = askmask("eval", tiny_folder, *call)
    assert first.code == 0, first.err
    ran = askmask("eval", other, *call)
    assert ran.code == 2 and "another weights" in ran.err and not ran.out
    again = askmask("eval", tiny_folder, *call)
    assert json.loads(again.out) == json.loads(first.out)
    assert "nothing was left to ask; before: " in again.err and "nothing was left" not in first.err
    said = json.loads((tmp_path / "out" / "askmask-run.json").read_text())
    assert said["made_by"] == "askmask eval" and "scores.json" in said["files"]


def test_names_that_are_no_text_end_no_eval(askmask, tiny_folder, tmp_path):
    from dataclasses import replace

    (example, *_) = make_dataset(tmp_path / "data", 1)
    own.write_examples([replace(example, id="caf\udce9")], tmp_path / "data" / "examples.jsonl")
    ran = askmask("eval", tiny_folder, "data", "-o", "out", "--device", "cpu", "--report")
    assert ran.code == 0, ran.err
    assert "caf\\udce9" in (tmp_path / "out" / "report" / "counts.jsonl").read_text()


def test_a_bad_item_of_the_set_does_not_end_the_rest_and_is_told_with_the_scores(
    askmask, tiny_folder, tmp_path
):
    own.write_examples(make_dataset(tmp_path / "data", 1), tmp_path / "data" / "examples.jsonl")
    with (tmp_path / "data" / "examples.jsonl").open("a") as file:
        file.write('{"schema": 2, "id": "bad", "image": "0.png", "rounds": 5}\n')
    ran = askmask("eval", tiny_folder, "data", "-o", "out", "--device", "cpu")
    assert ran.code == 0, ran.err
    (note,) = (n for n in json.loads((tmp_path / "out/scores.json").read_text())["notes"] if "left out" in n)
    assert "1 x items left out" in note and "examples.jsonl, line" in note and note[:40] in ran.out
    stats = tmp_path / "out/stats-00000-of-00001.jsonl"
    stats.write_bytes(stats.read_bytes()[:-5])  # cut off by a kill
    assert askmask("eval", tiny_folder, "data", "-o", "out", "--device", "cpu").code == 0
    stats.write_text("{}\n")
    ran = askmask("eval", tiny_folder, "data", "-o", "out", "--device", "cpu")
    assert ran.code == 2 and f"{stats.name}: no statistics" in ran.err


def test_a_set_of_which_nothing_can_be_answered_ends_with_1_and_its_names_steer_nothing(
    askmask, tiny_folder, tmp_path
):
    from dataclasses import replace

    name = "data[/b]{x}"  # markup and braces in a path
    examples = make_dataset(tmp_path / name, 1)
    odd = [replace(e, id=f"\x1b]0;t\x07\x9b31m{n}", image="gone.png") for n, e in enumerate(examples)]
    own.write_examples(odd, tmp_path / name / "examples.jsonl")
    ran = askmask("eval", tiny_folder, f"own:{name}", "-o", f"out of {name}", "--device", "cpu")
    assert ran.code == 1 and "no such picture" in ran.err, ran.err
    assert "\\x1b]0;t\\x07\\x9b31m" in ran.err and not set("\x1b\x9b\x07") & set(ran.err + ran.out)


@pytest.mark.parametrize("shard", ["²/3", "1/³", "1/0", "-1/2", "1/", "9" * 5000 + "/2"])
def test_a_shard_that_is_none_is_one_clear_line(askmask, tmp_path, shard):
    (tmp_path / "none.jsonl").write_text("")
    ran = askmask("eval", "mini", "none.jsonl", "--shard", shard)
    assert ran.code == 2 and "unexpected" not in ran.err and "--shard must be I/N" in ran.err
