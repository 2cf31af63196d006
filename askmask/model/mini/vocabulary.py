"""The words mini was taught: which of a prompt's it never met, and what the user is told of them.

Its embedding gives any word a vector (words.py), so that an unknown one reads as something: this list knows better.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache

_WORD = re.compile(r"\w+")
# Control characters but white space, zero widths, marks of direction: they say nothing.
_UNSEEN = re.compile(r"[\x00-\x08\x0e-\x1b\x7f\xad\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]")
# Denials have many spellings, and the common ones are rare in training's prompts.
_VERBS = (
    "do does did is are was were has have had could would should must need might may dare ought used".split()
)
_DENIALS = (
    (re.compile(rf"\b({'|'.join(_VERBS)})(?:n'?t| n't|'nt)\b"), r"\1 not"),
    (re.compile(r"\bca(?:nno|n'?)t\b"), "can not"),
    (re.compile(r"\bwon'?t\b"), "will not"),
    (re.compile(r"\bshan'?t\b"), "shall not"),
    (re.compile(r"\bain'?t\b"), "is not"),
)
# Those that are long enough to know with a letter wrong: "wnt" is no "wont".
_DENIED = ("cannot", *(f"{verb}nt" for verb in _VERBS if len(verb) > 3))
_APOSTROPHES = str.maketrans(dict.fromkeys("\u2018\u2019\u201b\u02bc\u2032\u00b4`", "'"))
# Written short, or as in America, and read as training writes it. Whoever knows the word knows this too.
SPELT = dict(zip("123456789", "one two three four five six seven eight nine".split(), strict=True))
SPELT |= {"1st": "first", "2nd": "second", "3rd": "third", "4th": "fourth", "5th": "fifth", "6th": "sixth"}
SPELT |= {
    "gray": "grey",
    "grays": "grey",
    "grayish": "grey",
    "greyish": "grey",
    "reddish": "red",
    "bluish": "blue",
}
SPELT |= {
    "color": "colour",
    "colors": "colours",
    "colored": "coloured",
    "center": "centre",
    "neighbor": "neighbour",
}
SPELT |= {
    "gimme": "give",
    "lemme": "let",
    "wanna": "want",
    "gonna": "going",
    "pls": "please",
    "plz": "please",
}
SPELT |= {"u": "you", "ur": "your", "thx": "thanks"}
NAMED = 4  # unknown words that a notice names
CLOSE = 0.72  # of difflib: "aple" to "apple" is .89, "pear" to "near" .75


def visible(text: str) -> str:
    """Return a text without what no one sees of it."""
    return _UNSEEN.sub("", text)


def plain(text: str) -> str:
    """Return a text in one spelling: small letters, straight apostrophes, "can't" and "cannot" as "can not"."""
    text = visible(text).translate(_APOSTROPHES).lower()
    for spellings, one in _DENIALS:
        text = spellings.sub(one, text)
    return text


@dataclass(frozen=True)
class Unknown:
    """A word that was never taught, and the known ones that are spelt most like it."""

    word: str
    nearest: tuple[str, ...] = ()
    slip: bool = False  # one letter off a known word: a typing error, read as the nearest of these


class Vocabulary:
    """Words met in training. An empty one knows nothing, and so says nothing."""

    def __init__(self, words: Iterable[str]):
        self.words = frozenset(words)
        self._meet = lru_cache(maxsize=1000)(self._look_up)

    def unknown_words(self, prompt: str) -> list[Unknown]:
        """Return the words of a prompt that were never taught, each once; its signs if it has no word at all."""
        prompt = plain(prompt)
        if not self.words or not prompt.strip():
            return []
        words = list(dict.fromkeys(_WORD.findall(prompt)))
        if not words:
            return [Unknown(prompt.strip()[:20])]
        return [self._meet(word) for word in words if SPELT.get(word, word) not in self.words]

    def read_as(self, word: str) -> str:
        """Return a word as it is read: a slip as the known word, or denial of two words, that it is nearest to."""
        word = SPELT.get(word, word)
        if not self.words or word in self.words or not _WORD.fullmatch(word):
            return word
        met = self._meet(word)
        return plain(met.nearest[0]) if met.slip else word

    def strange(self, prompt: str) -> bool:
        """Whether a prompt has a word that is neither known nor a slip of a known one."""
        return any(not unknown.slip for unknown in self.unknown_words(prompt))

    def notice(self, prompt: str) -> str | None:
        """Name the unknown words of a prompt; None if all are known."""
        unknown = self.unknown_words(prompt)
        if not unknown:
            return None
        named = ", ".join(one.word for one in unknown[:NAMED]) + ("..." if len(unknown) > NAMED else "")
        nearest = list(dict.fromkeys(word for one in unknown[:NAMED] for word in one.nearest))
        return f"I do not know: {named}" + (f"; nearest: {', '.join(nearest)}" if nearest else "")

    def _look_up(self, word: str) -> Unknown:
        # A mask's id is no spelling of anything.
        words = (known for known in (*self.words, *_DENIED) if not any(map(str.isdigit, known)))
        alike = sorted({known for known in words if abs(len(known) - len(word)) <= 2})
        nearest = tuple(get_close_matches(word, alike, n=2, cutoff=CLOSE)) if len(word) <= 20 else ()
        swaps = tuple(known for known in alike if swapped(word, known))
        slips = (*swaps, *(known for known in nearest if known not in swaps and one_slip(word, known)))
        return Unknown(word, slips or nearest, bool(slips))


def one_slip(word: str, known: str) -> bool:
    """Whether one letter left out, put in or changed makes a word of another, of 4 letters or more; or a swap does."""
    rest, wanted = _unlike(word, known)
    one = rest[1:] == wanted[1:] or rest[1:] == wanted or rest == wanted[1:]
    return swapped(word, known) or (len(known) >= 4 and one)


def swapped(word: str, known: str) -> bool:
    """Whether two neighbouring letters swapped make a word of another, of 3 letters or more: "mgu" of "mug"."""
    rest, wanted = _unlike(word, known)
    neighbours = len(rest) > 1 and rest[:2] == wanted[:2][::-1]
    return len(known) >= 3 and neighbours and rest[2:] == wanted[2:]


def _unlike(word: str, known: str) -> tuple[str, str]:
    """Return both from the first letter on in which they differ."""
    least = min(len(word), len(known))
    start = next((n for n in range(least) if word[n] != known[n]), least)
    return word[start:], known[start:]
