"""The data sets by name, opened by NAME:ROOT[@SPLIT][?OPTION=VALUE&...]."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from inspect import signature
from itertools import islice
from pathlib import Path
from urllib.parse import parse_qsl

from askmask.conversation import Example
from askmask.errors import DataError, SettingError
from askmask.formats import own
from askmask.formats.coco import read_coco
from askmask.formats.converseg import read_converseg
from askmask.formats.grefcoco import read_grefcoco
from askmask.formats.mmr import read_mmr
from askmask.formats.mrseg import read_mrseg
from askmask.formats.muse import read_muse
from askmask.formats.parquet import read_parquet
from askmask.formats.prist import read_prist
from askmask.formats.reasonseg import read_reasonseg
from askmask.formats.refcoco import read_refcoco

Loader = Callable[..., Iterator[Example]]


def read_own(root: str | Path, split: str | None = None) -> Iterator[Example]:
    """Yield askmask's own Examples: a JSONL or Parquet file, or a folder of either; of one split if named."""
    root = Path(root)
    if root.is_dir() and not (root / "examples.jsonl").exists():
        files = sorted(root.rglob("*.parquet")) or sorted(root.rglob("examples*.jsonl"))
        if not files:
            raise DataError("no examples.jsonl and no Parquet file", got=root)
    else:
        files = [root]
    for file in files:
        for example in read_parquet(file) if file.suffix == ".parquet" else own.read_examples(file):
            if split is None or example.split == split:
                yield example


def _refer(name: str) -> Loader:
    return partial(read_refcoco, name=name)


LOADERS: dict[str, Loader] = {
    "own": read_own,
    "world": read_own,  # `askmask world` writes our own format
    "converseg": read_converseg,
    "refcoco": _refer("refcoco"),
    "refcoco+": _refer("refcoco+"),
    "refcocog": _refer("refcocog"),
    "refclef": _refer("refclef"),
    "grefcoco": read_grefcoco,
    "reasonseg": read_reasonseg,
    "mrseg": read_mrseg,
    "prist": read_prist,
    "muse": read_muse,
    "mmr": read_mmr,
    "coco": read_coco,
}


def open_dataset(source: str) -> Iterator[Example]:
    """Yield the Examples of NAME:ROOT[@SPLIT][?OPTION=VALUE&...], or of a path to askmask's own files.

    Raises SettingError for an unknown name or option, DataError for files that are not as documented.
    """
    name, colon, rest = source.partition(":")
    if not colon or name not in LOADERS:
        path = Path(source)
        if path.exists():
            return read_converseg(path) if _is_converseg(path) else read_own(path)
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
    loader = LOADERS[name]
    arguments = ({"split": split} if split else {}) | options
    try:
        signature(loader).bind(Path(root), **arguments)
    except TypeError as error:
        raise SettingError(f"data set {name!r} has no such option", got=f"{source!r} ({error})") from error
    return loader(Path(root), **arguments)


def _is_converseg(path: Path) -> bool:
    """Recognise ConverSeg's plain files, so that its users need not name the set."""
    if path.name == "items.json":
        return True
    if path.suffix != ".jsonl":
        return False
    return any("mask_merged" in row for _, row in islice(own.read_rows(path), 1))
