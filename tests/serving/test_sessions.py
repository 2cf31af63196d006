"""The native calls over HTTP, against a real server process."""

import io
import json
import threading
import time
import zipfile

import numpy as np
import pytest
from PIL import Image

from askmask.imaging.mask import Mask
from askmask.serving.masks import mask_from_wire, mask_to_wire
from askmask.session import Session
from tests.evaluation.colour_model import ColourModel
from tests.serving.conftest import BOXES, SIZE, data_url, picture


def box_mask(name: str) -> Mask:
    x0, y0, x1, y1 = BOXES[name]
    array = np.zeros(SIZE, bool)
    array[y0:y1, x0:x1] = True
    return Mask.from_array(array)


def mask_of(segment) -> Mask:
    return mask_from_wire(segment["mask"], SIZE)


@pytest.mark.parametrize("form", ["rle", "png", "polygons"])
def test_masks_are_exact_in_every_form(colours, form):
    call = {"picture": {"data": data_url(picture())}, "prompts": ["red", "purple"], "masks": form}
    found = colours.client.post("/v1/segment", json=call).json()
    assert found["size"] == list(SIZE)
    [segment] = found["answers"][0]["segments"]
    assert mask_of(segment) == box_mask("red")
    assert segment["box"] == list(BOXES["red"]) and segment["area"] == box_mask("red").area
    assert found["answers"][1]["segments"] == [] and not found["answers"][1]["answer"]["found"]
    call["prompts"] = ["whichever"]  # a question back is no empty answer
    (asked,) = colours.client.post("/v1/segment", json=call).json()["answers"]
    assert asked["segments"] is None and asked["answer"]["asks"] and asked["reply"].endswith("?")


def test_holes_and_many_parts_survive_the_wire():
    array = np.zeros((20, 30), bool)
    array[2:12, 2:12] = True
    array[4:10, 4:10] = False
    array[6:8, 6:8] = True  # an island in the hole
    array[15, 20] = array[16, 21] = True  # corners that touch
    mask = Mask.from_array(array)
    for form in ("rle", "png", "polygons"):
        assert mask_from_wire(json.loads(json.dumps(mask_to_wire(mask, form))), (20, 30)) == mask
    assert len(mask_to_wire(mask, "polygons")["polygons"]) == 4
    assert mask_to_wire(Mask.empty((3, 3)), "polygons") == {"polygons": []}


def test_a_picture_comes_as_form_as_body_or_in_json(colours):
    data = picture()
    ways = [
        colours.client.post("/v1/segment", files={"picture": ("a.png", data)}, data={"prompt": ["red", "blue"]}),
        colours.client.post(
            "/v1/segment", content=data, params=[("prompt", "red"), ("prompt", "blue")],
            headers={"content-type": "image/png"},
        ),
        colours.client.post("/v1/segment", json={"picture": {"data": data_url(data)}, "prompts": ["red", "blue"]}),
    ]  # fmt: skip
    said = [[a["segments"] for a in way.json()["answers"]] for way in ways]
    assert said[0] == said[1] == said[2] and all(said[0])


def test_a_whole_conversation(colours):
    session = colours.open()
    first = colours.ask(session, "the red one").json()
    assert [r["id"] for r in first["rounds"]] == ["r1"] and first["order"] == ["r1"]
    assert "answer" in first["rounds"][0] and first["rounds"][0]["reply"] == "the red part"
    again = colours.ask(session, "that again", about=["m1"]).json()
    assert [r["id"] for r in again["rounds"]] == ["r2"], "only what is new comes back"
    assert mask_of(again["rounds"][0]["segments"][0]) == box_mask("red")

    named = colours.client.patch(f"/v1/sessions/{session}/segments/m1", json={"name": "door"}).json()
    assert named["rounds"][0]["segments"][0]["name"] == "door"
    assert colours.ask(session, "that again", about=["door"]).json()["rounds"][0]["prompt"]["refers_to"] == [
        "m1"
    ]

    url = f"/v1/sessions/{session}/rounds/r1"
    edited = colours.client.put(url, json={"text": "the green one"}).json()
    assert {r["id"]: r["stale"] for r in edited["rounds"]} == {"r1": False, "r2": True, "r3": True}
    followed = colours.client.post(f"/v1/sessions/{session}/refresh").json()
    assert all(mask_of(r["segments"][0]) == box_mask("green") for r in followed["rounds"])
    assert [r["stale"] for r in followed["rounds"]] == [False, False]

    back = colours.client.post(f"/v1/sessions/{session}/undo").json()
    assert {r["id"] for r in back["rounds"] if r["stale"]} == {"r2", "r3"}
    gone = colours.client.delete(f"/v1/sessions/{session}/rounds/r3").json()
    assert gone["order"] == ["r1", "r2"]
    whole = colours.client.get(f"/v1/sessions/{session}").json()
    assert [r["id"] for r in whole["rounds"]] == ["r1", "r2"] and whole["can_undo"]


def test_a_box_that_holds_nothing_is_refused(colours):
    session = colours.open()
    colours.ask(session, "the red one")
    rounds, segments = (f"/v1/sessions/{session}/{name}" for name in ("rounds", "segments"))
    for url, call in (
        (rounds, {"boxes": [[10, 10, 5, 5]]}),
        (segments, {"how": "add", "of": "m1", "boxes": [[10, 10, 5, 20]]}),
    ):
        refused = colours.client.post(url, json=call)
        assert refused.status_code in (400, 422) and "x0 < x1 and y0 < y1" in refused.text
    assert colours.client.get(f"/v1/sessions/{session}").json()["rounds"][0]["id"] == "r1"


def test_an_edit_may_bring_what_follows_with_it(colours):
    session = colours.open()
    colours.ask(session, "the red one")
    colours.ask(session, "that again", about=["r1"])
    url = f"/v1/sessions/{session}/rounds/r1"
    edited = colours.client.put(url, json={"text": "the blue one", "refresh": True}).json()
    assert [mask_of(r["segments"][0]) for r in edited["rounds"]] == [box_mask("blue")] * 2


def test_drawn_masks_are_added_and_mend_others(colours):
    session = colours.open()
    colours.ask(session, "the red one")
    drawn = {"mask": {"polygons": [[[[20, 20], [30, 20], [30, 30], [20, 30]]]]}, "name": "mine"}
    url = f"/v1/sessions/{session}/segments"
    added = colours.client.post(url, json=drawn).json()["rounds"][0]
    assert added["segments"][0]["area"] == 100 and added["segments"][0]["source"] == "user"
    cut = {"mask": {"polygons": [[[[0, 0], [8, 0], [8, 32], [0, 32]]]]}, "how": "cut", "of": "m1"}
    mended = colours.client.post(url, json=cut).json()["rounds"][0]
    left = box_mask("red").to_array()
    left[:, :8] = False
    assert mask_of(mended["segments"][0]) == Mask.from_array(left)
    assert mended["answer"]["replaces"] == ["m1"] and mended["answer"]["how"] == "cut"
    lost = colours.client.post(url, json=cut | {"of": "m9"})
    assert lost.status_code == 404 and "m1" in lost.json()["error"]["do"]


@pytest.mark.parametrize("model", ["colours", "second"])  # one mends outlines itself, one does not
def test_marks_add_to_a_mask_and_cut_from_it(colours, model):
    session = colours.open(model=model)
    colours.ask(session, "the red one")
    url = f"/v1/sessions/{session}/segments"
    post = lambda **call: colours.client.post(url, json=call)  # noqa: E731
    x0, y0, x1, y1 = BOXES["green"]
    box, point = {"boxes": [[x0, y0, x1, y1]]}, {"points": [[(x0 + x1) / 2, (y0 + y1) / 2]]}
    both = box_mask("red") | box_mask("green")
    added = post(**box, of="m1", how="add").json()["rounds"][-1]
    assert mask_of(added["segments"][0]) == both and added["answer"]["replaces"] == ["m1"]
    cut = post(**point, of=added["segments"][0]["id"], how="cut").json()["rounds"][-1]
    assert mask_of(cut["segments"][0]) == box_mask("red")
    again = post(**point, of=cut["segments"][0]["id"], how="add").json()["rounds"][-1]
    assert mask_of(again["segments"][0]) == both
    less = post(**box, of=again["segments"][0]["id"], how="cut").json()["rounds"][-1]
    assert mask_of(less["segments"][0]) == box_mask("red")


@pytest.mark.parametrize("model", ["colours", "second"])
def test_nothing_never_takes_the_place_of_a_mask(colours, model):
    session = colours.open(model=model)
    colours.ask(session, "the red one")
    x0, y0, x1, y1 = BOXES["red"]
    url = f"/v1/sessions/{session}/segments"
    whole = {"points": [[(x0 + x1) / 2, (y0 + y1) / 2]], "of": "m1", "how": "cut"}
    line = {"mask": {"polygons": [[[[2, 2], [9, 2], [5, 2]]]]}}
    all_of_it = {"mask": {"polygons": [[[[0, 0], [48, 0], [48, 32], [0, 32]]]]}, "of": "m1", "how": "cut"}
    beside = {"boxes": [[40, 24, 46, 30]], "of": "m1", "how": "add"}
    for call in (whole, all_of_it, beside, line, line | {"of": "m1", "how": "add"}):
        refused = colours.client.post(url, json=call)
        assert refused.status_code == 422, refused.text
        rounds = colours.client.get(f"/v1/sessions/{session}").json()["rounds"]
        assert [r["id"] for r in rounds] == ["r1"] and mask_of(rounds[0]["segments"][0]) == box_mask("red")


def test_a_fork_and_another_model(colours):
    session = colours.open()
    colours.ask(session, "the red one")
    colours.ask(session, "the green one")
    forked = colours.client.post(f"/v1/sessions/{session}/fork", json={"rounds": 1})
    assert forked.status_code == 201 and [r["id"] for r in forked.json()["rounds"]] == ["r1"]
    other = colours.client.post(
        f"/v1/sessions/{session}/fork", json={"model": "second", "ask_anew": True}
    ).json()
    assert other["model"] == "second" and {r["answer"]["model"] for r in other["rounds"]} == {"second"}
    assert {r["answer"]["model"] for r in colours.client.get(f"/v1/sessions/{session}").json()["rounds"]} == {
        "colours"
    }


def test_a_saved_conversation_is_the_librarys_and_goes_on(colours):
    session = colours.open()
    colours.ask(session, "the red one")
    saved = colours.client.get(f"/v1/sessions/{session}/saved").json()
    own = Session.from_dict(saved, ColourModel(), picture())
    assert own.rounds[0].masks == (box_mask("red"),)
    again = colours.open(saved=own.to_dict())
    assert colours.ask(again, "that again").json()["rounds"][0]["id"] == "r2"
    other = {"picture": {"data": data_url(picture(5))}, "saved": saved}
    refused = colours.client.post("/v1/sessions", json=other)
    assert refused.status_code == 422 and "not the picture" in refused.json()["error"]["what"]


def test_files_to_take_away(colours):
    session = colours.open()
    colours.ask(session, "the red one")
    colours.ask(session, "the purple one <script>")
    colours.client.patch(f"/v1/sessions/{session}/segments/m1", json={"name": "<b>Tür"})
    get = lambda name: colours.client.get(f"/v1/sessions/{session}/{name}")  # noqa: E731
    with zipfile.ZipFile(io.BytesIO(get("masks.zip").content)) as packed:
        assert packed.namelist() == ["m1.png", "segments.json"]
        assert Mask.from_png(packed.read("m1.png")) == box_mask("red")
    with Image.open(io.BytesIO(get("picture").content)) as shown:
        assert shown.size == (SIZE[1], SIZE[0])
    with Image.open(io.BytesIO(get("overlay.png").content)) as drawn:
        assert drawn.width >= SIZE[1]
    page = get("page.html").text
    assert "&lt;b&gt;Tür" in page and "<script>the" not in page and "http" not in page.split("<style>")[1]
    assert "Nothing in the picture matches" in page


def test_an_answer_comes_as_events(colours):
    session = colours.open()
    kinds = []
    headers = {"accept": "text/event-stream"}
    url = f"/v1/sessions/{session}/rounds"
    with colours.client.stream("POST", url, json={"text": "red"}, headers=headers) as response:
        for line in response.iter_lines():
            if line.startswith("event: "):
                kinds.append(line[7:])
            elif line.startswith("data: "):
                last = json.loads(line[6:])
                if kinds[-1] == "segment":
                    assert "id" not in last and mask_of(last) == box_mask("red")  # not named yet
    assert kinds == ["job", "segment", "words", "done"]
    assert last["order"] == ["r1"]
    with colours.client.stream("POST", url, json={"text": "unanswerable"}, headers=headers) as response:
        text = response.read().decode()
    assert "event: error" in text and "refused" in text


def test_a_slow_answer_gives_signs_of_life_in_both_streams(colours):
    """Every 0.2 s of 1 s a comment, which is no event; then the events in order, and an end."""
    slow = "red, wait 1 s"
    parts = [
        {"type": "text", "text": slow},
        {"type": "image_url", "image_url": {"url": data_url(picture())}},
    ]
    chat = {"stream": True, "messages": [{"role": "user", "content": parts}]}
    calls = (
        (f"/v1/sessions/{colours.open()}/rounds", {"text": slow}, {"accept": "text/event-stream"}),
        ("/openai/v1/chat/completions", chat, {}),
    )
    for path, call, headers in calls:
        with colours.client.stream("POST", path, json=call, headers=headers) as response:
            blocks = response.read().decode().removesuffix("\n\n").split("\n\n")
        first, *beats = blocks[: blocks.index(": still at work") + 3]
        assert "data: {" in first and beats == [": still at work"] * 3, blocks
        rest = [block for block in blocks[1:] if block != ": still at work"]
        if headers:
            assert [block.split("\n")[0] for block in rest] == [
                "event: segment",
                "event: words",
                "event: done",
            ]
        else:
            *chunks, end = [block.removeprefix("data: ") for block in rest]
            choices = [json.loads(chunk)["choices"][0] for chunk in chunks]
            assert choices[0]["delta"] == {"content": "the red part"} and end == "[DONE]"
            assert [choice["finish_reason"] for choice in choices] == [None, None, "stop"]


def test_a_slow_answer_comes_by_its_job_and_outlives_its_caller(colours):
    session = colours.open()
    url = f"/v1/sessions/{session}/rounds?wait=0.1"
    asked = colours.client.post(url, json={"text": "red, wait 0.7 s"})
    assert asked.status_code == 202 and asked.headers["retry-after"] == "1"
    assert asked.json()["job"]["state"] == "working"
    done = colours.client.get(asked.headers["location"], params={"wait": 10})
    assert done.status_code == 200 and done.json()["rounds"][0]["id"] == "r1"
    assert len(colours.client.get(f"/v1/sessions/{session}").json()["rounds"]) == 1


def test_progress_of_many_prompts_and_cancelling(colours):
    call = {"picture": {"data": data_url(picture())}, "prompts": ["red, wait 0.3 s"] * 24}
    asked = colours.client.post("/v1/segment?wait=0", json=call)
    place = f"/v1/jobs/{asked.json()['job']['id']}"
    seen = set()
    for _ in range(80):
        job = colours.client.get(place).json().get("job")
        if job is None or job["done"] >= 8:
            break
        time.sleep(0.1)
    seen.add(job["done"])
    assert job["total"] == 24 and job["done"] in (8, 16)
    colours.client.delete(place)
    ended = colours.client.get(place, params={"wait": 20})
    assert ended.status_code == 409 and "cancelled" in ended.json()["error"]["what"]


def test_the_same_key_is_done_once(colours):
    session = colours.open()
    headers = {"idempotency-key": "once"}
    url = f"/v1/sessions/{session}/rounds"
    both = [colours.client.post(url, json={"text": "red"}, headers=headers).json() for _ in range(2)]
    assert both[0] == both[1] and both[0]["order"] == ["r1"]


def test_who_goes_away_cancels_what_he_asked(colours):
    import httpx

    session = colours.open()
    url = f"{colours.url}/v1/sessions/{session}/rounds"
    with pytest.raises(httpx.TimeoutException):
        httpx.post(url, json={"text": "red, wait 1 s"}, timeout=0.3)
    with pytest.raises(httpx.TimeoutException):
        httpx.post(url, json={"text": "blue, wait 1 s"}, timeout=0.3, headers={"idempotency-key": "kept"})
    for _ in range(60):
        rounds = colours.client.get(f"/v1/sessions/{session}").json()["rounds"]
        if rounds:
            break
        time.sleep(0.1)
    assert [r["prompt"]["text"] for r in rounds] == ["blue, wait 1 s"]


def test_rounds_asked_at_once_come_one_after_the_other(colours):
    session = colours.open()
    found = []
    ask = lambda: found.append(colours.ask(session, "red").json()["rounds"][0]["id"])  # noqa: E731
    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [f"r{n}" for n in range(1, 9)]
    order = colours.client.get(f"/v1/sessions/{session}").json()
    assert [r["id"] for r in order["rounds"]] == [f"r{n}" for n in range(1, 9)]


def test_sessions_are_listed_and_deleted(colours):
    session = colours.open()
    colours.ask(session, "the red one")
    listed = colours.client.get("/v1/sessions").json()["sessions"]
    [mine] = [row for row in listed if row["id"] == session]
    assert mine["rounds"] == 1 and mine["last"] == "the red one" and mine["picture"]["width"] == SIZE[1]
    assert colours.client.delete(f"/v1/sessions/{session}").status_code == 204
    assert colours.client.get(f"/v1/sessions/{session}").status_code == 404
    assert colours.ask(session, "red").status_code == 404


def test_the_api_is_described_and_counted(colours):
    described = colours.client.get("/openapi.json").json()
    assert {"/v1/segment", "/v1/sessions/{session}/rounds", "/openai/v1/chat/completions"} <= set(
        described["paths"]
    )
    assert colours.client.get("/v1/models").json()["data"][0]["id"] == "colours"
    figures = colours.client.get("/metrics").text
    assert 'askmask_requests_total{route="/v1/models",status="200"}' in figures
    assert "askmask_sessions " in figures and "askmask_batch_prompts_count" in figures
