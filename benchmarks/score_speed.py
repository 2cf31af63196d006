"""How fast the scorer is: N items of 640 x 480 from files to all scores, beside a plain numpy loop in one run.

    python benchmarks/score_speed.py [--items 10000] [--out results/score_speed.json]

Both read the same two JSONL files. The numpy loop decodes every mask and counts pixels; it makes gIoU and cIoU
alone, without groups, intervals, matching or validation. The scorer runs as `askmask score --json` in a process of
its own, whose peak memory is taken. The scores of both must agree.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from pycocotools import mask as coco

HEIGHT, WIDTH = 480, 640
DISTINCT = 500  # masks drawn; items combine them
CONCEPTS = ("entities", "spatial", "relations", "affordances", "physics")


def draw(rng):
    """An object-like region: a few ellipses with a ragged edge."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    wobble = 1 + 0.08 * np.sin(rows / rng.uniform(2, 9)) * np.cos(columns / rng.uniform(2, 9))
    region = np.zeros((HEIGHT, WIDTH), bool)
    y, x = rng.uniform(80, 400), rng.uniform(80, 560)
    for _ in range(rng.integers(1, 5)):
        b, a = rng.uniform(15, 120), rng.uniform(15, 120)
        dy, dx = rng.normal(0, 30, 2)
        region |= ((rows - y - dy) / b) ** 2 + ((columns - x - dx) / a) ** 2 < wobble
    return region


def write_files(folder, items, seed=0):
    rng = np.random.default_rng(seed)
    codes = []
    for _ in range(DISTINCT):
        code = coco.encode(np.asfortranarray(draw(rng).astype(np.uint8)))
        codes.append({"size": [HEIGHT, WIDTH], "counts": code["counts"].decode()})
    with open(folder / "truth.jsonl", "w") as truth, open(folder / "predictions.jsonl", "w") as predictions:
        for number in range(items):
            a, b = rng.integers(DISTINCT, size=2)
            a = b if rng.random() < 0.3 else a
            row = {
                "id": f"i{number}",
                "size": [HEIGHT, WIDTH],
                "masks": [codes[b]],
                "concept": CONCEPTS[number % 5],
            }
            truth.write(json.dumps(row) + "\n")
            predictions.write(json.dumps({"id": f"i{number}", "masks": [codes[a]], "score": 0.5}) + "\n")
    return float(np.mean([len(code["counts"]) for code in codes]))


def numpy_loop(folder):
    """The usual evaluation loop: decode both masks, count, average."""

    def decode(row):
        (rle,) = row["masks"]
        return coco.decode({"size": rle["size"], "counts": rle["counts"].encode()}).astype(bool)

    with open(folder / "predictions.jsonl") as file:
        answers = {row["id"]: row for row in map(json.loads, file)}
    ious, inter, union = [], 0, 0
    with open(folder / "truth.jsonl") as file:
        for row in map(json.loads, file):
            a, b = decode(answers[row["id"]]), decode(row)
            i, u = int(np.logical_and(a, b).sum()), int(np.logical_or(a, b).sum())
            ious.append(i / u if u else 1.0)
            inter, union = inter + i, union + u
    return {"gIoU": float(np.mean(ious)), "cIoU": inter / union}


def scorer(folder, protocol):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    call = [sys.executable, "-m", "askmask", "score", "predictions.jsonl", "--gt", "truth.jsonl", "--json"]
    root = str(Path(__file__).parents[1])
    done = subprocess.run(
        ["/usr/bin/env", f"PYTHONPATH={root}", *call, "--protocol", protocol],
        cwd=folder, capture_output=True, check=True,
    )  # fmt: skip
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (
        json.loads(done.stdout),
        time.perf_counter() - start,
        usage.ru_utime + usage.ru_stime - before.ru_utime - before.ru_stime,
        usage.ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10),
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        characters = write_files(folder, options.items)
        results = {}
        for protocol in ("askmask", "segllm"):
            data, seconds, processor, memory = scorer(folder, protocol)
            results[protocol] = {
                "seconds": round(seconds, 2), "processor_seconds": round(processor, 2),
                "items_per_second": round(options.items / seconds), "peak_memory_mb": round(memory, 1),
                "gIoU": data["gIoU"], "cIoU": data["cIoU"],
            }  # fmt: skip
            print(protocol, results[protocol], flush=True)
        start, used = time.perf_counter(), time.process_time()
        plain = numpy_loop(folder)
        seconds, used = time.perf_counter() - start, time.process_time() - used
        results["numpy loop"] = {"seconds": round(seconds, 2), "processor_seconds": round(used, 2)} | plain
        print("numpy loop", results["numpy loop"])
    assert abs(plain["gIoU"] - results["askmask"]["gIoU"]) < 1e-12, "the two must agree"
    assert abs(plain["cIoU"] - results["askmask"]["cIoU"]) < 1e-12, "the two must agree"
    report = {
        "command": "python benchmarks/score_speed.py", "items": options.items, "size": [HEIGHT, WIDTH],
        "mean_counts_characters": round(characters), "results": results,
        "numpy_loop_over_askmask": round(seconds / results["askmask"]["seconds"], 2),
        "numpy_loop_over_askmask_processor": round(used / results["askmask"]["processor_seconds"], 2),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "load_average": [round(v, 2) for v in os.getloadavg()], "seed": 0,
    }  # fmt: skip
    print(json.dumps(report, indent=2))
    if options.out:
        from askmask.runs.whole_files import write_json

        write_json(options.out, report, indent=2)


if __name__ == "__main__":
    main()
