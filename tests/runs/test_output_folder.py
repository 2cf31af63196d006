"""Folders are ours or are left alone; logs lose one line at most; two runs never write into one folder."""

import json
import subprocess
import sys

import pytest

from askmask.errors import DataError, SettingError
from askmask.runs.claim import claim
from askmask.runs.json_text import read_rows
from askmask.runs.manifest import MANIFEST, check_same, is_ours, output_folder
from askmask.runs.whole_files import write_text
from tests.conftest import ROOT


def visible(folder):
    return sorted(p.name for p in folder.iterdir() if not p.name.startswith(".askmask-"))


def test_a_folder_says_what_made_it(tmp_path):
    from askmask import __version__

    with output_folder(tmp_path / "o", "askmask batch", {"model": "m", "sizes": (1, 2)}) as folder:
        write_text(folder.path("x"), "")
    said = json.loads((tmp_path / "o" / MANIFEST).read_text())
    assert said["made_by"] == "askmask batch" and said["askmask"] == __version__
    assert said["facts"] == {"model": "m", "sizes": [1, 2]} and said["files"] == ["x"]
    assert is_ours(tmp_path / "o") and not is_ours(tmp_path)


@pytest.mark.parametrize("name", ["notes.txt", "results.jsonl", "lock", "images"])
def test_a_folder_of_others_is_left_as_it_is(tmp_path, name):
    (tmp_path / name).write_text("precious")
    (tmp_path / ".DS_Store").touch()
    with pytest.raises(
        SettingError, match=r"neither empty nor made by `askmask batch`; got .* Choose another --out"
    ):
        with output_folder(tmp_path, "askmask batch", {}):
            pass
    assert sorted(p.name for p in tmp_path.iterdir()) == [".DS_Store", name]
    assert (tmp_path / name).read_text() == "precious"


def test_files_of_the_system_do_not_fill_a_folder(tmp_path):
    (tmp_path / ".DS_Store").touch()
    with output_folder(tmp_path, "askmask batch", {}):
        pass


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "f").touch()
    with pytest.raises(SettingError, match="a folder is needed"), output_folder(tmp_path / "f", "x"):
        pass


def test_another_command_or_other_facts_are_refused_by_name(tmp_path):
    facts = {"model": "a", "plan": {"votes": 1, "px": 768}}
    with output_folder(tmp_path, "askmask batch", facts):
        pass
    with (
        pytest.raises(SettingError, match="holds the output of `askmask batch`"),
        output_folder(tmp_path, "eval"),
    ):
        pass
    other = {"model": "a", "plan": {"votes": 3, "px": 768}}
    with pytest.raises(SettingError, match=r"another plan.votes; got plan.votes: 1 there, 3 now.*run="):
        with output_folder(tmp_path, "askmask batch", other, option="run="):
            pass
    with output_folder(tmp_path, "askmask batch", other, again=True):
        pass
    with (
        output_folder(tmp_path, "askmask batch", other),
        pytest.raises(SettingError, match="another model, votes"),
    ):
        check_same({"model": 1}, {"votes": 2}, tmp_path)


def test_facts_may_come_later(tmp_path):
    with output_folder(tmp_path, "eval"):
        pass
    with output_folder(tmp_path, "eval", {"a": 1}):
        pass
    with pytest.raises(SettingError, match="another a"), output_folder(tmp_path, "eval", {"a": 2}):
        pass


def test_folders_from_before_the_manifest_are_adopted_if_asked(tmp_path):
    (tmp_path / "run.sqlite").touch()
    with output_folder(tmp_path, "engine", adopt=("run.sqlite",)):
        assert is_ours(tmp_path)


def test_only_listed_files_are_removed_and_none_is_written_over(tmp_path):
    with output_folder(tmp_path, "segment", {}) as folder:
        for path in folder.paths(["mask-00.png", "mask-01.png"]):
            write_text(path, "ours")
    (tmp_path / "mask-02.png").write_text("by hand")
    with output_folder(tmp_path, "segment", {"other": 1}, again=True) as folder:
        folder.remove("mask-02.png")
        with pytest.raises(SettingError, match=r"mask-02\.png is in the way"), folder.anew() as fresh:
            write_text(fresh / "mask-00.png", "new")
            write_text(fresh / "mask-02.png", "new")
        assert (tmp_path / "mask-00.png").read_text() == "ours"
        with folder.anew() as fresh:
            write_text(fresh / "mask-00.png", "new")
    assert visible(tmp_path) == [MANIFEST, "mask-00.png", "mask-02.png"]
    assert (tmp_path / "mask-00.png").read_text() == "new"
    assert (tmp_path / "mask-02.png").read_text() == "by hand"
    assert json.loads((tmp_path / MANIFEST).read_text())["files"] == ["mask-00.png"]


@pytest.mark.parametrize("text", ["", "[]", '{"made_by": "x", "facts": {}, "files": ["../x"]}'])
def test_a_manifest_of_others_is_named(tmp_path, text):
    (tmp_path / MANIFEST).write_text(text)
    with pytest.raises(DataError, match=MANIFEST), output_folder(tmp_path, "x", {}):
        pass


@pytest.mark.parametrize("rest", ["", '{"id": "b", "mas', "x" * 200_000])
def test_a_torn_line_is_cut_and_whole_ones_stay(tmp_path, rest):
    with output_folder(tmp_path, "batch", {}) as folder:
        with folder.log("results.jsonl") as log:
            log.append({"id": "a\ud800"})
        with (tmp_path / "results.jsonl").open("a") as file:
            file.write(rest)
        with folder.log("results.jsonl") as log:
            log.append({"id": "c"})
    assert [row["id"] for _, row in read_rows(tmp_path / "results.jsonl")] == ["a\ud800", "c"]


def test_a_log_of_others_is_not_cut(tmp_path):
    with output_folder(tmp_path, "batch", {}) as folder:
        (tmp_path / "results.jsonl").write_text('{"my": "precious"}')
        with pytest.raises(SettingError, match="in the way"):
            folder.log("results.jsonl")
    assert (tmp_path / "results.jsonl").read_text() == '{"my": "precious"}'


def test_shards_work_side_by_side_and_nobody_else_does(tmp_path):
    said = "another run is writing to"
    with claim(tmp_path, shard=0, shards=2):
        for other in ((0, 2), (0, 1), (2, 3)):
            with pytest.raises(SettingError, match=said), claim(tmp_path, shard=other[0], shards=other[1]):
                pass
        with claim(tmp_path, shard=1, shards=2):
            pass
    with claim(tmp_path), pytest.raises(SettingError, match=said), claim(tmp_path):
        pass
    with claim(tmp_path, shard=2, shards=3):
        pass


STARTED = """
import sys
from askmask.runs.manifest import output_folder
shard = int(sys.argv[2])
with output_folder(sys.argv[1], "eval", {"a": 1}, shard=shard, shards=6) as folder:
    for number in range(20):
        folder.path(f"{number}-of-{shard}")
"""


def test_processes_that_start_together_share_one_manifest(tmp_path):
    with claim(tmp_path, shard=1, shards=9):  # an earlier run of another number, whose lock all look at
        pass
    together = [
        subprocess.Popen([sys.executable, "-c", STARTED, tmp_path / "o", str(shard)], cwd=ROOT)
        for shard in range(6)
    ]
    assert [process.wait() for process in together] == [0] * 6
    assert len(json.loads((tmp_path / "o" / MANIFEST).read_text())["files"]) == 120


@pytest.mark.parametrize("name", ["../x.png", "a/../../x.png", "/tmp/x.png", ""])
def test_no_file_is_named_outside_the_folder(tmp_path, name):
    with (
        output_folder(tmp_path / "out", "a test") as folder,
        pytest.raises(SettingError, match="must lie in it"),
    ):
        folder.path(name)
    with output_folder(tmp_path / "out", "a test"):  # its manifest is as it was
        assert not (tmp_path / "x.png").exists()


def test_of_hashes_their_beginnings_are_told(tmp_path):
    there, now = {"weights": "0a" * 32}, {"weights": "0b" * 32 + "+classical"}
    with pytest.raises(SettingError) as caught:
        check_same(there, now, tmp_path)
    said = str(caught.value)
    assert (
        "weights: '0a0a0a0a0a0a...' there, '0b0b0b0b0b0b...+classical' now" in said and "0a" * 7 not in said
    )
