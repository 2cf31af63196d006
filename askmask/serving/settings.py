"""Settings of a server: its limits, each with the reason of its default. Nothing here reads a file or a key."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

from askmask.errors import SettingError


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one server takes and keeps. Raises SettingError for a limit below its least."""

    body_mb: int = 48  # a request; a picture as base64 takes a third more than its file
    pixels: int = 40_000_000  # of a picture: 120 MB decoded
    prompts: int = 64  # in one call
    rounds: int = 500  # of one session
    waiting: int = 64  # calls that wait for a model or are at one; more get 429
    rate: float = 0.0  # calls a second for each key, bursts of ten times as many; 0: as many as there are
    wait_s: float = (
        25.0  # an answer that takes longer comes by its job: proxies and tools give up at 30 to 60 s
    )
    body_s: float = 30.0  # for a request to arrive; and for its headers
    beat_s: float = 10.0  # between two signs of life in a stream
    drain_s: float = 60.0  # what is at work when the server is told to stop may take so long
    # Of sessions at work; and half as much for what each model saw and remembers of them.
    memory_mb: int = 2048
    keep_days: float = 30.0  # a session not used for so long is removed
    sessions: int = 20_000  # kept on disk
    connections: int = 512

    def __post_init__(self) -> None:
        for field in fields(self):
            least = 0 if field.name == "rate" else 0.001 if field.type == "float" else 1
            if not getattr(self, field.name) >= least:
                raise SettingError(
                    f"{field.name} must be {least} or more", got=repr(getattr(self, field.name))
                )


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One server."""

    data: Path  # sessions are kept below it
    host: str = "127.0.0.1"
    port: int = 7860
    keys: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()  # further names under which it may be called
    origins: tuple[str, ...] = ()  # pages of other origins that may call it
    allow_urls: bool = False
    label_studio_url: str | None = None  # pictures of its tasks are fetched from there, and from nowhere else
    label_studio_key: str | None = None
    limits: Limits = Limits()
