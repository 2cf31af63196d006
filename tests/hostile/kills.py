"""SIGKILL at a random moment, then the same command again: the result must be that of a run left alone.

Commands run in forks of this process, so that kills fall into their work and not into the import of libraries.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

from askmask.cli import main
from tests.hostile.sets import dump, picture
from tests.training.discs import write_discs

# What may differ: when and how fast it was, and whose process held what.
VOLATILE = {"seconds", "at", "timings", "free"}
NOT_RESULTS = ("stats-", ".", "events.out")
Argv = Callable[[Path], list[str]]


def attempt(argv: list[str], kill_after: float | None = None) -> tuple[int, float]:
    """Run a command in a fork; return its exit code (negative: the signal) and the seconds that it took."""
    began = time.monotonic()
    child = os.fork()
    if not child:
        code = 70
        try:
            log = os.open(os.environ.get("HOSTILE_LOG", os.devnull), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(log, 1)
            os.dup2(log, 2)
            sys.argv = ["askmask", *argv]
            main()
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
        finally:
            os._exit(code)
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), time.monotonic() - began


def jobs(root: Path, golden: Path | None) -> dict[str, Argv]:
    """Write what the commands need below `root`; return name -> arguments, given the folder to write."""
    pictures, discs, world = root / "pictures", root / "discs", root / "own"
    for n in range(6):
        picture(pictures / f"{n}.png")
    rows = [{"schema": 1, "id": str(n), "image": f"../pictures/{n}.png", "size": [12, 16],
             "rounds": [{"prompt": "the red mug", "masks": []}]} for n in range(6)]  # fmt: skip
    dump(world / "examples.jsonl", rows)
    write_discs(discs, scenes=6, seed=1, size=32)
    train = [
        f"data.train={discs}",
        "steps=6",
        "sizes=32",
        "until=1",
        "batches=4",
        "log_every=1",
        "save_every=2",
    ]
    train += ["evaluate_every=100", "shards_per_round=1", "threads=1"]
    asked = {
        "batch": lambda out: ["batch", str(pictures), "--prompt", "the red mug", "--prompt", "it", "--overlays", "--out", str(out)],
        "eval": lambda out: ["eval", "mini", f"own:{world}", "--out", str(out)],
        "train": lambda out: ["train", "mini_perception", *train, f"run={out}"],
    } | _engine(root)  # fmt: skip
    if golden is not None and golden.is_dir():
        asked |= _published(root, golden)
    return asked


def _engine(root: Path) -> dict[str, Argv]:
    from askmask.world.oracle import Gallery, Oracle, read_truth
    from askmask.world.oracle_server import OracleServer
    from tests.engine.flatworld import write_flatworld

    write_flatworld(root / "flat", 2)
    server = OracleServer(Oracle(Gallery(list(read_truth(root / "flat" / "truth")))))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    run = ["engine", "run", str(root / "flat/pictures"), "--model", "oracle-1", "--base-url", server.address]
    attempt([*run, "--out", str(root / "finished")])
    return {
        "engine run": lambda out: [*run, "--out", str(out)],
        "engine export": lambda out: ["engine", "export", str(root / "finished"), "--out", str(out)],
    }


def _published(root: Path, golden: Path) -> dict[str, Argv]:
    """The published release in miniature: converted from files, and fetched from a Hub on loopback."""
    import torch
    from safetensors.torch import load_file

    from tests.test_hub import Hub

    release, weights = root / "release", golden / "weights"
    release.mkdir()
    torch.save({"model": load_file(weights / "sam2_finetuned.safetensors")}, release / "X_sam2_90000.torch")
    torch.save({"plm": load_file(weights / "plm_finetuned.safetensors")}, release / "X_plm_90000.torch")
    shutil.copytree(weights / "lora_plm_adapter", release / "lora_plm_adapter_90000")
    shutil.copy(golden / "sam2_tiny_config.json", release / "sam2_config.json")
    handler = type("Handler", (Hub,), {"asked": [], "break_after": None})
    handler.folders = {
        "aadarsh99/ConverSeg-Net-3B": release,
        "Qwen/Qwen2.5-VL-3B-Instruct": golden / "tiny_qwen",
    }  # type: ignore[attr-defined]
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    parts = ["--sam2", str(release / "X_sam2_90000.torch"), "--adapter", str(release / "X_plm_90000.torch"), "--lora",
             str(release / "lora_plm_adapter_90000"), "--vlm", str(golden / "tiny_qwen"), "--sam2-config", str(release / "sam2_config.json")]  # fmt: skip

    def fetched(
        out: Path,
    ) -> list[str]:  # the child reads these; the Hub's library, when it is imported there
        os.environ |= {"ASKMASK_CACHE": str(out), "HF_HOME": f"{out}-hf", "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1",
                       "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}"}  # fmt: skip
        return [
            "segment",
            str(root / "pictures/0.png"),
            "a",
            "--model",
            "converseg-net-3b",
            "--yes",
            "--json",
        ]

    return {
        "convert-published": lambda out: ["convert-published", *parts, "--out", str(out)],
        "hub fetch": fetched,
    }


def result_of(out: Path) -> str:
    """Return one hash of what a command left in its folder, times and logs of the process aside."""
    whole = hashlib.sha256()
    for path in sorted(path for path in out.rglob("*") if path.is_file()):
        name = path.relative_to(out).as_posix()
        if path.name.startswith(NOT_RESULTS) or "/." in name or name.startswith("hashes/"):
            continue
        whole.update(name.encode() + b"\0" + _content(path) + b"\0")
    return whole.hexdigest()


def _content(path: Path) -> bytes:
    if path.name == "run.sqlite":
        from askmask.engine.store import RunStore

        with RunStore(path.parent, read_only=True) as store:
            return store.digest().encode()
    if path.suffix in (".sqlite-wal", ".sqlite-shm") or path.name.startswith("run.sqlite-"):
        return b""
    if path.suffix in (".json", ".jsonl"):
        rows = path.read_text().splitlines() if path.suffix == ".jsonl" else [path.read_text()]
        return "\n".join(
            sorted(json.dumps(_steady(json.loads(row)), sort_keys=True) for row in rows)
        ).encode()
    if path.suffix in (".pt", ".torch"):
        import torch

        model = torch.load(path, weights_only=True)["model"]
        return b"".join(name.encode() + value.numpy().tobytes() for name, value in sorted(model.items()))
    return path.read_bytes()


def _steady(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _steady(one) for key, one in value.items() if key not in VOLATILE}
    if isinstance(
        value, float
    ):  # a prompt asked alone, as after a kill, and beside others differ by rounding
        return round(value, 4)
    return [_steady(one) for one in value] if isinstance(value, list) else value


def run(
    seed: int, first: int, last: int, root: Path, golden: Path | None = None, only: tuple[str, ...] = ()
) -> Iterator[dict[str, Any]]:
    """Yield a row a kill, the commands in turn."""
    import torch

    torch.set_num_threads(1)
    chosen = {name: job for name, job in jobs(root, golden).items() if not only or name in only}
    calm: dict[str, tuple[int, float, str]] = {}
    for name, job in chosen.items():
        out = root / "runs" / name  # always the same: some results name their folder
        code, took = attempt(job(out))
        calm[name] = code, took, result_of(out)
        assert code == 0, f"{name} undisturbed: exit code {code}"
    for number in range(first, last):
        chance = random.Random(f"{seed} kill {number}")
        name = sorted(chosen)[number % len(chosen)]
        code, took, wanted = calm[name]
        out, after = root / "runs" / name, chance.uniform(0.05, 1) * took
        argv = chosen[name](out)
        shutil.rmtree(out)
        shutil.rmtree(f"{out}-hf", ignore_errors=True)
        ended, lasted = attempt(argv, after)
        hit = ended == -signal.SIGKILL
        if not hit:  # the machine was busier when it was left alone
            calm[name] = code, min(took, lasted), wanted
        again, _ = attempt(argv)
        outcome = (
            "equal"
            if (again, result_of(out)) == (code, wanted)
            else f"exit code {again}"
            if again != code
            else "another result"
        )
        yield {
            "case": number,
            "set": name,
            "damage": f"killed after {after:.2f} of {took:.2f} s",
            "hit": hit,
            "outcome": outcome,
        }


def good(row: dict[str, Any]) -> bool:
    return row["outcome"] == "equal"
