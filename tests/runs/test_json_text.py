"""JSON of strangers names its place; ours is written whatever a name holds."""

import json
import os

import pytest

from askmask.errors import DataError
from askmask.runs.json_text import MAX_LINE_BYTES, json_text, read_json, read_rows


def test_letters_stay_and_what_is_no_text_is_escaped():
    assert json_text({"a": "Tür"}) == '{"a": "Tür"}'
    broken = json_text({"a": "caf\udce9"}, compact=True)
    assert broken == '{"a":"caf\\udce9"}' and json.loads(broken) == {"a": "caf\udce9"}


@pytest.mark.parametrize("line", [b"{", b"\xff", b"[" * 200_000, b'{"n": ' + b"9" * 5_000 + b"}", b"[1]"])
def test_every_bad_line_names_file_and_line(tmp_path, line):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"a": 1}\n\n' + line + b'\n{"a": 2}\n')
    with pytest.raises(DataError, match=r"rows\.jsonl, line 3: not "):
        list(read_rows(path))
    bad = []
    assert [row for _, row in read_rows(path, lambda *found: bad.append(found))] == [{"a": 1}, {"a": 2}]
    assert bad[0][0] == 3


def test_a_line_without_bound_is_not_read(tmp_path):
    path = tmp_path / "rows.jsonl"
    with path.open("wb") as file:
        file.truncate(MAX_LINE_BYTES + 2)
    with pytest.raises(DataError, match="line 1: longer than 64 MB"):
        list(read_rows(path, lambda *_: None))


def test_files_that_cannot_be_read_are_named(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        read_json(tmp_path / "nowhere.json")
    with pytest.raises(DataError, match="a file is needed"):
        read_json(tmp_path)
    with pytest.raises(DataError, match="cannot be read"):
        read_json(tmp_path / ("n" * 400))
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(DataError, match="no regular file"):
            read_json(tmp_path / "pipe")


def test_every_line_is_told_as_it_is(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_text('{"a": "é"}\n\n{"b": 1}\n')
    lines = []
    assert list(read_rows(path, on_line=lines.append)) == [(1, {"a": "é"}), (3, {"b": 1})]
    assert b"".join(lines) == path.read_bytes()
