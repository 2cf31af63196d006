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
        return tuple(parse(part.strip(), arguments[0]) for part in text.split(",") if part.strip())
    if kind is bool:
        if text.lower() not in ("true", "false", "1", "0", "yes", "no"):
            raise ValueError(text)
        return text.lower() in ("true", "1", "yes")
    if kind is int:
        return int(text.replace("_", ""))
    if kind is float:
        return float(text)
    return text


def _describe(kind: Any) -> str:
    return getattr(kind, "__name__", str(kind)) if typing.get_origin(kind) is None else str(kind)
