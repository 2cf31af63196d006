"""Run a server until it is told to stop: claim its folder, listen, drain."""

from __future__ import annotations

import logging
import os
import signal
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from askmask.errors import SettingError
from askmask.runs.manifest import output_folder
from askmask.serving.app import make_app
from askmask.serving.heap import hold_little
from askmask.serving.safety import check_settings
from askmask.serving.service import Service
from askmask.serving.settings import Settings
from askmask.session import Model

MADE_BY = "askmask serve"


def default_data() -> Path:
    """Return where sessions are kept if nothing else is said: $XDG_DATA_HOME/askmask/serve."""
    home = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(home) / "askmask" / "serve"


class Patient(H11Protocol):
    """uvicorn's HTTP, with an end to its patience: a caller whose headers do not come in time is cut off."""

    seconds = 30.0
    _clock: Any = None

    def connection_made(self, transport: Any) -> None:
        """Start the clock."""
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Read what came; a request whose headers are there has a clock of its own for the rest."""
        super().data_received(data)
        self._watch()

    @property
    def _waits(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _watch(self) -> None:
        if not self._waits and self._clock is not None:
            self._clock.cancel()
            self._clock = None
        elif self._waits and self._clock is None:
            self._clock = self.loop.call_later(self.seconds, self._too_late)

    def _too_late(self) -> None:
        self._clock = None
        if self._waits:
            self.transport.close()


def run(
    settings: Settings,
    openers: Mapping[str, Callable[[], Model]],
    *,
    on_start: Callable[[str], None] = lambda address: None,
) -> None:
    """Serve until SIGTERM or Ctrl-C; `on_start` is told the address once it listens.

    Raises SettingError for a server that would be open to others without a key, or a folder in use, and whatever the
    loading of a model raises.
    """
    check_settings(settings)
    hold_little()
    settings.data.mkdir(parents=True, exist_ok=True, mode=0o700)
    with output_folder(settings.data, MADE_BY, {}, option="--data"), listening(settings) as line:
        service = Service(settings, openers)
        why: list[BaseException] = []

        def failed(error: BaseException) -> None:
            why.append(error)
            server.should_exit = True

        Patient.seconds = settings.limits.body_s
        config = uvicorn.Config(
            make_app(service, failed=failed),
            http=Patient,
            ws="none",
            log_config=None,
            access_log=False,  # the guard's own says less
            server_header=False,
            limit_concurrency=settings.limits.connections,
            timeout_keep_alive=20,
            timeout_graceful_shutdown=round(settings.limits.drain_s),
        )
        server = _Server(config, on_start)
        # uvicorn raises the signal that stopped it once more when all is done: being told to stop is no failure.
        signal.signal(signal.SIGTERM, lambda *_: None)
        server.run(sockets=[line])
        if why:
            raise why[0]


def listening(settings: Settings) -> socket.socket:
    """Return a socket that listens where it should. Raises SettingError if it cannot be."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        return socket.create_server((settings.host.strip("[]"), settings.port), family=family, backlog=256)
    except OSError as error:
        raise SettingError(
            f"{settings.host}, port {settings.port}, cannot be listened at",
            got=error.strerror,
            do="Choose another --port; 0 is any that is free.",
        ) from error


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, on_start: Callable[[str], None]):
        super().__init__(config)
        self._on_start = on_start

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        if self.started:
            host, port = self.servers[0].sockets[0].getsockname()[:2]
            self._on_start(f"http://{f'[{host}]' if ':' in host else host}:{port}")


def log_to_stderr(level: int) -> None:
    """Send the server's log to stderr, a line each."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    for name in ("askmask.serve", "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level if name == "askmask.serve" else logging.WARNING)
