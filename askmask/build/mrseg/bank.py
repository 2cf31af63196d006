"""The banks of templates: bank.json, ours, disjoint for training and validation (tests/build/test_bank.py).

A bank of a kind holds that kind's sentences, and each of its phrases in each frame, "Show me {it}." A reply is
"plain", or "named" where it says what was found.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from random import Random

KINDS = (
    "direct",
    "positional",
    "hierarchical",
    "interactional",
    "attribute",
    "semantic",
    "hard",
    "next",
)


@dataclass(frozen=True)
class Bank:
    """Templates of one split by kind, and its replies."""

    templates: dict[str, tuple[str, ...]]
    plain: tuple[str, ...]
    named: tuple[str, ...]

    def say(self, kind: str, draw: Random, **values: str) -> str:
        """Return a random template of a kind, filled."""
        return filled(self.templates[kind][draw.randrange(len(self.templates[kind]))], values)

    def reply(self, draw: Random, target: str = "", *, named: bool = False) -> str:
        """Return a random reply; half of them name the target if there is one, or all."""
        choices = self.named if named or (target and draw.random() < 0.5) else self.plain
        return filled(choices[draw.randrange(len(choices))], {"target": target})


def filled(template: str, values: dict[str, str]) -> str:
    """Fill a template; its first letter becomes a capital."""
    text = template.format(**values)
    return text[:1].upper() + text[1:]


@cache
def bank_of(split: str) -> Bank:
    """Return the bank of a split: of "train", or for every other split that of "val"."""
    name = "train" if split == "train" else "val"
    data = json.loads(source_text())
    frames = data["frames"][name]
    return Bank(
        templates={
            kind: tuple(
                dict.fromkeys(
                    [
                        *parts[name]["sentences"],
                        *(
                            frame.replace("{it}", phrase)
                            for phrase in parts[name]["phrases"]
                            for frame in frames
                        ),
                    ]
                )
            )
            for kind, parts in data["kinds"].items()
        },
        plain=tuple(data["replies"][name]["plain"]),
        named=tuple(data["replies"][name]["named"]),
    )


def source_text() -> str:
    """Return bank.json as it stands; its hash is among what decides a build."""
    return (files("askmask.build.mrseg") / "bank.json").read_text(encoding="utf-8")
