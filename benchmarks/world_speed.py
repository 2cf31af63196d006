"""Scenes per second of one process: settle, every trial, two views, prompts and dialogues.

    python benchmarks/world_speed.py --scenes 60 --size 128 --out results/world_speed.json

Gives wall time and processor time: on a busy machine the second is what one core can do.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from pathlib import Path

from askmask.runs.whole_files import write_json
from askmask.world.facts import look, measure
from askmask.world.record import ask, record, surface_of
from askmask.world.render import Renderer
from askmask.world.simulate import settled_world


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scenes", type=int, default=60)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    record(0, options.size)  # imports, GL context and caches are not what is measured
    wall, cpu = time.perf_counter(), time.process_time()
    for seed in range(options.scenes):
        record(seed, options.size)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    report = {
        "scenes": options.scenes,
        "size": options.size,
        "views": 2,
        "scenes_per_second": round(options.scenes / wall, 2),
        "scenes_per_cpu_second": round(options.scenes / cpu, 2),
        "cpu_ms": stages(options.scenes // 2, options.size),
        "machine": {"processor": _processor(), "cores": os.cpu_count(), "load": round(os.getloadavg()[0], 1)},
        "versions": {"python": platform.python_version(), "mujoco": __import__("mujoco").__version__},
        "gl": os.environ.get("MUJOCO_GL"),
    }
    print(json.dumps(report, indent=1))
    if options.out:
        write_json(options.out, report)


def stages(count: int, size: int) -> dict[str, float]:
    """Processor milliseconds a scene spends in each stage."""
    spent = dict.fromkeys(("settle", "trials", "draw", "view facts", "prompts"), 0.0)
    clock = time.process_time

    def lap(name: str, start: float) -> float:
        spent[name] += clock() - start
        return clock()

    for seed in range(count):
        now = clock()
        world = settled_world(seed)
        now = lap("settle", now)
        things = measure(world)
        now = lap("trials", now)
        with Renderer(world, size) as renderer:
            views = [renderer.draw(camera) for camera in world.scene.cameras[:2]]
        now = lap("draw", now)
        seen = [look(world, view) for view in views]
        now = lap("view facts", now)
        for number, (view, facts) in enumerate(zip(views, seen, strict=True)):
            surface = surface_of(view.objects, view.depth, facts["camera"], things)
            ask(things, facts, surface, seed, number, "train")
        lap("prompts", now)
    return {name: round(1000 * value / count, 1) for name, value in spent.items()}


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else ():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


if __name__ == "__main__":
    main()
