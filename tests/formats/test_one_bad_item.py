"""One bad item of a data set never ends the rest: it is left out, counted and named; the others are read as before."""

import json
import os
import pickle
import shutil

import pytest

from askmask.errors import DataError
from askmask.formats import LOADERS, open_dataset
from askmask.notes import Notes
from tests.hostile.sets import SETS, dump


def lines_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def own(root, bad):
    path = root / "examples.jsonl"
    rows = [row | {"split": "val"} for row in lines_of(path)]
    if bad:
        rows[0]["rounds"] = 5
    dump(path, rows)
    if bad:
        path.write_bytes(path.read_bytes() + b'{"schema": 2, "id": \xff}\n[]\n')
    return f"own:{root}"


def parquet(root, bad):
    import pyarrow
    import pyarrow.parquet as parquet

    rows = parquet.read_table(root / "val.parquet").to_pylist()
    for row in rows:
        row["example"] = json.dumps(json.loads(row["example"]) | {"split": "val"})
    if bad:
        rows[0]["example"] = "{"
    parquet.write_table(pyarrow.Table.from_pylist(rows), root / "val.parquet")
    return f"own:{root}"


def converseg(root, bad):
    data = json.loads((root / "items.json").read_text())
    if bad:
        data["items"][0]["prompt"] = 5
    dump(root / "items.json", data)
    return f"converseg:{root}/items.json"


def converseg_lines(root, bad):
    path = root / "dataset.jsonl"
    row = json.loads(path.read_text())
    dump(path, [row | {"mask_merged": "gone.png"}, {"image": "images/1.jpg"}, row] if bad else [row, row])
    return f"converseg:{path}"


def converseg_hub(root, bad):
    import pyarrow
    import pyarrow.parquet as parquet

    path = root / "data/human_annotated-00000-of-00001.parquet"
    rows = parquet.read_table(path).to_pylist()
    if bad:
        rows[0]["mask"]["bytes"] = b"no picture"
    parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    return f"converseg:{root}@human_annotated"


def coco(root, bad):
    path = root / "annotations/instances_val2017.json"
    data = json.loads(path.read_text())
    data["categories"].append({"id": 2, "name": "dog"})
    data["annotations"].append(data["annotations"][0] | {"id": 70, "category_id": 2})
    if bad:
        data["annotations"][0]["segmentation"] = [[0, 0, 5]]
    dump(path, data)
    return f"coco:{root}"


def refcoco(root, bad):
    path = root / "refcoco/refs(unc).p"
    refs = pickle.loads(path.read_bytes())
    if bad:
        refs[0]["ann_id"] = 999
        refs.append({"ref_id": 3})
    path.write_bytes(pickle.dumps(refs, 2))
    return f"refcoco:{root}@val"


def grefcoco(root, bad):
    path = root / "grefcoco/grefs(unc).json"
    refs = json.loads(path.read_text())
    if bad:
        refs[0]["ann_id"] = [999]
    dump(path, refs)
    return f"grefcoco:{root}@val"


def reasonseg(root, bad):
    for suffix in ("jpg", "json"):
        shutil.copy(root / f"val/a.{suffix}", root / f"val/b.{suffix}")
    if bad:
        (root / "val/a.json").write_text("{")
        (root / "val/c.json").write_text((root / "val/b.json").read_text())  # its picture is not there
    return f"reasonseg:{root}@val"


def prist(root, bad):
    rows = json.loads((root / "test.json").read_text()) * 2
    dump(root / "test.json", [{"img_id": None}, *rows[1:]] if bad else rows)
    return f"prist:{root}@test"


def mrseg(root, bad):
    path = root / "conversations_folder/mix_val/mr.json"
    rows = [row | {"conv_id": n} for n, row in enumerate(json.loads(path.read_text()) * 2)]
    dump(path, [5, *rows[1:]] if bad else rows)
    return f"mrseg:{root}@mix_val"


def muse(root, bad, name="muse"):
    path = root / f"{name}_val.json"
    rows = json.loads(path.read_text())
    if bad:
        rows[0]["height"] = None
        rows[1]["answers"][0][0]["segmentation"] = {"size": [1, 1], "counts": "0"}
    dump(path, rows)
    return f"{name}:{root}@val"


def mmr(root, bad):
    return muse(root, bad, "MMR").replace("MMR:", "mmr:")


def panoptic(root, bad):
    path = root / "annotations/panoptic_val2017.json"
    data = json.loads(path.read_text())
    if bad:
        data["annotations"][0]["segments_info"][0]["category_id"] = 99
    dump(path, data)
    return f"panoptic:{root}"


def labelme(root, bad):
    for suffix in ("json", "png"):
        shutil.copy(root / f"images/a.{suffix}", root / f"images/b.{suffix}")
    if bad:
        data = json.loads((root / "images/a.json").read_text())
        dump(root / "images/a.json", data | {"imagePath": "a" * 5000})
        (root / "images/c.json").write_text("{")
    return f"labelme:{root}"


def label_studio(root, bad):
    tasks = json.loads((root / "tasks.json").read_text()) * 2
    dump(root / "tasks.json", [tasks[0] | {"data": 5}, tasks[1]] if bad else tasks)
    return f"label-studio:{root}"


def cvat(root, bad):
    path = root / "annotations.xml"
    text = path.read_text()
    start, end = text.index("<image "), text.index("</image>") + len("</image>")
    one = text[start:end]
    odd = one.replace('width="', 'width="x') if bad else one
    path.write_text(text[:start] + odd + one + text[end:])
    return f"cvat:{root}"


def yolo(root, bad):
    for name in ("images/train/a.png", "labels/train/a.txt"):
        shutil.copy(root / name, root / name.replace("a.", "b."))
    if bad:
        (root / "labels/train/a.txt").write_text("0 0.1 0.1 x 0.5 0.5 0.1\n")
    return f"yolo-seg:{root}"


SPOIL = {"labelme": labelme, "label-studio": label_studio, "cvat": cvat, "yolo-seg": yolo,
         "own": own, "parquet": parquet, "converseg": converseg, "converseg lines": converseg_lines,
         "converseg hub": converseg_hub, "coco": coco, "refcoco": refcoco, "grefcoco": grefcoco, "reasonseg": reasonseg,
         "prist": prist, "mrseg": mrseg, "muse": muse, "mmr": mmr, "panoptic": panoptic}  # fmt: skip


@pytest.fixture
def both(request, tmp_path, monkeypatch):
    """The same set whole and with bad items in it."""
    monkeypatch.setenv("ASKMASK_CACHE", str(tmp_path / "cache"))
    pytest.importorskip("pyarrow")
    sources = []
    for bad in (False, True):
        shutil.rmtree(tmp_path / "set", ignore_errors=True)
        (tmp_path / "set").mkdir()
        SETS[request.param].write(tmp_path / "set")
        source, notes = SPOIL[request.param](tmp_path / "set", bad), Notes()
        sources.append(
            ({json.dumps(e.to_dict()["rounds"]) for e in open_dataset(source, notes=notes)}, notes)
        )
    return sources


@pytest.mark.parametrize("both", SPOIL, indirect=True)
def test_the_others_are_read_and_the_bad_ones_are_named(both):
    (whole, before), (rest, notes) = both
    assert not before.counts and rest and rest <= whole
    assert notes.counts["items left out: they cannot be read"] and all(notes.places.values())


def test_every_loader_is_tried():
    others_of_the_same_reader = {"world", "refcoco+", "refcocog", "refclef"}
    assert set(LOADERS) - others_of_the_same_reader <= {name.split()[0] for name in SPOIL}


def test_training_says_what_its_source_left_out(tmp_path, caplog):
    SETS["own"].write(tmp_path)
    pytest.importorskip("torch", reason="training needs it")
    from askmask.training.data import Source

    source = Source(own(tmp_path, True))
    assert source.left_out["items left out: they cannot be read"] == 3 and len(source) == 1
    assert "examples.jsonl, line 1" in caplog.text


def test_a_set_of_bad_items_alone_is_an_error_that_names_them(tmp_path):
    (tmp_path / "examples.jsonl").write_text('{"rounds": 5}\n{"id": "a", "image": 5, "rounds": []}\n')
    with pytest.raises(DataError, match=r"nothing of it can be used; got 2 x .*line 1: .*line 2: "):
        list(open_dataset(f"own:{tmp_path}"))


def test_a_bad_line_of_a_batch_does_not_end_its_conversion(tmp_path):
    from askmask.sources import open_source

    SETS["answers"].write(tmp_path)
    result = json.loads((tmp_path / "result.json").read_text())
    (answer,) = result.pop("answers")
    row = result | answer | {"id": "a", "image": "a.png"}
    (tmp_path / "result.json").unlink()
    dump(tmp_path / "askmask-run.json", {"made_by": "askmask batch", "facts": {}, "files": ["results.jsonl"]})
    dump(tmp_path / "results.jsonl", [row | {"size": [1, 1]}, row])
    notes = Notes()
    assert len(list(open_source(str(tmp_path), notes=notes))) == 1
    assert "results.jsonl, line 1" in notes.lines()[0]


@pytest.mark.parametrize("kind", ["own", "converseg", "labelme", "mrseg"])
def test_a_folder_that_may_not_be_entered_is_named(tmp_path, monkeypatch, kind):
    """Tests may run as a user who may enter everything, so the system's refusal is imitated."""

    def walk(folder, onerror):
        onerror(PermissionError(13, "Permission denied", str(tmp_path / "closed")))
        return iter(())

    (tmp_path / "conversations_folder" / "val").mkdir(parents=True)
    (tmp_path / "annotations.yaml").write_text("datasets: []\n")
    monkeypatch.setattr(os, "walk", walk)
    with pytest.raises(DataError, match="closed: the folder may not be entered"):
        list(open_dataset(f"{kind}:{tmp_path}" + ("@val" if kind == "mrseg" else "")))
