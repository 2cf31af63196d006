"""The command line: exit codes, one-line errors, status and estimate; and SIGKILL at random moments."""

import asyncio
import json
import sys
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from askmask.cli.app import app, register_commands
from askmask.engine.dedup import distinct_pairs, picture_groups
from askmask.engine.export import split_of
from askmask.engine.store import PictureRow, RunStore
from askmask.engine.values import Pair
from askmask.imaging.mask import Mask
from tests import warm
from tests.conftest import ROOT
from tests.engine.test_words_and_rules import box_mask, prompt

ONE = ("--concepts", "physics", "--first-wait", "0.01")


@pytest.fixture
def engine():
    """Run `askmask engine ...` in this process; returns (exit code, what was printed, the error)."""
    register_commands()

    def run(*arguments):
        result = CliRunner().invoke(app, ["engine", *map(str, arguments)])
        error = result.exception if not isinstance(result.exception, SystemExit) else None
        return SimpleNamespace(code=result.exit_code, text=result.output, error=error)

    return run


def test_run_with_failures_status_retry(engine, oracle, flat, tmp_path):
    run = tmp_path / "run"
    picture = next((flat / "pictures").glob("*.png"))
    with oracle("refuse=1") as server:
        model = ("--model", "oracle-1", "--base-url", server.address)
        done = engine("run", picture, *model, *ONE, "--out", run)
        assert done.code == 1 and "refusal" in done.text
        status = json.loads(engine("status", run, "--json").text)
        assert status["failures"] == {"describe": {"refusal": 1}}
        assert status["stages"]["align"]["skipped"] == 1
        assert "--only" in str(engine("retry", run, "--only", "nonsense").error)
        port = server.server_address[1]
    with oracle(port=port):
        mended = engine("retry", run, "--only", "refusal", "--first-wait", "0.01")
        assert mended.code == 0 and "1 failed units are asked again" in mended.text
        assert json.loads(engine("status", run, "--json").text)["stages"]["align"]["done"] == 1
        assert engine("resume", run).code == 0
        assert "physics" in engine("status", run).text
    told = engine("estimate", run, "--price", "1,2")
    assert told.code == 0 and "align" in told.text


def test_what_a_caller_is_told_cannot_steer_the_terminal(engine, flat, tmp_path):
    from tests.vlm.endpoint import reply, scripted

    with scripted(reply(None, finish="length")) as (url, _):
        picture = next((flat / "pictures").glob("*.png"))
        model = ("--model", "m-\x1b]0;t\x07", "--base-url", url)
        done = engine("run", picture, *model, *ONE, "--out", tmp_path / "run")
    assert "m-\\x1b]0;t\\x07 used its whole limit" in "".join(done.text.splitlines())
    assert not set("\x1b\x07") & set(done.text)


def test_boxes_written_in_another_way_are_not_passed_over_in_silence(engine, oracle, flat, tmp_path):
    """Where the model's name does not say how it writes them, and what it wrote lies within the picture."""
    from askmask.world.oracle_server import _Handler

    class Swapped(_Handler):
        def _send(self, status, body, headers=None, share=1.0):
            message = body.get("choices", [{}])[0].get("message")
            if message and '"boxes"' in message["content"]:
                boxes = json.loads(message["content"])
                for one in boxes["boxes"]:
                    one["box"] = [one["box"][at] for at in (1, 0, 3, 2)]
                message["content"] = json.dumps(boxes)
            super()._send(status, body, headers, share)

    with oracle() as server:
        server.RequestHandlerClass = Swapped
        model = ("--model", "oracle-1", "--base-url", server.address)
        done = engine("run", flat / "pictures", *model, *ONE, "--out", tmp_path / "run")
    assert "regions was accepted" in done.text and "--coordinates" in done.text


def test_estimate_sends_nothing_and_scales(engine, flat):
    told = engine("estimate", flat / "pictures", "--model", "gemini-2.5-flash", "--sample", "2")
    assert told.code == 0 and "6 pictures" in told.text and "verify (choice)" in told.text
    assert "No price is known" in engine("estimate", flat / "pictures", "--model", "mystery").text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--model", "gpt-4o-latest"), "floating"),
        (("--model", "gpt-4o-2024-08-06"), "OPENAI_API_KEY"),
        (("--model", "m", "--vlm", "nonsense"), "provider"),
        (("--model", "m", "--base-url", "http://127.0.0.1:9/v1", "--max-usd", "1"), "--price"),
        (("--model", "m", "--base-url", "http://u:p@127.0.0.1/v1"), "password"),
        (("--model", "m", "--concepts", "nonsense"), "concepts"),
        (("--model", "m", "--segmenter", "nonsense", "--base-url", "http://127.0.0.1:9/v1"), "segmenter"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(engine, flat, tmp_path, monkeypatch, arguments, said):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    result = engine("run", flat / "pictures", "--out", tmp_path / "run", *arguments)
    assert result.code != 0 and said in str(result.error) and "\n" not in str(result.error)


def test_a_list_of_pictures_may_begin_with_a_mark_and_none_may_be_empty(engine, flat, tmp_path):
    from askmask.engine.pictures import find_pictures

    picture = next((flat / "pictures").glob("*.png"))
    (tmp_path / "some.txt").write_text(f"\ufeff{picture}\n\n", encoding="utf-8")
    assert find_pictures(tmp_path / "some.txt") == [picture]
    (tmp_path / "odd.txt").write_bytes(b"caf\xe9.png\n")
    (tmp_path / "none.txt").write_text("\n")
    (tmp_path / "empty").mkdir()
    model = ("--model", "m", "--base-url", "http://127.0.0.1:9/v1", "--out", tmp_path / "run")
    for source, said in (("odd.txt", "UTF-8"), ("none.txt", "no pictures"), ("empty", "no pictures")):
        result = engine("run", tmp_path / source, *model)
        assert result.code != 0 and said in str(result.error) and not (tmp_path / "run").exists()


def test_paths_are_no_markup(engine, oracle, flat, tmp_path):
    run = tmp_path / "a[/b]{x}\x1b[31m"
    with oracle() as server:
        picture = next((flat / "pictures").glob("*.png"))
        model = ("--model", "oracle-1", "--base-url", server.address)
        done = engine("run", picture, *model, *ONE, "--out", run)
        told = engine("status", run)
    assert done.code == told.code == 0 and "\x1b" not in done.text + told.text, (done.error, told.error)


def test_no_run_there(engine, tmp_path):
    for name in ("status", "resume", "inspect"):
        assert "no engine run there" in str(engine(name, tmp_path).error)


def test_splits_depend_on_the_picture_alone():
    hashes = [f"{n * 7919 % 65536:04x}{'0' * 60}" for n in range(2000)]
    splits = [split_of(h, val=0.1, test=0.05) for h in hashes]
    assert splits == [split_of(h, val=0.1, test=0.05) for h in hashes]
    assert 150 < splits.count("val") < 250 and 60 < splits.count("test") < 140
    # More validation takes from training only: what was in test stays there.
    assert all(
        split_of(h, val=0.3, test=0.05) == "test" for h, s in zip(hashes, splits, strict=True) if s == "test"
    )


def test_near_pictures_are_one_group():
    def row(name, dhash):
        return PictureRow(name, 0, name, 9, 9, dhash, "", "")

    groups = picture_groups([row("a", 0b1111), row("b", 0b1110), row("c", 1 << 63 | 0xFFFF0000)])
    assert groups == {"a": "a", "b": "a", "c": "c"}


def test_pairs_of_one_mask_are_limited():
    mask, other = box_mask(0, 0, 9, 9), box_mask(20, 20, 30, 30)
    texts = ("what tips", "what is tall", "what stands alone", "what hides the wall")
    pairs = [Pair(prompt=prompt(f"Segment {t}"), mask=mask, verdict=None) for t in texts]
    pairs += [
        Pair(prompt=prompt("Find what tips"), mask=other, verdict=None),
        Pair(prompt=prompt("Segment what rolls"), mask=other, verdict=None),
        Pair(prompt=prompt("Segment a kite", (), (), "absent"), mask=Mask.empty((40, 40)), verdict=None),
    ]
    kept, dropped = distinct_pairs(pairs)
    assert [reason for _, reason in dropped] == ["duplicate mask", "duplicate prompt"]
    assert len(kept) == 5


def test_an_interrupt_keeps_what_was_answered(oracle, flat, tmp_path):
    import signal

    run = tmp_path / "run"
    with oracle(latency_s=0.3) as server:
        arguments = ["engine", "run", str(flat / "pictures"), "--model", "oracle-1", "--out", str(run)]
        process = warm.start(*arguments, "--base-url", server.address)
        warm.until(lambda: server.answered >= 3, process)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate()
        assert process.returncode == 130 and "Traceback" not in said
        with RunStore(run) as store:
            assert store.query("SELECT COUNT(*) FROM replies")[0][0] == server.answered
            assert not store.query("SELECT 1 FROM calls WHERE state = 'sent'")


@pytest.mark.slow  # starts several processes
def test_kills_lose_nothing_and_repeat_nothing(flat, tmp_path):
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        from engine_kill import kill_again_and_again
    finally:
        sys.path.pop(0)
    report = kill_again_and_again(
        SimpleNamespace(
            work=tmp_path / "work",
            data=flat / "truth",
            kills=2,
            pictures=1,
            concurrency=4,
            latency=0.1,
            errors="verdict=0.1,json=0.05,server=0.05",
            seed=1,
        )
    )
    assert report["same_store"] and report["integrity"] == "ok" and report["unfinished_pictures"] == 0
    assert report["answered_calls_repeated"] == 0
    assert report["in_flight_at_kills"] <= report["most_that_can_be_in_flight"]


@pytest.mark.parametrize(
    ("typo", "said"),
    [
        (("--segmenter", "clasical"), "unknown segmenter"),
        (("--detector", "vml"), "unknown detector"),
        (("--price", "0.3;2.5"), "price"),
        (("--price", "nan,nan"), "price"),
        (("--max-usd", "nan", "--price", "1,1"), "max-usd"),
        (("--rpm", "0"), "rpm"),
        (("--extra", "[1]"), "extra"),
        (("--segmenter", "sam2", "--segmenter-at", "nobody/nothing"), "--yes"),
        (("--detector", "grounding-dino", "--detector-at", "nobody/nothing"), "--yes"),
        (("--vlm", "local"), "--yes"),
    ],
)
def test_a_typo_leaves_no_run_behind_and_nothing_is_fetched_unasked(
    engine, flat, tmp_path, monkeypatch, typo, said
):
    import huggingface_hub

    def refuse(*arguments, local_files_only=False, **more):
        assert local_files_only, "the network was asked"
        raise huggingface_hub.errors.LocalEntryNotFoundError("not here")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
    where = ("--model", "m", "--base-url", "http://127.0.0.1:9/v1", "--out", tmp_path / "run")
    result = engine("run", flat / "pictures", *where, *typo)
    assert result.code != 0 and said in str(result.error) and "\n" not in str(result.error)
    assert not (tmp_path / "run").exists()


def test_an_event_loop_without_signals_works_to_the_end(oracle, flat, tmp_path, monkeypatch):
    """As on Windows."""

    def none(*_):
        raise NotImplementedError

    register_commands()
    monkeypatch.setattr(asyncio.SelectorEventLoop, "add_signal_handler", none)
    with oracle() as server:
        one = str(min((flat / "pictures").glob("*.png")))
        words = ["run", one, "--model", "oracle-1", "--base-url", server.address]
        done = CliRunner().invoke(app, ["engine", *words, "--out", str(tmp_path / "run")])
    assert done.exit_code == 0, done.output


def test_a_retry_of_a_damaged_run_changes_nothing(engine, oracle, flat, tmp_path):
    run, picture = tmp_path / "run", next((flat / "pictures").glob("*.png"))
    with oracle("refuse=1") as server:
        engine("run", picture, "--model", "oracle-1", "--base-url", server.address, *ONE, "--out", run)
    with RunStore(run) as store:
        store.set_meta(plan={"writer": 5})
        before = store.digest()
    result = engine("retry", run, "--only", "refusal")
    assert result.code != 0 and "run.sqlite is damaged" in str(result.error)
    with RunStore(run, read_only=True) as store:
        assert store.digest() == before and store.failures()
