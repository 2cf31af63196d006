"""From photographs to a data set with recorded replies, end to end through the command line."""

import json
import shutil
from importlib.util import find_spec

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from askmask.cli.app import app, register_commands
from askmask.engine.pictures import Picture
from askmask.formats.own import read_examples
from askmask.imaging.files import read_picture
from askmask.imaging.mask import Mask
from askmask.runs.json_text import read_rows
from askmask.vlm.pictures import difference_hash
from tests.conftest import GOLDEN, ROOT

RECORDING = ROOT / "tests" / "engine" / "recordings" / "photographs.jsonl"
PHOTOGRAPHS = (
    "cars_1140x760.png",
    "groceries_320x214.png",
    "truck_240x160.png",
    "truck_portrait_225x300.png",
)


def command(*arguments: str) -> str:
    register_commands()
    result = CliRunner().invoke(app, ["engine", *arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def check_export(out, pictures: int) -> list[dict]:
    """Read everything back as training would; return the rows of dataset.jsonl."""
    examples = list(read_examples(out / "examples.jsonl"))
    assert len(examples) == pictures
    for example in examples:
        assert read_picture(example.image).size == example.size and example.independent
        for number in example.rounds:
            assert number.concept and all(mask.size == example.size for mask in number.masks)
    rows = [row for _, row in read_rows(out / "dataset.jsonl")]
    for row in rows:
        size = read_picture(out / row["image"]).size
        pixels = np.asarray(Image.open(out / row["mask_merged"]))
        assert pixels.shape == size and set(np.unique(pixels)) == {0, 255} and row["prompt"]
    if rows and find_spec("askmask.training") is not None:
        from askmask.training.data import Source, check_all

        # The folder as training takes it (with the negatives), and the published format beside it.
        published, whole = Source(str(out / "dataset.jsonl")), Source(str(out))
        assert len(published) == len(rows) <= len(whole) and not check_all([published, whole])
    items = json.loads((out / "items.json").read_text())
    assert items["count"] == len(items["items"])
    return rows


def test_photographs_to_a_data_set(tmp_path):
    if not GOLDEN.is_dir():
        pytest.skip(f"golden photographs are not at {GOLDEN}")
    folder = tmp_path / "photographs"
    folder.mkdir()
    for name in PHOTOGRAPHS:
        shutil.copy(GOLDEN / "images" / name, folder)
    run, out = str(tmp_path / "run"), tmp_path / "set"
    command("run", str(folder), "--vlm", "replay", "--model", str(RECORDING), "--out", run)
    output = command("export", run, "--out", str(out), "--val", "0.4")
    assert "pairs with a mask" in output
    rows = check_export(out, pictures=4)
    prompts = {row["prompt"] for row in rows} | {
        item["prompt"] for item in json.loads((out / "items.json").read_text())["items"]
    }
    assert prompts == {
        "Segment the part that shows a registration in full",
        "Find what stands farthest from the camera, not the sky",
        "Segment what would tip over in a sharp turn",
        "Segment what could carry a load of planks",
        "Find the canopy window nearer to the driver",
        "Segment the longer one of the tinted panes",
        "Segment what bears the weight of everything else",
    }
    declined = [row for _, row in read_rows(out / "rejects.jsonl")]
    reasons = {row["reason"] for row in declined}
    assert "the headlights of the dark red car fit as well and are not marked" in reasons
    assert "it takes in the first paper bag" in reasons
    negatives = [r for e in read_examples(out / "examples.jsonl") for r in e.rounds if r.masks == ()]
    assert len(negatives) == 7
    assert sum(len(e.rounds) for e in read_examples(out / "literal.jsonl")) == 14


def made_picture() -> np.ndarray:
    """A dark disc and a bright square on grey."""
    y, x = np.mgrid[:120, :160]
    rgb = np.full((120, 160, 3), 150, np.uint8)
    rgb[(x - 45) ** 2 + (y - 60) ** 2 < 26**2] = (30, 40, 120)
    rgb[36:84, 95:140] = (235, 220, 60)
    return rgb


def test_a_made_picture_to_a_data_set_everywhere(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    Image.fromarray(made_picture()).save(folder / "made.png")
    seen = f"{difference_hash(Picture.read(folder / 'made.png').rgb):016x}"
    region = {"kind": "thing", "parent": None}
    positive = {"family": "counterfactual", "candidates": [1, 2], "unmarked_rivals": [], "reason": "round"}
    rows = [
        ("describe", "RegionsReply", {}, {"scene": "Two shapes.", "regions": [
            {"description": "dark blue disc, left", **region}, {"description": "yellow square, right", **region}]}),
        ("segment", "BoxesReply", {}, {"boxes": [
            {"number": 1, "found": True, "box": [115, 280, 450, 720]},
            {"number": 2, "found": True, "box": [590, 295, 880, 705]}]}),
        ("verify", "MaskReply", {}, {"seen": "a shape", "reason": "it fits", "matches": True}),
        ("verify", "ChoiceReply", {}, {"reason": "tighter", "choice": "second"}),
        ("write", "PromptsReply", {"concept": "physics"}, {
            "prompts": [{"prompt": "Segment what would roll down a slope", "satisfying": [1], **positive}],
            "negatives": []}),
        ("align", "AlignmentReply", {}, {"reason": "only the disc is round", "accept": True}),
    ]  # fmt: skip
    recording = tmp_path / "replies.jsonl"
    recording.write_text(
        "\n".join(
            json.dumps({"picture": seen, "stage": stage, "schema": schema, "inputs": inputs, "reply": reply})
            for stage, schema, inputs, reply in rows
        )
    )
    run, out = str(tmp_path / "run"), tmp_path / "set"
    replay = ("--vlm", "replay", "--model", str(recording), "--concepts", "physics")
    command("run", str(folder), *replay, "--out", run, "--licence", "CC0-1.0")
    name = 'cups: {all}\nlicence: "mit" <script>'
    command("export", run, "--out", str(out), "--parquet", "--name", name)
    (row,) = check_export(out, pictures=1)
    mask = Mask.from_png(out / row["mask_merged"]).to_array()
    y, x = np.mgrid[:120, :160]
    disc = (x - 45) ** 2 + (y - 60) ** 2 < 26**2
    assert (mask & disc).sum() / (mask | disc).sum() > 0.9
    coco = json.loads((out / "coco.json").read_text())
    assert coco["annotations"][0]["caption"] == row["prompt"] and coco["annotations"][0]["area"] == mask.sum()
    card = (out / "README.md").read_text()
    import yaml

    _, head, body = card.split("---", 2)
    assert yaml.safe_load(head)["pretty_name"] == 'cups: {all} licence: "mit" <script>'
    assert "<script>" not in body
    assert "CC0-1.0" in card and "replies.jsonl" in card and str(tmp_path) not in card
    import pyarrow.parquet as pq

    assert pq.read_table(out / "examples.parquet").to_pylist()[0]["prompts"][-1] == row["prompt"]
    command("inspect", run)
    page = (tmp_path / "run" / "gallery.html").read_text()
    assert "roll down a slope" in page and "only the disc is round" in page
    assert "http://" not in page and "https://" not in page
