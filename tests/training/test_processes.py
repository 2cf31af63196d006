"""Two processes train one network (gloo on the processor, as nccl would on two GPUs)."""

import json
import subprocess
import sys

import pytest
import torch

from askmask.training.run_folder import RunFolder
from askmask.training.stream import ShardStream
from tests.training.discs import write_discs


def launch(run, data, processes, steps):
    settings = {"data.train": data, "run": run, "steps": steps, "sizes": 32, "until": 1, "batches": 4}
    settings |= {"log_every": 1, "save_every": 2, "shards_per_round": 1, "threads": 1}
    words = ["-m", "askmask", "train", "mini_perception", *(f"{k}={v}" for k, v in settings.items())]
    if processes > 1:
        words = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}", *words]
    return subprocess.run([sys.executable, *words], capture_output=True, text=True, timeout=300)


def rows(run):
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


GRADIENTS = """
import sys, torch
from torch import nn
from askmask.training.devices import Devices, rank

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.used, self.unused = (nn.Parameter(torch.zeros(1)) for _ in range(2))

    def forward(self, scale):
        return (self.used * scale).sum()

devices, net = Devices.here(cpu=True), Net()
wrapped, _ = devices.prepare(net, torch.optim.SGD(net.parameters(), lr=1))
for step in range(3):  # a parameter without a gradient must not stop the second step
    net.zero_grad()
    devices.backward(wrapped(torch.tensor([1.0 + 2 * rank()])))
    assert net.used.grad.item() == 2.0, net.used.grad  # the mean of 1 and 3
"""


@pytest.mark.slow
def test_two_processes_share_gradients(tmp_path):
    script = tmp_path / "gradients.py"
    script.write_text(GRADIENTS)
    words = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", str(script)]
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.slow
def test_two_processes_log_once_and_go_on(tmp_path):
    for index in range(2):
        write_discs(tmp_path / "discs", scenes=10, seed=index, size=32, index=index)
    first = launch(tmp_path / "run", tmp_path / "discs", 2, 4)
    assert first.returncode == 0, first.stderr[-3000:]
    logged = rows(tmp_path / "run")
    assert [row["step"] for row in logged] == [1, 2, 3, 4]  # one process writes
    alone = launch(tmp_path / "alone", tmp_path / "discs", 1, 1)
    assert alone.returncode == 0, alone.stderr[-3000:]
    one, two = (RunFolder(tmp_path / name).load()["model"] for name in ("alone", "run"))
    assert set(one) == set(two)  # no wrapper's prefix in the names: a run may go on with fewer processes
    more = launch(tmp_path / "run", tmp_path / "discs", 2, 6)
    assert more.returncode == 0, more.stderr[-3000:]
    assert [row["step"] for row in rows(tmp_path / "run")] == [1, 2, 3, 4, 5, 6]
    assert all(torch.isfinite(value).all() for value in RunFolder(tmp_path / "run").load()["model"].values())


def test_processes_share_what_one_alone_would_see(tmp_path, monkeypatch):
    write_discs(tmp_path, scenes=9, seed=0, size=32)

    def served(rank, processes, batch, times):
        monkeypatch.setenv("RANK", str(rank))
        monkeypatch.setenv("WORLD_SIZE", str(processes))
        stream = ShardStream([tmp_path], seed=3)
        rows = [ref.row for _ in range(times) for ref in stream.next(batch)]
        return rows, stream.state_dict()

    whole, position = served(0, 1, 4, 2)
    (first, mine), (second, other) = (served(rank, 2, 2, 2) for rank in range(2))
    assert sorted(first + second) == sorted(whole) and not set(first) & set(second)
    assert mine == other == position  # one checkpoint serves both
    last, short = (served(rank, 2, 2, 3)[0][4:] for rank in range(2))  # one view is left for two
    assert last == short and len(last) == 1
