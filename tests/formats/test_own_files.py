"""askmask's own files: JSONL and Parquet hold the same Examples, whole or not at all."""

import pytest
from PIL import Image

from askmask.conversation import Example, Round
from askmask.errors import DataError
from askmask.formats import open_dataset, own
from askmask.imaging.mask import Mask

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
    found = list(open_dataset(str(folder)))
    assert [e.rounds for e in found] == [example(0).rounds, example(1).rounds]
    assert found[0].image == str(folder / "images/a.png")
    assert [e.id for e in open_dataset(f"world:{folder}@train")] == ["e1"]


def test_parquet_carries_the_pictures(folder, tmp_path, monkeypatch):
    pytest.importorskip("pyarrow")
    from askmask.formats.parquet import read_parquet, write_parquet

    monkeypatch.setenv("ASKMASK_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "table.parquet"
    assert write_parquet((example(n) for n in range(130)), path, root=folder) == 130
    found = list(read_parquet(path))
    assert [e.to_dict() | {"image": ""} for e in found] == [
        example(n).to_dict() | {"image": ""} for n in range(130)
    ]
    with open(found[0].image, "rb") as kept:
        assert kept.read() == (folder / "images/a.png").read_bytes()
    assert len({e.image for e in found}) == 1
    assert list(open_dataset(str(path))) == found


def test_parquet_without_pictures_points_beside_itself(folder):
    pytest.importorskip("pyarrow")
    from askmask.formats.parquet import read_parquet, write_parquet

    write_parquet([example(0)], folder / "t.parquet", embed=False)
    assert next(read_parquet(folder / "t.parquet")).image == str(folder / "images/a.png")


def test_parquet_is_written_whole_or_not_at_all(folder):
    pytest.importorskip("pyarrow")
    from askmask.formats.parquet import write_parquet

    with pytest.raises(DataError, match="example 'e0': its picture is not there"):
        write_parquet([example(0)], folder / "t.parquet", root=folder / "elsewhere")
    assert not (folder / "t.parquet").exists()
