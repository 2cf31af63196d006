"""Which model points and which draws: a choice that can be kept under a name, never with a key."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from askmask.errors import SettingError
from askmask.runs.json_text import read_object
from askmask.runs.whole_files import write_json

POINTERS = ("openai", "google", "local", "moondream", "grounding-dino", "sam3")
DEFAULT_DRAWER = "sam2.1-tiny"
LOCAL = {  # name -> on the Hub
    "qwen3-vl-2b": "Qwen/Qwen3-VL-2B-Instruct",
    "qwen3-vl-4b": "Qwen/Qwen3-VL-4B-Instruct",
    "qwen3-vl-8b": "Qwen/Qwen3-VL-8B-Instruct",
    "qwen2.5-vl-3b": "Qwen/Qwen2.5-VL-3B-Instruct",
    "qwen2.5-vl-7b": "Qwen/Qwen2.5-VL-7B-Instruct",
}


@dataclass(frozen=True, kw_only=True)
class PointChoice:
    """`pointer`: who points: an OpenAI-compatible server, Gemini, a local model, Moondream, Grounding DINO, SAM 3."""

    pointer: str = "openai"
    vlm_model: str = ""  # the name at its server; of a local one a name of LOCAL, a folder or a Hub name
    base_url: str | None = None
    api_key_env: str | None = None  # the variable that holds the key
    convention: str | None = None  # how it writes coordinates, if not as its name says
    drawer: str = DEFAULT_DRAWER
    drawer_at: str | None = None  # folder or Hub name of the drawer's weights
    looks: int = 1
    price: str | None = None  # dollars per million tokens, IN,OUT
    answer_calls: int = 8
    answer_seconds: float = 300.0
    answer_usd: float | None = None

    def __post_init__(self) -> None:
        if self.pointer not in POINTERS:
            raise SettingError(
                "no such pointer", got=repr(self.pointer), do=f"Use one of: {', '.join(POINTERS)}."
            )
        if not self.vlm_model and self.pointer in ("openai", "google", "local"):
            raise SettingError(
                "a model that points needs a name",
                do="Add --vlm-model ID (and --base-url URL for your own server).",
            )
        if self.api_key_env is not None and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", self.api_key_env):
            raise SettingError("--api-key-env names a variable, it is not the key itself")
        if not isinstance(self.looks, int) or not 1 <= self.looks <= 10:
            raise SettingError("looks must be from 1 to 10", got=self.looks)


def known() -> dict[str, PointChoice]:
    """Return the choices kept on this machine by name."""
    path = _path()
    if not path.is_file():
        return {}
    return {name: choice_of(data) for name, data in read_object(path).items()}


def keep(name: str, choice: PointChoice) -> Path:
    """Keep a choice under a name; return the file. Raises SettingError for a name that cannot be one."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,63}", name):
        raise SettingError("a name is of small letters, digits, dots and dashes", got=repr(name))
    path = _path()
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {n: _stored(c) for n, c in sorted((known() | {name: choice}).items())}, indent=1)
    return path


def choice_of(data: Any) -> PointChoice:
    """Read a choice from settings. Raises SettingError for what it does not know."""
    names = {field.name for field in fields(PointChoice)}
    if not isinstance(data, Mapping) or not set(data) <= names:
        unknown = sorted(set(data) - names) if isinstance(data, Mapping) else type(data).__name__
        raise SettingError("unknown settings of a model that points", got=unknown)
    return PointChoice(**data)


def _stored(choice: PointChoice) -> dict[str, Any]:
    return {name: value for name, value in asdict(choice).items() if value is not None}


def _path() -> Path:
    home = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(home) / "askmask" / "models.json"
