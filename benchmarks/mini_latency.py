"""Time `mini` on one core: the first prompt on a picture, and further ones, for masks alone and with words.

    python benchmarks/mini_latency.py [--model mini] [--against FOLDER] [--size 192] [--repeat 30]
        [--out results/mini/latency.json]

With `--against`, for example the folder that `askmask onnx mini FOLDER` writes, both are timed in turns, and the ratio
of their medians is given.
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

WORDS = {"masks": False, "masks_and_words": True}
PROMPTS = "first_prompt_ms", "further_prompt_ms"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="mini")
    parser.add_argument("--against", help="another model, timed in turns with it")
    parser.add_argument("--picture", help="default: a noise picture")
    parser.add_argument("--size", type=int, default=192)
    parser.add_argument("--repeat", type=int, default=30)
    parser.add_argument("--out", default="results/mini/latency.json")
    options = parser.parse_args()
    torch.set_num_threads(1)
    names = [options.model, *([options.against] if options.against else [])]
    models = [askmask.load(name, device="cpu") for name in names]
    noise = np.random.default_rng(0).integers(0, 255, (options.size, options.size, 3), dtype=np.uint8)
    asked = options.picture or noise
    times = [{words: ([], []) for words in WORDS.values()} for _ in models]
    for _ in range(options.repeat):
        for words in WORDS.values():
            for model, spent in zip(models, times, strict=True):
                for of, seconds in zip(spent[words], once(model, asked, words), strict=True):
                    of.append(seconds)
    found = {
        "model": models[0].name,
        "size_hw": list(models[0].open(asked).picture.size),
        "threads": 1,
        "machine": platform.processor() or platform.machine(),
        "load_average": [round(load, 1) for load in os.getloadavg()],
    } | told(times[0])
    if options.against:
        ratios = {
            name: {
                which: round(statistics.median(theirs) / statistics.median(ours), 3)
                for which, ours, theirs in zip(PROMPTS, *(spent[words] for spent in times), strict=True)
            }
            for name, words in WORDS.items()
        }
        found["against"] = {"model": options.against, **told(times[1]), "against / model": ratios}
    from askmask.runs.whole_files import write_json

    write_json(options.out, found)
    print(json.dumps(found, indent=1))


def once(model, picture, words):
    """Return the seconds of a first and a further prompt on a picture."""
    began = time.perf_counter()
    session = model.open(picture)
    session.ask("the red mug left of the tallest bottle", words=words)
    first = time.perf_counter()
    session.ask("what could I take away without anything falling?", words=words)
    return first - began, time.perf_counter() - first


def told(times):
    """Return best, median and worst in ms."""
    return {
        name: {
            which: {k: round(1000 * v, 1) for k, v in summary(spent).items()}
            for which, spent in zip(PROMPTS, times[words], strict=True)
        }
        for name, words in WORDS.items()
    }


def summary(times):
    return {"best": min(times), "median": statistics.median(times), "worst": max(times)}


if __name__ == "__main__":
    main()
