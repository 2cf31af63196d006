"""A sample of the long run: damaged files, hostile replies, kills. `python -m tests.hostile.run` does the rest."""

import pytest

from tests.hostile import kills, loaders, replies

SEED, CASES = 1, 190


def test_damaged_files_are_read_or_refused_by_name():
    rows = list(loaders.run(SEED, 0, CASES))
    assert len(rows) == CASES and [row for row in rows if not loaders.good(row)] == []
    outcomes = {row["outcome"] for row in rows}
    assert outcomes == {"read", "refused"}  # the damage does reach them, and not all of it matters


def test_one_hostile_reply_costs_at_most_its_unit(tmp_path):
    pytest.importorskip("openai")
    rows = list(replies.run(SEED, 0, 3, tmp_path))
    assert len(rows) == 3 and [row for row in rows if not replies.good(row)] == []
    assert {row["damage"] for row in rows} != {"none"}


def test_a_killed_export_is_made_again_whole(tmp_path):
    pytest.importorskip("openai")
    rows = list(kills.run(SEED, 3, tmp_path, only=("engine export",)))
    assert len(rows) == 3 and [row for row in rows if not kills.good(row)] == []
    assert any(row["hit"] for row in rows)
