"""Dense truth of simulated scenes: shards of pixels (.npz) and facts (.jsonl). Read and written here only.

The format is described in docs/world.md. Numpy alone: reading needs neither the simulator nor torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from askmask.errors import DataError
from askmask.formats.reading import naming
from askmask.imaging.mask import Mask
from askmask.runs.json_text import read_rows
from askmask.runs.whole_files import open_whole, write_rows

FORMAT = 1
MAX_SHARD_BYTES = 4 << 30  # of all arrays together: 250 scenes of six pictures of 512 x 512 take 3 GB
WALL, TABLE, FLOOR, TABLE_REST = 0, 200, 201, 202  # ids of what is no object (`parts`: 200 = the table's top)
# array: its type and its number of axes
ARRAYS = {
    "rgb": ("u1", 4),
    "objects": ("u1", 3),
    "parts": ("u1", 3),
    "depth": ("f2", 3),
    "scene": ("i4", 1),
    "view": ("u1", 1),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """The views of some scenes. Row v of every array belongs to `scenes[scene[v]]["views"][view[v]]`."""

    rgb: np.ndarray  # uint8 [V, H, W, 3]
    objects: np.ndarray  # uint8 [V, H, W]
    parts: np.ndarray  # uint8 [V, H, W]
    depth: np.ndarray  # float16 [V, H, W], metres
    scene: np.ndarray  # int32 [V]
    view: np.ndarray  # uint8 [V]
    scenes: Sequence[dict[str, Any]]

    def facts(self, row: int) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return (the scene, its view) that row `row` shows."""
        scene = self.scenes[int(self.scene[row])]
        return scene, scene["views"][int(self.view[row])]

    def answer_masks(self, row: int, prompt: Mapping[str, Any]) -> list[np.ndarray]:
        """Return one bool [H, W] per instance of a prompt's answer; [] when nothing matches."""
        return answer_masks(prompt["answer"], self.objects[row], self.parts[row])


def answer_masks(
    answer: Mapping[str, Any] | None, objects: np.ndarray, parts: np.ndarray
) -> list[np.ndarray]:
    """Turn a prompt's `answer` into one bool [H, W] per instance, given the id maps [H, W] of its view.

    None, an answer in words alone, has no mask.
    """
    if answer is None:
        return []
    if "objects" in answer:
        return [objects == number for number in answer["objects"]]
    if "parts" in answer:
        return [parts == number for number in answer["parts"]]
    return [Mask.from_dict(mask).to_array() for mask in answer["masks"]]


def shards(folder: str | Path) -> list[Path]:
    """Return the .npz of every finished shard in a folder, in order."""
    return sorted(Path(folder).glob("shard-*.npz"))


def read_shard(path: str | Path) -> Shard:
    """Read one shard by its .npz. Raises DataError for a damaged file, or pixels and facts that disagree."""
    path = Path(path)
    scenes = read_facts(path)
    try:
        with np.load(path, allow_pickle=False) as data:
            held = sum(one.file_size for one in data.zip.infolist())
            if held > MAX_SHARD_BYTES:  # zeros compress a thousandfold
                raise DataError(
                    f"its arrays take more than {MAX_SHARD_BYTES >> 20} MB", got=f"{held >> 20} MB"
                )
            arrays = {name: data[name] for name in ARRAYS}
    except Exception as error:  # zipfile, zlib and NumPy raise nearly anything on damaged files
        raise DataError(f"{path} is no shard of dense truth", got=error) from error
    with naming(str(path)):
        for name, (kind, axes) in ARRAYS.items():
            if arrays[name].dtype != np.dtype(kind) or arrays[name].ndim != axes:
                got = f"{arrays[name].dtype} {list(arrays[name].shape)}"
                raise DataError(f"the array {name!r} must be {np.dtype(kind)} with {axes} axes", got=got)
        shapes = {arrays[name].shape[:3] for name in ("rgb", "objects", "parts", "depth")}
        views = [(int(s), int(v)) for s, v in zip(arrays["scene"], arrays["view"], strict=True)]
        if (
            len(shapes) != 1
            or {len(views)} != {shape[0] for shape in shapes}
            or arrays["rgb"].shape[3] != 3
            or not all(0 <= s < len(scenes) and v < len(scenes[s]["views"]) for s, v in views)
        ):
            raise DataError("its pixels and its facts do not belong together")
    return Shard(**arrays, scenes=scenes)


def read_facts(path: str | Path) -> list[Scene]:
    """Read the facts alone of a shard, given by its .npz. Raises DataError naming the line."""
    facts, found = Path(path).with_suffix(".jsonl"), list[Scene]()
    for number, scene in read_rows(facts):
        with naming(f"{facts}, line {number}"):
            if scene.get("format", FORMAT) > FORMAT:
                raise DataError(f"a newer format than {FORMAT}", do="Upgrade askmask.")
            _check_scene(scene)
        found.append(Scene(scene, f"{facts}, line {number}"))
    return found


class Scene(dict[str, Any]):
    """The facts of a scene, and in which line of which file they stand."""

    def __init__(self, facts: Mapping[str, Any], place: str):
        super().__init__(facts)
        self.place = place


_THING = {"id": int, "category": str, "colour": str, "parts": list}
_PART = {"id": int, "name": str}
_PROMPT = {"prompt": str, "concept": str}
_IDS = ("satisfying", "candidates", "ignore")  # of a prompt, where it has them


def _check_scene(scene: Mapping[str, Any]) -> None:
    """Raise what `naming` tells for facts that lack what every reader of them goes by."""
    for thing in scene["objects"]:
        _check(thing, _THING)
        for part in thing["parts"]:
            _check(part, _PART)
        known = thing.get("attributes", {})  # training needs them, who asks and answers does not
        if any(value not in (True, False, None) for value in known.values()):
            raise DataError("attributes must be true, false or null", got=repr(known)[:80])
    for view in scene["views"]:
        for prompt in chain(view["prompts"], *view.get("dialogues", ())):
            _check(prompt, _PROMPT)
            for name in _IDS:
                if any(type(number) is not int for number in prompt.get(name) or ()):
                    raise DataError(f"{name!r} must be a list of ids", got=repr(prompt[name])[:80])
            if prompt["answer"] is not None:
                _check_answer(prompt["answer"])


def _check(row: Mapping[str, Any], fields: Mapping[str, type]) -> None:
    for name, kind in fields.items():
        if type(row[name]) is not kind or (name == "id" and not 0 < row[name] < 256):
            raise DataError(f"{name!r} must be {_SAID[kind]}", got=repr(row[name])[:80])


_SAID = {int: "a number from 1 to 255", str: "text", list: "a list", dict: "a table"}


def _check_answer(answer: Mapping[str, Any]) -> None:
    """Raise DataError for what `answer_masks` could not read; masks are checked when they are decoded."""
    name = next(name for name in ("objects", "parts", "masks") if name in answer or name == "masks")
    kind = dict if name == "masks" else int
    if not isinstance(answer[name], list) or not all(type(part) is kind for part in answer[name]):
        raise DataError(f"an answer needs a list of {name}", got=repr(answer)[:80])


def write_shard(path: str | Path, shard: Shard) -> None:
    """Write a shard's .jsonl, then its .npz, each whole or not at all; equal shards are equal bytes."""
    write_facts(path, shard.scenes)
    with open_whole(path) as file:
        np.savez_compressed(file, **{name: getattr(shard, name) for name in ARRAYS})


def write_facts(path: str | Path, scenes: Sequence[Mapping[str, Any]]) -> None:
    """Write the .jsonl of a shard (given by its .npz) whole or not at all."""
    write_rows(Path(path).with_suffix(".jsonl"), scenes, compact=True)
