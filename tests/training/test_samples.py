"""Reading training data: the published format unchanged, bad rows named, a mixture that can be resumed."""

import json
from collections import Counter

import numpy as np
import pytest
from askmask.training.geometry import native_target, published_target
from askmask.training.samples import Mixture, check_all, read_samples
from PIL import Image

from askmask.errors import DataError, SettingError
from askmask.imaging.mask import Mask
from askmask.training.feature_cache import FeatureCache


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
    samples = read_samples(str(folder))
    assert [sample.prompt for sample in samples] == [f"thing {n}" for n in range(4)]
    picture, mask = samples[0].read()
    assert picture.size == mask.size == (12, 16)
    assert mask.area == 24


def test_rows_that_cannot_be_read_are_named(folder):
    wrong = check_all(read_samples(str(folder)))
    assert len(wrong) == 2
    assert "line 3" in wrong[0] and "line 4" in wrong[1] and "differ in size" in wrong[1]


def test_a_row_without_its_keys_is_named(tmp_path):
    (tmp_path / "dataset.jsonl").write_text('{"image": "a.png", "mask_merged": "b.png"}\n')
    with pytest.raises(DataError, match="line 1"):
        read_samples(str(tmp_path))


def test_mixture_follows_its_weights_and_repeats_nothing_within_a_pass():
    sources = [list(range(10)), list(range(100, 140))]
    mixture = Mixture(sources, (3.0, 1.0), seed=5)
    drawn = [mixture.next() for _ in range(4000)]
    assert 0.72 < sum(item < 100 for item in drawn) / 4000 < 0.78
    first = [item for item in drawn if item >= 100][:40]
    assert Counter(first) == Counter(sources[1])


def test_mixture_goes_on_where_it_stood():
    sources = [list(range(7)), list(range(50, 53))]
    whole = Mixture(sources, (1.0, 1.0), seed=2)
    expected = [whole.next() for _ in range(60)]
    broken = Mixture(sources, (1.0, 1.0), seed=2)
    begun = [broken.next() for _ in range(23)]
    again = Mixture(sources, (1.0, 1.0), seed=2)
    again.load_state_dict(json.loads(json.dumps(broken.state_dict())))
    assert begun + [again.next() for _ in range(37)] == expected


def test_mixture_refuses_changed_data_and_odd_weights():
    state = Mixture([[1, 2, 3]], (1.0,), seed=0).state_dict()
    with pytest.raises(DataError, match="changed"):
        Mixture([[1, 2]], (1.0,), seed=0).load_state_dict(state)
    with pytest.raises(SettingError, match="weight"):
        Mixture([[1], [2]], (1.0,), seed=0)


def test_native_target_keeps_a_thin_line_that_the_published_one_loses():
    mask = np.zeros((64, 64), bool)
    mask[:, 30:32] = True
    assert native_target(mask, 32).sum() > 0
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


def test_mask_is_the_union_of_a_rounds_instances(tmp_path):
    from askmask.conversation import Example, Round
    from askmask.formats.own import write_examples

    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "a.png")
    left, right = np.zeros((8, 8), bool), np.zeros((8, 8), bool)
    left[:, :2], right[:, 6:] = True, True
    rounds = (
        Round.of("both", masks=(Mask.from_array(left), Mask.from_array(right))),
        Round.of("unlabelled"),
        Round.of("nothing", masks=()),
    )
    write_examples([Example(id="1", image="a.png", rounds=rounds)], tmp_path / "examples.jsonl")
    pytest.importorskip("askmask.formats.catalogue", reason="the loaders of other data sets are not there")
    samples = read_samples(str(tmp_path))
    assert [sample.prompt for sample in samples] == ["both", "nothing"]
    assert [sample.mask().area for sample in samples] == [32, 0]
