"""Time `mini` on one core: the first prompt on a picture, and further ones, for masks alone and with words.

python benchmarks/mini_latency.py [--model mini] [--size 192] [--repeat 30] [--out results/mini/latency.json]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time

import numpy as np
import torch

import askmask


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="mini")
    parser.add_argument("--picture", help="default: a noise picture, in which mini finds few regions")
    parser.add_argument("--size", type=int, default=192)
    parser.add_argument("--repeat", type=int, default=30)
    parser.add_argument("--out", default="results/mini/latency.json")
    options = parser.parse_args()
    torch.set_num_threads(1)
    model = askmask.load(options.model, device="cpu")
    noise = np.random.default_rng(0).integers(0, 255, (options.size, options.size, 3), dtype=np.uint8)
    asked = options.picture or noise
    times = {words: ([], []) for words in (False, True)}
    for _ in range(options.repeat):
        for words, (first, further) in times.items():
            began = time.perf_counter()
            session = model.open(asked)
            session.ask("the red mug left of the tallest bottle", words=words)
            first.append(time.perf_counter() - began)
            began = time.perf_counter()
            session.ask("what could I take away without anything falling?", words=words)
            further.append(time.perf_counter() - began)
    found = {
        "model": model.name,
        "size_hw": list(session.picture.size),
        "threads": 1,
        "machine": platform.processor() or platform.machine(),
        "load_average": [round(load, 1) for load in os.getloadavg()],
    } | {
        name: {
            which: {k: round(1000 * v, 1) for k, v in summary(spent).items()}
            for which, spent in zip(("first_prompt_ms", "further_prompt_ms"), times[words], strict=True)
        }
        for name, words in (("masks", False), ("masks_and_words", True))
    }
    from askmask.runs.whole_files import write_json

    write_json(options.out, found)
    print(json.dumps(found, indent=1))


def summary(times):
    return {"best": min(times), "median": statistics.median(times), "worst": max(times)}


if __name__ == "__main__":
    main()
