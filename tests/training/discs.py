"""Dense truth without a simulator: coloured discs and squares on a table, in the shards the world writes."""

from pathlib import Path

import numpy as np

from askmask.formats.dense import Shard, write_shard

COLOURS = {"red": (200, 40, 40), "green": (40, 200, 40), "blue": (40, 40, 200)}


def write_discs(folder: Path, *, scenes: int, seed: int, size: int = 64, index: int = 0) -> Path:
    """Write one shard of `scenes` pictures and return its path."""
    random = np.random.default_rng(seed)
    made = [_scene(random, number, size) for number in range(scenes)]
    rgb, objects, parts, depth, facts = zip(*made, strict=True)
    shard = Shard(
        rgb=np.stack(rgb),
        objects=np.stack(objects),
        parts=np.stack(parts),
        depth=np.stack(depth),
        scene=np.arange(scenes, dtype=np.int32),
        view=np.zeros(scenes, np.uint8),
        scenes=facts,
    )
    path = folder / f"shard-{index:05d}.npz"
    write_shard(path, shard)
    return path


def _scene(random, number, size):
    y, x = np.mgrid[:size, :size]
    horizon = size // 3
    rgb = np.full((size, size, 3), 120, np.uint8)
    rgb[horizon:] = (150, 120, 90)
    objects = np.where(y >= horizon, 200, 0).astype(np.uint8)
    parts, depth = objects.copy(), np.full((size, size), 2, np.float16)
    items = []
    for thing in range(1, int(random.integers(3, 5))):
        kind = ("ball", "box")[int(random.integers(2))]
        colour = list(COLOURS)[int(random.integers(3))]
        cx, cy = random.integers(size // 6, size - size // 6, 2)
        radius = int(random.integers(size // 12, size // 6))
        round_, square = (
            (x - cx) ** 2 + (y - cy) ** 2 < radius**2,
            (abs(x - cx) < radius) & (abs(y - cy) < radius),
        )
        inside = round_ if kind == "ball" else square
        rgb[inside], objects[inside], depth[inside] = COLOURS[colour], thing, 1
        parts[inside] = 2 * thing - 1
        parts[inside & (y < cy - radius // 3)] = 2 * thing
        items.append(
            {
                "id": thing,
                "category": kind,
                "colour": colour,
                "material": "wax",
                "parts": [{"id": 2 * thing - 1, "name": "body"}, {"id": 2 * thing, "name": "lid"}],
                "attributes": {"rolls_left": kind == "ball", "rolls_right": kind == "ball", "tips": None},
            }
        )
    prompts = []
    for colour in COLOURS:
        ids = [i["id"] for i in items if i["colour"] == colour and (objects == i["id"]).sum() > 12]
        lids = [i["parts"][1]["id"] for i in items if i["id"] in ids]
        prompts.append(_prompt(f"the {colour} things", {"objects": ids}, ids))
        prompts.append(_prompt(f"the lid of everything {colour}", {"parts": lids}, ids))
    seen = [i["id"] for i in items if (objects == i["id"]).sum() > 12]
    dialogues = [_dialogue(colour, items, seen) for colour in COLOURS]
    noise = random.integers(-12, 12, rgb.shape)
    rgb = np.clip(rgb.astype(np.int16) + noise, 0, 255).astype(np.uint8)
    facts = {
        "format": 1,
        "seed": number,
        "objects": items,
        "views": [{"objects": {}, "prompts": prompts, "dialogues": [d for d in dialogues if d]}],
    }
    return rgb, objects, parts, depth, facts


def _dialogue(colour, items, seen):
    """What is there of a colour, then two questions whose words say nothing of which things are meant."""
    ids = [i["id"] for i in items if i["colour"] == colour and i["id"] in seen]
    rest = [number for number in seen if number not in ids]
    if not ids or not rest:
        return []
    opening = _prompt(f"the {colour} things", {"objects": ids}, ids)
    others = _prompt("all the others", {"objects": rest}, rest) | {"refers_to": [{"round": 0}]}
    again = _prompt("the first ones again", {"objects": ids}, ids) | {"refers_to": [{"round": 0}]}
    return [opening | {"refers_to": []}, others, again]


def _prompt(text, answer, ids):
    return {
        "prompt": text,
        "concept": "entities",
        "family": "instances",
        "answer": answer,
        "satisfying": ids,
        "hard": False,
        "negative": None if ids else "absent",
    }
