"""What mini does with pictures unlike its own: is it said, and what are its scores worth there?

    python benchmarks/mini_unlike.py DENSE_FOLDER [--photographs FOLDER] [--out results/mini/unlike]

How often an answer has the notice "this picture is unlike ..." on: views of DENSE_FOLDER, which are its own; tabletops
of another generator (plain shapes, flat colours, other cameras; made here with MuJoCo); the same as line drawings;
screenshots of askmask's own pages (`docs/images`), and photographs, each also cut into four.
Of the other generator's pictures the truth is known: gIoU of simple requests ("the red box", "the balls"), calibration
of scores and presence, and how many wrong masks score a half or more.
"""

from __future__ import annotations

import argparse
import json
import platform
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from mini_words import WRONG, ece, sure
from PIL import Image, ImageFilter, ImageOps

import askmask
from askmask.formats.dense import read_shard, shards
from askmask.imaging.overlap import iou
from askmask.runs.whole_files import write_json
from askmask.world.engine import load_mujoco

COLOURS = {
    "red": (0.8, 0.1, 0.1),
    "green": (0.1, 0.6, 0.2),
    "blue": (0.1, 0.2, 0.8),
    "yellow": (0.9, 0.8, 0.1),
}
SHAPES = {"box": "box", "ball": "sphere"}
SIDE = 240


def things_of(random):
    """Return the things on one table of the other generator, [(geom name, noun, colour)], and their MJCF."""
    things, geoms, places = [], [], []
    for number in range(int(random.integers(2, 6))):
        place = free_place(random, places)
        if place is None:
            continue
        places.append(place)
        noun, colour = random.choice(list(SHAPES)), random.choice(list(COLOURS))
        half = [random.uniform(0.04, 0.08)]
        if noun == "box":
            half += [random.uniform(0.04, 0.08), random.uniform(0.03, 0.09)]
        geoms.append(
            f'<geom name="g{number}" type="{SHAPES[noun]}" size="{joined(half)}" '
            f'pos="{joined(place)} {0.4 + half[-1]}" rgba="{joined(COLOURS[colour])} 1" '
            f'euler="0 0 {random.uniform(0, 180)}"/>'
        )
        things.append((f"g{number}", noun, colour))
    return things, "".join(geoms)


def free_place(random, places):
    """Return a place on the table, away from others; None if 50 tries find none."""
    for _ in range(50):
        x, y = random.uniform(-0.35, 0.35, 2)
        if all(np.hypot(x - a, y - b) > 0.19 for a, b in places):
            return x, y
    return None


def camera_of(random):
    """Return where a camera stands that looks at the table's middle, and its axes to the right and up."""
    angle, low = random.uniform(0, 2 * np.pi), random.uniform(0.5, 1.1)
    away = np.array([np.cos(angle) * np.cos(low), np.sin(angle) * np.cos(low), np.sin(low)])
    away *= random.uniform(1.0, 1.5)
    right = np.array([-np.sin(angle), np.cos(angle), 0.0])
    return away + np.array([0, 0, 0.4]), (*right, *np.cross(away, right))


def joined(numbers):
    """Return numbers as MJCF writes them."""
    return " ".join(map(str, numbers))


def tabletop(random):
    """Return one scene of the other generator: rgb [H, W, 3], geom ids [H, W], [(id, noun, colour)]."""
    mujoco = load_mujoco()
    things, geoms = things_of(random)
    eye, axes = camera_of(random)
    wood = random.uniform(0.3, 0.9, 3)
    model = mujoco.MjModel.from_xml_string(
        f"""<mujoco><visual><global offwidth="{SIDE}" offheight="{SIDE}"/></visual>
        <asset><texture name="t" type="2d" builtin="checker" width="64" height="64" rgb1=".3 .3 .35" rgb2=".5 .5 .5"/>
        <material name="m" texture="t" texrepeat="8 8"/></asset>
        <worldbody><light pos="{joined(random.uniform(-1, 1, 2))} 3" dir="0 0 -1"/>
        <geom type="plane" size="3 3 .1" material="m"/>
        <geom name="table" type="box" size=".5 .5 .02" pos="0 0 .38" rgba="{joined(wood)} 1"/>{geoms}
        <camera name="c" pos="{joined(eye)}" xyaxes="{joined(axes)}"/>
        </worldbody></mujoco>"""
    )
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    with mujoco.Renderer(model, SIDE, SIDE) as renderer:
        renderer.update_scene(data, "c")
        rgb = renderer.render()
        renderer.enable_segmentation_rendering()
        renderer.update_scene(data, "c")
        ids = renderer.render()[..., 0]
    return rgb, ids, [(model.geom(name).id, noun, colour) for name, noun, colour in things]


def requests(ids, things):
    """Yield simple requests of one scene, and the mask [H, W] that answers each; some find nothing."""
    seen = [one for one in things if (ids == one[0]).sum() > 40]
    for noun in SHAPES:
        yield (
            f"the {noun}s" if noun == "ball" else "the boxes",
            np.isin(ids, [n for n, k, _ in seen if k == noun]),
        )
        for colour in COLOURS:
            yield (
                f"the {colour} {noun}",
                np.isin(ids, [n for n, k, c in seen if (k, c) == (noun, colour)]),
            )
    for colour in COLOURS:
        yield f"everything {colour}", np.isin(ids, [n for n, _, c in seen if c == colour])


def drawn(rgb):
    """Return a line drawing of a picture: its edges, black on white."""
    edges = Image.fromarray(rgb).convert("L").filter(ImageFilter.FIND_EDGES)
    return np.array(ImageOps.invert(ImageOps.autocontrast(edges)).convert("RGB"))


def cut(folder, names):
    """Yield every picture of a folder, whole and its four quarters."""
    for path in sorted(folder.glob(names)):
        if path.suffix.lower() not in (".png", ".jpg", ".jpeg"):
            continue
        with Image.open(path) as opened:
            picture = opened.convert("RGB")
        wide, high = picture.size
        yield np.array(picture)
        for x in (0, wide // 2):
            for y in (0, high // 2):
                yield np.array(picture.crop((x, y, x + wide // 2, y + high // 2)))


def warned(answer):
    """Whether an answer says that its picture is unlike the model's own."""
    return any("unlike" in notice for notice in answer.notices)


def noticed(model, pictures):
    """Return how many pictures there are, and the share that has the notice."""
    said = [warned(model.open(rgb).ask("the red box")) for rgb in pictures]
    return {"pictures": len(said), "with the notice": round(float(np.mean(said)), 4)}


def answers(model, scenes):
    """Yield what the model says to simple requests about the other generator's scenes, and what is true."""
    for rgb, ids, things in scenes:
        asked = list(requests(ids, things))
        answers = model.open(rgb).ask_many([prompt for prompt, _ in asked])
        for (_, truth), answer in zip(asked, answers, strict=True):
            yield {
                "present": bool(truth.any()),
                "found": answer.found,
                "iou": float(iou(answer.mask.to_array(), truth)),
                "score": answer.score,
                "presence": answer.presence,
            }


def worth(rows):
    """Return what answers, scores and presence are worth where the truth is known."""
    there = [row for row in rows if row["present"]]
    shown = [row for row in rows if row["found"]]
    wrong = [row for row in shown if row["iou"] < WRONG]
    return {
        "prompts with a target": len(there),
        "gIoU": round(float(np.mean([row["iou"] for row in there])), 4),
        "target accuracy": round(float(np.mean([row["found"] for row in there])), 4),
        "no-target accuracy": round(float(np.mean([not r["found"] for r in rows if not r["present"]])), 4),
        "score ECE": ece([row["score"] for row in shown], [row["iou"] for row in shown]),
        "presence ECE": ece([row["presence"] for row in rows], [row["present"] for row in rows]),
        "wrong masks": len(wrong),
        "of them score >= .5": sure(wrong),
    }


def views(folder, most):
    """Yield the pictures of dense truth."""
    pictures = (rgb for path in shards(folder) for rgb in read_shard(path).rgb)
    yield from islice(pictures, most)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder")
    parser.add_argument("--model", default="mini")
    parser.add_argument("--photographs", type=Path)
    parser.add_argument("--scenes", type=int, default=100)
    parser.add_argument("--out", default="results/mini/unlike.json")
    options = parser.parse_args()
    torch.set_num_threads(1)
    model = askmask.load(options.model, device="cpu")
    scenes = [tabletop(np.random.default_rng(seed)) for seed in range(options.scenes)]
    groups = {
        "its own": views(options.folder, options.scenes),
        "another generator": (rgb for rgb, _, _ in scenes),
        "line drawings": (drawn(rgb) for rgb, _, _ in scenes),
        "screenshots": cut(Path(__file__).parents[1] / "docs/images", "serve-*"),
    }
    groups |= {} if options.photographs is None else {"photographs": cut(options.photographs, "*")}
    found = {
        "machine": f"{platform.machine()}, torch {torch.__version__}, mujoco {load_mujoco().__version__}",
        "notice": {name: noticed(model, pictures) for name, pictures in groups.items()},
        "another generator": worth(list(answers(model, scenes))),
    }
    write_json(options.out, found)
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
