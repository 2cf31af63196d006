"""What drawing costs at real size on a processor, with random weights: results/drawers.{json,md}.

    python benchmarks/drawers.py --repeats 2

Each drawer in each form runs in a process of its own: a 1140 x 760 picture is encoded, then a mask drawn by a box and
a point. One thread; medians over the repeats, after one that warms up; a form whose first encoding takes more than
LONG seconds of the processor is measured by that one alone. Processor time is the measure, wall time stands beside it.
Random weights cost what trained ones do and draw nothing of use: the mask is compared with that of the eager form only
to see that a form computes the same. A form whose library is not installed is said to be not measured. Each row is kept
as soon as it is there: the same command measures what is not measured yet.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import os
import platform
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
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
REPVIT = {"in_chans": 3, "features_only": True, "out_indices": [0, 1, 2, 3]}
FORMS = ("eager", "int8", "onnx", "openvino")
PLAN = [
    *((name, "eager") for name in ("sam2.1-tiny", "edgetam", "sam2.1-large")),
    *((name, form) for name in ("sam2.1-tiny", "edgetam") for form in ("int8", "onnx")),
    *((name, "eager") for name in ("mini", "classical", "sam2.1-small", "sam2.1-base-plus")),
    *(("sam2.1-large", form) for form in ("int8", "onnx")),
    *((name, "openvino") for name in ("edgetam", "sam2.1-tiny", "sam2.1-large")),
]
LONG = 15.0  # seconds
MOST = 600.0  # seconds of the clock for one row


def network(name: str):
    import torch
    from transformers import EdgeTamConfig, EdgeTamModel, Sam2Config, Sam2Model, TimmWrapperConfig

    torch.manual_seed(0)
    if name == "edgetam":
        # Said here: transformers' own default misspells it, and gets a ResNet.
        eyes = TimmWrapperConfig(architecture="repvit_m1", model_args=REPVIT)
        return EdgeTamModel(EdgeTamConfig(vision_config={"backbone_config": eyes})).eval()
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


def exported(name: str, folder: str) -> str:
    """Return the encoder's ONNX file, made if it is not there."""
    import torch

    path = f"{folder}/{name}.onnx"
    if Path(path).is_file():
        return path
    from askmask.segmenters.sam2 import PromptableSam2

    net = PromptableSam2(network(name)).net

    class Maps(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = net.model

        def forward(self, pixels):
            return net.encode(pixels).maps

    side = net.image_size
    with torch.inference_mode():
        torch.onnx.export(Maps(), (torch.zeros(1, 3, side, side),), path, input_names=["pixels"], dynamo=True)
    return path


def encoder_of(net, name: str, form: str, folder: str):
    """Return what takes the place of `Sam2Segmenter.encode`: pixels [1, 3, S, S] -> feature maps."""
    import torch

    from askmask.model.seams import Features

    if form == "int8":
        from torchao.quantization import Int8WeightOnlyConfig, quantize_

        quantize_(net.model.vision_encoder, Int8WeightOnlyConfig())
        return net.encode
    path = f"{folder}/{name}.onnx"
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
            drawer.net.encode = encoder_of(drawer.net, name, form, folder)
    passes, masks = [], []
    for _ in range(repeats + 1):  # the first warms up
        if hasattr(drawer, "_seen"):
            drawer._seen = None  # mini's last picture
        times = [(time.process_time(), time.perf_counter())]
        encoded = drawer.encode(rgb)
        times.append((time.process_time(), time.perf_counter()))
        masks = drawer.draw(encoded, marked)
        times.append((time.process_time(), time.perf_counter()))
        passes.append([b - a for x, y in itertools.pairwise(times) for a, b in zip(x, y, strict=True)])
        if passes[0][0] > LONG:
            break
    kept = passes[1:] or passes
    encode, encode_wall, draw, draw_wall = (statistics.median(column) for column in zip(*kept, strict=True))
    return {
        "drawer": name, "form": form, "parameters": parameters, "repeats": len(kept),
        "encode_s": round(encode, 4), "encode_wall_s": round(encode_wall, 4),
        "draw_s": round(draw, 4), "draw_wall_s": round(draw_wall, 4),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "load": round(os.getloadavg()[0], 1), "mask": masks[0][0].to_dict(),
    }  # fmt: skip


def apart(work: Callable, *given) -> dict | str:
    """Run in a child process, so that memory is its own. An error comes back as {"not measured": why}."""
    context = multiprocessing.get_context("fork")  # libraries are imported once
    here, there = context.Pipe()

    def child() -> None:
        try:
            there.send(work(*given))
        except Exception as error:  # a form that a library cannot do is a row of the table
            there.send(
                {"not measured": f"{type(error).__name__}: {str(error).strip().splitlines()[0][:160]}"}
            )

    process = context.Process(target=child)
    process.start()
    there.close()
    try:
        if here.poll(MOST):
            return here.recv()
        process.kill()
        return {"not measured": f"nothing came within {MOST:.0f} s"}
    except EOFError:
        return {"not measured": "its process was killed, most likely for want of memory"}
    finally:
        process.join()


def measured(name: str, form: str, repeats: int, folder: str) -> dict:
    if form in ("onnx", "openvino"):
        made = apart(exported, name, folder)
        if isinstance(made, dict):
            return made
    return apart(one, name, form, repeats, folder)


def machine() -> dict:
    """Return what the figures were measured on."""
    import torch
    import transformers

    names = [line.split(":")[1].strip() for line in cpu_lines() if line.startswith("model name")]
    flags = next((line.split() for line in cpu_lines() if line.startswith("flags")), [])
    return {
        "processor": names[0] if names else platform.processor(), "cores": os.cpu_count(), "threads": 1,
        "vectors": [flag for flag in ("avx2", "avx512f", "avx512_vnni", "amx_int8") if flag in flags],
        "torch": torch.__version__, "transformers": transformers.__version__,
    }  # fmt: skip


def cpu_lines() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.is_file() else []


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--only", default="")
    parser.add_argument("--out", type=Path, default=ROOT / "results")
    given = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    from transformers import EdgeTamModel, Sam2Model  # noqa: F401, before the children

    import askmask.segmenters.sam2  # noqa: F401, the same
    from askmask.imaging.mask import Mask
    from askmask.runs.json_text import read_object
    from askmask.runs.whole_files import write_json, write_text

    path = given.out / "drawers.json"
    kept = read_object(path) if path.is_file() else {}
    rows = [row for row in kept.get("rows", []) if "not measured" not in row]
    beside = given.out / "drawers-masks.json"  # what later forms are compared with; not kept with the project
    masks = read_object(beside) if beside.is_file() else {}
    wanted = set(filter(None, given.only.split(",")))
    with tempfile.TemporaryDirectory() as folder:
        for name, form in PLAN:
            if (wanted and name not in wanted) or any((r["drawer"], r["form"]) == (name, form) for r in rows):
                continue
            row = {"drawer": name, "form": form, **measured(name, form, given.repeats, folder)}
            if (mask := row.pop("mask", None)) is not None and form == "eager":
                masks[name] = mask
                write_json(beside, masks)
            elif mask is not None and name in masks:
                row["iou"] = Mask.from_dict(masks[name]).iou(Mask.from_dict(mask))
            rows.append(row)
            print(row, flush=True)
            write_json(path, {"picture": list(SIZE), "machine": machine(), "rows": rows}, indent=1)
            write_text(given.out / "drawers.md", page(machine(), rows))


def page(on: dict, rows: list[dict]) -> str:
    loads = [row["load"] for row in rows if "load" in row]
    busy = f" The machine was shared: its load was {min(loads)} to {max(loads)} meanwhile." if loads else ""
    lines = [
        "# What drawing costs", "",
        f"One thread of {on['processor']} ({on['cores']} cores; {', '.join(on['vectors']) or 'no vector units known'}), "
        f"torch {on['torch']}, transformers {on['transformers']}.{busy} Seconds are of processor time, medians over `n` "
        "passes; those of the clock stand in brackets and measure the neighbours too. A 1140 x 760 picture, random weights "
        "of real size; `encode` once a picture, `draw` for each mask by a box and a point. `int8` is weight-only (torchao); "
        "`onnx` and `openvino` run the encoder, the rest stays eager, and their memory holds the eager network besides. "
        "IoU is with the eager form's mask: whether the form computes the same, not whether it draws well. "
        "Made by `python benchmarks/drawers.py`.", "",
        "| drawer | form | million parameters | encode, s | draw, s | n | peak memory, MB | IoU with eager |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]  # fmt: skip
    there = {(row["drawer"], row["form"]) for row in rows}
    rows = rows + [
        {"drawer": name, "form": form, "not measured": "not run yet"}
        for name, form in PLAN
        if (name, form) not in there
    ]
    for row in sorted(rows, key=lambda row: (row["drawer"], FORMS.index(row["form"]))):
        if "not measured" in row:
            why = row["not measured"].replace("|", "/")
            lines.append(f"| {row['drawer']} | {row['form']} | not measured: {why} | | | | | |")
            continue
        size = "" if row["parameters"] is None else f"{row['parameters'] / 1e6:.1f}"
        same = f"{row['iou']:.3f}" if "iou" in row else ""
        lines.append(
            f"| {row['drawer']} | {row['form']} | {size} | {row['encode_s']:.2f} ({row['encode_wall_s']:.1f}) "
            f"| {row['draw_s']:.3f} ({row['draw_wall_s']:.2f}) | {row['repeats']} | {row['peak_mb']} | {same} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
