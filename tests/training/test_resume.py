"""A run killed with SIGKILL and started again logs the same losses, bit for bit, as one left alone."""

import json
import signal
import subprocess
import sys
import time

import pytest
import torch

from askmask.errors import CheckpointError
from askmask.training.run_folder import RunFolder
from tests.training.discs import write_discs

STEPS = 9


def command(folder, data):
    settings = [f"data.train={data}", f"run={folder}", f"steps={STEPS}", "sizes=32", "until=1", "batches=4"]
    settings += ["log_every=2", "save_every=3", "evaluate_every=100", "shards_per_round=1", "threads=1"]
    code = "from askmask.cli import main; main()"
    return [sys.executable, "-c", code, "train", "mini_perception", *settings]


def rows(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


@pytest.mark.slow
def test_killed_run_goes_on_bit_for_bit(tmp_path):
    data = tmp_path / "discs"
    for index in range(2):  # more than a round: the position must outlive a change of shards
        write_discs(data, scenes=10, seed=index, size=32, index=index)
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    subprocess.run(command(whole, data), check=True, capture_output=True)
    process = subprocess.Popen(command(broken, data), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not RunFolder(broken).checkpoints() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    steps_before = torch.load(RunFolder(broken).checkpoints()[-1], weights_only=True)["step"]
    assert steps_before < STEPS, "the run was over before it could be killed"
    subprocess.run(command(broken, data), check=True, capture_output=True)
    assert rows(broken) == rows(whole)
    first, second = (RunFolder(folder).load() for folder in (whole, broken))
    assert all(torch.equal(first["model"][name], second["model"][name]) for name in first["model"])


def test_damaged_checkpoint_is_named(tmp_path):
    folder = RunFolder(tmp_path)
    folder.save(3, {"step": 3})
    path = folder.checkpoints()[-1]
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(CheckpointError, match="step-00000003"):
        folder.load()


def test_only_the_newest_checkpoints_are_kept_and_partial_ones_ignored(tmp_path):
    folder = RunFolder(tmp_path)
    for step in (1, 2, 3, 10):
        folder.save(step, {"step": step})
    (tmp_path / "checkpoints" / "step-00000011.partial").write_bytes(b"cut off")
    assert [path.name for path in folder.checkpoints()] == ["step-00000003.pt", "step-00000010.pt"]
    assert folder.load()["step"] == 10


def test_a_second_process_in_the_same_run_folder_is_refused(tmp_path):
    data = tmp_path / "discs"
    write_discs(data, scenes=6, seed=0, size=32)
    run = tmp_path / "run"
    RunFolder(run).write_config({"recipe": "of the first"})
    before = sorted((path.name, path.read_bytes()) for path in run.iterdir() if path.is_file())
    with RunFolder(run).held():
        refused = subprocess.run(command(run, data), capture_output=True, text=True)
    assert refused.returncode != 0
    assert "another process is training" in refused.stderr and "run=" in refused.stderr
    after = [
        (path.name, path.read_bytes()) for path in run.iterdir() if path.is_file() and path.name != ".lock"
    ]
    assert sorted(after) == before and not RunFolder(run).checkpoints()
    subprocess.run(command(run, data), check=True, capture_output=True)


def test_an_error_during_training_is_not_taken_for_a_second_process(tmp_path):
    from filelock import Timeout

    with pytest.raises(Timeout), RunFolder(tmp_path).held():
        raise Timeout("another file")
    with RunFolder(tmp_path).held():
        pass
