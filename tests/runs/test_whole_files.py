"""Files are whole or not there: after errors, kills and on a full disk."""

import errno
import json
import os
import signal
import subprocess
import sys

import pytest

from askmask.errors import DataError, WriteError
from askmask.runs.whole_files import (
    clear_leftovers,
    copy_file,
    finish_swap,
    is_leftover,
    open_whole,
    whole_file,
    whole_folder,
    write_json,
    write_text,
)
from tests.conftest import ROOT


def names(folder):
    return sorted(
        p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file() and "lock" not in p.name
    )


def test_what_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a" / "x.txt"
    write_text(path, "old")
    with pytest.raises(ZeroDivisionError), whole_file(path) as temporary:
        temporary.write_text("new")
        _ = 1 / 0
    assert path.read_text() == "old" and names(tmp_path) == ["a/x.txt"]


@pytest.mark.skipif(os.name == "nt", reason="modes are POSIX's")
def test_a_file_has_the_mode_of_any_other(tmp_path):
    (tmp_path / "ordinary").touch()
    with whole_file(tmp_path / "x") as temporary:
        temporary.chmod(0o600)
    assert (tmp_path / "x").stat().st_mode == (tmp_path / "ordinary").stat().st_mode


def test_text_that_is_no_text_is_written(tmp_path):
    write_text(tmp_path / "x", "half an emoji \ud83d\n")
    assert (tmp_path / "x").read_bytes() == b"half an emoji \\ud83d\n"
    write_json(tmp_path / "y", {"half": "\ud83d"})
    assert json.loads((tmp_path / "y").read_bytes()) == {"half": "\ud83d"}


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 64 vs 0"),
        ValueError("database or disk is full"),
    ],
)
def test_a_full_disk_is_one_error_that_names_the_target(tmp_path, error):
    with pytest.raises(WriteError, match=r"no space left to write .*x\.pt\. Free some space"):
        with whole_file(tmp_path / "x.pt"):
            raise error
    assert names(tmp_path) == []


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
def test_a_disk_that_is_really_full(tmp_path):
    torch = pytest.importorskip("torch", reason="needs torch, whose own error is looked for")

    with pytest.raises(WriteError, match=r"x\.pt"), whole_file(tmp_path / "x.pt") as temporary:
        temporary.unlink()
        temporary.symlink_to("/dev/full")
        torch.save({"a": torch.zeros(1 << 20)}, temporary)


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write anywhere")
def test_no_permission_names_the_target(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError) as error:
        write_text(tmp_path / "x", "")
    assert error.value.filename == str(tmp_path / "x")


def test_a_copy_is_whole(tmp_path):
    (tmp_path / "a").write_bytes(b"1" * 3_000_000)
    copy_file(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == (tmp_path / "a").read_bytes()
    with pytest.raises(FileNotFoundError):
        copy_file(tmp_path / "nowhere", tmp_path / "b")
    assert (tmp_path / "b").stat().st_size == 3_000_000


def test_leftovers_are_told_from_users_files_and_no_pattern_of_ours_finds_them(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / ".askmask-note").touch()
    with pytest.raises(KeyboardInterrupt), open_whole(tmp_path / "sub" / "x.jsonl"):
        (left,) = (tmp_path / "sub").iterdir()
        assert is_leftover(left.name) and left.suffix not in (".jsonl", ".png", ".pt", ".npz", ".safetensors")
        left.with_name(".askmask-0.tmp").touch()  # another, of a process that was killed
        raise KeyboardInterrupt
    assert names(tmp_path) == [".askmask-note", "sub/.askmask-0.tmp"]
    clear_leftovers(tmp_path)
    assert names(tmp_path) == [".askmask-note"]


def keep(_):
    return ()


def test_a_folder_changes_at_once_or_not_at_all(tmp_path):
    (tmp_path / "mine.txt").write_text("the user's")
    with whole_folder(tmp_path, keep) as fresh:
        write_text(fresh / "card", "1")
        write_text(fresh / "sub" / "part", "1")
        assert names(tmp_path / "sub") == []
    with pytest.raises(ZeroDivisionError), whole_folder(tmp_path, lambda _: ["sub/part"]) as fresh:
        write_text(fresh / "card", "2")
        _ = 1 / 0
    assert (tmp_path / "card").read_text() == "1" and names(tmp_path) == ["card", "mine.txt", "sub/part"]
    with whole_folder(tmp_path, lambda _: ["sub/part"]) as fresh:
        write_text(fresh / "card", "2")
    assert (tmp_path / "card").read_text() == "2" and names(tmp_path) == ["card", "mine.txt"]


KILLED = """
import os, signal, sys
from pathlib import Path
import askmask.runs.whole_files as files
real, left = os.replace, int(sys.argv[2])
def replace(*paths):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    real(*paths)
files.os.replace = replace
with files.whole_folder(Path(sys.argv[1]), lambda _: ["old", "a"]) as fresh:
    for name in ("a", "b", "c"):
        files.write_text(fresh / name, "new")
"""


@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
@pytest.mark.parametrize("moves", range(8))
def test_a_kill_at_any_move_leaves_the_old_or_the_new(tmp_path, moves):
    """Three files are written, then the note, then three moves: eight places to be killed at, the last is none."""
    for name in ("a", "b", "c", "old"):
        write_text(tmp_path / name, "before")
    code = subprocess.run(
        [sys.executable, "-c", KILLED, tmp_path, str(moves)], cwd=ROOT, check=False
    ).returncode
    assert code == (0 if moves == 7 else -signal.SIGKILL)
    finish_swap(tmp_path)
    clear_leftovers(tmp_path)
    found = {name: (tmp_path / name).read_text() for name in names(tmp_path)}
    if moves <= 3:
        assert found == dict.fromkeys(("a", "b", "c", "old"), "before")
    else:
        assert found == dict.fromkeys(("a", "b", "c"), "new")


@pytest.mark.parametrize(
    "note",
    [
        {"from": ".askmask-1.tmp", "files": ["../victim"], "remove": []},
        {"from": ".askmask-1.tmp", "files": [], "remove": ["../victim"]},
        {"from": "..", "files": ["victim"], "remove": []},
        {"from": "sub", "files": [], "remove": []},
        {"files": 1},
    ],
)
def test_a_strangers_note_reaches_nothing_outside(tmp_path, note):
    folder = tmp_path / "net"
    (folder / "sub").mkdir(parents=True)
    (tmp_path / "victim").touch()
    (folder / ".askmask-swap.json").write_text(json.dumps(note))
    with pytest.raises(DataError, match="askmask-swap"):
        finish_swap(folder)
    assert (tmp_path / "victim").exists() and (folder / "sub").exists()
