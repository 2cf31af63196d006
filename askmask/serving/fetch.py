"""Fetch a picture from an address that a stranger named, where the server was told that it may.

The guard against addresses of inner networks: the name is resolved once, every address it has must be public, and the
connection goes to that very address, so that a name that changes its mind gains nothing. Redirects are judged anew.
"""

from __future__ import annotations

import http.client
import ipaddress
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from urllib.parse import SplitResult, urljoin, urlsplit

from askmask.serving.refusal import Refusal

SECONDS = 20.0
MOST_REDIRECTS = 3
PORTS = {"http": 80, "https": 443}
_MOVED = (301, 302, 303, 307, 308)
_NAT64 = ipaddress.ip_network("64:ff9b::/96")

Resolve = Callable[[str, int], list[str]]


def fetch(
    url: str,
    *,
    most: int,
    seconds: float = SECONDS,
    resolve: Resolve | None = None,
    public: Callable[[str], bool] | None = None,
    headers: Mapping[str, str] | None = None,
    ports: tuple[int, ...] = (80, 443),
) -> bytes:
    """Return the body at an address. Raises Refusal for what may not be fetched, or cannot be.

    `resolve` and `public` are how names become addresses and which of these may be called. `headers` go to the first
    address only.
    """
    ends = time.monotonic() + seconds
    for step in range(MOST_REDIRECTS + 1):
        parts = _checked(url, ports)
        host, port = parts.hostname or "", parts.port or PORTS[parts.scheme]
        address = _public_address(host, port, resolve or _resolve, public or is_public)
        status, moved, body = _get(parts, address, port, most, ends, headers or {} if step == 0 else {})
        if status in _MOVED and moved:
            url = urljoin(url, moved)
            continue
        if status != 200:
            raise Refusal(422, "the picture could not be fetched", got=f"HTTP {status}")
        return body
    raise Refusal(422, f"the picture's address leads on more than {MOST_REDIRECTS} times")


def is_public(address: str) -> bool:
    """Whether an address is of the open internet, also where it hides a version-4 address in one of version 6."""
    ip = ipaddress.ip_address(address.split("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None and not is_public(str(inner)):
            return False
    return ip.is_global and not (
        ip.is_private
        or ip.is_loopback
        or ip.is_link_local
        or ip.is_multicast
        or ip.is_reserved
        or ip.is_unspecified
    )


def _checked(url: str, ports: tuple[int, ...]) -> SplitResult:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise Refusal(422, "not an address", got=str(error)) from None
    if parts.scheme not in PORTS or not parts.hostname or parts.username or parts.password:
        raise Refusal(422, "a picture's address begins with http:// or https:// and holds no password")
    if (port or PORTS[parts.scheme]) not in ports:
        raise Refusal(422, "pictures are fetched from the usual ports only", got=port)
    if any(ord(c) <= 32 or ord(c) == 127 for c in url):
        raise Refusal(422, "an address holds no spaces or control characters")
    return parts


def _public_address(host: str, port: int, resolve: Resolve, public: Callable[[str], bool]) -> str:
    try:
        addresses = resolve(host, port)
    except (OSError, UnicodeError):
        raise Refusal(422, "the picture's host has no address") from None
    if not addresses or not all(public(one) for one in addresses):
        raise Refusal(403, "pictures are fetched from public addresses only")
    return addresses[0]


def _resolve(host: str, port: int) -> list[str]:
    return [str(one[4][0]) for one in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


def _get(
    parts: SplitResult, address: str, port: int, most: int, ends: float, headers: Mapping[str, str]
) -> tuple[int, str | None, bytes]:
    """Return status, where it leads, and at most `most` bytes, from this very address."""
    left = ends - time.monotonic()
    if left <= 0:
        raise _late()
    connection = http.client.HTTPConnection(parts.hostname or "", port, timeout=min(left, 10))
    try:
        sock = socket.create_connection((address, port), timeout=min(left, 10))
        if parts.scheme == "https":
            sock = ssl.create_default_context().wrap_socket(sock, server_hostname=parts.hostname)
        connection.sock = sock
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request("GET", path, headers={"Accept": "image/*", "User-Agent": "askmask", **headers})
        response = connection.getresponse()
        if response.status in _MOVED:
            return response.status, response.headers.get("location"), b""
        body = bytearray()
        while piece := response.read1(1 << 16):  # what has come: a drip must not hold the clock
            body += piece
            if len(body) > most:
                raise Refusal(413, f"a picture may have {most >> 20} MB")
            if time.monotonic() > ends:
                raise _late()
        return response.status, None, bytes(body)
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise Refusal(422, "the picture could not be fetched", got=type(error).__name__) from None
    finally:
        connection.close()


def _late() -> Refusal:
    return Refusal(422, f"the picture did not come within {SECONDS:g} s")
