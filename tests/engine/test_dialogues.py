"""The builder of dialogues: its rules, and whole runs against the oracle, with mistakes and stopped half way."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import ndimage
from typer.testing import CliRunner

from askmask.cli.app import app, register_commands
from askmask.engine.dialogues.export import _shapes
from askmask.engine.dialogues.rules import broken_dialogue, leaked, most_leaked
from askmask.engine.dialogues.store import DialogueStore
from askmask.engine.dialogues.values import Dialogue, Element, Turn
from askmask.formats import open_dataset
from askmask.formats.labelme import union_of_shapes
from askmask.formats.own import read_examples
from askmask.imaging.mask import Mask

ELEMENTS = {n: Element(id=n, name=name, seen="") for n, name in ((1, "red mug"), (2, "blue bowl"))}


def talk(*turns, request="Mark what is left.", focus=1, path="path 1"):
    turns = turns or (("What holds tea?", "Two things do.", "point", (1, 2)),)
    made = tuple(Turn(person=p, assistant=a, kind=k, points_at=n) for p, a, k, n in turns)
    return Dialogue(path=path, turns=made, request=request, focus=focus, call="")


NOTHING = ("Any spoon?", "None.", "nothing", ())


@pytest.mark.parametrize(
    ("dialogue", "rule"),
    [
        (talk(), None),
        (talk(request="Mark the mugs."), "request_names_focus"),
        (talk(request="Mark number 1."), "speaks_of_the_task"),
        (talk(focus=2), "another_focus"),
        (talk(focus=7), "unknown_element"),
        (talk(("A?", "B.", "point", (9,))), "unknown_element"),
        (talk(("A?", "B.", "point", ())), "points_unlike_its_kind"),
        (talk(("A?", "B.", "words", (1,))), "points_unlike_its_kind"),
        (talk(("No, that one.", "B.", "correct", (1,))), "corrects_nothing"),
        (talk(NOTHING, NOTHING), "nothing_twice"),
    ],
)
def test_a_dialogue_that_breaks_a_rule_is_dropped_under_its_name(dialogue, rule):
    assert broken_dialogue(dialogue, 1, ELEMENTS, []) == rule


def test_near_copies_and_leaks_are_known():
    one = talk(("What here can hold tea?", "Two.", "point", (1, 2)))
    again = talk(("What here can hold some tea?", "Both.", "point", (1, 2)), path="path 2")
    assert broken_dialogue(again, 1, ELEMENTS, [one]) == "near_duplicate"
    assert leaked(talk(), "red mug") == (False, False)
    assert leaked(talk(("Is it red?", "A mug, yes.", "words", ())), "red mug") == (False, True)
    assert leaked(
        talk(("Something red?", "Yes.", "words", ()), ("Like mugs?", "Yes.", "words", ())), "red mug"
    )[0]
    assert [most_leaked(9, 0.1), most_leaked(8, 0.1), most_leaked(0, 0.5), most_leaked(5, 0.0)] == [
        1,
        0,
        0,
        0,
    ]


def test_polygons_give_a_mask_back_with_its_holes():
    rng = np.random.default_rng(0)
    for _ in range(20):
        blob = ndimage.gaussian_filter(rng.normal(size=(40, 50)), 2.5) > rng.normal() * 0.03
        blob &= ndimage.binary_opening(blob)
        if blob.any():
            mask = Mask.from_array(blob)
            assert union_of_shapes(_shapes("it", mask), mask.size).iou(mask) >= 0.99


@pytest.fixture
def build(flat, tmp_path):
    """Run `askmask build prist` over three flat pictures."""
    register_commands()
    pictures = tmp_path / "pictures.txt"
    pictures.write_text("".join(f"{path}\n" for path in sorted((flat / "pictures").glob("*.png"))[:3]))

    def run(server, out, *more):
        words = [
            "build",
            "prist",
            pictures,
            "--model",
            "oracle-1",
            "--base-url",
            server.address,
            "--out",
            out,
        ]
        result = CliRunner().invoke(
            app, [str(w) for w in (*words, "--first-wait", "0.01", "--val", "0", *more)]
        )
        stats = tmp_path / out / "data/stats.json"
        return SimpleNamespace(
            code=result.exit_code,
            text=result.output,
            error=result.exception,
            stats=json.loads(stats.read_text()) if stats.is_file() else None,
        )

    return run


def test_a_run_that_was_stopped_goes_on_and_asks_nothing_twice(build, oracle, tmp_path):
    with oracle("json=0.1,untrue=0.2") as server:
        calm = build(server, tmp_path / "calm", "--price", "1,2")
        asked = server.outcomes["answered"] + server.outcomes["json"]
        assert calm.code in (0, 1) and calm.stats["dialogues"] >= 2, calm.text
        stopped = build(server, tmp_path / "rough", "--max-calls", "15")
        assert stopped.code != 0 and "budget" in str(stopped.error).lower() + stopped.text.lower()
        rough = build(server, tmp_path / "rough")
        assert rough.stats["digest"] == calm.stats["digest"]
        assert server.outcomes["answered"] + server.outcomes["json"] == 2 * asked
    cost = calm.stats["cost"]
    assert cost["usd"] == pytest.approx((cost["input_tokens"] + 2 * cost["output_tokens"]) / 1e6, rel=1e-3)
    for name in ("examples.jsonl", "train.json", "rejects.jsonl"):
        assert (tmp_path / "calm/data" / name).read_bytes() == (tmp_path / "rough/data" / name).read_bytes()


def test_what_is_built_is_read_by_prists_reader_and_has_masks_at_every_turn(build, oracle, tmp_path, gallery):
    with oracle() as server:
        done = build(server, tmp_path / "run")
    assert done.code == 0, done.text
    ours = {e.id: e for e in read_examples(tmp_path / "run/data")}
    theirs = list(open_dataset(f"prist:{tmp_path / 'run/data'}@train"))
    assert len(theirs) == len(ours) == done.stats["dialogues"] >= 2
    for one, other in zip(theirs, ours.values(), strict=True):
        assert [r.text for r in one.rounds] == [r.text for r in other.rounds]
        focus = one.rounds[-1].meta["focus"]
        assert one.rounds[-1].meta["match"] == "exact" and focus == other.rounds[-1].meta["focus"]
        assert one.rounds[-1].masks[0].iou(other.rounds[-1].masks[0]) >= 0.98
        assert "[SEG]" in one.rounds[-1].reply and not set(focus.split()) & set(one.rounds[-1].text.split())
        for round in other.rounds[:-1]:
            pointing = round.meta["kind"] in ("point", "correct")
            assert (round.segments is None) == (round.meta["kind"] == "words") and bool(
                round.segments
            ) == pointing
        true = [t for scene in gallery.scenes for t in scene.things if t.name == focus]
        assert max(Mask.from_array(t.mask).iou(other.rounds[-1].masks[0]) for t in true) >= 0.7
    with DialogueStore(tmp_path / "run", read_only=True) as store:
        assert all(store.finished(row.sha256) for row in store.pictures())


@pytest.mark.parametrize(
    ("errors", "seen"),
    [
        ("named=1", lambda s: s["dropped_by_rule"]["request_names_focus"] == s["paths"]),
        ("told=1", lambda s: s["leakage_before_the_bound"]["person"] == 1),
        ("astray=1,false_reject=0", lambda s: s["dialogues_written"] > s["rejects"] - 1 >= 0),
    ],
)
def test_each_kind_of_mistake_is_caught(build, oracle, tmp_path, errors, seen):
    with oracle(errors) as server:
        stats = build(server, tmp_path / "run").stats
    assert stats["paths"] >= 3 and stats["dialogues"] == 0 and seen(stats), stats
