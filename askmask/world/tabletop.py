"""Fixed test splits: seeds written down with hashes, so that scores on them can be compared across years.

Three hashes a scene, because three things can differ between machines: `scene` (its data: random numbers alone),
`truth` (what simulation and geometry found, and the prompts), `picture` (what the GL driver drew: RGB and ids).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from askmask.errors import DataError, SettingError
from askmask.world.generate import Plan
from askmask.world.record import SceneRecord, record

TABLETOP_1 = Plan(split="test", count=250, sizes=(192,), prompts=12)
SPLITS = {"tabletop-1": TABLETOP_1}
HASHES = ("scene", "truth", "picture")


@dataclass(frozen=True, slots=True)
class Difference:
    """A scene of which something differs from what was written down."""

    seed: int
    what: str  # one of HASHES


def plan_of(name: str) -> Plan:
    """Return the plan of a fixed split. Raises SettingError for an unknown name."""
    if name not in SPLITS:
        raise SettingError("no such fixed split", got=repr(name), do=f"Known: {', '.join(SPLITS)}.")
    return SPLITS[name]


def hashes(found: SceneRecord) -> dict[str, str]:
    """Return the three hashes of a scene's record, 16 hex digits each."""
    pixels = hashlib.sha256()
    for view in found.views:
        for array in (view.rgb, view.objects, view.parts):
            pixels.update(array.tobytes())
    truth = json.dumps(found.facts, sort_keys=True, separators=(",", ":")).encode()
    return {
        "scene": found.facts["hash"],
        "truth": hashlib.sha256(truth).hexdigest()[:16],
        "picture": pixels.hexdigest()[:16],
    }


def known(name: str) -> dict[str, Any]:
    """Return the written hashes of a split: {"sha256": of the whole list, "scenes": {seed: [three hashes]}}."""
    plan_of(name)
    data = json.loads(resources.files("askmask.world").joinpath(f"{name}.json").read_text())
    if digest(data["scenes"]) != data["sha256"]:
        raise DataError(f"the written hashes of {name} are damaged", do="Install askmask anew.")
    return data


def digest(scenes: dict[str, list[str]]) -> str:
    """Return the sha256 of a list of hashes."""
    return hashlib.sha256(json.dumps(scenes, separators=(",", ":")).encode()).hexdigest()


def check(name: str, *, count: int | None = None, tick: Callable[[], None] | None = None) -> Iterator[Difference]:
    """Make the first `count` scenes of a split anew and yield what differs from what was written."""
    plan, written = plan_of(name), known(name)["scenes"]
    for seed in list(plan.seeds(0))[: count or plan.count]:
        found = hashes(record(seed, plan.size_of(0), prompts=plan.prompts, views=plan.views))
        for what, was in zip(HASHES, written[str(seed)], strict=True):
            if found[what] != was:
                yield Difference(seed, what)
        if tick:
            tick()


def freeze(name: str, path: Path, *, tick: Callable[[], None] | None = None) -> None:
    """Write the hashes of a split (maintainers: once for a new split, never for one that has been used)."""
    plan, scenes = plan_of(name), {}
    for seed in plan.seeds(0):
        found = hashes(record(seed, plan.size_of(0), prompts=plan.prompts, views=plan.views))
        scenes[str(seed)] = [found[what] for what in HASHES]
        if tick:
            tick()
    lines = ",\n".join(f' "{seed}": {json.dumps(values)}' for seed, values in scenes.items())
    path.write_text(f'{{"name": "{name}", "sha256": "{digest(scenes)}",\n"scenes": {{\n{lines}\n}}}}\n')
