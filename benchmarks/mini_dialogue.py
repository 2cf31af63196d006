"""Score a model on dialogues about an intent, by what each turn has seen: its own answers, true ones, the last, none.

The control without memory beside them: what was said is rewritten into the prompt, which is asked alone.

    askmask world make --fixed dialogue-1 --size 192 --out data/dialogue-1
    python benchmarks/mini_dialogue.py data/dialogue-1 [--model mini] [--runs runs/dialogue-1] [--out FILE]

Runs `askmask eval` once for each policy (a run that is there goes on, or is read), and `askmask world claims` for the
first. Turns that are answered in words alone have no masks and count in the words and the claims only.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
from pathlib import Path

import torch

from askmask.runs.whole_files import write_json, write_text

# Name -> what a turn has of those before it, and how that is written into its own words, if it is.
POLICIES = {
    "own answers": ("pred", ""),
    "true answers": ("gt", ""),
    "own, the last only": ("last", ""),
    "none": ("none", ""),
    "own, rewritten as a transcript": ("pred", "transcript"),
    "own, rewritten with captions": ("pred", "caption"),
}


def command(*words: str) -> dict:
    """Run askmask and return the JSON it prints."""
    code = "from askmask.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code, *words], stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)


def score(scores: dict, turn: str | None = None, name: str = "gIoU") -> str:
    """Return a score with its interval."""
    found = scores if turn is None else scores["groups"]["turn"][turn]
    low, high = found["intervals"][name]
    return f"{found[name]:.3f} ({low:.3f}-{high:.3f})"


def main() -> None:
    """Run and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data")
    parser.add_argument("--model", default="mini")
    parser.add_argument("--runs", type=Path, default=Path("runs/dialogue-1"))
    parser.add_argument("--out", type=Path, default=Path("results/mini/dialogue-1"))
    given = parser.parse_args()
    found = {
        name: command(
            *("eval", given.model, given.data, "--reference", policy, "--score-by", "prist"),
            *(("--rewrite", rewrite) if rewrite else ()),
            *("--out", str(given.runs / (rewrite or policy)), "--json"),
        )
        for name, (policy, rewrite) in POLICIES.items()
    }
    claims = command("world", "claims", str(given.runs / "pred"), "--gt", given.data, "--json")
    lines = [
        f"# {given.model} on {Path(given.data).name}",
        "",
        f"{found['own answers']['n']} turns with masks, protocol prist, intervals over dialogues, "
        f"{platform.machine()}, torch {torch.__version__}.",
        "",
        "| a turn has seen | gIoU | of final turns | of these with a target | nothing, known "
        "| BLEU-4 | ROUGE-L | METEOR | Dist-1 | Dist-2 |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, scores in found.items():
        cells = [
            score(scores),
            score(scores, "final"),
            score(scores, "final", "gIoU_target"),
            score(scores, name="N_acc"),
        ]
        cells += [
            f"{scores['words'][key]:.3f}" for key in ("BLEU-4", "ROUGE-L", "METEOR", "Dist-1", "Dist-2")
        ]
        lines.append(f"| {' | '.join([name, *cells])} |")
    low, high = claims["interval"]
    lines += [
        "",
        f"Claims of the replies after own answers, held against the facts: {claims['precision']:.3f} "
        f"({low:.3f}-{high:.3f}) true of {claims['claims']} in {claims['replies']} replies; "
        f"{claims['undecided']} more that the facts do not decide.",
        "",
        "| claim | true | of |",
        "|---|---|---|",
    ]
    by_kind = sorted(claims["by_kind"].items(), key=lambda item: -item[1][1])
    lines += [f"| {kind} | {true} | {of} |" for kind, (true, of) in by_kind]
    left_out = ("groups", "rounds", "missing_ids", "unknown_ids")
    kept = {
        name: {k: v for k, v in scores.items() if k not in left_out} | {"turn": scores["groups"]["turn"]}
        for name, scores in found.items()
    }
    write_json(given.out.with_suffix(".json"), {"policies": kept, "claims": claims})
    write_text(given.out.with_suffix(".md"), "\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
