"""What a seed gives: equal bytes, ids that partition the frame, facts that pixels and poses confirm."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from askmask.formats import dense
from askmask.imaging.mask import Mask
from askmask.world.facts import look, measure
from askmask.world.generate import dense_shard, examples_of
from askmask.world.ground import Ground
from askmask.world.layouts import PAIRED, sample_scene
from askmask.world.prompts import queries
from askmask.world.record import record
from askmask.world.render import Renderer
from askmask.world.scene import FLOOR, Scene, split_of
from askmask.world.simulate import build, settle, settled_world


def test_same_seed_same_bytes(recorded):
    again = record(21, 96)
    assert json.dumps(again.facts) == json.dumps(recorded[21].facts)
    for one, two in zip(again.views, recorded[21].views, strict=True):
        for name in ("rgb", "objects", "parts", "depth"):
            np.testing.assert_array_equal(getattr(one, name), getattr(two, name))


def test_ids_partition_the_frame_and_parts_lie_in_their_things(recorded):
    for found in recorded.values():
        things = {t["id"]: t for t in found.facts["objects"]}
        for view in found.views:
            allowed = {dense.WALL, dense.TABLE, dense.FLOOR, *things}
            assert set(np.unique(view.objects)) <= allowed
            owner = {p["id"]: n for n, t in things.items() for p in t["parts"]}
            owner |= {
                dense.WALL: dense.WALL,
                dense.FLOOR: dense.FLOOR,
                dense.TABLE: dense.TABLE,
                dense.TABLE_REST: dense.TABLE,
            }
            of_part = np.vectorize(owner.__getitem__)(view.parts)
            np.testing.assert_array_equal(of_part, view.objects)


def test_pictures_show_what_ids_say(recorded):
    """An opaque, coloured thing's body shows the hue of its paint, whatever the light."""
    right = total = 0
    for found in recorded.values():
        for thing, facts in zip(found.scene.things, found.facts["objects"], strict=True):
            part = next((p["id"] for p in facts["parts"] if p["name"] in ("body", "cover")), None)
            pixels = found.views[0].rgb[found.views[0].parts == part].astype(float)
            if thing.material in ("glass",) or len(pixels) < 20 or thing.colour in ("black", "white", "grey"):
                continue
            seen = np.median(pixels, 0)
            cosine = seen @ np.array(thing.rgb) / np.linalg.norm(seen) / np.linalg.norm(thing.rgb)
            right, total = right + (cosine > 0.93), total + 1
    assert total >= 10 and right >= 0.85 * total


def test_depth_and_heights_agree_with_the_world(recorded):
    """Table pixels lie at z = 0, floor pixels at the floor's height, by depth and camera alone."""
    for found in recorded.values():
        for view in found.views:
            heights = view.camera.heights(view.depth)
            assert abs(np.median(heights[view.parts == dense.TABLE])) < 0.003
            floor = heights[view.objects == dense.FLOOR]
            if floor.size > 50:
                assert abs(np.median(floor) - FLOOR) < 0.01


def test_facts_are_confirmed_by_pixels_and_poses(recorded):
    for found in recorded.values():
        things = {t["id"]: t for t in found.facts["objects"]}
        for view, seen in zip(found.views, found.facts["views"], strict=True):
            for n, facts in ((int(k), v) for k, v in seen["objects"].items()):
                area = int((view.objects == n).sum())
                assert facts["pixels"] == area
                if area < 30:
                    continue
                ys, xs = np.nonzero(view.objects == n)
                assert facts["box"] == [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]
                depth = float(np.median(view.depth[view.objects == n]))
                assert abs(depth - facts["depth"]) < max(things[n]["size"]) * 0.8 + 0.02
        for n, thing in things.items():
            for above in thing["supports"]:
                assert things[above]["high"] > thing["low"]
                assert n in things[above]["supported_by"]
            if thing["inside"] is not None:
                assert n in things[thing["inside"]]["contains"]


def mirror(scene: Scene) -> Scene:
    """Reflect the world at x = 0; a turned form that is symmetric about its x-z plane needs no mirrored mesh."""

    def flip(point: tuple) -> tuple:
        return (-point[0], *point[1:])

    def turned(turn: tuple) -> tuple:
        # M R D with M = (-,+,+), D = (+,-,+) is (M R M)(M D): M R M negates the quaternion's y and z, and M D is
        # the half turn about z.
        w, x, y, z = turn[0], turn[1], -turn[2], -turn[3]
        return (-z, y, -x, w)

    return replace(
        scene,
        things=tuple(replace(t, at=flip(t.at), turn=turned(t.turn)) for t in scene.things),
        cameras=tuple(replace(c, target=flip(c.target), azimuth=180 - c.azimuth) for c in scene.cameras),
        lights=tuple(replace(light, at=flip(light.at)) for light in scene.lights),
        table=replace(scene.table, heading=-scene.table.heading),
    )


def test_mirroring_swaps_left_and_right_and_nothing_else():
    for seed in (3, 24):
        world = settled_world(seed)
        other = build(mirror(world.scene))
        assert settle(other)
        ours, theirs = measure(world), measure(other)
        swap = {"rolls_left": "rolls_right", "rolls_right": "rolls_left"}
        for a, b in zip(ours, theirs, strict=True):
            assert a["position"][0] == pytest.approx(-b["position"][0], abs=0.004)
            assert a["position"][1:] == pytest.approx(b["position"][1:], abs=0.004)
            for name, truth in a["attributes"].items():
                mirrored = b["attributes"][swap.get(name, name)]
                assert truth is None or mirrored is None or truth == mirrored, (seed, a["id"], name)
            for name in ("supports", "contains", "inside", "falls_with", "pose"):
                assert a[name] == b[name]
        grounds = []
        for w, things in ((world, ours), (other, theirs)):
            with Renderer(w, 96) as renderer:
                view = renderer.draw(w.scene.cameras[0])
            grounds.append((Ground(things, look(w, view), 96), view))
        (ground, view), (flipped, back) = grounds
        assert (view.objects == back.objects[:, ::-1]).mean() > 0.985
        sides = [
            {
                (q.kind, q.slots.get("x")): (set(q.satisfying), set(q.ignore))
                for q in queries(g, np.random.default_rng(0))
                if q.concept == "spatial"
            }
            for g in (ground, flipped)
        ]
        turned = {
            "left_of": "right_of",
            "right_of": "left_of",
            "leftmost": "rightmost",
            "rightmost": "leftmost",
        }
        compared = 0
        for (kind, n), (yes, unsure) in sides[0].items():
            twin = sides[1].get((turned.get(kind, kind), n))
            if twin is None or kind.startswith("nth"):
                continue
            known = set(ground.seen) & set(flipped.seen) - unsure - twin[1]
            assert yes & known == twin[0] & known, (seed, kind, n)
            compared += 1
        assert compared > 10


def test_the_scenes_of_a_counterfactual_pair_look_the_same_and_stand_otherwise():
    pairs = [seed for seed in range(0, 100, 2) if sample_scene(seed).pair is not None]
    assert 0.5 * PAIRED < len(pairs) / 50 < 2 * PAIRED
    alike = 0
    for seed in pairs[:6]:
        one, two = sample_scene(seed), sample_scene(seed + 1)
        assert one.pair == seed + 1 and two.pair == seed
        assert one.textures == two.textures and one.ambient == two.ambient
        looks = [[(t.category, t.form, t.rgb) for t in scene.things] for scene in (one, two)]
        assert looks[0][0] == looks[1][0]
        alike += looks[0] == looks[1]
        assert replace(one, seed=0, pair=None) != replace(two, seed=0, pair=None)
    assert alike >= len(pairs[:6]) - 2


def test_prompts_carry_their_truth(recorded):
    for found in recorded.values():
        held = split_of(found.scene.seed) != "train"
        for view, seen in zip(found.views, found.facts["views"], strict=True):
            assert len(seen["prompts"]) >= 15
            assert held == (found.facts["split"] == "test")
            for prompt in [*seen["prompts"], *(p for d in seen["dialogues"] for p in d)]:
                masks = dense.answer_masks(prompt["answer"], view.objects, view.parts)
                assert all(mask.any() for mask in masks)
                assert (not masks) == (prompt["negative"] is not None)
                assert set(prompt["satisfying"]) <= set(prompt["candidates"])
                assert not set(prompt["ignore"]) & set(prompt["satisfying"])
                assert prompt["concept"] and prompt["family"]
                if "objects" in prompt["answer"] and prompt["kind"] != "floor":
                    assert prompt["answer"]["objects"] == prompt["satisfying"]
                for n, mask in zip(prompt["satisfying"], masks, strict=False):
                    if "objects" not in prompt["answer"]:  # parts and surfaces lie in their thing
                        assert not (mask & (view.objects != n)).any() or len(prompt["satisfying"]) != len(
                            masks
                        )


def test_surfaces_are_level(recorded):
    checked = 0
    for found in recorded.values():
        for view, seen in zip(found.views, found.facts["views"], strict=True):
            heights = view.camera.heights(view.depth)
            for prompt in seen["prompts"]:
                if prompt["kind"] == "surface":
                    (mask,) = dense.answer_masks(prompt["answer"], view.objects, view.parts)
                    assert np.ptp(heights[mask]) < 0.012
                    checked += 1
    assert checked


def test_dialogues_refer_to_earlier_rounds(recorded):
    later = 0
    for found in recorded.values():
        for seen in found.facts["views"]:
            for dialogue in seen["dialogues"]:
                assert 2 <= len(dialogue) <= 4 and not dialogue[0]["refers_to"]
                for k, prompt in enumerate(dialogue[1:], 1):
                    assert prompt["refers_to"] and prompt["reply"]
                    for reference in prompt["refers_to"]:
                        target = dialogue[reference["round"]]
                        assert reference["round"] < k
                        assert reference.get("mask", 0) < len(target["answer"]["objects"])
                        of = prompt["facts"].get("of")
                        if of is not None and "mask" in reference:
                            assert target["answer"]["objects"][reference["mask"]] == of
                        later += 1
    assert later >= 20


def test_examples_and_dense_rows_say_the_same(recorded, tmp_path):
    found = recorded[24]
    dense.write_shard(tmp_path / "shard-00000.npz", dense_shard([found]))
    shard = dense.read_shard(tmp_path / "shard-00000.npz")
    examples = {e.id: e for e in examples_of(found)}
    for row in range(2):
        _, seen = shard.facts(row)
        for k, prompt in enumerate(seen["prompts"]):
            (asked,) = examples[f"world-24-{row}-{k}"].rounds
            masks = shard.answer_masks(row, prompt)
            assert asked.text == prompt["prompt"]
            assert asked.masks == tuple(Mask.from_array(mask) for mask in masks)
            assert set(asked.meta) >= {"candidates", "satisfying", "facts", "shortcuts", "margin"}
    chats = [e for e in examples.values() if len(e.rounds) > 1]
    assert chats and all(e.rounds[1].needs_history for e in chats)
