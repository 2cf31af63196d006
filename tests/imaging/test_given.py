"""Patterns: the files they mean, what they leave out, and folders that hide what they hold."""

import os
from pathlib import Path

import pytest

from askmask.batch import read_items
from askmask.errors import PictureError
from askmask.imaging.files import list_pictures, read_picture
from askmask.imaging.given import expanded, one_of
from askmask.runs.manifest import output_folder
from tests.closed import be_a_plain_user, nobodys_folder

NAMES = ("a.png", "b.txt", ".hidden/x.png", "s/c.png", "s/d[1].png", "s/t/e.png")


@pytest.fixture
def folder(tmp_path):
    for name in NAMES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    return tmp_path


@pytest.mark.parametrize(
    ("pattern", "meant"),
    [
        ("*.png", ["a.png"]),
        ("*/*.png", ["s/c.png", "s/d[1].png"]),
        ("**/*.png", ["a.png", "s/c.png", "s/d[1].png", "s/t/e.png"]),
        ("**/**/e.png", ["s/t/e.png"]),
        ("s/**", ["s/c.png", "s/d[1].png", "s/t/e.png"]),
        ("*/t/e.png", ["s/t/e.png"]),
        (".hid*/*", [".hidden/x.png"]),
        ("s/[cd]*.p?g", ["s/c.png", "s/d[1].png"]),
        ("s/d[[]1].png", ["s/d[1].png"]),
        ("s/d[1].png", ["s/d[1].png"]),  # a file of that very name
        ("s/../*.png", ["a.png"]),
    ],
)
def test_a_pattern_means_files(folder, pattern, meant):
    found = expanded(f"{folder}/{pattern}")
    assert [os.path.relpath(path, folder) for path in found] == [os.path.normpath(name) for name in meant]


def test_a_pattern_may_be_relative_and_mean_nothing(folder, monkeypatch):
    monkeypatch.chdir(folder)
    assert expanded("s/*.png") == [Path("s/c.png"), Path("s/d[1].png")]
    for pattern in ("*.jpg", "nowhere/*.png", "a.png/*", "*\0"):
        with pytest.raises(PictureError, match="no file is meant"):
            expanded(pattern)
    with pytest.raises(PictureError, match=r"one picture is needed.*c\.png"):
        one_of("s/*.png")


@pytest.mark.skipif(os.name != "posix", reason="links and modes of POSIX")
def test_links_in_circles_end(folder):
    (folder / "s" / "up").symlink_to(folder)
    (folder / "other").symlink_to(folder / "s" / "t")
    assert folder / "other" / "e.png" in expanded(f"{folder}/**/*.png")


def test_what_a_command_wrote_is_asked_again_only_by_its_name(folder):
    with output_folder(folder / "out", "askmask segment", {}):
        (folder / "out" / "overlay-00.png").write_bytes(b"x")
    assert folder / "out" / "overlay-00.png" not in expanded(f"{folder}/**/*.png")
    assert expanded(f"{folder}/out/*.png") == [folder / "out" / "overlay-00.png"]


@pytest.mark.skipif(os.name != "posix", reason="modes of POSIX")
def test_a_folder_that_may_not_be_entered_is_named():
    with nobodys_folder() as root:
        (root / "closed").mkdir()
        for name in ("a.png", "closed/b.png"):
            (root / name).write_bytes(b"x")
        (root / "closed").chmod(0)
        be_a_plain_user()
        closed, seen = root / "closed", root / "a.png"
        assert expanded(f"{root}/*/b.png") == expanded(f"{root}/*/*.png") == [closed]
        assert expanded(f"{root}/**/*.png") == list_pictures(root) == [seen, closed]
        items, _ = read_items(f"{root}/**/*.png", ["the cup"])
        assert [item.image for item in items] == [seen, closed]
        with pytest.raises(PictureError, match="may not be entered"):
            read_picture(closed)
