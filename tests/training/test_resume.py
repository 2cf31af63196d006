"""A run killed with SIGKILL and started again logs the same losses, bit for bit, as one left alone."""

import json
import os
import signal

import pytest
import torch

from askmask.errors import CheckpointError, SettingError
from askmask.training.run_folder import RunFolder
from tests import warm
from tests.training.discs import write_discs

STEPS = 8


def command(folder, data):
    settings = [f"data.train={data}", f"run={folder}", f"steps={STEPS}", "sizes=32", "until=1", "batches=4"]
    settings += ["log_every=2", "save_every=3", "evaluate_every=100", "shards_per_round=1", "threads=1"]
    return ["train", "mini_perception", *settings]


def trained(folder, data, *more):
    done = warm.run(*command(folder, data), *more)
    assert done.returncode == 0, done.stderr[-3000:]


def rows(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


@pytest.mark.slow
def test_killed_run_goes_on_bit_for_bit(tmp_path):
    data = tmp_path / "discs"
    for index in range(2):  # more than a round: the position must outlive a change of shards
        write_discs(data, scenes=10, seed=index, size=32, index=index)
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    trained(whole, data)
    process = warm.start(*command(broken, data))
    warm.until(RunFolder(broken).checkpoints, process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    steps_before = torch.load(RunFolder(broken).checkpoints()[-1], weights_only=True)["step"]
    assert steps_before < STEPS, "the run was over before it could be killed"
    trained(broken, data)
    assert rows(broken) == rows(whole)
    first, second = (RunFolder(folder).load() for folder in (whole, broken))
    assert all(torch.equal(first["model"][name], second["model"][name]) for name in first["model"])


@pytest.mark.slow
def test_killed_before_its_first_checkpoint_it_logs_every_step_once(tmp_path):
    data = tmp_path / "discs"
    write_discs(data, scenes=6, seed=0, size=32)
    log = tmp_path / "run" / "log.jsonl"
    process = warm.start(*command(tmp_path / "run", data), "save_every=100")
    warm.until(lambda: log.exists() and log.read_bytes().count(b"\n") >= 2, process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert rows(tmp_path / "run") and not RunFolder(tmp_path / "run").checkpoints()
    trained(tmp_path / "run", data, "save_every=100")
    assert [row["step"] for row in rows(tmp_path / "run")] == [2, 4, 6, 8]


def test_a_checkpoint_that_is_not_finite_is_not_written(tmp_path):
    folder = RunFolder(tmp_path)
    broken = {"step": 4, "model": {"layer.weight": torch.tensor([1.0, float("nan")])}}
    with pytest.raises(CheckpointError, match=r"layer\.weight.*There is no checkpoint yet"):
        folder.save(4, broken)
    folder.save(3, {"step": 3, "model": {"layer.weight": torch.ones(2)}})
    with pytest.raises(CheckpointError, match=r"not finite.*newest checkpoint is step-00000003\.pt"):
        folder.save(4, broken)
    assert [path.name for path in folder.checkpoints()] == ["step-00000003.pt"]


@pytest.mark.skipif(os.name == "nt", reason="limits of POSIX")
def test_a_full_disk_names_the_checkpoint_and_leaves_the_one_before(tmp_path):
    """The system refuses to write beyond a size, as it does when the disk is full."""
    code = (
        "import resource, signal, torch; from askmask.training.run_folder import RunFolder\n"
        f"folder = RunFolder({str(tmp_path)!r}); folder.save(1, {{'step': 1}})\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (100_000,) * 2)\n"
        "folder.save(2, {'step': 2, 'model': {'a': torch.zeros(100_000)}})"
    )
    done = warm.run(code=code)
    assert "WriteError: no space left to write" in done.stderr and "step-00000002.pt" in done.stderr
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-00000001.pt"]


def test_a_folder_of_others_is_not_trained_in(tmp_path):
    (tmp_path / "log.jsonl").write_text("the user's")
    with (
        pytest.raises(SettingError, match="neither empty nor made by"),
        RunFolder(tmp_path).held({"stage": "perception"}),
    ):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["log.jsonl"]


def test_a_run_from_before_the_manifest_goes_on(tmp_path):
    folder = RunFolder(tmp_path)
    folder.write_config({})
    folder.save(3, {"step": 3})
    (tmp_path / ".lock").touch()
    with folder.held({"stage": "perception"}):
        assert folder.load()["step"] == 3
    with pytest.raises(SettingError, match="another stage"), RunFolder(tmp_path).held({"stage": "selection"}):
        pass


def test_looking_at_a_run_that_is_not_there_makes_no_folder(tmp_path):
    assert RunFolder(tmp_path / "nowhere").load() is None
    assert not (tmp_path / "nowhere").exists()


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
    (tmp_path / "checkpoints" / ".askmask-00.tmp").write_bytes(b"cut off")
    (tmp_path / "checkpoints" / "step-best.pt").write_bytes(b"the user's")
    assert [path.name for path in folder.checkpoints()] == ["step-00000003.pt", "step-00000010.pt"]
    assert folder.load()["step"] == 10 and (tmp_path / "checkpoints" / "step-best.pt").exists()


def test_a_second_process_in_the_same_run_folder_is_refused(tmp_path):
    data = tmp_path / "discs"
    write_discs(data, scenes=6, seed=0, size=32)
    run = tmp_path / "run"
    with RunFolder(run).held():
        RunFolder(run).write_config({"recipe": "of the first"})
        before = sorted((path.name, path.read_bytes()) for path in run.iterdir() if path.is_file())
        refused = warm.run(*command(run, data))
        after = sorted((path.name, path.read_bytes()) for path in run.iterdir() if path.is_file())
    assert refused.returncode != 0
    assert "another run is writing to" in refused.stderr and "run=" in refused.stderr
    assert after == before and not RunFolder(run).checkpoints()
    trained(run, data)


def test_an_error_during_training_is_not_taken_for_a_second_process(tmp_path):
    from filelock import Timeout

    with pytest.raises(Timeout), RunFolder(tmp_path).held():
        raise Timeout("another file")
    with RunFolder(tmp_path).held():
        pass
