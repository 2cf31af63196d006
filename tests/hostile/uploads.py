"""Damaged requests to `askmask serve`: bodies, pictures, masks, saved conversations, to a real server on loopback.

A case passes if it is answered, or refused with what is wrong with it, and never with an error inside the server; the
session beside it must stay as it was.
"""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from tests.hostile.mutate import RAW, damage_value, odd_pictures, text_of
from tests.serving.conftest import Server, colour_server, data_url, picture

JSON = {"content-type": "application/json"}
SAYS_WHY = range(400, 500)
STUCK_S = 300.0  # of any time: a busy machine is no fault


def run(seed: int, first: int, last: int, folder: Path) -> Iterator[dict[str, Any]]:
    """Yield a row a case; a server that died is started again, and the case was the failure."""
    while first < last:
        with colour_server(folder / f"server-{first}", "--limit", "rate=0") as server:
            for row in cases(server, seed, first, last):
                yield row
                first += 1


def cases(server: Server, seed: int, first: int, last: int) -> Iterator[dict[str, Any]]:
    """Yield a row a case until all were sent or the server is dead."""
    client, session = server.client, server.open()
    server.ask(session, "the red one")
    calm = client.get(f"/v1/sessions/{session}").json()["rounds"]
    saved = client.get(f"/v1/sessions/{session}/saved").json()
    for number in range(first, last):
        chance = random.Random(f"{seed} upload {number}")
        name, method, path, sent = chance.choice(KINDS)(chance, saved, session)
        row: dict[str, Any] = {"case": number, "set": name, "damage": sent.pop("damage")}
        try:
            answer = client.request(method, path, **sent, timeout=STUCK_S)
            row |= {"outcome": _outcome(answer), "said": answer.text[:200]}
            if client.get(f"/v1/sessions/{session}").json()["rounds"] != calm:
                row["outcome"] = "another session was changed"
        except httpx.HTTPError as error:
            row |= {"outcome": f"no answer: {type(error).__name__}", "said": str(error)[:200]}
        died = server.process.poll()
        yield row if died is None else row | {"outcome": f"the server died: {died}"}
        if died is not None:
            return


def _outcome(answer: httpx.Response) -> str:
    if answer.status_code == 202:
        return "still at work"  # no case asks for more than a moment's
    if answer.status_code < 300:
        return "answered"
    if answer.status_code not in SAYS_WHY:
        return f"status {answer.status_code}"
    try:
        said = answer.json()["error"]["message"]
    except (ValueError, LookupError, TypeError):
        said = ""
    return "refused" if said else f"status {answer.status_code} without a reason"


def good(row: dict[str, Any]) -> bool:
    return row["outcome"] in ("answered", "refused")


Sent = tuple[str, str, str, dict[str, Any]]


def _damaged(value: Any, random: random.Random) -> tuple[bytes, str]:
    """Return the text of a damaged value: one place in it, or its bytes."""
    if random.random() < 0.15:
        text = bytearray(json.dumps(value).encode())
        at = random.randrange(len(text))
        text[at : at + random.choice((0, 1, 5, 10**6))] = random.choice(
            (b"", b"\xff", b"\0", b"[" * 9000, b'"')
        )
        return bytes(text), f"bytes at {at}"
    value, how = damage_value(value, random)
    return text_of(value).encode(), how


def _saved(random: random.Random, saved: Any, session: str) -> Sent:
    """A conversation that was saved, damaged, with its picture."""
    call = {"picture": {"data": data_url(picture())}, "saved": json.loads(json.dumps(saved))}
    call["saved"], how = damage_value(call["saved"], random)
    return (
        "saved conversation",
        "POST",
        "/v1/sessions",
        {"content": text_of(call).encode(), "headers": JSON, "damage": how},
    )


def _saved_in_a_form(random: random.Random, saved: Any, session: str) -> Sent:
    text, how = _damaged(json.loads(json.dumps(saved)), random)
    files = {"picture": ("a.png", picture()), "saved": (None, text)}
    return "saved conversation in a form", "POST", "/v1/sessions", {"files": files, "damage": how}


def _call(random: random.Random, saved: Any, session: str) -> Sent:
    """A call for answers to prompts that stand alone."""
    prompt = {
        "text": "red",
        "points": [[5, 5]],
        "boxes": [[4, 3, 12, 11]],
        "about": [],
        "mask": {"png": "AAAA"},
    }
    call = {
        "picture": {"data": data_url(picture()), "name": "a.png"},
        "prompts": ["red", prompt],
        "masks": "rle",
    }
    text, how = _damaged(call, random)
    return "segment", "POST", "/v1/segment", {"content": text, "headers": JSON, "damage": how}


def _picture(random: random.Random, saved: Any, session: str) -> Sent:
    """A picture that is other than one expects, in each of the ways it may come."""
    pictures = odd_pictures(random)
    number = random.randrange(len(pictures))
    data, way = pictures[number], random.choice(("form", "body", "JSON", "session"))
    sent: dict[str, Any] = {"damage": f"picture {number} as {way}"}
    if way == "body":
        kind = random.choice(("image/png", "image/jpeg", "image/svg+xml", "image/", "image/x\x7f"))
        return (
            "picture",
            "POST",
            "/v1/segment?prompt=red",
            sent | {"content": data, "headers": {"content-type": kind}},
        )
    if way == "form":
        named = random.choice(("a.png", "../../a.png", "\u202e", "x" * 5000, "a\0b"))
        return (
            "picture",
            "POST",
            "/v1/segment",
            sent | {"files": {"picture": (named, data)}, "data": {"prompt": "red"}},
        )
    call: dict[str, Any] = {"picture": {"data": base64.b64encode(data).decode()}}
    if way == "session":
        return "picture", "POST", "/v1/sessions", sent | {"json": call}
    return "picture", "POST", "/v1/segment", sent | {"json": call | {"prompts": ["red"]}}


def _mask(random: random.Random, saved: Any, session: str) -> Sent:
    """A drawn mask of a prompt about a picture of its own."""
    forms: tuple[Any, ...] = (
        {"rle": {"size": [32, 48], "counts": [5, 20, 1511]}},
        {"polygons": [[[[0, 0], [9, 0], [9, 9], [0, 9]]]]},
        {"png": base64.b64encode(picture()).decode()},
    )
    text, how = _damaged({"mask": random.choice(forms)}, random)
    body = b'{"picture": {"data": %s}, "prompts": [%s]}' % (json.dumps(data_url(picture())).encode(), text)
    return "mask", "POST", "/v1/segment", {"content": body, "headers": JSON, "damage": how}


def _path(random: random.Random, saved: Any, session: str) -> Sent:
    """A query or a name in a path that is none."""
    odd = quote(
        random.choice(
            ("", "..", "\0", "\u202e", "²", "x" * 3000, "9" * 5000, "nan", "-1", "1e400", "r1,r9", *RAW[:3])
        )
    )
    path = random.choice((
        f"/v1/sessions?most={odd}", f"/v1/sessions/{odd}", f"/v1/jobs/{odd}", f"/v1/sessions/{session}?masks={odd}",
        f"/v1/sessions/{session}/overlay.png?rounds={odd}", f"/v1/sessions/{session}/masks.zip?rounds={odd}",
        f"/v1/sessions/{session}/picture?most={odd}", f"/v1/jobs/{odd}?wait={odd}",
    ))  # fmt: skip
    return "path", "GET", path, {"damage": repr(path[:60])}


KINDS = (_saved, _saved, _saved_in_a_form, _call, _picture, _mask, _path)
