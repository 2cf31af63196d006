"""Reading training data: the published format unchanged, bad rows named, a mixture that can be resumed."""

import json
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from askmask.conversation import Example, Prompt, Round, Segment
from askmask.errors import DataError, SettingError
from askmask.formats.own import write_examples
from askmask.imaging.mask import Mask
from askmask.training.batches import native_target
from askmask.training.data import DIALOGUE, MARKED, UNLABELLED, Mixture, Source, check_all
from askmask.training.feature_cache import FeatureCache
from askmask.training.published import published_target


@pytest.fixture
def folder(tmp_path):
    """Four rows in the published format; the third has no mask file, the fourth one of another size."""
    rows = []
    for number in range(4):
        pixels = np.full((12, 16, 3), 40 * number, np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
        mask = np.zeros((12, 16) if number < 3 else (9, 9), np.uint8)
        mask[2:6, 3:9] = 255
        if number != 2:
            Image.fromarray(mask).save(tmp_path / f"{number}-mask.png")
        rows.append(
            {"image": f"{number}.png", "mask_merged": f"{number}-mask.png", "prompt": f"thing {number}"}
        )
    (tmp_path / "dataset.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def test_published_format_is_read_unchanged(folder):
    source = Source(str(folder))
    assert len(source) == 4
    assert [source[n].text for n in range(2)] == ["thing 0", "thing 1"]
    assert source[0].picture.size == source[0].truth.shape == (12, 16)
    assert source[0].truth.sum() == 24 and source[0].ignore is None


def test_rows_that_cannot_be_read_are_named(folder):
    wrong = check_all([Source(str(folder))])
    assert len(wrong) == 2
    assert "line 3" in wrong[0] and "line 4" in wrong[1] and "differ in size" in wrong[1]


def test_a_row_without_its_keys_is_named(tmp_path):
    (tmp_path / "dataset.jsonl").write_text('{"image": "a.png", "mask_merged": "b.png"}\n')
    with pytest.raises(DataError, match="line 1"):
        Source(str(tmp_path))


def test_mixture_follows_its_weights_and_repeats_nothing_within_a_pass():
    mixture = Mixture((10, 40), (3.0, 1.0), seed=5)
    drawn = [mixture.next() for _ in range(4000)]
    assert 0.72 < sum(which == 0 for which, _ in drawn) / 4000 < 0.78
    first = [row for which, row in drawn if which == 1][:40]
    assert Counter(first) == Counter(range(40))


def test_mixture_goes_on_where_it_stood():
    sizes = (7, 3)
    whole = Mixture(sizes, (1.0, 1.0), seed=2)
    expected = [whole.next() for _ in range(60)]
    broken = Mixture(sizes, (1.0, 1.0), seed=2)
    begun = [broken.next() for _ in range(23)]
    again = Mixture(sizes, (1.0, 1.0), seed=2)
    again.load_state_dict(json.loads(json.dumps(broken.state_dict())))
    assert begun + [again.next() for _ in range(37)] == expected


def test_mixture_refuses_changed_data_and_odd_weights():
    state = Mixture((3,), (1.0,), seed=0).state_dict()
    with pytest.raises(DataError, match="changed"):
        Mixture((2,), (1.0,), seed=0).load_state_dict(state)
    for weights in ((1.0,), (1.0, float("nan")), (1.0, 0.0)):
        with pytest.raises(SettingError, match="weight"):
            Mixture((1, 1), weights, seed=0)


def test_native_target_keeps_a_thin_line_that_the_published_one_loses():
    mask = np.zeros((64, 64), bool)
    mask[:, 30:32] = True
    assert native_target(mask, None, 32)[0].sum() > 0
    line = np.zeros((1024, 1024), bool)
    line[:, 500:504] = True
    assert published_target(line, 256, 1024).sum() == 0


def test_feature_cache_is_bounded_and_repairs_a_cut_file(tmp_path):
    import torch

    from askmask.model.seams import Features

    calls = []

    def encode(pixels):
        calls.append(1)
        return Features((pixels.repeat(1, 8, 1, 1), pixels))

    picture = torch.arange(300.0).view(3, 10, 10)
    cache = FeatureCache(tmp_path, weights="a", limit_gb=1.0)
    first, again = cache.get(picture, encode), cache.get(picture, encode)
    assert len(calls) == 1 and all(torch.equal(x, y) for x, y in zip(first.maps, again.maps, strict=True))
    next(tmp_path.glob("*.safetensors")).write_bytes(b"cut")
    assert torch.equal(cache.get(picture, encode).maps[0], first.maps[0]) and len(calls) == 2
    FeatureCache(tmp_path, weights="b", limit_gb=1.0).get(picture, encode)
    assert len(calls) == 3, "other weights must not read these features"
    size = next(tmp_path.glob("*.safetensors")).stat().st_size
    small = FeatureCache(tmp_path, weights="a", limit_gb=4.5 * size / 2**30)
    for number in range(12):
        small.get(picture + number, encode)
    assert len(list(tmp_path.glob("*.safetensors"))) <= 4


def test_caches_remove_no_files_but_their_own(tmp_path, small_mini):
    """A cache may have been given the folder of somebody's weights or scenes."""
    import torch

    from askmask.model.checkpoint import load_checkpoint
    from askmask.model.seams import Features
    from askmask.training.region_cache import RegionCache

    theirs = [tmp_path / "model.safetensors", tmp_path / "shard-00000.npz"]
    ours = [tmp_path / f"{'0a' * 6}-9-12-{n * 16}.npz" for n in "ab"]
    for path in (*theirs, *ours):
        path.write_bytes(b"x" * 99)
    cache = FeatureCache(tmp_path, weights="a", limit_gb=1e-9)
    for number in range(3):
        cache.get(torch.full((3, 4, 4), float(number)), lambda pixels: Features((pixels,)))
    net, _ = load_checkpoint(small_mini)
    RegionCache(net, tmp_path, limit_gb=0)._bound()
    assert all(path.read_bytes() == b"x" * 99 for path in theirs)
    assert len(list(tmp_path.glob("*.safetensors"))) == 2 and sum(path.exists() for path in ours) == 1


def masked(columns):
    pixels = np.zeros((8, 8), bool)
    pixels[:, columns] = True
    return Mask.from_array(pixels)


def write_own(folder, *rounds, name="examples.jsonl", **fields):
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(folder / "a.png")
    write_examples([Example(id="1", image="a.png", rounds=rounds, **fields)], folder / name)
    return Source(str(folder))


def test_what_cannot_be_trained_on_is_counted_by_reason(tmp_path):
    first = Round(
        prompt=Prompt(text="both"), segments=tuple(Segment(mask=masked(n)) for n in (slice(2), slice(6, 8)))
    )
    clicked = Round(prompt=Prompt(text="this", points=((1.0, 1.0, True),)), segments=())
    source = write_own(
        tmp_path,
        first,
        Round.of("unlabelled"),
        Round.of("nothing", masks=()),
        Round.of("the left one of them", masks=(masked(slice(2)),), refers_to=["r1.1"]),
        clicked,
    )
    assert [source[n].text for n in range(len(source))] == ["both", "nothing"]
    assert [source[n].truth.sum() for n in range(len(source))] == [32, 0]
    assert source.left_out == {UNLABELLED: 1, DIALOGUE: 1, MARKED: 1}
    assert source.facts()["left_out"] == dict(source.left_out) and len(source.facts()["sha256"]) == 64


def test_a_folder_gives_its_negatives_not_only_the_published_rows(tmp_path, folder):
    write_own(folder, Round.of("a thing", masks=()), Round.of("nothing", masks=()))
    assert len(Source(str(folder))) == 2 and len(Source(str(folder / "dataset.jsonl"))) == 4


def test_of_several_splits_the_one_for_training_is_read(tmp_path):
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "a.png")
    examples = [
        Example(id=split, image="a.png", split=split, rounds=(Round.of(split, masks=()),))
        for split in ("train", "val")
    ]
    write_examples(examples, tmp_path / "examples.jsonl")
    assert [Source(str(tmp_path), split)[0].text for split in ("train", "val")] == ["train", "val"]
    assert len(Source(str(tmp_path))) == len(Source(f"own:{tmp_path}@val")) == 1
    with pytest.raises(DataError, match="never pooled"):
        Source(str(tmp_path), "test")
    assert Source(f"own:{tmp_path}@val")[0].text == "val"


def test_a_cell_counts_where_most_of_its_pixels_are_known():
    truth, ignore = np.zeros((4, 4), bool), np.zeros((4, 4), bool)
    truth[:2, 0] = True  # half of the first cell
    ignore[:, 1] = True  # the other half
    ignore[0, 2:], ignore[1, 2] = True, True  # three pixels of the second
    target, counted = native_target(truth, ignore, 2)
    assert counted.tolist() == [[False, False], [False, True]]
    ignore[0, 1] = False
    target, counted = native_target(truth, ignore, 2)  # of three known pixels two are in the mask
    assert target[0, 0] == 1 and counted[0, 0]
