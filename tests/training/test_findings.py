"""The benchmark of the papers' findings: its arms on real tiny runs, its verdicts on numbers worked out by hand."""

import importlib
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from askmask.loading import find_checkpoint
from tests.training.discs import write_discs

ROOT = Path(__file__).parents[2]


def benchmark(name):
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.pop(0)


@pytest.fixture(scope="module")
def findings():
    return benchmark("findings")


def options(tmp_path, **more):
    data, work = str(tmp_path / "data"), str(tmp_path / "work")
    few = {"steps": 1, "views": 2, "prompts": 1, "lr": 1e-3, "shards": 1, "scenes": 2, "sight": None, **more}
    before = str(find_checkpoint("mini"))
    return SimpleNamespace(before=before, train=data, val=data, out=str(tmp_path / "out"), work=work, **few)


def test_arms_are_trained_scored_kept_and_compared(findings, tmp_path, capsys):
    write_discs(tmp_path / "data", scenes=3, seed=0, size=64)
    lab = findings.Lab(options(tmp_path))
    for name in ("both", "none", "start"):
        lab.arm(name, 0)
    rows = {path.stem: json.loads(path.read_text()) for path in (tmp_path / "out").glob("*.json")}
    assert rows.keys() == {"both-0", "none-0", "start-any"}
    own = rows["both-0"]["scores"]["own"]
    assert {name.split("/")[0] for name in own} == {"0", "1"}
    for way in findings.ARMS["both"].ways:
        found = rows["both-0"]["scores"][way]
        assert found["0/round_1"] == own["0/round_1"], "what comes first has nothing before it"
        assert all(0 <= total <= count for total, count in found.values())
    made = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    lab.arm("none", 0)
    assert {path: path.stat().st_mtime_ns for path in made} == made, "a finished arm is kept"
    with pytest.raises(SystemExit, match="other settings"):
        findings.Lab(SimpleNamespace(**{**vars(lab.options), "steps": 2})).arm("none", 0)
    findings.table(tmp_path / "out")
    text = (tmp_path / "out" / "findings.md").read_text()
    assert "| both, own | 1 |" in text and "| start, own | - |" in text
    assert (
        "masks are missed" in text and "undecided" in text and "reproduces** |" not in text
    )  # from one seed


def runs(*values):
    """One run a seed, of the scores of its scenes."""
    return [
        {"seed": seed, "scores": {f"{scene}/x": [score * 4, 4] for scene, score in enumerate(scores)}}
        for seed, scores in enumerate(values)
    ]


def test_a_finding_is_decided_by_seeds_and_scenes_both(findings):
    low, high = runs([0.1, 0.2], [0.1, 0.22], [0.1, 0.18]), runs([0.5, 0.6], [0.5, 0.61], [0.5, 0.59])
    mean, seeds, scenes, count = findings.difference(high, low, "x")
    assert mean == pytest.approx(0.4) and count == 3
    assert seeds[1] - mean == pytest.approx(4.303 * 0.005 / 3**0.5)  # differences .4, .395, .405
    assert scenes == pytest.approx((0.4, 0.4))
    assert findings.verdict(seeds, scenes, True) == "**reproduces**"
    assert findings.verdict(seeds, scenes, False) == "**does not**"
    assert findings.verdict(seeds, scenes, False, paper=False) == "**does not hold**"
    _, seeds, scenes, _ = findings.difference(low, high, "x")
    assert findings.verdict(seeds, scenes, False) == "**reproduces**"
    _, seeds, scenes, _ = findings.difference(
        runs([0.5, 0.5], [0.3, 0.3], [0.1, 0.1]), runs(*[[0.2, 0.2]] * 3), "x"
    )
    assert scenes[0] > 0 and findings.verdict(seeds, scenes, True) == "undecided", "seeds do not agree"
    _, seeds, scenes, _ = findings.difference(runs(*[[0.9, 0.1]] * 3), runs(*[[0.2, 0.2]] * 3), "x")
    assert seeds[0] > 0 and findings.verdict(seeds, scenes, True) == "undecided", "scenes do not agree"
    _, seeds, scenes, _ = findings.difference(runs([0.9, 0.9]), runs([0.2, 0.2]), "x")
    assert seeds == (None, None) and findings.verdict(seeds, scenes, True) == "undecided", (
        "one seed tells nothing"
    )


def test_what_is_not_trained_is_compared_with_every_seed(findings):
    start = [{**runs([0.2, 0.2])[0], "seed": findings.ANY}]
    mean, _, scenes, count = findings.difference(runs([0.5, 0.4], [0.6, 0.5]), start, "x")
    assert mean == pytest.approx(0.3) and count == 2 and scenes == pytest.approx((0.25, 0.35), abs=0.01)


def test_of_unfinished_seeds_only_pairs_are_compared(findings):
    mean, _, scenes, count = findings.difference(runs([0.5, 0.5], [0.9, 0.9]), runs([0.4, 0.4]), "x")
    assert mean == pytest.approx(0.1) and count == 1 and scenes == pytest.approx((0.1, 0.1))


def test_each_finding_names_the_arms_it_needs(findings):
    for name, (_, claims) in findings.FINDINGS.items():
        for claim in claims:
            for arm, way in (claim.ours, claim.other):
                assert way in findings.ARMS[arm].ways and arm in findings.needed(name)
    assert findings.needed("all") == list(findings.ARMS)


@pytest.mark.slow  # two networks of four parts are made and asked 56 times
def test_tiny_networks_are_trained_scored_and_compared(tmp_path, monkeypatch):
    from askmask.model.talk import saying

    monkeypatch.setattr(saying, "LONGEST_REPLY", 8)  # in one step it does not learn when to stop
    tiny = benchmark("talk_findings")
    lab = tiny.Lab(tmp_path / "out", tmp_path / "work", (1, 1))
    for name in ("attention", "after stage 1", "stage 2 alone"):
        lab.arm(name, 0)
    rows = {path.stem: json.loads(path.read_text()) for path in (tmp_path / "out").glob("*.json")}
    assert len(rows["attention-0"]["scores"]) == 8 * 2  # pictures, each with its IoU and its replies
    assert rows["attention-0"]["scores"]["3/iou"][1] == 4, "squares of a picture"
    assert (
        rows["after_stage_1-0"]["scores"]["3/iou"][1] == 1
        and rows["after_stage_1-0"]["scores"]["3/exact"][1] == 3
    )
    tiny.table(tmp_path / "out")
    text = (tmp_path / "out" / "findings.md").read_text()
    assert "| the first stage helps: after stage 1 - stage 2 alone |" in text and "mean |" not in text
