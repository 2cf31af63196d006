"""`askmask probe`, and `askmask eval` of conversations, on a real network."""

import json

import numpy as np
import pytest

from askmask.evaluation.probes import PROBES
from askmask.formats import own
from tests.evaluation.referring import make_talks


@pytest.mark.slow  # loads a network
def test_the_commands_on_a_real_network(askmask, tiny_folder, tmp_path):
    talks = make_talks(tmp_path / "data", 2)
    own.write_examples(talks, tmp_path / "data" / "examples.jsonl")
    for kind in PROBES:
        ran = askmask(
            "probe", kind, tiny_folder, "data", "-o", f"p-{kind}", "--device", "cpu", "--limit", 2, "--json"
        )
        assert ran.code == 0, ran.err
        data = json.loads(ran.out)
        assert all(np.isfinite(data["all"][name]).all() for name in data.get("all", {}) if name not in ("n",))
    for way in ("mask", "caption", "transcript"):
        call = [
            "data",
            "-o",
            f"e-{way}",
            "--device",
            "cpu",
            "--json",
            "--reference",
            "pred",
            "--rewrite",
            way,
        ]
        ran = askmask("eval", tiny_folder, *call)
        assert ran.code == 0, ran.err
        scores = json.loads(ran.out)
        assert scores["rounds"]["common"]["4"]["n"] == 2 and scores["mode"] == "generation"
    ran = askmask("eval", tiny_folder, "data", "-o", "e-gt", "--device", "cpu", "--reference", "gt")
    assert ran.code == 0 and "Teacher-forced" in ran.out and "after a right and a wrong round 1" in ran.out
    assert json.loads((tmp_path / "e-gt" / "askmask-run.json").read_text())["facts"]["mode"].startswith(
        "teacher"
    )
