"""The build: both forms say the same, equal seeds give equal bytes, a stopped build goes on, dirt is counted."""

import json
import re
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from askmask.build.mrseg import run
from askmask.build.mrseg.run import build_mrseg
from askmask.cli.app import app, register_commands
from askmask.errors import AskMaskError, DataError, SettingError
from askmask.formats import open_dataset
from askmask.formats.mrseg_turns import parse_dialogue, render_dialogue
from askmask.notes import Notes
from tests.build.made import MAKERS, dump


def contents(folder):
    """Return the bytes of every file but locks."""
    files = (p for p in sorted(folder.rglob("*")) if p.is_file() and "lock" not in p.name)
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in files}


@pytest.mark.parametrize("split", ["train", "val"])
def test_both_forms_say_the_same(built, split):
    out, _ = built
    notes = Notes()
    theirs = list(open_dataset(f"mrseg:{out}@all_data_mix_{split}", notes=notes))
    ours = list(open_dataset(f"{out}@{split}"))
    assert not notes.counts and len(theirs) == len(ours) > 10

    def told(example):
        return [(r.text, r.reply, r.prompt.refers_to, r.prompt.masks, r.masks) for r in example.rounds], Path(
            example.image
        ).name

    # SegLLM skips regions that ReasonSeg leaves out of its score; ours hold them as ignored.
    rest = [e for e in theirs if "reasonseg" not in e.id]
    assert sorted(map(repr, map(told, rest))) == sorted(
        repr(told(e)) for e in ours if e.source != "reasonseg"
    )
    assert any(e.rounds[0].ignore for e in ours if e.source == "reasonseg")
    assert all(Path(e.image).is_file() for e in ours)
    assert {r.prompt.masks != () for e in ours for r in e.rounds if e.meta.get("group")} == {True}


def test_what_is_written_is_read_and_written_again_as_it_was(built):
    out, _ = built
    forms = set()
    for path in out.rglob("conversations_folder/**/*.json"):
        for row in json.loads(path.read_text(encoding="utf-8")):
            dialogue = parse_dialogue(row)
            assert render_dialogue(dialogue) == row and parse_dialogue(render_dialogue(dialogue)) == dialogue
            for turn in dialogue.turns:
                forms |= {(m.kind, bool(m.task)) for m in turn.pieces if not isinstance(m, str)}
    assert len(forms) == 5


@pytest.mark.parametrize(
    ("human", "gpt"),
    [
        ({"value": "[IMAGE256:a b.jpg] x"}, "Sure. [MASK-DECODE:a b.jpg|refcoco|12] Done."),
        ({"value": "x [see] [IMAGE256:a.jpg]", "ind": -1}, "[MASK-DECODE:none:none:12:a.jpg:refcoco]"),
        (
            {"value": "[IMAGE256:a.jpg][MASK-ENCODE:a.jpg|lvis|1][BOX-ENCODE:a.jpg|lvis|1]y", "ind": [1, 2]},
            "[MASK-DECODE:relational:1:2:a.jpg:lvis][MASK-DECODE:relational:1:2:3:a.jpg:lvis]",
        ),
        (
            {"value": "[IMAGE256:a.jpg] z", "ind": 1, "note": {"k": 1}},
            "[MASK-DECODE:a.jpg|reason_seg|] [FAKE:b]",
        ),
        ({"value": ""}, "no mask at all"),
    ],
)
def test_every_form_of_a_turn_survives(human, gpt):
    turns = [{"from": "human"} | human, {"from": "gpt", "value": gpt}]
    row = {"task": "segmentation", "base": "None", "more": [1], "conversations": turns}
    dialogue = parse_dialogue(row)
    assert render_dialogue(dialogue) == row and parse_dialogue(render_dialogue(dialogue)) == dialogue


@pytest.mark.parametrize(
    ("ind", "mask", "message"),
    [
        (2, 12, "names a round that is not earlier"),
        (9, 12, "names a round that is not earlier"),
        ("1", 12, "must be the number of a round"),
        (1, 99, "has no mask"),
    ],
)
def test_references_to_nothing_are_errors(made, tmp_path, ind, mask, message):
    build_mrseg([made["pascal", "train"]], tmp_path / "out", seed=1)
    (path,) = (tmp_path / "out/conversations_folder").rglob("*.json")
    rows = json.loads(path.read_text())
    turn = rows[0]["conversations"][2]
    turn["ind"] = ind
    if mask == 99:
        turn["value"] = re.sub(r"\|2008_\w+\]", "|99]", turn["value"])
    dump(path, rows)
    notes = Notes()
    assert len(list(open_dataset(f"mrseg:{tmp_path}/out@all_data_mix_train", notes=notes))) == 1
    assert message in "\n".join(notes.lines()) and "conversation 0" in "\n".join(notes.lines())


def test_equal_seeds_give_equal_bytes_wherever_the_sets_lie_and_in_whatever_order(built, made, tmp_path):
    out, _ = built
    for name, make in MAKERS.items():
        make(tmp_path / "made" / name)
    moved = [re.sub(":.*/", f":{tmp_path}/made/", source) for source in made.values()]
    # The rows of a file in another order, and keys of every object.
    for path in (tmp_path / "made").rglob("*.json"):
        if path.name in ("instances.json", "lvis_v1_train.json", "relationships.json"):
            dump(path, shuffled(json.loads(path.read_text())))
    build_mrseg(moved, tmp_path / "out", seed=7)
    again, before = contents(tmp_path / "out"), contents(out)
    for found in (again, before):
        del found["askmask-run.json"]  # it holds the hashes of the sources' files
    assert again.keys() == before.keys()
    assert [name for name in again if again[name] != before[name] and "/refcoco" not in name] == []
    assert [name for name in again if name.endswith(("jsonl", "md")) and again[name] != before[name]] == []
    build_mrseg(moved[:1], tmp_path / "other", seed=8)
    name = "examples-refcoco_train.jsonl"
    assert contents(tmp_path / "other")[name] != before[name]


def shuffled(value):
    if isinstance(value, dict):
        return {key: shuffled(value[key]) for key in sorted(value, reverse=True)}
    if isinstance(value, list) and value and isinstance(value[0], dict) and "name" not in value[0]:
        return [shuffled(one) for one in reversed(value)]
    return value


def test_a_stopped_build_goes_on_and_ends_as_if_it_had_not_stopped(made, tmp_path, monkeypatch):
    sources = [made["refcoco", "train"], made["vg", "train"], made["ade20k", "val"]]
    build_mrseg(sources, tmp_path / "whole", seed=3)
    calls = []

    def stopping(path, target, **options):
        calls.append(path)
        if len(calls) == 4:
            raise KeyboardInterrupt
        placed(path, target, **options)

    placed = run.place_picture
    monkeypatch.setattr(run, "place_picture", stopping)
    with pytest.raises(KeyboardInterrupt):
        build_mrseg(sources, tmp_path / "out", seed=3)
    assert (tmp_path / "out/parts/refcoco_train.json").is_file()
    assert not list((tmp_path / "out").rglob("*vg_train.json*"))
    build_mrseg(sources, tmp_path / "out", seed=3)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
    build_mrseg(sources, tmp_path / "out", seed=3)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
    with pytest.raises(SettingError, match="another seed"):
        build_mrseg(sources, tmp_path / "out", seed=4)


def test_statistics_add_up_and_name_what_was_left_out(built):
    out, result = built
    rows = {(row["source"], row["split"]): row for row in result.statistics["rows"]}
    for (source, split), row in rows.items():
        name, _, group = source.partition(" (")
        file = "_".join(filter(None, (name, group.rstrip(")"), split)))
        (path,) = out.rglob(f"conversations_folder/**/{file}.json")
        talks = json.loads(path.read_text(encoding="utf-8"))
        assert row["conversations"] == len(talks) == sum(row["rounds"].values())
        assert row["max_rounds"] == max(len(talk["conversations"]) // 2 for talk in talks)
        pictures = {re.search(r"IMAGE256:([^\]]+)", talk["conversations"][0]["value"])[1] for talk in talks}
        assert row["images"] == len(pictures)
    assert result.statistics["conversations"] == sum(row["conversations"] for row in rows.values())
    # PACO's two splits and ReasonSeg's are one picture each here.
    assert result.statistics["pictures_in_train_and_other_splits"] == 2
    left = {kind.partition(":")[0]: 0 for kind in result.left_out.counts}
    assert (
        len(result.left_out.counts) == 11
        and {"refs left out", "parts left out", "pictures left out"} <= left.keys()
    )
    assert json.loads((out / "statistics.json").read_text()) == result.statistics


def test_pictures_that_are_not_placed_are_named_where_they_lie(made, tmp_path):
    build_mrseg([made["refcoco", "train"]], tmp_path / "out", pictures="none")
    assert not (tmp_path / "out/images_folder").exists()
    examples = list(open_dataset(f"{tmp_path}/out@train"))
    lying = {Path(e.image).name: Path(e.image).is_file() for e in examples}
    assert lying == {f"COCO_train2014_{n:012}.jpg": n != 3 for n in (1, 2, 3)}  # the third is not there
    assert len(list(open_dataset(f"mrseg:{tmp_path}/out@all_data_mix_train"))) == len(examples)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("nothing:ROOT", "a source is NAME:ROOT"),
        ("lvis:ROOT/nowhere", "root is a folder"),
        ("lvis:ROOT/lvis@test", "no annotation file"),
        ("lvis:ROOT/lvis?by=unc", "no such option"),
        ("refcoco:ROOT/refer@testC", "has no split"),
        ("vg:ROOT/vg@test", 'into "train" and "val"'),
        ("vg:ROOT/bare?drawer=pencil", "no such drawer"),
        ("pascal:ROOT/ppp@val", "no folder of maps"),
    ],
)
def test_a_wrong_source_is_said_before_anything_is_written(made, tmp_path, spec, message):
    root = Path(made["lvis", "train"].partition(":")[2].partition("@")[0]).parent
    shutil.copytree(root / "vg", tmp_path / "bare")
    (tmp_path / "bare/masks.json").unlink()
    spec = spec.replace("ROOT/bare", f"{tmp_path}/bare").replace("ROOT", str(root))
    with pytest.raises(AskMaskError, match=message):
        build_mrseg([spec], tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(SettingError, match="boxes only"):
        build_mrseg([f"vg:{tmp_path}/bare"], tmp_path / "out")
    with pytest.raises(SettingError, match="two folders"):
        build_mrseg([made["refcoco", "val"], made["refcoco", "val"]], tmp_path / "out")


def test_boxes_are_drawn_where_there_are_no_masks(made, tmp_path):
    root = Path(made["vg", "train"].partition(":")[2].partition("@")[0])
    shutil.copytree(root, tmp_path / "vg")
    (tmp_path / "vg/masks.json").unlink()
    source = f"vg:{tmp_path}/vg?drawer=classical"
    result = build_mrseg([source], tmp_path / "out", limit=1)
    assert result.statistics["rows"][0]["images"] == 1


def test_a_pickle_that_would_call_something_is_refused(made, tmp_path):
    root = Path(made["refcoco", "train"].partition(":")[2].partition("@")[0])
    shutil.copytree(root, tmp_path / "refer")
    path = tmp_path / "refer/refcoco/refs(unc).p"
    path.write_bytes(b"cos\nsystem\n(S'touch " + str(tmp_path / "ran").encode() + b"'\ntR.")
    with pytest.raises(DataError, match="wants to call os"):
        build_mrseg([f"refcoco:{tmp_path}/refer"], tmp_path / "out")
    assert not (tmp_path / "ran").exists()


def test_the_command(made, tmp_path):
    register_commands()
    words = ["build", "mrseg", "-s", made["lvis", "train"], "--out", str(tmp_path / "out"), "--seed", "7"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0 and "| lvis | train | 1 | 1 |" in result.output
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign/thesis.txt").write_text("mine")
    words[5] = str(tmp_path / "foreign")
    refused = CliRunner().invoke(app, words)
    assert isinstance(refused.exception, SettingError) and "thesis.txt" in str(refused.exception)
    assert [p.name for p in (tmp_path / "foreign").iterdir()] == ["thesis.txt"]


# -- corrections --------------------------------------------------------------------------------------------


def recording(path, built_from):
    """Record replies for every sentence: worse in the first round, mended in the second; one that loses words."""
    rows = []
    for example in built_from:
        for number, round in enumerate(example.rounds):
            lost = number == 1
            better = "Show me something." if lost else f"Now: {round.text}"
            rows += [
                {"stage": "correct", "schema": "Corrected", "inputs": {"sentence": round.text},
                 "reply": {"sentence": "Hm."}},
                {"stage": "compare", "schema": "Compared", "inputs": {"original": round.text},
                 "reply": {"same_meaning": False, "sentence": better}},
            ]  # fmt: skip
    path.write_text("\n".join(map(json.dumps, rows)) + "\n", encoding="utf-8")


def test_sentences_are_corrected_in_two_rounds_and_words_that_matter_stay(made, tmp_path):
    source = made["refcoco", "train"]
    build_mrseg([source], tmp_path / "plain", seed=7)
    plain = list(open_dataset(f"{tmp_path}/plain@train"))
    recording(tmp_path / "replies.jsonl", plain)
    register_commands()
    words = ["build", "mrseg", "-s", source, "--out", str(tmp_path / "out"), "--seed", "7"]
    words += ["--clean-up", "--model", str(tmp_path / "replies.jsonl"), "--vlm", "replay", "--max-calls"]
    stopped = CliRunner().invoke(app, [*words, "9"])
    assert isinstance(stopped.exception, AskMaskError) and "9 calls" in str(stopped.exception)
    assert not (tmp_path / "out/parts").exists() or not list((tmp_path / "out/parts").iterdir())
    asked = 2 * len({r.text for e in plain for r in e.rounds})
    # What was answered before is not asked again: the budget counts from the beginning, and is just enough.
    done = CliRunner().invoke(app, [*words, str(asked)])
    assert done.exit_code == 0, done.output
    assert "corrections not used: a name, a relation or a reference was lost" in done.output
    for before, after in zip(plain, open_dataset(f"{tmp_path}/out@train"), strict=True):
        for number, (old, new) in enumerate(zip(before.rounds, after.rounds, strict=True)):
            assert new.text == (old.text if number == 1 else f"Now: {old.text}")
            assert new.masks == old.masks and new.prompt.refers_to == old.prompt.refers_to


def test_instances_without_a_file_are_described_by_a_model(made, tmp_path):
    root = Path(made["coco", "train"].partition(":")[2].partition("@")[0])
    shutil.copytree(root, tmp_path / "coco")
    (tmp_path / "coco/descriptions.json").unlink()
    with pytest.raises(SettingError, match="COCO's instances need descriptions"):
        build_mrseg([f"coco:{tmp_path}/coco"], tmp_path / "out")
    replies = [("person", "is standing up.", "man"), ("dog", "is a small dog", "dog")]
    rows = [
        {"stage": "describe", "schema": "Described", "inputs": {"class": noun},
         "reply": {"description": said, "noun": name}}
        for noun, said, name in replies
    ]  # fmt: skip
    (tmp_path / "replies.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    register_commands()
    words = ["build", "mrseg", "-s", f"coco:{tmp_path}/coco", "--out", str(tmp_path / "out"), "--seed", "3"]
    done = CliRunner().invoke(app, [*words, "--model", str(tmp_path / "replies.jsonl"), "--vlm", "replay"])
    assert done.exit_code == 0, done.output
    talks = list(open_dataset(f"{tmp_path}/out@train"))
    assert talks and all("is standing up" in e.rounds[0].text for e in talks)
    assert all("man" in e.rounds[0].reply for e in talks)
