"""The builder's rules that no model is trusted with: what breaks one is dropped under the rule's name."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

from askmask.engine.dialogues.values import Dialogue, Element, TreePath
from askmask.engine.words import content_words, normal_words, same_request

LEAST_GRADE = 2
_TASK = re.compile(r"\b(mask(s|ed)?|element \d+|number \d+|numbered|the list|focus)\b|#\d", re.IGNORECASE)


def broken_path(path: TreePath, elements: Collection[int], kept: Iterable[TreePath]) -> str | None:
    """Return the rule that a path breaks, None if it keeps them all."""
    if path.grade < LEAST_GRADE:
        return "graded_too_low"
    if path.focus not in elements:
        return "unknown_element"
    if any(path.focus == other.focus for other in kept):
        return "same_focus"
    if any(same_request(path.question, other.question) for other in kept):
        return "same_question"
    return None


def broken_dialogue(
    talk: Dialogue, focus: int, elements: dict[int, Element], kept: Iterable[Dialogue]
) -> str | None:
    """Return the rule that a dialogue breaks, None if it keeps them all; `focus` is what its path leads to."""
    pointed = {n for turn in talk.turns for n in turn.points_at}
    if not {talk.focus, *pointed} <= elements.keys():
        return "unknown_element"
    if talk.focus != focus:
        return "another_focus"
    if not 1 <= len(talk.turns) <= 6:
        return "too_long"
    if any(bool(turn.points_at) != (turn.kind in ("point", "correct")) for turn in talk.turns):
        return "points_unlike_its_kind"
    if sum(turn.kind == "nothing" for turn in talk.turns) > 1:
        return "nothing_twice"
    if talk.turns[0].kind == "correct":
        return "corrects_nothing"
    said = [talk.request, *(text for turn in talk.turns for text in (turn.person, turn.assistant))]
    if any(_TASK.search(text) for text in said):
        return "speaks_of_the_task"
    if names(talk.request, elements[focus].name):
        return "request_names_focus"
    if any(_alike(talk, other) for other in kept):
        return "near_duplicate"
    return None


def names(text: str, name: str) -> bool:
    """Whether a text uses any word of a name."""
    return bool(content_words(text) & content_words(name))


def leaked(talk: Dialogue, name: str) -> tuple[bool, bool]:
    """Whether every word of the focus's name was said before it is asked for: by the person; by anyone."""
    wanted = content_words(name)
    person = _words(turn.person for turn in talk.turns) | _words([talk.request])
    return wanted <= person, wanted <= person | _words(turn.assistant for turn in talk.turns)


def most_leaked(clean: int, share: float) -> int:
    """Return how many leaked dialogues may stand beside `clean` ones so that they are at most `share` of all."""
    return int(share * clean / (1 - share) + 1e-9)


def _words(texts: Iterable[str]) -> frozenset[str]:
    return frozenset().union(*(content_words(f". {text}") for text in texts))


def _alike(one: Dialogue, other: Dialogue) -> bool:
    """Whether two dialogues say nearly the same: four of five of all their persons' words."""
    a, b = (set(normal_words(" ".join(turn.person for turn in talk.turns))) for talk in (one, other))
    return bool(a | b) and len(a & b) / len(a | b) >= 0.8
