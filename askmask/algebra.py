"""Prompts that are nothing but algebra over masks already known, answered exactly: no model is asked.

"m1 and m3 together", "all of them except m2", "everything but those", "the overlap of m1 and m2", "m1 - m2", and "m1"
or a user's name alone. One side of "and" or "except" may be in words that a model must answer first ("all of them but
the red one"). A prompt that is anything else, or of which a part is not clear, is not algebra.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from askmask.conversation import Reference, Round, Segment
from askmask.references import EXPLICIT, Mention, mentions, references_of, whole

MADE_BY: Final = "user algebra"
SAME = 0.5  # least IoU at which a model's segment is taken for a known one
BY_NAME = ("id", "name")  # of `references.mentions`: rules of names that nobody else has
WITHIN = 0.8  # least share of a model's segment in a known one that it is cut out of

How = Literal["each", "together", "overlap", "all but"]


@dataclass(frozen=True, slots=True)
class Formula:
    """An operation over known segments, and over what a model answers to `ask`, if it must be asked first."""

    how: How
    keep: tuple[Segment, ...]
    drop: tuple[Segment, ...] = ()
    references: tuple[Reference, ...] = ()
    ask: str = ""
    of: str = ""  # on which side of the operation the answer stands: "keep" or "drop"

    def solved(self, answered: Sequence[Segment] = ()) -> tuple[Segment, ...] | None:
        """Return what the prompt means, without ids; None if what was answered does not fit what is known."""
        if self.ask and not answered:
            return None
        keep = (*self.keep, *answered) if self.of == "keep" else self.keep
        drop = self.drop if self.of != "drop" else _matched(self.keep, answered)
        if drop is None or (self.of == "keep" and self.drop and _matched(answered, self.drop) is None):
            return None
        if self.how == "all but":
            result = [~_united(drop)]
        elif self.how == "overlap":
            result = [keep[0].intersection(*keep[1:])]
        elif self.how == "together":
            result = [_united(keep) - _united(drop) if drop else _united(keep)]
        else:
            left = [one for one in keep if not any(_same(one, other) for other in drop)]
            cuts = [other for other in drop if not any(_same(one, other) for one in keep)]
            result = [one - _united(cuts) if cuts else _copy(one) for one in left]
        return tuple(one for one in result if one.mask)


def formula(text: str, rounds: Sequence[Round]) -> Formula | None:
    """Read a prompt as algebra over what some rounds answered; None if it is not, or not clearly."""
    text = _LEAD.sub("", text.strip().rstrip(".?! "))
    text = re.sub(rf"^all (?={_BUT}\b)", "all of them ", text, flags=re.IGNORECASE)
    for read in (_symbols, _complement, _overlap, _sum):
        if (found := read(text, rounds)) is not None:
            return found
    return None


# -- reading ---------------------------------------------------------------------------------------------------

_LEAD = re.compile(
    r"^(?:(?:and|now|no|then|please|just|only|ok|okay|so|i mean|i meant|show me|show|mark|select|segment|give me|keep|"
    r"highlight|take|i want)\b[\s,:]*)+",
    re.IGNORECASE,
)
_BUT = r"(?:except(?: for)?|excluding|but not|without|minus|other than|apart from|but)"
_SYMBOLS = re.compile(r"~?[mr]\d+(?:\s*[-+|&]\s*~?[mr]\d+)+|~[mr]\d+", re.IGNORECASE)
_SIGN = re.compile(r"\s([-+|&])\s+")  # between names, with spaces around it: "left-hand" is one
_COMPLEMENT = re.compile(
    rf"(?:everything|anything|the (?:whole )?picture|the rest)(?: else)? {_BUT} (?P<a>.+)"
    r"|(?:everything |all that is |what is )?outside(?: of)? (?P<b>.+)"
    r"|the (?:opposite|inverse|complement) of (?P<c>.+)",
    re.IGNORECASE,
)
_OVERLAP = re.compile(
    r"(?:the )?(?:overlap|intersection) (?:of|between) (?P<a>.+?) (?:and|with) (?P<b>.+)"
    r"|where (?P<c>.+?) and (?P<d>.+?) overlap|what (?P<e>.+?) and (?P<f>.+?) (?:share|have in common)",
    re.IGNORECASE,
)
_UNION = re.compile(r"(?:the )?(?:union|sum) of (?P<a>.+)|(?P<b>.+?),? (?:all )?together", re.IGNORECASE)
_EXCEPT = re.compile(rf"(?P<keep>.+?),?\s+(?P<but>{_BUT})\s+(?P<drop>.+)", re.IGNORECASE | re.DOTALL)
_AND = re.compile(r"\s*,\s*(?:and\s+)?|\s+(?:and|plus|as well as|together with)\s+", re.IGNORECASE)
_DEFINITE = re.compile(r"(?:the|its|their|that|this|those|these|my|your)\s", re.IGNORECASE)


def _symbols(text: str, rounds: Sequence[Round]) -> Formula | None:
    """Read "m1 - m2 + m3", from left to right."""
    if _SYMBOLS.fullmatch(text):
        terms = re.findall(r"([-+|&]?)\s*(~?)([mr]\d+)", text, re.IGNORECASE)
    elif len(parts := _SIGN.split(text)) > 1:
        names = zip(("", *parts[1::2]), parts[::2], strict=True)
        terms = [(sign, "~" if name.startswith("~") else "", name.removeprefix("~")) for sign, name in names]
    else:
        return None
    made: Segment | None = None
    used: list[Mention] = []
    for sign, negated, name in terms:
        mention = whole(name, rounds)
        members = _segments(mention, rounds)
        if mention is None or not members or mention.rule not in BY_NAME:
            return None
        used.append(mention)
        one = ~_united(members) if negated else _united(members)
        if made is None:
            made = one
        else:
            made = made - one if sign == "-" else made & one if sign == "&" else made | one
    assert made is not None
    return Formula("each", (made,), references=references_of(used))


def _complement(text: str, rounds: Sequence[Round]) -> Formula | None:
    if (hit := _COMPLEMENT.fullmatch(text)) is None:
        return None
    side = _Side.read(hit["a"] or hit["b"] or hit["c"], rounds)
    if side is None or side.words or not side.explicit:
        return None
    return Formula("all but", (), side.segments, side.references)


def _overlap(text: str, rounds: Sequence[Round]) -> Formula | None:
    if (hit := _OVERLAP.fullmatch(text)) is None:
        return None
    sides = [_Side.read(part, rounds) for part in hit.groups() if part]
    if any(side is None or side.words for side in sides):
        return None
    known = [side for side in sides if side is not None]
    keep = tuple(_united(side.segments) for side in known)
    return Formula("overlap", keep, references=_joined(known))


def _sum(text: str, rounds: Sequence[Round]) -> Formula | None:
    """Read "A, B and C [together] [except D and E]"."""
    how: How = "each"
    kept, but, dropped = text, "", ""
    if hit := _EXCEPT.fullmatch(text):
        kept, but, dropped = hit["keep"], hit["but"].lower(), hit["drop"]
    if union := _UNION.fullmatch(kept):
        kept, how = union["a"] or union["b"], "together"
    parts = len([part for part in _AND.split(kept) if part])
    if not but and parts == 1 and how == "each":
        return _alone(kept, rounds)
    keep = _Side.read(kept, rounds)
    drop = _Side.read(dropped, rounds) if but else _Side()
    if keep is None or drop is None or (keep.words and drop.words):
        return None
    if but:
        keep, drop = _set_of(keep, drop, rounds)
    words = keep.words or drop.words
    known = (keep, drop) if keep.mentions and drop.mentions else (keep if keep.mentions else drop,)
    clear = all(side.explicit for side in known) or how == "together" or (but and not words)
    if not clear or (words and not _asks(words, but, keep, rounds)) or _nothing_left(keep, drop):
        return None
    of = "keep" if keep.words else "drop" if drop.words else ""
    return Formula(how, keep.segments, drop.segments, _joined((keep, drop)), words, of)


def _alone(text: str, rounds: Sequence[Round]) -> Formula | None:
    """Read "m1", "r2" or a user's name: what is shown again. Other single references are a model's to read."""
    mention = whole(text, rounds)
    if mention is None or mention.rule not in BY_NAME or not (segments := _segments(mention, rounds)):
        return None
    return Formula("each", segments, references=references_of([mention]))


def _asks(words: str, but: str, keep: _Side, rounds: Sequence[Round]) -> bool:
    """Whether words on one side are a thing to find; no description ("those without a lid"), no piece of one."""
    if not _DEFINITE.match(words):
        return False
    if keep.words and keep.mentions:  # "m1 and the lamp", but not "the lamp between m1 and m2"
        return keep.words_last or not mentions(words, rounds)
    return bool(keep.words) or but != "without" or all(one.rule != "those" for one in keep.mentions)


def _nothing_left(keep: _Side, drop: _Side) -> bool:
    gone = {one.id for one in drop.segments}
    return bool(gone) and not keep.words and gone >= {one.id for one in keep.segments}


@dataclass(frozen=True, slots=True)
class _Side:
    """One side of an operation: what is known, and words that are not."""

    segments: tuple[Segment, ...] = ()
    mentions: tuple[Mention, ...] = ()
    words: str = ""
    words_last: bool = False

    @property
    def explicit(self) -> bool:
        """Whether pronouns, names, ids and indices say all that is known; earlier words might be meant anew."""
        return all(one.rule in (*EXPLICIT, "those", "it") for one in self.mentions)

    @property
    def references(self) -> tuple[Reference, ...]:
        """What is spoken of."""
        return references_of(self.mentions)

    @classmethod
    def read(cls, text: str, rounds: Sequence[Round]) -> _Side | None:
        """Read "A, B and C"; None if one of them is not clear, or more than one is in words."""
        segments: list[Segment] = []
        used: list[Mention] = []
        words: list[str] = []
        mention = None
        for part in (part.strip() for part in _AND.split(text)):
            mention = whole(part, rounds) if part else None
            if mention is None or mention.rule == "other":
                words.append(part)
            elif found := _segments(mention, rounds):
                segments += [one for one in found if one.id not in {s.id for s in segments}]
                used.append(mention)
            else:
                return None
        if len(words) > 1 or not all(words):
            return None
        return cls(tuple(segments), tuple(used), words[0] if words else "", mention is None)


def _set_of(keep: _Side, drop: _Side, rounds: Sequence[Round]) -> tuple[_Side, _Side]:
    """Take "them" in "all of them except m2" for the answer that holds m2, if the last one does not."""
    if len(keep.mentions) != 1 or keep.mentions[0].rule != "those" or not drop.segments or keep.words:
        return keep, drop
    gone = {one.id for one in drop.segments}
    if gone & {one.id for one in keep.segments}:
        return keep, drop
    for round in reversed(rounds):
        segments = round.segments or ()
        if len(segments) > 1 and gone <= {one.id for one in segments}:
            meant = replace(keep.mentions[0], ids=(round.id,))
            return _Side(segments, (meant,)), drop
    return keep, drop


def _segments(mention: Mention | None, rounds: Sequence[Round]) -> tuple[Segment, ...]:
    """Return all segments that a mention means."""
    ids = mention.ids if mention is not None else ()
    return tuple(
        segment for round in rounds for segment in round.segments or () if {segment.id, round.id} & set(ids)
    )


def _joined(sides: Sequence[_Side]) -> tuple[Reference, ...]:
    return references_of([mention for side in sides for mention in side.mentions])


# -- computing -------------------------------------------------------------------------------------------------


def _united(segments: Sequence[Segment]) -> Segment:
    """Return the union, its parents the segments themselves."""
    return segments[0].union(*segments[1:])


def _copy(segment: Segment) -> Segment:
    """Return a known segment anew; one that a model has just answered stays what it is."""
    return segment.union() if segment.id else segment


def _same(one: Segment, other: Segment) -> bool:
    return (bool(one.id) and one.id == other.id) or one.mask.iou(other.mask) >= SAME


def _matched(known: Sequence[Segment], answered: Sequence[Segment]) -> tuple[Segment, ...] | None:
    """Return what of a set an answer means to leave out: members, or pieces of one; None if that is not clear."""
    members: list[Segment] = []
    pieces: list[Segment] = []
    for one in answered:
        same = [other for other in known if _same(other, one)]
        around = [other for other in known if one.inside(other) >= WITHIN]
        if len(same) == 1:
            members += same
        elif len(around) == 1:
            pieces.append(one)
        else:
            return None
    everything = len({id(one) for one in members}) == len(known)
    return None if everything else (*members, *pieces)
