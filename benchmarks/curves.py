"""Draw the curves of training runs from their logs: python benchmarks/curves.py OUT.png RUN [RUN ...]."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt


def series(run):
    """Return {figure: ([step], [value])} of a run's log."""
    found = {}
    for line in (Path(run) / "log.jsonl").read_text().splitlines():
        row = json.loads(line)
        for name, value in row.items():
            if name not in ("step", "lr"):
                found.setdefault(name, ([], []))
                found[name][0].append(row["step"])
                found[name][1].append(value)
    return found


def main():
    out, *runs = sys.argv[1:]
    figure, axes = plt.subplots(len(runs), 2, figsize=(12, 3.6 * len(runs)), squeeze=False)
    for (left, right), run in zip(axes, runs, strict=True):
        curves = series(run)
        left.plot(*curves["loss"], color="black")
        left.set_title(f"{Path(run).name}: training loss")
        shown = [
            n for n in curves if n.startswith("val/giou_") or n in ("val/category_right", "val/object_iou")
        ]
        shown += [
            n
            for n in ("category_right", "all_right", "iou", "val/target_right", "val/no_target_right")
            if n in curves
        ]
        for name in shown:
            right.plot(*curves[name], marker="." if name.startswith("val/") else "", label=name)
        right.set_ylim(0, 1)
        right.legend(fontsize=7)
        right.set_title("shares right, and gIoU on unseen scenes")
        for axis in (left, right):
            axis.set_xlabel("step")
            axis.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(out, dpi=80)


if __name__ == "__main__":
    main()
