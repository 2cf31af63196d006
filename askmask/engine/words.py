"""Words of prompts: does it start with a verb, do two ask the same, could it be answered from captions alone?"""

from __future__ import annotations

import re

VERBS = frozenset(
    "ask choose circle count detect determine discover draw find fetch get give grab highlight identify indicate "
    "isolate label list localize locate look mark mask name note outline pick pinpoint point predict recognize "
    "reveal search segment select separate show single spot tell trace".split()
)
# Words that carry no content of their own in a request.
_EMPTY = frozenset(
    "a all an and any are as at be been being by can could currently do does for from had has have here in into is "
    "it its me my of off on one ones onto or out over so some that the their them then there these they thing "
    "things this those to up was were what where which who whose will with would you your object objects item "
    "items region regions area areas please every each".split()
)


def normal_words(text: str) -> list[str]:
    """Return the words in lower case, without punctuation."""
    return re.findall(r"[^\W_]+(?:['’-][^\W_]+)*", text.casefold())


def starts_with_verb(text: str) -> bool:
    """Whether the first word is an imperative that asks for something to be shown."""
    words = normal_words(text)
    return bool(words) and words[0] in VERBS


def content_words(text: str) -> frozenset[str]:
    """Return the words that say what is wanted: no opening verb, no function words, plain plurals undone."""
    words = normal_words(text)
    if words and words[0] in VERBS:
        words = words[1:]
    return frozenset(_singular(word) for word in words if word not in _EMPTY)


def _singular(word: str) -> str:
    if word.endswith("s") and not word.endswith("ss") and len(word) > 3:
        return word[:-1]
    return word


def same_request(one: str, other: str) -> bool:
    """Whether two prompts ask the same thing in nearly the same words."""
    a, b = content_words(one), content_words(other)
    if not a or not b:
        return normal_words(one) == normal_words(other)
    return len(a & b) / len(a | b) >= 0.8


def caption_solves(prompt: str, captions: dict[int, str], satisfying: set[int]) -> bool:
    """Whether a reader without the picture would find exactly `satisfying`: the regions whose captions hold every
    content word of the prompt. Such a prompt tests reading, not looking.
    """
    wanted = content_words(prompt)
    if not wanted:
        return False
    holding = {number for number, caption in captions.items() if wanted <= content_words(caption)}
    return holding == satisfying
