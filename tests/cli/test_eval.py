"""`askmask eval`: scores belong to the weights that were asked."""

import json
import shutil

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
    said = json.loads((tmp_path / "out" / "askmask-run.json").read_text())
    assert said["made_by"] == "askmask eval" and "scores.json" in said["files"]


def test_names_that_are_no_text_end_no_eval(askmask, tiny_folder, tmp_path):
    from dataclasses import replace

    (example, *_) = make_dataset(tmp_path / "data", 1)
    own.write_examples([replace(example, id="caf\udce9")], tmp_path / "data" / "examples.jsonl")
    ran = askmask("eval", tiny_folder, "data", "-o", "out", "--device", "cpu", "--report")
    assert ran.code == 0, ran.err
    assert "caf\\udce9" in (tmp_path / "out" / "report" / "counts.jsonl").read_text()
