"""Run the command line inside this process, as a user would type it."""

import sys
from dataclasses import dataclass

import pytest

from askmask.cli import main


@dataclass
class Ran:
    code: int
    out: str
    err: str


@pytest.fixture
def askmask(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)

    def run(*arguments) -> Ran:
        monkeypatch.setattr(sys, "argv", ["askmask", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            main()
            raise SystemExit(0)
        said = capsys.readouterr()
        return Ran(int(stop.value.code or 0), said.out, said.err)

    return run
