"""A sample of the long run: damaged files, hostile replies, kills. `python -m tests.hostile.run` does the rest."""

import pytest

from tests.hostile import kills, loaders, replies

SEED, CASES = 1, 114


def test_damaged_files_are_read_or_refused_by_name():
    rows = list(loaders.run(SEED, 0, CASES))
    assert len(rows) == CASES and [row for row in rows if not loaders.good(row)] == []
    outcomes = {row["outcome"] for row in rows}
    assert outcomes == {"read", "refused"}  # the damage does reach them, and not all of it matters


def test_one_hostile_reply_costs_at_most_its_unit(tmp_path):
    pytest.importorskip("openai")
    rows = list(replies.run(SEED, 0, 2, tmp_path))
    assert len(rows) == 2 and [row for row in rows if not replies.good(row)] == []
    assert {row["damage"] for row in rows} != {"none"}


def test_a_killed_export_is_made_again_whole(tmp_path):
    pytest.importorskip("openai")
    for row in kills.run(SEED, 0, 12, tmp_path, only=("engine export",)):
        assert kills.good(row), row
        if row["hit"]:  # a quick machine may have ended before
            return
    raise AssertionError("no kill met the command at work")


# -- found by the long run ------------------------------------------------------------------------------------


def test_a_reader_takes_room_for_a_file_and_not_for_the_largest_it_may_read(tmp_path):
    import tracemalloc

    from askmask.formats.reading import read_json as read_strange_json
    from askmask.runs.json_text import read_json

    (tmp_path / "a.json").write_text("{}")
    for read in (read_json, read_strange_json):
        tracemalloc.start()
        assert read(tmp_path / "a.json") == {}
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
        tracemalloc.stop()


def test_a_column_of_numbers_is_refused_by_name(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    from askmask.errors import DataError
    from askmask.formats import open_dataset

    row = {"example": 0.5, "image": {"bytes": b"", "path": "a.png"}}
    parquet.write_table(pyarrow.Table.from_pylist([row]), tmp_path / "val.parquet")
    with pytest.raises(DataError, match=r"val\.parquet, row 0: .*JSON is text; got 0\.5"):
        list(open_dataset(f"own:{tmp_path}"))


@pytest.mark.parametrize(
    "answer", [{}, {"objects": [[0, 0]]}, {"parts": "1"}, {"masks": [5]}, {"objects": None}]
)
def test_an_answer_that_is_none_is_refused_with_its_shard(tmp_path, answer):
    import json

    from askmask.errors import DataError
    from askmask.formats.dense import read_shard
    from tests.training.discs import write_discs

    path = write_discs(tmp_path, scenes=1, seed=1, size=32)
    facts = json.loads(path.with_suffix(".jsonl").read_text())
    facts["views"][0]["prompts"][0]["answer"] = answer
    path.with_suffix(".jsonl").write_text(json.dumps(facts) + "\n")
    with pytest.raises(DataError, match=r"shard-00000\.jsonl, line 1"):
        read_shard(path)


@pytest.mark.parametrize(
    ("name", "file", "change", "said"),
    [
        ("answers", "result.json", {"size": [12, 12, 16]}, "another size"),
        ("answers", "result.json", {"size": [12, 2**63]}, "height and width"),
        ("answers", "result.json", {"size": [1, 1]}, "another size"),
        ("session", "talk.json", {"picture": {"name": "a.png", "size": [16, 12]}}, "another size"),
        ("session", "talk.json", {"picture": {"name": "a.png", "size": [0, 16]}}, "height and width"),
    ],
)
def test_answers_over_another_size_are_no_source(tmp_path, name, file, change, said):
    import json

    from askmask.errors import DataError
    from tests.hostile.sets import SETS

    SETS[name].write(tmp_path)
    assert SETS[name].read(tmp_path) == 1
    path = tmp_path / file
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(DataError, match=rf"{file}: .*{said}"):
        SETS[name].read(tmp_path)
