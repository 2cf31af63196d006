"""Runs with a model that points: what is paid for is kept, what cannot go on stops, and Ctrl-C ends at once."""

import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

pytest.importorskip("openai")
import askmask
from askmask.batch import read_items, run_batch
from askmask.cli.app import app, register_commands
from askmask.errors import Stopped
from askmask.imaging.mask import Mask
from tests import warm
from tests.pointing.test_point import THING, load, picture, pointing, thousandths
from tests.vlm.endpoint import failure, reply, scripted
from tests.vlm.test_secrets import KEY, nowhere

register_commands()
GOOD = reply(pointing(thousandths(THING)))


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for n in range(3):
        picture(thing=(300 + n, 100, 520 + n, 330)).save(folder / f"{n}.png")
    return folder


def options(url):
    command = ["--vlm-model", "qwen3-vl-8b", "--base-url", url, "--drawer", "classical"]
    return [*command, "--device", "cpu"]


def port_of(url):
    """A run is of one server: it goes on at the same address."""
    return int(url.split(":")[2].split("/")[0])


def truth(tmp_path, pictures):
    """A data set in askmask's own form: a conversation of two rounds over each picture."""
    mask = Mask.from_array(np.ones((480, 640), bool)).to_dict()
    lines = []
    for path in sorted(pictures.iterdir()):
        rounds = [
            {"id": f"r{n}", "prompt": text, "segments": [{"id": f"m{n}", "source": "gold"} | mask]}
            for n, text in ((1, "the ball"), (2, "its left half"))
        ]
        lines.append(json.dumps({"schema": 2, "id": path.stem, "image": str(path), "rounds": rounds}))
    (tmp_path / "d").mkdir(exist_ok=True)
    (tmp_path / "d" / "examples.jsonl").write_text("\n".join(lines) + "\n")
    return str(tmp_path / "d")


def test_a_run_taken_up_again_asks_for_nothing_twice(tmp_path, pictures):
    """The first time the second round fails everywhere: the first rounds' replies are kept, not paid for again."""
    data, out = truth(tmp_path, pictures), str(tmp_path / "run")

    def until_mended(body):
        return failure(400, "not today") if len(body["messages"]) > 2 else GOOD

    command = ["eval", "point", data, "--out", out, "--reference", "pred"]
    with scripted(until_mended) as (url, seen):
        first = CliRunner().invoke(app, [*command, *options(url)])
        assert first.exit_code == 1 and len(seen) == 6, first.output
        before = port_of(url)
    assert "not today" in first.output and len(list(Path(out).glob("calls-*.sqlite"))) == 1
    from askmask.vlm.ledger import Ledger

    ledger = Ledger(next(Path(out).glob("calls-*.sqlite")), read_only=True)
    assert ledger.spent()[1] == 6
    ledger.close()
    with scripted(GOOD, port=before) as (url, seen):
        second = CliRunner().invoke(app, [*command, *options(url)])
    assert second.exit_code == 0, second.output
    assert len(seen) == 3 and all(len(body["messages"]) == 4 for _, _, body in seen)
    stats = [json.loads(line) for line in next(Path(out).glob("stats-*")).read_text().splitlines()]
    assert stats[-1]["used"]["calls"] == 6 and stats[-1]["used"]["kept"] == 3  # what the answers rest on
    assert stats[-1]["paid"]["calls"] == 3  # what this run sent
    assert "calls each" in CliRunner().invoke(app, ["table", out]).output


@pytest.mark.parametrize(
    ("entry", "said", "calls"),
    [(failure(401, "bad key", "invalid_api_key"), "refuses every call", 4), (failure(503), "in a row", None)],
)
def test_a_server_that_is_of_no_use_stops_a_batch_and_loses_nothing(
    entry, said, calls, tmp_path, pictures, monkeypatch
):
    monkeypatch.setattr("askmask.vlm.caller.random.uniform", lambda *_: 0.0)
    for n in range(3, 12):
        picture(thing=(200 + n, 100, 420 + n, 330)).save(pictures / f"{n:02d}.png")
    items, _ = read_items(pictures, ["the ball"])
    with scripted(GOOD, GOOD, entry) as (url, seen):
        model = load(url)
        with pytest.raises(Stopped, match=said):
            list(run_batch(model, items, tmp_path / "out"))
        assert len((tmp_path / "out" / "results.jsonl").read_text().splitlines()) == 2
        assert calls is None or len(seen) <= calls
        asked = len(seen)
        before = port_of(url)
    assert asked < 60  # of twelve pictures with four tries and a repetition each
    with scripted(GOOD, port=before) as (url, seen):
        done = list(run_batch(load(url), items, tmp_path / "out"))
    assert len(done) == len(seen) == 10 and all(one.answer is not None for one in done)


def test_one_answer_that_is_over_its_limits_stops_no_run(tmp_path, pictures):
    def answer(body):
        return reply("mumble") if "dragon" in json.dumps(body) else GOOD

    items, _ = read_items(pictures, ["the dragon", "the ball"])
    with scripted(answer) as (url, _):
        outcomes = list(run_batch(load(url, answer_calls=1), items, tmp_path / "out"))
    assert [one.answer is not None for one in outcomes] == [False, True] * 3


def test_prompts_that_are_asked_together_and_one_by_one_count_their_calls_once(pictures):
    def answer(body):
        return reply("mumble") if "dragon" in json.dumps(body) else GOOD

    with scripted(answer) as (url, seen):
        session = load(url).open(picture())
        with pytest.raises(askmask.AskMaskError):
            session.ask_many(["the ball", "the dragon"])
        again = session.ask_many(["the ball"])[0]
    assert len(seen) == 3 and again.usage["calls"] == again.usage["kept"] == 1


def test_a_key_that_a_server_repeats_is_in_no_file_and_in_no_line_of_a_run(tmp_path, pictures, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    named = reply(pointing(thousandths(THING), label=f"ball {KEY}"))
    echoes = [named, failure(400, f"your key {KEY} is odd"), reply(f"no JSON {KEY}")]
    with scripted(*echoes) as (url, seen):
        command = ["batch", str(pictures), "--prompt", "the ball", "--model", "point", *options(url)]
        result = CliRunner().invoke(app, [*command, "--out", str(tmp_path / "out")])
    assert seen[0][1]["authorization"] == f"Bearer {KEY}"
    assert "1 found something), 2 failed" in result.output and "[key]" in result.output
    assert KEY not in result.output and nowhere(tmp_path / "out")


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_ctrl_c_ends_a_batch_at_once_and_keeps_what_was_answered(tmp_path, pictures):
    """The server never answers about the second picture; ten minutes would be allowed for it."""
    with scripted(GOOD, 600.0) as (url, seen):
        command = ["batch", str(pictures), "--prompt", "the ball"]
        command += [
            "--model",
            "point",
            "--out",
            str(tmp_path / "out"),
            "--answer-seconds",
            "600",
            *options(url),
        ]
        run = warm.start(*command)
        warm.until(lambda: len(seen) >= 2, run)
        run.send_signal(signal.SIGINT)
        _, said = run.communicate(timeout=300)  # half of what the server would be given
    assert run.returncode == 130, said
    assert "Traceback" not in said
    assert len((tmp_path / "out" / "results.jsonl").read_text().splitlines()) == 1
