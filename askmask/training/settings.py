"""key=value settings over nested frozen dataclasses; a key that does not exist fails and names the nearest.

A key is a dotted path (`loop.schedule.lr`) or, where only one setting has that last name, the name alone (`lr`).
"""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Iterable
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

from askmask.errors import SettingError

T = TypeVar("T")

# Settings that do nothing, or nothing but harm, at 0.
ABOVE_0 = frozenset(
    "steps accumulate lr clip log_every save_every evaluate_every batch batches sizes until views prompts "
    "shards shards_per_round weights smallest_crop cache_gb".split()
)
LIMITS: dict[str, float] = {
    "threads": 1024, "workers": 256, "batch": 65_536, "batches": 65_536, "views": 65_536, "prompts": 65_536,
    "seed": 2**63 - 1, "warmup": 1, "until": 1, "literal": 1, "word_drop": 1, "smallest_crop": 1, "weight_decay": 100,
    "beta2": 0.99999,
    "lr": 100, "min_lr": 100, "sizes": 4096,
}  # fmt: skip
MOST = 2**40


def override(settings: T, pairs: Iterable[str]) -> T:
    """Return `settings` with each "key=value" applied. Raises SettingError for an unknown key or a bad value."""
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals:
            raise SettingError("a setting must be written key=value", got=repr(pair))
        settings = _set(settings, _resolve(settings, key.strip()).split("."), text)
    return settings


def paths(settings: Any, prefix: str = "") -> dict[str, tuple[Any, Any]]:
    """Return {dotted path: (type, value)} of every setting."""
    hints = typing.get_type_hints(type(settings))
    found: dict[str, tuple[Any, Any]] = {}
    for field in fields(settings):
        value = getattr(settings, field.name)
        if is_dataclass(value):
            found |= paths(value, f"{prefix}{field.name}.")
        else:
            found[prefix + field.name] = (hints[field.name], value)
    return found


def _resolve(settings: Any, key: str) -> str:
    known = paths(settings)
    if key in known:
        return key
    ends = [path for path in known if path.rsplit(".", 1)[-1] == key]
    if len(ends) == 1:
        return ends[0]
    if ends:
        raise SettingError(
            f"{key!r} could mean several settings", got=", ".join(ends), do="Write one in full."
        )
    names = list(known) + [path.rsplit(".", 1)[-1] for path in known]
    near = difflib.get_close_matches(key, names, n=1, cutoff=0.4)
    hint = f"Did you mean {near[0]!r}?" if near else f"Known: {', '.join(known)}."
    raise SettingError(f"there is no setting {key!r}", do=hint)


def _set(settings: Any, path: list[str], text: str) -> Any:
    name, *rest = path
    if rest:
        return replace(settings, **{name: _set(getattr(settings, name), rest, text)})
    kind = typing.get_type_hints(type(settings))[name]
    try:
        value = parse(text, kind)
    except ValueError as error:
        raise SettingError(f"{name} needs {_describe(kind)}", got=repr(text)) from error
    return replace(settings, **{name: value})


def parse(text: str, kind: Any) -> Any:
    """Read `text` as a value of a type: bool, int, float, str, tuple[...] (comma-separated) or `... | None`."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        if text.lower() in ("none", ""):
            return None
        return parse(text, next(a for a in arguments if a is not type(None)))
    if origin is tuple:
        if text.strip().lower() in ("none", ""):
            return ()
        parts = [part.strip() for part in text.split(",")]
        if not all(parts):
            raise ValueError(text)
        return tuple(parse(part, arguments[0]) for part in parts)
    if kind is bool:
        if text.lower() not in ("true", "false", "1", "0", "yes", "no"):
            raise ValueError(text)
        return text.lower() in ("true", "1", "yes")
    if kind is int:
        return int(text.replace("_", ""))
    if kind is float:
        return float(text)
    return text


def check_values(settings: Any) -> None:
    """Raise SettingError naming the first number that makes no sense: NaN, negative, 0 where nothing would happen."""
    for path, (_, value) in paths(settings).items():
        for one in value if isinstance(value, tuple) else (value,):
            if isinstance(one, bool) or not isinstance(one, (int, float)):
                continue
            name = path.rsplit(".", 1)[-1]
            most = LIMITS.get(name, MOST)
            if not (0 < one <= most if name in ABOVE_0 else 0 <= one <= most):
                least = "above 0" if name in ABOVE_0 else "at least 0"
                raise SettingError(f"{path} must be {least} and at most {most:g}", got=one)


def _describe(kind: Any) -> str:
    return getattr(kind, "__name__", str(kind)) if typing.get_origin(kind) is None else str(kind)
