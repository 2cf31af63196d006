"""The report: complete, self-contained, and deaf to markup in the data."""

import json
import re

import numpy as np
import pytest
from PIL import Image

from askmask.errors import DataError
from askmask.evaluation.compare import compare, read_counts
from askmask.evaluation.opening import open_truths
from askmask.evaluation.predictions import PredictionFiles
from askmask.evaluation.report import write_report
from askmask.evaluation.report.cases import choose
from askmask.evaluation.report.charts import bars
from askmask.evaluation.scoring import score
from askmask.imaging.mask import Mask

SIZE = (20, 30)
ABOUT = {"model": "mini <b>", "data set": "own:data", "date": "2026-01-02", "command": "askmask score x"}


def square(x, y, side=8):
    array = np.zeros(SIZE, bool)
    array[y : y + side, x : x + side] = True
    return Mask.from_array(array).to_dict()


@pytest.fixture
def files(tmp_path):
    Image.new("RGB", SIZE[::-1], (90, 160, 200)).save(tmp_path / "a.png")
    truth = [
        {
            "id": f"i{n}",
            "size": SIZE,
            "masks": [square(n, 2)],
            "image": "a.png",
            "concept": "<script>x</script>" if n % 2 else "physics",
        }
        | {"prompt": "<img src=x onerror=alert(1)> | *bold*", "ignore": square(20, 0)}
        for n in range(12)
    ]
    answers = [
        {"id": f"i{n}", "masks": [square(n + n // 4, 2)], "score": n / 12, "text": "</figcaption><b>reply"}
        for n in range(11)
    ]
    for name, rows in (("truth", truth), ("predictions", answers)):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path / "predictions.jsonl", tmp_path / "truth.jsonl"


def scored_run(files, protocol="askmask"):
    return score(PredictionFiles(files[0]), open_truths(files[1]), protocol=protocol)


def report(files, folder, protocol="askmask"):
    scored = scored_run(files, protocol)
    data = scored.to_dict(resamples=50)
    return data, write_report(folder, scored, data, truth=files[1], about=ABOUT)


def test_the_page_needs_nothing_else_and_shows_the_numbers(files, tmp_path):
    data, page = report(files, tmp_path / "report")
    html = page.read_text()
    assert f"<b>{100 * data['gIoU']:.2f}</b>" in html
    assert "Content-Security-Policy" in html and not re.search(r"(src|href)=\"(?!data:)", html)
    assert html.count("<figure>") == 8 + 8 + 8
    assert "1 of 12 items have no prediction" in html
    assert json.loads((tmp_path / "report/scores.json").read_text()) == json.loads(
        json.dumps(data | {"run": ABOUT})
    )


def test_the_report_says_of_what_it_is(files, tmp_path):
    report(files, tmp_path / "report")
    html, markdown = ((tmp_path / "report" / name).read_text() for name in ("report.html", "report.md"))
    for page, model in ((html, "mini &lt;b&gt;"), (markdown, "mini &lt;b&gt;")):
        assert model in page and "own:data" in page and "2026" in page and "askmask score x" in page
        assert "in the truth alone" in page and "in the answer alone" in page


def test_the_best_are_masks_before_empty_answers(files):
    truth, predictions = files[1], files[0]
    empty = [{"id": f"none{n}", "size": SIZE, "masks": []} for n in range(20)]
    with truth.open("a") as file:
        file.writelines(json.dumps(row) + "\n" for row in empty)
    with predictions.open("a") as file:
        file.writelines(json.dumps({"id": row["id"], "masks": []}) + "\n" for row in empty)
    chosen = choose(scored_run(files))
    assert len(chosen["best"]) == 8 and not any(name.startswith("none") for name in chosen["best"])


def test_labels_of_groups_are_whole():
    name = "a context-dependent affordance of a thing"
    assert f">{name}</text>" in bars({name: {"n": 3, "gIoU": 0.5}})


def test_text_from_files_never_becomes_markup(files, tmp_path):
    report(files, tmp_path / "report")
    html, markdown = ((tmp_path / "report" / name).read_text() for name in ("report.html", "report.md"))
    for page in (html, markdown):
        assert "<script" not in page and "<img src=x" not in page and "</figcaption><b>reply" not in page
    assert "&lt;script&gt;" in html
    assert r"\| \*bold\*" in markdown


def test_cases_show_right_surplus_and_missed_pixels(files, tmp_path):
    report(files, tmp_path / "report")
    (found,) = re.findall(
        r"!\[\]\((cases/\d+\.jpg)\) \| [^|]*(?:\\\|[^|]*)* \| 0\.0 \| no prediction",
        (tmp_path / "report/report.md").read_text(),
    )[:1]
    drawn = np.asarray(Image.open(tmp_path / "report" / found).convert("RGB")).astype(int)
    blue = (drawn[..., 2] - drawn[..., 0] > 60) & (drawn[..., 2] - drawn[..., 1] > 30)
    expected = (8 / 20) * (8 / 30)  # the missed square's share of the picture
    assert blue.mean() == pytest.approx(expected, rel=0.1)


def test_counts_of_a_report_can_be_compared_again(files, tmp_path):
    data, page = report(files, tmp_path / "report")
    again = read_counts(page.parent, "askmask")
    assert again.to_dict(resamples=0)["gIoU"] == data["gIoU"]
    result = compare(again, again, resamples=20)
    assert result["scores"]["gIoU"]["difference"] == 0.0 and result["ties"] == 12
    assert read_counts(page.parent, "lisa").to_dict(resamples=0)["gIoU"] == pytest.approx(
        scored_run(files, "lisa").to_dict(resamples=0)["gIoU"]
    )
    with pytest.raises(DataError, match="counts other pixels"):
        read_counts(page.parent, "segllm")


def test_runs_with_other_truths_are_not_compared(files, tmp_path):
    one = scored_run(files)
    rows = [json.loads(line) for line in files[1].read_text().splitlines()]
    rows[3]["masks"] = [square(1, 1, 3)]
    files[1].write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(DataError, match="another ground truth"):
        compare(one, scored_run(files))
