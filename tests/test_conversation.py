"""Rounds and Examples: JSON and back, with clear errors for foreign rows."""

import json

import pytest

from askmask import Example, Mask, Reference, Round
from askmask.errors import DataError
from askmask.formats.own import read_examples, write_examples

MASK = Mask.full((3, 4))
EXAMPLE = Example(
    id="a-1",
    image="images/1.png",
    size=(3, 4),
    source="test",
    rounds=(
        Round(prompt="the mug", masks=(MASK,), concept="entities", family="instances", meta={"margin": 0.5}),
        Round(prompt="its handle", masks=(), reply="It has none.", refers_to=(Reference(round=0, mask=0),)),
        Round(prompt="unlabelled", ignore=Mask.empty((3, 4))),
    ),
)


def test_json_round_trip_keeps_unanswered_and_empty_apart():
    again = Example.from_dict(json.loads(json.dumps(EXAMPLE.to_dict())))
    assert again == EXAMPLE
    assert [r.masks for r in again.rounds] == [(MASK,), (), None]
    assert [r.mask((3, 4)) for r in again.rounds] == [MASK, Mask.empty((3, 4)), None]


def test_files_are_written_whole_and_equal_for_equal_examples(tmp_path):
    assert write_examples([EXAMPLE, EXAMPLE], tmp_path / "examples.jsonl") == 2
    first = (tmp_path / "examples.jsonl").read_bytes()
    again = list(read_examples(tmp_path, absolute_images=False))
    assert again == [EXAMPLE, EXAMPLE]
    write_examples(again, tmp_path / "examples.jsonl")
    assert (tmp_path / "examples.jsonl").read_bytes() == first
    assert [p.name for p in tmp_path.iterdir()] == ["examples.jsonl"]


def test_a_failed_write_leaves_the_old_file(tmp_path):
    write_examples([EXAMPLE], tmp_path / "examples.jsonl")

    def broken():
        yield EXAMPLE
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError):
        write_examples(broken(), tmp_path / "examples.jsonl")
    assert len(list(read_examples(tmp_path))) == 1


@pytest.mark.parametrize(
    "line, said",
    [
        ("{", "line 2: not JSON"),
        ("[1]", "not a JSON object"),
        ('{"schema": 99, "id": "a", "image": "b", "rounds": []}', "Upgrade"),
        ('{"id": "a", "rounds": []}', "image"),
        ('{"id": "a", "image": "b", "rounds": [{"prompt": 1}]}', "prompt"),
        (
            '{"id": "a", "image": "b", "rounds": [{"prompt": "x", "masks": [{"size": [1, 1], "counts": [7]}]}]}',
            "run lengths must lie in",
        ),
        ('{"id": "a", "image": "b", "rounds": [{"prompt": "x", "refers_to": [{}]}]}', "line 2"),
    ],
)
def test_a_bad_row_is_named(line, said, tmp_path):
    path = tmp_path / "examples.jsonl"
    path.write_text('{"id": "ok", "image": "x", "rounds": []}\n' + line + "\n")
    with pytest.raises(DataError, match=said) as error:
        list(read_examples(path))
    assert "line 2" in str(error.value)
