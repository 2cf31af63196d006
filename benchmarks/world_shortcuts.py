"""How far shortcuts get: the gIoU of guesses that look at no physics, over stored dense truth.

    askmask world make --fixed tabletop-1 --dense --out data/tabletop-1
    python benchmarks/world_shortcuts.py data/tabletop-1 --out results/world_shortcuts.json

For each kind of prompt that has a shortcut (say, "what has nothing on top" for "what can be taken away"): its
mean IoU over all prompts with a target and over the hard ones, where it is wrong by construction; besides, the
guess "every thing". What knows only the shortcut cannot beat it; what knows physics does, on the hard ones.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path

import numpy as np
from mini_on_world import ious, truth_of

from askmask.formats import dense
from askmask.runs.whole_files import write_json


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    scores: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for path in dense.shards(options.folder):
        shard = dense.read_shard(path)
        for row in range(len(shard.view)):
            _, seen = shard.facts(row)
            for prompt in seen["prompts"]:
                if not prompt["shortcuts"] or prompt["negative"]:
                    continue
                guesses = {**prompt["shortcuts"], "every thing": prompt["candidates"]}
                counts[prompt["kind"]][bool(prompt["hard"])] += 1
                objects = shard.objects[row]
                truth = truth_of(prompt | {"answer": {"objects": prompt["satisfying"]}}, objects, objects)
                values_of = ious(truth, [np.isin(objects, guess) for guess in guesses.values()])
                for name, value in zip(guesses, values_of, strict=True):
                    for subset in ("all", "hard") if prompt["hard"] else ("all",):
                        scores[prompt["kind"], name, subset].append(value)
                        scores[prompt["concept"], name if name == "every thing" else "own", subset].append(
                            value
                        )
    report: dict[str, dict] = {}
    for (kind, name, subset), values in sorted(scores.items()):
        entry = report.setdefault(kind, {}).setdefault(name, {})
        entry[subset] = {"giou": round(float(np.mean(values)), 3), "prompts": len(values)}
    for kind, (easy, hard) in sorted(counts.items()):
        print(f"{kind:15s} {easy + hard:4d} prompts, {hard / (easy + hard):4.0%} hard  ", end="")
        told = (
            f"{n} {s['all']['giou']:.2f}/{s.get('hard', {}).get('giou', 1):.2f}"
            for n, s in report[kind].items()
        )
        print("; ".join(told))
    if options.out:
        write_json(options.out, report)


if __name__ == "__main__":
    main()
