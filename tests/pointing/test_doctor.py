"""The calibration picture tells the planted faults of servers apart."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import ndimage
from typer.testing import CliRunner

pytest.importorskip("openai")
from askmask.cli.app import app, register_commands
from askmask.doctor import drawing
from askmask.loading import open_pointer
from askmask.pointing.calibrate import COLOURS, calibrate
from askmask.pointing.choice import PointChoice
from askmask.pointing.meter import Limits, Meter
from tests.engine.test_models import tiny_sam2
from tests.pointing.test_point import sent_pictures
from tests.vlm.endpoint import reply, scripted

register_commands()


def server(write, *, smallest=0):
    """A model that sees coloured squares where they are and writes each with `write(x, y, width, height)`."""

    def answer(body):
        rgb = np.asarray(sent_pictures(body)[0].convert("RGB"), np.int16)
        height, width = rgb.shape[:2]
        found = []
        for name, colour in COLOURS.items():
            near = (np.abs(rgb - np.array(colour, np.int16)) < 40).all(axis=2)
            ys, xs = np.flatnonzero(near.any(axis=1)), np.flatnonzero(near.any(axis=0))
            if not len(ys):
                continue
            y, x = ys[0], xs[0]  # only where there is any of it: opening all of a picture takes long
            near = ndimage.binary_opening(near[y : ys[-1] + 1, x : xs[-1] + 1], iterations=2)
            if near.sum() <= smallest:
                continue
            (rows, columns), *_ = ndimage.find_objects(near.astype(int))
            corners = [(x + columns.start, y + rows.start), (x + columns.stop, y + rows.stop)]
            box = [float(v) for place in corners for v in write(*place, width, height)]
            found.append({"bbox_2d": box, "label": f"{name} square"})
        return reply(json.dumps({"instances": found, "nothing_because": "", "reply": ""}))

    return answer


def thousandths(x, y, width, height):
    return [1000 * x / width, 1000 * y / height]


FAULTS = {
    "fine": (server(thousandths), "fine", "qwen3-vl"),
    "y first": (server(lambda x, y, w, h: thousandths(x, y, w, h)[::-1]), "convention", "gemini"),
    "fractions": (server(lambda x, y, w, h: [x / w, y / h]), "convention", "fractions"),
    "pixels": (server(lambda x, y, w, h: [x, y]), "convention", "qwen2.5-vl"),
    "hidden resize": (server(lambda x, y, w, h: [0.6 * v for v in thousandths(x, y, w, h)]), "resize", None),
    "too few tokens": (server(thousandths, smallest=4000), "tokens", None),
    "sees nothing": (server(thousandths, smallest=10**9), "lost", None),
    "places at random": (server(lambda x, y, w, h: [(x * 7919) % 1000, (y * 104729) % 1000]), "lost", None),
    "prose": (reply("squares everywhere"), "unreadable", None),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_named(fault):
    answer, kind, fits = FAULTS[fault]
    with scripted(answer) as (url, _):
        pointer = open_pointer(PointChoice(vlm_model="qwen3-vl-8b", base_url=url))
        verdict = calibrate(pointer, Meter(Limits(calls=20)))
    assert (verdict.kind, verdict.fits) == (kind, fits), verdict.words


def test_a_hidden_resize_of_pixels_is_told_from_a_wrong_convention():
    """The server halves what it is sent, and the model answers in pixels of that."""
    with scripted(server(lambda x, y, w, h: [x / 2, y / 2])) as (url, _):
        pointer = open_pointer(PointChoice(vlm_model="qwen2.5-vl-7b", base_url=url))
        verdict = calibrate(pointer, Meter(Limits(calls=20)))
    assert verdict.kind == "resize" and "0.50 x 0.50" in verdict.words


def test_the_command_says_so(monkeypatch):
    monkeypatch.setattr("askmask.doctor.examine", lambda model: iter(()))
    command = [
        "doctor",
        "--model",
        "point",
        "--vlm-model",
        "qwen3-vl-8b",
        "--drawer",
        "classical",
        "--base-url",
    ]
    with scripted(FAULTS["fine"][0]) as (url, _):
        good = CliRunner().invoke(app, [*command, url])
    with scripted(FAULTS["y first"][0]) as (url, _):
        bad = CliRunner().invoke(app, [*command, url])
    assert good.exit_code == 0 and "places are where" in " ".join(good.output.split())
    assert "with a plain disc" in " ".join(good.output.split())
    assert bad.exit_code == 1 and "--convention gemini" in " ".join(bad.output.split())


def test_a_drawer_is_examined_too(tmp_path):
    tiny_sam2().save_pretrained(tmp_path)
    random = drawing(PointChoice(vlm_model="m", drawer="sam2.1-tiny", drawer_at=str(tmp_path)))
    absent = drawing(PointChoice(vlm_model="m", drawer="sam2.1-large"))
    assert not random.ok and "are these its weights" in random.found
    assert absent.ok and "not on this machine" in absent.found
