"""Text scores against numbers worked out by hand, and the libraries' behaviour that they rest on."""

import json
import math

import pytest

from askmask.conversation import Example, Round
from askmask.errors import DataError
from askmask.evaluation.text_scores import (
    Reference,
    distinct,
    read_texts,
    references_of,
    text_scores,
    tokenize,
)

pytest.importorskip("sacrebleu")
pytest.importorskip("rouge_score")
pytest.importorskip("nltk")


def scores(*pairs):
    references = [Reference(str(i), gold) for i, (_, gold) in enumerate(pairs)]
    return text_scores({str(i): said for i, (said, _) in enumerate(pairs) if said is not None}, references)


def test_one_tokenizer_for_all():
    assert tokenize("It's the [SEG] mug, <image> OK?") == ["it", "'", "s", "the", "mug", ",", "ok", "?"]
    assert tokenize("Naïve café") == ["naïve", "café"]
    assert tokenize("红色杯子 OK。") == ["红", "色", "杯", "子", "ok", "。"]
    assert tokenize("赤いカップ") == list("赤いカップ") and tokenize("빨간 컵") == ["빨간", "컵"]


def test_replies_in_chinese_are_compared_by_their_characters():
    found = scores(("桌子左边的红色杯子能用来装水。", "桌子左边的红色杯子可以用来装水。"))
    assert 0.6 < found["BLEU-4"] < 1 and 0.8 < found["ROUGE-L"] < 1


def test_a_perfect_reply():
    result = scores(("the red mug on the left", "The red mug, on the left"), ("a b c d e", "a b c d e"))
    assert result["n"] == 2 and result["n_missing"] == 0
    perfect = scores(("a b c d e", "a b c d e"))
    assert perfect["BLEU-4"] == pytest.approx(1) and perfect["ROUGE-L"] == 1
    # METEOR of a perfect match: one chunk of five words leaves the penalty 0.5 * (1/5)^3.
    assert perfect["METEOR"] == pytest.approx(1 - 0.5 * (1 / 5) ** 3)


def test_bleu_is_corpus_level_clipped_and_brief():
    # Reply "a b c d x", gold "a b c d e f": precisions 4/5, 3/4, 2/3, 1/2; brevity exp(1 - 6/5).
    expected = (4 / 5 * 3 / 4 * 2 / 3 * 1 / 2) ** 0.25 * math.exp(1 - 6 / 5)
    assert scores(("a b c d x", "a b c d e f"))["BLEU-4"] == pytest.approx(expected)
    # Two replies pool their counts before the ratio: 4-grams 1 of 2 + 2 of 2.
    pooled = scores(("a b c d x", "a b c d e"), ("p q r s t", "p q r s t"))["BLEU-4"]
    assert pooled == pytest.approx((9 / 10 * 7 / 8 * 5 / 6 * 3 / 4) ** 0.25)
    assert scores(("a b c", "a b c"))["BLEU-4"] == 0  # no 4-gram, no smoothing
    assert scores(("the the the the the", "the cat sat on a mat"))["BLEU-4"] == 0


def test_rouge_is_the_longest_common_subsequence():
    # Common "a c e": precision 3/4, recall 3/5.
    assert scores(("a x c e", "a b c d e"))["ROUGE-L"] == pytest.approx(2 * 0.75 * 0.6 / 1.35)


def test_meteor_says_whether_synonyms_were_available():
    result = scores(("the dogs run", "the dog runs"))
    assert isinstance(result["METEOR_synonyms"], bool)
    # Stems match: three words, one chunk.
    assert result["METEOR"] == pytest.approx(1 - 0.5 * (1 / 3) ** 3)


def test_distinct_counts_over_all_replies():
    assert distinct([["a", "b", "a"], ["a", "b"]], 1) == 2 / 5
    assert distinct([["a", "b", "a"], ["a", "b"]], 2) == 2 / 3
    assert distinct([["a"]], 2) is None


def test_missing_replies_are_counted_as_empty():
    result = scores(("a b c d", "a b c d"), (None, "a b c d"))
    assert result["n_missing"] == 1 and result["ROUGE-L"] == 0.5
    assert result["BLEU-4"] == pytest.approx(math.exp(1 - 8 / 4))
    with pytest.raises(DataError, match="no reply in words"):
        scores()
    with pytest.raises(DataError, match="id '0' is in the ground truth twice"):
        text_scores({"0": "a"}, [Reference("0", "a"), Reference("0", "b")])


def test_the_segmentation_round_is_no_text(tmp_path):
    example = Example(
        id="d",
        image="x.png",
        rounds=(
            Round.of("p", reply="A bottle."),
            Round.of("q"),
            Round.of("r", reply="It is [SEG]."),
        ),
    )
    assert list(references_of([example])) == [Reference("d#1", "A bottle.")]
    (tmp_path / "predictions-0.jsonl").write_text(json.dumps({"id": "d#3", "masks": [], "text": "x"}) + "\n")
    (tmp_path / "replies-0.jsonl").write_text(
        json.dumps({"id": "d#1", "masks": [], "text": "a bottle ."}) + "\n"
    )
    assert read_texts(tmp_path) == {"d#3": "x", "d#1": "a bottle ."}
    assert text_scores(read_texts(tmp_path), references_of([example]))["ROUGE-L"] == 1.0


def test_the_command_reads_gold_replies_of_a_dialogue_set(tmp_path):
    from typer.testing import CliRunner

    from askmask.cli.app import app, register_commands

    register_commands()
    turns = [
        ("human", "What is there?"),
        ("gpt", "A green bottle."),
        ("human", "Segment it."),
        ("gpt", "[SEG]"),
    ]
    row = {
        "img_id": "0a.jpg",
        "focus": "bottle",
        "dialogue": [{"from": who, "value": text} for who, text in turns],
    }
    (tmp_path / "test.json").write_text(json.dumps([row]))
    (tmp_path / "p.jsonl").write_text(
        json.dumps({"id": "prist-test-0#1", "masks": [], "text": "a bottle"}) + "\n"
    )
    call = ["score-text", str(tmp_path / "p.jsonl"), "--gt", f"prist:{tmp_path}@test?labels=no"]
    data = json.loads(CliRunner().invoke(app, [*call, "--json"]).stdout)
    assert (data["n"], data["n_missing"]) == (1, 0)
    assert data["ROUGE-L"] == pytest.approx(2 * 1 * 0.5 / 1.5)  # "a bottle" of "a green bottle ."
    assert "ROUGE-L         66.67 %" in CliRunner().invoke(app, call).stdout
