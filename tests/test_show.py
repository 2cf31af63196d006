"""Answers and conversations show themselves: short repr, HTML and PNG for notebooks, Matplotlib, supervision."""

import base64
import io
import json
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from askmask.answer import Answer
from askmask.conversation import Prompt, Round, Segment
from askmask.errors import AskMaskError
from askmask.imaging.files import read_picture
from askmask.imaging.mask import Mask
from tests.evaluation.colour_model import COLOURS, ColourModel

SIZE = (120, 900)


def picture() -> np.ndarray:
    rgb = np.full((*SIZE, 3), 128, np.uint8)
    rgb[20:60, 50:250], rgb[60:110, 500:700] = COLOURS["red"], COLOURS["blue"]
    return rgb


def answer(**changes) -> Answer:
    left, right = np.zeros(SIZE, bool), np.zeros(SIZE, bool)
    left[20:60, 50:250], right[60:110, 500:700] = True, True
    segments = (
        Segment(mask=Mask.from_array(left), id="m1", source="predicted", score=0.91, name="links"),
        Segment(mask=Mask.from_array(right), id="m2", source="predicted", score=0.72),
    )
    made = Answer(
        round=Round(prompt=Prompt(text="<b>both</b> & all"), segments=segments, reply="Two <things>."),
        size=SIZE, score=0.91, presence=0.98, score_trained=True, presence_trained=True, found=True,
        model="mini", protocol="native", threshold=0.5, notices=("unlike <most>",), picture=read_picture(picture()),
    )  # fmt: skip
    return replace(made, **changes)


def nothing(**changes) -> Answer:
    return answer(
        round=Round(prompt=Prompt(text="a zebra"), segments=()), found=False, presence=0.2, **changes
    )


def test_reprs_are_short_and_hold_no_code():
    big = Mask.from_array(np.random.default_rng(0).random((300, 400)) < 0.5)
    assert repr(big) == f"Mask(400 x 300 px, {big.area} in it)"
    assert repr(answer()) == "Answer('<b>both</b> & all': score 0.91, 2 masks, model='mini')"
    assert repr(answer(score_trained=False)) == "Answer('<b>both</b> & all': 2 masks, model='mini')"
    assert repr(nothing()) == "Answer('a zebra': nothing found: presence 0.20 < 0.50, model='mini')"
    assert repr(nothing(presence_trained=False)) == "Answer('a zebra': nothing found, model='mini')"
    assert len(repr(Round(prompt=Prompt(masks=(big,)), segments=(Segment(mask=big),) * 3))) < 900


def test_a_notebook_gets_the_overlay_names_and_scores():
    page = answer()._repr_html_()
    assert "<b>both" not in page and "<most>" not in page and "<things>" not in page
    assert (
        "&lt;b&gt;both" in page
        and "m1 links" in page
        and "0.91" in page
        and "0.72" in page
        and "7.4 %" in page
    )
    data = re.search(r"data:image/webp;base64,([^\"]+)", page)[1]
    shown = Image.open(io.BytesIO(base64.b64decode(data)))
    assert shown.width == 640  # outputs are kept with a notebook
    png = Image.open(io.BytesIO(answer()._repr_png_()))
    assert png.format == "PNG" and png.width == 640
    inside = np.asarray(png.convert("RGB"))[28, 100].astype(int)
    assert np.abs(inside - COLOURS["red"]).max() > 20  # it is tinted


def test_what_is_no_score_is_not_shown_as_one():
    assert (
        "0.91" not in answer(score_trained=False)._repr_html_()
        and "score" not in answer(score_trained=False)._repr_html_()
    )
    assert "presence 0.20 &lt; 0.50" in nothing()._repr_html_()


def test_what_was_not_found_has_no_score_to_store_or_show(tmp_path):
    asked_back = answer(round=Round(prompt=Prompt(text="it"), reply="Which one?"), found=False)
    for one in (nothing(), asked_back):
        assert one.score is None and one.scores == () and one.to_dict()["score"] is None
        assert "0.91" not in repr(one) + one._repr_html_()
        old = one.to_dict() | {"score": 0.99}  # as it used to be written
        assert Answer.from_dict(json.loads(json.dumps(old))).score is None
        one.save(tmp_path)
        (kept,) = json.loads((tmp_path / "result.json").read_text())["answers"]
        assert kept["score"] is None and kept["presence"] == one.presence
    assert answer().score == 0.91 and Answer.from_dict(answer().to_dict()).score == 0.91
    by_hand = Segment(mask=answer().masks[0], source="user")
    assert replace(answer(), round=Round(prompt=Prompt(text="it"), segments=(by_hand,))).scores == (None,)


def test_without_its_picture_an_answer_still_speaks():
    light = answer().light()
    assert "m1 links" in light._repr_html_() and "<img" not in light._repr_html_()
    assert light._repr_png_() is None
    with pytest.raises(AskMaskError, match="no picture"):
        light.overlay()


def test_a_conversation_shows_all_its_rounds():
    session = ColourModel().open(picture())
    session.ask("the red one")
    session.rename("m1", "rotes <Ding>")
    session.ask("that again", about="r1")
    session.ask("a zebra")
    page = session._repr_html_()
    assert "r1: the red one" in page and "m1 rotes &lt;Ding&gt;" in page and "nothing found" in page
    assert "0.90" not in page  # this model's scores are none
    assert Image.open(io.BytesIO(session._repr_png_())).width == 640
    assert session.overlay().width == 900
    assert ColourModel().open(picture())._repr_html_()  # nothing asked yet


def test_the_threshold_travels():
    assert Answer.from_dict(json.loads(json.dumps(answer().to_dict()))).threshold == 0.5
    old = answer().to_dict()
    del old["threshold"]
    assert Answer.from_dict(old).threshold is None


def test_matplotlib():
    pytest.importorskip("matplotlib", reason="needs the extra [notebook]")
    import matplotlib

    matplotlib.use("Agg")
    axes = answer().plot()
    assert axes.images[0].get_array().shape[1] == 900
    assert ColourModel().open(picture()).plot(axes) is axes and len(axes.images) == 2


def test_supervision():
    supervision = pytest.importorskip("supervision", reason="needs the extra [supervision]")
    found = answer().to_supervision()
    assert isinstance(found, supervision.Detections) and len(found) == 2
    assert found.xyxy.tolist() == [[50, 20, 250, 60], [500, 60, 700, 110]]
    assert (found.mask == np.stack([mask.to_array() for mask in answer().masks])).all()
    assert found.confidence.tolist() == pytest.approx([0.91, 0.72])
    assert found.data["name"].tolist() == ["links", ""] and found.data["class_name"][0] == "<b>both</b> & all"
    assert answer(score_trained=False).to_supervision().confidence is None
    assert len(nothing().to_supervision()) == 0
    drawn = supervision.MaskAnnotator().annotate(picture().copy(), found)
    assert (drawn != picture()).any()
