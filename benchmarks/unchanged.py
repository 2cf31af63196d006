"""Compare what this code computes with what is stored of an earlier state: answers, engine, training.

    python benchmarks/unchanged.py [PART ...] [--data DENSE] [--quick]     compare with results/before.json
    python benchmarks/unchanged.py --write --data DENSE                    store this state (or some parts of it)

Parts: scenes and mini (the fixed split tabletop-1: pixels and prompts; every mask, found and score), tiny (masks and
logits under every protocol), golden (the published network's records, in the folder --golden), engine (recorded and
simulated replies, from pictures to the exported data set), training (losses, and that a stopped run goes on the
same). DENSE is a folder made by `askmask world make --fixed tabletop-1 --dense`; without it, it is made afresh.
`--mini FOLDER` asks older weights of mini with today's code: shipped weights have been trained further since.
`--quick` takes scenes, mini and tiny alone, over the first ten pictures. Numbers count as equal within 1e-5
(processors round apart: 3e-6 seen); masks, texts and data must be equal bit for bit. Uses files and the public
interface alone, so that it runs on old states too: put another checkout first on PYTHONPATH. Exits 1 if anything
differs.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import askmask

ROOT = Path(askmask.__file__).parent.parent
sys.path.append(str(ROOT))  # for makers of small data in tests/
STORED = Path(__file__).parent.parent / "results" / "before.json"
CLOSE = 1e-5
QUICK_VIEWS = 10
PROTOCOLS = ("native", "published-eval", "published-demo")
PROMPTS = ("the red box", "what could roll away", "something to write with, not the pencil", "x")
LOSSES = ("step", "loss", "mask", "presence", "score")


def machine_of():
    """What the last digits of sums depend on."""
    return f"{platform.machine()}, torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}"


def hashed(*things):
    digest = hashlib.sha256()
    for thing in things:
        digest.update(thing if isinstance(thing, bytes) else json.dumps(thing, sort_keys=True).encode())
    return digest.hexdigest()[:12]


def command(*words, allow=(0,)):
    """Run askmask's command line; stop with its message if it fails."""
    code = "from askmask.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, words)], cwd=ROOT, capture_output=True, text=True
    )
    if done.returncode not in allow:
        raise SystemExit(f"askmask {' '.join(map(str, words))}\n{done.stderr or done.stdout}")
    return done.stdout


def views(folder, limit):
    """Yield (pixels uint8 [H, W, 3], prompts) of each view."""
    for path in sorted(Path(folder).glob("shard-*.npz")):
        scenes = [json.loads(line) for line in path.with_suffix(".jsonl").read_text("utf-8").splitlines()]
        with np.load(path, allow_pickle=False) as shard:
            rgb, scene, view = shard["rgb"], shard["scene"], shard["view"]
        for row in range(min(len(rgb), limit)):
            yield rgb[row], scenes[scene[row]]["views"][view[row]]["prompts"]
        limit -= len(rgb)


def answered(answer, places=6):
    mask = answer.mask.to_dict()
    score = None if answer.score is None else round(answer.score, places)
    return [hashed(mask["size"], mask["counts"]), bool(answer.found), score]


def scenes(options):
    return {
        f"{n:03d}": hashed(rgb.tobytes(), [(p["prompt"], p["answer"]) for p in prompts])
        for n, (rgb, prompts) in enumerate(views(options.data, options.views))
    }


def mini(options):
    model = askmask.load(str(options.mini or "mini"), device="cpu")
    found = {}
    for number, (rgb, prompts) in enumerate(views(options.data, options.views)):
        texts = [prompt["prompt"] for prompt in prompts]
        answers = model.open(rgb).ask_many(texts) if texts else []
        found[f"{number:03d}"] = [answered(answer) for answer in answers]
    return found


def tiny(options):
    from askmask.model.tiny import make_tiny

    folder = make_tiny(options.work / "tiny")
    picture = ROOT / "askmask" / "selftest" / "picture.png"
    found = {}
    for protocol in PROTOCOLS:
        session = askmask.load(folder, device="cpu", protocol=protocol).open(picture)
        for number, prompt in enumerate(PROMPTS):
            answer = session.ask(prompt, keep_logits=True)
            some = answer.logits[::23, ::29].ravel()
            found[f"{protocol} {number}"] = [
                *answered(answer),
                round(answer.presence, 6),
                [round(float(value), 6) for value in some],
            ]
        together = session.ask_many(PROMPTS)
        found[f"{protocol} together"] = [answered(answer) for answer in together]
    return found


def golden(options):
    """Whether the tests against the published code's records hold."""
    tree = options.work / "tree"
    for name in ("askmask", "tests"):
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tree)
    (options.work / "shared").mkdir()  # where the tests look for the records
    (options.work / "shared" / "golden").symlink_to(options.golden.resolve())
    tests = ["tests/model/test_golden.py", "tests/training/test_published_parity.py"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests],
        cwd=tree,
        env=os.environ | {"PYTHONPATH": str(tree)},
        capture_output=True,
        text=True,
    )
    counts = {name: int(n) for n, name in re.findall(r"(\d+) (passed|failed|skipped|error)", done.stdout)}
    if counts.keys() != {"passed"}:
        print(done.stdout[-3000:], file=sys.stderr)
    return {"tests": counts}


def engine(options):
    """Pictures and replies -> data set, by its files."""
    from tests.engine.flatworld import write_flatworld

    found = {}
    flat = options.work / "flatworld"
    write_flatworld(flat, 6)
    for name, errors in (("oracle", ""), ("erring oracle", "verdict=0.1,negative=0.1,box=0.1")):
        words = [
            "world",
            "oracle",
            "--data",
            flat / "truth",
            "--port",
            "0",
            "--errors",
            errors,
            "--seed",
            "3",
        ]
        code = "from askmask.cli import main; main()"
        server = subprocess.Popen(
            [sys.executable, "-u", "-c", code, *map(str, words)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        try:
            address = re.search(r"http://\S+", server.stdout.readline())[0]
            found[name] = engine_run(
                options.work / name.replace(" ", "-"),
                flat / "pictures",
                *(
                    "--model",
                    "oracle-1",
                    "--base-url",
                    address if address.endswith("/v1") else address + "/v1",
                ),
            )
        finally:
            server.terminate()
            server.wait()
    photographs = options.golden / "converseg" / "images"
    if photographs.is_dir():
        folder = options.work / "photographs"
        folder.mkdir()
        for name in ("cars_1140x760", "groceries_320x214", "truck_240x160", "truck_portrait_225x300"):
            shutil.copy(photographs / f"{name}.png", folder)
        recording = ROOT / "tests" / "engine" / "recordings" / "photographs.jsonl"
        run = options.work / "recorded"
        found["recorded replies"] = engine_run(run, folder, "--vlm", "replay", "--model", recording)
        exported = json.loads(run.with_name("recorded-set").joinpath("export.json").read_text())
        found["recorded replies"]["store"] = exported["digest"][:12]  # of the others it holds the port
    return found


def engine_run(run, pictures, *model):
    out = run.with_name(run.name + "-set")
    command("engine", "run", pictures, "--out", run, *model, allow=(0, 1))  # 1: some units have no decision
    command("engine", "export", run, "--out", out, "--val", "0.3")
    found = {
        "examples": set_of(out / "examples.jsonl", out),
        "literal": set_of(out / "literal.jsonl", out),
    }
    for name in ("dataset.jsonl", "items.json", "coco.json", "rejects.jsonl"):
        text = (out / name).read_text("utf-8")
        found[name] = (
            hashed(json.loads(text)) if name.endswith(".json") else hashed(sorted(text.splitlines()))
        )
    found["masks"] = hashed(
        *((p.name.encode() + np.asarray(Image.open(p)).tobytes()) for p in sorted((out / "masks").glob("*")))
    )
    return found


def set_of(path, root):
    """The (picture, prompt, masks) triples of a data set, whatever schema its rows have."""
    triples = []
    for line in path.read_text("utf-8").splitlines():
        row = json.loads(line)
        pixels = hashed(np.asarray(Image.open(root / row["image"]).convert("RGB")).tobytes())
        for asked in row["rounds"]:
            prompt, masks = asked["prompt"], asked.get("masks", asked.get("segments"))
            prompt = prompt if isinstance(prompt, str) else prompt["text"]
            masks = None if masks is None else [mask.get("mask", mask)["counts"] for mask in masks]
            triples.append([pixels, prompt, masks, asked.get("concept")])
    return [len(triples), hashed(sorted(triples, key=json.dumps))]


def training(options):
    """Losses of short runs, and of the same runs stopped at a checkpoint and begun again."""
    from askmask.model.tiny import make_tiny
    from tests.training.discs import write_discs

    squares, discs, tiny = (options.work / name for name in ("squares", "discs", "tiny-128"))
    write_squares(squares)
    make_tiny(tiny, image_size=128)
    for index in range(2):
        write_discs(discs, scenes=10, seed=index, size=32, index=index)
    often = ["log_every=1", "save_every=3", "evaluate_every=100", "threads=1"]
    runs = {
        "phase_one": [
            *("train", "phase_one", f"data={squares}", f"model={tiny}", "steps=6", "batch=2"),
            *("language=full", "lr=1e-3", *often),
        ],
        "mini_perception": [
            *(
                "train",
                "mini_perception",
                f"data.train={discs}",
                "steps=6",
                "sizes=32",
                "until=1",
                "batches=4",
            ),
            *("shards_per_round=1", *often),
        ],
    }
    found = {}
    for name, words in runs.items():
        run = options.work / name
        command(*words, f"run={run}")
        whole = losses(run)
        last = sorted((run / "checkpoints").iterdir())[-1]
        shutil.rmtree(last) if last.is_dir() else last.unlink()
        command(*words, f"run={run}")
        found[name] = {"losses": whole, "goes on the same": losses(run) == whole}
    return found


def losses(run):
    rows = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [[round(row[key], 7) for key in LOSSES if key in row] for row in rows if "loss" in row]


def write_squares(folder):
    """Four pictures of coloured squares in ConverSeg's training format, two prompts on each."""
    folder.mkdir()
    random = np.random.default_rng(1)
    rows = []
    for number in range(4):
        pixels = np.full((64, 64, 3), 90, np.uint8)
        for name, colour in (("red", (220, 30, 30)), ("blue", (30, 30, 220))):
            x, y = int(random.integers(2, 10)) + (32 if name == "blue" else 0), int(random.integers(4, 40))
            mask = np.zeros((64, 64), np.uint8)
            mask[y : y + 20, x : x + 20] = 255
            pixels[mask > 0] = colour
            Image.fromarray(mask).save(folder / f"{number}-{name}.png")
            rows.append({"image": f"{number}.png", "mask_merged": f"{number}-{name}.png", "prompt": name})
        Image.fromarray(pixels).save(folder / f"{number}.png")
    (folder / "dataset.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


PARTS = {part.__name__: part for part in (scenes, mini, tiny, golden, engine, training)}


def differences(now, before, where=""):
    """Yield (place, what, how far) of every leaf that differs; whole entries that only one side has, too."""
    if isinstance(now, dict) and isinstance(before, dict):
        for key in sorted(now.keys() | before.keys()):
            if key in now and key in before:
                yield from differences(now[key], before[key], f"{where}/{key}".lstrip("/"))
            else:
                yield f"{where}/{key}", "only now" if key in now else "only before", None
    elif isinstance(now, list) and isinstance(before, list) and len(now) == len(before):
        for number, pair in enumerate(zip(now, before, strict=True)):
            yield from differences(*pair, f"{where}[{number}]")
    elif isinstance(now, float) or isinstance(before, float):
        if not (isinstance(now, (int, float)) and abs(now - before) <= CLOSE * max(1.0, abs(before))):
            yield where, f"{before} -> {now}", abs(now - before)
    elif now != before:
        yield where, f"{before} -> {now}", None


def as_now(stored):
    """Return what was stored before as it is written now: what was not found has no score any more."""
    if isinstance(stored, dict):
        return {key: as_now(value) for key, value in stored.items()}
    if not isinstance(stored, list):
        return stored
    if len(stored) > 2 and isinstance(stored[0], str) and stored[1] is False:
        return [*stored[:2], None, *stored[3:]]
    return [as_now(value) for value in stored]


def leaves(value):
    if isinstance(value, (dict, list)):
        return sum(leaves(part) for part in (value.values() if isinstance(value, dict) else value))
    return 1


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"some of: {', '.join(PARTS)}")
    parser.add_argument("--data", type=Path, help="dense truth of tabletop-1")
    parser.add_argument("--golden", type=Path, default=ROOT.parent / "shared" / "golden")
    parser.add_argument("--mini", type=Path, help="weights of mini; those stored of, once others are shipped")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--write", action="store_true", help="store instead of comparing")
    parser.add_argument("--stored", type=Path, default=STORED)
    options = parser.parse_args()
    if unknown := set(options.parts) - PARTS.keys():
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    torch.set_num_threads(1)
    chosen = options.parts or (["scenes", "mini", "tiny"] if options.quick else list(PARTS))
    options.views = QUICK_VIEWS if options.quick else sys.maxsize
    with tempfile.TemporaryDirectory() as work:
        options.work = Path(work)
        if options.data is None and {"scenes", "mini"} & set(chosen):
            options.data = options.work / "tabletop-1"
            plan = ["--fixed", "tabletop-1"]
            if options.quick:  # the same split's beginning
                plan = f"--split test --count {QUICK_VIEWS // 2} --size 192 --prompts 12 --views 2".split()
            command("world", "make", *plan, "--dense", "--out", options.data)
        now = {}
        for name in chosen:
            print(f"{name} ...", file=sys.stderr, flush=True)
            now[name] = PARTS[name](options)
    machine = machine_of()
    stored = json.loads(options.stored.read_text()) if options.stored.is_file() else {}
    if options.write:
        lines = [f'"machine": {json.dumps(machine)}']
        for name, part in (stored | now).items():
            if name != "machine":
                rows = ",\n  ".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in part.items())
                lines.append(f"{json.dumps(name)}: {{\n  {rows}\n }}")
        options.stored.write_text("{\n " + ",\n ".join(lines) + "\n}\n")
        return
    failed = False
    print(f"before: {stored.get('machine')}\nnow:    {machine}\n")
    for name, part in now.items():
        before = as_now(stored.get(name, {}))
        if name in ("scenes", "mini"):
            before = {key: value for key, value in before.items() if int(key) < options.views}
        found = list(differences(part, before))
        failed |= bool(found)
        print(f"{name:9s} {leaves(part):6d} values  {f'{len(found)} DIFFER' if found else 'equal'}")
        for place, what, _ in found[:8]:
            print(f"          {place}: {what[:200]}")
        if far := [how for _, _, how in found if how is not None]:
            print(f"          largest difference of a number: {max(far):.3g}")
    sys.exit(failed)


if __name__ == "__main__":
    main()
