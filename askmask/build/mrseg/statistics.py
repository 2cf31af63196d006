"""What was built, in numbers: the paper's Table A1, and how far the rules' shares were met."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from askmask.build.mrseg.talk import CAPTION, INSTANCE, ROUND, Talk


@dataclass
class Tally:
    """Counts over the conversations of one file."""

    conversations: int = 0
    images: int = 0
    rounds: Counter[int] = field(default_factory=Counter)  # rounds -> conversations
    kinds: Counter[str] = field(default_factory=Counter)
    relations: Counter[str] = field(default_factory=Counter)
    said_by: Counter[str] = field(default_factory=Counter)
    alike: Counter[int] = field(
        default_factory=Counter
    )  # of hard rounds: how many of the class the picture shows
    free: int = 0  # later rounds that could have been relational
    direct: int = 0  # of those, asked directly all the same
    words: int = 0
    last: str = ""  # the picture counted last

    def add(self, talk: Talk) -> None:
        """Count one conversation; those of one picture come together."""
        self.conversations += 1
        self.images += talk.scene.id != self.last
        self.last = talk.scene.id
        self.rounds[len(talk.steps)] += 1
        for step in talk.steps:
            self.kinds[step.kind] += 1
            self.words += len(step.text.split())
            if step.relation and step.kind != "interactional":
                self.relations[step.relation] += 1
            if step.said_by:
                self.said_by[step.said_by] += 1
            if step.given is not None:
                self.alike[step.alike] += 1
            self.free += step.free
            self.direct += step.free and step.refers_to is None

    def to_dict(self) -> dict[str, Any]:
        """Return a form ready for JSON, in an order that does not depend on that of the conversations."""
        return {
            "conversations": self.conversations,
            "images": self.images,
            "max_rounds": max(self.rounds, default=0),
            "rounds": {str(key): self.rounds[key] for key in sorted(self.rounds)},
            "kinds": dict(sorted(self.kinds.items())),
            "relations": dict(sorted(self.relations.items())),
            "said_by": dict(sorted(self.said_by.items())),
            "alike": {str(key): self.alike[key] for key in sorted(self.alike)},
            "free": self.free,
            "direct": self.direct,
            "words": self.words,
        }


def merged(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Join the statistics of all parts; says which pictures training and validation share."""
    train = {name for part in parts if part["split"] == "train" for name in part["pictures"]}
    other = {name for part in parts if part["split"] != "train" for name in part["pictures"]}
    rows = [
        {"source": f"{part['name']} ({group})" if group else part["name"], "split": part["split"]} | tally
        for part in parts
        for group, tally in part["tallies"].items()
    ]
    left_out: Counter[str] = Counter()
    for part in parts:
        left_out.update(part["left_out"])
    return {
        "rows": rows,
        "conversations": sum(row["conversations"] for row in rows),
        "pictures_in_train_and_other_splits": len(train & other),
        "left_out": dict(sorted(left_out.items())),
    }


def markdown(statistics: Mapping[str, Any]) -> str:
    """Return the tables as Markdown."""
    rows = statistics["rows"]
    text = ["| source | split | conversations | images | max rounds |", "|---|---|---|---|---|"]
    text += [
        f"| {row['source']} | {row['split']} | {row['conversations']} | {row['images']} | {row['max_rounds']} |"
        for row in rows
    ]
    text += [f"| sum | | {statistics['conversations']} | | |", ""]
    lengths = sorted({int(key) for row in rows for key in row["rounds"]})
    text.append("| rounds | " + " | ".join(map(str, lengths)) + " |")
    text.append("|---" * (len(lengths) + 1) + "|")
    counts = [sum(row["rounds"].get(str(n), 0) for row in rows) for n in lengths]
    text += ["| conversations | " + " | ".join(map(str, counts)) + " |", ""]
    text += ["| what | share | of | rule |", "|---|---|---|---|"]
    free = sum(row["free"] for row in rows)
    direct = sum(row["direct"] for row in rows)
    text.append(f"| direct, where a reference was possible | {_share(direct, free)} | {free} | 1/3 |")
    said: Counter[str] = Counter()
    for row in rows:
        said.update(row["said_by"])
    for how, rule in ((CAPTION, "1/2"), (INSTANCE, "1/4"), (ROUND, "1/4")):
        text.append(f"| references by {how} | {_share(said[how], said.total())} | {said.total()} | {rule} |")
    text.append("")
    for title, name in (
        ("round of kind", "kinds"),
        ("relation", "relations"),
        ("given masks among", "alike"),
    ):
        found: Counter[str] = Counter()
        for row in rows:
            found.update(row[name])
        if found:
            text += [f"| {title} | rounds |", "|---|---|"]
            text += [f"| {key} | {count} |" for key, count in sorted(found.items())] + [""]
    shared = statistics["pictures_in_train_and_other_splits"]
    text.append(f"Pictures both in train and in another split: {shared}.")
    if statistics["left_out"]:
        text += ["", "| left out | times |", "|---|---|"]
        text += [f"| {kind} | {count} |" for kind, count in statistics["left_out"].items()]
    return "\n".join(text) + "\n"


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.3f}" if whole else "-"
