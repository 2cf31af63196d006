"""The oracle over HTTP: whatever is wrong with a request is said, and no client can keep the server from others."""

from __future__ import annotations

import base64
import io
import json
import socket
import struct
import urllib.error
import urllib.request
import zlib

import pytest
from PIL import Image
from typer.testing import CliRunner

from askmask.cli.app import app, register_commands

PATH = "/v1/chat/completions"


def body(gallery, *, inputs: object = None, url: str | None = None, schema: str = "RegionsReply") -> dict:
    """A well-formed request about the first scene, or one with something else in its place."""
    if url is None:
        buffer = io.BytesIO()
        Image.fromarray(gallery.scenes[0].rgb).save(buffer, "PNG")
        url = "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
    text = f"```json\n{json.dumps({} if inputs is None else inputs)}\n```"
    content = [{"type": "text", "text": text}, {"type": "image_url", "image_url": {"url": url}}]
    return {
        "model": "oracle-1",
        "response_format": {"json_schema": {"name": schema, "schema": {}}},
        "messages": [{"role": "user", "content": content}],
    }


def post(server, payload: object) -> tuple[int, dict]:
    data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    request = urllib.request.Request(server.address.removesuffix("/v1") + PATH, data, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=120) as reply:
            return reply.status, json.loads(reply.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def raw(server, text: str) -> str:
    """Send bytes as they are; return all that comes back until the server closes."""
    with socket.create_connection(server.server_address[:2], timeout=120) as line:
        line.sendall(text.encode())
        return b"".join(iter(lambda: line.recv(4096), b"")).decode()


def bomb() -> str:
    """A PNG of a few bytes that claims 60,000 x 60,000 pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    png = (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    )
    return "data:image/png;base64," + base64.b64encode(png).decode()


def test_a_good_request_is_answered(oracle, gallery):
    with oracle() as server:
        status, reply = post(server, body(gallery))
        assert status == 200 and json.loads(reply["choices"][0]["message"]["content"])["regions"]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"inputs": [], "schema": "BoxesReply"}, "TypeError"),
        ({"inputs": {"descriptions": 3}, "schema": "BoxesReply"}, "TypeError"),
        (
            {
                "inputs": {"concept": "spatial", "regions": [{"number": 1, "box": [1]}]},
                "schema": "PromptsReply",
            },
            "IndexError",
        ),
        ({"inputs": {"prompt": None}, "schema": "AlignmentReply"}, "AttributeError"),
        ({"schema": "Poem"}, "does not know this question"),
        ({"url": bomb()}, "PictureError"),
        ({"url": "data:image/png;base64,AAAA"}, "PictureError"),
        ({"url": "http://127.0.0.1/picture.png"}, "data URLs"),
    ],
)
def test_odd_inputs_and_pictures_are_refused_with_a_reply_and_a_note(oracle, gallery, change, told):
    with oracle() as server:
        status, reply = post(server, body(gallery, **change))
        assert status == 400 and told in reply["error"]["message"]
        assert server.outcomes["invalid request"] == 1


@pytest.mark.parametrize(
    "payload", [b"{", b"[]", b"{}", b'{"model": "oracle-1"}', b"\xff\xfe", b"[" * 100_000]
)
def test_bodies_of_another_form_are_refused(oracle, payload):
    with oracle() as server:
        status, reply = post(server, payload)
        assert status == 400 and reply["error"]["code"] == "invalid_request"


@pytest.mark.parametrize("length", ["ten", "-5", "0", "", "²", "9" * 30, "999999999999"])
def test_a_length_that_is_none_is_refused(oracle, length):
    with oracle() as server:
        reply = raw(server, f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n")
        assert reply.startswith("HTTP/1.1 413") and "Content-Length must lie in" in reply


def test_a_body_that_does_not_arrive_times_out(oracle):
    with oracle(patience_s=0.2) as server:
        reply = raw(server, f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{{")
        assert reply.startswith("HTTP/1.1 408") and "1 of 100 bytes" in reply
        assert raw(server, "POST") == ""  # a request that never begins is closed without a word


def test_connections_are_limited_and_come_free_again(oracle, gallery):
    with oracle(patience_s=0.5, most_connections=2) as server:
        idle = [socket.create_connection(server.server_address[:2], timeout=120) for _ in range(2)]
        try:
            assert raw(server, "GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n").startswith("HTTP/1.1 503")
            for line in idle:
                assert line.recv(10) == b""  # closed after half a second of silence
        finally:
            for line in idle:
                line.close()
        assert post(server, body(gallery))[0] == 200


@pytest.mark.parametrize("options", [["--api-key-env", "ASKMASK_TEST_UNSET"], ["--most", "-1"]])
def test_options_that_cannot_be_meant_do_not_start_a_server(flat, options):
    register_commands()
    done = CliRunner().invoke(
        app, ["world", "oracle", "--data", str(flat / "truth"), "--port", "0", *options]
    )
    assert done.exit_code != 0
    told = done.output + str(done.exception)
    assert "ASKMASK_TEST_UNSET holds no key" in told or "--most" in told


def test_a_port_in_use_is_said_with_what_to_do(oracle, flat):
    register_commands()
    with oracle() as server:
        port = str(server.server_address[1])
        done = CliRunner().invoke(app, ["world", "oracle", "--data", str(flat / "truth"), "--port", port])
    said = str(done.exception)
    assert done.exit_code != 0 and f"port {port} cannot be listened at" in said and "another --port" in said
