"""The data sets by name, and the text by which one is opened: NAME:ROOT[@SPLIT][?OPTION=VALUE&...]."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import parse_qsl

from askmask.datasets import own
from askmask.errors import SettingError
from askmask.records import Example

Loader = Callable[..., Iterator[Example]]


def _own(root: Path, split: str | None = None) -> Iterator[Example]:
    for example in own.read_examples(root):
        if split is None or example.split == split:
            yield example


LOADERS: dict[str, Loader] = {"own": _own}


def open_dataset(source: str) -> Iterator[Example]:
    """Yield the Examples of NAME:ROOT[@SPLIT][?OPTION=VALUE&...], or of a path to askmask's own files.

    Raises SettingError for an unknown name or option, DataError for files that are not as documented.
    """
    name, colon, rest = source.partition(":")
    if not colon or name not in LOADERS:
        if Path(source).exists():
            return LOADERS["own"](Path(source))
        raise SettingError(
            "no such file, and not a data set NAME:ROOT[@SPLIT]",
            got=repr(source),
            do=f"Names: {', '.join(LOADERS)}.",
        )
    rest, _, query = rest.partition("?")
    root, at, split = rest.rpartition("@")
    if not at:
        root, split = rest, ""
    options = dict(parse_qsl(query, keep_blank_values=True))
    try:
        return LOADERS[name](Path(root), **({"split": split} if split else {}), **options)
    except TypeError as error:
        raise SettingError(f"data set {name!r} was opened wrongly", got=f"{source!r} ({error})") from error
