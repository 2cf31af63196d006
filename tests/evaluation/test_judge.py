"""The judge against a real HTTP server on loopback that speaks the OpenAI protocol."""

import json
import threading
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from PIL import Image

from askmask.conversation import Round
from askmask.errors import AskMaskError, DataError, SettingError
from askmask.evaluation.judge import (
    Dialogue,
    VlmJudge,
    judge_dialogues,
    parse_better,
    parse_grades,
    win_rate,
)
from askmask.vlm.opening import ModelChoice

pytest.importorskip("openai")


@pytest.fixture
def server():
    """Replies from a queue of (status, content); remembers what was asked."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            headers = {name.lower(): value for name, value in self.headers.items()}
            self.server.asked.append((self.path, headers, body))
            status, content = self.server.answer(body)
            if status == 200:
                message = {"role": "assistant", "content": content}
                payload = {
                    "id": "x", "object": "chat.completion", "created": 0, "model": body["model"],
                    "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
                }  # fmt: skip
            else:
                payload = {"error": {"message": content}}
            data = json.dumps(payload).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.send_header("retry-after-ms", "1")
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.asked = []
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def judge_of(monkeypatch):
    """`judge_of(server)` opens a judge; all are closed at the end."""
    monkeypatch.setenv("JUDGE_KEY", "secret-key")
    with ExitStack() as opened:

        def make(server, **more):
            choice = ModelChoice(
                model="judge-1",
                base_url=f"http://127.0.0.1:{server.server_port}/v1",
                api_key_env="JUDGE_KEY",
            )
            return opened.enter_context(VlmJudge(choice, first_wait_s=0.01, **more))

        yield make


def dialogue(name="d", reply="A bottle.", image=None):
    rounds = (Round.of("What is there?", reply=reply), Round.of("Segment it.", reply="There."))
    return Dialogue(id=name, rounds=rounds, target="the bottle", image=image)


def test_grades_are_asked_at_temperature_zero_with_the_picture(server, judge_of, tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "p.png")
    fenced = 'Sure:\n```json\n{"PR": 2, "LC": 5, "CC": 3, "TR": 5}\n```'
    replies = iter(['{"PR": 4, "LC": 5, "CC": 3, "TR": 5}', fenced])
    server.answer = lambda body: (200, next(replies))
    result = judge_dialogues(judge_of(server), [dialogue(image=str(tmp_path / "p.png"))], repeats=2)
    assert (result["PR"], result["LC"], result["sd_between_repeats"]["PR"]) == (3, 5, 1)
    assert (result["n"], result["replies"], result["replies_unread"]) == (1, 2, 0)
    path, headers, body = server.asked[0]
    assert path == "/v1/chat/completions" and body["temperature"] == 0 and body["model"] == "judge-1"
    text, image = body["messages"][0]["content"]
    assert "the bottle" in text["text"] and "Person: What is there?" in text["text"]
    assert image["image_url"]["url"].startswith("data:image/png;base64,")
    assert "secret-key" in headers["authorization"] and "secret-key" not in json.dumps(result)
    assert len(result["template_sha256"]) == 64


def test_unread_replies_are_counted_never_dropped(server, judge_of):
    too_high, twos = '{"PR": 9, "LC": 5, "CC": 3, "TR": 5}', '{"PR": 2, "LC": 2, "CC": 2, "TR": 2}'
    replies = iter(["I would say four.", too_high, twos])
    server.answer = lambda body: (200, next(replies))
    three = [dialogue("a", "A jar."), dialogue("b", "A cup."), dialogue("c", "A can.")]
    result = judge_dialogues(judge_of(server), three, repeats=1)
    assert (result["n"], result["n_unread"], result["replies_unread"], result["PR"]) == (3, 2, 2, 2)


def test_pairs_are_asked_in_both_orders(server, judge_of):
    def prefers_bottle(body):
        text = body["messages"][0]["content"]
        a, b = text.split("Conversation of B:")
        return 200, json.dumps({"better": "A" if "bottle." in a else "B" if "bottle." in b else "tie"})

    def prefers_first(body):
        return 200, '{"better": "A"}'

    ours = [dialogue("x", "A bottle."), dialogue("y", "A bottle.")]
    theirs = [dialogue("y", "A jug."), dialogue("x", "A jug.")]
    server.answer = prefers_bottle
    assert win_rate(judge_of(server), ours, theirs)["win_rate"] == 1.0
    assert win_rate(judge_of(server), theirs, ours)["losses"] == 2
    server.answer = prefers_first  # a judge that only looks at the order decides nothing
    result = win_rate(judge_of(server), ours, theirs)
    assert (result["ties"], result["win_rate"]) == (2, 0.5)
    server.answer = lambda body: (200, "cannot say")
    result = win_rate(judge_of(server), ours, theirs)
    assert (result["n_unread"], result["win_rate"]) == (2, None)
    with pytest.raises(DataError, match="same dialogues"):
        win_rate(judge_of(server), ours, theirs[:1])


def test_what_may_pass_is_tried_again_and_what_cannot_is_told(server, judge_of):
    states = iter([(429, "slow down"), (503, "busy"), (200, '{"PR": 1, "LC": 1, "CC": 1, "TR": 1}')])
    server.answer = lambda body: next(states)
    assert judge_dialogues(judge_of(server), [dialogue()], repeats=1)["PR"] == 1
    assert len(server.asked) == 3
    server.answer = lambda body: (401, "bad key secret-key")
    with pytest.raises(AskMaskError, match=r"refuses every call: HTTP 401: bad key \[key\]") as caught:
        judge_dialogues(judge_of(server), [dialogue()], repeats=1)
    assert "secret-key" not in str(caught.value) and len(server.asked) == 4


def test_a_picture_that_is_gone_costs_its_dialogue_and_a_server_that_is_gone_the_run(server, judge_of):
    server.answer = lambda body: (200, '{"PR": 1, "LC": 1, "CC": 1, "TR": 1}')
    talks = [dialogue("a", image="gone.png"), *(dialogue(name) for name in "bcdef")]
    result = judge_dialogues(judge_of(server), talks, repeats=1)
    assert (result["n_failed"], result["replies"], result["PR"]) == (1, 5, 1)
    assert "no such file; got gone.png" in result["failed"]["a"]
    server.asked.clear()
    server.answer = lambda body: (503, "busy")
    with pytest.raises(AskMaskError, match="busy"):
        judge_dialogues(judge_of(server, attempts=1), talks, repeats=1)
    assert len(server.asked) == 3


def test_a_key_is_needed(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    with pytest.raises(SettingError, match="OPENAI_API_KEY"):
        VlmJudge(ModelChoice(model="judge-1"))


@pytest.mark.parametrize(
    "reply", ["", "{}", "null", '{"PR": "4", "LC": 1, "CC": 1, "TR": 1}', '{"PR": true}', "{{{"]
)
def test_only_whole_grades_are_read(reply):
    assert parse_grades(reply) is None and parse_better(reply) is None
