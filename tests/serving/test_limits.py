"""What a server refuses, and that each refusal says why: hosts, origins, keys, sizes, rates, nonsense, other people."""

import http.client
import json
import socket
import time

import httpx
import pytest

from askmask.errors import SettingError
from askmask.serving.safety import Keys, Names, Rate, check_settings, read_keys
from askmask.serving.settings import Limits, Settings
from tests.serving.conftest import colour_server, data_url, picture

KEYS = ("anna-0123456789abcdef", "ben-0123456789abcdef-")


@pytest.fixture(scope="module")
def keyed(tmp_path_factory):
    """A small server with two keys and tight limits."""
    limits = (
        "body_mb=1",
        "pixels=100000",
        "prompts=3",
        "waiting=2",
        "body_s=1",
        "rounds=2",
        "connections=40",
    )
    options = [part for key in KEYS for part in ("--key", key)]
    options += [part for limit in limits for part in ("--limit", limit)]
    with colour_server(tmp_path_factory.mktemp("keyed"), *options) as server:
        server.client.headers["authorization"] = f"Bearer {KEYS[0]}"
        yield server


def why(response: httpx.Response) -> str:
    return response.json()["error"]["what"]


# -- who ------------------------------------------------------------------------------------------------------


def test_a_server_that_others_can_reach_needs_a_key(tmp_path):
    for host in ("0.0.0.0", "192.168.1.5", "::", "example.org"):
        with pytest.raises(SettingError, match="needs a key"):
            check_settings(Settings(data=tmp_path, host=host))
    for host in ("127.0.0.1", "localhost", "::1", "127.1.2.3"):
        check_settings(Settings(data=tmp_path, host=host))
    check_settings(Settings(data=tmp_path, host="0.0.0.0", keys=KEYS))
    with pytest.raises(SettingError, match="16 characters"):
        check_settings(Settings(data=tmp_path, host="0.0.0.0", keys=("short",)))


def test_keys_are_read_from_a_file(tmp_path):
    (tmp_path / "keys").write_text(f"# ours\n{KEYS[0]}\n\n{KEYS[1]}  \n")
    assert read_keys(tmp_path / "keys") == KEYS
    for bad in ("", "# nothing\n", "two words\n", "schlüssel\n"):
        (tmp_path / "keys").write_text(bad)
        with pytest.raises(SettingError):
            read_keys(tmp_path / "keys")


def test_owners_come_of_keys_and_not_back(tmp_path):
    keys = Keys(KEYS, tmp_path)
    owners = [keys.owner_of(key) for key in KEYS]
    assert len(set(owners)) == 2 and not any(key in owner for key in KEYS for owner in owners)
    assert keys.owner_of("anna") is None and keys.owner_of(None) is None and keys.owner_of("\udcff") is None
    assert Keys(KEYS, tmp_path).owner_of(KEYS[0]) == owners[0], "the same after a restart"
    other = tmp_path / "other"
    other.mkdir()
    assert Keys(KEYS, other).owner_of(KEYS[0]) != owners[0]


@pytest.mark.parametrize(
    "header", [None, "Bearer wrong-key-of-some-length", "Basic !!", "Bearer", "Bearer " + "x" * 5000]
)
def test_without_the_right_key_nothing_is_shown(keyed, header):
    headers = {} if header is None else {"authorization": header}
    for method, path in (
        ("GET", "/v1/sessions"),
        ("POST", "/v1/segment"),
        ("GET", "/metrics"),
        ("GET", "/nowhere"),
    ):
        refused = httpx.request(method, keyed.url + path, headers=headers)
        assert refused.status_code in (401, 429), path
        if refused.status_code == 401:
            assert refused.headers["www-authenticate"] == "Bearer" and why(refused) == "this needs a key"
    assert httpx.get(keyed.url + "/health").status_code == 200


@pytest.mark.parametrize("way", ["Bearer {}", "Token {}"])
def test_a_key_may_come_as_tools_send_it(keyed, way):
    assert (
        httpx.get(keyed.url + "/v1/models", headers={"authorization": way.format(KEYS[1])}).status_code == 200
    )
    assert httpx.get(keyed.url + "/v1/models", headers={"token": KEYS[1]}).status_code == 200
    assert httpx.get(keyed.url + "/v1/models", auth=("label-studio", KEYS[1])).status_code == 200


def test_sessions_of_one_key_are_invisible_to_another(keyed):
    mine = keyed.open()
    ben = httpx.Client(base_url=keyed.url, headers={"authorization": f"Bearer {KEYS[1]}"})
    absent = ben.get(f"/v1/sessions/{'A' * 22}")
    for method, path in (
        ("GET", ""), ("DELETE", ""), ("POST", "/rounds"), ("PUT", "/rounds/r1"), ("POST", "/undo"), ("POST", "/fork"),
        ("GET", "/saved"), ("GET", "/picture"), ("GET", "/masks.zip"), ("GET", "/page.html"), ("POST", "/segments"),
    ):  # fmt: skip
        given = {"json": {"text": "red"}} if method in ("POST", "PUT") and path != "/undo" else {}
        refused = ben.request(method, f"/v1/sessions/{mine}{path}", **given)
        assert refused.status_code == 404 and refused.json() == absent.json(), path
    job = keyed.client.post(f"/v1/sessions/{mine}/rounds?wait=0", json={"text": "red, wait 0.2 s"})
    assert ben.get(job.headers["location"]).status_code == 404
    assert ben.delete(job.headers["location"]).status_code == 404
    assert ben.get("/v1/sessions").json() == {"sessions": [], "total": 0}
    assert keyed.client.get(job.headers["location"], params={"wait": 5}).status_code == 200
    assert keyed.client.get("/v1/sessions").json()["total"] >= 1
    keyed.client.delete(f"/v1/sessions/{mine}")


def test_a_name_bent_to_this_address_is_refused(colours):
    for host in ("evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "", "[::1", "10.0.0.1"):
        refused = colours.client.get("/v1/sessions", headers={"host": host})
        assert refused.status_code in (400, 421), host
    port = colours.url.rsplit(":", 1)[1]
    assert colours.client.get("/v1/sessions", headers={"host": f"localhost:{port}"}).status_code == 200


def test_pages_of_other_origins_are_refused(colours):
    for origin in ("https://evil.example", "null", "http://localhost:1", "http://127.0.0.1"):
        refused = colours.client.post("/v1/segment", headers={"origin": origin})
        assert refused.status_code == 403 and "origin" in why(refused), origin
    assert colours.client.post("/v1/segment", headers={"sec-fetch-site": "cross-site"}).status_code == 403
    own = colours.client.post("/v1/segment", headers={"origin": colours.url})
    assert own.status_code != 403


def test_a_browser_may_ask_whether_an_origin_may_call(colours):
    asked = {"access-control-request-method": "POST"}
    own = colours.client.options("/v1/segment", headers={"origin": colours.url} | asked)
    assert own.status_code == 204 and "POST" in own.headers["access-control-allow-methods"]
    other = colours.client.options("/v1/segment", headers={"origin": "https://evil.example"} | asked)
    assert other.status_code == 403 and "access-control-allow-origin" not in other.headers


def test_origins_that_are_named_may_call(tmp_path):
    names = Names(Settings(data=tmp_path, origins=("https://tool.example/",), hosts=("masks.example",)))
    assert names.takes_origin("https://tool.example", "localhost:1")
    assert not names.takes_origin("https://tool.example.evil", "localhost:1")
    assert names.takes_host("masks.example:80") and not names.takes_host("other.example")
    everywhere = Names(Settings(data=tmp_path, host="0.0.0.0", keys=KEYS))
    assert everywhere.takes_host("whatever.example")


def test_answers_forbid_what_a_page_could_do_with_them(colours):
    headers = colours.client.get("/").headers
    assert "default-src 'none'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff" and headers["x-frame-options"] == "DENY"
    assert "server" not in headers


# -- how much -------------------------------------------------------------------------------------------------


def test_a_far_too_large_body_is_refused_and_whoever_sends_it_hears_why(keyed):
    """Clients that send all of it before they read, whether they say its length or not, get the refusal."""
    host, headers = keyed.url.removeprefix("http://"), {"content-type": "image/png"}
    piece = b"x" * (1 << 16)
    for _ in range(3):
        for body in (piece * 128, (piece for _ in range(128))):
            refused = keyed.client.post("/v1/segment", content=body, headers=headers)
            assert refused.status_code == 413 and "1 MB" in why(refused)
        line = http.client.HTTPConnection(host)
        line.request("POST", "/v1/segment", piece * 128, headers | {"authorization": f"Bearer {KEYS[0]}"})
        assert "1 MB" in json.loads(line.getresponse().read())["error"]["what"]
        line.close()


def test_a_body_without_end_is_not_read_without_end(keyed):
    address = keyed.url.removeprefix("http://").split(":")
    head = f"POST /v1/segment HTTP/1.1\r\nHost: localhost\r\nContent-Length: {1 << 40}\r\n\r\n"
    start = time.monotonic()
    with socket.create_connection((address[0], int(address[1])), timeout=15) as line:
        line.sendall(head.encode())
        assert b" 413 " in line.recv(4096)
        with pytest.raises(ConnectionError):
            while time.monotonic() - start < 10:
                line.sendall(b"x" * 1000)
                time.sleep(0.01)
    assert time.monotonic() - start < 5


def test_a_picture_of_too_many_pixels_is_refused_before_it_is_decoded(keyed):
    import io

    from PIL import Image

    buffer = io.BytesIO()
    Image.new("1", (2000, 2000)).save(buffer, format="PNG")
    refused = keyed.client.post(
        "/v1/segment", files={"picture": ("a", buffer.getvalue())}, data={"prompt": "red"}
    )
    assert refused.status_code == 422 and "100000 pixels" in why(refused)


def test_too_many_prompts_or_rounds_are_refused(keyed):
    call = {"picture": {"data": data_url(picture())}, "prompts": ["red"] * 4}
    refused = keyed.client.post("/v1/segment", json=call)
    assert refused.status_code == 422 and "3 prompts" in why(refused)
    session = keyed.open()
    assert [keyed.ask(session, "red").status_code for _ in range(3)] == [200, 200, 422]


def test_a_full_queue_says_when_to_come_again(keyed):
    session = keyed.open()
    url = f"/v1/sessions/{session}/rounds?wait=0"
    asked = [keyed.client.post(url, json={"text": "red, wait 0.5 s"}) for _ in range(3)]
    assert [a.status_code for a in asked] == [202, 202, 429]
    assert int(asked[2].headers["retry-after"]) >= 1 and "2 calls wait" in why(asked[2])
    for one in asked[:2]:
        assert keyed.client.get(one.headers["location"], params={"wait": 10}).status_code == 200


def test_rates_are_a_bucket_for_each_caller():
    now = [0.0]
    rate = Rate(2, clock=lambda: now[0])
    assert [rate.wait_s("anna") for _ in range(20)] == [0.0] * 20
    assert rate.wait_s("anna") == pytest.approx(0.5) and rate.wait_s("ben") == 0
    now[0] = 0.5
    assert rate.wait_s("anna") == 0
    assert Rate(0).wait_s("anyone") == 0


def test_slow_requests_are_cut_off(keyed):
    host, port = keyed.url.removeprefix("http://").split(":")
    head = f"POST /v1/segment HTTP/1.1\r\nHost: {host}:{port}\r\nAuthorization: Bearer {KEYS[0]}\r\n"
    for sent in ("POST /v1/seg", head + "Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"):
        start = time.monotonic()
        with socket.create_connection((host, int(port)), timeout=15) as line:
            line.sendall(sent.encode())
            said = b""
            while piece := line.recv(4096):
                said += piece
        assert time.monotonic() - start < 10
        assert said == b"" or b" 408 " in said.splitlines()[0]


# -- nonsense -------------------------------------------------------------------------------------------------

ODD = [
    (b"{", 400),
    (b"", 422),
    (b"[]", 422),
    (b"null", 422),
    (b'"text"', 422),
    (b'{"text": 5}', 422),
    (b'{"text": "red", "txt": 1}', 422),
    (b'{"points": [[1]]}', 422),
    (b'{"points": [["a", "b"]]}', 422),
    (b'{"points": [[NaN, 1]]}', 422),
    (b'{"points": [[1e400, 1]]}', 422),
    (b'{"boxes": [[1, 2, 3]]}', 422),
    (b'{"points": [[-1, 5]]}', 422),
    (b'{"points": [[1000, 5]]}', 422),
    (b'{"about": ["m77"]}', 422),
    (b'{"about": "m1"}', 422),
    (b'{"mask": {"rle": {"size": [1, 1], "counts": "0"}}}', 422),
    (b'{"mask": {"rle": {"size": [32, 48], "counts": [999999]}}}', 422),
    (b'{"mask": {"png": "!!"}}', 422),
    (b'{"mask": {"polygons": [[[[0, 0]]]]}}', 422),
    (b'{"mask": {"polygons": "all"}}', 422),
    (b'{"mask": {"polygons": 5}}', 422),
    (b'{"mask": {"polygons": [true, {"a": 1}]}}', 422),
    (b'{"mask": {}}', 422),
    (b'{"text": "\\ud800"}', 422),
    (b'{"text": "unanswerable"}', 422),
    (b"\xff\xfe", 400),
    (b'{"text": "' + b"x" * 20_000 + b'"}', 422),
    (b'{"a":' * 3000 + b"1" + b"}" * 3000, (400, 422)),
]


@pytest.mark.parametrize(("body", "status"), ODD, ids=lambda v: repr(v)[:40])
def test_nonsense_is_told_what_is_wrong_with_it(colours, body, status):
    session = colours.open()
    headers = {"content-type": "application/json"}
    refused = colours.client.post(f"/v1/sessions/{session}/rounds", content=body, headers=headers)
    assert refused.status_code in (status if isinstance(status, tuple) else (status,)), refused.text
    assert why(refused) and "Traceback" not in refused.text
    assert colours.client.get(f"/v1/sessions/{session}").json()["rounds"] == []


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not a picture",
        b"\x89PNG\r\n\x1a\n",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"%!PS-Adobe",
    ],
)
def test_what_is_no_picture_is_refused(colours, data):
    refused = colours.client.post("/v1/segment", files={"picture": ("a", data)}, data={"prompt": "red"})
    assert refused.status_code == 422 and "picture" in why(refused)


def test_damaged_requests_are_answered_or_refused_with_a_reason(colours):
    from tests.hostile import uploads

    rows = list(uploads.cases(colours, 1, 0, 30))
    assert len(rows) == 30 and [row for row in rows if not uploads.good(row)] == []
    assert {row["outcome"] for row in rows} == {"answered", "refused"}


@pytest.mark.parametrize(
    "path",
    ["/page/../app.py", "/page/%2e%2e/app.py", "/page/..%2fapp.py", "/page//etc/passwd", "/page/js/../../app.py",
     "/page/%00", "/v1/sessions/..%2f..", "/v1/sessions/%2e%2e/saved", "/v1/jobs/..", "/.askmask-salt"],
)  # fmt: skip
def test_paths_lead_nowhere(colours, path):
    host, port = colours.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as line:
        line.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n".encode())
        said = b""
        while piece := line.recv(65536):
            said += piece
    assert said.split()[1] in (b"404", b"400", b"405"), said[:200]


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1/a.png", "http://localhost/a.png", "http://169.254.169.254/latest", "http://[::1]/", "file:///etc/passwd",
     "http://10.0.0.1/", "http://[::ffff:127.0.0.1]/", "ftp://example.org/a.png", "http://user:pass@example.org/a.png",
     "http://example.org:22/", "http://0/", "http://2130706433/"],
)  # fmt: skip
def test_no_inner_address_is_fetched_even_where_addresses_are(tmp_path_factory, fetching, url):
    refused = fetching.client.post("/v1/segment", json={"picture": {"url": url}, "prompts": ["red"]})
    assert refused.status_code == 403 and "127.0.0.1" not in refused.text.replace(url, ""), refused.text


@pytest.fixture(scope="module")
def fetching(tmp_path_factory):
    with colour_server(tmp_path_factory.mktemp("fetching"), "--allow-urls") as server:
        yield server


def test_no_address_is_fetched_unless_allowed(colours):
    call = {"picture": {"url": "http://example.org/a.png"}, "prompts": ["red"]}
    refused = colours.client.post("/v1/segment", json=call)
    assert refused.status_code == 403 and "--allow-urls" in refused.json()["error"]["do"]


def test_an_error_inside_says_so_and_no_more(colours):
    session = colours.open()
    fallen = colours.ask(session, "fall over the secret-word")
    assert fallen.status_code == 500 and "ZeroDivisionError" in why(fallen)
    assert "secret-word" not in fallen.text
    assert colours.ask(session, "red").json()["order"] == ["r1"]


def test_the_log_holds_no_prompt_picture_name_or_key(keyed):
    session = keyed.open()
    keyed.ask(session, "a secret-prompt, red")
    keyed.ask(session, "fall over a secret-prompt")
    keyed.client.get("/v1/sessions?secret-query=1")
    httpx.get(keyed.url + "/v1/sessions", headers={"authorization": "Bearer secret-wrong-key-000"})
    assert "POST /v1/sessions/{session}/rounds 200" in keyed.log
    assert "ZeroDivisionError" in keyed.log
    for secret in ("secret", session, *KEYS):
        assert secret not in keyed.log


def test_limits_that_make_no_sense_are_refused():
    with pytest.raises(SettingError, match="waiting must be 1 or more"):
        Limits(waiting=0)
    with pytest.raises(SettingError):
        Limits(wait_s=float("nan"))


def test_errors_are_json_of_one_shape(colours):
    for response in (
        colours.client.get("/nowhere"),
        colours.client.get("/v1/segment"),
        colours.client.post("/v1/segment", content="x", headers={"content-type": "text/plain"}),
        colours.client.get("/v1/sessions?most=0"),
    ):
        assert 400 <= response.status_code < 500
        error = json.loads(response.text)["error"]
        assert {"what", "status", "message"} <= set(error), error
