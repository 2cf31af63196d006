"""`askmask world make`: resumable, equal bytes after a kill, refuses to mix, clear errors."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from askmask.errors import DataError, SettingError
from askmask.formats import dense, own
from askmask.runs.manifest import MANIFEST
from askmask.world import engine
from askmask.world.generate import Plan, make, reask
from askmask.world.record import Asking, record

COMMAND = [sys.executable, "-c", "from askmask.cli import main; main()", "world", "make"]


def digest(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != MANIFEST  # which tells the commit too
    }


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("whole")
    make(Plan(split="train", count=4, sizes=(64,), dense=True, per_shard=1, prompts=6), out)
    return out


@pytest.mark.slow
def test_a_killed_run_resumes_to_the_same_bytes_with_other_workers(whole, tmp_path):
    options = [
        "--count",
        "4",
        "--size",
        "64",
        "--dense",
        "--per-shard",
        "1",
        "--prompts",
        "6",
        "--out",
        str(tmp_path),
    ]
    process = subprocess.Popen([*COMMAND, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 600
    while not list(tmp_path.glob("*.npz")) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    finished = len(list(tmp_path.glob("*.npz")))
    assert 1 <= finished < 4, "the kill must come in the middle for this test to test anything"
    done = subprocess.run([*COMMAND, *options, "--workers", "2"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"{finished} found done" in done.stdout
    assert digest(tmp_path) == digest(whole)


def test_examples_are_joined_in_order_and_readable(tmp_path):
    plan = Plan(split="val", count=3, sizes=(64, 48), per_shard=1, prompts=5)
    outcome = make(plan, tmp_path)
    assert outcome.made == 3 and not outcome.failed
    examples = list(own.read_examples(tmp_path))
    assert [e.split for e in examples] == ["val"] * len(examples)
    assert len({e.id for e in examples}) == len(examples) >= 30
    seeds = [e.meta["seed"] for e in examples]
    assert seeds == sorted(seeds) and {e.size for e in examples} == {(64, 64), (48, 48)}
    assert all(Path(e.image).is_file() for e in examples)
    before = digest(tmp_path)
    again = make(plan, tmp_path)
    assert again.made == 0 and again.kept == 3 and digest(tmp_path) == before


def test_asking_anew_gives_the_same_bytes(whole, tmp_path):
    for path in whole.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    for path in dense.shards(tmp_path):
        reask(path, Asking(prompts=6))
    assert digest(tmp_path) == digest(whole)


def test_conversations_are_written_into_stored_shards_and_taken_out_again(whole, tmp_path):
    for path in whole.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    path, original = dense.shards(tmp_path)[0], dense.read_shard(dense.shards(whole)[0])
    reask(path, Asking(prompts=6, conversations=2, dialogues=2))
    for old, new in zip(original.scenes, dense.read_shard(path).scenes, strict=True):
        for was, seen in zip(old["views"], new["views"], strict=True):
            assert seen["prompts"] == was["prompts"]
            sets = [{round["set"] for round in talk} for talk in seen["dialogues"]]
            assert set().union(*sets) <= {"conversation", "dialogue"} and len(sets) >= 2
    made = record(original.scenes[0]["seed"], 64, Asking(prompts=6, conversations=2, dialogues=2))
    assert dense.read_shard(path).scenes[0] == made.facts
    reask(path, Asking(prompts=6))
    assert digest(tmp_path) == digest(whole)


@pytest.mark.parametrize("name", ["examples.jsonl", "dense.json", "shard-00000.npz"])
def test_a_folder_of_others_is_left_as_it_is(tmp_path, name):
    (tmp_path / name).write_text("precious")
    for dense_ in (name != "dense.json", False):
        with pytest.raises(SettingError, match="neither empty nor made by `askmask world make`"):
            make(Plan(split="train", count=1, sizes=(64,), dense=dense_), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "precious"


def test_a_folder_from_before_the_manifest_goes_on_with_its_own_settings(whole, tmp_path):
    for path in whole.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "askmask-run.json").unlink()
    plan = Plan(split="train", count=4, sizes=(64,), dense=True, per_shard=1, prompts=6)
    with pytest.raises(SettingError, match="another prompts"):
        make(replace(plan, prompts=7), tmp_path)
    assert make(plan, tmp_path).kept == 4


def test_a_folder_of_other_settings_is_refused(whole):
    with pytest.raises(SettingError, match=r"holds results of another prompts"):
        make(Plan(split="train", count=4, sizes=(64,), dense=True, per_shard=1, prompts=7), whole)


@pytest.mark.parametrize("wrong", [{"split": "exam"}, {"count": 0}, {"sizes": (8,)}, {"sizes": ()}])
def test_a_plan_that_cannot_be_is_refused(wrong):
    with pytest.raises(SettingError):
        Plan(**{"split": "train", "count": 1, **wrong})


def test_a_damaged_shard_is_named(whole, tmp_path):
    path = dense.shards(whole)[0]
    (tmp_path / path.name).write_bytes(path.read_bytes()[:500])
    (tmp_path / path.with_suffix(".jsonl").name).write_bytes(path.with_suffix(".jsonl").read_bytes())
    with pytest.raises(DataError, match=path.name):
        dense.read_shard(tmp_path / path.name)


@pytest.mark.parametrize(
    ("of_scene", "of_view"),
    [
        ({"objects": 5}, {}), ({"objects": [{"id": 300}]}, {}), ({"seed": None}, {}), ({"views": [{}]}, {}),
        ({}, {"camera": None}), ({}, {"size": "x"}), ({}, {"objects": 5}), ({}, {"prompts": [{"answer": None}]}),
    ],
)  # fmt: skip
def test_facts_of_a_stranger_are_refused_by_name_and_stay(tmp_path, of_scene, of_view):
    from tests.hostile.sets import SETS

    SETS["world"].write(tmp_path)
    path = tmp_path / "shard-00000.npz"
    facts = path.with_suffix(".jsonl")
    assert reask(path, Asking(prompts=2)) == 1
    scene = json.loads(facts.read_text())
    scene["views"][0] |= of_view
    facts.write_text(json.dumps(scene | of_scene) + "\n")
    before = facts.read_bytes()
    with pytest.raises(DataError, match=r"shard-00000"):
        reask(path, Asking(prompts=2))
    assert facts.read_bytes() == before


def test_without_a_way_to_draw_the_package_to_install_is_named(monkeypatch):
    monkeypatch.setattr(engine.ctypes.util, "find_library", lambda name: None)
    with pytest.raises(SettingError, match="libegl1 or libosmesa6"):
        engine._offscreen()
    monkeypatch.setattr(engine.ctypes.util, "find_library", lambda name: name == "OSMesa")
    assert engine._offscreen() == "osmesa"


@pytest.mark.parametrize("seed", [-1, 300_000_000, 10**20])
def test_a_seed_of_no_split_is_refused(seed):
    with pytest.raises(SettingError, match="no such seed"):
        record(seed, 48)
