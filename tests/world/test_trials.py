"""Truths by doing: small worlds whose outcome anyone can foretell."""

from __future__ import annotations

import numpy as np
import pytest

from askmask.world import scene, shapes, stage, surfaces, trials
from askmask.world.assets import ASSETS
from askmask.world.facts import measure
from askmask.world.scene import shape_of
from askmask.world.shapes import UPRIGHT, Collider, Shape, about_y, about_z, multiply
from askmask.world.simulate import touches

FORM = 5


def height(category: str) -> float:
    return shape_of(category, FORM).size[2]


def box(x: float, low: float = 0.0, y: float = 0.0) -> tuple:
    return ("box", x, y, low, {"form": FORM, "turn": UPRIGHT})


def test_taking_the_bottom_of_a_tower_drops_all_above_and_taking_the_top_nothing(lay):
    tall = height("box")
    things = measure(lay(box(0), box(0, tall), box(0, 2 * tall)))
    assert [t["attributes"]["removable"] for t in things] == [False, False, True]
    assert [t["falls_with"] for t in things] == [[2, 3], [3], []]
    assert [t["supports"] for t in things] == [[2], [3], []]
    assert [t["attributes"]["on_top"] for t in things] == [False, False, True]


def test_a_counterweight_is_on_top_and_yet_must_not_be_taken(lay):
    foot, plank = shape_of("box", FORM), shape_of("plank", FORM)
    shift = foot.size[0] / 2 + 0.012  # the plank's middle lies outside its foot
    world = lay(
        box(0),
        ("plank", shift, 0, foot.size[2], {"form": FORM, "turn": UPRIGHT}),
        ("box", -foot.size[0] * 0.2, 0, foot.size[2] + plank.size[2], {"form": FORM, "turn": UPRIGHT}),
    )
    weight = measure(world)[2]
    assert weight["attributes"]["on_top"] and weight["attributes"]["removable"] is False
    assert weight["falls_with"] == [2]


def test_a_thin_cloth_can_be_drawn_from_under_a_plate(lay):
    world = lay(("cloth", 0, 0, 0, {"form": FORM}), ("plate", 0, 0, height("cloth"), {"form": FORM}))
    cloth = measure(world)[0]["attributes"]
    assert cloth["load_bearing"] and cloth["removable"]


def test_a_propped_board_falls_without_its_prop_though_the_prop_carries_nothing(lay):
    """What leans feels its prop go: "nothing rests on top" would have been the wrong guess."""
    reach = shape_of("book", FORM).size[0]
    wide = shape_of("box", FORM).size[0]
    lean = 1.2
    at = (
        wide / 2
        + 0.003
        + reach / 2 * float(np.cos(lean))
        + shape_of("book", FORM).size[2] * float(np.sin(lean))
    )
    world = lay(box(0), ("book", at, 0, 0, {"form": FORM, "turn": multiply(about_z(0), about_y(lean))}))
    prop, book = measure(world)
    assert book["pose"] == "tilted", "the book did not stay propped: the scene tests nothing"
    assert prop["attributes"]["removable"] is False and prop["falls_with"] == [2]


def test_slender_things_tip_and_stout_ones_do_not(lay):
    world = lay(
        ("candle", -0.2, 0, 0),
        ("bottle", 0, 0, 0),
        ("pot", 0.25, 0, 0, {"pose": "upright"}),
        ("plate", -0.1, 0.25, 0),
    )
    found = trials.push_each(world, touches(world))
    assert [truth for truth, _ in found] == [True, True, False, False]
    assert found[1][1] == trials.PUSHES[0]


@pytest.mark.parametrize(("wide", "tall"), [(0.05, 0.06), (0.032, 0.09), (0.06, 0.14), (0.02, 0.08)])
def test_what_tips_agrees_with_statics(lay, monkeypatch, wide, tall):
    """A block tips on its edge if the push's lever beats its weight's: share > width / 2 / (0.85 height)."""
    half = (0.1, wide / 2, tall / 2)
    block = Shape(
        (shapes.block("body", half, (0, 0, tall / 2)),),
        (Collider("box", half, (0, 0, tall / 2)),),
        (0.2, wide, tall),
        0.4,
    )
    monkeypatch.setattr(scene, "shape_of", lambda category, form: block)
    monkeypatch.setattr(stage, "shape_of", lambda category, form: block)
    world = lay(("box", 0, 0, 0, {"turn": UPRIGHT}))
    needed = wide / 2 / (0.85 * tall)
    assert not trials.PUSHES[0] * 0.9 < needed < trials.PUSHES[1] * 1.1, "too near the thresholds to foretell"
    assert trials.push_each(world, touches(world))[0][0] is (needed < trials.PUSHES[0])


def test_round_things_roll_the_way_the_table_tilts_and_boxes_stay(lay):
    world = lay(
        ("ball", 0, 0, 0),
        box(0.2),
        ("can", -0.15, 0, 0, {"turn": multiply(about_z(np.pi / 2), about_y(np.pi / 2))}),
    )
    found = trials.tilt_each_way(world)
    assert all(found[way][0][0] is True for way in trials.DIRECTIONS)
    assert all(found[way][1][0] is False for way in trials.DIRECTIONS)
    # The can lies along y: it rolls to the sides, not to the front or back.
    assert found["left"][2][0] and found["right"][2][0]
    assert found["front"][2][0] is False and found["back"][2][0] is False


def test_trials_leave_the_world_as_it_was(lay):
    world = lay(
        box(0), box(0, height("box")), ("ball", 0.2, 0, 0), ("candle", -0.2, 0, 0), ("mug", 0.1, 0.2, 0)
    )
    before = world.state()
    measure(world)
    for was, now in zip(before, world.state(), strict=True):
        np.testing.assert_array_equal(was, now)


@pytest.mark.parametrize("category", [name for name, asset in ASSETS.items() if "hollow" in asset.form])
def test_beads_stay_in_an_open_upright_vessel(lay, category):
    form = next(f for f in range(40) if not shape_of(category, f).lidded)
    world = lay((category, 0, 0, 0, {"form": form, "pose": "upright"}))
    assert trials.drop_beads(world, [1])[1] >= 0.75


@pytest.mark.parametrize("category", ["mug", "glass", "bowl", "pot"])
def test_nothing_is_held_by_a_vessel_upside_down(lay, category):
    world = lay((category, 0, 0, 0, {"pose": "upside_down"}))
    assert measure(world)[0]["attributes"]["holds_liquid"] is False


@pytest.mark.parametrize("category", ["pot", "jar", "teapot"])
def test_beads_do_not_pass_a_lid(lay, category):
    form = next(f for f in range(40) if shape_of(category, f).lidded)
    world = lay((category, 0, 0, 0, {"form": form, "pose": "upright"}))
    assert trials.drop_beads(world, [1])[1] <= 0.3
    assert measure(world)[0]["attributes"]["holds_liquid"] is False


def test_what_is_full_is_neither_fit_nor_unfit_to_be_filled(lay):
    world = lay(("crate", 0, 0, 0, {"form": FORM}), ("apple", 0, 0, 0.02))
    crate = measure(world)[0]
    assert crate["contains"] == [2] and crate["attributes"]["holds_liquid"] is None


def test_room_for_a_cup_goes_when_something_stands_there(lay):
    stand = ("plate", 0, 0, 0, {"form": FORM, "turn": UPRIGHT})
    assert surfaces.free_surface(lay(stand), 1).radius > surfaces.CUP[2]
    laden = lay(stand, ("bowl", 0, 0, 0.007, {"form": FORM, "pose": "upside_down"}))
    spot = surfaces.free_surface(laden, 1)
    assert spot is None or spot.radius < surfaces.CUP[0]


def test_a_hand_from_the_front_is_stopped_by_what_stands_before(lay):
    world = lay(
        ("mug", 0, 0.15, 0, {"pose": "upright"}),
        ("vase", 0, -0.15, 0, {"pose": "upright"}),
        ("apple", 0.3, 0, 0),
    )
    things = measure(world)
    assert things[0]["attributes"]["reachable"] is False and things[0]["blocked_by"] == [2]
    assert things[1]["attributes"]["reachable"] and things[2]["attributes"]["reachable"]


def test_distance_to_the_edge(lay):
    world = lay(
        ("mug", 0, 0, 0), ("box", 0.41, 0, 0, {"form": FORM, "turn": UPRIGHT}), ("plate", 0, -0.29, 0)
    )
    things = measure(world)
    assert things[0]["attributes"]["near_edge"] is False
    assert things[1]["attributes"]["near_edge"] is True
    assert things[2]["attributes"]["overhangs"] is True


def test_a_pose_is_only_what_can_be_seen(lay):
    """A ball that rolled a quarter turn has not fallen over; a bottle on its side has."""
    quarter = multiply(about_z(0.3), about_y(np.pi / 2))
    names = ("ball", "box", "bottle", "can")
    world = lay(*((name, -0.3 + 0.2 * k, 0, 0, {"turn": quarter}) for k, name in enumerate(names)))
    assert [t["pose"] for t in measure(world)] == ["upright", "upright", "lying", "lying"]
