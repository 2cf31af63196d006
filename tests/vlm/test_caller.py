"""One question against a real endpoint: cache, retries, repair, quarantine, refusals, budget, keys."""

import asyncio
import json
import time
from contextlib import suppress

import numpy as np
import pytest

from askmask.engine.replies import AlignmentReply
from askmask.engine.store import RunStore
from askmask.engine.tools import request_for
from askmask.vlm.budget import Budget, Price
from askmask.vlm.caller import Caller
from askmask.vlm.errors import BudgetSpent, CallFailed, Quarantined, Refused, RunStopped
from askmask.vlm.openai_api import OpenAIVlm
from askmask.vlm.pictures import SentPicture
from tests.vlm.endpoint import failure, reply, scripted

GOOD = json.dumps({"reason": "it fits", "accept": True})
KEY = "sk-test-4b1d5e7a9c"


def question(text: str = "Segment the cup", vote: int = 0):
    picture = SentPicture(np.full((20, 30, 3), 90, np.uint8), "the original")
    return request_for(
        "align",
        AlignmentReply,
        instructions="Judge.",
        templates=("align_mask",),
        pictures=(picture,),
        inputs={"prompt": text},
        vote=vote,
    )


def ask(store, url, *questions, budget=None, price=None, attempts=4, timeout_s=5.0, first_wait_s=0.01):
    """Ask all together; return outcomes, exceptions included."""

    async def work():
        vlm = OpenAIVlm("m-1", base_url=url, api_key_env="TEST_KEY", timeout_s=timeout_s)
        caller = Caller(
            vlm,
            store,
            budget or Budget(),
            price=price,
            attempts=attempts,
            first_wait_s=first_wait_s,
            longest_wait_s=0.05,
        )
        outcomes = await asyncio.gather(
            *(caller.ask(q, AlignmentReply) for q in questions or [question()]), return_exceptions=True
        )
        await caller.close()
        return outcomes

    return asyncio.run(work())


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("TEST_KEY", KEY)
    with RunStore(tmp_path / "run", create=True) as opened:
        yield opened


def states(store) -> list[str]:
    return [row[0] for row in store.query("SELECT state FROM calls ORDER BY id")]


def test_an_answered_question_is_never_asked_again(store):
    with scripted(reply(GOOD)) as (url, seen):
        for _ in range(2):
            answers = ask(store, url, question(), question(), question("Segment the jug"))
            assert all(answer.value.accept for answer in answers)
    assert len(seen) == 2  # equal questions share one call even when asked together
    assert states(store) == ["ok", "ok"]
    body = seen[0][2]
    assert body["response_format"]["json_schema"]["name"] == "AlignmentReply"
    assert body["response_format"]["json_schema"]["schema"]["additionalProperties"] is False
    assert body["temperature"] == 0 and seen[0][1]["authorization"] == f"Bearer {KEY}"


def test_another_vote_is_another_question(store):
    with scripted(reply(GOOD)) as (url, seen):
        ask(store, url, question(), question(vote=1))
    assert len(seen) == 2


@pytest.mark.parametrize(
    ("fault", "state"),
    [
        (failure(429, retry_after="0.05"), "rate_limit"),
        (failure(500), "server"),
        (failure(503), "server"),
        (failure(408), "timeout"),
        (failure(409), "conflict"),
        ("drop", "connection"),
    ],
)
def test_passing_faults_are_tried_again(store, fault, state):
    with scripted(fault, fault, reply(GOOD)) as (url, seen):
        (answer,) = ask(store, url)
    assert answer.value.accept and len(seen) == 3
    assert states(store) == [state, state, "ok"]


def test_retry_after_is_honoured(store):
    with scripted(failure(429, retry_after="0.6"), reply(GOOD)) as (url, _):
        began = time.monotonic()
        ask(store, url)
    assert time.monotonic() - began >= 0.6


def test_a_late_reply_times_out_and_is_counted_as_billed(store):
    with scripted(8.0, reply(GOOD)) as (url, _):
        (answer,) = ask(store, url, timeout_s=3.0, price=Price(1, 1), budget=Budget(max_usd=1))
    assert answer.value.accept
    assert states(store) == ["timeout", "ok"]
    worst, real = store.query("SELECT cost_usd, worst_usd FROM calls WHERE state = 'timeout'")[0]
    assert worst == real > 0


@pytest.mark.parametrize(("status", "calls"), [(500, 4), (400, 1), (422, 1)])
def test_lasting_faults_end_as_failed_calls(store, status, calls):
    with scripted(failure(status)) as (url, seen):
        (error,) = ask(store, url)
    assert isinstance(error, CallFailed) and len(seen) == calls
    assert error.error_class == ("server" if status == 500 else "request")


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_refused_key_or_model_stops_the_run(store, status):
    with scripted(failure(status, message=f"bad key {KEY}")) as (url, seen):
        (error,) = ask(store, url)
    assert isinstance(error, RunStopped) and len(seen) == 1
    assert KEY not in str(error) and "[key]" in str(error)


def test_a_broken_reply_is_repaired_once(store):
    with scripted(reply('{"reason": "x"}'), reply(GOOD)) as (url, seen):
        (answer,) = ask(store, url)
    assert answer.value.accept
    *_, assistant, complaint = seen[1][2]["messages"]
    assert assistant["content"] == '{"reason": "x"}'
    assert "accept" in complaint["content"] and "Field required" in complaint["content"]


def test_a_reply_broken_twice_is_quarantined_not_a_verdict(store):
    with scripted(reply("Sure! {'accept': no}")) as (url, seen):
        (error,) = ask(store, url)
        assert isinstance(error, Quarantined) and error.error_class == "parse" and len(seen) == 2
        assert len(error.keys) == 2
        (again,) = ask(store, url)  # the broken replies are answered calls: not repeated
        assert isinstance(again, Quarantined) and len(seen) == 2


def test_fenced_json_is_read(store):
    with scripted(reply(f"```json\n{GOOD}\n```")) as (url, seen):
        (answer,) = ask(store, url)
    assert answer.value.accept and len(seen) == 1


def test_a_cut_reply_is_asked_again_with_more_room(store):
    with scripted(reply(GOOD[:9], finish="length"), reply(GOOD)) as (url, seen):
        (answer,) = ask(store, url)
    assert answer.value.accept
    assert seen[1][2]["max_tokens"] == 2 * seen[0][2]["max_tokens"]
    with scripted(reply(GOOD[:9], finish="length")) as (url, _):
        (error,) = ask(store, url, question("another"))
    assert error.error_class == "truncated"


@pytest.mark.parametrize(
    ("answer", "error_class", "reason"),
    [
        (reply(None, refusal="I would rather not"), "refusal", "rather not"),
        (reply(None, finish="content_filter"), "safety", "filter"),
        (failure(400, "violence found", "content_filter"), "safety", "violence"),
    ],
)
def test_refusals_are_a_state_with_the_reason(store, answer, error_class, reason):
    with scripted(answer) as (url, seen):
        (error,) = ask(store, url)
        assert isinstance(error, Refused) and error.error_class == error_class and reason in error.reason
        ask(store, url)
    assert len(seen) == 1  # a refusal is an answer


def test_the_call_that_could_pass_the_budget_is_not_made(store):
    price = Price(1000, 1000)
    worst = price.of(*question().tokens_at_most())
    questions = [question(f"Segment {n}") for n in range(6)]
    with scripted(reply(GOOD)) as (url, seen):
        outcomes = ask(store, url, *questions, price=price, budget=Budget(max_usd=2.5 * worst))
    refused = [outcome for outcome in outcomes if isinstance(outcome, BudgetSpent)]
    assert refused and len(seen) == 6 - len(refused)
    assert store.spent()[0] <= 2.5 * worst
    with scripted(reply(GOOD)) as (url, seen):
        outcomes = ask(store, url, *(question(f"Find {n}") for n in range(6)), budget=Budget(max_calls=4))
    assert len(seen) == 4 and sum(isinstance(o, BudgetSpent) for o in outcomes) == 2


def test_retries_count_as_calls(store):
    with scripted(failure(500)) as (url, seen):
        (error,) = ask(store, url, budget=Budget(max_calls=2))
    assert isinstance(error, BudgetSpent) and len(seen) == 2
    assert "the last call failed: HTTP 500" in str(error)  # not the budget is to blame


@pytest.mark.parametrize(("answer", "blamed"), [(failure(500), True), (reply(GOOD), False)])
def test_a_spent_budget_is_not_blamed_for_calls_that_came_to_nothing(store, answer, blamed):
    async def work(url):
        vlm = OpenAIVlm("m-1", base_url=url, api_key_env="TEST_KEY", timeout_s=5.0)
        caller = Caller(vlm, store, Budget(max_calls=2), attempts=1)
        for number in range(2):
            with suppress(CallFailed):
                await caller.ask(question(f"Segment {number}"), AlignmentReply)
        with pytest.raises(BudgetSpent) as caught:
            await caller.ask(question("Segment 2"), AlignmentReply)
        await caller.close()
        return str(caught.value)

    with scripted(answer) as (url, seen):
        said = asyncio.run(work(url))
    assert len(seen) == 2 and ("the last call failed: HTTP 500" in said) == blamed


def test_a_call_without_an_outcome_counts_with_its_worst(store):
    store.begin_call("key", "align", "m-1", 0.25)  # as after a kill
    assert store.spent() == (0.25, 1)


def test_the_key_is_nowhere(store, tmp_path):
    with scripted(failure(400, f"you sent Bearer {KEY}"), reply(GOOD)) as (url, _):
        (error,) = ask(store, url)
    assert KEY not in str(error) and KEY not in repr(error)
    store.close()
    for path in tmp_path.rglob("*"):
        assert path.is_dir() or KEY.encode() not in path.read_bytes()


def test_a_damaged_file_of_kept_replies_is_named(tmp_path):
    import sqlite3

    from askmask.errors import DataError
    from askmask.vlm.ledger import Ledger

    path = tmp_path / "calls.sqlite"
    ledger = Ledger(path)
    with sqlite3.connect(path) as db:
        db.execute("INSERT INTO replies VALUES ('k', 'p', 'm', 's', 't', '{\"text\": [5', NULL, NULL, NULL)")
    with pytest.raises(DataError, match=r"calls\.sqlite is damaged.*a reply"):
        ledger.reply("k")
    with sqlite3.connect(path) as db:
        db.execute("DROP TABLE calls")
    for ask in (ledger.spent, ledger.tokens, lambda: ledger.begin_call("k", "s", "m", 0.1)):
        with pytest.raises(DataError, match=r"calls\.sqlite is damaged.*no such table"):
            ask()
    ledger.close()
