"""Who may call: keys, host names, origins, rates. Pure rules; guard.py applies them to every request."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from askmask.errors import SettingError
from askmask.runs.whole_files import write_bytes
from askmask.serving.settings import Settings

SHORTEST_KEY = 16  # characters
NOBODY = "local"  # who asks where no key is needed
_SALT = ".askmask-salt"


def check_settings(settings: Settings) -> None:
    """Raise SettingError for a server that would be open to others without a key."""
    if not settings.keys and not is_loopback(settings.host):
        raise SettingError(
            "a server that others can reach needs a key",
            got=f"--host {settings.host}",
            do="Put keys into a file, one a line, and add --keys FILE; or leave --host 127.0.0.1.",
        )
    if short := [key for key in settings.keys if len(key) < SHORTEST_KEY]:
        raise SettingError(
            f"a key has at least {SHORTEST_KEY} characters",
            got=f"one of {len(short[0])}",
            do='Make one: python -c "import secrets; print(secrets.token_urlsafe(24))".',
        )


def read_keys(path: Path) -> tuple[str, ...]:
    """Read keys, one a line; empty lines and lines with # are passed over. Raises SettingError."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingError(f"{path}: keys cannot be read", got=error) from error
    keys = tuple(line.strip() for line in lines if line.strip() and not line.startswith("#"))
    if not keys or any(not key.isascii() or " " in key for key in keys):
        raise SettingError(f"{path}: keys are of letters, digits and signs, one a line")
    return keys


def is_loopback(host: str) -> bool:
    """Whether an address is this machine's own and no other's."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


class Keys:
    """The keys of a server. Whose a session is, is told by a hash that only this server's data can make."""

    def __init__(self, keys: Sequence[str], data: Path):
        self._keys = [key.encode() for key in keys]
        salt = data / _SALT
        if self._keys and not salt.is_file():
            write_bytes(salt, secrets.token_bytes(32))
            salt.chmod(0o600)
        self._salt = salt.read_bytes() if self._keys else b""

    def owner_of(self, key: str | None) -> str | None:
        """Return whose a key is, None for a wrong one. Takes as long for any wrong key as for any other."""
        if not self._keys:
            return NOBODY
        given = (key or "").encode("utf-8", "surrogateescape")
        # All are compared, each in constant time: neither which nor how much of it fits can be told by a clock.
        fits = [hmac.compare_digest(given, one) for one in self._keys]
        if not any(fits):
            return None
        return hmac.new(self._salt, given, hashlib.sha256).hexdigest()[:32]


class Names:
    """The names under which a server may be called, and the pages that may call it."""

    def __init__(self, settings: Settings):
        self._hosts = {"localhost", "127.0.0.1", "::1", *(host.lower() for host in settings.hosts)}
        if settings.host not in ("0.0.0.0", "::"):
            self._hosts.add(settings.host.lower())
        self._origins = {origin.rstrip("/").lower() for origin in settings.origins}
        # Bound to every address with keys: callers use whatever name leads here, and the key decides.
        self._any = bool(settings.keys) and settings.host in ("0.0.0.0", "::") and not settings.hosts

    def takes_host(self, host: str) -> bool:
        """Whether a Host header names this server: a page whose name was bent to this address does not."""
        try:
            name = urlsplit(f"//{host}").hostname
        except ValueError:
            return False
        return name is not None and (self._any or name.lower() in self._hosts)

    def takes_origin(self, origin: str, host: str) -> bool:
        """Whether a page of this origin may call: the server's own, or one that it was told of."""
        if origin.rstrip("/").lower() in self._origins:
            return True
        try:
            parts = urlsplit(origin)
        except ValueError:
            return False
        return parts.scheme in ("http", "https") and parts.netloc.lower() == host.lower()


class Rate:
    """So many calls a second for each caller, in bursts of ten times as many (token buckets)."""

    MOST_CALLERS = 10_000

    def __init__(self, per_second: float, clock: Callable[[], float] = time.monotonic):
        self.per_second, self._clock = per_second, clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait_s(self, caller: str) -> float:
        """Count a call; return 0, or how long to wait where there are too many."""
        if not self.per_second:
            return 0.0
        now, most = self._clock(), 10 * self.per_second
        left, then = self._left.pop(caller, (most, now))
        left = min(most, left + (now - then) * self.per_second)
        wait = 0.0 if left >= 1 else (1 - left) / self.per_second
        self._left[caller] = (left - 1 if not wait else left, now)
        while len(self._left) > self.MOST_CALLERS:
            self._left.popitem(last=False)
        return wait
