"""A conversation with a model that points: what it is told of before, and which masks stay as they are."""

import json

import numpy as np
import pytest
from PIL import ImageDraw

pytest.importorskip("openai")
from askmask.backends.pointing import ReplyUnreadable
from askmask.conversation import Prompt, Round, Segment
from askmask.errors import AskMaskError
from askmask.imaging.mask import Mask
from tests.pointing.test_point import THING, load, picture, pointing, sent_pictures, thousandths
from tests.vlm.endpoint import failure, reply, scripted

OTHER = (40, 300, 160, 440)


def two_things():
    image = picture()
    ImageDraw.Draw(image).rectangle((OTHER[0], OTHER[1], OTHER[2] - 1, OTHER[3] - 1), fill=(30, 60, 200))
    ImageDraw.Draw(image).rectangle((110, OTHER[1], OTHER[2] - 1, OTHER[3] - 1), fill=(20, 150, 60))
    return image


def naming(*names, boxes=()):
    """A reply that names earlier regions."""
    return json.loads(pointing(*boxes)) | {"earlier": list(names)}


def test_its_handle_reaches_the_model_with_the_rounds_so_far_and_the_named_mask():
    """The words alone say nothing; the turn before, the outline and the name m1 do."""
    handle = (480, 180, 520, 240)

    def answer(body):
        inputs = json.loads(
            body["messages"][-1]["content"][-1]["text"].split("```json\n")[1].split("\n```")[0]
        )
        if inputs["asked"] == "the mug":
            return reply(pointing(thousandths(THING), label="mug"))
        # What a model needs: m1's box, what it was called, and the outlined picture.
        (region,) = inputs["earlier_regions"]
        assert inputs["about"] == ["m1"] and region["name"] == "m1" and region["label"] == "mug"
        assert np.abs(np.array(region["bbox_2d"]) - thousandths(THING)).max() < 15
        assert json.loads(body["messages"][1]["content"])["asked"] == "the mug"
        assert len(sent_pictures(body)) == 2
        return reply(pointing(thousandths(handle), label="handle of the mug"))

    with scripted(answer) as (url, seen):
        session = load(url).open(picture())
        session.ask("the mug")
        part = session.ask("and its handle", about="m1")
    assert len(seen) == 2 and part.found and part.pointed[0].boxes[0] == pytest.approx(handle, abs=1)
    assert [s.id for s in session.segments.values()] == ["m1", "m2"]


def test_an_object_is_added_or_left_out_and_the_others_stay_bit_for_bit():
    replies = [
        pointing(thousandths(THING), label="ball"),
        json.dumps(naming("m1", boxes=[thousandths(OTHER)])),
        json.dumps(naming("m3")),
    ]
    with scripted(*map(reply, replies)) as (url, seen):
        session = load(url).open(two_things())
        ball = session.ask("the ball").masks[0]
        both = session.ask("and the box", about="m1")
        rest = session.ask("not the ball", about="r2")
    assert both.masks[0] == ball and both.segments[0].parents == ("m1",) and len(both.masks) == 2
    assert rest.masks == (both.masks[1],) and rest.segments[0].parents == ("m3",)
    schemas = [body["response_format"]["json_schema"]["schema"]["properties"] for _, _, body in seen]
    assert ["earlier" in schema for schema in schemas] == [False, True, True]


def test_a_region_that_was_never_there_is_no_answer():
    with scripted(reply(pointing(thousandths(THING))), reply(json.dumps(naming("m7")))) as (url, _):
        session = load(url).open(picture())
        session.ask("the ball")
        with pytest.raises(ReplyUnreadable, match="m7"):
            session.ask("the other one")
        assert len(session.rounds) == 1  # a round that failed is none


def test_a_box_adds_and_points_mend_without_the_model():
    with scripted(reply(pointing(thousandths(THING), thousandths(OTHER)))) as (url, seen):
        session = load(url).open(two_things())
        first = session.ask("everything")
        added = session.ask(about="m1", boxes=[OTHER])
        mended = session.ask(about="r1", points=[(140, 380, False)])
    assert len(seen) == 1
    assert added.masks[0] == first.masks[0] and len(added.masks) == 2
    assert mended.masks[0] == first.masks[0]  # the point lies in the other, which alone is drawn anew
    assert mended.segments[1].parents == ("m2",) and mended.masks[1] != first.masks[1]
    left = mended.masks[1].to_array()
    assert left[380, 70] and not left[380, 140]


def test_words_and_marks_go_together():
    with scripted(reply(pointing(thousandths(THING)))) as (url, seen):
        session = load(url).open(picture())
        session.ask("what is like this?", boxes=[OTHER], points=[(400, 200), (10, 10, False)])
    inputs = seen[0][2]["messages"][-1]["content"][-1]["text"]
    assert '"marked_boxes"' in inputs and inputs.count('"part_of_it"') == 2


def test_undo_fork_and_edit_send_only_the_rounds_that_are_left():
    with scripted(reply(pointing(thousandths(THING)))) as (url, seen):
        session = load(url).open(picture())
        session.ask("one")
        other = session.fork()
        session.ask("the second thing")
        session.undo()
        session.ask("three")
        other.ask("four")
        session.edit("r1", "five")
    roles = [[m["role"] for m in body["messages"]] for _, _, body in seen]
    assert [len(r) for r in roles] == [2, 4, 4, 4, 2]
    assert "the second thing" not in json.dumps(seen[2][2]["messages"])


def test_a_server_that_takes_one_picture_gets_the_outlined_one():
    def answer(body):
        if len(sent_pictures(body)) > 1:
            return failure(400, "At most 1 image(s) may be provided in one request.")
        return reply(pointing(thousandths(THING)))

    with scripted(answer) as (url, seen):
        session = load(url).open(picture())
        session.ask("the ball")
        second = session.ask("its left half", about="m1")
        session.ask("and the rest", about="m1")
    assert second.found and "one picture at a time" in second.notices[0]
    assert [len(sent_pictures(body)) for _, _, body in seen] == [1, 2, 1, 1]  # refused once, not each time
    plain, outlined = (np.asarray(sent_pictures(seen[n][2])[0].convert("RGB"), int) for n in (0, 2))
    assert np.abs(plain - outlined).max() > 100


def test_a_long_conversation_is_cut_but_its_regions_are_not():
    rounds = tuple(
        Round(
            id=f"r{n}",
            prompt=Prompt(text=f"thing {n}"),
            segments=(Segment(id=f"m{n}", mask=Mask.from_array(np.eye(480, 640, dtype=bool))),),
        )
        for n in range(1, 31)
    )
    from askmask.imaging.files import read_picture
    from askmask.pointing.asking import MOST_ROUNDS, asking
    from askmask.pointing.conventions import TABLE
    from askmask.pointing.sent import to_send

    seen = to_send(read_picture(np.array(picture())).rgb, TABLE["qwen3-vl"])
    request = asking(Prompt(text="all of them"), rounds, seen, TABLE["qwen3-vl"])
    assert len(request.history) == 2 * MOST_ROUNDS and len(request.inputs["earlier_regions"]) == 30


def test_a_refused_round_leaves_the_conversation_as_it_was():
    with scripted(reply(pointing(thousandths(THING))), reply(None, refusal="No.")) as (url, _):
        session = load(url).open(picture())
        before = session.ask("the ball")
        with pytest.raises(AskMaskError, match="refusal"):
            session.ask("the other")
        assert session.rounds == (before.round,)
        with pytest.raises(AskMaskError):
            session.ask("again", about="m9")
