"""What lies in results/ came of the command that it names, and the pages say what it says."""

import json
import re
import shlex
import sys

import pytest

from tests.conftest import ROOT

# Begins a claim on the page -> its section in claims.md, the arm without what is claimed, the column that decides
CLAIMS = {
    "Literal phase first": ("curriculum", "conversational only", 4),
    "Mixing keeps literal skill": ("curriculum", "curriculum, no mix", 5),
    "The prompt encoder must see": ("blind", "words alone", 4),
    "LoRA suffices": ("adaptation", "frozen", 4),
    "The dense prompt helps": ("dense", "sparse tokens alone", 4),
}
SAID = {"lower": "yes", "higher": "no", "not told apart": "not told apart"}


@pytest.mark.parametrize("claim", CLAIMS)
def test_a_claim_is_said_by_one_rule(claim):
    section, arm, column = CLAIMS[claim]
    table = (ROOT / "results/claims/claims.md").read_text().split(f"## {section}\n")[1].split("\n## ")[0]
    (row,) = [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith(f"| {arm} |")]
    found = row[column].rsplit(", ", 1)[1].strip("* |")
    page = (ROOT / "docs/training.md").read_text()
    (said,) = re.findall(rf"^\| {claim}[^|]*\| \*\*([^*]+)\*\*", page, re.M)
    assert said == SAID[found]


def test_sessions_came_of_their_command(monkeypatch):
    pytest.importorskip("torch", reason="as the benchmark does")
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    monkeypatch.delitem(sys.modules, "session", raising=False)
    from session import arguments

    found = json.loads((ROOT / "results/session.json").read_text())
    python, script, *words = shlex.split(found["command"])
    given = arguments().parse_args(words)
    assert (python, script, given.out.as_posix()) == (
        "python",
        "benchmarks/session.py",
        "results/session.json",
    )
    assert (found["model"], found["picture"]) == (given.model, given.picture.as_posix())
    assert (ROOT / found["picture"]).is_file() and f", {given.threads} thread(s)" in found["machine"]
