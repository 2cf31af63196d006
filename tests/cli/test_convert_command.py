"""`askmask convert` of what the other commands write; pictures from the standard input, the clipboard and patterns."""

import io
import json
import os
import shutil
import stat
import sys

import numpy as np
import pytest
from PIL import Image

from askmask import Mask
from askmask.formats import open_dataset
from askmask.notes import Notes
from askmask.sources import UNTRAINED, open_source
from tests.evaluation.colour_model import ColourModel


@pytest.fixture
def desk(tmp_path):
    """A red and a blue square on grey."""
    rgb = np.full((40, 60, 3), 128, np.uint8)
    rgb[5:15, 5:25], rgb[20:35, 30:50] = (220, 30, 30), (30, 40, 220)
    (tmp_path / "photos").mkdir()
    path = tmp_path / "photos/desk.png"
    Image.fromarray(rgb).save(path)
    return path


def test_answers_of_segment(askmask, tiny_folder, picture_path, tmp_path):
    assert askmask("segment", picture_path, "the ball", "the box", "-m", tiny_folder, "-o", "s").code == 0
    ran = askmask("convert", "s", "--to", "coco", "--out", "coco")
    assert ran.code == 0 and UNTRAINED in ran.err, ran.err
    asked = {e.rounds[0].text: e.rounds[0] for e in open_dataset("coco")}
    for number, answer in enumerate(json.loads((tmp_path / "s/result.json").read_text())["answers"]):
        if answer["masks"]:
            assert Mask.from_png(tmp_path / f"s/mask-{number:02d}.png") == asked[answer["prompt"]].mask(
                (96, 128)
            )
    assert "written to coco/" in ran.out
    assert askmask("convert", "s", "--to", "coco", "--out", "coco").code == 0  # again: made anew
    assert "another to" in askmask("convert", "s", "--to", "cvat", "--out", "coco").err


def test_answers_of_batch_and_what_failed(askmask, tiny_folder, picture_path, tmp_path):
    (tmp_path / "p").mkdir()
    for name in ("a.png", "b.png"):
        shutil.copy(picture_path, tmp_path / "p" / name)
    (tmp_path / "p/broken.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    assert (
        askmask("batch", "p", "--prompt", "ball", "--prompt", "box", "-m", tiny_folder, "-o", "b").code == 1
    )
    ran = askmask("convert", "b", "--to", "png", "--out", "masks")
    assert ran.code == 0 and "2 x prompts left out: they failed" in ran.err
    assert len((tmp_path / "masks/masks.csv").read_text().splitlines()) == 1 + 4


def test_a_saved_session_with_names_references_and_drawn_masks(askmask, desk, tmp_path):
    session = ColourModel().open(desk)
    session.ask("the red one")
    session.rename("m1", "links")
    session.ask("that again", about="m1")
    session.ask("a zebra")
    session.add(session["m1"].mask, name="von Hand")
    (tmp_path / "talk.json").write_text(json.dumps(session.to_dict()))
    (example,) = open_source("talk.json", notes=(notes := Notes()))
    assert not example.independent and [r.prompt for r in example.rounds] == [
        r.prompt for r in session.rounds
    ]
    assert notes.counts[UNTRAINED] == 2 and {s.score for r in example.rounds for s in r.segments} == {None}
    for to in ("own", "geojson", "cvat"):
        assert askmask("convert", "talk.json", "--to", to, "--out", to).code == 0
    (kept,) = open_dataset("own")
    assert kept.rounds == example.rounds
    features = json.loads((tmp_path / "geojson/geojson/desk.geojson").read_text())["features"]
    assert [f["properties"].get("name") for f in features] == ["links", None, None, "von Hand"]
    assert features[1]["properties"]["refers_to"] == ["m1"] and features[2]["geometry"] is None
    # moved away: found again with --at
    (tmp_path / "elsewhere").mkdir()
    desk.rename(tmp_path / "elsewhere/desk.png")
    ran = askmask("convert", "talk.json", "--to", "coco", "--out", "c")
    assert ran.code == 2 and "no such picture" in ran.err
    assert askmask("convert", "talk.json", "--to", "coco", "--out", "d", "--at", "elsewhere").code == 0
    assert askmask("convert", "talk.json", "--to", "coco", "--out", "e", "--pictures", "none").code == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere", "--to", "coco", "--out", "o"], "no such file"),
        (["photos", "--to", "coco", "--out", "o"], "no examples.jsonl"),
        (["nonsense.json", "--to", "coco", "--out", "o"], "form must be named"),
        (["nonsense.json", "--to", "tiff", "--out", "o"], "'tiff' is not one of"),
        (["label-studio:nonsense.json", "--to", "coco", "--out", "o"], "a JSON list is needed"),
    ],
)
def test_mistakes_of_convert(askmask, desk, tmp_path, arguments, said):
    (tmp_path / "nonsense.json").write_text("{}")
    ran = askmask("convert", *arguments)
    assert ran.code == 2 and said in " ".join(ran.err.split())
    assert "Traceback" not in ran.err


# -- where pictures come from ---------------------------------------------------------------------------------


def feed(monkeypatch, data: bytes):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))


def test_a_picture_from_the_standard_input(askmask, tiny_folder, picture_path, monkeypatch):
    by_path = json.loads(askmask("segment", picture_path, "x", "-m", tiny_folder, "--json").out)
    feed(monkeypatch, picture_path.read_bytes())
    by_pipe = json.loads(askmask("segment", "-", "x", "-m", tiny_folder, "--json").out)
    assert by_pipe["image"] == "stdin"
    assert by_pipe["answers"][0]["masks"] == by_path["answers"][0]["masks"]
    for data, said in ((b"", "nothing came"), (b"text", "stdin: not a picture")):
        feed(monkeypatch, data)
        assert said in askmask("segment", "-", "x", "-m", tiny_folder).err


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the clipboard is the person's own")
def test_a_picture_from_the_clipboard(askmask, tiny_folder, picture_path, tmp_path, monkeypatch):
    """Pillow asks xclip; one that gives a picture stands in its place."""
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "xclip").write_text(f"#!/bin/sh\ncat '{picture_path}'\n")
    (tools / "xclip").chmod(stat.S_IRWXU)
    monkeypatch.setenv("PATH", f"{tools}{os.pathsep}/bin{os.pathsep}/usr/bin")
    monkeypatch.setenv("XDG_SESSION_TYPE", "x11")
    ran = askmask("segment", "clipboard:", "x", "-m", tiny_folder, "--json")
    assert ran.code == 0 and json.loads(ran.out)["image"] == "clipboard", ran.err
    (tools / "xclip").write_text("#!/bin/sh\nexit 1\n")
    ran = askmask("segment", "clipboard:", "x", "-m", tiny_folder)
    assert ran.code == 2 and "clipboard" in ran.err and ran.err.count("\n") == 1


def test_a_url_is_fetched_only_when_that_is_allowed(askmask, tiny_folder, tmp_path):
    url = "https://127.0.0.1:1/a.png?key=secret"
    ran = askmask("segment", url, "x", "-m", tiny_folder)
    assert ran.code == 2 and "Add --allow-urls" in ran.err and "secret" not in ran.err
    ran = askmask("segment", url, "x", "-m", tiny_folder, "--allow-urls")
    assert ran.code == 2 and "only addresses of the public internet" in ran.err and "secret" not in ran.err
    (tmp_path / "q.jsonl").write_text(json.dumps({"image": url, "prompt": "x", "id": "q1"}))
    for more, said in (((), "--allow-urls"), (("--allow-urls",), "public internet")):
        ran = askmask("batch", "q.jsonl", "-m", tiny_folder, "-o", "b", *more)
        assert ran.code == 1 and said in ran.err


def test_patterns(askmask, tiny_folder, picture_path, tmp_path):
    for name in ("a/one.png", "a/b/two.png", "a/[odd].png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(picture_path, tmp_path / name)
    assert askmask("segment", "a/o*.png", "x", "-m", tiny_folder, "--json").code == 0
    assert askmask("segment", "a/[odd].png", "x", "-m", tiny_folder, "--json").code == 0
    assert "3 files meant by" in askmask("segment", "a/**/*.png", "x", "-m", tiny_folder).err
    assert "no file is meant" in askmask("segment", "a/*.jpg", "x", "-m", tiny_folder).err
    assert askmask("batch", "a/**/*.png", "--prompt", "x", "-m", tiny_folder, "-o", "b").code == 0
    rows = [json.loads(line) for line in (tmp_path / "b/results.jsonl").read_text().splitlines()]
    assert [row["image"] for row in rows] == ["a/[odd].png", "a/b/two.png", "a/one.png"]


# -- thresholds -----------------------------------------------------------------------------------------------


def test_a_threshold_decides_and_is_said(askmask, picture_path, tmp_path):
    found = {}
    for threshold in ("0", "1"):
        ran = askmask("segment", picture_path, "the ball", "--threshold", threshold, "--json")
        (answer,) = json.loads(ran.out)["answers"]
        assert answer["threshold"] == float(threshold)
        found[threshold] = answer["found"]
        if threshold == "1":
            ran = askmask("segment", picture_path, "the ball", "--threshold", threshold, "-o", "o")
            assert f"nothing found: presence {answer['presence']:.2f} < 1.00" in ran.out
    assert found == {"0": True, "1": False}
    assert (
        askmask("batch", picture_path.parent, "--prompt", "ball", "-o", "b", "--threshold", "0.3").code == 0
    )
    ran = askmask("batch", picture_path.parent, "--prompt", "ball", "-o", "b", "--threshold", "0.4")
    assert ran.code == 2 and "another threshold" in ran.err


def test_a_threshold_needs_a_presence(askmask, tiny_folder, picture_path):
    ran = askmask("segment", picture_path, "x", "-m", tiny_folder, "--threshold", "0.5")
    assert ran.code == 2 and "Leave --threshold out" in ran.err
    ran = askmask("segment", picture_path, "x", "-m", "point", "--vlm-model", "m", "--threshold", "0.5")
    assert ran.code == 2 and "Leave --threshold out" in ran.err


def test_no_score_is_shown_that_is_none(askmask, tiny_folder, picture_path):
    ran = askmask("segment", picture_path, "the ball", "-m", tiny_folder)
    assert ran.code == 0 and "score" not in ran.out
    ran = askmask("segment", picture_path, "the ball", "--threshold", "0", "-o", "mini")
    assert ran.code == 0 and "score" in ran.out
