"""What a file does not say is never "nothing matches": left out, counted and named, or an error. Bounds of readers."""

import base64
import io
import json
import time
import zipfile

import numpy as np
import pytest
from PIL import Image

from askmask.conversation import Example, Round
from askmask.errors import DataError
from askmask.formats import dense, open_dataset
from askmask.formats.coco import write_coco
from askmask.formats.converseg import merged_rows, write_items, write_lines
from askmask.formats.labelme import paint_shape
from askmask.formats.panoptic import literal_name
from askmask.formats.polygons import paint_polygon
from askmask.formats.reading import ById, order_of, size_of
from askmask.imaging.mask import Mask
from askmask.notes import Notes
from tests.formats.test_loaders import H, W, box_mask, box_points, box_ring, dump, picture, refer  # noqa: F401

BOX = [1, 1, 4, 4]
EXIF_6 = Image.Exif()
EXIF_6[0x0112] = 6


def coco(folder, annotations, images=None, **more):
    images = images or [{"id": 1, "file_name": "a.png", "height": H, "width": W}]
    categories = [{"id": 1, "name": "mug"}, {"id": 2, "name": "bowl"}]
    rows = [
        {"id": n, "image_id": 1, "category_id": 1, "iscrowd": 0} | row for n, row in enumerate(annotations)
    ]
    data = {"images": images, "categories": categories, "annotations": rows} | more
    dump(folder / "annotations/instances_val2017.json", data)
    return f"coco:{folder}"


def muse(folder, segmentation, images=None):
    row = {
        "file_name": "train2017/a.png", "height": H, "width": W, "questions": ["q"], "text_answers": [None],
        "answers": [[{"segmentation": segmentation, "category_name": "mug"}]],
    }  # fmt: skip
    dump(folder / "muse_val.json", [row])
    return f"muse:{folder}@val"


def read(source, **options):
    notes = Notes()
    return list(open_dataset(source, notes=notes, **options)), notes


# -- boxes without masks, through every set that has COCO's annotations -------------------------------------


@pytest.mark.parametrize("segmentation", [[], None, {}, [[0, 0, 0, 0, 0, 0]]])
@pytest.mark.parametrize("kind", ["coco", "muse", "refcoco", "grefcoco", "mrseg"])
def test_a_box_without_a_mask_is_left_out_not_nothing(kind, segmentation, tmp_path, request):
    if kind == "coco":
        source = coco(tmp_path, [{"segmentation": segmentation, "bbox": BOX}])
    elif kind == "muse":
        source = muse(tmp_path, segmentation)
    elif kind == "mrseg":
        source = mrseg_of(tmp_path, segmentation)
    else:
        folder = request.getfixturevalue("refer")
        for name in ("refcoco", "grefcoco"):
            path = folder / name / "instances.json"
            data = json.loads(path.read_text())
            for row in data["annotations"]:
                row["segmentation"] = segmentation
            dump(path, data)
        if kind == "grefcoco":  # one of its prompts rightly matches nothing: that one stays
            found, notes = read(f"grefcoco:{folder}@val")
            assert [e.rounds[0].text for e in found] == ["the zebra"] and sum(notes.counts.values()) == 3
            return
        source = f"refcoco:{folder}@val"
    with pytest.raises(
        DataError, match=r"nothing of it can be used; got 1 x annotations left out: a .* without"
    ):
        list(open_dataset(source))


def mrseg_of(folder, segmentation):
    image = "a.png"
    picture(folder / "images_folder" / image)
    instances = {
        "images": [{"id": 1, "height": H, "width": W}],
        "annotations": [{"id": 12, "image_id": 1, "segmentation": segmentation}],
    }
    dump(folder / "refcoco.json", instances)
    (folder / "annotations.yaml").write_text("datasets:\n  - {name: refcoco, path: refcoco.json}\n")
    turns = [
        {"from": "human", "value": f"[IMAGE256:{image}] the dog"},
        {"from": "gpt", "value": f"[MASK-DECODE:{image}|refcoco|12]"},
    ]
    dump(folder / "conversations_folder/val/a.json", [{"conv_id": "1", "conversations": turns}])
    return f"mrseg:{folder}@val"


def test_what_is_left_out_is_said_once_and_the_rest_is_read(tmp_path, caplog):
    boxes = [{"segmentation": [box_ring(0, 0, 4, 4)]}, {"segmentation": [], "category_id": 2}]
    source = coco(tmp_path, boxes)
    for _ in range(2):
        assert [e.rounds[0].text for e in open_dataset(source)] == ["mug"]
    assert len(caplog.messages) == 1
    assert "1 x annotations left out: a box without a mask (first: " in caplog.text
    assert "image 1, category 2)" in caplog.text


def test_what_is_said_of_a_file_cannot_steer_the_terminal(tmp_path, caplog):
    rows = [{"segmentation": [box_ring(0, 0, 4, 4)]}, {"category_id": "\x1b]0;t\x07\u202e"}]
    read_and_said = list(open_dataset(coco(tmp_path, rows)))
    assert len(read_and_said) == 1 and "\\x1b]0;t\\x07\\u202e" in caplog.text
    assert not set("\x1b\x07\u202e") & set("".join(caplog.messages))


def test_a_prompt_of_which_one_instance_has_no_mask_is_left_out_whole(tmp_path):
    with pytest.raises(DataError, match="nothing of it can be used"):
        read(coco(tmp_path, [{"segmentation": [box_ring(0, 0, 4, 4)]}, {"segmentation": []}]))


def test_crowds_alone_are_left_out_or_taken_as_instances(tmp_path):
    crowd = {"iscrowd": 1, "segmentation": {"size": [H, W], "counts": [0, 6, H * W - 6]}}
    source = coco(tmp_path, [crowd, {"category_id": 2, "segmentation": [box_ring(0, 0, 2, 2)]}])
    (bowl,), notes = read(source)
    assert bowl.rounds[0].text == "bowl" and "crowds=instances" in notes.lines()[0]
    (mug, _), notes = read(source + "?crowds=instances")
    assert mug.rounds[0].masks[0].area == 6 and not notes.counts


def test_sets_without_negatives_have_none(tmp_path, refer):  # noqa: F811
    rows = json.loads((refer / "grefcoco/grefs(unc).json").read_text())
    rows[2]["ann_id"] = [9]  # a crowd alone
    dump(refer / "grefcoco/grefs(unc).json", rows)
    found, notes = read(f"grefcoco:{refer}@val")
    assert "everyone" not in [e.rounds[0].text for e in found] and "crowds alone" in notes.lines()[0]
    picture(tmp_path / "val/a.jpg")
    row = {
        "text": ["x"],
        "is_sentence": True,
        "shapes": [{"label": "flag", "points": box_points(0, 0, 3, 3)}],
    }
    dump(tmp_path / "val/a.json", row)
    with pytest.raises(DataError, match="no shape marks a target"):
        read(f"reasonseg:{tmp_path}@val")


# -- ids ----------------------------------------------------------------------------------------------------


def test_annotations_of_equal_ids_are_all_used(tmp_path):
    rows = [{"id": 0, "segmentation": [box_ring(x, 1, x + 2, 3)]} for x in (1, 5, 9)]
    (example,), _ = read(coco(tmp_path, rows))
    assert [mask.box[0] for mask in example.rounds[0].masks] == [1, 5, 9]


def test_pictures_and_categories_of_equal_ids_are_errors_naming_the_id(tmp_path):
    image = {"id": 1, "file_name": "a.png", "height": H, "width": W}
    rows = [{"segmentation": [box_ring(0, 0, 4, 4)]}]
    assert len(read(coco(tmp_path, rows, [image, image]))[0]) == 1  # the same row twice says nothing else
    with pytest.raises(DataError, match="2 images with id 1"):
        read(coco(tmp_path, rows, [image, image | {"file_name": "b.png"}]))
    names = [{"id": 1, "name": "mug"}, {"id": 1, "name": "bowl"}]
    with pytest.raises(DataError, match="2 categories with id 1"):
        read(coco(tmp_path, rows, categories=names))


def test_categories_of_one_name_are_asked_for_together(tmp_path):
    rows = [{"category_id": n, "segmentation": [box_ring(5 * n, 1, 5 * n + 3, 4)]} for n in (1, 2)]
    source = coco(tmp_path, rows)
    path = tmp_path / "annotations/instances_val2017.json"
    data = json.loads(path.read_text())
    data["categories"][1]["name"] = "mug"  # two tools, one word
    dump(path, data)
    ((example,), notes) = read(source)
    assert [mask.box[0] for mask in example.rounds[0].masks] == [5, 10] and not notes.counts


def test_a_picture_that_several_ids_list_is_left_out(tmp_path):
    images = [
        {"id": n, "file_name": name, "height": H, "width": W} for n, name in enumerate(["a", "a", "b"], 1)
    ]
    rows = [{"image_id": n, "segmentation": [box_ring(*BOX)]} for n in (1, 2, 3)]
    found, notes = read(coco(tmp_path, rows, images))
    assert [e.id for e in found] == ["coco-val2017-3-1"]  # of the others each has a part of the mugs
    assert notes.counts == {"prompts left out: several ids list their picture": 2}


def test_what_lvis_did_not_label_exhaustively_is_left_out(tmp_path):
    images = [{"id": 1, "file_name": "a", "height": H, "width": W, "not_exhaustive_category_ids": [2]}]
    rows = [{"category_id": n, "segmentation": [box_ring(*BOX)]} for n in (1, 2)]
    found, notes = read(coco(tmp_path, rows, images))
    assert [e.rounds[0].text for e in found] == ["mug"]
    assert notes.counts == {"prompts left out: LVIS did not label all of the category": 1}


@pytest.mark.parametrize("kind", ["coco", "muse"])
def test_polygons_in_fractions_are_an_error_not_one_pixel(kind, tmp_path):
    ring = [0.1, 0.1, 0.6, 0.1, 0.6, 0.8, 0.1, 0.8]
    source = coco(tmp_path, [{"segmentation": [ring]}]) if kind == "coco" else muse(tmp_path, [ring])
    with pytest.raises(DataError, match="corners must be pixels"):
        read(source)


@pytest.mark.parametrize("prompt", ["", " \n", None, 5, ...])
def test_a_prompt_that_asks_for_nothing_is_left_out(tmp_path, prompt):
    picture(tmp_path / "a.png")
    box_mask(1, 1, 5, 5).to_png(tmp_path / "m.png")
    row = {"image": "a.png", "mask": "m.png", "prompt": prompt}
    rows = [{k: v for k, v in row.items() if v is not ...}, row | {"prompt": "the cup"}]
    dump(tmp_path / "items.json", {"items": rows})
    found, notes = read(f"converseg:{tmp_path}/items.json")
    assert [e.rounds[0].text for e in found] == ["the cup"] and sum(notes.counts.values()) == 1


def test_a_turn_full_of_brackets_is_refused_in_a_moment(tmp_path):
    mrseg_of(tmp_path, [box_ring(*BOX)])
    (path,) = (tmp_path / "conversations_folder").rglob("*.json")
    data = json.loads(path.read_text())
    data[0]["conversations"][0]["value"] = "[IMAGE256:" * 200_000
    dump(path, data)
    began = time.process_time()
    with pytest.raises(DataError, match="a turn may have"):
        read(f"mrseg:{tmp_path}@val")
    assert time.process_time() - began < 10


def test_ids_of_mixed_types_are_the_same_ids(tmp_path):
    rows = [
        {"image_id": i, "category_id": c, "segmentation": [box_ring(0, 0, 4, 4)]}
        for i, c in ((1, "1"), ("1", 1.0))
    ]
    (example,), _ = read(coco(tmp_path, rows))
    assert len(example.rounds[0].masks) == 2
    assert sorted(["10", "b", "9", "a"], key=order_of) == ["9", "10", "a", "b"]
    for bad in (None, True, [1], {}, 1.5, float("nan"), ""):
        with pytest.raises(DataError, match="an id must be"):
            ById([{"id": bad}], "rows")


def test_an_annotation_of_two_meanings_is_refused_by_the_refer_sets(refer):  # noqa: F811
    path = refer / "refcoco/instances.json"
    data = json.loads(path.read_text())
    data["annotations"][2]["id"] = 8
    dump(path, data)
    with pytest.raises(DataError, match="ref 2: 2 annotations with id 8"):
        read(f"refcoco:{refer}@val")


def test_an_annotation_of_two_meanings_is_refused_by_mrseg(tmp_path):
    source = mrseg_of(tmp_path, [box_ring(0, 0, 4, 4)])
    data = json.loads((tmp_path / "refcoco.json").read_text())
    data["annotations"].append(data["annotations"][0] | {"segmentation": [box_ring(6, 6, 9, 9)]})
    dump(tmp_path / "refcoco.json", data)
    with pytest.raises(DataError, match="conversation 0: 2 annotations with id 12"):
        read(source)


# -- sizes and EXIF -----------------------------------------------------------------------------------------


def turned_photo(path, size):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size[::-1]).save(path, exif=EXIF_6)


def test_masks_on_the_stored_pixels_of_a_turned_photo_are_turned(tmp_path):
    turned_photo(tmp_path / "val2017/a.png", (H, W))  # upright it is W high and H wide
    turned_photo(tmp_path / "val2017/square.png", (H, H))
    images = [
        {"id": 1, "file_name": "a.png", "height": H, "width": W},
        {"id": 2, "file_name": "square.png", "height": H, "width": H},
    ]
    rows = [{"image_id": i, "segmentation": [box_ring(0, 0, 4, 2)]} for i in (1, 2)]
    stored, square = read(coco(tmp_path, rows, images))[0]
    assert stored.size == (W, H) and stored.rounds[0].masks[0].box == (H - 2, 0, H, 4)
    assert square.rounds[0].masks[0].box == (H - 2, 0, H, 4), "the other picture tells how the file was drawn"
    images[0] |= {"height": W, "width": H}
    upright, square = read(coco(tmp_path, rows, images))[0]
    assert upright.rounds[0].masks[0].box == square.rounds[0].masks[0].box == (0, 0, 4, 2)
    with pytest.raises(DataError, match=r"turned by EXIF.* Add \"exif=upright\""):
        read(coco(tmp_path, rows[1:], images[1:]))
    (told,) = read(coco(tmp_path, rows[1:], images[1:]) + "?exif=stored")[0]
    assert told.rounds[0].masks[0].box == (H - 2, 0, H, 4)


@pytest.mark.parametrize("kind", ["coco", "muse", "prist", "refcoco", "mrseg"])
def test_a_stated_size_that_is_not_the_pictures_is_an_error(kind, tmp_path, request):
    other = (H + 1, W)
    if kind == "coco":
        picture(tmp_path / "val2017/a.png", other)
        source = coco(tmp_path, [{"segmentation": [box_ring(0, 0, 4, 4)]}])
    elif kind == "muse":
        picture(tmp_path / "train2017/a.png", other)
        source = muse(tmp_path, [box_ring(0, 0, 4, 4)])
    elif kind == "prist":
        source = prist_of(tmp_path, H, W)
        picture(tmp_path / "multiturn/Multiturn/val/a.png", other)
    elif kind == "refcoco":
        folder = request.getfixturevalue("refer")
        picture(folder / "images/mscoco/images/train2014/COCO_train2014_000000000003.jpg", other)
        source = f"refcoco:{folder}@val"
    else:
        source = mrseg_of(tmp_path, [box_ring(0, 0, 4, 4)])
        picture(tmp_path / "images_folder/a.png", other)
    with pytest.raises(DataError, match=f"of another size than the picture; got {W} x {H} and {W} x {H + 1}"):
        read(source)


def prist_of(folder, height, width):
    turns = [{"from": "human", "value": "Segment it."}, {"from": "gpt", "value": "[SEG]"}]
    dump(folder / "test.json", [{"img_id": "a.png", "focus": "cup", "dialogue": turns}])
    row = {
        "imageHeight": height,
        "imageWidth": width,
        "shapes": [{"label": "cup", "points": box_points(0, 0, 3, 3)}],
    }
    dump(folder / "multiturn/Multiturn/val/masks/a.json", row)
    return f"prist:{folder}@test"


@pytest.mark.parametrize("side", [60_000, 10**9, 0, -1, 1.5, "12", None, True, float("inf"), 10**400])
def test_sizes_are_bounded_before_anything_is_painted(tmp_path, side):
    began = time.process_time()
    with pytest.raises(DataError, match=r"dialogue 0: .*a\.json"):
        read(prist_of(tmp_path, side, 60_000))
    with pytest.raises(DataError):
        size_of(side, 60_000)
    assert time.process_time() - began < 10


def test_windows_paths_are_read(tmp_path):
    picture(tmp_path / "val2017/sub/a.png")
    image = {"id": 1, "file_name": "sub\\a.png", "height": H, "width": W}
    (example,), _ = read(coco(tmp_path, [{"segmentation": [box_ring(0, 0, 4, 4)]}], [image]))
    assert example.image == str(tmp_path / "val2017/sub/a.png")


# -- LabelMe ------------------------------------------------------------------------------------------------


def painted(shape):
    canvas = np.zeros((H, W), np.uint8)
    paint_shape(canvas, shape)
    return canvas


def test_every_shape_that_is_an_area_is_painted():
    box = painted({"points": box_points(2, 3, 6, 8)})
    assert box.sum() == 5 * 6
    assert (painted({"shape_type": "rectangle", "points": [[6, 8], [2, 3]]}) == box).all()
    circle = painted({"shape_type": "circle", "points": [[5, 5], [5, 8]]})
    assert circle.sum() == 29 and circle[5, 8] and not circle[8, 8]
    buffer = io.BytesIO()
    Image.fromarray(np.ones((6, 5), np.uint8)).save(buffer, "PNG")
    mask = {
        "shape_type": "mask",
        "points": [[2, 3], [6, 8]],
        "mask": base64.b64encode(buffer.getvalue()).decode(),
    }
    assert (painted(mask) == box).all()


@pytest.mark.parametrize("kind", ["point", "line", "linestrip", "points", "cuboid", 5, ["polygon"]])
def test_a_shape_that_is_no_area_is_an_error_naming_it(kind, tmp_path):
    picture(tmp_path / "val/a.jpg")
    shape = {"label": "x", "shape_type": kind, "points": [[1, 1], [5, 5]]}
    dump(tmp_path / "val/a.json", {"text": ["x"], "is_sentence": True, "shapes": [shape]})
    with pytest.raises(DataError, match=r"val/a\.json: a shape must be an area") as error:
        read(f"reasonseg:{tmp_path}@val")
    assert repr(kind) in str(error.value)


@pytest.mark.parametrize(
    "shape",
    [
        {"shape_type": "rectangle", "points": [[1, 1]]},
        {"shape_type": "mask", "points": [[1, 1], [2, 2]], "mask": "not base 64"},
        {"shape_type": "mask", "points": [[1, 1], [2, 2]]},
        {"shape_type": "circle", "points": [[1, 1], [float("nan"), 2]]},
    ],
)
def test_broken_shapes_are_errors(shape):
    with pytest.raises(DataError):
        painted(shape)


def test_polygons_far_outside_take_no_time():
    random = np.random.default_rng(0)
    began = time.process_time()
    canvas = np.zeros((12, 16), np.uint8)
    paint_polygon(canvas, random.uniform(-130_000, 130_000, (100_000, 2)))
    assert time.process_time() - began < 10


# -- splits -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind", ["refcoco", "grefcoco", "reasonseg", "prist", "muse", "mmr", "coco", "panoptic", "mrseg"]
)
def test_an_unknown_split_is_an_error(kind, tmp_path, request):
    folder = request.getfixturevalue("refer") if kind.endswith("refcoco") else tmp_path
    if kind == "prist":
        prist_of(tmp_path, H, W)
    if kind == "mrseg":
        mrseg_of(tmp_path, [box_ring(0, 0, 4, 4)])
    with pytest.raises(DataError):
        read(f"{kind}:{folder}@nowhere")


def test_plain_converseg_files_are_the_splits_train_and_eval(tmp_path):
    picture(tmp_path / "a.png")
    box_mask(1, 1, 5, 5).to_png(tmp_path / "m.png")
    row = {"id": "1", "image": "a.png", "mask": "m.png", "prompt": "held out"}
    dump(tmp_path / "items.json", {"items": [row]})
    dump(tmp_path / "dataset.jsonl", {"image": "a.png", "mask_merged": "m.png", "prompt": "learnt"})

    def asked(source, **options):
        return [e.rounds[0].text for e in read(source, **options)[0]]

    assert asked(f"converseg:{tmp_path}@train") == asked(str(tmp_path), prefer="train") == ["learnt"]
    assert asked(f"converseg:{tmp_path}@eval") == asked(str(tmp_path), prefer="val") == ["held out"]
    for source, match in ((f"{tmp_path}@anything", "no split"), (str(tmp_path), "one must be named")):
        with pytest.raises(DataError, match=match):
            read(f"converseg:{source}")
    with pytest.raises(DataError, match="no split"):
        read(f"converseg:{tmp_path}/items.json@train")


def test_an_annotation_of_no_picture_makes_the_file_doubtful(tmp_path):
    source = coco(tmp_path, [{"segmentation": [box_ring(*BOX)]}, {"segmentation": [box_ring(*BOX)]}])
    path = tmp_path / "annotations/instances_val2017.json"
    data = json.loads(path.read_text())
    del data["annotations"][1]["image_id"]  # the mug of which picture is not all that is labelled?
    dump(path, data)
    with pytest.raises(DataError, match="'image_id'"):
        read(source)


def test_one_mask_that_cannot_be_read_does_not_end_the_rest(tmp_path):
    picture(tmp_path / "a.png")
    box_mask(1, 1, 5, 5).to_png(tmp_path / "m.png")
    (tmp_path / "damaged.png").write_bytes(b"\x89PNG\r\n\x1a\n damaged")
    rows = [{"id": n, "image": "a.png", "mask": n, "prompt": n} for n in ("m.png", "damaged.png", "gone.png")]
    dump(tmp_path / "items.json", {"items": rows})
    found, notes = read(f"converseg:{tmp_path}/items.json")
    assert [e.id for e in found] == ["m.png"]
    assert notes.lines()[0].startswith("2 x items left out: they cannot be read (first: ")
    assert all(f"item {n}: " in notes.lines()[0] for n in (1, 2)) and "damaged.png" in notes.lines()[0]


# -- writing ------------------------------------------------------------------------------------------------


@pytest.fixture
def written(tmp_path):
    picture(tmp_path / "images/a.png")
    left, right = box_mask(0, 0, 4, 4), box_mask(8, 2, 12, 6)
    rounds = (
        Round.of("what could roll", masks=(left, right), concept="physics", ignore=box_mask(14, 10, 16, 12)),
        Round.of("the zebra", masks=(), concept="entities"),
        Round.of("unlabelled"),
        Round.of("its lid", masks=(right,), refers_to=["r1"], concept="physics"),
        Round.of("the café/left", masks=(left,), concept="spatial"),
    )
    example = Example(id="a/b:1", image="images/a.png", size=(H, W), rounds=rounds, independent=True)
    return tmp_path, example


def test_converseg_is_written_and_read_back(written):
    folder, example = written
    notes = Notes()
    rows = list(merged_rows([example], folder, notes=notes))
    assert write_lines(rows, folder) == write_items(rows, folder, name="x") == 3
    for split in ("train", "eval"):
        found, _ = read(f"converseg:{folder}@{split}")
        assert [e.rounds[0].text for e in found] == ["what could roll", "the zebra", "the café/left"]
        assert [e.rounds[0].mask((H, W)) for e in found] == [
            example.rounds[n].mask((H, W)) for n in (0, 1, 4)
        ]
        assert [e.rounds[0].concept for e in found] == ["physics", "entities", "spatial"]
    assert sum(notes.counts.values()) == 2 and len(list((folder / "masks").iterdir())) == 3


def test_coco_is_written_and_read_back_by_us_and_by_pycocotools(written):
    from pycocotools.coco import COCO

    folder, example = written
    notes = Notes()
    assert write_coco([example], folder / "coco.json", name="x", notes=notes) == 5
    (spatial, physics, later), _ = read(f"coco:{folder}/coco.json")
    assert (physics.rounds[0].text, spatial.rounds[0].text) == ("what could roll", "the café/left")
    assert later.rounds[0].text == "its lid"  # what it refers to is counted as lost
    assert physics.rounds[0].masks == example.rounds[0].masks
    assert physics.rounds[0].ignore == example.rounds[0].ignore
    assert physics.rounds[0].concept == "physics" and physics.image == str(folder / "images/a.png")
    assert sum(notes.counts.values()) == 3
    theirs = COCO(folder / "coco.json")
    annotations = theirs.loadAnns(theirs.getAnnIds(iscrowd=False))
    assert (theirs.annToMask(annotations[0]) == example.rounds[0].masks[0].to_array()).all()
    box = {
        "image_id": 1,
        "category_id": annotations[0]["category_id"],
        "bbox": annotations[0]["bbox"],
        "score": 0.9,
    }
    assert len(theirs.loadRes([box]).getAnnIds()) == 1


# -- panoptic -----------------------------------------------------------------------------------------------


@pytest.fixture
def panoptic(tmp_path):
    ids = np.full((H, W), 70_000)
    ids[0:4, 0:4], ids[0:4, 6:9], ids[6:8], ids[11] = 1, 300, 4, 0
    (tmp_path / "annotations/panoptic_val2017").mkdir(parents=True)
    colours = np.stack([ids % 256, ids // 256 % 256, ids // 65536], -1).astype(np.uint8)
    Image.fromarray(colours).save(tmp_path / "annotations/panoptic_val2017/9.png")
    infos = [(1, 1, 0), (300, 1, 0), (70_000, 199, 0), (4, 171, 0)]
    data = {
        "images": [{"id": 9, "file_name": "9.jpg", "height": H, "width": W}],
        "categories": [{"id": i, "name": n} for i, n in ((1, "person"), (199, "wall-other-merged"), (171, "wall-brick"))],
        "annotations": [{"image_id": 9, "file_name": "9.png", "segments_info": [
            {"id": i, "category_id": c, "iscrowd": n} for i, c, n in infos]}],
    }  # fmt: skip
    dump(tmp_path / "annotations/panoptic_val2017.json", data)
    return tmp_path, data


def test_panoptic_segments_are_literal_prompts(panoptic):
    folder, data = panoptic
    ((example,), _) = read(f"panoptic:{folder}")
    people, wall, bricks = example.rounds
    assert example.independent and [r.text for r in example.rounds] == ["person", "wall", "brick wall"]
    assert [m.box for m in people.masks] == [(0, 0, 4, 4), (6, 0, 9, 4)] and people.ignore.area == W
    assert wall.ignore.area == W + bricks.masks[0].area, "a brick wall is a wall too"
    ((each,), _) = read(f"panoptic:{folder}?per=instance")
    assert [r.text for r in each.rounds] == ["person", "person", "wall", "brick wall"]
    assert each.rounds[0].ignore.area == W + 12, "another person is no background"
    data["annotations"][0]["segments_info"][1]["iscrowd"] = 1
    dump(folder / "annotations/panoptic_val2017.json", data)
    ((crowded,), _) = read(f"panoptic:{folder}")
    assert len(crowded.rounds[0].masks) == 1 and crowded.rounds[0].ignore.area == W + 12
    assert [literal_name(n) for n in ("sky-other-merged", "floor-wood", "mirror-stuff", "other")] == [
        "sky", "wood floor", "mirror", "other",
    ]  # fmt: skip


def test_panoptic_errors_name_the_picture(panoptic):
    folder, data = panoptic
    data["annotations"][0]["segments_info"][1]["id"] = 1
    dump(folder / "annotations/panoptic_val2017.json", data)
    with pytest.raises(DataError, match=r"panoptic_val2017\.json, image 9: two segments with the same id"):
        read(f"panoptic:{folder}")
    data["annotations"][0]["segments_info"][1]["id"] = 300
    dump(folder / "annotations/panoptic_val2017.json", data | {"annotations": data["annotations"] * 2})
    with pytest.raises(DataError, match="image 9: 2 annotations of one picture"):
        read(f"panoptic:{folder}")


# -- bounds -------------------------------------------------------------------------------------------------

ALIASES = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{b}: &{b} [{','.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefghi", "bcdefghij", strict=True)
)


@pytest.mark.parametrize(
    "content",
    [
        ALIASES + "datasets:\n  - {name: *j, path: x}\n",
        "[" * 20_000,
        "datasets: 5",
        "datasets:\n  - {name: [], path: x}\n",
        "!!python/object/apply:os.system ['true']",
        "datasets:\n" + "# " + "x" * (2 << 20),
    ],
)
def test_hostile_yaml_is_refused_at_once(tmp_path, content):
    mrseg_of(tmp_path, [])
    (tmp_path / "annotations.yaml").write_text(content)
    began = time.process_time()
    with pytest.raises(DataError, match=r"annotations\.yaml"):
        read(f"mrseg:{tmp_path}@val")
    (tmp_path / "data.yaml").write_text(content)
    with pytest.raises(DataError, match=r"data\.yaml"):
        read(f"yolo-seg:{tmp_path}")
    assert time.process_time() - began < 10


def test_a_shard_of_zeros_without_end_is_refused_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(dense, "MAX_SHARD_BYTES", 10 << 20)
    path = tmp_path / "shard-00000.npz"
    path.with_suffix(".jsonl").write_text("")
    np.savez_compressed(path, rgb=np.zeros((4, 1024, 1024, 3), np.uint8))
    assert path.stat().st_size < 100_000
    with pytest.raises(DataError, match=r"shard-00000\.npz .*more than 10 MB; got 12 MB"):
        dense.read_shard(path)


def test_a_table_of_zeros_without_end_is_refused_at_once(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    row = {"example": "{}", "image": {"bytes": bytes(300 << 20), "path": "a.png"}}
    parquet.write_table(pyarrow.Table.from_pylist([row]), tmp_path / "val.parquet", compression="zstd")
    assert (tmp_path / "val.parquet").stat().st_size < 1 << 20
    with pytest.raises(
        DataError, match=r"val\.parquet: column image\.bytes is compressed more than 200-fold"
    ):
        read(f"own:{tmp_path}")


def test_damaged_shards_are_named(tmp_path):
    pixels = np.zeros((1, 4, 4), np.uint8)
    shard = dense.Shard(
        rgb=np.zeros((1, 4, 4, 3), np.uint8), objects=pixels, parts=pixels, depth=pixels.astype(np.float16),
        scene=np.zeros(1, np.int32), view=np.zeros(1, np.uint8), scenes=[{"format": 1, "objects": [], "views": [{"prompts": []}]}],
    )  # fmt: skip
    path = tmp_path / "shard-00000.npz"
    dense.write_shard(path, shard)
    assert dense.read_shard(path).facts(0)[1] == {"prompts": []}
    whole = path.read_bytes()
    random = np.random.default_rng(0)
    for _ in range(60):
        damaged = bytearray(whole)
        for at in random.integers(0, len(whole), 4):
            damaged[at] = random.integers(256)
        path.write_bytes(damaged)
        try:
            dense.read_shard(path)
        except DataError as error:
            assert "shard-00000" in str(error)
    for field, value in (
        ("scene", np.ones(1, np.int32)), ("view", np.ones(1, np.uint8)), ("scene", np.full(1, -1, np.int32)),
        ("depth", pixels), ("rgb", np.zeros((1, 4, 4, 4), np.uint8)), ("view", np.zeros(2, np.uint8)),
    ):  # fmt: skip
        with path.open("wb") as file:
            np.savez_compressed(
                file, **{name: getattr(shard, name) for name in dense.ARRAYS} | {field: value}
            )
        with pytest.raises(DataError, match="shard-00000"):
            dense.read_shard(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("rgb.npy", whole[:20])
    with pytest.raises(DataError, match="no shard of dense truth"):
        dense.read_shard(path)


@pytest.mark.parametrize(
    "value", ["9" * 5000, "[" * 100_000 + "]" * 100_000, "1e999", "NaN", "{}", '"x"', "null"]
)
@pytest.mark.parametrize("field", ["height", "id", "segmentation", "category_id", "file_name"])
def test_odd_values_are_errors_of_ours_naming_the_file(tmp_path, field, value):
    source = coco(tmp_path, [{"segmentation": [box_ring(0, 0, 4, 4)]}])
    path = tmp_path / "annotations/instances_val2017.json"
    data = json.loads(path.read_text())
    for rows in (data["images"], data["categories"], data["annotations"]):
        for row in rows:
            if field in row:
                row[field] = "HERE"
    path.write_text(json.dumps(data).replace('"HERE"', value))
    began = time.process_time()
    try:
        read(source)
    except DataError as error:
        assert "instances_val2017.json" in str(error) or "nothing of it can be used" in str(error)
    assert time.process_time() - began < 10


def test_no_program_is_started_for_a_mask_in_a_table(tmp_path, monkeypatch):
    pyarrow = pytest.importorskip("pyarrow")
    import pyarrow.parquet as parquet

    monkeypatch.setattr("subprocess.check_call", lambda *_, **__: pytest.fail("a program was started"))
    picture(tmp_path / "a.png")
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 16 12\n%%EndComments\nshowpage\n%%EOF\n"
    row = {"id": "a", "prompt": "x", "concept": "physics"} | {
        name: {"bytes": data, "path": None}
        for name, data in (("image", (tmp_path / "a.png").read_bytes()), ("mask", eps))
    }
    parquet.write_table(pyarrow.Table.from_pylist([row]), tmp_path / "human_annotated-0.parquet")
    with pytest.raises(DataError, match=r"row 0: mask: not a picture that can be read"):
        read(f"converseg:{tmp_path}@human_annotated")


def test_a_pipe_in_place_of_a_file_is_refused(tmp_path):
    import os

    (tmp_path / "annotations").mkdir()
    os.mkfifo(tmp_path / "annotations/instances_val2017.json")
    with pytest.raises(DataError, match="no regular file"):
        read(f"coco:{tmp_path}")


def test_no_reader_opens_pictures_but_one():
    """Image.open without `formats=` tries readers that start other programs."""
    from pathlib import Path

    package = Path(dense.__file__).parents[1]
    for path in package.rglob("*.py"):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            assert "Image.open(" not in line or "formats=" in line, f"{path}, line {number}"
            assert "Image.open(" not in line or path.name in ("files.py", "oracle_server.py"), path


def test_masks_read_are_the_masks_written(tmp_path):
    box_mask(1, 1, 5, 5).to_png(tmp_path / "m.png")
    assert Mask.from_png(tmp_path / "m.png") == box_mask(1, 1, 5, 5)
