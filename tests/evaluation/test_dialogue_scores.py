"""Dialogues in PRIST's format: masks, words, judge and page against numbers worked out by hand; history policies."""

import json
import sqlite3

import numpy as np
import pytest
from PIL import Image

from askmask import Mask
from tests.cli.conftest import askmask  # noqa: F401

pytest.importorskip("nltk")
SIDE = 64


def box(x0, y0, x1, y1):
    pixels = np.zeros((SIDE, SIDE), bool)
    pixels[y0:y1, x0:x1] = True
    return Mask.from_array(pixels).to_dict()


@pytest.fixture
def prist(tmp_path):
    """Three dialogues over one picture; the target of each is 4 x 4 pixels."""
    folder = tmp_path / "PRIST/multiturn/Multiturn/val"
    (folder / "masks").mkdir(parents=True)
    Image.new("RGB", (SIDE, SIDE), (90, 120, 150)).save(folder / "a.png")
    corners = {"The lid": (0, 0), "a <b>handle</b>": (10, 10), "the rim": (20, 20)}
    shapes = [
        {"label": name.upper(), "points": [[x, y], [x + 3, y], [x + 3, y + 3], [x, y + 3]]}
        for name, (x, y) in corners.items()
    ]
    labelled = {"imageHeight": SIDE, "imageWidth": SIDE, "shapes": shapes}
    (folder / "masks/a.json").write_text(json.dumps(labelled))
    rows = [
        {
            "img_id": "a.png",
            "focus": name,
            "dialogue": [
                {"from": "human", "value": "What <i>is</i> there?"},
                {"from": "gpt", "value": "a b c d"},
                {"from": "human", "value": "Segment what we spoke of."},
                {"from": "gpt", "value": "It is [SEG]."},
            ],
        }
        for name in corners
    ]
    (tmp_path / "PRIST/test.json").write_text(json.dumps(rows))
    run = tmp_path / "run"
    run.mkdir()
    answers = [
        {"id": "prist-test-0#2", "masks": [box(2, 0, 6, 4)]},  # 8 of 16 right
        {"id": "prist-test-2#2", "masks": [box(20, 20, 24, 22), box(20, 22, 24, 24)]},  # in two pieces
    ]
    said = [
        {"id": f"prist-test-{n}#1", "masks": [], "text": text}
        for n, text in enumerate(("a b c d", "<u>x</u>", "a b c d"))
    ]
    for name, lines in (("predictions-0.jsonl", answers), ("replies-0.jsonl", said)):
        (run / name).write_text("".join(json.dumps(line) + "\n" for line in lines))
    return run


GT = "prist:PRIST@test"


def test_both_families_of_numbers_and_the_words(prist, askmask):  # noqa: F811
    ran = askmask("score", prist, "--gt", GT, "-p", "prist", "--json", "--report", "report")
    data = json.loads(ran.out)
    third = pytest.approx(1 / 3)
    micro = {"P_micro": 24 / 32, "R_micro": 24 / 48, "F1_micro": 48 / 80, "cIoU": 24 / 56}
    macro = {
        "P_macro": 1.5 / 3,
        "R_macro": 1.5 / 3,
        "F1_macro": 0.5,
        "F1_mean": 0.5,
        "gIoU": (1 / 3 + 0 + 1) / 3,
    }
    assert {name: data[name] for name in micro | macro} == pytest.approx(micro | macro)
    assert data["n_missing"] == 1 and data["answered_only"] == {"n": 2, "gIoU": pytest.approx(2 / 3)}
    assert data["groups"]["turn"]["final"]["n"] == 3 and data["groups"]["round"]["2"][
        "gIoU"
    ] == pytest.approx(4 / 9)
    words = json.loads(askmask("score-text", prist, "--gt", GT, "--json").out)
    assert words["n"] == 3 and words["ROUGE-L"] == pytest.approx(2 / 3)
    # Tokens a b c d, x (what looks like a special token is left out), a b c d: 9 in all, 5 of them different.
    assert words["Dist-1"] == pytest.approx(5 / 9)
    page = (prist.parent / "report/dialogues.html").read_text()
    assert (
        page.index("<h2>Best")
        < page.index("prist-test-2")
        < page.index("<h2>Worst")
        < page.index("prist-test-1")
    )
    assert "IoU 33.33" in page and "&lt;u&gt;x" in page and "<u>" not in page and "<i>" not in page
    assert "default-src 'none'" in page and "<script" not in page and "http" not in page.split("</head>")[1]
    assert third == data["groups"]["turn"]["final"]["gIoU"] - 1 / 9


@pytest.mark.parametrize("policy", ["none", "last"])
def test_every_turn_with_a_true_answer_is_asked_under_every_policy(prist, askmask, policy):  # noqa: F811
    ran = askmask(
        "eval", "mini", GT, "--reference", policy, "--score-by", "prist", "-o", "out", "--device", "cpu"
    )
    assert ran.code == 0, ran.err
    said = (prist.parent / "out/replies-00000-of-00001.jsonl").read_text().splitlines()
    assert [json.loads(line)["id"] for line in said] == [f"prist-test-{n}#1" for n in range(3)]


def recorded(folder, **changed):
    """A judge's replies: grades of 4, better is ours except where `changed` says so."""
    rows = []
    for n in range(3):
        name = f"prist-test-{n}"
        grade = json.dumps({"PR": 4, "LC": 5, "CC": 3, "TR": 1 + n})
        for ours in "AB":
            better = changed.get(f"{ours}{n}", ours)
            rows.append({"inputs": {"dialogue": name, "ours": ours}, "reply": json.dumps({"better": better})})
        rows.append({"inputs": {"dialogue": name, "repeat": 1}, "reply": "no idea" if n == 0 else grade})
        rows.append({"inputs": {"dialogue": name}, "reply": grade})
    path = folder / "judge.jsonl"
    path.write_text("".join(json.dumps({"stage": "judge", "schema": ""} | row) + "\n" for row in rows))
    return path


def test_a_judge_is_asked_thrice_and_in_both_orders_and_never_twice(prist, askmask):  # noqa: F811
    # Dialogue 1: better is whoever comes first; dialogue 2: the other one.
    judge = recorded(prist.parent, B1="A", A2="B", B2="A")
    call = ["judge", prist, "--gt", GT, "--model", judge, "--vlm", "replay", "--json"]
    ran = askmask(*call)
    assert ran.code == 0, ran.err
    data = json.loads(ran.out)
    grades, pairs = data["grades"], data["win_rate"]
    assert (grades["n"], grades["replies"], grades["replies_unread"], grades["repeats"]) == (3, 9, 1, 3)
    assert (grades["PR"], grades["TR"], grades["temperature"]) == (4, 2, 0)
    assert (pairs["wins"], pairs["ties"], pairs["losses"], pairs["win_rate"]) == (3, 3, 3, 0.5)

    def calls():
        with sqlite3.connect(prist / "judge.sqlite") as db:
            return db.execute("SELECT COUNT(*) FROM calls").fetchone()[0]

    asked = calls()
    assert asked == 9 + 3 * 3 * 2
    assert json.loads(askmask(*call).out) == data and calls() == asked


def test_one_dialogue_that_cannot_be_judged_leaves_the_others(prist, askmask):  # noqa: F811
    judge = recorded(prist.parent)
    rows = [json.loads(line) for line in judge.read_text().splitlines()]
    rest = [row for row in rows if row["inputs"].get("dialogue") != "prist-test-1"]
    judge.write_text("".join(json.dumps(row) + "\n" for row in rest))
    call = ["judge", prist, "--gt", GT, "--vlm", "replay", "--repeats", "1", "--json", "--model", judge]
    ran = askmask(*call)
    grades, pairs = (json.loads(ran.out)[name] for name in ("grades", "win_rate"))
    assert ran.code == 1 and "failed  prist-test-1: request: no recorded reply" in ran.err
    assert (grades["n"], grades["n_failed"], grades["replies"], grades["PR"]) == (3, 1, 2, 4)
    assert (pairs["n_failed"], pairs["comparisons"], pairs["wins"]) == (1, 2, 2)
    judge.write_text("".join(json.dumps(row) + "\n" for row in rows))  # its reply is there now
    again = askmask(*call)
    assert again.code == 0 and json.loads(again.out)["grades"]["n_failed"] == 0


def test_a_judge_writes_over_nobodys_files(prist, askmask):  # noqa: F811
    call = ["judge", prist, "--gt", GT, "--vlm", "replay", "--model", recorded(prist.parent)]
    (prist / "judged.json").write_text('{"mine": 1}')
    ran = askmask(*call)
    assert ran.code == 2 and "judged.json is in the way" in ran.err
    assert (prist / "judged.json").read_text() == '{"mine": 1}'
    (prist / "judged.json").unlink()
    with sqlite3.connect(prist / "judge.sqlite") as db:
        db.execute("CREATE TABLE songs (name TEXT)")
    before = (prist / "judge.sqlite").read_bytes()
    ran = askmask(*call)
    assert ran.code == 2 and "not a store of calls and replies; got tables ['songs']" in ran.err
    assert (prist / "judge.sqlite").read_bytes() == before
    ran = askmask("judge", prist / "predictions-0.jsonl", *call[2:])
    assert ran.code == 2 and "RUN must be a folder" in ran.err
