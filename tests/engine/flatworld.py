"""Flat scenes of coloured shapes in the dense format: truth for the oracle where no simulator is needed."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
from PIL import Image

from askmask.formats.dense import FLOOR, TABLE, Shard, write_shard

COLOURS = {
    "red": (205, 45, 40),
    "green": (50, 160, 60),
    "blue": (45, 80, 200),
    "yellow": (230, 205, 50),
    "purple": (130, 60, 160),
    "white": (240, 240, 240),
}
SIZE = 160


def draw_scene(seed: int) -> tuple[np.ndarray, np.ndarray, dict]:
    """Return (rgb, object ids, facts) of one scene: a shaded table with 4 to 6 boxes and balls apart."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIZE, :SIZE]
    table = np.array([96, 74, 60]) + rng.integers(-30, 30, 3)
    rgb = table + 18 * np.sin(x[..., None] / rng.uniform(4, 30) + y[..., None] / rng.uniform(4, 30))
    ids = np.full((SIZE, SIZE), TABLE, np.uint8)
    ids[:20] = FLOOR
    rgb[:20] = rng.integers(60, 200, 3)
    colours = list(rng.permutation(list(COLOURS)))
    cells = list(rng.permutation(list(itertools.product(range(3), range(2)))))
    objects = []
    for number in range(1, int(rng.integers(4, 7)) + 1):
        column, row = cells[number - 1]
        cx, cy = 28 + 52 * column + rng.integers(-4, 5), 55 + 58 * row + rng.integers(-4, 5)
        rx, ry = rng.integers(13, 20, 2)
        category = "ball" if rng.random() < 0.5 else "box"
        if category == "ball":
            shape = ((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 <= 1
        else:
            shape = (abs(x - cx) <= rx) & (abs(y - cy) <= ry)
        shade = 1 - 0.25 * (y - cy + ry)[..., None] / (2 * ry)
        rgb = np.where(shape[..., None], np.array(COLOURS[colours[number - 1]]) * shade, rgb)
        ids[shape] = number
        objects.append(
            {
                "id": number,
                "category": category,
                "colour": str(colours[number - 1]),
                "parts": [],
                "at": (cx, cy),
            }
        )
    return (
        rgb.clip(0, 255).astype(np.uint8),
        ids,
        {"objects": objects, "views": [{"prompts": _prompts(objects)}]},
    )


def _prompts(objects: list[dict]) -> list[dict]:
    def ids(rule) -> list[int]:
        return [o["id"] for o in objects if rule(o)]

    def prompt(concept, family, text, answer, negative=None):
        return {
            "prompt": text,
            "concept": concept,
            "family": family,
            "answer": {"objects": answer},
            "negative": negative if not answer else None,
        }

    first = min(objects, key=lambda o: o["at"][0])
    front = max(objects, key=lambda o: o["at"][1])
    near = min(
        (o for o in objects if o is not first), key=lambda o: np.hypot(*np.subtract(o["at"], first["at"]))
    )
    round_ones, flat_ones = ids(lambda o: o["category"] == "ball"), ids(lambda o: o["category"] == "box")
    left = ids(lambda o: o["at"][0] < SIZE / 2)
    return [
        prompt("entities", "instances", "everything round", round_ones, "false_attribute"),
        prompt("entities", "instances", "whatever has corners", flat_ones, "false_attribute"),
        prompt("entities", "instances", "the banana", [], "absent"),
        prompt("spatial", "viewer", "what lies in the left half", left, "false_attribute"),
        prompt("spatial", "ordering", "what is closest to the viewer", [front["id"]]),
        prompt("spatial", "viewer", "what hangs from the ceiling", [], "absent"),
        prompt("relations", "contact", "the neighbour of what is farthest left", [near["id"]]),
        prompt("relations", "contact", "the hand holding something", [], "absent"),
        prompt(
            "affordances",
            "context_independent",
            "what a child could kick around",
            round_ones,
            "false_attribute",
        ),
        prompt("affordances", "negative", "what cannot be juggled", flat_ones, "false_attribute"),
        prompt("affordances", "context_independent", "something to write with", [], "absent"),
        prompt(
            "physics", "counterfactual", "what would roll off a tilted table", round_ones, "false_attribute"
        ),
        prompt("physics", "support", "what would stay put on a slope", flat_ones, "false_attribute"),
        prompt("physics", "hazard", "the open flame", [], "absent"),
    ]


def write_flatworld(folder: Path, count: int, seed: int = 0) -> list[Path]:
    """Write dense truth into `folder/truth` and pictures into `folder/pictures`; return the pictures."""
    scenes = [draw_scene(seed * 1000 + number) for number in range(count)]
    pixels = np.stack([rgb for rgb, _, _ in scenes])
    ids = np.stack([ids for _, ids, _ in scenes])
    facts = [
        {"format": 1, "seed": n, "split": "train"} | _plain(known) for n, (_, _, known) in enumerate(scenes)
    ]
    write_shard(
        folder / "truth" / "shard-00000.npz",
        Shard(
            rgb=pixels,
            objects=ids,
            parts=np.zeros_like(ids),
            depth=np.zeros(ids.shape, np.float16),
            scene=np.arange(count, dtype=np.int32),
            view=np.zeros(count, np.uint8),
            scenes=facts,
        ),
    )
    (folder / "pictures").mkdir(exist_ok=True)
    paths = []
    for number, rgb in enumerate(pixels):
        paths.append(folder / "pictures" / f"scene-{number:03d}.png")
        Image.fromarray(rgb).save(paths[-1])
    return paths


def _plain(facts: dict) -> dict:
    for known in facts["objects"]:
        known["at"] = [int(v) for v in known["at"]]
    return facts
