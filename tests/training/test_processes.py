"""Two processes train one network (gloo on the processor, as nccl would on two GPUs)."""

import json
import socket

import pytest
import torch

from askmask.training.run_folder import RunFolder
from askmask.training.stream import ShardStream
from tests import warm
from tests.training.discs import write_discs


def launch(run, data, processes, steps):
    settings = {"data.train": data, "run": run, "steps": steps, "sizes": 32, "until": 1, "batches": 4}
    settings |= {"log_every": 1, "save_every": 2, "shards_per_round": 1, "threads": 1}
    together(processes, "train", "mini_perception", *(f"{k}={v}" for k, v in settings.items()))


def together(processes, *words, **more):
    """Run the same in each of several processes, with what `torchrun` would tell them of each other."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": str(processes)}
    begun = [
        warm.start(
            *words, env=shared | {"RANK": str(n), "LOCAL_RANK": str(n)} if processes > 1 else {}, **more
        )
        for n in range(processes)
    ]
    said = [process.communicate()[1] for process in begun]
    assert not any(process.returncode for process in begun), "\n".join(said)[-3000:]


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
def test_two_processes_share_gradients():
    together(2, code=GRADIENTS)


@pytest.mark.slow
def test_two_processes_log_once_and_go_on(tmp_path):
    for index in range(2):
        write_discs(tmp_path / "discs", scenes=10, seed=index, size=32, index=index)
    launch(tmp_path / "run", tmp_path / "discs", 2, 4)
    logged = rows(tmp_path / "run")
    assert [row["step"] for row in logged] == [1, 2, 3, 4]  # one process writes
    launch(tmp_path / "alone", tmp_path / "discs", 1, 1)
    one, two = (RunFolder(tmp_path / name).load()["model"] for name in ("alone", "run"))
    assert set(one) == set(two)  # no wrapper's prefix in the names: a run may go on with fewer processes
    launch(tmp_path / "run", tmp_path / "discs", 2, 6)
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
