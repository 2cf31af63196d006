"""Sizes of `mini`, and the words for what its dense heads predict. Plain data, stored in the checkpoint."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from askmask.errors import CheckpointError


@dataclass(frozen=True, kw_only=True)
class MiniConfig:
    """Everything needed to build the network before its weights are read."""

    image_size: int = 192  # S: the network's square input
    widths: tuple[int, int, int, int] = (24, 48, 96, 192)  # encoder channels at strides 2, 4, 8, 16
    channels: int = 96  # C of the mask decoder
    language_width: int = 128  # D of the prompt encoder
    text_layers: int = 2
    joint_layers: int = 4
    heads: int = 4
    word_buckets: int = 6144  # hashed whole words
    piece_buckets: int = 6144  # hashed letter groups, which give unseen words a meaning
    max_words: int = 48
    max_objects: int = 20
    # What the world names; index 0 of categories, colours and parts is "none of these".
    categories: tuple[str, ...] = ("background",)
    colours: tuple[str, ...] = ("none",)
    parts: tuple[str, ...] = ("none",)
    attributes: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ("unknown",)  # of request; index 0 is "none of these"
    composes: bool = False  # whether it has compose.py; the first weights have not
    remembers: bool = False  # whether it has memory.py
    vocabulary: tuple[str, ...] = ()  # the words it was taught, filled in when it is exported
    replies: tuple[str, ...] = ()  # the words it answers in (speech.py); () = it does not speak
    stuff: tuple[str, ...] = field(default=())  # categories that are one region each (table, floor, wall)

    def grown(self, kinds: Iterable[str], *, remembers: bool = False) -> MiniConfig:
        """Return a network that also composes and knows these kinds of request; the known ones keep their places.

        `remembers`: that it also remembers; one that does already goes on doing so.
        """
        new = sorted(set(kinds) - set(self.kinds))
        return replace(self, kinds=(*self.kinds, *new), composes=True, remembers=self.remembers or remembers)

    def speaking(self, words: Iterable[str]) -> MiniConfig:
        """Return a network that also answers in these words; those it knows keep their places."""
        return replace(self, replies=(*self.replies, *sorted(set(words) - set(self.replies))))

    def to_dict(self) -> dict[str, Any]:
        """Return a form ready for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> MiniConfig:
        """Read what `to_dict` wrote. Raises CheckpointError for a name this version does not know."""
        unknown = sorted(set(data) - {f.name for f in fields(cls)})
        if unknown:
            raise CheckpointError("mini's config has unknown names", got=unknown, do="Upgrade askmask.")
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()}
        return cls(**values)
