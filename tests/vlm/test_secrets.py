"""Keys are nowhere: not in the ledger, messages, tracebacks or the gallery, whatever echoes them, however spelt."""

import asyncio
import base64
import json
from pathlib import Path
from urllib.parse import quote

import pytest

pytest.importorskip("pydantic")
pytest.importorskip("openai")

from askmask.engine.pipeline import add_pictures
from askmask.engine.runs import Limits, RunPlan, begin, work
from askmask.engine.settings import Settings
from askmask.engine.store import RunStore
from askmask.errors import SettingError
from askmask.vlm.http import checked_address, checked_key
from askmask.vlm.opening import ModelChoice
from askmask.vlm.secrets import keep_secret, redact, without_keys
from tests import warm
from tests.vlm.endpoint import failure, reply, scripted

KEY = "MyS$cret:Key!Zq9"
SPELLINGS = (
    KEY,
    quote(KEY, safe=""),
    json.dumps(KEY)[1:-1],
    base64.b64encode(KEY.encode()).decode().rstrip("="),
    KEY.lower(),
)
REGIONS = {
    "scene": f"A table {KEY}.",
    "regions": [{"description": f"cup {KEY} {n}", "kind": "thing", "parent": None} for n in range(2)],
}


def nowhere(folder: Path) -> bool:
    kept = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    return not any(spelt.encode() in kept for spelt in SPELLINGS)


@pytest.mark.parametrize("spelt", SPELLINGS)
def test_every_spelling_is_taken_out(spelt):
    keep_secret(KEY + "\n")
    assert KEY.lower() not in redact(f"Illegal header value b'Bearer {spelt}\\n'").lower()
    assert spelt not in without_keys(f"the key is {spelt}.")


def test_short_keys_are_words_and_placeholders_are_no_keys():
    keep_secret("k9x")
    keep_secret("EMPTY")
    assert without_keys("key k9x, box9xk9x") == "key [key], box9xk9x"
    assert without_keys("the cup is EMPTY") == "the cup is EMPTY"


def test_a_key_file_ends_in_a_newline_and_a_key_holds_no_odd_letters(monkeypatch):
    address = checked_address("https://h/v1")
    monkeypatch.setenv("K", "sk-abcdefgh1234\n")
    assert checked_key("K", address) == "sk-abcdefgh1234"
    monkeypatch.setenv("K", "sk-ünïcode-1234")
    with pytest.raises(SettingError) as caught:
        checked_key("K", address)
    assert "cod" not in str(caught.value)


@pytest.mark.parametrize(
    "echo",
    [
        reply(json.dumps(REGIONS)),
        reply(None, refusal=f"I refuse {KEY}"),
        reply(None, finish="content_filter", refusal=f"no {KEY}"),
        failure(400, f"your key {KEY} is odd", "content_filter"),
        failure(400, f"your key {KEY} is odd"),
        failure(422, f"Bearer {KEY}"),
        (200, {}, reply("no JSON " + KEY)[2] | {"model": f"m {KEY}", "id": KEY}),
        (200, {}, reply(None)[2] | {"choices": [{"message": {"content": {KEY: 1}}}]}),
        (200, {}, {"error": {"message": KEY, "code": 400}}),
    ],
)
def test_no_echo_of_a_key_reaches_the_disk(tmp_path, monkeypatch, flat_picture, echo):
    from askmask.engine.gallery import write_gallery

    monkeypatch.setenv("TEST_KEY", KEY + "\n")
    with scripted(echo) as (url, seen), RunStore(tmp_path / "run", create=True) as store:
        choice = ModelChoice(model="m-1", base_url=url, api_key_env="TEST_KEY")
        begin(store, RunPlan(writer=choice, settings=Settings(concepts=("physics",))))
        add_pictures(store, [flat_picture])
        asyncio.run(work(store, Limits(first_wait_s=0.01, longest_wait_s=0.02, attempts=2)))
        write_gallery(store, tmp_path / "run" / "gallery.html")
        assert seen[0][1]["authorization"] == f"Bearer {KEY}"  # it is sent, without the newline
        assert nowhere(tmp_path / "run")  # the write-ahead log as well
    assert nowhere(tmp_path / "run")


@pytest.fixture
def flat_picture(tmp_path):
    from tests.engine.flatworld import write_flatworld

    return write_flatworld(tmp_path / "flat", 1)[0]


def test_debug_shows_the_traceback_without_the_key_and_keeps_the_exit_code(
    tmp_path, flat_picture, monkeypatch
):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with scripted(failure(401, f"wrong key {KEY}")) as (url, _):
        words = [
            "engine",
            "run",
            flat_picture,
            "--model",
            "m-1",
            "--base-url",
            url,
            "--out",
            tmp_path / "run",
        ]
        done = warm.run(*words, "--debug")
    assert done.returncode == 2 and "Traceback" in done.stderr and "wrong key [key]" in done.stderr
    assert not any(spelt in done.stdout + done.stderr for spelt in SPELLINGS)
