"""The reader of replies: what it reads in other clothes, and what it must call unreadable."""

import json
import time

import pytest

pytest.importorskip("pydantic")
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict

from askmask.vlm.errors import Quarantined
from askmask.vlm.reply import MOST_CHARS, read_reply


class Box(BaseModel):
    model_config = ConfigDict(extra="forbid")
    number: int
    box: list[float]


class Boxes(BaseModel):
    model_config = ConfigDict(extra="forbid")
    boxes: list[Box]


class Verdict(BaseModel):
    model_config = ConfigDict(extra="forbid")
    reason: str
    accept: bool


ONE, TWO = '{"number": 1, "box": [1, 2, 3, 4]}', '{"number": 2, "box": [5, 6, 7, 8]}'
BOTH = f'{{"boxes": [{ONE}, {TWO}]}}'
YES = '{"reason": "it fits", "accept": true}'
NO = YES.replace("true", "false")


@pytest.mark.parametrize(
    "text",
    [
        BOTH,
        f"```json\n{BOTH}\n```",
        f"```\n{BOTH}```",
        f"{BOTH}\n```",  # a lone closing fence
        f"```json\n{BOTH}",
        f"Here you are:\n```json\n{BOTH}\n```\nAnything else?",
        f"The boxes are {BOTH}. I hope this helps [1].",
        f"<think>Perhaps {ONE}?</think>\n{BOTH}",
        f"I think of {ONE}\n</think>\n{BOTH}",
        f"{BOTH}<think>Was that right?</think>",
        f"[{ONE}, {TWO}]",  # the list without its object
        f"{ONE}\n{TWO}",  # JSON lines
        f"{ONE}\n\n{TWO}\n",
        f"{ONE}, {TWO}]",  # lost its opening bracket
        f'{{"boxes": [{ONE}, {TWO}]',  # lost a closing one
        f'{{"boxes": [{ONE}, {TWO}',
        f'{{"boxes": [{ONE}, {TWO}}}',
        f'{{"boxes": [{ONE}, {TWO},],}}',
        BOTH.replace('"', "'"),
        f"```python\n{BOTH}\n```".replace('"', "'"),
        f"[{BOTH}]",
        BOTH.replace(" ", "\n\t"),
    ],
)
def test_boxes_in_other_clothes(text):
    assert read_reply(text, Boxes) == Boxes.model_validate_json(BOTH)


@pytest.mark.parametrize(
    ("text", "accept", "reason"),
    [
        (YES, True, "it fits"),
        (f"{YES} {YES}", True, "it fits"),  # said twice is said once
        ("{'reason': 'it\\'s \"it\"', 'accept': True}", True, 'it\'s "it"'),
        ('{"reason": "a {brace} and a [bracket", "accept": false} done', False, "a {brace} and a [bracket"),
        ('{"reason": "it fits", "accept": true', True, "it fits"),
        ("{'reason': 'two\nlines', 'accept': False,}", False, "two\nlines"),
        ("So {x} is meant: " + YES, True, "it fits"),
    ],
)
def test_verdicts_in_other_clothes(text, accept, reason):
    assert read_reply(text, Verdict) == Verdict(reason=reason, accept=accept)


def test_one_bare_object_is_a_list_of_one():
    assert [b.number for b in read_reply(ONE, Boxes).boxes] == [1]


@pytest.mark.parametrize("text", ['{"boxes": []}', "[]", "```json\n[]\n```"])
def test_an_empty_list_is_said_not_guessed(text):
    assert read_reply(text, Boxes).boxes == []


@pytest.mark.parametrize(
    ("text", "schema"),
    [
        ("", Boxes),
        ("nothing", Boxes),
        ("There is nothing like that [] in the picture.", Boxes),
        ("{}", Boxes),
        (f"<think>Perhaps {ONE}", Boxes),
        ("null", Boxes),
        (BOTH[:40], Boxes),  # cut in a number: 3 may have been 35
        (BOTH[:-14], Boxes),
        (f'{{"boxes": [{ONE}, {{"number": 2, "bo', Boxes),  # cut short is no shorter list
        (f"```json\n[{ONE}, {TWO[:20]}\n```", Boxes),
        (f"{YES} No, wait: {NO}", Verdict),
        ('{"reason": "x", "accept": true, "accept2": 1}', Verdict),
        ('{"reason": "x"}', Verdict),
        ("Sure! {'accept': no}", Verdict),
        ('{"reason": "half \ud83d", "accept": true}', Verdict),
        ('{"reason": "x", "accept": NaN}', Verdict),
        ('{"number": ' + "9" * 5000 + ', "box": []}', Box),
        ('{reason: "x", accept: true}', Verdict),
    ],
)
def test_what_is_unreadable_is_said_to_be(text, schema):
    with pytest.raises(Quarantined) as caught:
        read_reply(text, schema)
    assert caught.value.error_class == "parse" and caught.value.reason


@pytest.mark.parametrize(
    "text",
    ["[" * 150_000, '{"a":' * 30_000, "{x} " * 45_000, '"' * 150_000, "[" + "1," * 90_000, YES * 4_000, "'{" * 90_000,
     "```" * 60_000, "<think>" * 25_000, "[]" * 90_000, "x" * (MOST_CHARS + 1)],
)  # fmt: skip
def test_hostile_replies_are_refused_in_a_moment(text):
    began = time.process_time()
    try:
        read_reply(text, Verdict)
    except Quarantined:
        pass
    assert time.process_time() - began < 1.5


@given(st.text(alphabet=st.sampled_from(" {}[]\",:'\\\ntrue0e-n`<>/think\ud83d"), max_size=60))
def test_any_text_is_read_or_unreadable(text):
    for schema in (Boxes, Verdict):
        try:
            assert isinstance(read_reply(text, schema), schema)
        except Quarantined:
            pass


@given(st.text(max_size=40), st.booleans())
def test_whatever_a_verdict_says_survives_words_around_it(reason, accept):
    said = json.dumps({"reason": reason, "accept": accept})
    found = read_reply(f"Well.\n```json\n{said}\n```", Verdict)
    assert (found.reason, found.accept) == (reason, accept) or "```" in reason
