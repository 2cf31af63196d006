"""A URL is fetched when asked for, from public addresses alone, within limits; against real servers on loopback."""

import http.server
import socket
import threading
import time

import pytest

from askmask.errors import PictureError
from askmask.imaging import remote
from askmask.imaging.remote import Limits, NotFetched, checked, fetch, is_public, shown

HERE = "127.0.0.1"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        path = self.path.split("?")[0]
        if path == "/slow":
            self.send_response(200)
            self.end_headers()
            for _ in range(40):
                self.wfile.write(b"x")
                self.wfile.flush()
                time.sleep(0.1)
            return
        if path == "/cut":
            self.send_response(200)
            self.send_header("Content-Length", "100")
            self.end_headers()
            self.wfile.write(b"only this")
            return
        if path.startswith("/to/"):
            self.send_response(302)
            self.send_header("Location", path[4:] if "//" in path[4:] else f"/{path[4:]}")
            self.end_headers()
            return
        if path == "/headers":
            self.send_response(200)
            self.end_headers()
            self.wfile.write(str(self.headers).encode())
            return
        body = b"x" * (3 << 20) if path in ("/large", "/stream") else b"a picture"
        self.send_response(404 if path == "/none" else 200)
        if path == "/packed":
            self.send_header("Content-Encoding", "gzip")
        if path != "/stream":
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        try:
            self.wfile.write(body)
        except OSError:
            pass  # the reader had enough

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def server():
    with http.server.ThreadingHTTPServer((HERE, 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://{HERE}:{server.server_port}"
        server.shutdown()


def get(url: str, **limits) -> bytes:
    return fetch(url, Limits(**limits), public=lambda address: address == HERE)


def test_a_body_is_fetched_also_through_a_redirect(server):
    assert get(f"{server}/a b/ü.png?key=1") == b"a picture"
    assert get(f"{server}/to/a.png") == b"a picture"


@pytest.mark.parametrize(
    ("path", "limits", "said"),
    [
        ("/none", {}, "HTTP status 404"),
        ("/large", {"size": 1 << 20}, "larger than 1 MB"),
        ("/stream", {"size": 1 << 20}, "larger than 1 MB"),
        ("/cut", {}, "cut short|IncompleteRead"),
        ("/slow", {"seconds": 0.5}, "no answer within 0.5 s"),
        ("/packed", {}, "packed"),
        ("/to/to/to/to/a.png", {"redirects": 2}, "more than 2 redirects"),
        ("/to/http://169.254.169.254/latest", {}, "only addresses of the public internet"),
        ("/to/http://[::1]/", {}, "only addresses of the public internet"),
        ("/to/file:///etc/passwd", {}, "must begin with http"),
        ("/to/ftp://example.org/a", {}, "must begin with http"),
    ],
)
def test_limits_and_redirects(server, path, limits, said):
    began = time.monotonic()
    with pytest.raises(PictureError, match=said):
        get(server + path, **limits)
    assert time.monotonic() - began < 30


def test_why_it_was_not_fetched_and_which_ports(server):
    for path, why in (("/none", "answer"), ("/large", "size"), ("/to/ftp://a", "address"), ("/slow", "time")):
        with pytest.raises(NotFetched) as found:
            get(server + path, size=1 << 20, seconds=0.5)
        assert found.value.why == why
    with pytest.raises(NotFetched, match="only the ports 80, 443"):
        fetch(server, ports=(80, 443), public=lambda address: True)


def test_headers_go_to_the_first_address_alone(server):
    body = fetch(f"{server}/headers", public=lambda address: True, headers={"Authorization": "Token k"})
    assert b"Authorization: Token k" in body and b"Host: 127.0.0.1:" in body
    body = fetch(f"{server}/to/headers", public=lambda address: True, headers={"Authorization": "Token k"})
    assert b"Authorization" not in body


def test_without_leave_this_machine_is_not_reached(server):
    for host in (HERE, "localhost", "0.0.0.0", "[::ffff:127.0.0.1]", "2130706433", "0x7f.1"):
        with pytest.raises(PictureError, match=r"only addresses of the public internet|cannot be fetched"):
            fetch(server.replace(HERE, host))


def test_the_address_that_was_checked_is_the_one_that_is_reached(server, monkeypatch):
    """A name that is public when asked and private when connected to: it is asked once."""
    answers = iter([["93.184.216.34"], [HERE]])
    monkeypatch.setattr(remote, "addresses_of", lambda host, port: next(answers))
    reached = []

    def connect(place, timeout):
        reached.append(place[0])
        raise ConnectionRefusedError

    monkeypatch.setattr(socket, "create_connection", connect)
    with pytest.raises(PictureError, match="cannot be fetched"):
        fetch(server.replace(HERE, "rebinding.example"))
    assert reached == ["93.184.216.34"]


def test_a_name_with_one_private_address_is_refused(monkeypatch):
    monkeypatch.setattr(remote, "addresses_of", lambda host, port: ["93.184.216.34", "10.0.0.7"])
    with pytest.raises(PictureError, match="public internet"):
        fetch("http://two.example/a.png")


@pytest.mark.parametrize(
    "address",
    "127.0.0.1 10.1.2.3 172.16.0.1 192.168.1.1 169.254.169.254 100.64.0.1 0.0.0.0 255.255.255.255 224.0.0.1 "
    "198.18.0.1 192.0.2.1 ::1 :: fe80::1 fc00::1 ff02::1 ::ffff:10.0.0.1 64:ff9b::7f00:1 2002:7f00:1:: fe80::1%eth0 "
    "2001:0:4136:e378:8000:63bf:80ff:fffe no-address".split(),
)
def test_addresses_that_are_not_public(address):
    assert not is_public(address)


@pytest.mark.parametrize("address", ["93.184.216.34", "8.8.8.8", "2606:2800:220:1:248:1893:25c8:1946"])
def test_addresses_that_are(address):
    assert is_public(address)


@pytest.mark.parametrize(
    "url",
    ["file:///etc/passwd", "gopher://a", "http://", "https://user:pw@a/b", "http://a:b/", "http://[::1"],
)
def test_urls_that_are_none(url):
    with pytest.raises(PictureError):
        checked(url)


def test_what_is_shown_of_a_url_holds_no_key():
    assert shown("https://me:pw@a.example:8443/b/c.png?token=secret#x") == "https://a.example:8443/b/c.png"
