"""Other forms of the data, the fixed split, the steadiness of labels, what the package asks of a machine."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from askmask.errors import DataError, SettingError
from askmask.formats import own
from askmask.imaging.mask import Mask
from askmask.world import tabletop
from askmask.world.export import to_converseg, to_parquet
from askmask.world.flips import count_flips
from askmask.world.generate import Plan, make
from askmask.world.layouts import sample_scene
from askmask.world.record import record
from askmask.world.show import sheet

SCENES = ["ceb35cb9483dca0e", "d0aa25d404aac2e0", "7feb9b95ae5f50d4"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("examples")
    make(Plan(split="train", count=2, sizes=(64,), prompts=6), out)
    return out


def test_the_published_format_holds_the_same_prompts_and_masks(folder):
    count = to_converseg(folder)
    rows = [json.loads(line) for line in (folder / "dataset.jsonl").read_text().splitlines()]
    items = json.loads((folder / "items.json").read_text())
    alone = [
        (example, round)
        for example in own.read_examples(folder, absolute_images=False)
        for round in example.rounds
        if not round.needs_history
    ]
    assert count == len(rows) == items["count"] == len(items["items"]) == len(alone)
    for (example, round), row, item in zip(alone, rows, items["items"], strict=True):
        assert set(row) == {"image", "mask_merged", "prompt", "concept"}
        assert set(item) == {"id", "image", "mask", "prompt", "concept"}
        assert row["prompt"] == item["prompt"] == round.text
        assert Mask.from_png(folder / row["mask_merged"]) == round.mask(example.size)
        assert Image.open(folder / row["image"]).size == (64, 64)


def test_parquet_holds_rows_and_pictures(folder):
    parquet = pytest.importorskip("pyarrow.parquet", reason="the extra [eval] is not installed")
    table = parquet.read_table(to_parquet(folder)).to_pylist()
    examples = list(own.read_examples(folder, absolute_images=False))
    assert [row["id"] for row in table] == [e.id for e in examples]
    for row, example in zip(table, examples, strict=True):
        assert json.loads(row["example"]) == example.to_dict()
        assert row["image"]["bytes"] == (folder / example.image).read_bytes()


@pytest.mark.parametrize("name", ["tabletop-1", "words-1", "conversation-1", "dialogue-1"])
def test_the_fixed_split_is_what_was_written_down(name):
    """Data must be equal everywhere; truths and pictures where the same simulator and driver made them."""
    known = tabletop.known(name)
    plan = tabletop.plan_of(name)
    assert [int(seed) for seed in known["scenes"]] == list(plan.seeds(0)) and len(
        known["scenes"]
    ) == plan.count
    found = {d.what for d in tabletop.check(name, count=2)}
    assert "scene" not in found
    import mujoco

    from askmask.world.engine import gl_name

    if known["made_with"] | {"world": 0} == {"world": 0, "mujoco": mujoco.__version__, "gl": gl_name()}:
        assert not found


def test_a_changed_scene_is_found_out(monkeypatch):
    known = tabletop.known("tabletop-1")
    seed = next(iter(known["scenes"]))
    altered = {**known["scenes"], seed: ["0" * 16, *known["scenes"][seed][1:]]}
    monkeypatch.setattr(tabletop, "known", lambda name: {**known, "scenes": altered})
    differences = list(tabletop.check("tabletop-1", count=1))
    assert tabletop.Difference(int(seed), "scene") in differences


def test_damaged_hashes_and_unknown_splits_are_refused(tmp_path, monkeypatch):
    with pytest.raises(SettingError, match="tabletop-1"):
        tabletop.known("tabletop-9")
    monkeypatch.setattr(tabletop, "digest", lambda scenes: "other")
    with pytest.raises(DataError, match="damaged"):
        tabletop.known("tabletop-1")


def test_scene_data_hashes_do_not_move():
    """The sampler's random numbers: no simulation, no drawing. Raise scene.VERSION when this changes."""
    assert [sample_scene(seed).digest() for seed in (0, 1, 200_000_000)] == SCENES


def test_labels_withstand_other_friction_mass_and_pose():
    flips = count_flips(range(30, 34))
    assert flips.scenes == 4
    labels, turned = sum(flips.kept.values()), sum(flips.flipped.values())
    assert labels > 1000 and turned <= 0.02 * labels
    assert set(flips.rates()) == {"friction", "mass", "pose"}


def test_a_contact_sheet_shows_every_prompt(recorded):
    page = np.asarray(sheet(recorded[24], prompts=6))
    assert page.ndim == 3 and page.shape[0] > 600 and page.shape[1] > 1000
    assert (np.abs(page.astype(int) - [40, 220, 90]).sum(-1) < 10).any()  # an outline somewhere


def test_dense_views_beyond_two_continue_the_same_scene():
    two, four = record(3, 48, views=2), record(3, 48, views=4)
    assert len(four.views) == 4
    np.testing.assert_array_equal(two.views[1].rgb, four.views[1].rgb)
    assert two.facts["objects"] == four.facts["objects"]


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("import askmask.world.record, sys; print('torch' in sys.modules)", "False"),
        (
            "import sys; sys.modules['mujoco'] = None\n"
            "from askmask.world.engine import load_mujoco\n"
            "try: load_mujoco()\nexcept ImportError as error: print(error)",
            "askmask[world]",
        ),
    ],
)
def test_what_the_package_needs(code, told):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told in done.stdout
