"""Rounds and Examples: JSON and back, with clear errors for foreign rows."""

import json

import pytest

from askmask import Example, Mask, Prompt, Round, Segment
from askmask.conversation import without_masks
from askmask.errors import DataError
from askmask.formats.own import read_examples, write_examples

MASK = Mask.full((3, 4))
EXAMPLE = Example(
    id="a-1",
    image="images/1.png",
    size=(3, 4),
    source="test",
    rounds=(
        Round.of("the mug", masks=(MASK,), concept="entities", family="instances", meta={"margin": 0.5}),
        Round.of("its handle", masks=(), reply="It has none.", refers_to=["r1.1"]),
        Round.of("unlabelled", ignore=Mask.empty((3, 4))),
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


def test_names_are_given_once_and_kept():
    first, second, _ = EXAMPLE.rounds
    assert (first.id, first.segments[0].id, second.id, second.prompt.refers_to) == ("r1", "m1", "r2", ("m1",))
    later = Example(
        id="b", image="b", rounds=(*EXAMPLE.rounds, Round.of("that one", [MASK], refers_to=["r1", "m1"]))
    )
    assert later.rounds[:3] == EXAMPLE.rounds
    assert later.rounds[3].segments[0].id == "m2"


@pytest.mark.parametrize("names", [["r2"], ["m2"], ["m9"], ["r1.3"], ["r2.1"]])
def test_a_prompt_refers_to_earlier_rounds_only(names):
    rounds = (Round.of("a", [MASK]), Round.of("b", [MASK], refers_to=names), Round.of("c", [MASK]))
    with pytest.raises(DataError, match=r"example 'x'.*no earlier round"):
        Example(id="x", image="x", rounds=rounds)


def test_two_segments_of_one_name_are_refused():
    rounds = tuple(
        Round(prompt=Prompt(text=text), segments=(Segment(mask=MASK, id="m1"),)) for text in ("a", "b")
    )
    with pytest.raises(DataError, match=r"same id.*'m1'"):
        Example(id="x", image="x", rounds=rounds)


def test_a_file_of_schema_1_still_loads():
    old = {"schema": 1, "id": "a", "image": "a.png", "meta": {"independent": True}, "rounds": [
        {"prompt": "both", "masks": [MASK.to_dict(), MASK.to_dict()]},
        {"prompt": "the second", "masks": [], "refers_to": [{"round": 0, "mask": 1}]},
        {"prompt": "those", "refers_to": [{"round": 0}]},
    ]}  # fmt: skip
    read = Example.from_dict(old)
    assert read.independent
    assert [round.masks for round in read.rounds] == [(MASK, MASK), (), None]
    assert [round.prompt.refers_to for round in read.rounds] == [(), ("m2",), ("r1",)]
    assert Example.from_dict(read.to_dict()) == read


def test_marks_and_segments_survive_json():
    prompt = Prompt(text="this", points=((1.5, 2.0, False),), boxes=((0, 0, 2, 3),), masks=(MASK,))
    segment = Segment(
        mask=MASK, id="m7", source="user", score=0.5, name="lid", phrase="it", span=(0, 2), parents=("m1",)
    )
    round = Round(prompt=prompt, segments=(segment,), id="r4")
    assert Round.from_dict(json.loads(json.dumps(round.to_dict()))) == round


def test_a_round_in_words_alone_is_not_said_to_have_found_nothing():
    assert without_masks(None, "The left one or the right one?") == "asks back"
    assert without_masks(None, "It would roll: it is round.") == "in words alone"
    assert without_masks((), "Nothing here would roll.") == without_masks((), None) == "nothing found"
