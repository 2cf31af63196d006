"""askmask's own files: JSONL and Parquet hold the same Examples, whole or not at all."""

import json
from dataclasses import replace

import pytest
from PIL import Image

from askmask.conversation import Example, Round
from askmask.errors import DataError
from askmask.formats import open_dataset, own
from askmask.imaging.mask import Mask
from askmask.notes import Notes

SIZE = (6, 8)
CUP = Mask.from_polygons([[0, 0, 3, 0, 3, 3, 0, 3]], SIZE)


def example(number, split="val"):
    return Example(
        id=f"e{number}",
        image="images/a.png",
        size=SIZE,
        source="test",
        split=split,
        rounds=(
            Round.of("the cup", masks=(CUP,), concept="entities"),
            Round.of(prompt="what is on it", masks=(), refers_to=["r1.1"], meta={"n": number}),
        ),
    )


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "images").mkdir()
    Image.new("RGB", SIZE[::-1], (1, 2, 3)).save(tmp_path / "images/a.png")
    return tmp_path


def test_jsonl_is_read_back_by_name_and_by_path(folder):
    own.write_examples([example(0), example(1, "train")], folder / "examples.jsonl")
    (found,) = open_dataset(f"{folder}@val")
    assert found.rounds == example(0).rounds and found.image == str(folder / "images/a.png")
    assert [e.id for e in open_dataset(f"world:{folder}@train")] == ["e1"]


def test_splits_are_never_pooled_and_unknown_ones_are_errors(folder, caplog):
    own.write_examples([example(0), example(1, "train")], folder / "examples.jsonl")
    with pytest.raises(DataError, match=r"one must be named.* Add @ and one of train, val"):
        list(open_dataset(str(folder)))
    assert [e.id for e in open_dataset(str(folder), prefer="train")] == ["e1"]
    assert f"{folder}: split 'train' is read, of train, val" in caplog.text
    with pytest.raises(DataError, match="has no split 'test'; got train, val"):
        list(open_dataset(f"own:{folder}@test"))
    own.write_examples([example(0)], folder / "examples.jsonl")
    assert [e.id for e in open_dataset(str(folder), prefer="train")] == ["e0"]  # there is but one


def test_masks_of_one_example_are_of_one_size(folder):
    row = example(0).to_dict()
    row["rounds"][1]["segments"] = [{"source": "gold", "id": "x"} | Mask.full((3, 3)).to_dict()]
    (folder / "examples.jsonl").write_text(json.dumps(row) + "\n")
    with pytest.raises(DataError, match=r"examples\.jsonl, line 1: example 'e0': masks of different sizes"):
        list(open_dataset(str(folder)))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"size": [6, 8]', '"size": [5]'),
        ('"size": [6, 8]', '"size": [1e999, 8]'),
        ('"meta": {"n": 0}', '"meta": 5'),
        ('"id": "e0"', '"id": ' + "9" * 5000),
        ('"rounds": [', '"rounds": [' + "[" * 100_000 + "]" * 100_000 + ","),
        ('"prompt": "the cup"', '"prompt": 5'),
        ('"concept": "entities"', '"concept": {}'),
        ('"image": "images/a.png"', '"image": "a\\u0000b"'),
    ],
)
def test_what_a_row_cannot_hold_is_named(folder, old, new):
    text = json.dumps(example(0).to_dict())
    assert old in text
    (folder / "examples.jsonl").write_text(text.replace(old, new, 1) + "\n")
    with pytest.raises(DataError, match=r"examples\.jsonl, line 1"):
        list(open_dataset(f"own:{folder}"))


def test_parquet_carries_the_pictures(folder, tmp_path, monkeypatch):
    pytest.importorskip("pyarrow")
    from askmask.formats.parquet import read_parquet, write_parquet

    monkeypatch.setenv("ASKMASK_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "table.parquet"
    assert write_parquet((example(n) for n in range(130)), path, root=folder) == 130
    found = list(read_parquet(path, notes=Notes()))
    assert [e.to_dict() | {"image": ""} for e in found] == [
        example(n).to_dict() | {"image": ""} for n in range(130)
    ]
    with open(found[0].image, "rb") as kept:
        assert kept.read() == (folder / "images/a.png").read_bytes()
    assert len({e.image for e in found}) == 1
    assert list(open_dataset(str(path))) == found


def test_parquet_holds_names_and_prompts_that_are_no_text(folder):
    pytest.importorskip("pyarrow")
    from askmask.formats.parquet import read_parquet, write_parquet

    odd = replace(example(0), id="caf\udce9", rounds=(Round.of("half \ud83d", masks=(CUP,)),))
    assert write_parquet([odd], folder / "t.parquet", embed=False) == 1
    (found,) = read_parquet(folder / "t.parquet", notes=Notes())
    assert (found.id, found.rounds[0].text) == ("caf\udce9", "half \ud83d")


def test_parquet_without_pictures_points_beside_itself(folder):
    pytest.importorskip("pyarrow")
    from askmask.formats.parquet import read_parquet, write_parquet

    write_parquet([example(0)], folder / "t.parquet", embed=False)
    assert next(read_parquet(folder / "t.parquet", notes=Notes())).image == str(folder / "images/a.png")


def test_parquet_is_written_whole_or_not_at_all(folder):
    pytest.importorskip("pyarrow")
    from askmask.formats.parquet import write_parquet

    with pytest.raises(DataError, match="example 'e0': its picture is not there"):
        write_parquet([example(0)], folder / "t.parquet", root=folder / "elsewhere")
    assert not (folder / "t.parquet").exists()
