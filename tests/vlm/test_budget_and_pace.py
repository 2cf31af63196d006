"""The budget is never passed, and the pace is kept, halved and recovered."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from askmask.errors import SettingError
from askmask.vlm import rate
from askmask.vlm.budget import Budget, Price
from askmask.vlm.errors import BudgetSpent
from askmask.vlm.http import retry_after
from askmask.vlm.prices import check_pinned, price_of
from askmask.vlm.secrets import keep_secret, redact

cents = st.floats(0.001, 0.5)


@given(
    limit=st.floats(0.1, 2),
    calls=st.lists(st.tuples(cents, st.floats(0, 1), st.booleans()), max_size=60),
    most=st.integers(0, 40),
)
def test_no_order_of_calls_passes_the_budget(limit, calls, most):
    budget = Budget(max_usd=limit, max_calls=most)
    open_calls = []
    for worst, share, settle_now in calls:
        try:
            budget.reserve(worst)
        except BudgetSpent:
            continue
        open_calls.append((worst, worst * share))
        if settle_now:
            budget.settle(*open_calls.pop(0))
        assert budget.spent_usd + sum(worst for worst, _ in open_calls) <= limit + 1e-9
        assert budget.calls <= most
    for call in open_calls:
        budget.settle(*call)
    assert budget.spent_usd <= limit + 1e-9


def test_budget_goes_on_from_an_earlier_sitting():
    budget = Budget(max_usd=1.0, spent_usd=0.95)
    budget.reserve(0.04)
    with pytest.raises(BudgetSpent, match="max-usd"):
        budget.reserve(0.02)


def test_prices():
    assert price_of("google/gemini-2.5-flash") == Price(0.30, 2.50)
    assert price_of("mystery-7b") is None
    assert price_of("mystery-7b", "1,2").of(1_000_000, 500_000) == 2.0
    for bad in ("1", "a,b", "-1,2"):
        with pytest.raises(SettingError):
            Price.parse(bad)


def test_floating_names_are_refused():
    for name in ("gpt-4o", "gemini-flash-latest", "qwen:latest", "openai/chatgpt-4o@latest"):
        with pytest.raises(SettingError, match="floating"):
            check_pinned(name, allow_floating=False)
        check_pinned(name, allow_floating=True)
    check_pinned("gpt-4o-2024-08-06", allow_floating=False)


class Clock:
    """Time that passes only by sleeping."""

    def __init__(self, monkeypatch):
        self.now = 100.0
        monkeypatch.setattr(rate.asyncio, "sleep", self.sleep)

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_pace_holds_requests_and_tokens_per_minute(monkeypatch):
    clock = Clock(monkeypatch)
    pace = rate.Pace(requests_per_minute=60, clock=clock)
    for _ in range(66):
        asyncio.run(pace.take(10))
    assert clock.now - 100 == pytest.approx(60, abs=1.1)  # a burst of 6, then one a second
    pace = rate.Pace(tokens_per_minute=6000, clock=clock)
    began = clock.now
    for _ in range(8):
        asyncio.run(pace.take(600))
    assert clock.now - began == pytest.approx(42, abs=1.5)


def test_429_halves_once_a_burst_waits_as_told_and_recovers(monkeypatch):
    clock = Clock(monkeypatch)
    pace = rate.Pace(requests_per_minute=120, clock=clock)
    for _ in range(5):
        pace.slow_down(3.0)
    assert pace.requests_per_minute == 60
    began = clock.now
    asyncio.run(pace.take(1))
    assert clock.now - began >= 3.0
    for _ in range(20):
        clock.now += rate.RECOVER_AFTER_S + 1
        asyncio.run(pace.take(1))
    assert pace.requests_per_minute == 120


def test_retry_after_reads_seconds_and_dates():
    assert retry_after({"retry-after": "1.5"}) == 1.5
    assert retry_after({"retry-after": "Thu, 01 Jan 1970 00:00:00 GMT"}) == 0
    assert retry_after({"retry-after": "soon"}) is None
    assert retry_after({}) is None


@pytest.mark.parametrize(
    "text",
    [
        "Bearer abcdef123456",
        "sk-proj-abcdefgh12345678",
        "https://user:pass@host/v1",
        '{"api_key": "abcdefgh1234"}',
        "key=AIzaSyA1234567890abcdefghij",
        "the key is my-own-odd-secret!",
    ],
)
def test_keys_are_redacted(text):
    keep_secret("my-own-odd-secret!")
    cleaned = redact(text)
    for secret in ("abcdef123456", "sk-proj", "user:pass", "abcdefgh1234", "AIzaSy", "my-own-odd"):
        assert secret not in cleaned
