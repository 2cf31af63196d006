"""Leakage: had somebody named what is looked for before it was shown?"""

from __future__ import annotations

from collections.abc import Sequence

from askmask.world.facts import Facts
from askmask.world.phrases import NOUNS


def leakage(dialogue: Sequence[Facts], things: dict[int, Facts]) -> dict[str, bool]:
    """Say who has already named a target of the last masks when they are asked for, in the final request or before.

    The user by a name of its kind; the assistant, in an earlier reply, by its colour and noun.
    """
    last = max(
        (k for k, r in enumerate(dialogue) if r["answer"] and r["answer"].get("objects")), default=None
    )
    if last is None:
        return {"user": False, "assistant": False}
    targets = [things[n] for n in dialogue[last]["answer"]["objects"]]
    asked = [f" {_plain(r['prompt'])} " for r in dialogue[: last + 1]]
    told = [f" {_plain(r['reply'])} " for r in dialogue[:last]]
    names = {name for t in targets for pair in NOUNS[t["category"]] for name in pair}
    phrases = {f"{t['colour']} {name}" for t in targets for name in NOUNS[t["category"]][0]}
    return {
        "user": any(f" {name} " in text for name in names for text in asked),
        "assistant": any(f" {phrase} " in text for phrase in phrases for text in told),
    }


def _plain(text: str) -> str:
    return "".join(c if c.isalnum() else " " for c in text.lower())
