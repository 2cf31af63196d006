"""`point` end to end over HTTP: places in every convention, outcomes, faults of the line, the conversation, limits."""

from __future__ import annotations

import base64
import io
import json

import numpy as np
import pytest
from PIL import Image, ImageDraw
from typer.testing import CliRunner

pytest.importorskip("openai")
import askmask
from askmask.backends.pointing import ReplyUnreadable
from askmask.cli.app import app, register_commands
from askmask.errors import AskMaskError, PromptError, SettingError
from askmask.pointing.outcome import Instance
from tests.vlm.endpoint import failure, reply, scripted

register_commands()
THING = (300, 100, 520, 330)


def sent_pictures(body: dict) -> list[Image.Image]:
    parts = [p for m in body["messages"] if isinstance(m["content"], list) for p in m["content"]]
    urls = [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]
    return [Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))) for url in urls]


def pointing(*boxes, key="bbox_2d", label="thing", **more) -> str:
    instances = [{key: list(box), "label": label} for box in boxes]
    return json.dumps({"instances": instances, "nothing_because": "", "reply": "", **more})


def picture(size=(640, 480), thing=THING) -> Image.Image:
    image = Image.new("RGB", size, (225, 225, 220))
    ImageDraw.Draw(image).ellipse(thing, fill=(200, 30, 30))
    return image


def load(url, model="qwen3-vl-8b", **settings):
    return askmask.load("point", vlm_model=model, base_url=url, drawer="classical", device="cpu", **settings)


def thousandths(box, size=(640, 480)):
    return [1000 * v / side for v, side in zip(box, size * 2, strict=True)]


def test_segment_writes_what_the_model_points_at(tmp_path):
    picture().save(tmp_path / "p.png")
    with scripted(reply(pointing(thousandths(THING)))) as (url, seen):
        command = [
            "segment",
            str(tmp_path / "p.png"),
            "the red thing",
            "-m",
            "point",
            "--vlm-model",
            "qwen3-vl-8b",
        ]
        command += ["--base-url", url, "--drawer", "classical", "--json"]
        result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout)["answers"][0]
    box = answer["masks"][0]["box"]
    assert np.abs(np.array(box) - THING).max() <= 8 and answer["masks"][0]["phrase"] == "thing"
    assert answer["usage"]["calls"] == 1 and answer["usage"]["input_tokens"] == 100
    assert seen[0][2]["response_format"]["json_schema"]["name"] == "PointingReply"


def test_each_instance_has_its_mask():
    image = picture()
    ImageDraw.Draw(image).rectangle((40, 300, 160, 440), fill=(30, 60, 200))
    boxes = thousandths(THING), thousandths((40, 300, 160, 440))
    with scripted(reply(pointing(*boxes))) as (url, _):
        answer = load(url).open(image).ask("everything coloured")
    assert len(answer.masks) == 2 and answer.masks[0].iou(answer.masks[1]) == 0
    assert [segment.id for segment in answer.segments] == ["m1", "m2"]


def test_nothing_comes_with_its_reason():
    said = json.dumps({"instances": [], "nothing_because": "there is no cat", "reply": ""})
    with scripted(reply(said)) as (url, _):
        answer = load(url).open(picture()).ask("the cat")
    assert not answer.found and answer.text == "there is no cat" and answer.round.segments == ()


def test_words_alone_are_no_finding_of_nothing():
    said = json.dumps({"instances": [], "nothing_because": "", "reply": "Red."})
    with scripted(reply(said)) as (url, _):
        answer = load(url).open(picture()).ask("what colour is it?")
    assert answer.text == "Red." and answer.round.segments is None


def test_an_unreadable_reply_is_an_error_after_one_repair_and_keeps_its_raw_text():
    with scripted(reply("somewhere on the left")) as (url, seen):
        with pytest.raises(ReplyUnreadable, match="could not be read") as caught:
            load(url).open(picture()).ask("the thing")
    assert caught.value.raw == "somewhere on the left" and len(seen) == 2
    with scripted(reply("hm"), reply(pointing(thousandths(THING)))) as (url, seen):
        assert load(url).open(picture()).ask("the thing").usage["calls"] == 2


def test_one_bad_reply_loses_no_other(tmp_path):
    picture().save(tmp_path / "p.png")

    def answer(body):
        asked = json.dumps(body["messages"])
        return reply("mumble" if "dragon" in asked else pointing(thousandths(THING)))

    with scripted(answer) as (url, seen):
        command = ["segment", str(tmp_path / "p.png"), "the red thing", "the dragon", "-m", "point"]
        command += [
            "--vlm-model",
            "qwen3-vl-8b",
            "--base-url",
            url,
            "--drawer",
            "classical",
            "--out",
            str(tmp_path / "o"),
        ]
        result = CliRunner().invoke(app, command)
    assert result.exit_code == 1 and "failed  the dragon" in result.output
    assert (tmp_path / "o" / "mask-00.png").is_file() and not (tmp_path / "o" / "mask-01.png").exists()
    assert len(seen) == 3  # what was answered is not asked again


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        (failure(401, "bad key", "invalid_api_key"), "refuses every call"),
        (failure(404, "no such model", "model_not_found"), "refuses every call"),
        (reply(None, refusal="I would rather not."), "refusal: I would rather not"),
        (reply("{}", finish="content_filter"), "safety"),
        (reply(pointing([1, 2, 30, 40]), finish="length"), "token limit"),
    ],
)
def test_faults_are_one_clear_line(entry, said, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret-0123456789")
    with scripted(entry) as (url, _), pytest.raises(AskMaskError) as caught:
        load(url).open(picture()).ask("the thing")
    assert (
        said in str(caught.value) and "\n" not in str(caught.value) and "very-secret" not in str(caught.value)
    )


def test_a_server_that_is_down_ends_within_the_answers_limits():
    with pytest.raises(AskMaskError, match="connection"):
        load("http://127.0.0.1:9/v1", answer_calls=1).open(picture()).ask("the thing")
    with scripted(5.0) as (url, seen):
        with pytest.raises(AskMaskError, match=r"within the 0\.3 s"):
            load(url, answer_seconds=0.3).open(picture()).ask("the thing")
    assert len(seen) == 1


def test_calls_and_dollars_of_an_answer_are_never_passed():
    with scripted(failure(500)) as (url, seen):
        with pytest.raises(AskMaskError):
            load(url, answer_calls=2).open(picture()).ask("the thing")
        assert len(seen) == 2
    with scripted(reply(pointing(thousandths(THING)))) as (url, seen):
        with pytest.raises(AskMaskError, match="could pass the budget"):
            load(url, price="1000,1000", answer_usd=0.01).open(picture()).ask("the thing")
        assert not seen
        answer = load(url, price="1,1", answer_usd=5.0).open(picture()).ask("the thing")
        assert answer.usage["usd"] == pytest.approx(120 / 1e6)
        with pytest.raises(SettingError, match="no price is known"):
            load(url, answer_usd=1.0).open(picture()).ask("the thing")


def test_the_conversation_goes_as_turns_outlines_and_named_boxes():
    with scripted(reply(pointing(thousandths(THING), label="red ball"))) as (url, seen):
        session = load(url).open(picture())
        session.ask("the ball")
        session.ask("its left half", about="m1")
    messages = seen[1][2]["messages"]
    assert [m["role"] for m in messages] == ["system", "user", "assistant", "user"]
    before = json.loads(messages[2]["content"])["instances"][0]
    assert before["label"] == "red ball"
    assert np.abs(np.array(before["bbox_2d"]) - thousandths(THING)).max() < 15
    plain, outlined = (np.asarray(p.convert("RGB"), np.int16) for p in sent_pictures(seen[1][2]))
    _height, width = plain.shape[:2]
    changed = np.abs(plain - outlined).max(axis=2) > 60
    _rows, columns = np.nonzero(changed)
    x0, x1 = columns.min() * 640 / width, columns.max() * 640 / width
    assert abs(x0 - THING[0]) < 12 and abs(x1 - THING[2]) < 12  # the outline is where the mask is
    asked = messages[-1]["content"][-1]["text"]
    assert '"about": ["m1"]' in asked and '"name": "m1"' in asked


def test_mending_an_outline_asks_no_model():
    with scripted(reply(pointing(thousandths((300, 100, 420, 200))))) as (url, seen):
        session = load(url).open(picture())
        first = session.ask("the ball")
        mended = session.ask(about="m1", points=[(500, 300)])
        drawn = session.ask(boxes=[THING])
    assert len(seen) == 1 and mended.usage["calls"] == 0
    assert mended.mask.area > first.mask.area and drawn.found


LOOK = {"keep": [{"number": 1, "verdict": "keep"}], "withdraw": [{"number": 1, "verdict": "withdraw"}]}


def test_a_second_look_keeps_withdraws_corrects_and_adds():
    box, off = thousandths(THING), thousandths((30, 300, 200, 460))

    def asked(verdicts, missing=()):
        look = json.dumps({"verdicts": verdicts, "missing": list(missing)})
        first = off if verdicts[0]["verdict"] != "keep" else box
        with scripted(reply(pointing(first)), reply(look)) as (url, seen):
            answer = load(url, looks=2).open(picture()).ask("the ball")
        assert len(seen) == 2 and len(sent_pictures(seen[1][2])) == 2
        return answer

    assert asked(LOOK["keep"]).usage["calls"] == 2
    gone = asked(LOOK["withdraw"])
    assert not gone.found and gone.text == "withdrawn at the second look"
    better = asked([{"number": 1, "verdict": "correct", "bbox_2d": box}])
    assert np.abs(np.array(better.mask.box) - THING).max() <= 8
    assert len(asked(LOOK["keep"], [{"bbox_2d": off, "label": "shadow"}]).masks) == 2


def test_a_second_look_that_fails_leaves_the_first():
    with scripted(reply(pointing(thousandths(THING))), reply("hm")) as (url, _):
        answer = load(url, looks=2).open(picture()).ask("the ball")
    assert answer.found and "second look brought nothing" in answer.notices[0]
    with scripted(reply(pointing(thousandths(THING)))) as (url, seen):
        answer = load(url, looks=2, answer_calls=1).open(picture()).ask("the ball")
    assert answer.found and len(seen) == 1 and "budget" in answer.notices[0]


def test_what_was_kept_under_a_name_holds_no_key(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    with scripted(reply(pointing(thousandths(THING)))) as (url, _):
        save = [
            "models",
            "save",
            "mine",
            "--vlm-model",
            "qwen3-vl-8b",
            "--base-url",
            url,
            "--drawer",
            "classical",
        ]
        assert CliRunner().invoke(app, [*save, "--api-key-env", "MY_KEY"]).exit_code == 0
        assert askmask.load("mine", device="cpu").open(picture()).ask("the ball").found
    result = CliRunner().invoke(app, [*save, "--api-key-env", "sk-abcdef-123456"])
    assert isinstance(result.exception, SettingError)
    assert "sk-abcdef" not in (tmp_path / "askmask" / "models.json").read_text()
    assert "mine" in CliRunner().invoke(app, ["models"]).output


def test_settings_of_a_pointer_are_refused_elsewhere():
    with pytest.raises(SettingError, match="for a model that points"):
        askmask.load("mini", vlm_model="x")
    with pytest.raises(SettingError, match="unknown settings"):
        askmask.load("point", vlm_model="x", colour="red")
    with pytest.raises(SettingError, match="needs a name"):
        askmask.load("point")
    with pytest.raises(PromptError), scripted(reply("")) as (url, _):
        load(url).open(picture()).ask("  ")


def test_an_instance_is_a_value():
    assert Instance(box=(0, 0, 1, 1)) == Instance(box=(0, 0, 1, 1))
