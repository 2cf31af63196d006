"""Bytes from a URL that somebody asked for: public addresses only, of bounded size and time. Decodes nothing.

A URL given by a stranger must not reach what only this machine can: its own services, the local network, a cloud's
metadata. So the name is resolved here, every address must be public, and the connection goes to the very address
that was checked: a name that changes its mind in between (DNS rebinding) changes nothing. A redirect is a new URL and
is checked like one. Proxies of the environment are not used: behind one, nothing could be checked.
"""

from __future__ import annotations

import http.client
import ipaddress
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal
from urllib.parse import SplitResult, quote, urljoin, urlsplit

from askmask.errors import PictureError

_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_REDIRECTS = (301, 302, 303, 307, 308)
_PORTS = {"http": 80, "https": 443}
_CHUNK = 64 << 10
_SAFE = "/%:@!$&'()*+,;=~[]"  # what stands in a URL as it is


class NotFetched(PictureError):
    """A URL that was not fetched, and why: what it names, its answer, its size, or the time it took."""

    def __init__(
        self,
        why: Literal["address", "answer", "size", "time"],
        what: str,
        *,
        got: object = None,
        do: str | None = None,
    ):
        super().__init__(what, got=got, do=do)
        self.why = why


@dataclass(frozen=True, slots=True)
class Limits:
    """What a download may cost."""

    size: int = 64 << 20  # bytes
    seconds: float = (
        30.0  # for all of it but looking up names, for which systems have a patience of their own
    )
    redirects: int = 3


def fetch(
    url: str,
    limits: Limits = Limits(),
    *,
    public: Callable[[str], bool] | None = None,
    ports: tuple[int, ...] | None = None,
    headers: Mapping[str, str] = {},
) -> bytes:
    """Return the body of a URL.

    `public(address)` says which IP addresses may be reached instead of `is_public`; `ports` are those that may be,
    all without it. `headers` go to the first address only. Raises NotFetched, a PictureError, for what may not be
    reached, a status other than 200, and beyond the limits; it names the URL without what stands after "?".
    """
    until = time.monotonic() + limits.seconds
    for step in range(limits.redirects + 1):
        address = checked(url, ports)
        try:
            status, place, body = _get(
                address, limits, until, public or is_public, headers if step == 0 else {}
            )
        except (OSError, http.client.HTTPException, ValueError) as error:
            if isinstance(error, PictureError):
                raise
            if isinstance(error, TimeoutError) or time.monotonic() >= until:
                reason = f"no answer within {limits.seconds:g} s"
                raise NotFetched("time", f"{shown(url)}: cannot be fetched", got=reason) from error
            reason = f"{type(error).__name__}: {error}"[:200]
            raise NotFetched("answer", f"{shown(url)}: cannot be fetched", got=reason) from error
        if status in _REDIRECTS and place:
            after = urljoin(url, place)
            if address.scheme == "https" and urlsplit(after).scheme != "https":
                raise NotFetched(
                    "address", f"{shown(url)}: leads from https to something else", got=shown(after)
                )
            url = after
            continue
        if status != 200:
            raise NotFetched("answer", f"{shown(url)}: cannot be fetched", got=f"HTTP status {status}")
        return body
    raise NotFetched("address", f"{shown(url)}: more than {limits.redirects} redirects")


def is_url(text: object) -> bool:
    """Whether a text is meant as a URL of the web."""
    return isinstance(text, str) and text[:8].lower().startswith(("http://", "https://"))


def shown(url: str) -> str:
    """Return a URL as it may be shown and stored: without user, password and what stands after "?"."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
        return f"{parts.scheme}://{parts.hostname or ''}{port}{parts.path}"[:300]
    except ValueError:
        return "a URL that cannot be read"


def checked(url: str, ports: tuple[int, ...] | None = None) -> SplitResult:
    """Split a URL. Raises NotFetched for one that is no plain http or https, or of another port than `ports`."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise NotFetched("address", "the URL cannot be read", got=error) from error
    if parts.scheme not in _PORTS or not parts.hostname:
        raise NotFetched("address", "a URL must begin with http:// or https://", got=shown(url))
    if parts.username is not None or parts.password is not None:
        raise NotFetched("address", "a URL must not hold a user or password", got=shown(url))
    if ports is not None and (port or _PORTS[parts.scheme]) not in ports:
        raise NotFetched("address", f"only the ports {', '.join(map(str, ports))} are fetched from", got=port)
    return parts


def is_public(address: str) -> bool:
    """Whether an IP address is one of the public internet, also through what embeds an older one in a newer."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if inner is None and ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
    return ip.is_global and not (ip.is_multicast or ip.is_reserved or ip.is_unspecified)


def addresses_of(host: str, port: int) -> list[str]:
    """Return the IP addresses of a name, each once. Raises OSError for one that is not known."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(one[4][0]) for one in found))


def _get(
    url: SplitResult,
    limits: Limits,
    until: float,
    public: Callable[[str], bool],
    headers: Mapping[str, str],
) -> tuple[int, str | None, bytes]:
    """Return (status, where a redirect leads, body); the body of anything but 200 is not read."""
    host, name = url.hostname or "", shown(url.geturl())
    port = url.port or _PORTS[url.scheme]
    addresses = addresses_of(host, port)
    if not addresses or not all(map(public, addresses)):
        # One private address among public ones is how a name is made to pass.
        raise NotFetched(
            "address",
            f"{name}: only addresses of the public internet are fetched",
            got=f"{host} is {', '.join(addresses[:3]) or 'nothing'}",
            do="Download it yourself, then pass its path.",
        )
    with socket.create_connection((addresses[0], port), timeout=_left(until)) as plain:
        line: socket.socket = plain
        if url.scheme == "https":
            line = ssl.create_default_context().wrap_socket(plain, server_hostname=host)
        with line:
            line.settimeout(_left(until))
            reply = _asked(line, url, headers)
            if reply.status != 200:
                return reply.status, reply.getheader("Location"), b""
            if reply.getheader("Content-Encoding", "identity").lower() != "identity":
                raise NotFetched("answer", f"{name}: a packed answer was not asked for")
            body = bytearray()
            while max(reply.length or 0, len(body)) <= limits.size and not reply.isclosed():
                line.settimeout(
                    _left(until)
                )  # no longer after the end: a reply read whole may take its socket with it
                chunk = reply.read1(_CHUNK)  # what has come: a drip must not hold the clock
                if not chunk:
                    break
                body += chunk
            if max(reply.length or 0, len(body)) > limits.size:
                raise NotFetched(
                    "size", f"{name}: larger than {limits.size >> 20} MB", do="Scale it down first."
                )
            if reply.length:  # what was announced and did not come
                raise NotFetched("answer", f"{name}: the answer was cut short", got=f"{len(body)} bytes")
    return reply.status, None, bytes(body)


def _asked(line: socket.socket, url: SplitResult, headers: Mapping[str, str]) -> http.client.HTTPResponse:
    """Ask for a URL over an open connection."""
    host = (
        (url.hostname or "").encode("idna").decode("ascii")
        if ":" not in (url.hostname or "")
        else f"[{url.hostname}]"
    )
    connection = http.client.HTTPConnection(host)
    connection.sock = line
    path = quote(url.path or "/", safe=_SAFE) + (
        f"?{quote(url.query, safe=_SAFE + '?')}" if url.query else ""
    )
    named = host if url.port in (None, _PORTS[url.scheme]) else f"{host}:{url.port}"
    said = {"Host": named, "User-Agent": "askmask", "Accept": "image/*", "Accept-Encoding": "identity"}
    connection.request("GET", path, headers=said | {"Connection": "close"} | dict(headers))
    return connection.getresponse()


def _left(until: float) -> float:
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
