"""Count what the world's conversations and dialogues hold: rounds, references, hard ones, leakage, truth of replies.

    python benchmarks/world_conversations.py CONVERSATION_1 DIALOGUE_1 [--train SHARDS]

The first two are folders of dense truth (`askmask world make --fixed conversation-1 --dense --out DIR`); SHARDS is
one of training scenes: its facts are asked anew, and the time that takes is measured (processor time).
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from askmask.formats import dense
from askmask.runs.json_text import read_rows
from askmask.runs.whole_files import write_json, write_text
from askmask.world.ground import Ground
from askmask.world.prompts import queries
from askmask.world.talks import assistant, intents, memory
from askmask.world.talks.claims import claims, precision
from askmask.world.talks.leakage import leakage

Talk = list[dict[str, Any]]
A_VIEW = 4


def stored(folder: Path) -> Iterator[tuple[Ground, Talk]]:
    """Yield each dialogue of a folder with the facts of its picture."""
    for scene in scenes(folder):
        for view in scene["views"]:
            ground = Ground(scene["objects"], view, view["size"])
            for talk in view["dialogues"]:
                yield ground, talk


def scenes(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield the facts of a folder's scenes; pixels are left where they are."""
    for path in dense.shards(folder):
        for _, scene in read_rows(path.with_suffix(".jsonl")):
            yield scene


def asked_anew(folder: Path, most: int = 120) -> tuple[list[tuple[Ground, Talk]], dict[str, float]]:
    """Ask about training scenes anew; return the dialogues and milliseconds of processor time each."""
    found: list[tuple[Ground, Talk]] = []
    spent = {"conversation": 0.0, "dialogue": 0.0}
    counts: Counter[str] = Counter()
    for scene, _ in zip(scenes(folder), range(most), strict=False):
        for number, view in enumerate(scene["views"]):
            ground = Ground(scene["objects"], view, view["size"])
            asks = queries(ground, np.random.default_rng([3, scene["seed"], number]))
            rng = np.random.default_rng([6, scene["seed"], number])
            begun = time.process_time()
            talks = memory.conversations_for(
                ground, asks, lambda n: np.ones((8, 8), bool), rng, held=False, count=A_VIEW
            )
            spent["conversation"] += time.process_time() - begun
            rng = np.random.default_rng([7, scene["seed"], number])
            begun = time.process_time()
            more = intents.dialogues_for(ground, rng, held=False, count=A_VIEW)
            spent["dialogue"] += time.process_time() - begun
            counts.update({"conversation": len(talks), "dialogue": len(more)})
            found += [(ground, talk) for talk in (*talks, *more)]
    return found, {name: 1000 * spent[name] / counts[name] for name in spent}


def statistics(found: Iterable[tuple[Ground, Talk]]) -> dict[str, Any]:
    """Count one set of conversations or dialogues."""
    pairs = list(found)
    rounds = [prompt for _, talk in pairs for prompt in talk]
    references = [prompt["reference"] for prompt in rounds if "reference" in prompt]
    leaks: Counter[str] = Counter()
    true = decided = 0
    for ground, talk in pairs:
        leaks.update(who for who, leaked in leakage(talk, ground.things).items() if leaked)
        about: list[int] = []
        fits: list[int] = []
        for prompt in talk:
            answer = None if prompt["answer"] is None else prompt["satisfying"]
            right, known = precision(claims(prompt["reply"], ground, about=about, among=fits, answer=answer))
            true, decided = true + right, decided + known
            about = list(answer or about)
            fits = prompt["facts"].get("fits") or fits
    replies = {word.strip(".,:?") for prompt in rounds for word in prompt["reply"].lower().split()}
    several = [prompt for prompt in rounds if prompt["answer"] is not None and len(prompt["spans"]) > 1]
    return {
        "dialogues": len(pairs),
        "rounds": len(rounds),
        "lengths": dict(sorted(Counter(len(talk) for _, talk in pairs).items())),
        "later": sum(len(talk) - 1 for _, talk in pairs),
        "references": len(references),
        "hard": share(references, "hard"),
        "not_latest": 1 - share(references, "latest"),
        "several_references": share(references, "several"),
        "how": dict(Counter(reference["how"] for reference in references).most_common()),
        "kinds": dict(Counter(prompt["kind"] for prompt in rounds if "reference" in prompt).most_common()),
        "acts": dict(Counter(p["facts"]["act"] for p in rounds if "act" in p["facts"]).most_common()),
        "goals": dict(Counter(p["facts"]["goal"] for p in rounds if "goal" in p["facts"]).most_common()),
        "words_alone": sum(prompt["answer"] is None for prompt in rounds) / len(rounds),
        "nothing": sum(prompt["answer"] is not None and not prompt["spans"] for prompt in rounds)
        / len(rounds),
        "several_segments": len(several) / len(rounds),
        "distinct_prompts": len({prompt["prompt"] for prompt in rounds}),
        "words_of_replies": len(replies),
        "leakage": {who: leaks[who] / len(pairs) for who in ("user", "assistant")},
        "claims": {"true": true, "decided": decided},
    }


def share(references: list[Mapping[str, Any]], name: str) -> float:
    """Share of references of which something is so."""
    return sum(reference[name] for reference in references) / max(len(references), 1)


def page(found: Mapping[str, Mapping[str, Any]], speed: Mapping[str, float]) -> str:
    """Set the counts as Markdown."""
    names = list(found)

    def row(title: str, of: str, form: str = "{}") -> str:
        return f"| {title} | " + " | ".join(form.format(found[name][of]) for name in names) + " |"

    lines = [
        "# Conversations and dialogues of the simulated world",
        "",
        "Made by `benchmarks/world_conversations.py`; training columns: the first scenes of training, asked anew.",
        "",
        "| | " + " | ".join(names) + " |",
        "|---|" + "---|" * len(names),
        row("dialogues", "dialogues"),
        row("rounds", "rounds"),
        row("rounds that refer back", "references"),
        row("of these hard (three of a kind, the words do not say which)", "hard", "{:.1%}"),
        row("of these not to the latest answer alone", "not_latest", "{:.1%}"),
        row("of these to several rounds", "several_references", "{:.1%}"),
        row("answered in words alone", "words_alone", "{:.1%}"),
        row("answered: nothing", "nothing", "{:.1%}"),
        row("answered with several segments", "several_segments", "{:.1%}"),
        row("distinct prompts", "distinct_prompts"),
        row("distinct words in replies", "words_of_replies"),
    ]
    for who in ("user", "assistant"):
        cells = [f"{found[name]['leakage'][who]:.1%}" for name in names]
        lines.append(f"| the {who} has named the final target | " + " | ".join(cells) + " |")
    cells = [f"{found[name]['claims']['true']} / {found[name]['claims']['decided']}" for name in names]
    lines.append("| true claims of the replies, of those the facts decide | " + " | ".join(cells) + " |")
    for title, of in (
        ("Rounds of a dialogue", "lengths"),
        ("How a round refers back", "how"),
        ("Kinds of rounds that refer back", "kinds"),
        ("What the user does", "acts"),
        ("What the user is after", "goals"),
    ):
        keys = list(dict.fromkeys(key for name in names for key in found[name][of]))
        lines += ["", f"## {title}", "", "| | " + " | ".join(names) + " |", "|---|" + "---|" * len(names)]
        for key in sorted(keys) if of == "lengths" else keys:
            lines.append(
                f"| {key} | " + " | ".join(str(found[name][of].get(key, 0)) for name in names) + " |"
            )
    told = ", ".join(f"{value:.2f} ms a {name}" for name, value in speed.items())
    lines += ["", f"Written anew from stored facts in {told} of processor time." if told else "", ""]
    return "\n".join(lines)


def main() -> None:
    """Count, and write the page beside its numbers."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("conversation", type=Path)
    parser.add_argument("dialogue", type=Path)
    parser.add_argument("--train", type=Path)
    parser.add_argument("--out", type=Path, default=Path("results/world_conversations"))
    given = parser.parse_args()
    found = {
        "conversation-1": statistics(stored(given.conversation)),
        "dialogue-1": statistics(stored(given.dialogue)),
    }
    speed: dict[str, float] = {}
    if given.train:
        talks, speed = asked_anew(given.train)
        for name in (memory.NAME, assistant.NAME):
            found[f"{name}, training"] = statistics((g, talk) for g, talk in talks if talk[0]["set"] == name)
    write_json(given.out.with_suffix(".json"), {"sets": found, "milliseconds": speed})
    write_text(given.out.with_suffix(".md"), page(found, speed))
    print(page(found, speed))


if __name__ == "__main__":
    main()
