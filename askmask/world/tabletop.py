"""Fixed test splits: seeds with hashes of what they gave, so that scores stay comparable.

Three hashes a scene, because three things can differ between machines: `scene` (its data: random numbers
alone), `truth` (what simulation and geometry found, and the prompts), `picture` (what the GL driver drew).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from askmask.errors import DataError, SettingError
from askmask.formats import dense
from askmask.formats.reading import naming
from askmask.runs.whole_files import write_text
from askmask.world.engine import gl_name, load_mujoco
from askmask.world.generate import Plan
from askmask.world.record import record
from askmask.world.scene import VERSION

TABLETOP_1 = Plan(split="test", count=250, sizes=(192,), prompts=12)
# Other scenes; only what compositions.py asks, a third each of its TESTS.
WORDS_1 = Plan(split="test", count=100, sizes=(192,), prompts=0, composed=30, start=1000)
# Other scenes again; only rounds that remember masks, and only dialogues with an intent that moves (talks/).
CONVERSATION_1 = Plan(split="test", count=150, sizes=(192,), prompts=0, conversations=2, start=2000)
DIALOGUE_1 = Plan(split="test", count=150, sizes=(192,), prompts=0, dialogues=2, start=3000)
SPLITS = {
    "tabletop-1": TABLETOP_1,
    "words-1": WORDS_1,
    "conversation-1": CONVERSATION_1,
    "dialogue-1": DIALOGUE_1,
}
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


def hashes(facts: Mapping[str, Any], pictures: Iterable[Sequence[np.ndarray]]) -> dict[str, str]:
    """Return a scene's hashes, 16 hex digits each; `pictures` are (rgb, objects, parts) of each view."""
    pixels = hashlib.sha256()
    for arrays in pictures:
        for array in arrays:
            pixels.update(np.ascontiguousarray(array).tobytes())
    truth = json.dumps(facts, sort_keys=True, separators=(",", ":")).encode()
    return {
        "scene": facts["hash"],
        "truth": hashlib.sha256(truth).hexdigest()[:16],
        "picture": pixels.hexdigest()[:16],
    }


def made_anew(plan: Plan) -> Iterator[tuple[int, dict[str, str]]]:
    """Make a plan's scenes and yield (seed, hashes)."""
    for shard in range(plan.shards):
        for seed in plan.seeds(shard):
            found = record(seed, plan.size_of(shard), plan.asking, views=plan.views)
            yield seed, hashes(found.facts, [(v.rgb, v.objects, v.parts) for v in found.views])


def stored(folder: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield (seed, hashes) of the scenes of a folder of dense truth."""
    for path in dense.shards(folder):
        shard = dense.read_shard(path)
        for k, facts in enumerate(shard.scenes):
            rows = np.flatnonzero(shard.scene == k)
            with naming(f"{path}, scene {k}"):
                seed = int(facts["seed"])
                found = hashes(facts, [(shard.rgb[r], shard.objects[r], shard.parts[r]) for r in rows])
            yield seed, found


def known(name: str) -> dict[str, Any]:
    """Return a split's written hashes: {"sha256": of the list, "scenes": {seed: [three hashes]}}."""
    plan_of(name)
    data = json.loads(resources.files("askmask.world").joinpath(f"{name}.json").read_text())
    if digest(data["scenes"]) != data["sha256"]:
        raise DataError(f"the written hashes of {name} are damaged", do="Install askmask anew.")
    return data


def digest(scenes: dict[str, list[str]]) -> str:
    """Return the sha256 of a list of hashes."""
    return hashlib.sha256(json.dumps(scenes, separators=(",", ":")).encode()).hexdigest()


def check(
    name: str, *, count: int | None = None, folder: Path | None = None, tick: Callable[[], None] | None = None
) -> Iterator[Difference]:
    """Compare the first `count` scenes, made anew or as stored in `folder`, with what was written down."""
    plan, written = plan_of(name), known(name)["scenes"]
    wanted = {str(seed) for seed in list(plan.seeds(0))[: count or plan.count]}
    for seed, found in stored(folder) if folder else made_anew(plan):
        if str(seed) not in wanted:
            break
        wanted.discard(str(seed))
        for what, was in zip(HASHES, written[str(seed)], strict=True):
            if found[what] != was:
                yield Difference(seed, what)
        if tick:
            tick()
    if wanted:
        raise DataError(
            f"{len(wanted)} scenes of {name} are missing", got=folder, do="Make them with --dense."
        )


def freeze(name: str, folder: Path, path: Path) -> None:
    """Write down a split made with --dense (maintainers: once, and never again after someone has used it)."""
    mujoco = load_mujoco()
    scenes = {str(seed): [found[what] for what in HASHES] for seed, found in stored(folder)}
    if list(scenes) != [str(seed) for seed in plan_of(name).seeds(0)]:
        raise DataError(f"{folder} does not hold {name}", got=f"{len(scenes)} scenes")
    lines = ",\n".join(f' "{seed}": {json.dumps(values)}' for seed, values in scenes.items())
    made_with = json.dumps({"world": VERSION, "mujoco": mujoco.__version__, "gl": gl_name()})
    head = f'{{"name": "{name}", "sha256": "{digest(scenes)}", "made_with": {made_with}'
    write_text(path, head + ',\n"scenes": {\n' + lines + "\n}}\n")
