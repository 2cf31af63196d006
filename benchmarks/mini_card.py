"""Write mini's scores where people read them: README.md, results/mini/README.md and the card inside the package.

    python benchmarks/mini_card.py            after mini_on_world.py and mini_latency.py
    python benchmarks/mini_card.py --check    fail if a page says something else than results/mini/*.json

Only what stands between <!-- scores --> and <!-- /scores --> changes. A test runs the check.
"""

from __future__ import annotations

import argparse
import json
import textwrap
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "results" / "mini"
OPEN, CLOSE = "<!-- scores -->", "<!-- /scores -->"
GOALS = {  # (floor, aim) of gIoU
    "entities": (".70", ".85"),
    "spatial": (".58", ".75"),
    "relations": (".58", ".75"),
    "affordances": (".65", ".80"),
    "physics": (".60", ".75"),
}
WIDTH = 115


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="change nothing; fail if something would")
    options = parser.parse_args()
    stale = [path for path, text in pages() if path.read_text(encoding="utf-8") != text]
    if options.check and stale:
        raise SystemExit(f"scores of another day in {', '.join(str(p.relative_to(ROOT)) for p in stale)}")
    for path, text in pages():
        path.write_text(text, encoding="utf-8")
    print(f"{len(stale)} of 3 pages {'are stale' if options.check else 'changed'}")


def pages() -> list[tuple[Path, str]]:
    """Return each page's path and the text it should have."""
    found = json.loads((RESULTS / "tabletop-1.json").read_text(encoding="utf-8"))
    latency = json.loads((RESULTS / "latency.json").read_text(encoding="utf-8"))
    blocks = {
        ROOT / "README.md": readme(found),
        RESULTS / "README.md": results(found, latency),
        ROOT / "askmask" / "weights" / "mini" / "card.md": card(found),
    }
    return [(path, filled(path, block)) for path, block in blocks.items()]


def filled(path: Path, block: str) -> str:
    text = path.read_text(encoding="utf-8")
    before, rest = text.split(OPEN, 1)
    after = rest.split(CLOSE, 1)[1]
    return f"{before}{OPEN}\n{block.strip()}\n{CLOSE}{after}"


def readme(found: dict) -> str:
    scores = {name: short(pair["model"]["mean"]) for name, pair in found["giou"].items()}
    text = (
        "*Answers of the bundled network `mini`. On unseen simulated scenes and unseen phrasings its gIoU is "
        f"{scores['entities']} on entities, {scores['spatial']} on places, {scores['relations']} on relations, "
        f'{scores["affordances"]} on affordances, {scores["physics"]} on physics, and it says "nothing" for '
        f"{short(found['no-target accuracy']['mean'])} of the prompts that nothing answers "
        "([results](results/mini/README.md)). It knows simulated tables only; for photographs, use the published "
        "network.*"
    )
    return wrapped(text)


def results(found: dict, latency: dict) -> str:
    rows = [
        '| | prompts | mini | "all objects", perfect masks | floor | aim |',
        "|---|---|---|---|---|---|",
    ]
    for name, pair in found["giou"].items():
        floor, aim = GOALS.get(name, ("", ""))
        cells = (
            name,
            pair["model"]["prompts"],
            said(pair["model"]),
            short(pair["all objects"]["mean"]),
            floor,
            aim,
        )
        rows.append("| " + " | ".join(map(str, cells)) + " |")
    clear, level, below = shortcuts(found)
    hard = found["hard physics"]
    told = [
        f'"Found" for {said(found["target accuracy"])} of prompts with a target (floor .90), "nothing" for '
        f"{said(found['no-target accuracy'])} of those without (floor .80). One core, 192 px: first prompt "
        f"{milliseconds(latency['masks']['first_prompt_ms'])}, further prompts "
        f"{milliseconds(latency['masks']['further_prompt_ms'])} for masks alone, "
        f"{milliseconds(latency['masks_and_words']['first_prompt_ms'])} and "
        f"{milliseconds(latency['masks_and_words']['further_prompt_ms'])} with words (median; `latency.json`).",
        f"**Against shortcuts.** On the {hard['iou']['prompts']} hard prompts of physics mini scores "
        f"{said(hard['iou'])}; the better of each prompt's own shortcuts, drawn with perfect masks, "
        f"{said(hard['best_shortcut'])}; the difference, paired over scenes, is {said(hard['above_shortcut'])}. "
        "Shortcut by shortcut, each on the hard prompts of every concept that have it (how many in brackets), by the "
        f"paired difference: clear above {listed(clear)}; not told apart from {listed(level)}; "
        f"below {listed(below)}.",
    ]
    return "\n".join(rows) + "\n\n" + "\n\n".join(wrapped(text) for text in told)


def milliseconds(times: dict) -> str:
    return f"{times['median']:.0f} ms"


def card(found: dict) -> str:
    rows = ['| | mini | "all objects" baseline with perfect masks |', "|---|---|---|"]
    rows += [
        f"| {name} | {said(pair['model'])} | {short(pair['all objects']['mean'])} |"
        for name, pair in found["giou"].items()
    ]
    text = (
        f'Says "found" for {said(found["target accuracy"])} of prompts with a target, "nothing" for '
        f"{said(found['no-target accuracy'])} of those without."
    )
    return "\n".join(rows) + "\n\n" + wrapped(text)


def shortcuts(found: dict) -> tuple[list[str], list[str], list[str]]:
    """Return which shortcuts the model is clear above, cannot be told apart from, and is clear below."""
    clear, level, below = [], [], []
    for name, pair in found["shortcuts"].items():
        if not pair["hard"]:
            continue
        apart = pair["hard"]["difference"]
        chosen = clear if apart["low"] > 0 else below if apart["high"] < 0 else level
        chosen.append(f"{name} ({apart['prompts']})")
    return clear, level, below


def listed(names: list[str]) -> str:
    return ", ".join(names) or "none"


def said(value: dict) -> str:
    return f"{short(value['mean'])} ({short(value['low'])}-{short(value['high'])})"


def short(value: float) -> str:
    return f"{value:.3f}".replace("0.", ".", 1)


def wrapped(text: str) -> str:
    return textwrap.fill(text, WIDTH, break_long_words=False, break_on_hyphens=False)


if __name__ == "__main__":
    main()
