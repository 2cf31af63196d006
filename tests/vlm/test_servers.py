"""Servers as they are: refused parameters, odd envelopes, moderation, quota, waits, sizes, missing usage."""

import asyncio
import gzip
import json
import time

import numpy as np
import pytest

pytest.importorskip("pydantic")
pytest.importorskip("openai")
from pydantic import BaseModel, ConfigDict

from askmask.errors import SettingError
from askmask.vlm import caller as calling
from askmask.vlm import openai_api
from askmask.vlm.budget import Budget, Price
from askmask.vlm.caller import Caller
from askmask.vlm.errors import CallFailed, Refused, RunStopped
from askmask.vlm.http import checked_address, retry_after
from askmask.vlm.ledger import Ledger
from askmask.vlm.openai_api import OpenAIVlm
from askmask.vlm.opening import ModelChoice, open_vlm
from askmask.vlm.pictures import SentPicture
from askmask.vlm.rate import Pace
from askmask.vlm.request import Request
from tests.vlm.endpoint import failure, reply, scripted

GOOD = '{"reason": "it fits", "accept": true}'


class Verdict(BaseModel):
    model_config = ConfigDict(extra="forbid")
    reason: str
    accept: bool


def question(text="the cup", **more):
    picture = SentPicture(np.full((20, 30, 3), 90, np.uint8), "the original")
    return Request(
        stage="align",
        template_hash="t",
        instructions="Judge.",
        pictures=(picture,),
        inputs={"prompt": text},
        schema_name="Verdict",
        schema=Verdict.model_json_schema(),
        **more,
    )


def ask(url, *questions, ledger=None, options=None, **more):
    """Ask one after the other; return outcomes (exceptions included) and the states of calls."""

    async def work():
        vlm = OpenAIVlm("m-1", base_url=url, api_key_env="NO_SUCH_KEY", **options or {})
        caller = Caller(
            vlm,
            ledger,
            **{"budget": Budget(), "attempts": 3, "first_wait_s": 0.01, "longest_wait_s": 0.02, **more},
        )
        outcomes = []
        for one in questions or [question()]:
            try:
                outcomes.append((await caller.ask(one, Verdict)).value.accept)
            except Exception as error:
                outcomes.append(error)
        await caller.close()
        return outcomes

    ledger = ledger or Ledger()
    outcomes = asyncio.run(work())
    return outcomes, [state for (state,) in ledger.query("SELECT state FROM calls ORDER BY id")]


# -- parameters -----------------------------------------------------------------------------------------------


def refusing(name, message, status=400, body=None):
    def answer(sent):
        return failure(status, message) if name in sent else reply(GOOD)

    return answer


@pytest.mark.parametrize(
    ("name", "message", "instead"),
    [
        ("max_tokens", "this model takes max_completion_tokens, not max_tokens", "max_completion_tokens"),
        ("temperature", "Unsupported value: 'temperature' does not support 0", None),
        ("seed", "Extra inputs are not permitted: seed", None),
        ("response_format", "json_schema is not supported by this model", None),
    ],
)
def test_a_refused_parameter_is_left_out_for_the_rest_of_the_run(name, message, instead):
    with scripted(refusing(name, message)) as (url, seen):
        outcomes, states = ask(url, question(), question("the jug"))
    refused = ["parameter"] * (2 if name == "response_format" else 1)  # a schema, then JSON without one
    assert outcomes == [True, True] and states == [*refused, "ok", "ok"]  # asked too often once, not twice
    assert name not in seen[-1][2] and (instead is None or seen[-1][2][instead] == 2048)
    if name == "response_format":
        assert '"accept"' in seen[-1][2]["messages"][0]["content"]  # then the schema is told in words


def test_json_without_a_schema_is_asked_of_servers_that_know_no_schema():
    def answer(sent):
        ok = sent["response_format"] == {"type": "json_object"}
        return reply(GOOD) if ok else failure(400, "This response_format type is unavailable now")

    with scripted(answer) as (url, seen):
        outcomes, states = ask(url, question(), question("the jug"))
    assert outcomes == [True, True] and states == ["parameter", "ok", "ok"]
    assert '"accept"' in seen[-1][2]["messages"][0]["content"]  # the schema is told in words


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (400, "System role not supported"),
        (500, "Error rendering prompt with jinja template: Only user and assistant roles are supported!"),
    ],
)
def test_instructions_go_with_the_question_where_no_system_message_is_known(status, message):
    def answer(sent):
        has = any(one["role"] == "system" for one in sent["messages"])
        return failure(status, message) if has else reply(GOOD)

    with scripted(answer) as (url, seen):
        outcomes, states = ask(url, question(), question("the jug"))
    assert outcomes == [True, True] and states == ["parameter", "ok", "ok"]
    (message,) = seen[-1][2]["messages"]
    assert message["role"] == "user" and "Judge." in message["content"][0]["text"]


def test_a_refusal_in_a_frameworks_own_form_is_understood():
    detail = {"detail": [{"type": "extra_forbidden", "loc": ["body", "seed"], "msg": "no such input"}]}

    def answer(sent):
        return (422, {}, {"object": "error", "message": detail}) if "seed" in sent else reply(GOOD)

    with scripted(answer) as (url, _):
        assert ask(url)[0] == [True]


def test_parameters_can_be_added_and_left_out_and_belong_to_the_key():
    with scripted(reply(GOOD)) as (url, seen):
        extra = {"seed": None, "temperature": 1, "chat_template_kwargs": {"enable_thinking": False}}
        ask(url, options={"extra": extra})
    body = seen[0][2]
    assert "seed" not in body and body["temperature"] == 1
    assert body["chat_template_kwargs"] == {"enable_thinking": False}
    assert question().key("p", "m", extra) != question().key("p", "m")
    with pytest.raises(SettingError, match="thinking-tokens"):
        OpenAIVlm("m", base_url=url, extra={"max_tokens": 9})


def test_thinking_that_uses_up_the_limit_gets_room_once_for_all():
    def answer(sent):
        return reply(None, finish="length") if sent["max_tokens"] < 6000 else reply(GOOD)

    told = []
    with scripted(answer) as (url, _):
        outcomes, states = ask(url, question(), question("the jug"), tell=told.append)
        assert outcomes == [True, True] and states == ["thinking", "ok", "ok"] and len(told) == 1
        assert ask(url, thinking_tokens=5000)[1] == ["ok"]
    with scripted(reply(None, finish="length")) as (url, _seen):
        (error,), states = ask(url)
    assert error.error_class == "truncated" and states == ["thinking", "thinking", "ok", "ok"]


# -- envelopes ------------------------------------------------------------------------------------------------


def completion(**message):
    status, headers, body = reply(GOOD)
    body["choices"][0]["message"] |= message
    return status, headers, body


def with_body(**more):
    status, headers, body = reply(GOOD)
    return status, headers, body | more


ODD = [
    completion(content=7),
    completion(content={"text": GOOD}),
    completion(content=[{"type": "image"}]),
    completion(content=True),
    completion(content="half \ud83d"),
    completion(refusal=[{"no": 1}]),
    completion(refusal="\udc00"),
    with_body(choices={"0": 1}),
    with_body(choices=[]),
    with_body(choices="many"),
    with_body(choices=[None]),
    with_body(choices=[{"index": 0, "finish_reason": "stop"}]),
    with_body(choices=[{"index": 0, "finish_reason": "stop", "message": None}]),
    (200, {}, [1, 2]),
    (200, {}, "words"),
    (200, {}, 5),
    (200, {}, b"[" * 200_000 + b"]" * 200_000),
    (200, {}, b'{"choices": ' + b"9" * 9000 + b"}"),
]


@pytest.mark.parametrize("odd", ODD, ids=range(len(ODD)))
def test_an_odd_envelope_is_that_units_failure_and_is_not_cached(odd):
    ledger = Ledger()
    with scripted(odd, reply(GOOD)) as (url, _):
        outcomes, states = ask(url, question(), question("the jug"), ledger=ledger)
        assert (
            isinstance(outcomes[0], CallFailed) and outcomes[0].error_class == "parse" and outcomes[1] is True
        )
        assert states == ["parse", "ok"] and str(outcomes[0]).encode()
        assert ask(url, ledger=ledger)[0] == [True]  # asked anew, well answered


@pytest.mark.parametrize(
    "good",
    [
        completion(content=[{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": GOOD}]),
        completion(content=None, reasoning_content=GOOD),
        completion(content="", reasoning=GOOD),
        completion(content=f"<think>no</think>{GOOD}"),
        with_body(id=7, model=["m"]),
    ],
)
def test_other_envelopes_are_read(good):
    with scripted(good) as (url, _):
        assert ask(url)[0] == [True]


@pytest.mark.parametrize(
    "usage",
    [None, "many", [], {}, {"prompt_tokens": "9", "completion_tokens": 1},
     {"prompt_tokens": -5, "completion_tokens": 1}, {"prompt_tokens": 1 << 70, "completion_tokens": 1},
     {"prompt_tokens": 1.5, "completion_tokens": True}],
)  # fmt: skip
def test_without_a_count_that_can_be_the_worst_case_is_spent(usage):
    ledger, price = Ledger(), Price(3, 3)
    worst = price.of(*question().tokens_at_most())
    with scripted(with_body(usage=usage)) as (url, _):
        outcomes, _ = ask(url, ledger=ledger, price=price)
        assert outcomes == [True] and ledger.spent()[0] == pytest.approx(worst)
        more = [question(str(n)) for n in range(4)]
        outcomes, states = ask(url, *more, ledger=ledger, price=price, budget=Budget(max_usd=2.5 * worst))
    assert len([o for o in outcomes if o is True]) == 2 and len(states) == 3


def test_an_error_inside_a_200_is_an_error_with_its_sentence():
    overloaded = (200, {}, {"error": {"message": "provider is overloaded", "code": 502}})
    with scripted(overloaded, reply(GOOD)) as (url, _):
        assert ask(url)[1] == ["server", "ok"]
    with scripted((200, {}, {"error": {"message": "no such key", "code": 401}})) as (url, _):
        assert "no such key" in str(ask(url)[0][0])


# -- what stops a run, and what stops one picture -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (failure(402, "not enough credits for this request", "402"), "not enough credits"),
        (failure(429, "your quota is used up", "insufficient_quota"), "quota is used up"),
        (failure(401, "no such key"), "no such key"),
        (failure(404, "no such model"), "no such model"),
        (
            failure(400, "API key not valid. Please pass a valid API key.", "INVALID_ARGUMENT"),
            "API key not valid",
        ),
        ((200, {"Content-Type": "text/html"}, b"<!doctype html><html>sign in</html>"), "a web page"),
    ],
)
def test_what_no_further_call_can_mend_stops_at_once_with_the_providers_sentence(answer, said):
    with scripted(answer) as (url, seen):
        (first, second), _ = ask(url, question(), question("the jug"))
    assert isinstance(first, RunStopped) and said in str(first) and str(first).count(said) == 1
    assert isinstance(second, RunStopped) and len(seen) == 1  # and nothing more is sent for a while


def test_requests_refused_in_a_row_stop_the_run():
    questions = [question(str(n)) for n in range(9)]
    with scripted(failure(400, "at most 1 image may be in one request")) as (url, seen):
        outcomes, _ = ask(url, *questions)
    kinds = [type(outcome) for outcome in outcomes]
    assert kinds == [CallFailed] * (calling.IN_A_ROW - 1) + [RunStopped] * 5 and len(seen) == calling.IN_A_ROW
    assert "at most 1 image" in str(outcomes[-1])
    with scripted(*[failure(400, "no"), reply(GOOD)] * 6) as (url, seen):
        outcomes, _ = ask(url, *questions)  # answered between them: each fails alone
    assert not any(isinstance(outcome, RunStopped) for outcome in outcomes)


@pytest.mark.parametrize(
    "answer",
    [
        (
            403,
            {},
            {"error": {"code": 403, "message": "your input was flagged by moderation", "metadata": {}}},
        ),
        failure(400, "Input data may contain inappropriate content.", "data_inspection_failed"),
        failure(400, "no", "DataInspectionFailed"),
        failure(400, "The response was filtered", "content_filter"),
    ],
)
def test_moderation_stops_one_picture(answer):
    ledger = Ledger()
    with scripted(answer, reply(GOOD)) as (url, seen):
        outcomes, _ = ask(url, question(), question("the jug"), ledger=ledger)
        assert (
            isinstance(outcomes[0], Refused) and outcomes[0].error_class == "safety" and outcomes[1] is True
        )
        assert isinstance(ask(url, ledger=ledger)[0][0], Refused) and len(seen) == 2  # an answer: kept


def test_an_address_without_v1_is_explained():
    with scripted(failure(404, "Not Found")) as (url, _):
        (error,), _ = ask(url.removesuffix("/v1"))
    assert isinstance(error, RunStopped) and "/v1" in str(error)


# -- waits and sizes ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("told", ["3600", "99999999", "inf", "1e300", "Fri, 31 Dec 9999 23:59:59 GMT"])
def test_a_wait_beyond_the_ceiling_stops_with_the_hour(told):
    began = time.monotonic()
    with scripted(failure(429, "requests per day used up", Retry_After=told)) as (url, seen):
        (error,), _ = ask(url)
    assert isinstance(error, RunStopped) and "asks to wait" in str(error) and "per day" in str(error)
    assert len(seen) == 1 and time.monotonic() - began < 3


def test_a_long_wait_is_told_and_ctrl_c_ends_it():
    told = []

    async def work(url):
        stop = asyncio.Event()
        caller = Caller(
            OpenAIVlm("m-1", base_url=url, api_key_env="NO_SUCH_KEY"),
            Ledger(),
            Budget(),
            stop=stop,
            tell=told.append,
        )
        asked = asyncio.ensure_future(caller.ask(question(), Verdict))
        while not told:
            await asyncio.sleep(0.01)
        stop.set()
        with pytest.raises(RunStopped, match="interrupted"):
            await asked
        await caller.close()

    began = time.monotonic()
    with scripted(failure(429, "slow down", Retry_After="120")) as (url, _):
        asyncio.run(work(url))
    assert time.monotonic() - began < 5 and len(told) == 1 and "slow down" in told[0]


def test_odd_retry_after_headers():
    assert retry_after({"retry-after": "nan"}) is None
    assert retry_after({"retry-after": "-3"}) == 0


def test_the_deadline_is_that_of_the_whole_request():
    import threading
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            self.send_response(200)
            self.send_header("Content-Length", "500")
            self.end_headers()
            try:
                for _ in range(50):
                    self.wfile.write(b" ")
                    self.wfile.flush()
                    time.sleep(0.05)
            except OSError:
                pass

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    began = time.monotonic()
    (error,), _ = ask(f"http://127.0.0.1:{server.server_port}/v1", attempts=1, options={"timeout_s": 0.4})
    server.shutdown()
    server.server_close()
    assert error.error_class == "timeout" and time.monotonic() - began < 2


def test_a_response_has_a_limit_of_size(monkeypatch):
    monkeypatch.setattr(openai_api, "MOST_BYTES", 10_000)
    with scripted(completion(content="x" * 20_000)) as (url, _):
        assert "MB" in str(ask(url)[0][0])
    packed = gzip.compress(json.dumps(reply("y" * 300_000)[2]).encode())
    with scripted((200, {"Content-Encoding": "gzip"}, packed)) as (url, _):
        assert "MB" in str(ask(url)[0][0])
    with scripted(failure(400, "z" * 500_000)) as (url, _):
        assert len(str(ask(url)[0][0])) < 700


# -- what a user sets ---------------------------------------------------------------------------------------------


def test_numbers_that_can_be_no_limit_are_refused():
    nan, inf = float("nan"), float("inf")
    for make in (
        lambda: Budget(max_usd=nan),
        lambda: Budget(max_usd=-1),
        lambda: Budget(max_usd=inf),
        lambda: Price.parse("nan,nan"),
        lambda: Price.parse("1,inf"),
        lambda: Price.parse("1e9,1"),
        lambda: Pace(nan),
        lambda: Pace(-5),
        lambda: Pace(0),
        lambda: Pace(None, 0),
        lambda: OpenAIVlm("m", base_url="http://127.0.0.1:9/v1", timeout_s=nan),
        lambda: OpenAIVlm("m", base_url="http://127.0.0.1:9/v1", timeout_s=0),
    ):
        with pytest.raises(SettingError, match="number from"):
            make()


@pytest.mark.parametrize(
    "url",
    [
        "http://[::1",
        "http://h:99999/v1",
        "h:80/v1",
        "ftp://h/v1",
        "http://u:p@h/v1",
        "http://h/v1?api_key=S3cret",
        "http://a host/v1",
        "http://h/v1\n",
        "http://h\x1b/v1",
        "",
    ],
)
def test_addresses_that_are_none_or_hold_a_key_are_refused(url):
    with pytest.raises(SettingError) as caught:
        checked_address(url)
    assert "S3cret" not in str(caught.value)


def test_the_environments_address_is_used_and_stored(monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    assert ModelChoice(model="m").placed().base_url == "http://127.0.0.1:9/v1"
    assert ModelChoice(model="m", base_url="http://h/v1").placed().base_url == "http://h/v1"
    assert OpenAIVlm("m").provider == "openai:127.0.0.1:9"


def test_gemini_without_its_address_is_explained(monkeypatch):
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test-0123456789")
    with pytest.raises(SettingError, match="generativelanguage"):
        open_vlm(ModelChoice(model="gemini-2.5-flash"))
    assert open_vlm(ModelChoice(model="gemini-2.5-flash", base_url="http://127.0.0.1:9/v1"))
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    assert open_vlm(ModelChoice(model="gemini-2.5-flash"))


def test_a_socks_proxy_is_explained_and_not_used_for_this_machine(monkeypatch):
    from importlib.util import find_spec

    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:1080")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test-0123456789")
    assert OpenAIVlm("m", base_url="http://127.0.0.1:9/v1").provider == "openai:127.0.0.1:9"
    if find_spec("socksio") is None:
        with pytest.raises(SettingError, match="SOCKS"):
            OpenAIVlm("m", base_url="http://example.invalid/v1")
