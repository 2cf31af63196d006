"""Probes on a model whose dependence on references and order is known."""

import json

import pytest

from askmask import Example, Mask, Round
from askmask.errors import SettingError
from askmask.evaluation.probes import BANKS, mirrored
from askmask.evaluation.probing import run_probe, summary
from tests.evaluation.colour_model import ColourModel, make_dataset
from tests.evaluation.referring import ReferringModel, make_talks


@pytest.fixture(scope="module")
def talks(tmp_path_factory):
    return make_talks(tmp_path_factory.mktemp("talks"))


def probed(name, talks, out, model=None):
    (*_, last) = run_probe(name, model or ReferringModel(), talks, out, facts={"model": "it"})
    assert last.failed == 0 and json.loads((out / "summary.json").read_text()) == summary(out)
    return summary(out)


def test_who_uses_references_alone_does_not_mind_the_order(talks, tmp_path):
    assert probed("order", talks, tmp_path / "a")["all"]["changed"] == [0, 0, 0]
    forgetful = probed("order", make_dataset(tmp_path / "made", 3), tmp_path / "b", ColourModel())
    assert forgetful["all"]["changed"][0] > 0  # "that again" means the round before, whichever it is
    assert probed("queries", talks, tmp_path / "c")["all"]["agreement"] == [1, 1, 1]


def test_another_reference_gives_another_answer(talks, tmp_path):
    data = probed("swap", talks, tmp_path)
    assert data["round 3"]["changed"] == [1, 1, 1] and data["round 3"]["copies"] == [1, 1, 1]
    assert data["all"]["n"] == 8 and data["all"]["conversations"] == 4


def test_what_references_are_worth_and_what_errors_cost(talks, tmp_path):
    worth = probed("necessity", talks, tmp_path / "a")["round 3"]
    assert worth["pred"] == [1, 1, 1] and worth["none"] == worth["words"] == worth["random"] == [0, 0, 0]
    assert worth["pred - none"] == [1, 1, 1]
    assert probed("propagation", talks, tmp_path / "b")["all"]["cost"] == [0, 0, 0]
    everything = [Mask.full((24, 32))]
    rounds = Round.of("the purple thing", everything), Round.of("the same", everything, refers_to=["r1"])
    blind = Example(id="x", image=talks[0].image, size=(24, 32), rounds=rounds)
    cost = probed("propagation", [blind], tmp_path / "c")
    assert cost["after a wrong round"]["cost"] == [1, 1, 1] and "after right rounds" not in cost


def test_sides_mirrors_and_templates(talks, tmp_path):
    rgb = [
        Round.of("the red thing on the left", talks[0].rounds[0].masks),
        Round.of("the blue thing", talks[0].rounds[1].masks),
    ]
    alone = [Example(id="x", image=talks[0].image, size=(24, 32), rounds=tuple(rgb), independent=True)]
    mirror = probed("mirror", alone, tmp_path / "a")
    assert mirror["names a side"]["agreement"] == mirror["names no side"]["agreement"] == [1, 1, 1]
    assert probed("keyword", alone, tmp_path / "b")["all"]["trapped"] == [0, 0, 0]
    said = probed("template", alone, tmp_path / "c")["all"]
    assert said["n"] == 2 and all(said[bank] == said[f"{bank}, agreement"] == [1, 1, 1] for bank in BANKS)
    assert mirrored("Left of the rightmost, LEFT, leftover") == "Right of the leftmost, RIGHT, leftover"


def test_a_probe_goes_on_where_it_stopped_and_is_not_mixed_with_another(talks, tmp_path):
    stopped = run_probe("swap", ReferringModel(), talks, tmp_path / "a", facts={})
    next(stopped), next(stopped)
    stopped.close()
    rows = (tmp_path / "a" / "rows.jsonl").read_bytes()
    assert rows.count(b"\n") == 1
    (tmp_path / "a" / "rows.jsonl").write_bytes(rows + b'{"id": "torn')
    list(run_probe("swap", ReferringModel(), talks, tmp_path / "a", facts={}))
    list(run_probe("swap", ReferringModel(), talks, tmp_path / "b", facts={}))
    for name in ("rows.jsonl", "summary.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    with pytest.raises(SettingError, match="another probe"):
        list(run_probe("order", ReferringModel(), talks, tmp_path / "a", facts={}))
    with pytest.raises(SettingError, match="no such probe"):
        list(run_probe("nothing", ReferringModel(), talks, tmp_path / "c", facts={}))


def test_what_cannot_be_asked_is_listed_and_tried_again(talks, tmp_path):
    bad = Example(
        id="bad", image=talks[0].image, rounds=(Round.of("unanswerable", ()), Round.of("the red thing", ()))
    )
    for _ in range(2):
        (*_, last) = run_probe("necessity", ReferringModel(), [bad, *talks], tmp_path, facts={})
        assert (last.done, last.failed) == (4, 1)
    (row,) = map(json.loads, (tmp_path / "failed.jsonl").read_text().splitlines())
    assert row["id"] == "bad" and "refused" in row["reason"]
