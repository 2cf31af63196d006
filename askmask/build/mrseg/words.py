"""Names of categories and sentences of people -> words that a template can take."""

from __future__ import annotations

import re

ARTICLES = ("the ", "this ", "that ", "these ", "those ", "his ", "her ", "their ", "my ", "its ")
_NO_NAME = re.compile(
    "^(?:on|in|at|with|behind|near|next|under|below|above|by|from|to|far|closest|nearest|holding|wearing|"
    "sitting|standing|who|that's|not)\\b"
)


def noun_of(category: str) -> str:
    """Return a category's name as a person would say it: "mouse_(computer_equipment)" -> "mouse"."""
    plain = re.sub(r"_?\([^)]*\)", "", category).replace("_", " ").split(",")[0]
    return " ".join(plain.lower().split()) or category.lower()


def plain_caption(sentence: str) -> str:
    """Return a sentence of a set without its dirt: case, spaces, ends, and brackets, which would read as markers."""
    return " ".join(sentence.lower().replace("[", "(").replace("]", ")").split()).strip(" .,;:!?\"'")


def with_article(caption: str) -> str:
    """Return "the CAPTION", as it is said of one thing in a picture."""
    if caption.startswith(ARTICLES):
        return caption
    for article in ("a ", "an ", "one "):
        if caption.startswith(article) and not caption.startswith("one of "):
            return "the " + caption[len(article) :]
    return f"the one {caption}" if _NO_NAME.match(caption) else f"the {caption}"


def core(caption: str) -> str:
    """Return what of "the CAPTION" must be said in any case."""
    return with_article(caption).removeprefix("the ")


def clause(subject: str, predicate: str) -> str:
    """Return "SUBJECT is riding", "SUBJECT has", "SUBJECT is on": a relationship without its object."""
    first = predicate.split()[0]
    acts = first in ("has", "have", "wears", "holds", "carries", "covers", "eats", "uses", "shows", "touches")
    acts = acts or (first.endswith("s") and not first.endswith("ss") and first not in ("is", "across", "as"))
    if first in ("is", "are"):
        return f"{subject} {predicate}"
    return f"{subject} {predicate}" if acts else f"{subject} is {predicate}"
