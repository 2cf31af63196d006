"""Plain values that travel between all parts: Reference, Round, Example. Stored as JSON; no files, no models.

An Example is one picture and the rounds of a conversation over it. A single prompt is a conversation of one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from askmask.errors import DataError
from askmask.imaging.mask import Mask, union_of

SCHEMA = 1
CONCEPTS: Final = ("entities", "spatial", "relations", "affordances", "physics")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A pointer from a round to an earlier one: its index from 0 and, if only one of its masks, which."""

    round: int
    mask: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return a form ready for JSON."""
        return {"round": self.round} | ({} if self.mask is None else {"mask": self.mask})

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Reference:
        """Read what `to_dict` wrote."""
        return cls(round=int(data["round"]), mask=None if data.get("mask") is None else int(data["mask"]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One prompt and what answers it.

    `masks` is None while unanswered (or unlabelled), () when rightly nothing matches, else one mask per
    instance. `ignore` are pixels that no scorer may count. `meta` holds JSON values of the source only.
    """

    prompt: str
    masks: tuple[Mask, ...] | None = None
    reply: str | None = None
    refers_to: tuple[Reference, ...] = ()
    concept: str | None = None
    family: str | None = None  # sub-family within the concept, e.g. "support"
    ignore: Mask | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)

    def mask(self, size: tuple[int, int]) -> Mask | None:
        """Return the union of the masks, None if unlabelled."""
        return None if self.masks is None else union_of(self.masks, size)

    def to_dict(self) -> dict[str, Any]:
        """Return a form ready for JSON; absent fields are left out."""
        data: dict[str, Any] = {"prompt": self.prompt}
        if self.masks is not None:
            data["masks"] = [mask.to_dict() for mask in self.masks]
        if self.refers_to:
            data["refers_to"] = [reference.to_dict() for reference in self.refers_to]
        for name in ("reply", "concept", "family"):
            if getattr(self, name) is not None:
                data[name] = getattr(self, name)
        if self.ignore is not None:
            data["ignore"] = self.ignore.to_dict()
        if self.meta:
            data["meta"] = dict(self.meta)
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Round:
        """Read what `to_dict` wrote. Raises DataError naming the field that is missing."""
        if not isinstance(data, Mapping) or not isinstance(data.get("prompt"), str):
            raise DataError('a round needs a text "prompt"', got=repr(data)[:80])
        masks = data.get("masks")
        return cls(
            prompt=data["prompt"],
            masks=None if masks is None else tuple(Mask.from_dict(mask) for mask in masks),
            reply=data.get("reply"),
            refers_to=tuple(Reference.from_dict(reference) for reference in data.get("refers_to", ())),
            concept=data.get("concept"),
            family=data.get("family"),
            ignore=None if data.get("ignore") is None else Mask.from_dict(data["ignore"]),
            meta=data.get("meta", {}),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One picture and the rounds over it. `image` is a path, relative ones to the data file's folder."""

    id: str
    image: str
    rounds: tuple[Round, ...]
    size: tuple[int, int] | None = None  # (height, width) of the upright picture
    source: str = ""  # the data set
    split: str = ""
    licence: str | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return a form ready for JSON, with the schema's version."""
        data: dict[str, Any] = {"schema": SCHEMA, "id": self.id, "image": self.image}
        if self.size is not None:
            data["size"] = list(self.size)
        for name in ("source", "split", "licence"):
            if getattr(self, name):
                data[name] = getattr(self, name)
        if self.meta:
            data["meta"] = dict(self.meta)
        return data | {"rounds": [round.to_dict() for round in self.rounds]}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Example:
        """Read what `to_dict` wrote. Raises DataError for a newer schema or a missing field."""
        if not isinstance(data, Mapping):
            raise DataError("an example must be a JSON object", got=type(data).__name__)
        if data.get("schema", SCHEMA) > SCHEMA:
            raise DataError(
                f"an example of schema {SCHEMA} or older is needed", got=data["schema"], do="Upgrade askmask."
            )
        for name, kind in (("id", str), ("image", str), ("rounds", list)):
            if not isinstance(data.get(name), kind):
                raise DataError(f'an example needs "{name}"', got=repr(data.get(name))[:80])
        size = data.get("size")
        return cls(
            id=data["id"],
            image=data["image"],
            rounds=tuple(Round.from_dict(round) for round in data["rounds"]),
            size=None if size is None else (int(size[0]), int(size[1])),
            source=data.get("source", ""),
            split=data.get("split", ""),
            licence=data.get("licence"),
            meta=data.get("meta", {}),
        )
