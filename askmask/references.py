"""What the words of a prompt speak of in the conversation so far, where words alone decide it.

By a user's name for a segment ("the spout of teapot"), an id ("left of m2"), an index ("your second answer"), "those",
"it", "the other one", or by an earlier prompt's words ("the handle of the mug"). What is not clear stays open, with
the reason: then the model decides. Knows rounds and words; no model.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from askmask.conversation import Reference, Round, without_masks

# rule -> how surely it says what is meant
SURENESS: Final = {
    "id": 1.0, "name": 0.95, "index": 0.95, "those": 0.9, "it": 0.8, "other": 0.7, "words": 0.7,
}  # fmt: skip
EXPLICIT: Final = ("id", "name", "index")  # what nobody says by chance


@dataclass(frozen=True, slots=True)
class Mention:
    """Words of a prompt that speak of something known: text[start:end]."""

    start: int
    end: int
    rule: str
    ids: tuple[str, ...] = ()  # of segments, or of rounds: all that they answered; () where it is not clear
    why: str = ""  # why it is not clear

    @property
    def references(self) -> tuple[Reference, ...]:
        """What is spoken of."""
        return tuple(Reference(name, SURENESS[self.rule], False, self.rule) for name in self.ids)


def mentions(text: str, rounds: Sequence[Round], rules: Sequence[str] = tuple(SURENESS)) -> list[Mention]:
    """Return what a prompt speaks of after some rounds, in the order of its words; no two overlap."""
    found: list[Mention] = []
    for rule in SURENESS:
        if rule not in rules:
            continue
        for one in _RULES[rule](text, rounds):
            if all(one.end <= other.start or other.end <= one.start for other in found):
                found.append(one)
    return sorted(found, key=lambda one: one.start)


def references_of(found: Sequence[Mention]) -> tuple[Reference, ...]:
    """Return all that is spoken of, each once, by its surest mention."""
    every = [one for mention in found for one in mention.references]
    surest = {one.id: one for one in sorted(every, key=lambda one: one.score)}
    return tuple(surest[name] for name in dict.fromkeys(one.id for one in every))


def whole(text: str, rounds: Sequence[Round]) -> Mention | None:
    """Return what a phrase means if it is nothing but a mention: "m2", "those", "the mug" after "the mug"."""
    text = _unframed(text)
    for one in mentions(text, rounds):
        if (_DETERMINER.sub("", text[: one.start]), text[one.end :]) == ("", ""):
            return one
    matches = [ids for words, ids in _spoken(rounds) if words == _DETERMINER.sub("", text).lower()]
    return Mention(0, len(text), "words", matches[0]) if len(set(matches)) == 1 else None


# -- by a name the user gave, by id, by index ------------------------------------------------------------------

# Before a name stands one of these or nothing: "the red teapot" describes, "left of teapot" names.
_BEFORE_A_NAME = re.compile(
    r"(?:^|[,;:.?!(]|\b(?:the|my|our|this|that|of|on|in|into|to|from|with|without|and|or|but|except|than|by|near|at|"
    r"behind|below|under|underneath|above|over|inside|outside|beside|besides|between|around|against|touching|"
    r"holding|supporting|facing|for|show|mark|segment|select|find|only|just|not|is|are|does|do|like|as|minus|plus))"
    r"\s*$",
    re.IGNORECASE,
)


def _by_name(text: str, rounds: Sequence[Round]) -> Iterator[Mention]:
    names = {s.name.lower(): s.id for r in rounds for s in r.segments or () if s.name}  # the latest of equals
    for name in sorted(names, key=len, reverse=True):
        for hit in re.finditer(rf"(?<!\w){re.escape(name)}(?!\w)", text, re.IGNORECASE):
            if _BEFORE_A_NAME.search(text[: hit.start()]):
                yield Mention(hit.start(), hit.end(), "name", (names[name],))


def _by_id(text: str, rounds: Sequence[Round]) -> Iterator[Mention]:
    known = {r.id for r in rounds} | {s.id for r in rounds for s in r.segments or ()}
    for hit in re.finditer(
        r"(?:\b(?:segment|mask|round|answer) )?(?<!\w)([mr]\d+)(?!\w)", text, re.IGNORECASE
    ):
        name = hit[1] if hit[1] in known else hit[1].lower()
        if name in known:
            yield Mention(hit.start(), hit.end(), "id", (name,))
        elif name.startswith("m"):
            yield Mention(hit.start(), hit.end(), "id", why=f"this conversation has no {name}")


_ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")
_NTH = rf"(?P<nth>{'|'.join(_ORDINALS)}|\d+(?:st|nd|rd|th)|last|latest|previous)"
_GIVEN = r"(?:found|marked|showed|gave|segmented|outlined|answered)"
_INDEX = re.compile(
    rf"(?:the |your |my |that )?{_NTH} (?:answer|output|result|round)\b"
    rf"|the {_NTH.replace('nth', 'of')} (?:thing|one|object|region|mask) (?:that )?you {_GIVEN}\b"
    rf"|(?:the )?(?:(?:thing|object|one|output|answer|result|mask) (?:from|of|in) |what you {_GIVEN} in )?"
    r"(?:round|answer|instance) (?:number |no\. ?|#)?(?P<number>\d+)\b",
    re.IGNORECASE,
)


def _by_index(text: str, rounds: Sequence[Round]) -> Iterator[Mention]:
    answers = [r for r in rounds if r.segments is not None and (r.text or r.made_by != "user")]
    for hit in _INDEX.finditer(text):
        said = (hit["nth"] or hit["of"] or hit["number"]).lower()
        named = (
            [r for r in rounds if r.id == f"r{said}"] if "round" in hit[0].lower() and hit["number"] else []
        )
        if said in ("last", "latest", "previous"):
            number = len(answers)
        else:
            number = _ORDINALS.index(said) + 1 if said in _ORDINALS else int(re.sub(r"\D", "", said)[:9])
        if named or 0 < number <= len(answers):
            meant = named[0] if named else answers[number - 1]
            yield Mention(hit.start(), hit.end(), "index", _ids_of(meant))
        else:
            why = f"there are {len(answers)} answers so far"
            yield Mention(hit.start(), hit.end(), "index", why=why)


# -- of the last answer ----------------------------------------------------------------------------------------

# After a pronoun that stands for itself; "those mugs" and "that one on the left" describe anew.
_ENDS = (
    r"(?=\s*(?:$|[,;:.?!)]|'s|\b(?:and|or|but|except|excluding|without|minus|together|is|are|was|were|has|have|could|"
    r"can|would|will|might|may|does|do|did|lies?|stands?|sits?|touch|touches|rests?|be|moves?|falls?|tips?)\b))"
)
_THOSE = re.compile(
    rf"\b(?:(?:all|both|each|every one|any|none|some|one) of )?(?:them|(?:those|these)(?: ones)?{_ENDS})(?!\w)"
    rf"|\b(?:they|their)\b|\bboth{_ENDS}",
    re.IGNORECASE,
)
_IT = re.compile(
    rf"\b(?:it|its|itself)\b|\b(?:that|this) (?:one|thing|object){_ENDS}|\bthe (?:last|same) one{_ENDS}",
    re.IGNORECASE,
)
_NOBODYS = re.compile(  # "where is it safe to ...", "it is raining"
    r"\b(?:is|was|would|be|seems?|makes?) it (?:\w+ )?\w+ (?:to|that|for) \w+"
    r"|\bit(?:'s| is| was| would be| seems?) (?:\w+ )?\w+ (?:to|that|for) \w+|\bit(?:'s| is)? (?:rain|snow)\w*",
    re.IGNORECASE,
)
# Before "it" or "its": "the bowl with a spoon in it", "the pot and its lid" speak of what they name themselves.
_NAMED_HERE = (
    r"\b(?:the|a|an|any|every|each|all|some|whatever|what|something|things?)\b.*"
    r"\b(?:with|without|whose|having|has|have|contain\w*|holds?|holding|carr\w*|and|when|if|once|until)\b"
)
_NAMED_BEFORE_IT = re.compile(rf"{_NAMED_HERE}\s+\S", re.IGNORECASE | re.DOTALL)
_NAMED_BEFORE_ITS = re.compile(rf"{_NAMED_HERE}\s", re.IGNORECASE | re.DOTALL)
_OTHER = re.compile(
    rf"\b(?:the other|another|the remaining)(?: one)?{_ENDS}|\bthe other one\b", re.IGNORECASE
)
_OTHERS = re.compile(rf"\b(?:the|all) (?:others|other ones){_ENDS}", re.IGNORECASE)


def _last(rounds: Sequence[Round]) -> Round | None:
    """Return the last answer with masks; None where a question came after it: the prompt answers that."""
    if rounds and without_masks(rounds[-1].segments, rounds[-1].reply) == "asks back":
        return None
    return next((r for r in reversed(rounds) if r.segments is not None), None)


def _segments(count: int) -> str:
    return f"{count} segment" if count == 1 else f"{count} segments"


def _by_those(text: str, rounds: Sequence[Round]) -> Iterator[Mention]:
    last = _last(rounds)
    for hit in _THOSE.finditer(text):
        if last is None or _named_here(text[: hit.start()], hit[0]):
            continue
        count = len(last.segments or ())
        if count == 2 or (count and not hit[0].lower().startswith("both")):
            yield Mention(hit.start(), hit.end(), "those", (last.id,))
        else:
            why = f"the last answer has {_segments(count)}" if count else "the last answer found nothing"
            yield Mention(hit.start(), hit.end(), "those", why=why)


def _by_it(text: str, rounds: Sequence[Round]) -> Iterator[Mention]:
    nobodys = [hit.span() for hit in _NOBODYS.finditer(text)]
    for hit in _IT.finditer(text):
        if any(start <= hit.start() < end for start, end in nobodys):
            continue
        if not _named_here(text[: hit.start()], hit[0]):
            yield from _one_of_the_last(hit, "it", rounds)


def _by_other(text: str, rounds: Sequence[Round]) -> Iterator[Mention]:
    for hit in _OTHER.finditer(text):
        yield from _one_of_the_last(hit, "other", rounds)
    last = _last(rounds)
    for hit in _OTHERS.finditer(text):
        if last is not None and last.segments:
            yield Mention(hit.start(), hit.end(), "other", _ids_of(last))


def _named_here(before: str, pronoun: str) -> bool:
    """Whether the prompt itself may name what a pronoun in it means."""
    pattern = _NAMED_BEFORE_ITS if pronoun.lower() in ("its", "their") else _NAMED_BEFORE_IT
    return pattern.search(before) is not None


def _one_of_the_last(hit: re.Match[str], rule: str, rounds: Sequence[Round]) -> Iterator[Mention]:
    last = _last(rounds)
    if last is None:
        return
    if last.segments and len(last.segments) == 1:
        yield Mention(hit.start(), hit.end(), rule, (last.segments[0].id,))
    else:
        count = f"has {_segments(len(last.segments))}" if last.segments else "found nothing"
        yield Mention(hit.start(), hit.end(), rule, why=f"the last answer {count}")


# -- by the words of an earlier prompt -------------------------------------------------------------------------

_FRAME = re.compile(
    r"^(?:(?:and|now|no|then|please|just|only|ok|okay|also|so|i mean|i meant|show me|show|mark|select|segment|find|"
    r"give me|highlight|outline|point at|point to|where is|where are|what about|how about|keep|take)\b[\s,:]*)+",
    re.IGNORECASE,
)
_DETERMINER = re.compile(
    r"^(?:(?:all of |just |only )?(?:the|that|this|those|these|your|my|a|an|any|every|all)\s+)+",
    re.IGNORECASE,
)
_POSTMODIFIER = re.compile(
    r"\s+(?:of|with|without|that|which|who|whose|on|in|at|to|from|by|near|nearest|closest|behind|under|underneath|"
    r"above|below|inside|beside|between|left|right|next|standing|lying|sitting|in front|on top|made|for|you|we|i|"
    r"farthest|furthest|than)\b.*$",
    re.IGNORECASE | re.DOTALL,
)
_RELATION = (
    r"(?:of|on|in|inside|to|from|behind|under|underneath|below|above|over|near|than|by|with|beside|touching|holding|"
    r"against|around|supporting|between|at|into|onto|out of)"
)
_AS_SAID = (
    r"(?: (?:that )?(?:you|we|i) (?:found|marked|showed|gave|spoke of|talked about|said|mentioned|asked for|segmented|"
    r"had)(?: before| earlier)?| from (?:before|earlier)| again)"
)
_NOBODYS_HEAD = frozenset(
    "one ones thing things everything something anything all what object objects".split()
)
_PLURALS = frozenset("people men women children".split())
MOST_WORDS = 200  # characters of an earlier prompt that another may take up


def _by_words(text: str, rounds: Sequence[Round]) -> Iterator[Mention]:
    """Find "of the mug" at the end of a relation, "that mug", "the mug you found", where one answer alone fits."""
    spoken, said = list(_spoken(rounds)), text.lower()
    heads = [(_head(words), ids) for words, ids in spoken]
    for words in sorted({w for w, _ in (*spoken, *heads) if w and w in said}, key=len, reverse=True):
        exact = {ids for known, ids in spoken if known == words}
        matches = exact or {ids for head, ids in heads if head == words}
        if len(matches) != 1:
            continue
        it = re.escape(words)
        pattern = (
            rf"\b(?:that|those|the same) {it}(?!\w){_ENDS}|\b(?:the|that|this|those|these) {it}{_AS_SAID}"
            rf"|\bthe {it}(?='s)|\b{_RELATION} (?P<it>the {it})(?=\s*(?:$|[,;.?!]|and\b|but\b))"
        )
        for hit in re.finditer(pattern, text, re.IGNORECASE):
            start, end = hit.span("it") if hit["it"] else hit.span()
            yield Mention(start, end, "words", next(iter(matches)))


def _spoken(rounds: Sequence[Round]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield the words by which answers were asked for or described, lower-case, and what they name.

    A word for several segments means all of them; one for a single thing that found several is left out.
    """
    for round in rounds:
        segments = round.segments or ()
        if segments and 0 < len(round.text) <= MOST_WORDS:
            words = said_by(round.text)
            if len(segments) == 1 or _plural(words):
                yield words, _ids_of(round)
        for segment in segments:
            if segment.phrase:
                yield said_by(segment.phrase[:MOST_WORDS]), (segment.id,)


def said_by(text: str) -> str:
    """Return what a prompt asks for, in lower case, without a frame or an article: "Show me the mug." -> "mug"."""
    return _DETERMINER.sub("", _unframed(text)).lower()


def _unframed(text: str) -> str:
    return _FRAME.sub("", text.strip().rstrip(".?! ")).strip()


def _head(words: str) -> str:
    """Return the noun that a phrase is about: "red mug left of the pot" -> "mug"; "" for a question."""
    kept = _POSTMODIFIER.sub("", words).split()
    asks = not kept or kept[0] in ("what", "which", "where", "whatever", "how", "who")
    return "" if asks or kept[-1] in _NOBODYS_HEAD else kept[-1]


def _plural(words: str) -> bool:
    head = (_POSTMODIFIER.sub("", words).split() or [""])[-1]
    return head in _PLURALS | _NOBODYS_HEAD - {"one", "thing", "object"} or bool(re.search(r"[^s]s$", head))


def _ids_of(round: Round) -> tuple[str, ...]:
    """Name a round's single segment, else the round: all that it answered."""
    segments = round.segments or ()
    return (segments[0].id,) if len(segments) == 1 else (round.id,)


_RULES: Final[dict[str, Callable[[str, Sequence[Round]], Iterator[Mention]]]] = {
    "id": _by_id, "name": _by_name, "index": _by_index, "those": _by_those, "it": _by_it, "other": _by_other,
    "words": _by_words,
}  # fmt: skip
