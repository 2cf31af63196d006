"""What the pages tell a reader to type works: all of it is parsed, and what needs no other's weights or keys is run.

A command is run as it stands on the page, with sizes made small by `SMALL`. A new command on a page must be run by one
of the walks below or stand in `NOT_RUN` with the reason.
"""

import argparse
import ast
import functools
import inspect
import json
import runpy
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

import askmask
from askmask.cli.app import app, register_commands
from askmask.evaluation.meter import Meter
from tests.documented.pages import ROOT, commands, mentions, python_blocks

# Begins a command -> why it is not run here. All are parsed nevertheless.
NOT_RUN = {
    "python3 -m venv": "continuous integration runs it (.ci/run)",
    ".venv/bin/ruff": "continuous integration runs it (.ci/run)",
    "pip install": "what is tested is installed",
    "lmms-eval": "not in the extras of the tests; tests/evaluation/test_lmms.py runs it where it is installed",
    "askmask engine estimate photos": "in the walk, with other pictures",
    "askmask engine run photos --model gemini": "needs a key",
    "askmask engine run s3-mount": "a Ray cluster: tests/engine/test_ray.py",
    "askmask score predictions.jsonl --gt reasonseg": "needs ReasonSeg; tests/formats/test_loaders.py reads a made one",
    "askmask eval mini prist:run1/data@train": "tests/evaluation/test_dialogue_scores.py runs it on a made set",
    "askmask world make --split test --start 3013": "the same with other numbers is in the walk",
    "askmask chat one/images/200003013-0.png": "tests/chat runs it on another picture",
    "askmask onnx mini models/mini-onnx": "tests/model/test_graphs.py makes it, and asks it",
    'askmask segment photo.jpg "the mug" --model models/mini-onnx': "tests/model/test_graphs.py",
    "askmask train mini_masks start=runs/talk": "another start is in the walk; choice=0: tests/training/test_kept.py",
    "askmask train mini_replies start=runs/talk": "tests/training/test_replies.py runs it",
    "askmask train mini_replies start=runs/replies,": "parts of a start: tests/training/test_start.py",
    "askmask eval mini data/dialogue-1": "250 scenes; the same with another data set is run",
    "askmask score-text runs/talks": "tests/evaluation/test_dialogue_scores.py runs it",
    "askmask world make --split val --start 300": "the same with other sizes is in the walk",
    "askmask judge": "tests/evaluation/test_dialogue_scores.py runs it with recorded replies",
    "askmask world claims": "tests/world/test_claimed.py runs it",
    "askmask build prist": "tests/engine/test_dialogues.py runs it against the oracle",
    "askmask eval converseg-net-3b": "needs the released weights",
    "askmask new models/base": "needs base weights; tests/training/test_new.py does it with tiny ones",
    "askmask new OUT": "a synopsis",
    "askmask new models/talking": "needs base weights; tests/model/test_talk.py does it with tiny ones",
    "askmask train conversation data=mrseg": "needs MRSeg; tests/training/test_dialogue.py trains on a made set",
    "askmask new models/miras": "needs base weights; tests/training/test_miras.py does it with tiny ones",
    "askmask train miras_": "needs COCO, RefCOCO, PRIST; tests/training/test_miras.py trains on made sets",
    "askmask export runs/miras-two": "the same",
    "askmask chat photo.jpg --model models/my-miras": "the same",
    "askmask train RECIPE": "a synopsis",
    "askmask export RUN OUT": "a synopsis",
    "askmask train phase_one data=coco": "needs COCO; tests/training/test_phases.py trains on a made set",
    "askmask train phase_two data=conversational": "the same",
    "askmask export runs/two": "the same",
    "askmask train mini_phase_two start=mini,runs/eyes ...": "tests/training/test_start.py joins such starts",
    "askmask world reask data/train --prompts": "tests/world/test_make.py asks anew about a small shard",
    "askmask train mini_phase_two start=mini grow=true": "an hour of training; its settings are parsed",
    'askmask segment "photos/desk': "tests/cli/test_convert_command.py gives it patterns",
    "askmask segment -": "tests/cli/test_convert_command.py gives it a standard input",
    "askmask segment clipboard:": "tests/cli/test_convert_command.py gives it a clipboard",
    "askmask segment https://": "needs the network; tests/imaging/test_remote.py fetches on loopback",
    'askmask batch "photos/': "tests/cli/test_convert_command.py gives it patterns",
    "askmask world make --fixed": "250 scenes; tests/world/test_export.py checks its first",
    "askmask world show 200000031": "tests/world/test_export.py draws a sheet",
    "askmask serve": "it would not end; tests/serving starts servers of every kind",
    'askmask segment examples/table.png "the boxes" -m point': "needs a server: tests/serving points with one",
    'askmask segment photo.jpg "the mug" --model point --pointer': "needs weights or a key; tests/pointing has each",
    "python benchmarks/": "minutes to hours",
    "python -m tests.build.made": "its function is called in the walk",
    "askmask build mrseg --source lvis:data/lvis --out data/lvis-clean": "needs a server",
}
HOW_MINI_WAS_MADE = "results/mini/README.md"  # a record of hours, not an invitation
# What a documented command is given in place of what would take long, in the walks.
SMALL = [
    ("--count 20000 --size 160 --views 3", "--count 4 --size 64 --views 6 --prompts 3"),
    ("--count 500 --size 160", "--count 4 --size 64 --views 6 --prompts 3"),
    ("--count 20 --size 256 --prompts 40", "--count 1 --size 128 --views 1 --prompts 12"),
    ("--count 1000", "--count 1 --size 64 --views 1 --prompts 12"),
    ("--workers 4", "--workers 1"),
    ("run1 --watch", "run1"),
    ("run1", "run0"),
]
FEW = "steps=1 log_every=1 evaluate_every=100"


@functools.cache
def root():
    register_commands()
    return typer.main.get_command(app)


def found(words: list[str]):
    """Return the command that the first words name, and the words that are left for it."""
    command = root()
    while hasattr(command, "list_commands") and words and not words[0].startswith("-"):
        name, *words = words
        command = command.get_command(None, name)
        assert command is not None, f"there is no command {name!r}"
    return command, words


def check_settings(params: dict) -> None:
    from askmask.training.recipes import recipe_for
    from askmask.training.settings import override

    if params["recipe"] != "RECIPE":
        settings = [pair for pair in params["settings"] if pair != "..."]
        override(recipe_for(params["recipe"], settings), settings)


@pytest.mark.parametrize("command", [c for c in commands() if c.text.startswith("askmask ")], ids=str)
def test_every_documented_command_has_the_arguments_it_is_given(command):
    one, words = found(shlex.split(command.text.replace("[key=value ...]", ""))[1:])
    params = one.make_context(one.name, words).params
    if one.name == "train":
        check_settings(params)


@pytest.mark.parametrize("mention", mentions(), ids=str)
def test_every_command_and_option_in_a_sentence_exists(mention):
    command, words = found(mention.text.replace("[", "").replace("]", "").split()[1:])
    known = {option for one in command.params for option in one.opts} | {"--help"}
    assert {word for word in words if word.startswith("-")} <= known


class Parsed(Exception):
    """A benchmark's arguments fit; it stops here."""


@pytest.mark.parametrize(
    "command", [c for c in commands() if c.text.startswith("python benchmarks/")], ids=str
)
def test_every_documented_benchmark_has_the_arguments_it_is_given(command, monkeypatch):
    script, *words = shlex.split(command.text)[1:]
    parse = argparse.ArgumentParser.parse_args

    def stop(self, *given):
        parse(self, *given)
        raise Parsed

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", stop)
    monkeypatch.setattr(sys, "argv", [script, *words])
    monkeypatch.setattr(sys, "path", [str(ROOT / "benchmarks"), *sys.path])
    with pytest.raises(Parsed):
        runpy.run_path(str(ROOT / script), run_name="__main__")


def small(text: str, put: Iterable[tuple[str, str]]) -> str:
    for long, short in [*SMALL, *put]:
        text = text.replace(long, short)
    return text


def run(starts: str, page: str, more: str = "", put: Iterable[tuple[str, str]] = ()) -> str:
    """Run the commands of a page that begin so, (long, short) of `put` replaced; return what they printed."""
    said = ""
    chosen = [c.text for c in commands() if c.page == page and c.text.startswith(starts)]
    assert chosen, f"{page} has no command that begins {starts!r}"
    register_commands()
    for text in dict.fromkeys(chosen):
        done = CliRunner().invoke(app, [*shlex.split(small(text, put))[1:], *shlex.split(more)])
        assert done.exit_code == 0, f"{text}\n{done.output}\n{done.exception!r}"
        said += done.output
    return said


# What the walks run: page, beginning, what is added.
MINI_WALK = [
    ("askmask world make --dense --split", ""),
    ("askmask train mini_perception", f"{FEW} sizes=64 until=1 batches=2 val_views=2"),
    ("askmask train mini_phase_one", f"{FEW} views=2 prompts=3 val_views=2"),
    ("askmask train mini_phase_two start=runs/words-1", f"{FEW} views=2 prompts=3 val_views=2"),
    ("askmask train mini_masks start=runs/words-2", f"{FEW} views=1 prompts=2 val_views=2"),
    ("askmask export runs/mini", ""),
]
ENGINE_WALK = [
    ("askmask engine run photos --model oracle-1", "--max-calls 400"),
    ("askmask engine status", ""),
    ("askmask engine inspect", ""),
    ("askmask engine export", ""),
    ("askmask train phase_two data=data/mine", f"{FEW} batch=2"),
    ("askmask export runs/phase-two", ""),
    ("askmask segment photos/", ""),
]
SCORE_WALK = [("askmask score predictions.jsonl --gt truth.jsonl", ""), ("askmask compare", "")]
WORLD_WALK = [("askmask world make --split train --count 1000", "")]
EVAL_WALK = [("askmask eval mini world/val", "")]
FORMATS_WALK = [("askmask batch photos", ""), ("askmask convert", "")]
BUILD_WALK = [
    ("askmask build mrseg --source refcoco", ""),
    ("askmask eval mini data/mrseg@val", "--limit 1"),
    ("askmask eval mini mrseg:data/mrseg", "--limit 1"),
]
POINT_WALK = [
    ('askmask segment desk.jpg "the mug" "what could spill"', ""),
    ("askmask doctor --model point --vlm-model qwen3-vl:8b", ""),
    ("askmask models", ""),
    ('askmask segment desk.jpg "the mug" --model desk', "--out again"),
    ("askmask doctor --model point --vlm-model Qwen/", "--drawer classical"),
]
POINT_EVAL, POINT_TABLE = "askmask eval point converseg", "askmask table runs/qwen3"
OTHERS = [
    "askmask world reask data/dense",
    "askmask train conversation start=mini",
    "askmask world make --split val",
    "askmask world oracle",
    "askmask new --estimate",
]


def test_every_documented_command_is_run_or_says_why_not():
    walks = MINI_WALK + ENGINE_WALK + SCORE_WALK + WORLD_WALK + EVAL_WALK + FORMATS_WALK + POINT_WALK
    walks += BUILD_WALK
    known = (*NOT_RUN, *(begin for begin, _ in walks), POINT_EVAL, POINT_TABLE, *OTHERS)
    lost = [str(c) for c in commands() if c.page != HOW_MINI_WAS_MADE and not c.text.startswith(tuple(known))]
    assert not lost, "run them in a walk, or say in NOT_RUN why not"
    for begin in known:
        assert any(c.text.startswith(begin) for c in commands()), f"no page has {begin!r} any longer"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
def test_the_way_to_a_network_of_ones_own(folder):
    """World -> perception -> words -> masks -> a model folder -> an answer."""
    pytest.importorskip("mujoco", reason="needs the extra [world]")
    for begin, more in MINI_WALK:
        run(begin, "docs/training.md", more)
    answer = askmask.load("models/mini", device="cpu").open(ROOT / "examples/table.png").ask("the mug")
    assert answer.mask.size == answer.picture.size


@pytest.mark.slow
def test_the_way_from_raw_pictures_to_a_trained_network(folder):
    """World -> oracle -> engine -> data set -> training -> export -> masks."""
    pytest.importorskip("mujoco", reason="needs the extra [world]")
    page = "docs/engine.md"
    run("askmask world make --split val --count 20", page)
    oracle = next(c.text for c in commands() if c.text.startswith("askmask world oracle"))
    with subprocess.Popen([sys.executable, "-m", *shlex.split(oracle)], stdout=subprocess.PIPE) as server:
        try:
            server.stdout.readline()
            for begin, more in ENGINE_WALK:
                run(begin, page, more)
        finally:
            server.terminate()


def test_a_run_that_is_not_there_is_said_before_what_else_it_would_need(folder):
    done = CliRunner().invoke(app, ["export", "runs/none", "models/none"])
    assert "no checkpoint in this run" in str(done.exception)


@pytest.mark.slow
def test_evaluation_page(folder):
    """Predictions of another program against a truth file, and a model over a data set of the world."""
    pytest.importorskip("mujoco", reason="needs the extra [world]")
    shown = {"size": [4, 4], "counts": [5, 2, 9]}
    truth = {"id": "a1", "image": "a.jpg", "size": [4, 4], "masks": [shown], "prompt": "what could roll off"}
    for name, masks in (("predictions", [shown]), ("old", []), ("new", [shown])):
        Path(f"{name}.jsonl").write_text(json.dumps({"id": "a1", "masks": masks}))
    Path("truth.jsonl").write_text(json.dumps(truth))
    for begin, more in SCORE_WALK:
        run(begin, "docs/evaluation.md", more)
    assert Path("report/report.html").is_file()
    for begin, more in WORLD_WALK:
        run(begin, "docs/world.md", more)
    Path("world").mkdir()
    Path("data/world").rename("world/val")
    for begin, more in EVAL_WALK:
        run(begin, "docs/evaluation.md", more)
    assert list(Path("runs/mini").glob("predictions-*.jsonl"))


def test_formats_page(folder):
    """Pictures -> answers -> Label Studio -> own -> COCO -> YOLO: the masks are the same at the end."""
    from askmask.notes import Notes
    from askmask.sources import open_source

    Path("photos").mkdir()
    shutil.copy(ROOT / "examples/table.png", "photos")
    for begin, more in FORMATS_WALK:
        run(begin, "docs/formats.md", more)
    first, last = (
        {r.text: r.masks for e in open_source(name, notes=Notes()) for r in e.rounds if r.segments}
        for name in ("answers", "yolo")
    )
    assert first and first == last


@pytest.mark.slow
def test_build_mrseg_page(folder):
    """Made-up sets -> conversations in both forms; the page shows what the command prints, and results/ keeps it."""
    from tests.build.made import make_all

    make_all(Path("data"))
    said, *_ = [run(begin, "docs/build-mrseg.md", more) for begin, more in BUILD_WALK]
    kept = (ROOT / "results/mrseg/statistics.md").read_text(encoding="utf-8")
    shown = kept[: kept.index("| round of kind")].rstrip()
    assert Path("data/mrseg/statistics.md").read_text(encoding="utf-8") == kept
    assert shown in said and shown in (ROOT / "docs/build-mrseg.md").read_text(encoding="utf-8")


def test_the_notebook_was_run_and_runs(folder, monkeypatch):
    """Its outputs are kept, small and without errors; its cells run as they stand."""
    path = ROOT / "examples/notebook.ipynb"
    assert path.stat().st_size < 500_000
    cells = [c for c in json.loads(path.read_text(encoding="utf-8"))["cells"] if c["cell_type"] == "code"]
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert all(cell["execution_count"] for cell in cells)
    assert not any(output["output_type"] == "error" for output in outputs)
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= 3
    names = {}
    shutil.copy(ROOT / "examples/table.png", ".")
    for cell in cells:
        text = "".join(cell["source"])
        if "matplotlib" not in text and "plot(" not in text:
            text = text.replace(
                "which things would catch rice if I dropped it in?", "the boxes"
            )  # found for certain
            exec(compile(text, path.name, "exec"), names)


@pytest.mark.slow
def test_pointing_page(folder, monkeypatch):
    """A server on loopback stands for the reader's, `classical` for drawers whose weights would be fetched."""
    pytest.importorskip("openai", reason="needs the extra [engine]")
    from tests.pointing.test_doctor import server, thousandths
    from tests.pointing.test_point import picture, pointing
    from tests.pointing.test_runs import truth
    from tests.vlm.endpoint import reply, scripted

    page, squares = "docs/pointing.md", server(thousandths)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(folder / "config"))
    monkeypatch.setattr("askmask.doctor.examine", lambda model: iter(()))  # tests/cli/test_doctor.py runs it
    picture().save("desk.jpg")
    Path("photos").mkdir()
    picture().save("photos/0.png")

    def answer(body):
        asked = json.dumps(body["messages"])
        return (
            squares(body)
            if "coloured square" in asked
            else reply(pointing([470, 210, 810, 690], label="mug"))
        )

    with scripted(answer) as (url, _):
        drawers = ("sam2.1-tiny", "sam2.1-large", "edgetam")
        put = [("http://localhost:11434/v1", url), ("http://localhost:8000/v1", url)]
        put += [(f"--drawer {name}", "--drawer classical") for name in drawers]
        said = "".join(run(begin, page, more, put) for begin, more in POINT_WALK)
        assert said.count("places are where") == 2 and said.count("with a plain disc") == 2 and "desk" in said
        data = truth(folder, folder / "photos")
        for drawer in drawers:
            ours = [("$drawer", drawer), ("converseg:data/ConverSeg@human_annotated", data)]
            run(POINT_EVAL, page, "--device cpu", ours + put)
        assert run(POINT_TABLE, page).count("point:Qwen/Qwen3-VL-8B-Instruct") == 3
        given = {"askmask": askmask}
        for block in [c.text for c in python_blocks() if c.page == page]:
            text = block.replace("http://localhost:11434/v1", url).replace("sam2.1-tiny", "classical")
            exec(compile(text, page, "exec"), given)
    assert given["mug"].segments[0].id == "m1" and len(given["both"].masks) == 1
    assert given["also"].masks[0] == given["mug"].masks[0] and given["mended"].usage["calls"] == 0


def test_python_of_the_readme_and_of_the_scorer(folder):
    picture = ROOT / "examples/table.png"
    for wanted, put in (
        ("README.md", {'"examples/table.png"': repr(str(picture)), ".show()": ""}),
        ("README.md", {'"examples/table.png"': repr(str(picture)), "the boxes": "the boxes"}),
        ("docs/evaluation.md", {}),
    ):
        text = next(c.text for c in python_blocks() if c.page == wanted and all(k in c.text for k in put))
        for there, here in put.items():
            text = text.replace(there, here)
        masks = {"predicted": np.eye(4, dtype=bool), "true": np.eye(4, dtype=bool)}
        given = {"askmask": askmask, "other_shard": Meter(), **masks}
        exec(compile(text, wanted, "exec"), given)
    assert given["scores"]["gIoU"] == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("block", python_blocks(), ids=lambda block: f"{block.page}: {block.text[:40]!r}")
def test_python_names_what_exists_and_calls_it_as_it_is_called(block):
    """Also of blocks that need a server or another's data: imports work, arguments are known."""
    tree, names = ast.parse(block.text), {"askmask": askmask}
    for node in tree.body:
        if isinstance(node, ast.ImportFrom | ast.Import):
            exec(compile(ast.Module([node], []), block.page, "exec"), names)
    for call in ast.walk(tree):
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in names:
            keywords = {one.arg: None for one in call.keywords}
            inspect.signature(names[call.func.id]).bind(*call.args, **keywords)
