"""Whole runs against the oracle: truth passes, mistakes are caught, each fault ends in its state."""

import asyncio
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from PIL import Image

from askmask.engine import pipeline
from askmask.engine.report import report_of
from askmask.engine.runs import Limits, RunPlan, begin, plan_of, work
from askmask.engine.settings import Settings
from askmask.engine.store import RunStore
from askmask.engine.tools import run_units
from askmask.engine.values import STAGES, Aligned, Verified
from askmask.errors import DataError, SettingError, WriteError
from askmask.imaging.mask import Mask
from askmask.vlm.errors import BudgetSpent, RunStopped
from askmask.vlm.opening import ModelChoice
from askmask.world.oracle import FITS_IOU
from tests.conftest import ROOT
from tests.engine.conftest import QUICK, run_engine


@pytest.fixture
def pictures(flat):
    return sorted((flat / "pictures").glob("*.png"))


TWO = Settings(concepts=("entities", "physics"))


def right_and_accepted(store, gallery) -> tuple[int, int]:
    right = accepted = 0
    for number, row in enumerate(store.pictures()):
        aligned = store.stage(row.sha256, "align")[1]
        for pair in aligned.pairs if isinstance(aligned, Aligned) else ():
            if pair.verdict is None or pair.verdict.accept:
                question = gallery.scenes[number].question(pair.prompt.text)
                accepted += 1
                right += pair.mask.iou(Mask.from_array(question.mask)) >= FITS_IOU - 0.05
    return right, accepted


def test_with_a_truthful_model_all_accepted_pairs_are_right(tmp_path, oracle, pictures, gallery):
    with oracle() as server, run_engine(tmp_path / "run", server, pictures[:3]) as store:
        right, accepted = right_and_accepted(store, gallery)
        assert accepted > 20 and right == accepted
        report = report_of(store)
        assert report.finished == 3 and not report.failures
        assert set(report.accepted) == {"entities", "spatial", "relations", "affordances", "physics"}
        assert sum(report.negatives.values()) > 5
        first = next(store.pictures())
        verified = store.stage(first.sha256, "verify")[1]
        assert verified.accepted and all(
            region.seen_as and region.verdict.calls for region in verified.accepted
        )
        digest, calls = store.digest(), store.spent()[1]
        asyncio.run(work(store, QUICK))  # nothing left to do
        assert (store.digest(), store.spent()[1]) == (digest, calls)


def test_verification_removes_most_mistakes(tmp_path, oracle, pictures, gallery):
    errors = "attribute=.3,box=.3,satisfying=.4,context=.3,negative=.3"
    shares = []
    for name, on in (("with", True), ("without", False)):
        settings = Settings(verify_masks=on, refine=on, verify_pairs=on)
        with (
            oracle(errors) as server,
            run_engine(tmp_path / name, server, pictures[:4], settings=settings) as store,
        ):
            right, accepted = right_and_accepted(store, gallery)
            shares.append(1 - right / accepted)
    assert shares[0] == 0 and shares[1] > 0.15


def test_votes_outvote_a_wavering_verifier(tmp_path, oracle, pictures, gallery):
    settings = Settings(votes=5, concepts=("physics",))
    with oracle("verdict=.15") as server:
        with run_engine(tmp_path / "run", server, pictures[:2], settings=settings) as store:
            report = report_of(store)
            assert 0.6 < report.agreement < 1
            verdicts = [
                region.verdict
                for row in store.pictures()
                for region in store.stage(row.sha256, "verify")[1].accepted
            ]
            assert verdicts and all(len(v.votes) >= 3 and sum(v.votes) == 3 for v in verdicts)


@pytest.mark.parametrize(
    ("errors", "classes", "state"),
    [
        ("json=1", {"parse"}, "quarantined"),
        ("truncate=1", {"truncated"}, "quarantined"),
        ("refuse=1", {"refusal"}, "refused"),
        ("safety=1", {"safety"}, "refused"),
    ],
)
def test_faulty_replies_end_in_their_state(tmp_path, oracle, pictures, errors, classes, state):
    with oracle(errors) as server, run_engine(tmp_path / "run", server, pictures[:2]) as store:
        report = report_of(store)
        assert report.stages["describe"][state] == 2
        assert all(report.stages[stage]["skipped"] == 2 for stage in STAGES[1:])
        assert set(report.failures["describe"]) == classes
        failures = list(store.failures())
        assert len(failures) == 2 and all(failure.reason for _, _, failure in failures)


@pytest.mark.parametrize("errors", ["rate_limit=.3", "server=.3", "drop=.3"])
def test_faults_of_the_line_change_nothing_but_the_ledger(tmp_path, oracle, pictures, errors):
    with oracle() as server, run_engine(tmp_path / "calm", server, pictures[:1]) as store:
        expected = _results(store)
    with oracle(errors) as server, run_engine(tmp_path / "rough", server, pictures[:1]) as store:
        assert _results(store) == expected
        assert set(report_of(store).calls) == {
            "ok",
            {"rate_limit": "rate_limit", "server": "server", "drop": "connection"}[errors[:-3]],
        }


def _results(store) -> list:
    return [
        (row.sha256, stage, store.stage(row.sha256, stage)[0]) for row in store.pictures() for stage in STAGES
    ] + [
        json.loads(pair.model_dump_json(exclude={"verdict": {"calls"}, "prompt": {"call"}}))
        for row in store.pictures()
        for pair in store.stage(row.sha256, "align")[1].pairs
    ]


def test_a_slow_reply_times_out_and_is_tried_again(tmp_path, oracle, pictures):
    with oracle("slow=.3", slow_s=4.0) as server:
        with run_engine(tmp_path / "run", server, pictures[:1], settings=TWO, timeout_s=1.5) as store:
            assert report_of(store).calls.get("timeout", 0) > 0
            assert not report_of(store).failures


def test_a_broken_unit_leaves_the_others_alone_and_retry_mends_it(tmp_path, oracle, pictures):
    # Refused half the time: some units fail, never the whole run.
    with oracle("json=.35", seed=3) as server:
        with run_engine(tmp_path / "run", server, pictures[:2], settings=TWO) as store:
            broken = report_of(store)
            assert any("parse" in classes for classes in broken.failures.values())
            assert any(store.stage(row.sha256, "align")[0] == "done" for row in store.pictures())
    with oracle() as server, RunStore(tmp_path / "run") as store:
        _move(store, server)
        answered = store.query("SELECT COUNT(*) FROM replies")[0][0]
        assert store.retry(["rate_limit"]) == 0
        assert store.retry(["parse"]) == sum(c.get("parse", 0) for c in broken.failures.values())
        asyncio.run(work(store, QUICK))
        mended = report_of(store)
        assert mended.failed_units == 0
        assert store.query("SELECT COUNT(*) FROM replies")[0][0] > answered // 2  # good replies stayed


def _move(store, server) -> None:
    plan = store.meta("plan")
    plan["writer"]["base_url"] = server.address
    store.set_meta(plan=plan)


def test_a_budget_stops_before_and_resume_goes_on(tmp_path, oracle, pictures):
    with oracle() as server:
        with pytest.raises(BudgetSpent):
            run_engine(
                tmp_path / "run", server, pictures[:2], limits=QUICK.model_copy(update={"max_calls": 25})
            )
        assert server.answered == 25
        with RunStore(tmp_path / "run") as store:
            assert store.spent()[1] == 25 and report_of(store).finished < 2
            asyncio.run(work(store, QUICK))
            stopped = store.digest()
        total = server.answered
        with run_engine(tmp_path / "whole", server, pictures[:2]) as store:
            assert store.digest() == stopped
            assert server.answered - total == total  # no call was made twice


def test_dollars_need_a_price_and_are_kept(tmp_path, oracle, pictures):
    with oracle() as server:
        with pytest.raises(SettingError, match="--price"):
            run_engine(tmp_path / "a", server, pictures[:1], limits=Limits(max_usd=1))
        with pytest.raises(BudgetSpent):
            run_engine(tmp_path / "b", server, pictures[:2], limits=Limits(max_usd=0.02), price="1,2")
        with RunStore(tmp_path / "b") as store:
            assert 0 < store.spent()[0] <= 0.02


def test_a_dead_endpoint_stops_the_run_and_retry_revives_it(tmp_path, oracle, pictures, monkeypatch):
    monkeypatch.setattr(pipeline, "GONE_AFTER", 2)
    with oracle() as server:
        pass  # closed again: nobody listens there
    limits = QUICK.model_copy(update={"attempts": 2, "concurrency": 2})
    with pytest.raises(RunStopped, match="in a row"):
        run_engine(tmp_path / "run", server, pictures[:3], settings=TWO, limits=limits)
    with oracle() as server, RunStore(tmp_path / "run") as store:
        _move(store, server)
        store.retry(["connection"])
        asyncio.run(work(store, QUICK))
        assert report_of(store).failed_units == 0


def test_a_wrong_key_stops_at_once(tmp_path, oracle, pictures, monkeypatch):
    monkeypatch.setenv("ENGINE_TEST_KEY", "sk-wrong-0123456789")
    with oracle(api_key="right") as server, pytest.raises(RunStopped) as caught:
        run_engine(tmp_path / "run", server, pictures, api_key_env="ENGINE_TEST_KEY")
    assert "sk-wrong" not in str(caught.value)
    for path in (tmp_path / "run").rglob("*"):
        assert b"sk-wrong" not in path.read_bytes()


def test_another_plan_is_refused_by_name(tmp_path, oracle, pictures):
    with oracle() as server, run_engine(tmp_path / "run", server, pictures[:1]) as store:
        other = plan_of(store).model_copy(update={"settings": Settings(votes=3)})
        with pytest.raises(SettingError, match=r"settings\.votes: 1 there, 3 now"):
            begin(store, other)


def test_two_processes_do_not_share_a_run(tmp_path):
    with RunStore(tmp_path / "run", create=True) as one, RunStore(tmp_path / "run") as two:
        one.lock()
        with pytest.raises(SettingError, match="another run is writing to"):
            two.lock()


@pytest.mark.parametrize("name", ["lock", "gallery.html", "notes.txt"])
def test_a_folder_of_others_is_left_as_it_is(tmp_path, name):
    (tmp_path / name).write_text("precious")
    with pytest.raises(SettingError, match="neither empty nor made by"):
        RunStore(tmp_path, create=True)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "precious"


def test_another_programs_database_gets_no_tables(tmp_path):
    with sqlite3.connect(tmp_path / "run.sqlite") as db:
        db.execute("CREATE TABLE songs (name TEXT)")
    before = (tmp_path / "run.sqlite").read_bytes()
    with pytest.raises(DataError, match=r"not an engine run; got tables \['songs'\]"):
        RunStore(tmp_path, create=True)
    assert (tmp_path / "run.sqlite").read_bytes() == before


def test_a_run_from_before_the_manifest_goes_on(tmp_path):
    with RunStore(tmp_path, create=True) as store:
        store.lock()
        begin(store, RunPlan(writer=ModelChoice(model="m")))
    (tmp_path / "askmask-run.json").unlink()
    with RunStore(tmp_path, create=True) as store:
        store.lock()
        assert plan_of(store).writer.model == "m"


def test_a_run_killed_before_its_plan_was_whole_begins_again(tmp_path):
    plan = RunPlan(writer=ModelChoice(model="m"))
    with RunStore(tmp_path / "run", create=True) as store:
        store.set_meta(plan=plan.to_dict())  # as older versions left it: no manifest
        begin(store, plan)
        assert store.meta("manifest")["templates"]
    with (
        RunStore(tmp_path / "other", create=True) as store,
        pytest.raises(DataError, match="nothing was begun"),
    ):
        plan_of(store)


@pytest.mark.parametrize("damage", ["header", "middle", "plan"])
def test_a_damaged_store_is_named(tmp_path, oracle, pictures, damage):
    with oracle() as server, run_engine(tmp_path, server, pictures[:1]) as store:
        if damage == "plan":
            store.set_meta(plan="{")
    path = tmp_path / "run.sqlite"
    data = path.read_bytes()
    if damage == "header":
        path.write_bytes(b"\0" * 100 + data[100:])
    elif damage == "middle":
        path.write_bytes(data[:4096] + b"\xff" * (len(data) - 4096))
    with pytest.raises(DataError, match=r"run\.sqlite"), RunStore(tmp_path, read_only=True) as store:
        plan_of(store)
        report_of(store)


@pytest.mark.skipif(os.name == "nt", reason="rights are POSIX's")
def test_a_run_is_read_where_nothing_may_be_written(tmp_path, oracle, pictures):
    with oracle() as server:
        run_engine(tmp_path, server, pictures[:1]).close()
    folder = Path(tempfile.mkdtemp())  # pytest's own folders are closed to others
    shutil.copy(tmp_path / "run.sqlite", folder)
    code = (
        "import os, sys; from askmask.engine.store import RunStore; from askmask.engine.report import report_of\n"
        "os.chdir(sys.argv[1]); os.geteuid() or os.setuid(65534)\n"
        "with RunStore('.', read_only=True) as store: print(report_of(store).finished)"
    )
    folder.chmod(0o555)
    (folder / "run.sqlite").chmod(0o444)
    try:
        done = subprocess.run(
            [sys.executable, "-c", code, folder],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        folder.chmod(0o755)
        shutil.rmtree(folder)
    assert done.stdout == "1\n", done.stderr


def test_equal_pictures_are_one_and_bad_ones_are_named(tmp_path, oracle, pictures):
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a.png", "b.png"):
        (folder / name).write_bytes(Path(pictures[0]).read_bytes())
    (folder / "c.jpg").write_text("no picture")
    with oracle() as server, run_engine(tmp_path / "run", server, folder.iterdir()) as store:
        assert len(list(store.pictures())) == 1
        assert [Path(path).name for path, _ in store.unreadable()] == ["c.jpg"]
        assert report_of(store).failed_units == 1


def test_a_picture_that_changed_since_is_not_mixed_up(tmp_path, oracle, pictures):
    copy = tmp_path / "x.png"
    copy.write_bytes(Path(pictures[0]).read_bytes())
    with RunStore(tmp_path / "run", create=True) as store:
        from askmask.engine.pipeline import add_pictures

        begin(store, RunPlan(writer=ModelChoice(model="oracle-1", base_url="http://127.0.0.1:9/v1")))
        add_pictures(store, [copy])
        copy.write_bytes(Path(pictures[1]).read_bytes())
        asyncio.run(work(store, QUICK))
        assert report_of(store).failures == {"describe": {"picture": 1}}


def test_masks_lie_on_no_other_picture_than_the_run_saw(tmp_path, oracle, pictures):
    """An export and a gallery made after a file was exchanged, or is gone."""
    from askmask.engine.export import export_run
    from askmask.engine.gallery import write_gallery

    copies = []
    for number, picture in enumerate(pictures[:3]):
        copies.append(tmp_path / f"{number}.png")
        copies[-1].write_bytes(Path(picture).read_bytes())
    with oracle() as server, run_engine(tmp_path / "run", server, copies, settings=TWO) as store:
        Image.new("RGB", (50, 40)).save(copies[0])
        copies[1].unlink()
        export_run(store, tmp_path / "out")
        write_gallery(store, tmp_path / "gallery.html")
    said = (tmp_path / "gallery.html").read_text()
    assert said.count('class="fault"') == 2 and "other pixels than when the run saw it" in said
    rejects = [json.loads(line) for line in (tmp_path / "out/rejects.jsonl").read_text().splitlines()]
    assert {row["file"] for row in rejects if row["grain"] == "picture"} == {"0.png", "1.png"}
    assert len(list((tmp_path / "out/images").iterdir())) == 1


def test_without_stage_3_every_region_passes_unjudged(tmp_path, oracle, pictures):
    settings = Settings(verify_masks=False, verify_pairs=False)
    with oracle() as server, run_engine(tmp_path / "run", server, pictures[:1], settings=settings) as store:
        verified = store.stage(next(store.pictures()).sha256, "verify")[1]
        assert isinstance(verified, Verified) and verified.accepted[0].verdict is None
        assert "verify" not in {row[0] for row in store.query("SELECT DISTINCT stage FROM calls")}


def test_a_unit_fails_alone_whatever_it_raises():
    async def fine():
        return 1

    async def broken(error):
        raise error

    units = {"a": fine(), "b": broken(AttributeError("no such thing")), "c": broken(UnicodeError("half"))}
    results, failures = asyncio.run(run_units(units))
    assert results == {"a": 1} and [f.error_class for f in failures] == ["unexpected", "unexpected"]
    assert "AttributeError: no such thing" in failures[0].reason
    with pytest.raises(RunStopped):
        asyncio.run(run_units({"a": fine(), "b": broken(RunStopped("no key"))}))


def test_a_fault_of_the_segmenter_or_of_a_stage_is_one_pictures_failure(
    tmp_path, oracle, pictures, monkeypatch
):
    from askmask.segmenters.classical import ClassicalSegmenter

    seen = []

    def boxes(self, rgb, found):
        seen.append(rgb)
        if len(seen) == 1:
            raise AttributeError("a fault of its own")
        return real(self, rgb, found)

    real = ClassicalSegmenter.segment_boxes
    monkeypatch.setattr(ClassicalSegmenter, "segment_boxes", boxes)
    with oracle() as server, run_engine(tmp_path / "run", server, pictures[:2], settings=TWO) as store:
        report = report_of(store)
        assert report.failures == {"segment": {"segmenter": 1}} and report.stages["align"]["done"] == 1
        assert "a fault of its own" in report.reasons["segment"]["segmenter"]


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE meta SET value = '{' WHERE name = 'plan'",
        "UPDATE meta SET value = '{\"writer\": 5}' WHERE name = 'plan'",
        "UPDATE meta SET value = '\"new\"' WHERE name = 'schema'",
        "DROP TABLE meta",
    ],
)
def test_a_damaged_store_is_named_and_left_as_it_is(tmp_path, damage):
    import sqlite3

    with RunStore(tmp_path / "run", create=True) as store:
        begin(store, RunPlan(writer=ModelChoice(model="m")))
    with sqlite3.connect(tmp_path / "run" / "run.sqlite") as db:
        db.execute(damage)
    db.close()
    with (
        pytest.raises(DataError, match=r"run\.sqlite is damaged"),
        RunStore(tmp_path / "run", read_only=True) as store,
    ):
        plan_of(store)
    (tmp_path / "run" / "run.sqlite").write_bytes(b"no database at all" * 300)
    with pytest.raises(DataError, match=r"run\.sqlite"):
        RunStore(tmp_path / "run")


@pytest.mark.parametrize(
    "row",
    [
        {"stage": "verify", "schema": "MaskReply"},
        {"stage": "verify", "schema": "MaskReply", "reply": "x", "refused": "no"},
        {"stage": "verify", "schema": "MaskReply", "reply": "x", "picture": "zz"},
        {"stage": "verify", "schema": "MaskReply", "reply": "x", "picture": 5},
        {"stage": "verify", "schema": "MaskReply", "reply": "x", "inputs": [1]},
        {"stage": "verify", "schema": "MaskReply", "reply": 5},
    ],
)
def test_an_odd_line_of_a_recording_is_named(tmp_path, row):
    from askmask.vlm.replay import ReplayVlm

    good = {"stage": "verify", "schema": "MaskReply", "reply": "x", "note": "fields of others are let be"}
    (tmp_path / "r.jsonl").write_text(f"{json.dumps(good)}\n{json.dumps(row)}\n")
    with pytest.raises(DataError, match=r"r\.jsonl, line 2"):
        ReplayVlm(tmp_path / "r.jsonl")


def test_a_name_that_is_no_utf8_is_a_picture_like_any_other(tmp_path, oracle, pictures):
    import os

    folder = tmp_path / "in"
    folder.mkdir()
    try:
        (folder / os.fsdecode(b"caf\xe9.png")).write_bytes(Path(pictures[0]).read_bytes())
        (folder / os.fsdecode(b"bad\xff.jpg")).write_bytes(b"no picture")
    except OSError:
        pytest.skip("this file system takes names in UTF-8 only")
    with oracle() as server, run_engine(tmp_path / "run", server, folder.iterdir(), settings=TWO) as store:
        assert os.fsencode(next(store.pictures()).path).endswith(b"caf\xe9.png")
        assert os.fsencode(store.unreadable()[0][0]).endswith(b"bad\xff.jpg")
        assert report_of(store).stages["align"]["done"] == 1
        from askmask.engine.gallery import write_gallery

        assert write_gallery(store, tmp_path / "gallery.html") == 1


def test_a_full_disk_is_one_error_that_names_the_store(tmp_path):
    """As sqlite says it: the file may grow no further."""
    with pytest.raises(WriteError, match=r"no space left to write .*run\.sqlite"):
        with RunStore(tmp_path / "run", create=True) as store:
            (pages,) = store._db.execute("PRAGMA page_count").fetchone()
            store._db.execute(f"PRAGMA max_page_count={pages}")
            for number in range(200):
                store.add_unreadable(f"{number}", "r" * 300)


def test_a_gallery_takes_the_place_of_a_gallery_alone(tmp_path):
    from askmask.engine.gallery import write_gallery

    with RunStore(tmp_path / "run", create=True) as store:
        begin(store, RunPlan(writer=ModelChoice(model="m")))
        for _ in range(2):
            assert write_gallery(store, tmp_path / "ours.html") == 0
        (tmp_path / "gallery.html").write_text("precious")
        with pytest.raises(SettingError, match="in the way"):
            write_gallery(store, tmp_path / "gallery.html")
    assert (tmp_path / "gallery.html").read_text() == "precious"


def test_a_model_that_finds_without_end_is_broken_off():
    from askmask.detectors.vlm_boxes import MOST_BOXES, BoxesReply

    one = {"number": 1, "found": True, "box": [1, 2, 3, 4]}
    assert len(BoxesReply.model_validate({"boxes": [one] * MOST_BOXES}).boxes) == MOST_BOXES
    with pytest.raises(ValueError, match="at most"):
        BoxesReply.model_validate({"boxes": [one] * (MOST_BOXES + 1)})
