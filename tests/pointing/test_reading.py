"""Malformed replies, each with the outcome it must have."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from askmask.pointing.conventions import TABLE, convention_of, is_known
from askmask.pointing.outcome import NothingHere, Pointed, Unreadable
from askmask.pointing.reading import read_pointing
from askmask.pointing.sent import size_to_send, to_send
from askmask.vlm.request import Completion

REPLIES = [json.loads(line) for line in (Path(__file__).parent / "replies.jsonl").read_text().splitlines()]
QWEN = TABLE["qwen3-vl"]
SENT = to_send(np.zeros((400, 600, 3), np.uint8), QWEN)
KINDS = {"pointed": Pointed, "nothing": NothingHere, "unreadable": Unreadable}


@pytest.mark.parametrize("row", REPLIES, ids=lambda row: row["name"])
def test_each_reply_has_its_outcome(row):
    outcome = read_pointing(Completion(text=row["text"]), SENT, QWEN)
    assert type(outcome) is KINDS[row["outcome"]], outcome
    if isinstance(outcome, Pointed):
        assert len(outcome.instances) == row["instances"]
    if isinstance(outcome, Unreadable):
        assert outcome.raw == row["text"] and outcome.why


def test_there_are_many_of_each():
    assert len(REPLIES) >= 60 and {row["outcome"] for row in REPLIES} == set(KINDS)


@pytest.mark.parametrize(
    "row", [row for row in REPLIES if row["outcome"] == "pointed"], ids=lambda row: row["name"]
)
def test_truncated_stays_a_failure(row):
    assert isinstance(read_pointing(Completion(text=row["text"], finish="length"), SENT, QWEN), Unreadable)


@given(st.text(max_size=80) | st.text(alphabet='[]{}",:0123456789.box_2d ', max_size=120))
def test_any_text_has_one_of_three_outcomes(text):
    outcome = read_pointing(Completion(text=text), SENT, QWEN)
    if isinstance(outcome, NothingHere):
        assert "[]" in text.replace(" ", "") or "nothing_because" in text


@given(cut=st.integers(1, 120))
def test_a_reply_cut_within_a_value_is_unreadable(cut):
    """After a whole value a forgotten bracket and a cut look alike; the server's word for "length" tells them apart."""
    whole = '[{"bbox_2d": [100, 200, 300, 400], "label": "cup"}, {"bbox_2d": [500, 600, 700, 800], "label": "jug"}]'
    text = whole[: min(cut, len(whole) - 1)]
    outcome = read_pointing(Completion(text=text), SENT, QWEN)
    assert isinstance(outcome, Unreadable) or (
        isinstance(outcome, Pointed) and text.endswith(("}", "]", '"'))
    )


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("Qwen/Qwen3-VL-8B-Instruct", "qwen3-vl"),
        ("qwen3-vl:8b", "qwen3-vl"),
        ("Qwen/Qwen2.5-VL-7B-Instruct-AWQ", "qwen2.5-vl"),
        ("qwen2.5vl:7b", "qwen2.5-vl"),
        ("models/gemini-2.5-flash", "gemini"),
        ("gpt-4.1-2025-04-14", "pixels"),
        ("moonshotai/Kimi-VL-A3B", "fractions"),
        ("deepseek-ai/deepseek-vl2-small", "deepseek-vl2"),
        ("google/paligemma2-3b", "paligemma"),
    ],
)
def test_a_models_name_says_its_convention(model, name):
    assert convention_of(model).name == name and is_known(model)
    assert convention_of(model, "fractions").name == "fractions"


@given(st.integers(1, 5000), st.integers(1, 5000), st.sampled_from([28, 32]))
def test_the_size_sent_is_one_that_servers_leave_alone(height, width, multiple):
    whole, inner = size_to_send((height, width), multiple)
    assert all(side % multiple == 0 for side in whole)
    assert 1024 <= whole[0] * whole[1] / multiple**2 <= 2048
    assert max(whole) / min(whole) < 3.4
    assert all(1 <= part <= full for part, full in zip(inner, whole, strict=True))


@pytest.mark.parametrize("convention", TABLE.values(), ids=lambda c: c.name)
@pytest.mark.parametrize("size", [(760, 1140), (1140, 760), (20, 30), (4000, 3000), (100, 3000)])
def test_places_come_back_where_they_were(convention, size):
    sent = to_send(np.zeros((*size, 3), np.uint8), convention)
    box = [0.1 * size[1], 0.2 * size[0], 0.7 * size[1], 0.9 * size[0]]
    written = [
        v
        for x, y in (box[:2], box[2:])
        for v in convention.written(x * sent.scale[0], y * sent.scale[1], sent.size)
    ]
    text = json.dumps([{convention.box_key: written}])
    outcome = read_pointing(Completion(text=text), sent, convention)
    assert isinstance(outcome, Pointed) and outcome.outside == 0
    assert np.abs(np.array(outcome.instances[0].box) - box).max() < 1.0
