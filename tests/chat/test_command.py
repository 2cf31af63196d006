"""`askmask chat` as a process: piped, scripted, killed and resumed."""

import json
import os
import signal

import pytest

from tests import warm
from tests.conftest import ROOT

PICTURE = ROOT / "examples" / "table.png"


def start(out, *more):
    return warm.start("chat", PICTURE, "--out", out, "--device", "cpu", *more)


def rounds(out):
    return [(r["id"], r["prompt"]) for r in json.loads((out / "conversation.json").read_text())["rounds"]]


@pytest.mark.slow  # processes load a network
def test_killed_while_it_waits_nothing_is_lost(tmp_path):
    out = tmp_path / "talk"
    child = start(out)
    child.stdin.write("the boxes\n:rename m2 jug\n")
    child.stdin.flush()
    said = [child.stdout.readline()]
    while "m2 jug" not in said[-1]:
        said.append(child.stdout.readline())
        assert said[-1], child.stderr.read()
    child.stdin.write("all of them except jug\n")
    child.stdin.flush()
    while f"{out}/r2.png" not in said[-1]:
        said.append(child.stdout.readline())
        assert said[-1], child.stderr.read()
    child.stdin.write(":show\n")  # a round is on disk before what follows is done
    child.stdin.flush()
    while "r1  the boxes" not in said[-1]:
        said.append(child.stdout.readline())
        assert said[-1], child.stderr.read()
    os.kill(child.pid, signal.SIGKILL)
    child.communicate()
    assert [name for name, _ in rounds(out)] == ["r1", "r2"]
    again = start(out)
    assert "Add --resume" in again.communicate("its lid\n")[1] and again.returncode == 2
    on = start(out, "--resume")
    told, _ = on.communicate("m1 and jug together\n:undo\n:nothing\n")
    assert on.returncode == 1 and "about m1 (by id, 1.00), m2 (by name, 0.95)" in told
    assert [name for name, _ in rounds(out)] == ["r1", "r2"]


@pytest.mark.slow
def test_a_killed_script_goes_on_where_it_was(tmp_path):
    out, script = tmp_path / "talk", tmp_path / "lines.jsonl"
    asked = [
        "the boxes",
        *("m1 and m2 together", "m2 without m1", "m1 and m2 together"),
        "the red one of those",
    ]
    script.write_text("\n".join(map(json.dumps, asked)))
    child = start(out, "--script", script)
    while f"{out}/r2.png" not in (line := child.stdout.readline()):
        assert line, child.stderr.read()
    os.kill(child.pid, signal.SIGKILL)
    child.communicate()
    before = rounds(out)
    assert 1 <= len(before) <= 5
    on = start(out, "--script", script, "--resume")
    _, errors = on.communicate()
    assert on.returncode == 0, errors
    assert f"{len(before)} of 5 lines were done before" in errors
    assert [r if isinstance(r, str) else r["text"] for _, r in rounds(out)] == asked
