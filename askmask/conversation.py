"""The values of a conversation: Segment, Prompt, Round, Example. Stored as JSON; no files, no models.

An Example is one picture and the rounds over it, each a prompt and what answers it. Every region that a round
gives has a name that stays (`m1`, `m2`, ...), and so has every round (`r1`, `r2`, ...): later prompts refer to
regions by those names, or to a whole answer by its round's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

from askmask.errors import DataError
from askmask.imaging.mask import Mask, union_of

SCHEMA = 2
CONCEPTS: Final = ("entities", "spatial", "relations", "affordances", "physics")
Source = Literal["gold", "predicted", "user"]
SOURCES: Final[tuple[Source, ...]] = ("gold", "predicted", "user")
Point = tuple[float, float, bool]  # x, y in pixels from the top left corner; True: part of it, False: not
Box = tuple[float, float, float, float]  # x0, y0, x1, y1 in pixels, x1 and y1 exclusive


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """One region of a picture, named: `id` is unique in its conversation and survives edit and undo."""

    mask: Mask
    id: str = ""  # given by the Example or Session that takes it in
    source: Source = "gold"
    score: float | None = None  # how sure whoever made it is, in [0, 1]
    name: str | None = None  # what a user calls it
    phrase: str | None = None  # the words of the reply that it belongs to
    span: tuple[int, int] | None = None  # where these stand in the reply: [start, end) in characters
    parents: tuple[str, ...] = ()  # ids of the segments it was made from

    # -- algebra: what comes of it has no id yet, is the user's, and names its parents

    def union(self, *others: Segment | Mask) -> Segment:
        """Pixels in this segment or any other."""
        return self._made(self.mask.union(*map(_mask_of, others)), *others)

    def intersection(self, *others: Segment | Mask) -> Segment:
        """Pixels in this segment and every other."""
        return self._made(self.mask.intersection(*map(_mask_of, others)), *others)

    def difference(self, other: Segment | Mask) -> Segment:
        """Pixels in this segment and not in the other."""
        return self._made(self.mask.difference(_mask_of(other)), other)

    def complement(self) -> Segment:
        """Pixels of the picture not in this segment."""
        return self._made(self.mask.complement())

    __or__ = union
    __and__ = intersection
    __sub__ = difference
    __invert__ = complement

    def inside(self, other: Segment | Mask) -> float:
        """Share of this segment's pixels that lie in the other, in [0, 1]."""
        return self.mask.inside(_mask_of(other))

    def overlap(self, other: Segment | Mask) -> float:
        """Share of the smaller one's pixels that both have, in [0, 1]."""
        return self.mask.overlap(_mask_of(other))

    def _made(self, mask: Mask, *others: Segment | Mask) -> Segment:
        segments = [one for one in (self, *others) if isinstance(one, Segment)]
        made_from = [name for one in segments for name in ((one.id,) if one.id else one.parents)]
        return Segment(mask=mask, source="user", parents=tuple(dict.fromkeys(made_from)))

    # -- as JSON

    def to_dict(self) -> dict[str, Any]:
        """Return a form ready for JSON; absent fields are left out."""
        data: dict[str, Any] = {"id": self.id, "source": self.source} | self.mask.to_dict()
        data |= {
            name: getattr(self, name)
            for name in ("score", "name", "phrase")
            if getattr(self, name) is not None
        }
        if self.span is not None:
            data["span"] = list(self.span)
        if self.parents:
            data["parents"] = list(self.parents)
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Segment:
        """Read what `to_dict` wrote. Raises DataError or MaskError."""
        if not isinstance(data, Mapping) or data.get("source", "gold") not in SOURCES:
            raise DataError(f"a segment needs a source, one of {', '.join(SOURCES)}", got=repr(data)[:80])
        span = data.get("span")
        return cls(
            mask=Mask.from_dict(data),
            id=_text(data, "id") or "",
            source=data.get("source", "gold"),
            score=None if data.get("score") is None else float(data["score"]),
            name=_text(data, "name"),
            phrase=_text(data, "phrase"),
            span=None if span is None else (int(span[0]), int(span[1])),
            parents=_texts(data, "parents"),
        )


@dataclass(frozen=True, slots=True)
class Reference:
    """A segment or a round of the conversation that a prompt was taken to speak of."""

    id: str
    score: float  # how surely, in [0, 1]
    given: bool  # whoever asked named it beside the words; else it was found in them
    rule: str = ""  # of references.py, by which the words alone decided; "": given, or found by the model

    def to_dict(self) -> dict[str, Any]:
        """Return a form ready for JSON."""
        data: dict[str, Any] = {"id": self.id, "score": self.score, "given": self.given}
        return data | {"rule": self.rule} if self.rule else data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Reference:
        """Read what `to_dict` wrote."""
        return cls(str(data["id"]), float(data["score"]), bool(data["given"]), _text(data, "rule") or "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """What is asked: words, marks on the picture, or both; and what of the conversation so far is meant."""

    text: str = ""
    refers_to: tuple[str, ...] = ()  # ids of earlier segments, or of earlier rounds: all that they answered
    points: tuple[Point, ...] = ()
    boxes: tuple[Box, ...] = ()
    masks: tuple[Mask, ...] = ()  # drawn, or handed over from elsewhere

    @property
    def marks(self) -> bool:
        """Whether something is marked on the picture."""
        return bool(self.points or self.boxes or self.masks)

    def to_json(self) -> str | dict[str, Any]:
        """Return a form ready for JSON: the text alone where there is nothing else."""
        data: dict[str, Any] = {}
        if self.refers_to:
            data["refers_to"] = list(self.refers_to)
        if self.points:
            data["points"] = [[x, y, int(inside)] for x, y, inside in self.points]
        if self.boxes:
            data["boxes"] = [list(box) for box in self.boxes]
        if self.masks:
            data["masks"] = [mask.to_dict() for mask in self.masks]
        return {"text": self.text} | data if data else self.text

    @classmethod
    def from_json(cls, data: Any) -> Prompt:
        """Read what `to_json` wrote. Raises DataError."""
        if isinstance(data, str):
            return cls(text=data)
        if not isinstance(data, Mapping) or not isinstance(data.get("text", ""), str):
            raise DataError(
                'a round needs a "prompt", as text or as an object with "text"', got=repr(data)[:80]
            )
        return cls(
            text=data.get("text", ""),
            refers_to=_texts(data, "refers_to"),
            points=tuple((float(x), float(y), bool(inside)) for x, y, inside in data.get("points", ())),
            boxes=tuple((float(a), float(b), float(c), float(d)) for a, b, c, d in data.get("boxes", ())),
            masks=tuple(Mask.from_dict(mask) for mask in data.get("masks", ())),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One prompt and what answers it.

    `segments` is None while unanswered (or unlabelled), () when rightly nothing matches, else one per instance.
    `references` is what an answered prompt was taken to speak of: all of `prompt.refers_to`, and what a model found
    in the words. `ignore` are pixels that neither a scorer nor a loss may count. `meta` holds JSON values of the
    source only.
    """

    prompt: Prompt
    segments: tuple[Segment, ...] | None = None
    reply: str | None = None
    id: str = ""  # given by the Example or Session that takes it in
    references: tuple[Reference, ...] = ()
    made_by: str = ""  # who answered: a model's name, "user", "user algebra"; "" in data sets
    concept: str | None = None
    family: str | None = None  # sub-family within the concept, e.g. "support"
    ignore: Mask | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        prompt: str,
        masks: Iterable[Mask] | None = None,
        *,
        refers_to: Iterable[str] = (),
        source: Source = "gold",
        **fields: Any,
    ) -> Round:
        """Make a round of words and bare masks; `fields` are further fields of a Round."""
        return cls(
            prompt=Prompt(text=prompt, refers_to=tuple(refers_to)),
            segments=None if masks is None else tuple(Segment(mask=mask, source=source) for mask in masks),
            **fields,
        )

    @property
    def text(self) -> str:
        """The words of the prompt."""
        return self.prompt.text

    @property
    def masks(self) -> tuple[Mask, ...] | None:
        """The masks of the segments, None if unlabelled."""
        return None if self.segments is None else tuple(segment.mask for segment in self.segments)

    @property
    def needs_history(self) -> bool:
        """Whether it can be understood only after the rounds before it."""
        return bool(self.prompt.refers_to)

    def mask(self, size: tuple[int, int]) -> Mask | None:
        """Return the union of the masks, None if unlabelled."""
        return None if self.masks is None else union_of(self.masks, size)

    def to_dict(self) -> dict[str, Any]:
        """Return a form ready for JSON; absent fields are left out."""
        data: dict[str, Any] = {"id": self.id, "prompt": self.prompt.to_json()}
        if self.segments is not None:
            data["segments"] = [segment.to_dict() for segment in self.segments]
        data |= {
            name: getattr(self, name)
            for name in ("reply", "concept", "family")
            if getattr(self, name) is not None
        }
        if self.references:
            data["references"] = [reference.to_dict() for reference in self.references]
        if self.made_by:
            data["made_by"] = self.made_by
        if self.ignore is not None:
            data["ignore"] = self.ignore.to_dict()
        if self.meta:
            data["meta"] = dict(self.meta)
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Round:
        """Read what `to_dict` wrote. Raises DataError naming the field that is missing."""
        if not isinstance(data, Mapping) or "prompt" not in data:
            raise DataError('a round needs a "prompt"', got=repr(data)[:80])
        segments = data.get("segments")
        return cls(
            prompt=Prompt.from_json(data["prompt"]),
            segments=None if segments is None else tuple(Segment.from_dict(segment) for segment in segments),
            reply=_text(data, "reply"),
            id=_text(data, "id") or "",
            references=tuple(Reference.from_dict(one) for one in data.get("references", ())),
            made_by=_text(data, "made_by") or "",
            concept=_text(data, "concept"),
            family=_text(data, "family"),
            ignore=None if data.get("ignore") is None else Mask.from_dict(data["ignore"]),
            meta=_mapping(data, "meta"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One picture and the rounds over it. `image` is a path, relative ones to the data file's folder.

    `independent`: the rounds are prompts that know nothing of each other; else they are one conversation. Rounds and
    segments without an id get the next free one. Raises DataError for ids that occur twice, and for a prompt that
    refers to what no earlier round gave.
    """

    id: str
    image: str
    rounds: tuple[Round, ...]
    independent: bool = False
    size: tuple[int, int] | None = None  # (height, width) of the upright picture
    source: str = ""  # the data set
    split: str = ""
    licence: str | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        try:
            object.__setattr__(self, "rounds", named(self.rounds))
        except DataError as error:
            raise DataError(f"example {self.id!r}: {error}") from error

    def to_dict(self) -> dict[str, Any]:
        """Return a form ready for JSON, with the schema's version."""
        data: dict[str, Any] = {"schema": SCHEMA, "id": self.id, "image": self.image}
        if self.independent:
            data["independent"] = True
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
        """Read what `to_dict` wrote, of this schema or an older one. Raises DataError for what it cannot read."""
        if not isinstance(data, Mapping):
            raise DataError("an example must be a JSON object", got=type(data).__name__)
        schema = data.get("schema", SCHEMA)
        if not isinstance(schema, int) or schema > SCHEMA:
            raise DataError(
                f"an example of schema {SCHEMA} or older is needed",
                got=repr(schema)[:80],
                do="Upgrade askmask.",
            )
        for name, kind in (("id", str), ("image", str), ("rounds", list)):
            if not isinstance(data.get(name), kind):
                raise DataError(f'an example needs "{name}"', got=repr(data.get(name))[:80])
        size = data.get("size")
        try:
            return cls(
                id=data["id"],
                image=data["image"],
                rounds=tuple(Round.from_dict(_of_schema_1(round)) for round in data["rounds"]),
                independent=bool(data.get("independent", _mapping(data, "meta").get("independent", False))),
                size=None if size is None else (int(size[0]), int(size[1])),
                source=_text(data, "source") or "",
                split=_text(data, "split") or "",
                licence=_text(data, "licence"),
                meta=_mapping(data, "meta"),
            )
        except (TypeError, ValueError, KeyError, IndexError, AttributeError, OverflowError) as error:
            raise DataError(
                f"example {data['id'][:80]!r}: a field holds what it cannot",
                got=f"{type(error).__name__}: {error}"[:160],
            ) from error


def without_masks(segments: object, reply: str | None) -> str:
    """Say what a round without masks came to: a question back, an answer in words alone, or that nothing was found."""
    if segments is None and reply:
        return "asks back" if reply.rstrip().endswith("?") else "in words alone"
    return "nothing found"


def named(rounds: Sequence[Round]) -> tuple[Round, ...]:
    """Give rounds and segments that have no id the next free one, and check ids and references.

    A reference may also say "r2.1", the first segment of round r2: it becomes that segment's id.
    """
    taken = {round.id for round in rounds} | {
        segment.id for round in rounds for segment in round.segments or ()
    }
    free = {letter: _numbers(letter, taken) for letter in "rm"}
    result: list[Round] = []
    known: set[str] = set()
    places: dict[str, str] = {}  # "r2.1" -> "m3"
    for round in rounds:
        meant = tuple(places.get(name, name) for name in round.prompt.refers_to)
        if unknown := [name for name in meant if name not in known]:
            raise DataError(
                f"the prompt {round.text[:60]!r} refers to what no earlier round gave",
                got=", ".join(unknown[:5]),
            )
        prompt = round.prompt if meant == round.prompt.refers_to else replace(round.prompt, refers_to=meant)
        segments = round.segments
        if segments is not None and not all(segment.id for segment in segments):
            segments = tuple(s if s.id else replace(s, id=next(free["m"])) for s in segments)
        name = round.id or next(free["r"])
        if (name, prompt, segments) != (round.id, round.prompt, round.segments):
            round = replace(round, id=name, prompt=prompt, segments=segments)
        ids = [segment.id for segment in segments or ()]
        for one in (name, *ids):
            if one in known:
                raise DataError("two rounds or segments have the same id", got=repr(one)[:80])
            known.add(one)
        places |= {f"{name}.{number}": one for number, one in enumerate(ids, 1)}
        result.append(round)
    return tuple(result)


def said(rounds: Iterable[Round]) -> str:
    """Return all words of some rounds, the user's and the replies, in order."""
    return " ".join(text for round in rounds for text in (round.text, round.reply) if text)


def _numbers(letter: str, taken: set[str]) -> Iterator[str]:
    number = 0
    while True:
        number += 1
        if f"{letter}{number}" not in taken:
            yield f"{letter}{number}"


def _of_schema_1(old: Mapping[str, Any]) -> Mapping[str, Any]:
    """Bring a round of schema 1 (masks without names, references by index) into today's form; leave others."""
    if not isinstance(old, Mapping) or not {"masks", "refers_to"} & old.keys():
        return old
    new = {key: value for key, value in old.items() if key not in ("masks", "refers_to")}
    if old.get("refers_to"):
        names = [
            f"r{int(one['round']) + 1}" + ("" if one.get("mask") is None else f".{int(one['mask']) + 1}")
            for one in old["refers_to"]
        ]
        new["prompt"] = {"text": old["prompt"], "refers_to": names}
    if old.get("masks") is not None:
        new["segments"] = old["masks"]
    return new


def _mask_of(region: Segment | Mask) -> Mask:
    return region.mask if isinstance(region, Segment) else region


def _text(data: Mapping[str, Any], name: str) -> str | None:
    value = data.get(name)
    if value is not None and not isinstance(value, str):
        raise DataError(f'"{name}" must be text', got=repr(value)[:80])
    return value


def _texts(data: Mapping[str, Any], name: str) -> tuple[str, ...]:
    values = data.get(name, ())
    if not isinstance(values, (list, tuple)) or not all(isinstance(value, str) for value in values):
        raise DataError(f'"{name}" must be a list of texts', got=repr(values)[:80])
    return tuple(values)


def _mapping(data: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = data.get(name)
    if value is not None and not isinstance(value, Mapping):
        raise DataError(f'"{name}" must be an object', got=repr(value)[:80])
    return value or {}
