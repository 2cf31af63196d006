"""`askmask segment`: files, JSON, and errors of one line with exit code 2."""

import errno
import json
import os
import sys

import numpy as np
import pytest
from PIL import Image

from askmask import Mask


def test_it_writes_masks_overlays_and_the_result(askmask, tiny_folder, picture_path, tmp_path):
    ran = askmask(
        "segment", picture_path, "the ball", "the box", "--model", tiny_folder, "--out", tmp_path / "o"
    )
    assert ran.code == 0, ran.err
    names = [
        "askmask-run.json",
        "mask-00.png",
        "mask-01.png",
        "overlay-00.png",
        "overlay-01.png",
        "result.json",
    ]
    assert visible(tmp_path / "o") == names
    result = json.loads((tmp_path / "o" / "result.json").read_text())
    assert set(result) == {"image", "size", "model", "protocol", "answers"}
    assert result["size"] == [96, 128] and result["model"] == "tiny" and result["protocol"] == "native"
    for number, answer in enumerate(result["answers"]):
        assert {"prompt", "found", "presence", "score", "masks", "timings"} <= set(answer)
        pixels = np.asarray(Image.open(tmp_path / "o" / f"mask-{number:02d}.png"))
        assert pixels.shape == (96, 128) and set(np.unique(pixels)) <= {0, 255}
        for mask in answer["masks"]:
            assert {"id", "source", "size", "counts", "box", "score"} == set(mask)
            assert (Mask.from_dict(mask).to_array() == (pixels == 255)).all()
            assert tuple(mask["box"]) == Mask.from_dict(mask).box


def visible(folder):
    return sorted(p.name for p in folder.iterdir() if not p.name.startswith("."))


def test_files_of_the_user_are_never_removed_or_written_over(askmask, tiny_folder, picture_path, tmp_path):
    call = ["segment", picture_path, "-m", tiny_folder, "-o", tmp_path / "o"]
    assert askmask(*call, "the ball", "the box").code == 0
    mine = ("mask-0001.png", "mask-07-my-hand-labels.png", "overlay-3.png", "overlay-1st-draft.png", "notes")
    for name in mine:
        (tmp_path / "o" / name).write_text("the user's")
    assert askmask(*call, "the ball").code == 0
    assert visible(tmp_path / "o") == sorted(
        (*mine, "askmask-run.json", "mask-00.png", "overlay-00.png", "result.json")
    )
    assert all((tmp_path / "o" / name).read_text() == "the user's" for name in mine)
    (tmp_path / "o" / "mask-01.png").write_text("the user's")
    ran = askmask(*call, "the ball", "the box")
    assert ran.code == 2 and "mask-01.png is in the way" in ran.err
    assert (tmp_path / "o" / "mask-01.png").read_text() == "the user's"


def test_a_folder_of_others_is_left_as_it_is(askmask, tiny_folder, picture_path, tmp_path):
    (tmp_path / "mask-2024-holiday.png").write_text("the user's")
    ran = askmask("segment", picture_path, "the ball", "-m", tiny_folder, "-o", ".")
    assert ran.code == 2 and "neither empty nor made by" in ran.err and ran.err.count("\n") == 1
    assert [p.name for p in tmp_path.iterdir()] == ["mask-2024-holiday.png"]


def test_a_full_disk_leaves_the_answers_of_before(askmask, tiny_folder, picture_path, tmp_path, monkeypatch):
    call = ["segment", picture_path, "-m", tiny_folder, "-o", tmp_path / "o"]
    assert askmask(*call, "the ball").code == 0
    before = {p.name: p.read_bytes() for p in (tmp_path / "o").iterdir() if p.is_file()}
    real, left = os.fsync, 2

    def full(number):
        nonlocal left
        left -= 1
        if left < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(number)

    monkeypatch.setattr(os, "fsync", full)
    ran = askmask(*call, "the box", "the ball")
    assert ran.code == 2 and "no space left to write" in ran.err and ran.err.count("\n") == 1
    assert {p.name: p.read_bytes() for p in (tmp_path / "o").iterdir() if p.is_file()} == before


def test_json_prints_the_result_and_nothing_else(askmask, tiny_folder, picture_path, tmp_path):
    ran = askmask("segment", picture_path, "the ball", "--model", tiny_folder, "--json")
    assert json.loads(ran.out)["answers"][0]["prompt"] == "the ball"
    assert list(tmp_path.iterdir()) == []
    again = askmask("segment", picture_path, "the ball", "--model", tiny_folder, "--json", "--out", "o")
    assert (tmp_path / "o" / "result.json").exists()
    for said in (ran, again):
        data = json.loads(said.out)
        data["answers"][0].pop("timings")
    assert data == {**json.loads(ran.out), "answers": data["answers"]}


def test_the_published_mask_of_a_photograph(askmask, converted, golden, tmp_path):
    image = golden / "images" / "truck_portrait_225x300.png"
    prompt = "Which wheel would you change first?"
    for path in ("eval", "demo"):
        ran = askmask("segment", image, prompt, "-m", converted, "-p", f"published-{path}", "-o", path)
        assert ran.code == 0, ran.err
        wanted = (
            np.asarray(Image.open(golden / "infer" / f"truck_portrait__{path}_mask.png").convert("L")) > 0
        )
        got = np.asarray(Image.open(tmp_path / path / "mask-00.png")) > 0
        assert (wanted != got).mean() < 1e-3


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere.png", "x"], "no such picture"),
        (["text.jpg", "x"], "not a picture"),
        (["picture.png", ""], "the prompt is empty"),
        (["picture.png", "y" * 40_000], "at most 32768 characters"),
        (["picture.png", "x", "--model", "nowhere"], "no such model or folder"),
        (["picture.png", "x", "--model", "."], "config.json is needed"),
        (["picture.png", "x", "--protocol", "publsihed"], "native, published-eval"),
        (["picture.png", "x", "--device", "cuda:7"], "not here"),
        (["picture.png", "x", "--dtype", "int4"], "no such dtype"),
        (["picture.png", "x", "--out", "text.jpg"], "text.jpg"),
    ],
)
def test_mistakes_end_in_one_line_and_exit_code_2(
    askmask, tiny_folder, picture_path, tmp_path, arguments, said
):
    (tmp_path / "text.jpg").write_text("hello")
    (tmp_path / "picture.png").write_bytes(picture_path.read_bytes())
    if "--model" not in arguments:
        arguments = [*arguments, "--model", tiny_folder]
    ran = askmask("segment", *arguments)
    assert ran.code == 2
    assert said in ran.err
    assert ran.err.count("\n") == 1 and "Traceback" not in ran.err


@pytest.mark.skipif(
    os.name == "nt" or not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere"
)
def test_no_permission_is_one_line(askmask, tiny_folder, picture_path, tmp_path):
    (tmp_path / "locked").mkdir(mode=0o500)
    ran = askmask("segment", picture_path, "x", "-m", tiny_folder, "-o", tmp_path / "locked" / "o")
    assert ran.code == 2 and "permission" in ran.err


def test_debug_shows_where_it_broke(askmask):
    ran = askmask("segment", "nowhere.png", "x", "--debug")
    assert ran.code == 2 and "Traceback" in ran.err and "no such picture" in ran.err


def test_debug_is_an_option_and_no_prompt(askmask, tiny_folder, picture_path):
    ran = askmask("segment", "-m", tiny_folder, "--json", "--", picture_path, "--debug")
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["answers"][0]["prompt"] == "--debug"
    ran = askmask("segment", "\x1b]0;title\x07.png", "x", "--debug")
    assert ran.code == 2 and "Traceback" in ran.err and "\x1b" not in ran.err


@pytest.mark.parametrize(
    "arguments", [["99999999999999999999"], ["-1"], ["5", "--size", "0"], ["5", "--size", "100000"], ["5"]]
)
def test_a_scene_that_cannot_be_shown_is_one_clear_line_and_no_file_is_written_over(
    askmask, tmp_path, arguments
):
    (tmp_path / "world.png").write_bytes(b"mine")
    ran = askmask("world", "show", *arguments)
    assert ran.code == 2 and "unexpected" not in ran.err
    assert (tmp_path / "world.png").read_bytes() == b"mine"


def test_wrong_usage_exits_with_2(askmask):
    assert askmask("segment").code == 2
    assert askmask("segmnt").code == 2


def test_help_has_examples_for_every_command(askmask):
    import askmask.cli.app as cli

    cli.register_commands()
    for command in cli.app.registered_commands:
        name = command.name or command.callback.__name__.replace("_", "-")
        ran = askmask(name, "--help")
        assert ran.code == 0
        assert f"askmask {name}" in ran.out.replace("\n", " "), name


def test_the_version(askmask):
    from askmask import __version__

    assert askmask("--version").out.strip() == f"askmask {__version__}"
    assert sys.argv  # restored by the fixture


@pytest.mark.skipif(os.name == "nt", reason="file names are bytes on POSIX only")
def test_names_that_are_no_text_are_kept_in_the_result(askmask, tiny_folder, picture_path, tmp_path):
    name = os.fsdecode(b"caf\xe9.png")
    (tmp_path / name).write_bytes(picture_path.read_bytes())
    ran = askmask("segment", name, "x", "-m", tiny_folder, "-o", os.fsdecode(b"out\xe9"))
    assert ran.code == 0, ran.err
    assert json.loads((tmp_path / os.fsdecode(b"out\xe9") / "result.json").read_text())["image"] == name
    assert json.loads(askmask("segment", name, "x", "-m", tiny_folder, "--json").out)["image"] == name


def test_a_prompt_cannot_steer_the_terminal(askmask, tiny_folder, picture_path):
    ran = askmask("segment", picture_path, "\x1b]0;title\x07\u202eball", "-m", tiny_folder)
    assert ran.code == 0 and "\x1b" not in ran.out and "\u202e" not in ran.out and "\\x1b]0;title" in ran.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["picture.png", "lone \udcff byte"], "bytes that are not text"),
        (["picture.png", "x", "--device", "cpu:abc"], "not here"),
        (["picture.png", "x", "-m", "nowhere[/x]"], "no such model"),
        (["n" * 400, "x"], "cannot be read"),
        ([os.devnull, "x"], "no regular file"),
    ],
)
def test_odd_arguments_end_in_one_line_too(askmask, tiny_folder, picture_path, tmp_path, arguments, said):
    (tmp_path / "picture.png").write_bytes(picture_path.read_bytes())
    ran = askmask("segment", *arguments, *([] if "-m" in arguments else ["-m", tiny_folder]))
    assert ran.code == 2 and said in ran.err and ran.err.count("\n") == 1


def test_what_nobody_foresaw_is_one_line_too(askmask, tiny_folder, picture_path, monkeypatch):
    import askmask.imaging.given as given

    def broken(*_, **__):
        raise KeyError("who\nknows")

    monkeypatch.setattr(given, "read_given", broken)
    ran = askmask("segment", picture_path, "x", "-m", tiny_folder)
    assert ran.code == 2 and "unexpected KeyError" in ran.err and "--debug" in ran.err
    assert ran.err.count("\n") == 1
    ran = askmask("segment", picture_path, "x", "--debug")
    assert ran.code == 2 and "in broken" in ran.err


def test_a_picture_among_the_prompts_is_no_prompt(askmask, tiny_folder, picture_path, tmp_path):
    ran = askmask("segment", picture_path, picture_path, "the ball", "-m", tiny_folder)
    assert ran.code == 2 and "askmask batch" in ran.err and ran.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_prompt_without_quotes_is_told(askmask, tiny_folder, picture_path):
    call = ["segment", picture_path, "-m", tiny_folder]
    assert "in quotes" in askmask(*call, "The", "ball").err
    assert "in quotes" not in askmask(*call, "the ball", "box").err


def test_an_error_that_asks_ends_in_one_mark():
    from askmask.errors import AskMaskError

    assert str(AskMaskError("how many scenes?", do="Give --count.")) == "how many scenes? Give --count."
    assert str(AskMaskError("no rows", got="x.", do="Add one.")) == "no rows; got x. Add one."
    assert str(AskMaskError("no rows", got="x", do="Add one.")) == "no rows; got x. Add one."


def test_help_shows_what_stands_in_brackets(askmask):
    ran = askmask("engine", "run", "--help")
    assert "[ray]" in ran.out


def test_the_prompts_of_the_help_can_be_asked_alone():
    """They are asked together, and none of them knows of the others."""
    from askmask.cli.segment import EXAMPLES

    assert '"its ' not in EXAMPLES
