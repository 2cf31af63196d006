"""The annotated sets that conversations are made of, by name; each reads its own files and gives scenes."""

from __future__ import annotations

from collections.abc import Callable
from inspect import signature
from pathlib import Path
from urllib.parse import parse_qsl

from askmask.build.mrseg.sources.class_maps import Ade20k, CocoStuff
from askmask.build.mrseg.sources.genome import VisualGenome
from askmask.build.mrseg.sources.instances import Attributes, Lvis, Paco, RefCoco
from askmask.build.mrseg.sources.pascal import PascalParts
from askmask.build.mrseg.sources.reasonseg import ReasonSeg
from askmask.build.mrseg.sources.source import Source
from askmask.errors import SettingError

SOURCES: dict[str, Callable[..., Source]] = {
    "refcoco": RefCoco,
    "refcoco+": RefCoco,
    "refcocog": RefCoco,
    "lvis": Lvis,
    "paco": Paco,
    "pascal": PascalParts,
    "vg": VisualGenome,
    "coco": Attributes,
    "ade20k": Ade20k,
    "cocostuff": CocoStuff,
    "reasonseg": ReasonSeg,
}


def open_source(text: str) -> Source:
    """Open NAME:ROOT[@SPLIT][?OPTION=VALUE&...], of no split "train". Raises SettingError or DataError."""
    name, colon, rest = text.partition(":")
    if not colon or name not in SOURCES:
        raise SettingError(
            "a source is NAME:ROOT[@SPLIT]", got=repr(text), do=f"Names: {', '.join(SOURCES)}."
        )
    rest, _, query = rest.partition("?")
    root, at, split = rest.rpartition("@")
    root, split = (root, split) if at else (rest, "train")
    options = dict(parse_qsl(query, keep_blank_values=True))
    make = SOURCES[name]
    known = signature(make).parameters.keys() - {"name", "root", "split"}
    if unknown := sorted(options.keys() - known):
        takes = f"It takes {', '.join(sorted(known))}." if known else "It takes none."
        raise SettingError(f"source {name!r} has no such option", got=", ".join(unknown), do=takes)
    if not Path(root).is_dir():
        raise SettingError("a source's root is a folder", got=root)
    return make(name=name, root=Path(root), split=split, **options)
