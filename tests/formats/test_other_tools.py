"""The files of `askmask convert` as the tools themselves read them. Each needs its tool: `pip install` names are given.

None of these tools is a dependency; where one is not installed its test is skipped and says so.
"""

import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from askmask.convert import convert
from askmask.formats.label_studio import decode_rle, encode_rle
from askmask.imaging.mask import Mask
from askmask.imaging.overlay import grown
from tests.formats.drawn import SHAPES, shape, write_drawn

SIZE = (20, 30)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn")
    return folder, write_drawn(folder)


def truth(example) -> list[np.ndarray]:
    return [s.mask.to_array() for round in example.rounds for s in round.segments or ()]


def by_stem(examples):
    return {Path(example.image).stem: example for example in examples}


@pytest.mark.parametrize("polygons", [False, True])
def test_pycocotools(drawn, tmp_path, polygons):
    from pycocotools.coco import COCO

    folder, examples = drawn
    convert(str(folder), "coco", tmp_path / "out", polygons=polygons)
    coco = COCO(tmp_path / "out/annotations.json")
    known = by_stem(examples)
    for image in coco.loadImgs(coco.getImgIds()):
        annotations = coco.loadAnns(coco.getAnnIds(imgIds=[image["id"]]))
        masks = [coco.annToMask(one).astype(bool) for one in annotations]
        for mine, theirs in zip(truth(known[Path(image["file_name"]).stem]), masks, strict=True):
            assert (mine == theirs).all()
        assert all(isinstance(one["segmentation"], list) == polygons for one in annotations)


def test_label_studio_sdk(drawn, tmp_path):
    brush = pytest.importorskip("label_studio_sdk.converter.brush", reason="pip install label-studio-sdk")
    folder, examples = drawn
    convert(str(folder), "label-studio", tmp_path / "out")
    tasks = json.loads((tmp_path / "out/tasks.json").read_text("utf-8"))
    for task, example in zip(tasks, examples, strict=True):
        results = task["predictions"][0]["result"]
        brushes = [r for r in results if r["type"] == "brushlabels"]
        for result, mine in zip(brushes, truth(example), strict=True):
            size = (result["original_height"], result["original_width"])
            theirs = brush.decode_rle(result["value"]["rle"]).reshape(*size, 4)
            assert (theirs[..., 3] == 255 * mine).all()
    for name in SHAPES:  # and the other way: what their converter writes
        mask = shape(name, SIZE)
        assert decode_rle(list(brush.mask2rle(mask.to_array().astype(np.uint8) * 255)), SIZE) == mask
    noise = Mask.from_array(np.random.default_rng(3).random((97, 113)) < 0.5)
    theirs = brush.decode_rle(encode_rle(noise)).reshape(97, 113, 4)
    assert (theirs[..., 3] == 255 * noise.to_array()).all()


def test_label_studio_sdk_knows_the_interface(drawn, tmp_path):
    interface = pytest.importorskip("label_studio_sdk.label_interface", reason="pip install label-studio-sdk")
    folder, _ = drawn
    convert(str(folder), "label-studio", tmp_path / "out")
    known = interface.LabelInterface((tmp_path / "out/labels.xml").read_text("utf-8"))
    for task in json.loads((tmp_path / "out/tasks.json").read_text("utf-8")):
        assert known.validate_prediction(task["predictions"][0]) or known.validate_annotation(
            task["predictions"][0]
        )


def test_cvat_sdk(drawn, tmp_path):
    masks = pytest.importorskip("cvat_sdk.masks", reason="pip install 'cvat-sdk[masks]'")
    folder, examples = drawn
    convert(str(folder), "cvat", tmp_path / "out")
    known = by_stem(examples)
    for image in ElementTree.parse(tmp_path / "out/annotations.xml").iter("image"):
        size = {"image_width": int(image.get("width")), "image_height": int(image.get("height"))}
        for one, mine in zip(image.iter("mask"), truth(known[Path(image.get("name")).stem]), strict=True):
            left, top, width, height = (int(one.get(key)) for key in ("left", "top", "width", "height"))
            code = [*map(int, one.get("rle").split(",")), left, top, left + width - 1, top + height - 1]
            assert (masks.decode_mask(code, **size) == mine).all()
            assert masks.encode_mask(mine) == code


@pytest.mark.parametrize("to", ["cvat", "voc"])
def test_datumaro(drawn, tmp_path, to):
    datumaro = pytest.importorskip("datumaro", reason="pip install datumaro")
    folder, examples = drawn
    convert(str(folder), to, tmp_path / "out")
    dataset = datumaro.Dataset.import_from(
        str(tmp_path / "out"), {"cvat": "cvat", "voc": "voc_instance_segmentation"}[to]
    )
    labels = dataset.categories()[datumaro.AnnotationType.label]
    known = by_stem(examples)
    assert len(dataset) == 8
    for item in dataset:
        mine = truth(known[Path(item.id).name])
        theirs = [one for one in item.annotations if one.type == datumaro.AnnotationType.mask]
        if to == "cvat":
            assert all((a == b.image.astype(bool)).all() for a, b in zip(mine, theirs, strict=True))
        else:
            shown = np.zeros(mine[0].shape, int)
            for number in sorted(range(len(mine)), key=lambda n: -mine[n].sum()):
                shown[mine[number]] = number + 1
            merged = {tuple(map(tuple, one.image.astype(int).tolist())) for one in theirs}
            for number in range(len(mine)):
                assert tuple(map(tuple, (shown == number + 1).astype(int).tolist())) in merged
        names = {labels[one.label].name for one in theirs}
        assert "physics" in names if to == "cvat" else "что упадёт? 杯子" in names


def test_labelme(drawn, tmp_path):
    pytest.importorskip("labelme", reason="pip install labelme")
    files = pytest.importorskip("labelme._label_file", reason="labelme 6 or newer")
    from labelme.utils import shapes_to_label

    folder, examples = drawn
    convert(str(folder), "labelme", tmp_path / "out")
    for example in examples:
        data = files.read_label_file(str(tmp_path / "out/images" / f"{Path(example.image).stem}.json"))
        assert data.other_data["askmask"] == {"nothing": ["a zebra"]}
        for one, mine in zip(data.shapes, truth(example), strict=True):
            corners = [list(map(int, point)) for point in one["points"]]
            numbers, _ = shapes_to_label(mine.shape, [dict(one) | {"points": corners}], {one["label"]: 1})
            assert ((numbers == 1) == mine).all() and one["description"]


def test_ultralytics(drawn, tmp_path):
    """Its parser takes the labels; what it paints is ours, a pixel more to the right and below, and the seams."""
    utils = pytest.importorskip("ultralytics.data.utils", reason="pip install ultralytics")
    folder, examples = drawn
    convert(str(folder), "yolo-seg", tmp_path / "out")
    data = utils.check_det_dataset(str(tmp_path / "out/data.yaml"), autodownload=False)
    assert Path(data["train"]) == tmp_path / "out/images/train" and data["nc"] == 5
    assert "что упадёт? 杯子" in data["names"].values()
    for example in examples:
        picture = next((tmp_path / "out/images/train").glob(f"{Path(example.image).stem}.*"))
        labels = tmp_path / "out/labels/train" / f"{picture.stem}.txt"
        found = utils.verify_image_label((str(picture), str(labels), "", False, data["nc"], 0, 0, False))
        assert found[0] is not None, found[-1]
        height, width = example.size
        segments = {tuple(s.ravel().round(5)): s for s in found[3]}
        assert len(segments) == 5
        painted = [
            utils.polygon2mask((height, width), [s * (width, height)], 1) > 0 for s in segments.values()
        ]
        for mine in truth(example):
            assert any(
                (theirs[mine].all() and not (theirs & ~grown(mine, 1)).sum() > 45) for theirs in painted
            )


def test_fiftyone(drawn, tmp_path, monkeypatch):
    """Its importer gives samples with the masks; no database is needed for that."""
    monkeypatch.setenv("FIFTYONE_DO_NOT_TRACK", "true")
    pytest.importorskip("fiftyone", reason="pip install fiftyone")
    from fiftyone.utils.data import LegacyFiftyOneDatasetImporter

    folder, examples = drawn
    convert(str(folder), "fiftyone", tmp_path / "out")
    with LegacyFiftyOneDatasetImporter(str(tmp_path / "out")) as importer:
        samples = list(importer)
    assert len(samples) == 8
    for sample, example in zip(samples, examples, strict=True):
        assert Path(sample.filepath) == tmp_path / "out/data" / Path(sample.filepath).name
        assert Path(sample.filepath).is_file() and sample.nothing_matches == ["a zebra"]
        detections = sample.predictions.detections + sample.ground_truth.detections
        height, width = example.size
        for one, mine in zip(detections, truth(example), strict=True):
            painted = np.zeros(example.size, bool)
            left, top = round(one.bounding_box[0] * width), round(one.bounding_box[1] * height)
            painted[top : top + one.mask.shape[0], left : left + one.mask.shape[1]] = one.mask
            assert (painted == mine).all() and one.label
        assert detections[0].prompt == 'the "mug" & its <lid>: all, of it' and detections[0].confidence == 0.5
        assert detections[1].name == "links" and detections[2].concept == "physics"
