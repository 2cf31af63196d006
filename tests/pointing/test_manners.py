"""Servers as people run them: what each refuses, says and does in its own way, from the first question on.

The wording of refusals is that of the servers named, as their users report it; nothing here is a recording.
"""

import json

import numpy as np
import pytest

pytest.importorskip("openai")
from askmask.errors import AskMaskError
from tests.pointing.test_point import THING, load, picture, pointing, sent_pictures, thousandths
from tests.vlm.endpoint import failure, reply, scripted


def in_pixels(body):
    width, height = sent_pictures(body)[0].size
    return [round(v * s / o) for v, s, o in zip(THING, (width, height) * 2, (640, 480) * 2, strict=True)]


def vllm(body):
    """vLLM with Qwen2.5-VL: one picture a prompt by default, absolute pixels, a fenced list in spite of the schema."""
    if len(sent_pictures(body)) > 1:
        return failure(400, "At most 1 image(s) may be provided in one request.", "BadRequestError")
    return reply("```json\n" + json.dumps([{"bbox_2d": in_pixels(body), "label": "ball"}]) + "\n```")


def ollama(body):
    """Ollama with Qwen3-VL: thinking before the reply, no counts of tokens, a lone closing fence."""
    said = json.loads(pointing(thousandths(THING), label="ball"))
    status, headers, answer = reply(f"<think>Where is it? [0, 0]</think>\n{json.dumps(said)}\n```")
    del answer["usage"]
    return status, headers, answer


def lm_studio(body):
    """LM Studio with a model whose template knows no system message; errors are plain texts."""
    if any(one["role"] == "system" for one in body["messages"]):
        said = 'Error rendering prompt with jinja template: "Only user and assistant roles are supported!"'
        return 400, {}, {"error": said}
    return reply(pointing(thousandths(THING), label="ball"))


def llama_cpp(body):
    """llama.cpp: the grammar of the schema fails, then a reply that names another list."""
    if body.get("response_format", {}).get("type") == "json_schema":
        said = "Failed to initialize samplers: failed to parse grammar"
        return 400, {}, {"error": {"code": 400, "message": said, "type": "invalid_request_error"}}
    return reply(json.dumps({"objects": [{"bbox_2d": thousandths(THING), "label": "ball"}]}))


def gemini(body):
    """Gemini's compatible endpoint: errors as a list, no additionalProperties, y first, points beside the box."""
    if "response_format" in body and body["response_format"]["type"] == "json_schema":
        said = (
            'Invalid JSON payload received. Unknown name "additionalProperties" at '
            "'generation_config.response_schema': Cannot find field."
        )
        return 400, {}, [{"error": {"code": 400, "message": said, "status": "INVALID_ARGUMENT"}}]
    x0, y0, x1, y1 = thousandths(THING)
    place = {"box_2d": [y0, x0, y1, x1], "point": [(y0 + y1) / 2, (x0 + x1) / 2], "label": "ball"}
    return reply(json.dumps({"instances": [place], "nothing_because": "", "reply": ""}))


def hosted(body):
    """A hosted model with JSON mode alone, max_completion_tokens, a fixed temperature and its reply in parts."""
    if "max_tokens" in body:
        return failure(400, "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.")
    if body.get("response_format", {}).get("type") == "json_schema":
        return failure(400, "This response_format type is unavailable now")
    if "temperature" in body:
        return failure(400, "Unsupported value: 'temperature' does not support 0 with this model.")
    status, headers, answer = reply("")
    answer["choices"][0]["message"]["content"] = [
        {"type": "thinking", "text": "[1, 2, 3, 4]"},
        {"type": "text", "text": pointing(in_pixels(body), label="ball")},
    ]
    return status, headers, answer


SERVERS = {
    "vLLM": (vllm, "Qwen/Qwen2.5-VL-7B-Instruct"),
    "Ollama": (ollama, "qwen3-vl:8b"),
    "LM Studio": (lm_studio, "qwen/qwen3-vl-4b"),
    "llama.cpp": (llama_cpp, "Qwen3-VL-8B-Instruct-Q4_K_M.gguf"),
    "Gemini": (gemini, "gemini-2.5-flash"),
    "hosted": (hosted, "gpt-5-mini-2025-08-07"),
}


@pytest.mark.parametrize("name", SERVERS)
def test_a_conversation_works_with_each_servers_manners(name):
    answer, model = SERVERS[name]
    with scripted(answer) as (url, seen):
        session = load(url, model).open(picture())
        first = session.ask("the ball")
        refused = len(seen) - 1
        second = session.ask("its left half", about="m1")
    assert np.abs(np.array(first.mask.box) - THING).max() <= 8, first.mask.box
    assert first.pointed[0].boxes[0] == pytest.approx(THING, abs=1.0)
    assert first.segments[0].phrase == "ball" and second.found
    assert refused <= 4  # what was refused once is not tried again
    assert len(seen) - refused == (3 if name == "vLLM" else 2)


FAULTS = {
    "Ollama without the model": (
        failure(404, "model 'qwen3-vl:8b' not found, try pulling it first", "not_found_error"),
        "try pulling it",
    ),
    "a model that sees nothing": (
        failure(400, "this model is missing data required for image input"),
        "missing data required for image input",
    ),
    "llama.cpp without its projector": (
        (500, {}, {"error": {"code": 500, "message": "image input is not supported - hint: provide the mmproj",
                             "type": "server_error"}}),
        "provide the mmproj",
    ),
    "vLLM with too short a context": (
        failure(400, "This model's maximum context length is 2048 tokens. You requested 4310 tokens"),
        "maximum context length",
    ),
    "a web page": ((200, {}, b"<!doctype html><title>LM Studio</title>"), "/v1"),
    "no chat completion": ((200, {}, {"status": "ok"}), "without choices"),
    "a reply cut short": ("drop", "connection"),
    "an empty reply": (reply(""), "could not be read"),
    "no more credit": (failure(429, "You exceeded your current quota", "insufficient_quota"), "credit"),
    "a filter": (reply(None, finish="content_filter"), "safety"),
    "only prose": (reply("There is a ball near the middle of the picture."), "could not be read"),
    "all outside": (reply(pointing([1500, 1500, 1900, 1900])), "outside the picture"),
    "fractions unasked": (reply(pointing([0.4, 0.2, 0.8, 0.7])), "fractions of the picture"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_said_in_one_line_that_helps(fault, monkeypatch):
    monkeypatch.setattr("askmask.vlm.caller.random.uniform", lambda *_: 0.0)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret-0123456789abcdef")
    entry, said = FAULTS[fault]
    with scripted(entry) as (url, _), pytest.raises(AskMaskError) as caught:
        load(url).open(picture()).ask("the ball")
    text = str(caught.value)
    assert said in text and "\n" not in text and "secret-01" not in text and len(text) < 700


def test_a_rate_limit_is_waited_for():
    busy = failure(
        429, "Rate limit reached for requests per minute", "rate_limit_exceeded", retry_after="0.05"
    )
    with scripted(busy, busy, reply(pointing(thousandths(THING)))) as (url, seen):
        assert load(url).open(picture()).ask("the ball").found
    assert len(seen) == 3


def test_no_address_in_a_prompt_or_a_reply_is_fetched(monkeypatch):
    """Only the server is spoken to, and only with the picture inside the request."""
    said = pointing(thousandths(THING), label="see http://127.0.0.1:9/x.png")
    with scripted(reply(said)) as (url, seen):
        answer = load(url).open(picture()).ask("what is at http://127.0.0.1:9/secret?")
    assert answer.found and len(seen) == 1
    parts = [p for m in seen[0][2]["messages"] if isinstance(m["content"], list) for p in m["content"]]
    urls = [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]
    assert all(one.startswith("data:image/jpeg;base64,") for one in urls)
