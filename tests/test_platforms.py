"""Systems that this suite does not run on, played: what macOS and Windows lack must not be needed."""

import os
import sys

import pytest
import torch

from askmask import doctor
from askmask.evaluation.predict import statistics
from askmask.training.memory import check_memory


def without_sysconf(monkeypatch, system):
    if system == "win32":
        monkeypatch.delattr(os, "sysconf")
        return

    def sysconf(name):
        if name == "SC_AVPHYS_PAGES":
            raise ValueError("unrecognized configuration name")
        return {"SC_PAGE_SIZE": 16384, "SC_PHYS_PAGES": 1 << 20}[name]

    monkeypatch.setattr(os, "sysconf", sysconf)


@pytest.mark.parametrize("system", ["darwin", "win32"])
def test_training_begins_where_the_system_does_not_say_how_much_memory_is_free(monkeypatch, system):
    without_sysconf(monkeypatch, system)
    facts = check_memory(torch.nn.Linear(4, 4))
    assert facts["free"] is None and facts["weights"] == 20 * 4


@pytest.mark.parametrize(("system", "said"), [("darwin", "16 GB memory"), ("win32", "threads")])
def test_doctor_tells_what_the_system_tells(monkeypatch, system, said):
    without_sysconf(monkeypatch, system)
    processor = next(iter(doctor._devices()))
    assert processor.ok and processor.found.endswith(said)


def test_statistics_of_a_run_leave_out_what_windows_does_not_measure(monkeypatch):
    monkeypatch.setitem(sys.modules, "resource", None)
    assert "memory_mb" not in statistics(3, 1.5)


def test_the_peak_of_memory_is_in_bytes_on_macos(monkeypatch):
    here = statistics(3, 1.5)["memory_mb"]
    monkeypatch.setattr(sys, "platform", "darwin")
    assert statistics(3, 1.5)["memory_mb"] == pytest.approx(here / 1024, rel=0.1, abs=0.1)
