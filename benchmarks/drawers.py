"""What drawing costs at real size on a processor, with random weights: results/drawers.{json,md}.

    python benchmarks/drawers.py --repeats 2

Each drawer in each form runs in a process of its own: a 1140 x 760 picture is encoded, then a mask drawn by a box and
a point. Seconds are processor time of one thread, the least of the repeats, so that other work on the machine counts
less. Random weights cost what trained ones do and draw nothing of use: the mask is compared with that of the eager form
only to see that a form computes the same. A form whose library is not installed is said to be not measured. Rows are
kept: the same command goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
SIZE = 760, 1140
BOX, POINT = (300.0, 200.0, 700.0, 520.0), (480.0, 350.0, True)
# Hiera's sizes as published with SAM 2 (Ravi et al. 2024) and SAM 2.1.
HIERA = {
    "sam2.1-tiny": {"hidden_size": 96, "blocks": [1, 2, 7, 2], "heads": 1, "global": [5, 7, 9], "side": 7},
    "sam2.1-small": {"hidden_size": 96, "blocks": [1, 2, 11, 2], "heads": 1, "global": [7, 10, 13], "side": 7},
    "sam2.1-base-plus": {"hidden_size": 112, "blocks": [2, 3, 16, 3], "heads": 2, "global": [12, 16, 20], "side": 14},
    "sam2.1-large": {
        "hidden_size": 144, "blocks": [2, 6, 36, 4], "heads": 2, "global": [23, 33, 43], "side": 7,
        "windows": [8, 4, 16, 8],
    },
}  # fmt: skip
FORMS = ("eager", "int8", "onnx", "openvino")
PLAN = [
    *((name, "eager") for name in ("classical", "mini", "sam2.1-tiny", "edgetam")),
    *(("sam2.1-tiny", form) for form in FORMS[1:]),
    *((name, "eager") for name in ("sam2.1-base-plus", "sam2.1-large", "sam2.1-small")),
    *((name, form) for name in ("edgetam", "sam2.1-large") for form in FORMS[1:]),
]


def network(name: str):
    import torch
    from transformers import EdgeTamConfig, EdgeTamModel, Sam2Config, Sam2Model

    torch.manual_seed(0)
    if name == "edgetam":
        return EdgeTamModel(EdgeTamConfig()).eval()
    one = HIERA[name]
    dims = [one["hidden_size"] * 2**n for n in range(4)]
    backbone = {
        "model_type": "sam2_hiera_det_model",
        "hidden_size": one["hidden_size"], "num_attention_heads": one["heads"], "blocks_per_stage": one["blocks"],
        "embed_dim_per_stage": dims, "num_attention_heads_per_stage": [one["heads"] * 2**n for n in range(4)],
        "global_attention_blocks": one["global"],
        "window_positional_embedding_background_size": [one["side"], one["side"]],
        "window_size_per_stage": one.get("windows", [8, 4, 14, 7]),
    }  # fmt: skip
    config = Sam2Config(vision_config={"backbone_config": backbone, "backbone_channel_list": dims[::-1]})
    return Sam2Model(config).eval()


def encoder_of(net, form: str, folder: str):
    """Return what takes the place of `Sam2Segmenter.encode`: pixels [1, 3, S, S] -> feature maps."""
    import torch

    from askmask.model.seams import Features

    encode = net.encode
    if form == "int8":
        from torchao.quantization import Int8WeightOnlyConfig, quantize_

        quantize_(net.model.vision_encoder, Int8WeightOnlyConfig())
        return encode

    class Maps(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = net.model

        def forward(self, pixels):
            return encode(pixels).maps

    path, side = f"{folder}/encoder.onnx", net.image_size
    torch.onnx.export(Maps(), (torch.zeros(1, 3, side, side),), path, input_names=["pixels"], dynamo=True)
    if form == "onnx":
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

        def run(pixels):
            return session.run(None, {"pixels": pixels.numpy()})
    else:
        import openvino

        core = openvino.Core()
        settings = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"}
        model = core.compile_model(core.read_model(path), "CPU", settings)

        def run(pixels):
            return list(model(pixels.numpy()).values())

    return lambda pixels: Features(tuple(torch.from_numpy(np.asarray(found)) for found in run(pixels)))


def one(name: str, form: str, repeats: int, folder: str) -> dict:
    """Measure in this process."""
    import torch

    torch.set_num_threads(1)
    from askmask.segmenters.segmenter import Marked, open_segmenter

    rng = np.random.default_rng(0)
    rgb = np.clip(rng.normal(128, 40, (*SIZE, 3)), 0, 255).astype(np.uint8)
    marked = [Marked(box=BOX, points=(POINT,))]
    parameters = None
    if name in ("classical", "mini"):
        drawer = open_segmenter(name)
    else:
        from askmask.segmenters.sam2 import PromptableSam2

        drawer = PromptableSam2(network(name))
        parameters = sum(p.numel() for p in drawer.net.parameters())
        if form != "eager":
            drawer.net.encode = encoder_of(drawer.net, form, folder)
    encodes, draws, masks = [], [], None
    for _ in range(repeats + 1):  # the first warms up
        if hasattr(drawer, "_seen"):
            drawer._seen = None  # mini's last picture
        start = time.process_time()
        encoded = drawer.encode(rgb)
        middle = time.process_time()
        masks = drawer.draw(encoded, marked)
        encodes.append(middle - start)
        draws.append(time.process_time() - middle)
    return {
        "drawer": name, "form": form, "parameters": parameters, "encode_s": min(encodes[1:]), "draw_s": min(draws[1:]),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024), "mask": masks[0][0].to_dict(),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--only", default="")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, default=ROOT / "results")
    given = parser.parse_args()
    if given.one:
        name, form = given.one.split(",")
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps(one(name, form, given.repeats, folder)))
        return

    from askmask.runs.json_text import read_object
    from askmask.runs.whole_files import write_json, write_text

    path = given.out / "drawers.json"
    rows = read_object(path)["rows"] if path.is_file() else []
    wanted = set(filter(None, given.only.split(",")))
    for name, form in PLAN:
        if (wanted and name not in wanted) or any((r["drawer"], r["form"]) == (name, form) for r in rows):
            continue
        command = [sys.executable, __file__, "--one", f"{name},{form}", "--repeats", str(given.repeats)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        if done.returncode:
            why = done.stderr.strip().splitlines()[-1][:200]
            print(f"{name} {form}: not measured: {why}", flush=True)
            rows.append({"drawer": name, "form": form, "not measured": why})
        else:
            rows.append(json.loads(done.stdout.strip().splitlines()[-1]))
            print({key: value for key, value in rows[-1].items() if key != "mask"}, flush=True)
        write_json(path, {"picture": list(SIZE), "repeats": given.repeats, "rows": rows}, indent=1)
        write_text(given.out / "drawers.md", page(rows))


def page(rows: list[dict]) -> str:
    from askmask.imaging.mask import Mask

    eager = {row["drawer"]: row for row in rows if row["form"] == "eager" and "mask" in row}
    lines = [
        "# What drawing costs", "",
        "Processor seconds of one thread, a 1140 x 760 picture, random weights of real size; `encode` once a picture, "
        "`draw` for each mask by a box and a point. IoU is with the eager form's mask: whether the form computes the same, "
        "not whether it draws well. Made by `python benchmarks/drawers.py`.", "",
        "| drawer | form | million parameters | encode, s | draw, s | peak memory, MB | IoU with eager |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]  # fmt: skip
    for row in rows:
        if "not measured" in row:
            lines.append(
                f"| {row['drawer']} | {row['form']} | not measured: {row['not measured'][:80]} | | | | |"
            )
            continue
        size = "" if row["parameters"] is None else f"{row['parameters'] / 1e6:.1f}"
        same = ""
        if row["form"] != "eager" and row["drawer"] in eager:
            before, now = (Mask.from_dict(r["mask"]) for r in (eager[row["drawer"]], row))
            same = f"{before.iou(now):.3f}"
        lines.append(
            f"| {row['drawer']} | {row['form']} | {size} | {row['encode_s']:.2f} | {row['draw_s']:.3f} "
            f"| {row['peak_mb']} | {same} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
