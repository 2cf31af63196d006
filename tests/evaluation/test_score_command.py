"""`askmask score` and `compare` as a user runs them: in a process of their own, on files of another program."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from askmask.conversation import Example
from askmask.imaging.mask import Mask
from tests import warm

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}
SIZE = [24, 30]


def run(*arguments, ok=0):
    done = warm.run(*arguments, env={"COLUMNS": "140"})
    assert done.returncode == ok, done.stderr
    return done


def box_mask(box):
    array = np.zeros(SIZE, bool)
    if box is not None:
        array[box[1] : box[3], box[0] : box[2]] = True
    return Mask.from_array(array)


# id -> (predicted box, true box, concept); intersections and unions below are worked out from these by hand
ITEMS = {
    "a": ((0, 0, 10, 10), (0, 0, 10, 20), "entities"),  # 100 / 200
    "b": ((5, 5, 15, 15), (5, 5, 15, 15), "spatial"),  # 100 / 100
    "c": ((0, 0, 10, 10), (10, 0, 20, 10), "spatial"),  # 0 / 200
    "d": ((0, 0, 30, 24), (0, 0, 15, 24), "physics"),  # 360 / 720
    "e": (None, None, "physics"),  # rightly nothing
    "f": ((0, 0, 5, 4), None, "physics"),  # 0 / 20, false alarm
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("foreign")
    pictures = {name: {"size": SIZE, "box": predicted} for name, (predicted, _, _) in ITEMS.items()}
    (folder / "pictures.json").write_text(json.dumps(pictures))
    program = Path(__file__).with_name("foreign_program.py")
    assert "askmask" not in program.read_text().split('"""')[2]
    subprocess.run([sys.executable, program, folder], check=True, env={"PATH": os.environ["PATH"]})
    rows = [
        {"id": name, "size": SIZE, "concept": concept, "round": 1 + index % 2, "conversation": name}
        | {"masks": [box_mask(true).to_dict()] if true else [], "prompt": f"what is {name}?"}
        for index, (name, (_, true, concept)) in enumerate(ITEMS.items())
    ]
    (folder / "truth.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_predictions_of_another_program(folder):
    data = json.loads(
        run("score", folder / "predictions.jsonl", "--gt", folder / "truth.jsonl", "--json").stdout
    )
    assert data["protocol"] == "askmask"
    assert (data["n"], data["n_missing"], data["n_unknown"]) == (6, 0, 0)
    assert data["gIoU"] == pytest.approx((0.5 + 1 + 0 + 0.5 + 1 + 0) / 6)
    assert data["cIoU"] == pytest.approx(560 / 1240)
    assert (data["N_acc"], data["T_acc"]) == (0.5, 1.0)
    assert data["Pr@0.5"] == 0.75 and data["Pr@0.9"] == 0.25
    assert data["groups"]["concept"]["spatial"]["gIoU"] == 0.5
    assert data["groups"]["concept"]["spatial"]["n"] == 2
    assert data["groups"]["concept"]["entities"]["N_acc"] is None
    assert set(data["groups"]["round"]) == {"1", "2"}
    low, high = data["intervals"]["gIoU"]
    assert 0 <= low < data["gIoU"] < high <= 1


def test_the_same_call_gives_the_same_bytes(folder):
    call = [
        "score",
        folder / "predictions.jsonl",
        "--gt",
        folder / "truth.jsonl",
        "--json",
        "--protocol",
        "rela",
    ]
    assert run(*call).stdout == run(*call).stdout


def test_a_person_gets_tables(folder):
    text = run("score", folder / "predictions.jsonl", "--gt", folder / "truth.jsonl").stdout
    assert "gIoU" in text and "50.00" in text and "spatial" in text


def test_missing_and_unknown_ids_are_stated(folder):
    lines = (folder / "predictions.jsonl").read_text().splitlines()
    partial = folder / "partial.jsonl"
    partial.write_text("\n".join([*lines[1:], json.dumps({"id": "stranger", "masks": []})]) + "\n")
    data = json.loads(run("score", partial, "--gt", folder / "truth.jsonl", "--json").stdout)
    assert (data["n"], data["n_missing"], data["n_unknown"]) == (6, 1, 1)
    assert data["missing_ids"] == ["a"] and data["unknown_ids"] == ["stranger"]
    assert data["gIoU"] == pytest.approx((0 + 1 + 0 + 0.5 + 1 + 0) / 6)  # the missing one counts as empty
    assert data["cIoU"] == pytest.approx(460 / 1240)
    assert any("no prediction" in note for note in data["notes"])


def test_compare_states_paired_differences(folder):
    better = folder / "better.jsonl"
    rows = [json.loads(line) for line in (folder / "predictions.jsonl").read_text().splitlines()]
    rows[2]["masks"] = [box_mask(ITEMS["c"][1]).to_dict()]
    better.write_text("".join(json.dumps(row) + "\n" for row in rows))
    call = ["compare", folder / "predictions.jsonl", better, "--gt", folder / "truth.jsonl", "--json"]
    data = json.loads(run(*call).stdout)
    assert data["scores"]["gIoU"]["difference"] == pytest.approx(1 / 6)
    assert (data["a_wins"], data["b_wins"], data["ties"]) == (0, 1, 5)
    low, high = data["scores"]["gIoU"]["interval"]
    assert low >= 0 and high <= 1
    assert data["scores"]["N_acc"]["difference"] == 0


def rle(value=None, **kwargs):
    return {"size": SIZE, "counts": [SIZE[0] * SIZE[1]]} | kwargs if value is None else value


MALFORMED = {
    "not JSON": (b'{"id": "a"\n', "line 1: not JSON"),
    "an array": (b"[1]\n", "not a JSON object"),
    "no id": (b'{"masks": []}\n', 'needs a text "id"'),
    "number id": (b'{"id": 3, "masks": []}\n', 'needs a text "id"'),
    "no masks": (b'{"id": "a"}\n', '"masks" must be a list'),
    "twice": (b'{"id": "a", "masks": []}\n\n{"id": "a", "masks": []}\n', "line 1 and "),
    "transposed": ({"id": "a", "masks": [rle(size=SIZE[::-1])]}, "never resized or transposed"),
    "too few runs": ({"id": "a", "masks": [rle(counts=[5])]}, "cover"),
    "negative run": ({"id": "a", "masks": [rle(counts=[-5, 725])]}, "run"),
    "huge run": ({"id": "a", "masks": [rle(counts=[2**70])]}, "run"),
    "overflowing text": ({"id": "a", "masks": [rle(counts="oooooooooooooooooooo0")]}, "counts"),
    "no code": ({"id": "a", "masks": [rle(counts="é!")]}, "counts"),
    "mask is null": ({"id": "a", "masks": [None]}, "run-length code"),
    "flag is text": ({"id": "a", "masks": [], "no_target": "yes"}, '"no_target" must be true'),
    "score is NaN": (b'{"id": "a", "masks": [], "score": NaN}\n', '"score" must be a finite number'),
    "text is a list": ({"id": "a", "masks": [], "text": ["x"]}, '"text" must be text'),
    "path leaves": ({"id": "a", "masks": ["../secret.png"]}, "must stay inside"),
    "absolute path": ({"id": "a", "masks": ["/etc/passwd.png"]}, "must stay inside"),
    "other suffix": ({"id": "a", "masks": ["mask.svg"]}, "must end in .png"),
    "absent file": ({"id": "a", "masks": ["nowhere.png"]}, "cannot be read"),
    "zero byte": ({"id": "a", "masks": ["\0.png"]}, "cannot be read"),
    "half a letter in a path": ({"id": "a", "masks": ["\ud800.png"]}, "cannot be read"),
    "size is a number": ({"id": "a", "masks": [rle(size=5)]}, "must be a run-length code"),
    "size is true": ({"id": "a", "masks": [rle(size=True)]}, "must be a run-length code"),
    "size in fractions": (
        {"id": "a", "masks": [rle(size=[float(n) for n in SIZE])]},
        "must be a run-length code",
    ),
    "runs in fractions": ({"id": "a", "masks": [rle(counts=[SIZE[0] * SIZE[1] + 0.9])]}, "whole numbers"),
    "runs as text": ({"id": "a", "masks": [rle(counts=[str(SIZE[0] * SIZE[1])])]}, "whole numbers"),
    "runs as an object": ({"id": "a", "masks": [rle(counts={SIZE[0] * SIZE[1]: 1})]}, "whole numbers"),
    "runs are true": ({"id": "a", "masks": [rle(counts=True)]}, "whole numbers"),
    "a code longer than any": ({"id": "a", "masks": [rle(counts="0" * 100_000)]}, "at most"),
    "score of 400 digits": (
        b'{"id": "a", "masks": [], "score": 1' + b"0" * 400 + b"}",
        '"score" must be a finite',
    ),
    "score is true": ({"id": "a", "masks": [], "score": True}, '"score" must be a finite'),
    "scores of masks: too few": (
        {"id": "a", "masks": [rle()], "mask_scores": []},
        "one number for each of 1 masks",
    ),
    "half a letter in the id": ({"id": "\ud83d", "masks": []}, 'needs a text "id"'),
    "too many": ({"id": "a", "masks": [rle()] * 1001}, "more than 1000 masks"),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed_predictions_name_the_line(case, folder, tmp_path):
    from askmask.errors import DataError
    from askmask.evaluation.opening import open_truths
    from askmask.evaluation.predictions import PredictionFiles
    from askmask.evaluation.scoring import score

    content, message = MALFORMED[case]
    file = tmp_path / "predictions.jsonl"
    file.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode() + b"\n")
    with pytest.raises(DataError) as caught:
        score(PredictionFiles(file), open_truths(folder / "truth.jsonl"))
    assert message in str(caught.value) and "predictions.jsonl, line 1" in str(caught.value)


def test_png_masks_are_checked_before_they_are_decoded(folder, tmp_path):
    from askmask.errors import DataError
    from askmask.evaluation.predictions import prediction_of_row

    row = {"id": "a", "masks": ["m.png"]}
    Mask.empty((3, 4)).to_png(tmp_path / "m.png")
    with pytest.raises(DataError, match=r"size \[24, 30\] .*\[3, 4\]"):
        prediction_of_row(row, (24, 30), folder=tmp_path)
    (tmp_path / "m.png").write_bytes(b"GIF89a" + bytes(30))
    with pytest.raises(DataError, match="not a PNG"):
        prediction_of_row(row, (24, 30), folder=tmp_path)
    (tmp_path / "m.png").unlink()
    (tmp_path / "m.png").symlink_to(folder / "masks" / "c.png")
    with pytest.raises(DataError, match="must stay inside"):
        prediction_of_row(row, (24, 30), folder=tmp_path)


def test_an_error_is_one_line_and_exit_code_two(folder, tmp_path):
    file = tmp_path / "p.jsonl"
    file.write_text('{"id": "a", "masks": []}\n' * 2)
    done = run("score", file, "--gt", folder / "truth.jsonl", ok=2)
    assert (
        done.stderr.count("\n") == 1 and "predicted twice" in done.stderr and "Traceback" not in done.stderr
    )
    done = run("score", folder / "predictions.jsonl", "--gt", "nothing:here", ok=2)
    assert "no such file" in done.stderr


MALFORMED_TRUTH = {
    "no size": ({"id": "a", "masks": []}, '"size" must be'),
    "float size": ({"id": "a", "size": [1.5, 2], "masks": []}, '"size" must be'),
    "huge size": ({"id": "a", "size": [1 << 20, 1 << 20], "masks": []}, "must stay within"),
    "contradiction": ({"id": "a", "size": [1, 1], "masks": [], "no_target": False}, "contradicts"),
    "other size": ({"id": "a", "size": [1, 2], "masks": [{"size": [2, 1], "counts": [2]}]}, "picture's size"),
}


@pytest.mark.parametrize("case", MALFORMED_TRUTH)
def test_malformed_truth_names_the_line(case, tmp_path):
    from askmask.errors import DataError
    from askmask.evaluation.truth import read_truths

    row, message = MALFORMED_TRUTH[case]
    (tmp_path / "t.jsonl").write_text(json.dumps(row) + "\n")
    with pytest.raises(DataError, match=r"t\.jsonl, line 1") as caught:
        list(read_truths(tmp_path / "t.jsonl"))
    assert message in str(caught.value)


def test_truth_with_an_id_twice_is_an_error(folder, tmp_path):
    line = (folder / "truth.jsonl").read_text().splitlines()[0] + "\n"
    (tmp_path / "t.jsonl").write_text(line * 2)
    done = run("score", folder / "predictions.jsonl", "--gt", tmp_path / "t.jsonl", ok=2)
    assert "t.jsonl, line 2: id 'a' is on line 1 too" in done.stderr


def test_scores_need_no_torch():
    code = (
        "import sys; import askmask.evaluation.scoring, askmask.evaluation.compare, askmask.evaluation.report, "
        "askmask.evaluation.opening, askmask.cli.score, askmask.cli.eval; "
        "bad = {'torch', 'transformers', 'cv2', 'pyarrow', 'nltk'} & set(sys.modules); assert not bad, bad"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env=ENVIRONMENT)


def test_a_pipe_beside_the_predictions_is_not_waited_for(folder, tmp_path):
    from askmask.errors import DataError
    from askmask.evaluation.predictions import PredictionFiles

    os.mkfifo(tmp_path / "x.png")
    (tmp_path / "predictions.jsonl").write_text(json.dumps({"id": "a", "masks": ["x.png"]}) + "\n")
    with pytest.raises(DataError, match=r"line 1.*cannot be read"):
        PredictionFiles(tmp_path / "predictions.jsonl").get("a", tuple(SIZE))


@pytest.mark.parametrize("field", ["prompt", "reply", "concept", "conversation", "id"])
@pytest.mark.parametrize("value", ["\ud83d", ["x"], {"a": 1}])
def test_truth_of_odd_text_names_the_line(field, value, tmp_path):
    from askmask.errors import DataError
    from askmask.evaluation.truth import read_truths

    path = tmp_path / "truth.jsonl"
    path.write_text(json.dumps({"id": "a", "size": SIZE, "masks": []} | {field: value}) + "\n")
    with pytest.raises(DataError, match=r"line 1.*text"):
        list(read_truths(path))


def test_odd_digits_are_names_of_groups(folder):
    rows = [json.loads(line) for line in (folder / "truth.jsonl").read_text().splitlines()]
    for row, value in zip(rows, ["²", "④", "9" * 4000, "10", "9", "x"], strict=True):
        row["round"] = value
    path = folder / "odd.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = json.loads(run("score", folder / "predictions.jsonl", "--gt", path, "--json").stdout)
    assert list(data["groups"]["round"])[:2] == ["9", "10"]


def test_what_steers_a_terminal_is_escaped_in_json_and_tables(tmp_path):
    odd = "\x1b]0;t\x07\x9b31m\u202eq[/b]"
    row = {"id": "a", "size": SIZE, "masks": []}
    (tmp_path / "truth.jsonl").write_text(json.dumps(row | {"concept": odd}) + "\n")
    (tmp_path / "p.jsonl").write_text(json.dumps({"id": odd, "masks": []}) + "\n")
    call = ["score", tmp_path / "p.jsonl", "--gt", tmp_path / "truth.jsonl", "--resamples", 0]
    said = run(*call, "--json").stdout
    data = json.loads(said)
    assert list(data["groups"]["concept"]) == data["unknown_ids"] == [odd]  # a program reads what was written
    for text in (said, run(*call).stdout):
        assert not set("\x1b\x07\x9b\u202e") & set(text)


ROW = {"id": "a", "intersection": 1, "predicted": 2, "true": 2, "no_target": False}


@pytest.mark.parametrize(
    "change",
    [
        {"intersection": None},
        {"intersection": 1e308},
        {"intersection": -1},
        {"intersection": 3},
        {"predicted": True},
        {"said_none": "x"},
        {"score": 10**400},
        {"pairs": [[2, 1]]},
        {"pairs": 5},
        {"detections": [["x", 0, 0]]},
        {"groups": {"round": 1}},
        {"protocol": []},
        {"no_target": True},
    ],
)
def test_impossible_counts_of_a_report_are_refused(change, tmp_path):
    from askmask.errors import DataError
    from askmask.evaluation.compare import read_counts

    (tmp_path / "counts.jsonl").write_text(json.dumps(ROW) + "\n")
    assert len(read_counts(tmp_path, "askmask").meter) == 1
    (tmp_path / "counts.jsonl").write_text(json.dumps(ROW | change) + "\n")
    with pytest.raises(DataError, match=r"counts\.jsonl, line 1"):
        read_counts(tmp_path, "askmask")


def test_dialogues_and_prompts_asked_alone_are_apart(tmp_path):
    from askmask.evaluation.predictions import Prediction, PredictionFiles
    from askmask.evaluation.scoring import score
    from askmask.evaluation.truth import truths_of

    target, other = box_mask((0, 0, 5, 5)), box_mask((6, 6, 9, 9))
    rounds = [{"prompt": "a", "masks": [target.to_dict()]}, {"prompt": "it", "masks": [target.to_dict()]}]
    rows = [{"id": "one", "image": "a.png", "size": SIZE, "rounds": rounds[:1]}]
    rows += [{"id": "talk", "image": "a.png", "size": SIZE, "rounds": rounds}]
    rows += [{"id": "many", "image": "a.png", "size": SIZE, "rounds": rounds, "independent": True}]
    examples = [Example.from_dict(row) for row in rows]
    answers = {"one": target, "many#1": target, "many#2": other, "talk#1": target, "talk#2": other}
    path = tmp_path / "predictions.jsonl"
    path.write_text("".join(json.dumps(Prediction(n, (m,)).to_dict()) + "\n" for n, m in answers.items()))
    data = score(PredictionFiles(path), truths_of(examples)).to_dict(resamples=0)
    assert {name: part["n"] for name, part in data["apart"].items()} == {"alone": 3, "in a dialogue": 2}
    assert data["apart"]["alone"]["gIoU_target"] == pytest.approx(2 / 3)
    assert set(data["groups"]["round"]) == {"1", "2"} and data["groups"]["round"]["2"]["n"] == 1


def test_a_long_thin_picture_fits_the_canvas():
    from askmask.evaluation.meter import Meter

    row = Meter().update(Mask.full((1, 65535)), Mask.full((1, 65535)), canvas=True)
    assert row.intersection == row.true == 1024
