"""What loading costs in memory: peak of a process that loads a checkpoint, against the checkpoint's size.

    python benchmarks/loading.py [--width 1536] [--out results/loading.json]

Builds a random network whose language side has the given width (1536: about 0.9 GB), then loads it in fresh
processes: as stored, and cast to bfloat16. Weights are read straight into a network built without any; as stored,
they stay mapped from the file until a layer first runs.
"""

import argparse
import platform
import subprocess
import sys
import tempfile
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).parents[1]
CODE = """
import resource, askmask, torch, transformers, peft
from transformers import Sam2Model, Qwen2_5_VLModel
import askmask.model.checkpoint, askmask.session
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
model = askmask.load({folder!r}, device="cpu", dtype={dtype!r})
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(before / 1024, after / 1024)
"""


def big_checkpoint(folder: Path, width: int) -> int:
    """Write a random checkpoint; return its bytes. In a process of its own, so that its memory is not ours."""
    from askmask.model import tiny

    config = tiny.tiny_config()
    text = dict(config.prompt_encoder["text_config"])
    text |= {"hidden_size": width, "intermediate_size": 4 * width, "num_hidden_layers": 8}
    vision = dict(config.prompt_encoder["vision_config"]) | {"out_hidden_size": width}
    text["num_attention_heads"], text["num_key_value_heads"] = width // 16, width // 32
    language = dict(config.prompt_encoder) | {"text_config": text, "vision_config": vision}
    tiny.tiny_config = lambda image_size: replace(config, prompt_encoder=language)
    tiny.make_tiny(folder)
    return sum(path.stat().st_size for path in folder.glob("*.safetensors"))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--width", type=int, default=1536)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--build", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.build:
        big_checkpoint(given.build, given.width)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "net"
        build = [sys.executable, __file__, "--width", str(given.width), "--build", str(folder)]
        subprocess.run(build, check=True, cwd=ROOT)
        size = sum(path.stat().st_size for path in folder.glob("*.safetensors")) / 2**20
        rows = []
        for dtype in (None, "bfloat16"):
            code = CODE.format(folder=str(folder), dtype=dtype)
            out = subprocess.run(
                [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
            )
            before, after = map(float, out.stdout.split())
            rows.append({"dtype": dtype or "as stored", "libraries_mb": before, "peak_mb": after})
            rows[-1]["added_per_stored"] = (after - before) / size
            print(
                f"{dtype or 'as stored'}: {size:.0f} MB stored, peak {after - before:.0f} MB above the libraries"
            )
    if given.out:
        result = {
            "machine": f"{platform.machine()}, {platform.system()}",
            "torch": version("torch"),
            "command": f"python benchmarks/loading.py --width {given.width}",
            "stored_mb": size,
            "loads": rows,
        }
        from askmask.runs.whole_files import write_json

        write_json(given.out, result)


if __name__ == "__main__":
    main()
