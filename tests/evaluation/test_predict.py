"""Predictions over a data set: complete, without doubles, whatever happens to the process."""

import json
import signal
from pathlib import Path

import pytest

import askmask
from askmask.conversation import Round
from askmask.errors import DataError, SettingError
from askmask.evaluation.predict import failures, plan, predict, prediction_of, predictor_of
from askmask.evaluation.predictions import PredictionFiles
from askmask.evaluation.scoring import score
from askmask.evaluation.truth import truths_of
from askmask.formats import own
from askmask.imaging.mask import Mask
from tests import warm
from tests.evaluation.colour_model import ColourModel, make_dataset

ROOT = Path(__file__).parents[2]
FACTS = {"model": "colour", "dataset": "made"}


@pytest.fixture(scope="module")
def examples(tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp("made"))


def run(examples, out, *, model=None, reference="none", shard=0, shards=1, facts=FACTS):
    model = model or ColourModel()
    pictures = plan(examples, reference=reference)
    steps = list(
        predict(
            predictor_of(model, reference=reference), pictures, out, facts=facts, shard=shard, shards=shards
        )
    )
    return steps[-1]


def lines(out, kind="predictions"):
    return [json.loads(line) for path in sorted(out.glob(f"{kind}-*.jsonl")) for line in path.open()]


def scores(out, examples):
    data = score(PredictionFiles(out), truths_of(examples)).to_dict(resamples=0)
    return {name: value for name, value in data.items() if name != "hashes"}  # of files, however many


def test_every_item_is_answered_once_and_pictures_are_encoded_once(examples, tmp_path):
    model = ColourModel()
    shuffled = examples[::3] + examples[1::3] + examples[2::3]  # prompts of a picture lie apart
    assert run(shuffled, tmp_path, model=model).failed == 0
    assert sorted(row["id"] for row in lines(tmp_path)) == sorted(t.id for t in truths_of(examples))
    assert len(model.opened) == 5 == len(set(model.opened))
    data = scores(tmp_path, examples)
    assert data["n"] == 30 and data["n_missing"] == 0
    assert data["gIoU"] == pytest.approx(25 / 30)  # all but "that again", which needs the round before
    assert data["N_acc"] == 1.0
    stats = lines(tmp_path, "stats")[0]
    assert stats["items"] == 35 and stats["items_per_second"] > 0 and stats["memory_mb"] > 10


def test_history_of_own_answers(examples, tmp_path):
    run(examples, tmp_path, reference="pred")
    data = scores(tmp_path, examples)
    assert data["gIoU"] == 1.0 and data["groups"]["round"]["3"]["gIoU"] == 1.0
    replies = lines(tmp_path, "replies")
    assert {row["id"] for row in replies} == {f"p{n}-talk#1" for n in range(5)}  # no mask awaits "hello"


def test_a_question_back_does_not_say_that_nothing_matches(examples):
    session = ColourModel().open(examples[0].image)
    said = [prediction_of("x", session.ask(text)) for text in ("red", "purple", "whichever")]
    assert [one.no_target for one in said] == [False, True, None]
    assert "no_target" not in said[2].to_dict() and said[2].text.endswith("?")


@pytest.mark.parametrize("shards", [2, 3, 7])
def test_shards_divide_without_doubles_or_losses(examples, tmp_path, shards):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    run(examples, whole)
    for shard in range(shards):
        run(examples, parts, shard=shard, shards=shards)
    assert sorted(map(str, lines(parts))) == sorted(map(str, lines(whole)))
    assert scores(parts, examples) == scores(whole, examples)
    # All prompts on a picture lie in one shard.
    for path in parts.glob("predictions-*.jsonl"):
        pictures = {json.loads(line)["id"].split("-")[0] for line in path.open()}
        others = [p for p in parts.glob("predictions-*.jsonl") if p != path]
        assert not any(json.loads(line)["id"].split("-")[0] in pictures for p in others for line in p.open())


def test_a_run_goes_on_where_it_stopped_even_with_other_shards(examples, tmp_path):
    pictures = plan(examples)
    stopped = predict(predictor_of(ColourModel()), pictures, tmp_path, facts=FACTS, shard=0, shards=2)
    next(stopped), next(stopped)  # one picture
    stopped.close()
    before = len(lines(tmp_path))
    assert 0 < before < 30
    model = ColourModel()
    assert run(examples, tmp_path, model=model).done == 35
    assert len(lines(tmp_path)) == 30 == len({row["id"] for row in lines(tmp_path)})
    assert len(model.opened) == 4
    again = ColourModel()
    run(examples, tmp_path, model=again)
    assert again.opened == [] and len(lines(tmp_path)) == 30


def test_a_limited_run_is_the_beginning_of_the_whole(examples, tmp_path):
    pictures = plan(examples)
    (*_, last) = predict(predictor_of(ColourModel()), pictures, tmp_path, facts=FACTS, limit=2)
    assert (last.done, last.total, len(lines(tmp_path))) == (14, 14, 12)
    run(examples, tmp_path)
    assert len(lines(tmp_path)) == 30 == len({row["id"] for row in lines(tmp_path)})


def test_a_torn_line_is_cut_and_asked_again(examples, tmp_path):
    run(examples, tmp_path)
    (path,) = tmp_path.glob("predictions-*.jsonl")
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    run(examples, tmp_path)
    assert path.read_bytes() == whole


def test_a_bad_item_stops_nothing_and_is_tried_again(examples, tmp_path):
    from dataclasses import replace

    bad = [replace(examples[0], id="bad", rounds=(Round.of("unanswerable", masks=()),)), *examples]
    lost = [*bad, replace(examples[0], id="lost", image=str(tmp_path / "gone.png"))]
    last = run(lost, tmp_path / "out")
    assert (last.done, last.failed) == (35, 2)
    rows = failures(tmp_path / "out")
    assert {row["id"]: row["reason"].split(";")[0] for row in rows} == {
        "bad": "this prompt is refused",
        "lost": "no such picture",
    }
    assert run(lost, tmp_path / "out").failed == 2 and len(failures(tmp_path / "out")) == 2
    data = scores(tmp_path / "out", lost)
    assert data["n"] == 32 and data["n_missing"] == 2


@pytest.mark.parametrize("reference", ["none", "pred"])
def test_masks_of_another_size_than_the_picture_cost_their_own_item_alone(examples, tmp_path, reference):
    from dataclasses import replace

    told = Round.of("the red part", masks=(Mask.full((5, 6)),))
    mixed = [replace(examples[0], id="bad", size=(5, 6), rounds=(told,)), *examples]
    assert run(mixed, tmp_path, reference=reference).failed == 1
    (row,) = failures(tmp_path)
    assert row["id"] == "bad" and "differ in size; got (24, 32), (5, 6)" in row["reason"]
    data = scores(tmp_path, mixed)
    assert data["n"] == 31 and data["n_missing"] == 1


def test_another_run_is_not_mixed_in(examples, tmp_path):
    run(examples, tmp_path)
    with pytest.raises(
        SettingError, match="holds results of another model; got model: 'colour' there, 'other' now"
    ):
        run(examples, tmp_path, facts=FACTS | {"model": "other"})
    with pytest.raises(SettingError, match="questions"):
        run(examples[1:], tmp_path)


def test_another_picture_under_the_same_name_is_not_taken_for_answered(tmp_path):
    examples = make_dataset(tmp_path / "made")
    run(examples, tmp_path / "out")
    picture = Path(examples[0].image)
    first, data = picture.read_bytes(), Path(examples[-1].image).read_bytes()
    picture.write_bytes(data)
    with pytest.raises(SettingError, match=r"another picture under this name; got .*\.png"):
        run(examples, tmp_path / "out")
    picture.unlink()
    assert run(examples, tmp_path / "out").done == 35, "a picture that is gone contradicts nothing"
    picture.write_bytes(first)
    assert run(examples, tmp_path / "out").done == 35


def test_a_folder_of_others_is_left_as_it_is(examples, tmp_path):
    for name in ("predictions-00000-of-00001.jsonl", "failed-notes.jsonl", "scores.json"):
        (tmp_path / name).write_text('{"my": "precious"}')
        with pytest.raises(SettingError, match="neither empty nor made by `askmask eval`"):
            run(examples, tmp_path)
        assert [p.name for p in tmp_path.iterdir()] == [name]
        assert (tmp_path / name).read_text() == '{"my": "precious"}'
        (tmp_path / name).unlink()


def test_failures_of_others_are_not_removed(examples, tmp_path):
    run(examples, tmp_path)
    (tmp_path / "failed-00000-of-00001.jsonl").unlink(missing_ok=True)
    (tmp_path / "failed-by-hand.jsonl").write_text("mine\n")
    for path in tmp_path.glob("predictions-*.jsonl"):
        assert path.read_bytes().endswith(b"\n")
    run(examples, tmp_path)
    assert (tmp_path / "failed-by-hand.jsonl").read_text() == "mine\n"


def test_names_that_are_no_text_end_no_run(examples, tmp_path):
    from dataclasses import replace

    odd = [replace(example, id=example.id + "\udce9") for example in examples]
    assert run(odd, tmp_path).done == 35 and run(odd, tmp_path).done == 35
    assert len(lines(tmp_path)) == 30


def test_two_processes_cannot_work_on_one_shard(examples, tmp_path):
    pictures = plan(examples)
    first = predict(predictor_of(ColourModel()), pictures, tmp_path, facts=FACTS, shard=0, shards=2)
    next(first)
    with pytest.raises(SettingError, match="another run is writing to"):
        run(examples, tmp_path, shard=0, shards=2)
    with pytest.raises(SettingError, match="another run is writing to"):
        run(examples, tmp_path, shard=0, shards=3)
    run(examples, tmp_path, shard=1, shards=2)
    first.close()
    run(examples, tmp_path, shard=0, shards=3)


def test_ids_that_occur_twice_are_an_error(examples):
    with pytest.raises(DataError, match="occurs twice in the data set"):
        plan([examples[0], examples[0]])


KILLED = """
import sys, time
sys.path.insert(0, {root!r})
from tests import warm
from tests.evaluation.colour_model import ColourModel, make_dataset
from askmask.evaluation.predict import plan, predict, predictor_of
class Slow(ColourModel):
    def open(self, picture):
        time.sleep(0.05)
        return super().open(picture)
from pathlib import Path
for _ in predict(predictor_of(Slow()), plan(make_dataset(Path({data!r}), 40)), {out!r}, facts={facts!r}):
    pass
"""


def test_killed_again_and_again_nothing_is_lost_or_doubled(tmp_path):
    data, out = tmp_path / "data", tmp_path / "out"
    everything = make_dataset(data, 40)
    code = KILLED.format(root=str(ROOT), data=str(data), out=str(out), facts=FACTS)
    for _ in range(3):
        before = sum(p.stat().st_size for p in out.glob("predictions-*.jsonl"))
        child = warm.start(code=code)
        warm.until(lambda: sum(p.stat().st_size for p in out.glob("predictions-*.jsonl")) > before, child)  # noqa: B023
        child.send_signal(signal.SIGKILL)
        child.wait()
    got = len(lines(out))
    assert 0 < got < 240
    run(everything, out)
    assert len(lines(out)) == 240 == len({row["id"] for row in lines(out)})


@pytest.mark.slow  # two processes import torch
def test_the_command_runs_a_real_network_in_two_processes(tmp_path):
    examples = make_dataset(tmp_path / "data", 2)
    own.write_examples(examples, tmp_path / "data/examples.jsonl")
    run(examples, tmp_path / "here", model=askmask.load("mini", device="cpu"))
    call = [
        "eval",
        "mini",
        tmp_path / "data",
        "--out",
        tmp_path / "two",
        "--processes",
        "2",
        "--device",
        "cpu",
    ]
    done = warm.run(*call, "--json", "--report")
    assert done.returncode == 0, done.stderr
    data = json.loads(done.stdout)
    assert data["n"] == 12 and data["n_missing"] == 0
    assert "<figure>" in (tmp_path / "two/report/report.html").read_text()
    assert "items in" in done.stderr and "memory" in done.stderr
    assert {row["id"]: row["masks"] for row in lines(tmp_path / "two")} == {
        row["id"]: row["masks"] for row in lines(tmp_path / "here")
    }
    assert [p.name for p in sorted((tmp_path / "two").glob("predictions-*"))] == [
        "predictions-00000-of-00002.jsonl",
        "predictions-00001-of-00002.jsonl",
    ]
    assert json.loads((tmp_path / "two/askmask-run.json").read_text())["facts"]["mode"] == "generation"
