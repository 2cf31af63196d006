"""Sizes of `mini`, and the words for what its dense heads predict. Plain data, stored in the checkpoint."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from askmask.errors import CheckpointError
from askmask.runs.json_text import read_object


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
    listens: bool = False  # whether its choice hears the words of earlier rounds (words.py, `Earlier`)
    blends: bool = False  # whether its masks have the picture's side (blend.py), or half of it
    word_roles: bool = False  # whether it reads names word by word, each in its role (reading.py)
    recognises: bool = (
        False  # whether it names regions by all of their evidence (recognise.py), or by pixels alone
    )
    doubts: bool = (
        False  # whether scores of masks hear how sure choosing was (score.py); so since it is exported
    )
    vocabulary: tuple[str, ...] = ()  # the words it was taught, filled in when it is exported
    replies: tuple[str, ...] = ()  # the words it answers in (speech.py); () = it does not speak
    stuff: tuple[str, ...] = field(default=())  # categories that are one region each (table, floor, wall)

    def __post_init__(self) -> None:
        check_sizes(self)

    def grown(self, kinds: Iterable[str], *, remembers: bool = False) -> MiniConfig:
        """Return a network that also composes, by roles of words, recognises, and knows these kinds of request too.

        `remembers`: that it also remembers earlier masks and hears earlier words; one that does already goes on so.
        """
        new = sorted(set(kinds) - set(self.kinds))
        return replace(
            self,
            kinds=(*self.kinds, *new),
            composes=True,
            word_roles=True,
            recognises=True,
            remembers=self.remembers or remembers,
            listens=self.listens or remembers,
        )

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

    @classmethod
    def load(cls, path: Path) -> MiniConfig:
        """Read the JSON file that a run keeps. Raises CheckpointError or DataError, naming it."""
        try:
            return cls.from_dict(read_object(path))
        except CheckpointError as error:
            raise CheckpointError(f"{path}: {error}") from error


# name -> (least, most, of which it is a multiple)
LIMITS = {
    "image_size": (32, 4096, 16), "channels": (1, 1 << 14, 1), "language_width": (1, 1 << 14, 1),
    "text_layers": (1, 100, 1), "joint_layers": (1, 100, 1), "heads": (1, 1 << 10, 1),
    "word_buckets": (1, 1 << 24, 1), "piece_buckets": (1, 1 << 24, 1),
    "max_words": (1, 1 << 12, 1), "max_objects": (1, 1 << 10, 1),
}  # fmt: skip


def check_sizes(config: MiniConfig) -> None:
    """Raise CheckpointError for sizes that no network has, names that are no text, and choices that are none."""
    for name, (least, most, multiple) in LIMITS.items():
        value = getattr(config, name)
        if type(value) is not int or not least <= value <= most or value % multiple:
            of = f", a multiple of {multiple}" if multiple > 1 else ""
            raise CheckpointError(f"mini's {name} must be {least} to {most}{of}", got=repr(value)[:40])
    widths = config.widths
    if (
        type(widths) is not tuple
        or len(widths) != 4
        or not all(type(w) is int and 0 < w < 1 << 14 for w in widths)
    ):
        raise CheckpointError("mini's widths must be 4 whole numbers", got=repr(widths)[:40])
    for name in ("categories", "colours", "parts", "attributes", "kinds", "vocabulary", "replies", "stuff"):
        words = getattr(config, name)
        if type(words) is not tuple or not all(isinstance(word, str) for word in words):
            raise CheckpointError(f"mini's {name} must be a list of words", got=repr(words)[:40])
    for name in ("composes", "remembers", "listens", "blends", "word_roles", "recognises", "doubts"):
        if type(value := getattr(config, name)) is not bool:
            raise CheckpointError(f"mini's {name} must be true or false", got=repr(value)[:40])
    if not (config.categories and config.colours and config.parts and config.kinds):
        raise CheckpointError(
            "mini's categories, colours, parts and kinds each begin with that of nothing known"
        )
    if unknown := sorted(set(config.stuff) - set(config.categories)):
        raise CheckpointError("mini's stuff must be among its categories", got=unknown[:4])
