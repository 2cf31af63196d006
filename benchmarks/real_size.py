"""What a first and a further prompt cost at the size of the published network, on this processor, with random weights.

    python benchmarks/real_size.py [--size 3b] [--threads 2] [--repeats 2] [--out results/real_size]

Qwen2.5-VL and SAM2.1 large are built at their real sizes and filled with noise, so the masks mean nothing and the
times do. A picture of 1140 x 760 as the published evaluation reads it (published-eval) and as ours does (native), the
language side in bfloat16; SAM2's encoder in float32 as it is used, and under bfloat16 for comparison. The tokenizer is
that of the miniature network: prompts have more tokens than with the real one. Needs 10 GB of memory.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from askmask.backends.neural import NeuralBackend
from askmask.imaging.files import read_picture
from askmask.model.build import build_net
from askmask.model.config import NetConfig
from askmask.model.protocols import protocol_named
from askmask.model.published import SAM2_SIZES, sam2_config
from askmask.model.tiny import make_tiny
from askmask.runs.whole_files import write_json, write_text
from askmask.session import Model
from askmask.training.estimate import LARGE, VISION, VLM_SIZES

PROMPTS = ("the bag that I could carry with one hand", "what could fall over if the table shook?")


def config_of(size: str, folder: Path) -> NetConfig:
    """Return the settings of the published network at a size, over the miniature's tokenizer."""
    tiny = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    text = {key: value for key, value in VLM_SIZES[size].items() if key != "tie_word_embeddings"}
    heads, blocks, windows = SAM2_SIZES[LARGE]
    language = tiny["prompt_encoder"]
    rope = {"rope_type": "default", "mrope_section": [16, 24, 24], "rope_theta": 1_000_000.0}
    language["text_config"] |= text | {"rope_parameters": rope}
    language["vision_config"] |= VISION | {
        "out_hidden_size": text["hidden_size"],
        "model_type": "qwen2_5_vl_vision",
    }
    known = {name: tiny[name] for name in ("backend", "lora")}
    return NetConfig(
        name=f"random-{size}",
        segmenter=sam2_config(*LARGE, heads, blocks, windows),
        prompt_encoder=language,
        **known,
    )


def filled(config: NetConfig, folder: Path) -> torch.nn.Module:
    """Build the network and fill it with noise: the language side in bfloat16, the rest in float32."""
    net = build_net(config, folder, published_text=True)
    noise = torch.randn(1 << 20) * 0.02
    state = {}
    for name, value in net.state_dict().items():
        kind = (
            torch.bfloat16
            if name.startswith("prompt_encoder.") and value.is_floating_point()
            else value.dtype
        )
        if not value.is_meta:
            state[name] = value
            continue
        flat = noise.to(kind) if kind.is_floating_point else torch.zeros(1 << 20, dtype=kind)
        times = -(-value.numel() // len(flat))
        state[name] = flat.repeat(times)[: value.numel()].view(value.shape).clone()
    net.load_state_dict(state, strict=True, assign=True)
    return net.eval()


def timed(repeats: int, run) -> tuple[float, object]:
    """Return the median of some runs in seconds, and what the last returned."""
    spent, found = [], None
    for _ in range(repeats):
        began = time.perf_counter()
        found = run()
        spent.append(time.perf_counter() - began)
    return statistics.median(spent), found


@torch.no_grad()
def main() -> None:
    """Build, time and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", choices=sorted(VLM_SIZES), default="3b")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("results/real_size"))
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    rows = []

    def add(what: str, seconds: float) -> None:
        rows.append({"what": what, "seconds": round(seconds, 2)})
        print(f"{what}: {seconds:.2f} s", flush=True)

    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 255, (19, 28, 3), dtype=np.uint8)
    picture = read_picture(np.kron(coarse, np.ones((40, 41, 1), np.uint8))[:, :1140])
    with tempfile.TemporaryDirectory() as folder:
        tiny = make_tiny(folder)
        config = config_of(given.size, tiny)
        net = filled(config, tiny)
        warm = Model(NeuralBackend(net, config, protocol_named("native"), fingerprint="random"))
        warm.open(picture.rgb[:64, :64]).ask_many([PROMPTS[0]])  # what only the first call of a process pays
        for name in ("published-eval", "native"):
            model = Model(NeuralBackend(net, config, protocol_named(name), fingerprint="random"))
            seconds, session = timed(given.repeats, lambda model=model: model.open(picture))
            add(f"{name}: look at a picture", seconds)
            answers = []
            for prompt in PROMPTS:
                seconds, _ = timed(1, lambda prompt=prompt, session=session: session.ask_many([prompt]))
                answers.append(seconds)
            add(f"{name}: the first prompt after it", answers[0])
            seconds, _ = timed(given.repeats, lambda session=session: session.ask_many([PROMPTS[1]]))
            add(f"{name}: a further prompt", seconds)
        pixels = net.segmenter.prepare(picture.rgb, letterbox=False)[None]
        seconds, exact = timed(given.repeats, lambda: net.segmenter.encode(pixels))
        add("SAM2's encoder in float32", seconds)
        with torch.autocast("cpu", torch.bfloat16):
            seconds, half = timed(given.repeats, lambda: net.segmenter.encode(pixels))
        add("SAM2's encoder under bfloat16", seconds)
        apart = max(
            float((a - b.float()).norm() / a.norm()) for a, b in zip(exact.maps, half.maps, strict=True)
        )
    found = {
        "size": given.size,
        "picture_hw": list(picture.size),
        "threads": given.threads,
        "rows": rows,
        "features of the two encoders, relative distance at most": round(apart, 4),
        "peak memory, GB": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 1),
        "load_average": [round(load, 1) for load in os.getloadavg()],
        "machine": f"{platform.machine()}, torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}",
    }
    lines = [
        f"# A network of the published size ({given.size}), random weights",
        "",
        f"{given.threads} threads, {found['machine']}, load {found['load_average'][0]}; peak memory "
        f"{found['peak memory, GB']} GB. Made by `python benchmarks/real_size.py`.",
        "",
        "| what | seconds |",
        "|---|---|",
        *(f"| {row['what']} | {row['seconds']:.2f} |" for row in rows),
    ]
    write_json(given.out.with_suffix(".json"), found)
    write_text(given.out.with_suffix(".md"), "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
