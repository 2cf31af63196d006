"""Other tools' protocols, read by the tools' own code where it installs."""

import http.server
import json
import threading

import numpy as np
import pytest

from askmask.formats.label_studio import encode_rle
from askmask.imaging.mask import Mask
from askmask.serving.openai_api import _session_of
from tests.evaluation.colour_model import ColourModel
from tests.serving.conftest import BOXES, SIZE, colour_server, data_url, picture
from tests.serving.test_sessions import box_mask

INTERFACE = """<View><Image name="pic" value="$photo"/>
<BrushLabels name="brush" toName="pic"><Label value="red"/><Label value="blue"/></BrushLabels>
<KeyPointLabels name="click" toName="pic"><Label value="blue" smart="true"/></KeyPointLabels>
<TextArea name="askmask_says" toName="pic"/></View>"""


def decoded(region) -> Mask:
    """A region as Label Studio's own converter reads it; as we do where that is not installed."""
    height, width = region["original_height"], region["original_width"]
    try:
        from label_studio_sdk.converter.brush import decode_rle
    except ImportError:
        from askmask.formats.label_studio import decode_rle as ours

        return ours(region["value"]["rle"], (height, width))
    return Mask.from_array(decode_rle(region["value"]["rle"]).reshape(height, width, 4)[..., 3])


def predict(server, task, **more):
    call = {"tasks": [{"id": 1, **task}], "project": "1.1", "label_config": INTERFACE, **more}
    response = server.client.post("/label-studio/predict", json=call)
    assert response.status_code == 200, response.text
    [prediction] = response.json()["results"]
    return prediction


def brushes(prediction):
    return [r for r in prediction["result"] if r["type"] == "brushlabels"]


# -- Label Studio ---------------------------------------------------------------------------------------------


def test_label_studio_asks_for_every_label(colours):
    prediction = predict(colours, {"data": {"photo": data_url(picture())}})
    red, blue = brushes(prediction)
    assert (red["from_name"], red["to_name"], red["value"]["brushlabels"]) == ("brush", "pic", ["red"])
    assert decoded(red) == box_mask("red") and decoded(blue) == box_mask("blue")
    assert prediction["model_version"].startswith("askmask colours")
    assert prediction["result"][-1]["value"]["text"][0] == "red: 1 proposed"


def test_label_studios_own_converter_reads_the_masks(colours):
    pytest.importorskip("label_studio_sdk.converter.brush", reason="needs label-studio-sdk")
    prediction = predict(colours, {"data": {"photo": data_url(picture())}})
    assert decoded(brushes(prediction)[0]) == box_mask("red")


def test_an_annotation_tool_hears_a_question_back(colours):
    """It was told that nothing matches."""
    prediction = predict(colours, {"data": {"photo": data_url(picture()), "prompt": "whichever"}})
    said = "asks back: The red one or the green one?"
    assert prediction["askmask"]["said"][0] == f"whichever: {said}" and not brushes(prediction)
    call = {"model": "colours", "image": data_url(picture()), "params": {"text_prompt": "whichever"}}
    found = colours.client.post("/x-anylabeling/v1/predict", json=call).json()
    assert found["data"]["description"] == f"whichever: {said}"


def test_what_people_drew_is_kept_and_not_proposed_again(colours):
    drawn = {"type": "brushlabels", "value": {"format": "rle", "rle": encode_rle(box_mask("red"))}}
    x0, y0, x1, y1 = BOXES["blue"]
    sides = (SIZE[1] / 100, SIZE[0] / 100)
    corners = [[x / sides[0], y / sides[1]] for x, y in ((x0, y0), (x1, y0), (x1, y1), (x0, y1))]
    polygon = {"type": "polygonlabels", "value": {"points": corners}}
    task = {"data": {"photo": data_url(picture())}, "annotations": [{"result": [drawn, polygon, {"odd": 1}]}]}
    before = json.dumps(task)
    prediction = predict(colours, task)
    assert brushes(prediction) == [] and prediction["askmask"]["suppressed"] == 2
    assert prediction["askmask"]["said"][0] == "red: 0 proposed, 1 is there already"
    assert json.dumps(task) == before


def test_label_studio_context_asks_by_text_box_and_click(colours):
    task = {"data": {"photo": data_url(picture())}}
    text = {"type": "textarea", "value": {"text": ["the green one"]}}
    context = {"result": [text]}
    prediction = predict(colours, task, params={"context": context})
    [green] = brushes(prediction)
    assert decoded(green) == box_mask("green") and green["value"]["brushlabels"] == ["red"]
    assert green["meta"]["text"] == ["the green one"]
    odd = {
        "tasks": [task],
        "label_config": INTERFACE,
        "params": {"context": {"result": [{"type": "keypoint"}]}},
    }
    assert colours.client.post("/label-studio/predict", json=odd).status_code == 422


def test_label_studio_asks_what_stands_in_the_task(colours):
    prediction = predict(colours, {"data": {"photo": data_url(picture()), "prompt": "green"}})
    assert [decoded(r) for r in brushes(prediction)] == [box_mask("green")]


def test_label_studio_says_what_is_wrong(colours):
    post = colours.client.post
    for config in (
        None,
        "<View>",
        "<View/>",
        '<!DOCTYPE x [<!ENTITY a "b">]><View>&a;</View>',
        "x" * 300_000,
    ):
        refused = post("/label-studio/predict", json={"tasks": [{"data": {}}], "label_config": config})
        assert refused.status_code == 422 and "interface" in refused.json()["error"]["what"]
    for place in (None, "", "/data/upload/1.png", "https://example.org/a.png", "file:///etc/passwd"):
        task = {"data": {"photo": place}}
        refused = post("/label-studio/predict", json={"tasks": [task], "label_config": INTERFACE})
        assert refused.status_code in (403, 422), place
    assert post("/label-studio/setup", json={"schema": INTERFACE, "project": "1.1"}).json()["model_version"]
    assert post("/label-studio/webhook", json={"action": "ANNOTATION_CREATED"}).status_code == 201
    assert colours.client.get("/label-studio/health").json()["status"] == "UP"
    assert colours.client.get("/label-studio/versions").json()["versions"][0].startswith("askmask")


def test_pictures_come_from_the_label_studio_that_was_named_and_from_no_other(tmp_path):
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append((self.path, self.headers["authorization"]))
            if self.path == "/moved":
                self.send_response(302)
                self.send_header("Location", "http://127.0.0.1:1/")
                self.end_headers()
                return
            self.send_response(200)
            self.end_headers()
            self.wfile.write(picture())

        def log_message(self, *_):
            pass

    home = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=home.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{home.server_port}"
    try:
        with colour_server(tmp_path, "--label-studio-url", url) as server:
            for place in ("/data/upload/1/a.png", f"{url}/data/b.png"):
                assert len(brushes(predict(server, {"data": {"photo": place}}))) == 2
            assert asked == [
                ("/data/upload/1/a.png", "Token the-label-studio-key"),
                ("/data/b.png", "Token the-label-studio-key"),
            ]
            for place in ("//127.0.0.1:1/a", "http://127.0.0.1:1/a", f"{url}@127.0.0.1:1/", "/moved"):
                call = {"tasks": [{"data": {"photo": place}}], "label_config": INTERFACE}
                refused = server.client.post("/label-studio/predict", json=call)
                assert refused.status_code in (403, 502), place
    finally:
        home.shutdown()


# -- X-AnyLabeling --------------------------------------------------------------------------------------------


def test_x_anylabeling_lists_models_and_predicts_polygons(colours):
    listed = colours.client.get("/x-anylabeling/v1/models").json()
    assert listed["success"] and set(listed["data"]) == {"colours", "second"}
    widgets = {w["name"]: w["value"] for w in listed["data"]["colours"]["widgets"]}
    assert widgets["toggle_preserve_existing_annotations"] is True
    assert colours.client.get("/x-anylabeling/v1/models/colours/info").json()["data"]["model_id"] == "colours"
    call = {"model": "colours", "image": data_url(picture()), "params": {"text_prompt": "red, blue"}}
    found = colours.client.post("/x-anylabeling/v1/predict", json=call).json()
    assert found["success"] and [s["label"] for s in found["data"]["shapes"]] == ["red", "blue"]
    for shape in found["data"]["shapes"]:
        assert shape["shape_type"] == "polygon" and shape["points"][0] == shape["points"][-1]
        assert Mask.from_polygons([shape["points"]], SIZE) == box_mask(shape["label"])
    assert found["data"]["description"] == "red: 1 proposed; blue: 1 proposed"
    again = call | {"params": {"text_prompt": "red", "existing_shapes": found["data"]["shapes"]}}
    same = colours.client.post("/x-anylabeling/v1/predict", json=again).json()
    assert same["data"] == {
        "shapes": [],
        "description": "red: 0 proposed, 1 is there already",
        "replace": False,
    }


def test_x_anylabeling_hears_of_faults_in_its_own_form(colours):
    post = lambda **call: colours.client.post("/x-anylabeling/v1/predict", json=call)  # noqa: E731
    image = data_url(picture())
    for call, code in (
        ({"model": "none", "image": image}, "MODEL_NOT_FOUND"),
        ({"model": "colours", "image": "!!"}, "INVALID_IMAGE"),
        ({"model": "colours", "image": image, "params": {}}, "INFERENCE_ERROR"),
        ({"model": "colours", "image": image, "params": {"marks": [{"type": "point"}]}}, "INFERENCE_ERROR"),
    ):
        refused = post(**call)
        assert refused.status_code == 200
        assert refused.json()["success"] is False and refused.json()["error"]["code"] == code, refused.text
        assert refused.json()["data"]["replace"] is False, "else its client clears what is drawn"


def test_x_anylabelings_own_client_adds_and_never_clears(colours, tmp_path, monkeypatch):
    monkeypatch.setenv("QT_QPA_PLATFORM", "offscreen")
    monkeypatch.setenv("HOME", str(tmp_path))
    config = pytest.importorskip("anylabeling.config", reason="pip install x-anylabeling-cvhub")
    remote = pytest.importorskip("anylabeling.services.auto_labeling.remote_server")
    monkeypatch.setattr(config, "current_config_file", str(tmp_path / "settings.yaml"))
    where = {"server_url": f"{colours.url}/x-anylabeling", "api_key": "none-needed"}
    (tmp_path / "settings.yaml").write_text(json.dumps({"remote_server_settings": where}))
    said: list[str] = []
    client = remote.RemoteServer({"type": "remote_server", "display_name": "askmask"}, said.append)
    assert set(client.get_available_models()) == {"colours", "second"}
    client.set_model_id("colours")
    (tmp_path / "a.png").write_bytes(picture())

    def asked(text=None):
        return client.predict_shapes(object(), str(tmp_path / "a.png"), text_prompt=text)

    def masks(result):
        rings = [[(point.x(), point.y()) for point in shape.points] for shape in result.shapes]
        return [Mask.from_polygons([ring], SIZE) for ring in rings]

    found = asked("red, blue.")
    assert masks(found) == [box_mask("red"), box_mask("blue")] and found.replace is False
    for text in ("purple", "unanswerable"):
        nothing = asked(text)
        assert nothing.shapes == [] and nothing.replace is False and nothing.description
    client.set_auto_labeling_marks([{"type": "rectangle", "data": list(BOXES["green"]), "label": 1}])
    marked = asked()
    assert masks(marked) == [box_mask("green")] and marked.replace is False and said == []


# -- OpenAI ---------------------------------------------------------------------------------------------------


@pytest.fixture
def openai(colours):
    from openai import OpenAI

    return OpenAI(base_url=f"{colours.url}/openai/v1", api_key="none-needed", max_retries=0)


def message(text, data=None):
    parts = [{"type": "text", "text": text}]
    parts += [{"type": "image_url", "image_url": {"url": data_url(data)}}] if data else []
    return {"role": "user", "content": parts}


def fenced(content):
    return json.loads(content.split("```json\n")[1].split("```")[0])


def test_openais_client_gets_words_and_masks(openai):
    done = openai.chat.completions.create(model="colours", messages=[message("the red one", picture())])
    content = done.choices[0].message.content
    assert content.startswith("the red part")
    [instance] = fenced(content)["instances"]
    assert Mask.from_dict(instance["mask"]) == box_mask("red")
    x0, y0, x1, y1 = BOXES["red"]
    assert np.allclose(instance["bbox_2d"], [x0 / 0.048, y0 / 0.032, x1 / 0.048, y1 / 0.032], atol=0.06)
    assert done.model_extra["askmask"]["segments"][0]["area"] == box_mask("red").area
    assert [m.id for m in openai.models.list().data] == ["colours", "second"]


def test_openais_client_gets_a_stream(openai):
    stream = openai.chat.completions.create(
        model="colours", messages=[message("the red one", picture())], stream=True
    )
    chunks = list(stream)
    content = "".join(c.choices[0].delta.content or "" for c in chunks)
    assert len(chunks) >= 4 and Mask.from_dict(fenced(content)["instances"][0]["mask"]) == box_mask("red")
    assert chunks[-1].choices[0].finish_reason == "stop" and chunks[-1].model_extra["askmask"]["segments"]


def test_openais_conversation_remembers_masks_that_come_back(openai):
    messages = [message("the red one", picture())]
    first = openai.chat.completions.create(model="colours", messages=messages).choices[0].message.content
    messages += [{"role": "assistant", "content": first}, message("that again")]
    second = openai.chat.completions.create(model="colours", messages=messages)
    assert Mask.from_dict(fenced(second.choices[0].message.content)["instances"][0]["mask"]) == box_mask(
        "red"
    )
    nothing = openai.chat.completions.create(model="colours", messages=[message("purple", picture())])
    assert fenced(nothing.choices[0].message.content)["instances"] == []


def test_openais_client_gets_a_question_back_and_the_conversation_keeps_it_as_one(colours):
    """It read "nothing_because": another askmask that points with it took the question for "nothing is there"."""

    def asked(*messages, **more):
        call = {"model": "colours", "messages": messages} | more
        done = colours.client.post("/openai/v1/chat/completions", json=call).json()
        return done["choices"][0]["message"]["content"]

    question = "The red one or the green one?"
    for form in ({}, {"response_format": {"type": "json_object"}}):
        content = asked(message("whichever", picture()), **form)
        said = fenced(content) if not form else json.loads(content)
        assert said == {"instances": [], "nothing_because": "", "reply": question}
        turns = [("user", "whichever"), ("assistant", content)]
        (round,) = _session_of(ColourModel(), picture(), turns).rounds
        assert round.segments is None and round.reply == question


def test_openais_client_hears_what_is_wrong(openai):
    import openai as library

    for messages, model in (
        ([message("red")], "colours"),
        ([message("red", b"no picture")], "colours"),
        ([message("red", picture())], "none"),
        ([{"role": "user", "content": [{"type": "video"}]}], "colours"),
    ):
        with pytest.raises(library.APIStatusError) as refused:
            openai.chat.completions.create(model=model, messages=messages)
        assert refused.value.status_code in (404, 422) and len(refused.value.body["message"]) > 10


def test_another_askmask_points_with_it(colours):
    """The whole way round: a model that points, whose pointer is this server, and a drawer of its own."""
    from askmask.backends.pointing import PointingBackend
    from askmask.loading import open_pointer
    from askmask.pointing.choice import PointChoice
    from askmask.segmenters.segmenter import open_segmenter
    from askmask.session import Model

    choice = PointChoice(vlm_model="colours", base_url=f"{colours.url}/openai/v1", drawer="classical")
    pointer = open_pointer(choice)
    model = Model(PointingBackend(pointer, open_segmenter("classical"), drawer_name="classical"))
    session = model.open(picture(scale=8))
    answer = session.ask("the green one")
    truth = Mask.from_array(box_mask("green").to_array().repeat(8, 0).repeat(8, 1))
    assert answer.found and answer.mask.iou(truth) > 0.9
    assert not session.ask("the purple one").found
    pointer.close()
