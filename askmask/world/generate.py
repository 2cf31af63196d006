"""Make a data set: many seeds, several processes, resumable, and the same bytes however it was interrupted.

Work goes in shards of seeds. A shard is written whole or not at all, so what exists is complete; a second run
with the same settings makes only what is missing.
"""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from askmask import conversation
from askmask.errors import SettingError
from askmask.formats import dense, own
from askmask.formats.reading import naming
from askmask.runs.json_text import read_object
from askmask.runs.manifest import OutputFolder, check_same, output_folder
from askmask.runs.whole_files import open_whole, whole_file, write_json
from askmask.world.prompts import PER_VIEW, to_round
from askmask.world.record import FORMAT, USUAL, VIEWS, Asking, SceneRecord, ask, record, surface_of
from askmask.world.render import LARGEST
from askmask.world.room import CAMERAS
from askmask.world.scene import SPLIT_SEEDS, SPLITS, VERSION, first_seed

LICENCE = "CC0-1.0"
SMALLEST = 32
MADE_BY = "askmask world make"
COUNTS = tuple(field.name for field in fields(Asking))
LATER = ("composed", "conversations", "dialogues")  # what was made before there were any has no such key


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to make. Two runs with equal plans make equal bytes; `workers` is no part of it."""

    split: str
    count: int  # scenes
    sizes: tuple[int, ...] = (160,)  # pixels a side; several are taken in turn
    dense: bool = False
    prompts: int = PER_VIEW  # a view
    views: int = VIEWS  # pictures of a scene
    start: int = 0  # scenes to pass over at the split's beginning
    per_shard: int = 250
    composed: int = 0  # compositions (compositions.py) a view, besides its prompts
    conversations: int = 0  # conversations that remember masks (talks/) a view
    dialogues: int = 0  # dialogues with an intent that moves (talks/) a view

    def __post_init__(self) -> None:
        if self.split not in SPLITS:
            raise SettingError("no such split", got=repr(self.split), do=f"Use one of {', '.join(SPLITS)}.")
        if self.count < 1 or self.start < 0 or self.start + self.count > SPLIT_SEEDS:
            raise SettingError(
                "count and start must lie within the split", got=f"{self.count} from {self.start}"
            )
        if not self.sizes or any(not SMALLEST <= size <= LARGEST for size in self.sizes):
            raise SettingError(f"a size must lie in {SMALLEST}..{LARGEST} px", got=list(self.sizes))
        if not 1 <= self.views <= CAMERAS:
            raise SettingError(f"views must lie in 1..{CAMERAS}", got=self.views)
        counts = [getattr(self, name) for name in COUNTS]
        if sum(counts) < 1 or min(counts) < 0 or self.per_shard < 1:
            raise SettingError("prompts and scenes per shard must be at least 1")

    @property
    def asking(self) -> Asking:
        """How much is asked of a view."""
        return Asking(**{name: getattr(self, name) for name in COUNTS})

    @property
    def shards(self) -> int:
        """How many shards the plan has."""
        return -(-self.count // self.per_shard)

    def seeds(self, shard: int) -> range:
        """The seeds of a shard."""
        first = first_seed(self.split) + self.start
        return range(first + shard * self.per_shard, first + min((shard + 1) * self.per_shard, self.count))

    def size_of(self, shard: int) -> int:
        """Pixels a side in a shard."""
        return self.sizes[shard % len(self.sizes)]


@dataclass(slots=True)
class Outcome:
    """What a run did: scenes made now, scenes found done, seeds that gave no scene and why."""

    made: int = 0
    kept: int = 0
    failed: dict[int, str] | None = None


Progress = Callable[[int], None]  # called with the number of scenes newly done


def make(plan: Plan, out: Path, *, workers: int = 1, progress: Progress | None = None) -> Outcome:
    """Make a plan's data in a folder, going on where an earlier run stopped.

    Raises SettingError if the folder holds data of another plan.
    """
    if workers < 1:
        raise SettingError("workers must be at least 1", got=workers)
    progress = progress or (lambda _: None)
    outcome = Outcome(failed={})
    path = out / ("dense.json" if plan.dense else "world.json")
    _check_plan(plan, path)
    with output_folder(out, MADE_BY, _facts(plan), adopt=_adopted(plan.dense)) as folder:
        write_json(folder.path(path.name), {**_facts(plan), "count": plan.count})
        todo = []
        for shard in range(plan.shards):
            if _shard_path(plan, out, shard).exists():
                outcome.kept += len(plan.seeds(shard))
                progress(len(plan.seeds(shard)))
            else:
                todo.append(shard)
        for made, failed in _run(plan, out, todo, workers, progress):
            outcome.made += made
            outcome.failed |= failed  # type: ignore[operator]
        if not plan.dense:
            _join(plan, out, folder.path("examples.jsonl"))
    return outcome


@contextmanager
def made_folder(folder: Path, *, dense: bool = False) -> Iterator[OutputFolder]:
    """Hold a folder that `make` made, to add to it or to write parts of it anew."""
    with output_folder(folder, MADE_BY, adopt=_adopted(dense)) as held:
        yield held


def _adopted(dense: bool) -> tuple[str, ...]:
    """What tells a folder that was made before there were manifests."""
    return ("dense.json",) if dense else ("world.json", "examples.jsonl")


def _facts(plan: Plan) -> dict[str, Any]:
    """What decides the data: all but how many scenes, since more can be added."""
    facts = {"format": FORMAT, "world": VERSION, **asdict(plan)}
    del facts["count"]
    for name in LATER:
        if not facts[name]:
            del facts[name]
    if plan.dense:
        facts |= {"size": plan.sizes[0], "scenes_per_shard": plan.per_shard}
    return facts


def _check_plan(plan: Plan, path: Path) -> None:
    """Hold a plan against that of an earlier run, which may only be shorter, and end with a whole shard."""
    if not path.exists():
        return
    found = read_object(path)
    count = found.pop("count", 0)
    check_same(found, _facts(plan), path.parent)
    if count > plan.count or (count < plan.count and count % plan.per_shard):
        raise SettingError(
            f"{path.parent} was made with --count {count}", got=plan.count, do="Choose another --out."
        )


def _shard_path(plan: Plan, out: Path, shard: int) -> Path:
    """The file whose presence says that a shard is whole."""
    if plan.dense:
        return out / f"shard-{shard:05d}.npz"
    return out / "shards" / f"shard-{shard:05d}.jsonl"


def _run(
    plan: Plan, out: Path, todo: list[int], workers: int, progress: Progress
) -> Iterator[tuple[int, dict[int, str]]]:
    if workers == 1 or len(todo) <= 1:
        for shard in todo:
            yield make_shard(plan, out, shard, lambda: progress(1))
        return
    context = multiprocessing.get_context("spawn")  # GL contexts do not survive a fork
    done = context.Value("q", 0)
    shown = 0
    with ProcessPoolExecutor(workers, context, initializer=_begin, initargs=(done,)) as pool:
        waiting = {pool.submit(_in_worker, plan, out, shard) for shard in todo}
        try:
            while waiting:
                finished, waiting = wait(waiting, timeout=0.5, return_when=FIRST_COMPLETED)
                now = done.value
                progress(now - shown)
                shown = now
                for future in finished:
                    yield future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in list(getattr(pool, "_processes", {}).values()):
                process.terminate()
            raise
    progress(done.value - shown)


_done: Any = None


def _begin(done: Any) -> None:
    global _done
    _done = done
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle


def _in_worker(plan: Plan, out: Path, shard: int) -> tuple[int, dict[int, str]]:
    def tick() -> None:
        with _done.get_lock():
            _done.value += 1

    return make_shard(plan, out, shard, tick)


def make_shard(plan: Plan, out: Path, shard: int, tick: Callable[[], None]) -> tuple[int, dict[int, str]]:
    """Make one shard; return (scenes made, why some seeds gave none)."""
    kept: list[SceneRecord] = []
    examples: list[conversation.Example] = []
    failed = {}
    for seed in plan.seeds(shard):
        try:
            found = record(seed, plan.size_of(shard), plan.asking, views=plan.views)
        except RuntimeError as error:  # no proposal came to rest; any other error is a fault of ours
            failed[seed] = str(error)
        else:
            if plan.dense:
                kept.append(found)
            else:
                examples += _write_images(out, found)
        tick()
    target = _shard_path(plan, out, shard)
    if plan.dense:
        dense.write_shard(target, dense_shard(kept))
    else:
        own.write_examples(examples, target)
    return len(plan.seeds(shard)) - len(failed), failed


def dense_shard(found: list[SceneRecord]) -> dense.Shard:
    """Stack the records of some scenes into a shard of dense truth."""
    rows = [(k, v, view) for k, scene in enumerate(found) for v, view in enumerate(scene.views)]
    return dense.Shard(
        rgb=np.stack([view.rgb for *_, view in rows]),
        objects=np.stack([view.objects for *_, view in rows]),
        parts=np.stack([view.parts for *_, view in rows]),
        depth=np.stack([view.depth.astype(np.float16) for *_, view in rows]),
        scene=np.array([k for k, *_ in rows], np.int32),
        view=np.array([v for _, v, _ in rows], np.uint8),
        scenes=[scene.facts for scene in found],
    )


def reask(path: Path, asking: Asking = USUAL) -> int:
    """Write the prompts and dialogues of a stored shard anew from its facts; return how many scenes it has.

    A shard that was made by this version comes out as it was, byte for byte.
    """
    shard = dense.read_shard(path)
    for row in range(len(shard.view)):
        scene, seen = shard.facts(row)
        with naming(f"{path}, view {row}"):
            surface = surface_of(shard.objects[row], shard.depth[row], seen["camera"], scene["objects"])
            which = scene["seed"], int(shard.view[row]), scene["split"]
            seen |= ask(scene["objects"], seen, surface, *which, asking)
    dense.write_facts(path, shard.scenes)
    return len(shard.scenes)


def examples_of(found: SceneRecord, folder: str = "images") -> list[conversation.Example]:
    """Return a scene's Examples: one for each view's single prompts, one for each dialogue."""
    examples = []
    facts = found.facts
    for number, (view, seen) in enumerate(zip(found.views, facts["views"], strict=True)):
        name = f"{facts['seed']}-{number}"
        common: dict[str, Any] = {
            "image": f"{folder}/{name}.png",
            "size": view.objects.shape,
            "source": "askmask-world",
            "split": facts["split"],
            "licence": LICENCE,
        }
        meta = {"seed": facts["seed"], "view": number, "layout": facts["layout"], "pair": facts["pair"]}
        common["meta"] = meta | {"scene": facts["hash"]}
        chats = [(f"{k}", [prompt]) for k, prompt in enumerate(seen["prompts"])]
        chats += [(f"d{k}", dialogue) for k, dialogue in enumerate(seen["dialogues"])]
        for key, prompts in chats:
            rounds = tuple(to_round(prompt, view.objects, view.parts) for prompt in prompts)
            examples.append(conversation.Example(id=f"world-{name}-{key}", rounds=rounds, **common))
    return examples


def _write_images(out: Path, found: SceneRecord) -> list[conversation.Example]:
    from PIL import Image

    for number, view in enumerate(found.views):
        with whole_file(out / "images" / f"{found.scene.seed}-{number}.png") as temporary:
            Image.fromarray(view.rgb).save(temporary, format="PNG")
    return examples_of(found)


def _join(plan: Plan, out: Path, target: Path) -> None:
    """Write examples.jsonl from the shards, in order."""
    with open_whole(target) as file:
        for shard in range(plan.shards):
            file.write(_shard_path(plan, out, shard).read_bytes())
