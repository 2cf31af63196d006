"""`askmask convert`: round trips keep every pixel, what is lost is counted, folders are whole or not there."""

import base64
import csv
import io
import json
import os
import zlib
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import askmask.convert as converting
from askmask.answer import save_answers
from askmask.conversation import Example, Prompt, Round, Segment
from askmask.convert import convert
from askmask.errors import DataError, SettingError
from askmask.formats import own
from askmask.formats.catalogue import LOADERS, WRITERS
from askmask.formats.pictures import names_for
from askmask.formats.reading import PARTLY, upright
from askmask.formats.writing import WORDLESS
from askmask.imaging.files import read_header, read_picture
from askmask.imaging.mask import Mask
from askmask.notes import Notes
from askmask.sources import open_source
from tests.closed import be_a_plain_user, nobodys_folder
from tests.evaluation.colour_model import ColourModel
from tests.formats.drawn import SHAPES, shape, write_drawn

BACK = [name for name in WRITERS if name in LOADERS]
# What each format has no place for, in one word of each line that is said; of eight pictures.
LOST = {
    "coco": {"references", "replies", "matches", "points", "names", "made"},
    "yolo-seg": {"references", "replies", "matches", "points", "names", "made", "concepts", "scores"},
    "label-studio": {"references", "replies", "points", "names"},
    "cvat": {"references", "replies", "points"},
    "labelme": {"references", "replies", "points", "made"},
    "voc": {"references", "replies", "matches", "points", "names", "made", "concepts", "scores", "pixels"},
    "fiftyone": {"points"},
    "geojson": {"points"},
    "png": {"points"},
    "own": set(),
}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory) -> tuple[Path, list[Example]]:
    folder = tmp_path_factory.mktemp("drawn")
    return folder, write_drawn(folder)


def read_back(source: str) -> dict[str, list]:
    """Return the rounds about each picture, by the stem of its name."""
    found: dict[str, list] = {}
    for example in open_source(source, notes=Notes()):
        assert read_header(example.image).orientation == 1 and read_header(example.image).size == example.size
        found.setdefault(Path(example.image).stem, []).extend(example.rounds)
    return found


def asked(round) -> str:
    """The words under which a format without points knows a round."""
    return round.text or (round.segments[0].name if round.segments else WORDLESS)


@pytest.mark.parametrize(("to", "polygons"), [*((to, False) for to in BACK), ("coco", True)])
def test_every_pixel_comes_back(drawn, tmp_path, to, polygons):
    folder, examples = drawn
    result = convert(str(folder), to, tmp_path / "out", polygons=polygons)
    assert (result.pictures, result.masks, result.prompts) == (8, 40, 48)
    found = read_back(str(tmp_path / "out"))
    assert len(found) == 8
    for example in examples:
        rounds = {round.text: round for round in found[Path(example.image).stem]}
        for round in example.rounds:
            if round.segments:
                back = rounds[round.text if to == "own" else asked(round)]
                assert back.masks == round.masks, (example.id, round.text)
            elif round.segments == () and to in ("label-studio", "cvat", "labelme", "own"):
                assert rounds[round.text].segments == ()


@pytest.mark.parametrize("to", WRITERS)
def test_pictures_lie_upright_and_no_pixel_of_them_is_lost(drawn, tmp_path, to):
    folder, examples = drawn
    convert(str(folder), to, tmp_path / "out")
    placed = {p.stem: p for p in (tmp_path / "out").rglob("Küche*") if p.suffix in (".jpg", ".png") and
              "masks" not in p.parts and not p.parent.name.startswith("Segm")}  # fmt: skip
    for example in examples:
        copy = placed[Path(example.image).stem]
        assert (read_picture(copy).rgb == read_picture(folder / example.image).rgb).all()
        assert read_header(copy).orientation == 1
        if read_header(folder / example.image).orientation == 1:
            assert copy.read_bytes() == (folder / example.image).read_bytes()


@pytest.mark.parametrize("to", WRITERS)
def test_what_is_lost_is_counted_and_kept(drawn, tmp_path, to):
    result = convert(str(drawn[0]), to, tmp_path / "out")
    kinds = {kind: count for kind, count in result.lost.counts.items() if "not answered" not in kind}
    assert all(any(word in kind for kind in kinds) for word in LOST[to]) and len(kinds) == len(LOST[to]), (
        kinds
    )
    assert all(count in (8, 16) for kind, count in kinds.items() if "pixels" not in kind), kinds
    assert json.loads((tmp_path / "out/convert.json").read_text("utf-8"))["lost"] == result.lost.lines()


@pytest.mark.parametrize(("to", "keeps"), [("cvat", "name score source"), ("labelme", "name score"),
                                           ("label-studio", "score source"), ("coco", "score")])  # fmt: skip
def test_what_a_format_has_a_place_for_comes_back(drawn, tmp_path, to, keeps):
    folder, examples = drawn
    convert(str(folder), to, tmp_path / "out")
    (first, *_), second = examples[0].rounds, examples[0].rounds[1]
    rounds = {round.text: round for round in read_back(str(tmp_path / "out"))[Path(examples[0].image).stem]}
    for attribute in keeps.split():
        assert [getattr(s, attribute) for s in rounds[first.text].segments] == [
            getattr(s, attribute) for s in first.segments
        ]
    assert rounds[second.text].concept == "physics"


def test_voc_gives_a_pixel_to_the_smaller_mask(drawn, tmp_path):
    folder, examples = drawn
    convert(str(folder), "voc", tmp_path / "out")
    stem, rounds = Path(examples[0].image).stem, examples[0].rounds
    objects = np.asarray(Image.open(tmp_path / f"out/SegmentationObject/{stem}.png"))
    masks = [segment.mask for round in rounds for segment in round.segments or ()]
    assert set(np.unique(objects)) == {1, 2, 3, 4, 5}  # "all of it" is the background
    left = Mask.empty(masks[0].size)
    for number, mask in sorted(enumerate(masks, 1), key=lambda pair: pair[1].area):
        assert Mask.from_array(objects == number) == mask - left
        left = left | mask
    names = [
        line.split(":")[0] for line in (tmp_path / "out/labelmap.txt").read_text("utf-8").splitlines()[1:]
    ]
    assert names[0] == "background" and "что упадёт? 杯子" in names


def test_pngs_and_their_table(drawn, tmp_path):
    folder, examples = drawn
    convert(str(folder), "png", tmp_path / "out")
    with (tmp_path / "out/masks.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 8 * 6  # of them one without a mask
    assert [row["mask"] for row in rows if row["prompt"] == "a zebra"] == [""] * 8
    first = rows[:5]
    masks = [segment.mask for round in examples[0].rounds for segment in round.segments or ()]
    assert [Mask.from_png(tmp_path / "out" / row["mask"]) for row in rows[:6] if row["mask"]] == masks
    assert (
        first[0]["reply"] == "Two of them."
        and first[0]["score"] == "0.5"
        and first[0]["source"] == "predicted"
    )


def geojson_of(folder, examples, out):
    """Yield each mask of the Examples with its geometry in the file."""
    convert(str(folder), "geojson", out)
    for example in examples:
        path = out / "geojson" / f"{Path(example.image).stem}.geojson"
        features = json.loads(path.read_text("utf-8"))["features"]
        assert [f["properties"]["prompt"] for f in features if f["geometry"] is None] == ["a zebra"]
        masks = [segment.mask for round in example.rounds for segment in round.segments or ()]
        yield from zip(masks, [f["geometry"] for f in features if f["geometry"]], strict=True)


def test_geojson_holds_every_pixel(drawn, tmp_path):
    for mask, geometry in geojson_of(*drawn, tmp_path / "out"):
        y, x = np.mgrid[: mask.size[0], : mask.size[1]] + 0.5
        parts = geometry["coordinates"] if geometry["type"] == "MultiPolygon" else [geometry["coordinates"]]
        filled = np.zeros(mask.size, bool)
        for ring in (ring for part in parts for ring in part):
            assert ring[0] == ring[-1]
            for (x0, y0), (x1, y1) in pairwise(ring):
                filled ^= (x > x0) & (x0 == x1) & (y > min(y0, y1)) & (y < max(y0, y1))
        assert (filled == mask.to_array()).all()


def test_geojson_is_valid_to_shapely(drawn, tmp_path):
    shapely = pytest.importorskip("shapely", reason="shapely is not installed: its validity is not checked")
    for mask, geometry in geojson_of(*drawn, tmp_path / "out"):
        read = shapely.geometry.shape(geometry)
        y, x = np.mgrid[: mask.size[0], : mask.size[1]] + 0.5
        assert read.is_valid and (shapely.contains_xy(read, x, y) == mask.to_array()).all()


def test_fiftyones_samples_hold_every_pixel(drawn, tmp_path):
    folder, examples = drawn
    convert(str(folder), "fiftyone", tmp_path / "out")
    samples = json.loads((tmp_path / "out/samples.json").read_text("utf-8"))["samples"]
    for example, sample in zip(examples, samples, strict=True):
        assert Path(sample["filepath"]).stem == Path(example.image).stem
        assert sample["nothing_matches"] == ["a zebra"]
        height, width = example.size
        found = [d for field in ("predictions", "ground_truth") for d in sample[field]["detections"]]
        masks = [segment.mask for round in example.rounds for segment in round.segments or ()]
        for mask, detection in zip(masks, found, strict=True):
            left, top = detection["bounding_box"][0] * width, detection["bounding_box"][1] * height
            packed = base64.b64decode(detection["mask"]["$binary"]["base64"])
            inside = np.load(io.BytesIO(zlib.decompress(packed)))
            filled = np.zeros(example.size, bool)
            y, x = round(top), round(left)
            filled[y : y + inside.shape[0], x : x + inside.shape[1]] = inside
            assert (filled == mask.to_array()).all()


@pytest.mark.parametrize("name", SHAPES)
def test_masks_as_one_ring_and_as_valid_polygons(name):
    mask = shape(name, (20, 30))
    parts = mask.parts()
    rings = [[value for corner in ring for value in corner] for part in parts for ring in part]
    assert len({tuple(ring) for ring in rings}) == len(rings)
    for part in parts:
        for ring in part:
            assert len(set(ring)) == len(ring) >= 4  # touches itself nowhere


# -- the folder -----------------------------------------------------------------------------------------------


def test_a_stopped_run_goes_on_and_no_half_data_set_is_seen(drawn, tmp_path, monkeypatch):
    folder, _ = drawn
    place, placed = converting.place_picture, []

    def stop_at_five(path, target, **options):
        if len(placed) == 5:
            raise KeyboardInterrupt
        placed.append(path)
        place(path, target, **options)

    monkeypatch.setattr(converting, "place_picture", stop_at_five)
    with pytest.raises(KeyboardInterrupt):
        convert(str(folder), "coco", tmp_path / "out")
    assert not (tmp_path / "out/annotations.json").exists()
    before = {p.name: p.stat().st_ino for p in (tmp_path / "out/images").iterdir()}
    assert len(before) == 5
    monkeypatch.setattr(converting, "place_picture", place)
    convert(str(folder), "coco", tmp_path / "out")
    after = {p.name: p.stat().st_ino for p in (tmp_path / "out/images").iterdir()}
    assert len(after) == 8 and before.items() <= after.items()  # the five were not written again
    assert len(read_back(str(tmp_path / "out"))) == 8


def test_another_run_and_files_of_others_are_refused(drawn, tmp_path):
    folder, _ = drawn
    convert(str(folder), "png", tmp_path / "out")
    with pytest.raises(SettingError, match="results of another to"):
        convert(str(folder), "coco", tmp_path / "out")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/notes.txt").write_text("the user's")
    with pytest.raises(SettingError, match="neither empty nor made by"):
        convert(str(folder), "png", tmp_path / "mine")
    assert [p.name for p in (tmp_path / "mine").iterdir()] == ["notes.txt"]


def test_what_the_source_no_longer_has_goes(drawn, tmp_path):
    _, examples = drawn
    source = tmp_path / "source"
    write_drawn(source)
    convert(str(source), "labelme", tmp_path / "out")
    own.write_examples(examples[:2], source / "examples.jsonl")
    convert(str(source), "labelme", tmp_path / "out")
    assert sorted(p.suffix for p in (tmp_path / "out/images").iterdir()) == [".jpg", ".json", ".json", ".png"]


def test_a_changed_picture_is_placed_anew_and_links_take_no_room(tmp_path):
    source = tmp_path / "source"
    examples = write_drawn(source)
    first = source / examples[0].image
    convert(str(source), "coco", tmp_path / "out")
    Image.new("RGB", (30, 20), (9, 9, 9)).save(first)
    convert(str(source), "coco", tmp_path / "out")
    assert (read_picture(tmp_path / "out/images" / first.name).rgb == read_picture(first).rgb).all()
    convert(str(source), "coco", tmp_path / "linked", pictures="link")
    assert (tmp_path / "linked/images" / first.name).stat().st_ino == first.stat().st_ino
    convert(str(source), "coco", tmp_path / "bare", pictures="none")
    assert not (tmp_path / "bare/images").exists() and (tmp_path / "bare/annotations.json").is_file()


def test_a_picture_that_is_gone_or_of_another_size_is_left_out_and_said(tmp_path):
    source = tmp_path / "source"
    examples = write_drawn(source)
    (source / examples[0].image).unlink()
    Image.new("RGB", (7, 7)).save(source / examples[1].image)
    result = convert(str(source), "cvat", tmp_path / "out")
    assert result.pictures == 6 and result.left_out.counts["pictures left out"] == 2
    for example in examples:
        (source / example.image).unlink(missing_ok=True)
    with pytest.raises(DataError, match="nothing to write"):
        convert(str(source), "cvat", tmp_path / "none")


@pytest.mark.parametrize("to", WRITERS)
def test_a_picture_whose_prompts_were_answered_in_words_alone_does_not_teach_that_nothing_is_there(
    tmp_path, to
):
    Image.new("RGB", (9, 9)).save(tmp_path / "words.png")
    Image.new("RGB", (9, 9)).save(tmp_path / "masks.png")
    mask = Mask.full((9, 9))
    rounds = {
        "words": Round(
            prompt=Prompt(text="one of them"), segments=None, reply="The left one or the right one?"
        ),
        "masks": Round(prompt=Prompt(text="all"), segments=(Segment(mask=mask),)),
    }
    examples = [
        Example(id=name, image=f"{name}.png", size=(9, 9), rounds=(round,)) for name, round in rounds.items()
    ]
    own.write_examples(examples, tmp_path / "examples.jsonl")
    result = convert(str(tmp_path / "examples.jsonl"), to, tmp_path / "out")
    assert result.masks == 1
    if to in ("coco", "yolo-seg", "voc"):  # a picture without masks is one of background to them
        assert not list((tmp_path / "out").rglob("words*")) and sum(result.left_out.counts.values()) == 1
    if to == "label-studio":
        tasks = json.loads((tmp_path / "out" / "tasks.json").read_text())
        assert ["annotations" in task for task in tasks] == [False, True]


def test_saved_answers_in_words_alone_are_not_read_as_nothing(tmp_path):
    """A question back became truth: a prompt that rightly nothing matches."""
    Image.new("RGB", (9, 9), (220, 30, 30)).save(tmp_path / "red.png")
    answers = ColourModel().open(tmp_path / "red.png").ask_many(["red", "purple", "whichever"])
    silent = replace(answers[2], round=replace(answers[2].round, reply=None))  # a reply that came to nothing
    save_answers([*answers, silent], tmp_path / "answers")
    (example,) = open_source(str(tmp_path / "answers"), notes=Notes(), at=tmp_path)
    assert [r.segments and len(r.segments) for r in example.rounds] == [1, (), None, None]
    convert(str(tmp_path / "answers"), "fiftyone", tmp_path / "out", at=tmp_path)
    (sample,) = json.loads((tmp_path / "out" / "samples.json").read_text())["samples"]
    assert sample["nothing_matches"] == ["purple"]


def test_equal_names_get_numbers_and_odd_ones_are_made_plain():
    names = names_for(
        ["a/x.jpg", "b/x.png", "c/X.jpg", "d/x-2.jpg", "e/\udcffé:?.jpg", "f/" + "long" * 90 + ".jpg"]
    )
    stems = [Path(name).stem.lower() for name in names.values()]
    assert len(set(stems)) == len(stems)
    assert list(names.values())[:2] == ["x.jpg", "x-2.png"] and names["e/\udcffé:?.jpg"] == "_é__.jpg"
    assert all(len(name.encode()) < 200 for name in names.values())


# -- readers of what other programs write ---------------------------------------------------------------------


def test_label_studio_areas_in_percent(tmp_path):
    Image.new("RGB", (40, 20)).save(tmp_path / "a.png")

    def result(kind, value):
        return {"type": kind, "value": value, "original_width": 40, "original_height": 20}

    areas = [
        result(
            "rectanglelabels",
            {"x": 25, "y": 50, "width": 50, "height": 25, "rotation": 0, "rectanglelabels": ["r"]},
        ),
        result("polygonlabels", {"points": [[0, 0], [50, 0], [50, 50], [0, 50]], "polygonlabels": ["p"]}),
        result("ellipselabels", {"x": 50, "y": 50, "radiusX": 25, "radiusY": 50, "ellipselabels": ["e"]}),
        result("keypointlabels", {"x": 1, "y": 1, "keypointlabels": ["k"]}),
    ]
    annotations = [{"was_cancelled": True, "result": []}, {"result": areas}, {"result": []}]
    task = {"id": 3, "data": {"image": "/data/upload/1/0123abcd-a.png"}, "annotations": annotations}
    task["predictions"] = [{"result": []}]
    (tmp_path / "export.json").write_text(
        json.dumps([task, {"id": 4, "data": {"image": "a.png"}, "annotations": []}])
    )
    notes = Notes()
    (example,) = open_source(f"label-studio:{tmp_path}/export.json", notes=notes)
    boxes = {round.text: round.masks[0].box for round in example.rounds}
    assert boxes == {"r": (10, 10, 30, 15), "p": (0, 0, 20, 10), "e": (10, 0, 30, 20)}
    assert abs(example.rounds[2].masks[0].area - np.pi * 100) < 6 and example.image == str(tmp_path / "a.png")
    assert (
        len(notes.counts) == 5
    )  # a second annotation, predictions, a key point, its prompt, a task without results


def test_label_studio_rectangle_turned_by_a_quarter(tmp_path):
    value = {"x": 50, "y": 0, "width": 25, "height": 50, "rotation": 90, "rectanglelabels": ["r"]}
    result = {"type": "rectanglelabels", "value": value, "original_width": 40, "original_height": 40}
    (tmp_path / "t.json").write_text(
        json.dumps([{"data": {"image": "x/a.png"}, "annotations": [{"result": [result]}]}])
    )
    (example,) = open_source(f"label-studio:{tmp_path}/t.json", notes=Notes())
    assert example.rounds[0].masks[0].box == (0, 0, 20, 10)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_labels_over_stored_pixels_are_turned(tmp_path, orientation):
    """Some tools show photos as they are stored: the size they write tells."""
    image = Image.new("RGB", (30, 20))
    exif = image.getexif()
    exif[0x0112] = orientation
    image.save(tmp_path / "a.jpg", exif=exif)
    stored = shape(SHAPES[0], (20, 30))
    box = stored.box
    runs = ", ".join(map(str, Mask.from_array(stored.to_array()[box[1] : box[3], box[0] : box[2]].T).runs()))
    (tmp_path / "annotations.xml").write_text(
        f'<annotations><image id="0" name="a.jpg" width="30" height="20"><mask label="x" source="manual" rle="{runs}" '
        f'left="{box[0]}" top="{box[1]}" width="{box[2] - box[0]}" height="{box[3] - box[1]}"/>'
        '<polyline label="y" points="1,1;2,2"/></image></annotations>'
    )
    way = "&exif=stored" if orientation in (2, 3, 4) else ""  # nothing else tells it
    (example,) = open_source(f"cvat:{tmp_path}?{way[1:]}" if way else f"cvat:{tmp_path}", notes=Notes())
    assert example.rounds[0].masks == (upright(stored, orientation),)
    assert example.size == read_header(tmp_path / "a.jpg").size


def test_xml_with_entities_is_refused(tmp_path):
    (tmp_path / "annotations.xml").write_text('<!DOCTYPE a [<!ENTITY b "c">]><annotations>&b;</annotations>')
    with pytest.raises(DataError, match="document type"):
        list(open_source(f"cvat:{tmp_path}", notes=Notes()))


def test_labelme_groups_and_lines(tmp_path):
    Image.new("RGB", (30, 20)).save(tmp_path / "a.png")

    def one(kind, points, **more):
        return {"label": "cup", "shape_type": kind, "points": points} | more

    shapes = [
        one("rectangle", [[1, 1], [4, 4]], group_id=5),
        one("rectangle", [[10, 1], [12, 4]], group_id=5),
        one("rectangle", [[20, 1], [22, 4]]),
        one("line", [[0, 0], [5, 5]], description="its rim"),
        one("linestrip", [[0, 0], [5, 5]], description="its rim"),
        one("rectangle", [[0, 0], [5, 5]], description="its rim"),
    ]
    data = {"imagePath": "a.png", "imageHeight": 20, "imageWidth": 30, "imageData": None, "shapes": shapes}
    (tmp_path / "a.json").write_text(json.dumps(data))
    (tmp_path / "settings.json").write_text("{}")
    notes = Notes()
    (example,) = open_source(f"labelme:{tmp_path}", notes=notes)
    assert [len(round.segments) for round in example.rounds] == [2] and sum(notes.counts.values()) == 3
    assert notes.counts[PARTLY] == 1 and "'its rim'" in notes.places[PARTLY][0]
    assert example.rounds[0].masks[0].box == (1, 1, 13, 5)


@pytest.mark.parametrize("tool", ["label studio", "cvat", "labelme"])
@pytest.mark.parametrize("odd", ["line", "point", "speck"])
def test_what_is_marked_by_an_area_and_a_line_is_no_whole_truth(tmp_path, tool, odd):
    """The cup is a box and a line: its box alone would be scored, and trained on, as all of it."""
    Image.new("RGB", (30, 20)).save(tmp_path / "a.png")
    notes = Notes()
    if tool == "cvat":
        strange = {"line": '<polyline points="1,1;2,2"', "point": '<points points="1,1"'}.get(
            odd, '<box xtl="50" ytl="1" xbr="60" ybr="2"'
        )
        box = '<box label="{}" xtl="1" ytl="1" xbr="9" ybr="9"/>'
        tag = '<tag label="nothing matches"><attribute name="prompt">{}</attribute></tag>'
        (tmp_path / "annotations.xml").write_text(
            '<annotations><image id="0" name="a.png" width="30" height="20">'
            + box.format("cup") + box.format("pan") + strange + ' label="cup"/>'
            + tag.format("cup") + tag.format("zebra") + "</image></annotations>"
        )  # fmt: skip
        source = f"cvat:{tmp_path}"
    elif tool == "labelme":
        kind = {"speck": "polygon"}.get(odd, odd)
        points = {"line": [[1, 1], [2, 2]], "point": [[1, 1]]}.get(odd, [[50, 1], [60, 1], [60, 2]])
        shapes = [
            {"label": name, "shape_type": "rectangle", "points": [[1, 1], [8, 8]]} for name in ("cup", "pan")
        ]
        shapes.append({"label": "cup", "shape_type": kind, "points": points})
        data = {"imagePath": "a.png", "imageHeight": 20, "imageWidth": 30, "shapes": shapes}
        data["askmask"] = {"nothing": ["cup", "zebra"]}
        (tmp_path / "a.json").write_text(json.dumps(data))
        source = f"labelme:{tmp_path}"
    else:
        kind = {"line": "vectorlabels", "point": "keypointlabels"}.get(odd, "rectanglelabels")
        common = {"original_width": 30, "original_height": 20}
        box = {"x": 3, "y": 5, "width": 30, "height": 40}
        results = [
            common | {"type": "rectanglelabels", "value": box | {"rectanglelabels": [name]}}
            for name in ("cup", "pan")
        ]
        far = {"x": 150, "y": 5, "width": 5, "height": 5, kind: ["cup"]}
        results.append(common | {"type": kind, "value": far})
        results.append({"type": "rating", "value": {"rating": 4}})
        nothing = {"type": "textarea", "from_name": "nothing_matches", "value": {"text": ["cup", "zebra"]}}
        tasks = [{"data": {"image": "x/a.png"}, "annotations": [{"result": [*results, nothing]}]}]
        (tmp_path / "t.json").write_text(json.dumps(tasks))
        source = f"label-studio:{tmp_path}/t.json"
    (example,) = open_source(source, notes=notes)
    assert [(round.text, len(round.segments)) for round in example.rounds] == [("pan", 1), ("zebra", 0)]
    assert notes.counts[PARTLY] == 1 and "'cup'" in notes.places[PARTLY][0]


@pytest.mark.skipif(os.name != "posix", reason="modes of POSIX")
def test_yolo_names_a_folder_that_may_not_be_entered():
    with nobodys_folder() as root:
        for name in ("a", "closed/b"):
            for kind in ("images", "labels"):
                (root / f"{kind}/val/{name}").parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (20, 10)).save(root / f"images/val/{name}.png")
            (root / f"labels/val/{name}.txt").write_text("0 0 0 1 0 1 1\n")
        (root / "data.yaml").write_text("path: .\nval: images/val\nnames: [cup]\n")
        (root / "images/val/closed").chmod(0)
        source, notes = f"yolo-seg:{root}@val", Notes()
        list(open_source(source, notes=Notes()))  # what is loaded late is loaded
        be_a_plain_user()
        assert len(list(open_source(source, notes=notes))) == 1
        assert sum(notes.counts.values()) == 1 and "closed" in str(notes.places)


def test_yolo_of_others(tmp_path):
    for split in ("train", "val"):
        (tmp_path / f"images/{split}").mkdir(parents=True)
        (tmp_path / f"labels/{split}").mkdir(parents=True)
        Image.new("RGB", (20, 10)).save(tmp_path / f"images/{split}/a.jpg")
    (tmp_path / "data.yaml").write_text(
        "path: ../coco8\ntrain: images/train\nval: images/val\nnames:\n  0: cup\n  3: pan\n"
    )
    (tmp_path / "labels/val/a.txt").write_text("3 0 0 0.5 0 0.5 1 0 1\n0 0.5 0.5 0.1 0.1\n")
    notes = Notes()
    (example,) = open_source(f"yolo-seg:{tmp_path}@val", notes=notes)
    assert example.rounds[0].text == "pan" and example.rounds[0].masks[0].box == (0, 0, 10, 10)
    assert sum(notes.counts.values()) == 2 and "'cup'" in notes.places[PARTLY][0]
    with pytest.raises(DataError, match="one must be named"):
        list(open_source(f"yolo-seg:{tmp_path}", notes=Notes()))
    with (tmp_path / "labels/val/a.txt").open("a") as file:
        file.write("3 0.5 0.5 0.1 0.1\n0 0 0 0.5 0 0.5 1\n")  # each class has an instance without a mask
    with pytest.raises(DataError, match="box without a mask"):
        list(open_source(f"yolo-seg:{tmp_path}@val", notes=Notes()))
