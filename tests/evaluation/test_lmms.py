"""The lmms-eval plug-in: its wire format, its tasks' functions, and, where lmms-eval is installed, a whole run."""

import importlib
import importlib.util
import io
import json
import sys
import tomllib
from pathlib import Path

import pytest
from PIL import Image

from askmask.errors import DataError, SettingError
from askmask.evaluation.lmms import TASKS
from askmask.evaluation.lmms.export import metric_list, utils_text, write_task
from askmask.evaluation.lmms.results import METRICS, aggregation, process_results, truth_of_doc
from askmask.evaluation.lmms.wire import from_wire, to_wire
from askmask.evaluation.predict import plan, predict, predictor_of
from askmask.evaluation.predictions import PredictionFiles
from askmask.evaluation.scoring import score
from askmask.evaluation.truth import truths_of
from askmask.imaging.mask import Mask
from tests.evaluation.colour_model import SIZE, ColourModel, make_dataset

ROOT = Path(__file__).parents[2]


def module_at(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_wire_round_trip_and_foreign_answers():
    mask = Mask.from_polygons([[8, 6, 16, 6, 16, 12, 8, 12]], SIZE)
    text = to_wire((mask,), (0.7,), no_target=False)
    assert json.loads(text)["boxes"] == [{"x_min": 0.25, "y_min": 0.25, "x_max": 0.5, "y_max": 0.5}]
    answer = from_wire(text, "a", SIZE)
    assert (answer.masks, answer.score, answer.no_target) == ((mask,), 0.7, False)
    by_hand = to_wire((mask, mask), (0.7, None))
    assert json.loads(by_hand)["scores"] == [] and from_wire(by_hand, "a", SIZE).score is None
    # As another model of lmms-eval writes it: three keys, nothing said of no target.
    foreign = from_wire(json.dumps({"masks": [], "boxes": [], "scores": []}), "a", SIZE)
    assert (foreign.masks, foreign.score, foreign.no_target) == ((), None, None)


@pytest.mark.parametrize(
    "text", ["", "It is on the left.", "[]", "{}", '{"masks": [{"size": [1, 1], "counts": [1]}]}']
)
def test_unreadable_answers_are_errors_here_and_missing_in_tasks(text):
    with pytest.raises(DataError):
        from_wire(text, "a", SIZE)
    doc = {"id": "a", "size": list(SIZE), "masks": json.dumps([Mask.full(SIZE).to_dict()])}
    rows = [process_results(doc, [text])[name] for name in METRICS]
    assert aggregation("n_missing")(rows[:1]) == 1.0 and aggregation("gIoU")(rows[:1]) == 0.0


def test_numbers_of_any_length_end_no_run():
    with pytest.raises(DataError, match="must be JSON text"):
        from_wire('{"masks": [], "scores": [' + "9" * 5000 + "]}", "a", SIZE)
    for odd in ("1" + "0" * 400, "NaN", "true", "-1e999"):
        assert from_wire('{"masks": [], "scores": [' + odd + "]}", "a", SIZE).score is None


def test_a_task_scores_as_the_scorer_does(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    examples = make_dataset(tmp_path / "data", 3)
    yaml_path = write_task(examples, tmp_path / "task", "made_up", protocol="lisa")
    utils = module_at(tmp_path / "task/made_up_utils.py")
    table = parquet.read_table(tmp_path / "task/made_up.parquet")
    assert b"Image" in table.schema.metadata[b"huggingface"]
    model = ColourModel()
    rows = []
    for doc in table.to_pylist():
        doc["image"] = Image.open(io.BytesIO(doc["image"]["bytes"]))
        path = tmp_path / "p.png"
        utils.doc_to_visual(doc)[0].save(path)
        reply = model.open(path).ask(utils.doc_to_text(doc))
        rows.append(utils.process_results(doc, [to_wire(reply.masks, (), no_target=not reply.found)]))
    for _ in predict(predictor_of(ColourModel()), plan(examples), tmp_path / "run", facts={}):
        pass
    expected = score(PredictionFiles(tmp_path / "run"), truths_of(examples), protocol="lisa").to_dict(
        resamples=0
    )
    assert 0 < expected["gIoU"] < 1
    for metric in METRICS:
        found = aggregation(metric)([row[metric] for row in rows])
        assert found == expected[metric], metric
    # A launcher that repeats documents to fill the last batch changes nothing.
    assert aggregation("gIoU")([row["gIoU"] for row in [*rows, rows[0]]]) == expected["gIoU"]
    text = yaml_path.read_text()
    assert "protocol: lisa" in text and str(tmp_path / "task/made_up.parquet") in text
    with pytest.raises(SettingError, match="small letters"):
        write_task(examples, tmp_path, "Made up")


def test_shipped_tasks_are_what_the_code_writes():
    folder = TASKS / "converseg"
    assert (folder / "utils.py").read_text() == utils_text("converseg")
    assert metric_list("utils") in (folder / "_converseg_yaml").read_text()
    splits = [p.read_text().rsplit("test_split: ")[1].strip() for p in sorted(folder.glob("*.yaml"))]
    assert splits == ["human_annotated", "sam_seeded"]
    utils = module_at(folder / "utils.py")
    mask = Image.new("RGBA", (4, 2), (255, 255, 255, 0))
    mask.paste((0, 0, 0, 255), (0, 0, 2, 2))
    doc = {
        "id": 1,
        "image": Image.new("L", (4, 2)),
        "mask": mask,
        "prompt": "what rolls",
        "concept": "physics",
    }
    half = Mask.from_polygons([[0, 0, 1, 0, 1, 2, 0, 2]], (2, 4))
    row = utils.process_results(doc, [to_wire((half,), ())])["gIoU"]
    assert utils.giou([row]) == pytest.approx(0.5) and row["protocol"] == "converseg"
    assert utils.doc_to_text(doc) == "what rolls" and utils.doc_to_visual(doc)[0].mode == "RGB"


@pytest.mark.parametrize("mode", ["RGBA", "RGB"])
def test_a_documents_mask_is_read_as_every_other_mask_is(mode):
    """An alpha that is opaque everywhere tells nothing, and dark colours are mask."""
    picture = Image.new("RGB", (4, 2))
    picture.paste((0, 0, 4), (0, 0, 2, 2))
    truth = truth_of_doc({"id": 1, "mask": picture.convert(mode)})
    assert truth.masks[0].to_array().tolist() == [[True, True, False, False]] * 2


def test_the_entry_point_and_the_files_are_declared():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    entry = project["project"]["entry-points"]["lmms_eval.models"]["askmask"]
    module, _, function = entry.partition(":")
    assert callable(getattr(importlib.import_module(module), function))
    data = project["tool"]["setuptools"]["package-data"]["askmask"]
    package = ROOT / "askmask"
    shipped = {path for pattern in data for path in package.glob(pattern)}
    assert set(TASKS.rglob("*yaml")) <= shipped
    assert set((package / "evaluation/templates").glob("*.md")) <= shipped


@pytest.mark.slow
def test_a_whole_run_in_lmms_eval(tiny_folder, tmp_path, monkeypatch):
    pytest.importorskip("lmms_eval", reason="lmms-eval is not installed")
    from lmms_eval import evaluator
    from lmms_eval.models import MODEL_REGISTRY_V2
    from lmms_eval.tasks import TaskManager

    from askmask.evaluation.lmms import manifests

    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    for manifest in manifests():
        MODEL_REGISTRY_V2.register_manifest(manifest, overwrite=True)
    write_task(make_dataset(tmp_path / "data", 2), tmp_path / "task", "made_up")
    results = evaluator.simple_evaluate(
        model="askmask",
        model_args=f"pretrained={tiny_folder}",
        tasks=["made_up"],
        task_manager=TaskManager("ERROR", include_path=str(tmp_path / "task"), include_defaults=False),
        batch_size=1,
        device="cpu",
        cli_args=None,
    )
    assert results["results"]["made_up"]["n_missing,none"] == 0.0
    assert "lmms_eval" in sys.modules
