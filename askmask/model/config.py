"""NetConfig: everything needed to build a network except its weights, as one JSON file.

Sizes are data. The parts' own settings are kept in their libraries' words (transformers configs), so that no
translation can lose one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from askmask.errors import CheckpointError
from askmask.model.mini.config import MiniConfig
from askmask.model.talk.config import TalkConfig
from askmask.runs.whole_files import settle, write_json

FORMAT = 1
MAX_CONFIG_BYTES = 4 << 20
KINDS: dict[str, Any] = {
    **dict.fromkeys(("name", "backend", "protocol", "compute"), str),
    **dict.fromkeys(("segmenter", "prompt_encoder", "trained_heads"), dict),
    **dict.fromkeys(("lora", "conversation"), (dict, type(None))),
    "presence_threshold": (int, float),
    "format": int,
}
HEADS = ("score", "presence")
LONGEST_NAME = 200
COMPUTE = ("as stored", "float32")
MOST_LAYERS = 1000  # above any network; each is built before its weights are looked for
MOST = 1e9  # of any size or number in the settings of a part


@dataclass(frozen=True, kw_only=True)
class NetConfig:
    """What a checkpoint's config.json holds."""

    name: str  # what results are labelled with
    backend: str  # one of build.py's
    segmenter: Mapping[str, Any]  # settings of the visual back-end
    prompt_encoder: Mapping[str, Any]  # settings of the language back-end
    lora: Mapping[str, Any] | None = None  # {r, alpha, dropout, targets}
    protocol: str = "native"  # how the weights are meant to be used
    # Which outputs training has supervised: an untrained head still gives a number, which then means little.
    trained_heads: Mapping[str, bool] = field(default_factory=lambda: {"score": False, "presence": False})
    presence_threshold: float = 0.5
    compute: str = COMPUTE[0]  # "float32": stored in half precision to ship small, computed in single
    conversation: Mapping[str, Any] | None = None  # of networks that talk: TalkConfig
    format: int = FORMAT

    def __post_init__(self) -> None:
        if isinstance(self.presence_threshold, bool) or not 0 <= self.presence_threshold <= 1:
            raise CheckpointError("presence_threshold must lie in 0..1", got=repr(self.presence_threshold))
        if not self.name or len(self.name) > LONGEST_NAME:
            raise CheckpointError(f"name must have 1 to {LONGEST_NAME} letters", got=repr(self.name)[:40])
        if type(self.format) is not int or self.format < 1:
            raise CheckpointError("format must be a whole number from 1", got=repr(self.format)[:40])
        if odd := {k: v for k, v in self.trained_heads.items() if k not in HEADS or type(v) is not bool}:
            raise CheckpointError(
                f"trained_heads holds {' and '.join(HEADS)}, each true or false", got=repr(odd)[:80]
            )
        check_settings(self.segmenter, "segmenter")
        check_settings(self.prompt_encoder, "prompt_encoder")
        if self.lora is not None:
            check_lora(self.lora)
        if self.backend == "mini":
            MiniConfig.from_dict(self.segmenter)
            if self.prompt_encoder:
                raise CheckpointError(
                    "mini's prompt_encoder has no settings", got=list(self.prompt_encoder)[:4]
                )
        if self.conversation is not None:
            TalkConfig.from_dict(self.conversation)

    def save(self, folder: str | Path) -> None:
        """Write config.json."""
        data = asdict(self)
        if self.conversation is None:  # as networks without it have always been written
            del data["conversation"]
        write_json(Path(folder) / "config.json", data)

    @classmethod
    def load(cls, folder: str | Path) -> NetConfig:
        """Read config.json. Raises CheckpointError for a missing, foreign or newer file."""
        settle(folder)
        path = Path(folder) / "config.json"
        if not path.is_file():
            raise CheckpointError(
                "a checkpoint folder with config.json is needed",
                got=folder,
                do="Make one with `askmask convert-published`, or name a model: mini, converseg-net-3b.",
            )
        try:
            if path.stat().st_size > MAX_CONFIG_BYTES:
                raise ValueError(f"{path.stat().st_size} bytes")
            data = json.loads(path.read_text(encoding="utf-8"))
        except (ValueError, RecursionError) as error:
            raise CheckpointError(f"{path}: not readable as JSON", got=error) from error
        known = {f.name for f in fields(cls)}
        if not isinstance(data, dict) or "format" not in data or "backend" not in data:
            got = f"keys {sorted(data)[:6]}" if isinstance(data, dict) else type(data).__name__
            raise CheckpointError(f"{path}: not an askmask config", got=got)
        for name, kinds in KINDS.items():
            if name in data and not isinstance(data[name], kinds):
                raise CheckpointError(f"{path}: wrong kind of {name!r}", got=repr(data[name])[:80])
        if data.get("compute", COMPUTE[0]) not in COMPUTE:
            raise CheckpointError(
                f"{path}: compute is one of {', '.join(COMPUTE)}", got=repr(data["compute"])
            )
        if data["format"] > FORMAT:
            raise CheckpointError(
                f"{path}: format {data['format']} is newer than {FORMAT}", do="Upgrade askmask."
            )
        if unknown := sorted(set(data) - known):
            raise CheckpointError(
                f"{path}: unknown settings {unknown}", do="Upgrade askmask, or convert again."
            )
        try:
            return cls(**data)
        except CheckpointError as error:
            raise CheckpointError(f"{path}: {error}") from error
        except TypeError as error:
            raise CheckpointError(f"{path}: incomplete", got=error) from error


def check_settings(value: Any, name: str, *, most: float = MOST) -> None:
    """Raise CheckpointError for numbers that no network has; lists and dicts to any depth."""
    if isinstance(value, Mapping):
        for key, one in value.items():
            layers = any(part in str(key) for part in ("layers", "depth", "blocks"))
            check_settings(one, f"{name}.{key}", most=MOST_LAYERS if layers else most)
    elif isinstance(value, (list, tuple)):
        for one in value:
            check_settings(one, name, most=most)
    elif isinstance(value, (int, float)) and not -most <= value <= most:
        raise CheckpointError(f"{name} must be a number up to {most:g}", got=repr(value)[:40])


def check_lora(lora: Mapping[str, Any]) -> None:
    """Raise CheckpointError for LoRA settings that are none, or whose pattern of names could take for ever to match."""
    r, alpha, dropout, targets = (lora.get(key) for key in ("r", "alpha", "dropout", "targets"))
    if not (type(r) is int and 1 <= r <= 10_000 and _between(alpha, 0, 1e6) and _between(dropout, 0, 1)):
        raise CheckpointError("lora needs r >= 1, alpha and dropout in 0..1", got=repr(dict(lora))[:120])
    named = isinstance(targets, (list, tuple)) and all(isinstance(name, str) for name in targets)
    pattern = isinstance(targets, str) and len(targets) <= 1000 and not re.search(r"\)[*+{]", targets)
    if not named and not pattern:  # a group that repeats may hold one that repeats
        raise CheckpointError(
            "lora's targets must be names of modules, or a pattern without repeated groups",
            got=repr(targets)[:120],
        )


def _between(value: Any, low: float, high: float) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and low <= value <= high
