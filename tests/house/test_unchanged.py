"""Pixels, masks and logits are those stored of the state before (of `mini`: until its weights of today)."""

import json
import subprocess
import sys

import pytest

from tests.conftest import ROOT


@pytest.mark.slow
def test_answers_are_those_of_the_state_before():
    pytest.importorskip("mujoco", reason="scenes are rendered afresh: needs the extra [world]")
    sys.path.insert(0, str(ROOT / "benchmarks"))
    from unchanged import STORED, machine_of

    if (stored := json.loads(STORED.read_text())["machine"]) != machine_of():
        pytest.skip(f"recorded on {stored}; this is {machine_of()}, where sums may end in other digits")
    done = subprocess.run(
        [sys.executable, "benchmarks/unchanged.py", "scenes", "tiny", "--quick"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
