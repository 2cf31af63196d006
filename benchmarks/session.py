"""What encoding once is worth: N prompts on one picture together, against N single asks, in one run.

    python benchmarks/session.py [--model NAME] [--picture PICTURE] [--threads 1] [--out results/session.json]
    python benchmarks/session.py --before CHECKOUT [--out results/session_before.json]

`--before` asks the same of another checkout of askmask, in turn with this one, and prints the ratio of each pair of
runs. Without --model the miniature network is used. Also measured: import time and peak memory, each in a process of
its own. What is stored names the whole command, and the model and picture that it took. Single asks open the picture
each time, as a tool without sessions does.
"""

import argparse
import json
import os
import platform
import resource
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
MINIATURE = "tiny"  # made for this run
PICTURE = Path("askmask/selftest/picture.png")
COUNTS = (1, 4, 16, 64)
THINGS = ("the bag", "what could fall over", "the bottle behind the two boxes", "anything I could eat now")


def prompts(count: int) -> list[str]:
    return [f"{THINGS[n % len(THINGS)]}, number {n}" for n in range(count)]


def timed(function, repeats: int) -> float:
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def sessions(model, picture: Path, repeats: int) -> list[dict]:
    rows = []
    model.open(picture).ask(prompts(1)[0])  # warm up
    for count in COUNTS:
        words = prompts(count)
        together = timed(lambda words=words: model.open(picture).ask_many(words), repeats)
        single = timed(
            lambda words=words: [model.open(picture).ask(word) for word in words], max(1, repeats // 3)
        )
        rows.append(
            {"prompts": count, "together_s": together, "single_s": single, "ratio": together / single}
        )
        print(
            f"{count:3d} prompts: together {together:.3f} s, one by one {single:.3f} s, ratio {together / single:.3f}"
        )
    return rows


def process(code: str) -> tuple[float, float]:
    """Median wall seconds and peak MB of a fresh interpreter running `code`."""
    script = f"import resource\n{code}\nprint(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)"
    walls, peaks = [], []
    for _ in range(5):
        start = time.perf_counter()
        out = subprocess.run(
            [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
        )
        walls.append(time.perf_counter() - start)
        peaks.append(float(out.stdout.splitlines()[-1]))
    return statistics.median(walls), statistics.median(peaks)


# Run by both checkouts: seconds of the first prompt (picture included), of a further one, and of 16 together.
ONCE = """
import statistics, sys, time
import torch
torch.set_num_threads(1)
import askmask
model = askmask.load(sys.argv[1], device="cpu")
words = [f"the mug, number {n}" for n in range(16)]
model.open(sys.argv[2]).ask_many(words)
first, more, many = [], [], []
for _ in range(15):
    t = [time.perf_counter()]
    session = model.open(sys.argv[2]); session.ask_many(words[:1]); t.append(time.perf_counter())
    session.ask_many(words[1:2]); t.append(time.perf_counter())
    session.ask_many(words); t.append(time.perf_counter())
    for row, a, b in zip((first, more, many), t, t[1:]): row.append(b - a)
print(*map(statistics.median, (first, more, many)))
"""


def against(before: Path, repeats: int) -> dict:
    """Ask the bundled model of two checkouts in turn; return medians and the ratio of each pair, now / before."""
    seconds: dict[str, list[list[float]]] = {"before": [], "now": []}
    for _ in range(repeats):
        for name, root in (("before", before), ("now", ROOT)):
            command = [sys.executable, "-c", ONCE, "mini", str(ROOT / "examples" / "table.png")]
            env = os.environ | {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
            out = subprocess.run(command, cwd=root, env=env, capture_output=True, text=True, check=True)
            seconds[name].append(list(map(float, out.stdout.split())))
    result = {}
    for column, what in enumerate(("first prompt", "further prompt", "16 prompts")):
        pairs = list(
            zip(*([run[column] for run in seconds[name]] for name in ("before", "now")), strict=True)
        )
        ratios = sorted(now / old for old, now in pairs)
        result[what] = {
            "before_ms": 1e3 * statistics.median(old for old, _ in pairs),
            "now_ms": 1e3 * statistics.median(now for _, now in pairs),
            "ratio": {"min": ratios[0], "median": statistics.median(ratios), "max": ratios[-1]},
        }
        print(f"{what:15s} {json.dumps(result[what])}")
    return result


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default=MINIATURE, help="a name of `askmask models`, or a folder")
    parser.add_argument("--picture", type=Path, default=PICTURE, help="from the root of the project")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--before", type=Path, metavar="CHECKOUT")
    parser.add_argument("--out", type=Path)
    return parser


def main() -> None:
    given = arguments().parse_args()
    if given.before:
        found = {"command": "python benchmarks/session.py --before CHECKOUT", "model": "mini", "threads": 1}
        found |= {
            "machine": platform.machine(),
            "pairs": given.repeats,
            "ratios": against(given.before, given.repeats),
        }
        if given.out:
            given.out.write_text(json.dumps(found, indent=1) + "\n")
        return

    # Before torch is here: a child's peak memory counts its parent's at the moment of the fork.
    nothing, package, torch_alone = (process(code) for code in ("pass", "import askmask", "import torch"))

    import torch

    import askmask
    from askmask.model.tiny import make_tiny

    torch.set_num_threads(given.threads)
    with tempfile.TemporaryDirectory() as folder:
        model = askmask.load(make_tiny(folder) if given.model == MINIATURE else given.model, device="cpu")
        rows = sessions(model, ROOT / given.picture, given.repeats)
    result = {
        "command": shlex.join(["python", "benchmarks/session.py", *sys.argv[1:]]),
        "model": given.model,
        "picture": given.picture.as_posix(),
        "machine": f"{platform.machine()}, {platform.system()}, {given.threads} thread(s), shared",
        "torch": torch.__version__,
        "sessions": rows,
        "import_s": {"python": nothing[0], "askmask": package[0], "torch": torch_alone[0]},
        "peak_mb": {
            "python": nothing[1],
            "import askmask": package[1],
            "import torch": torch_alone[1],
            "this run": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        },
    }
    print(json.dumps({key: result[key] for key in ("import_s", "peak_mb")}, indent=1))
    if given.out:
        from askmask.runs.whole_files import write_json

        write_json(given.out, result)


if __name__ == "__main__":
    main()
