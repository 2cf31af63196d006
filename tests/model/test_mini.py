"""mini's parts: invariances that hold for any weights, its checkpoint, clicks and boxes, its sense of domain."""

import itertools
import json

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import askmask
from askmask.errors import CheckpointError, PictureError
from askmask.imaging.files import read_picture
from askmask.model.build import build_net
from askmask.model.checkpoint import save_checkpoint
from askmask.model.config import NetConfig
from askmask.model.mini.config import MiniConfig
from askmask.model.mini.domain import Domain
from askmask.model.mini.instances import (
    ORDER,
    Instances,
    Shown,
    cluster,
    distance_ranks,
    geometry,
    order,
    positions,
    relations,
)
from askmask.model.mini.language import NEVER
from askmask.model.mini.net import Mini
from askmask.model.mini.perception import FREE, PLANE_SCALE, Percept, plane_of
from askmask.model.mini.reading import GROUPS, Read, Reading, names_of
from askmask.model.mini.words import WordEmbedding, WordHasher, split
from askmask.model.seams import Features
from askmask.segmenters.mini import PromptableMini
from tests.conftest import ROOT

SIZES = MiniConfig(
    image_size=64,
    widths=(8, 16, 24, 32),
    channels=24,
    language_width=32,
    joint_layers=2,
    word_buckets=256,
    piece_buckets=256,
    categories=("wall", "table", "floor", "mug", "ball"),
    colours=("red", "blue"),
    parts=("none", "handle"),
    attributes=("tips",),
    stuff=("wall", "table", "floor"),
)


@pytest.fixture(scope="module")
def mini_folder(tmp_path_factory):
    """Random weights: invariances must hold for these too."""
    torch.manual_seed(3)
    net = Mini(SIZES)
    config = NetConfig(
        name="mini", backend="mini", compute="float32", segmenter=SIZES.to_dict(), prompt_encoder={}
    )
    state = {k: v.half() if v.is_floating_point() else v for k, v in net.state_dict().items()}
    return save_checkpoint(tmp_path_factory.mktemp("mini"), config, state, {})


@pytest.fixture(scope="module")
def mini(mini_folder):
    return askmask.load(mini_folder, device="cpu")


@pytest.fixture(scope="module")
def picture():
    return np.random.default_rng(0).integers(0, 255, (70, 90, 3), dtype=np.uint8)


def logits_of(session, prompts):
    return [answer.logits for answer in session.ask_many(prompts, keep_logits=True)]


def test_an_answer_does_not_depend_on_the_other_prompts(mini, picture):
    prompts = ["the mug", "a", "whatever stands to the left of the blue ball and could tip over", "?"]
    session = mini.open(picture)
    together = logits_of(session, prompts)
    alone = [logits_of(session, [prompt])[0] for prompt in prompts]
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)


def test_an_answer_does_not_depend_on_the_other_pictures(mini, picture):
    other = picture[::-1, :50].copy()
    pairs = [(picture, "the mug"), (other, "the handle of it"), (picture[:40].copy(), "balls")]
    for answer, (rgb, prompt) in zip(mini.batch(pairs), pairs, strict=True):
        alone = mini.open(rgb).ask(prompt)
        assert answer.presence == pytest.approx(alone.presence, abs=1e-5)
        assert answer.score == pytest.approx(alone.score, abs=1e-5)


def test_masks_have_the_pictures_own_size(mini, picture):
    answer = mini.open(picture).ask("the mug", keep_logits=True)
    assert answer.size == (70, 90) and answer.logits.shape == (70, 90)


def test_weights_in_half_precision_compute_in_single(mini):
    assert {p.dtype for p in mini.backend.net.parameters()} == {torch.float32}


def test_gradients_reach_language_adapter_and_decoder(mini_folder, picture):
    net = Mini(SIZES).train()
    net.segmenter.eval()
    pixels = torch.stack([net.segmenter.prepare(picture)] * 2)
    with torch.no_grad():
        features = net.segmenter.encode(pixels)
    out = net(features, net.prompt_encoder.words.pairs([picture, picture], ["the mug", "the blue ball"]))
    (out.logits.square().mean() + out.presence_logits.square().mean()).backward()
    for part in (net.language.embed.word, net.adapter.to_sparse, net.segmenter.decoder.blocks[0].mlp):
        assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in part.parameters())


def test_nothing_is_drawn_for_weights_that_are_about_to_be_read(mini_folder):
    """On the meta device torch draws in Python, and to do so imports its compiler: a third of a command's time."""
    asked = set()

    class Heard(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            asked.add(func.overloadpacket)
            return func(*args, **(kwargs or {}))

    with Heard():
        build_net(NetConfig.load(mini_folder), mini_folder)
    assert torch.ops.aten.empty in asked
    assert not {torch.ops.aten.normal_, torch.ops.aten.uniform_} & asked


def test_config_of_a_newer_version_is_refused():
    with pytest.raises(CheckpointError, match="surprise"):
        MiniConfig.from_dict(SIZES.to_dict() | {"surprise": 1})


def test_a_precision_that_does_not_exist_is_refused(mini_folder, tmp_path):
    data = json.loads((mini_folder / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(data | {"compute": "float7"}))
    with pytest.raises(CheckpointError, match="compute"):
        NetConfig.load(tmp_path)


# -- words --------------------------------------------------------------------------------------------------


def test_words_are_split_without_a_vocabulary():
    assert split("What's LEFT of the Mug?", 9) == ["what", "'", "s", "left", "of", "the", "mug", "?"]
    assert split("", 9) == [""] and len(split("a " * 99, 9)) == 9


def test_an_unseen_word_is_near_words_of_its_letters():
    torch.manual_seed(0)
    embed = WordEmbedding(4096, 4096, 64, 8)
    with torch.no_grad():
        embed.word.weight.zero_()  # training never met these words: their own vectors say nothing
        embed.place.zero_()
        vectors, real = embed(WordHasher(4096, 4096, 8).tokens(["rollable", "rolling", "transparent"]))
    near = torch.nn.functional.cosine_similarity(vectors[0, 0], vectors[1, 0], dim=0)
    far = torch.nn.functional.cosine_similarity(vectors[0, 0], vectors[2, 0], dim=0)
    assert real.all() and near > far + 0.1


# -- instances ----------------------------------------------------------------------------------------------


def percept_of(objects):
    """What perfect dense heads would say about ids [h, w]."""
    ids = torch.from_numpy(objects)
    thing = (ids > 0).float()[None, None]
    plane = plane_of(thing) * PLANE_SCALE
    free = torch.zeros(1, FREE, *ids.shape)
    for number in ids.unique().tolist():
        where = ids == number
        plane[0, :, where] = plane[0, :, where].mean(1, keepdim=True)
        free[0, 0, where] = 3.0 * number
    none = torch.zeros(1, 1, *ids.shape)
    logit = 12 * (thing - 0.5)
    return Percept(none, none, none, none, none, none, logit, logit, torch.cat([plane, free], 1))


def test_clustering_separates_objects_that_share_a_centre():
    objects = np.zeros((32, 32), np.int64)
    objects[4:28, 4:28] = 1  # a plate
    objects[12:20, 12:20] = 2  # a cup in its middle
    objects[0:3, 0:32] = 3
    masks = cluster(percept_of(objects), 0, 20) > 0.5
    assert sorted(int(mask.sum()) for mask in masks) == sorted(int((objects == n).sum()) for n in (1, 2, 3))


def test_nothing_in_the_foreground_gives_no_object():
    assert cluster(percept_of(np.zeros((16, 16), np.int64)), 0, 20).shape == (0, 16, 16)


def seen(masks, boxes):
    """How two masks at depths 1 and 2 lie from each other."""
    nothing, depth = torch.zeros(len(masks), 0), torch.tensor([1.0, 2.0])
    shown = Shown(masks, nothing, boxes, depth, positions(boxes, depth), ())
    return relations(shown, shown)


def test_relations_mirror_when_the_picture_does():
    masks = torch.zeros(2, 32, 32)
    masks[0, 8:12, 4:10] = 1
    masks[1, 20:28, 18:30] = 1
    shape, boxes = geometry(masks)
    flipped_shape, flipped = geometry(masks.flip(-1))
    here = seen(masks, boxes)
    there = seen(masks.flip(-1), flipped)
    assert torch.allclose(there[..., 0], -here[..., 0], atol=1e-5)
    assert torch.allclose(there[..., 1:], here[..., 1:], atol=1e-5)
    assert torch.allclose(flipped_shape[:, 1], shape[:, 1])


def test_things_are_counted_from_each_side():
    boxes = torch.tensor(
        [[0.1, 0.4, 0.2, 0.6], [0.7, 0.1, 0.9, 0.6], [0.4, 0.5, 0.5, 0.6], [0.0, 0.0, 1.0, 1.0]]
    )
    depth = torch.tensor([1.0, 3.0, 2.0, 5.0])
    numbers = order(positions(boxes, depth), boxes, things=3)
    assert numbers.shape == (4, ORDER) and not numbers[3].any()  # stuff is not counted
    left, right = numbers[:3, :5], numbers[:3, 5:10]
    assert left.argmax(1).tolist() == [0, 2, 1] and right.argmax(1).tolist() == [2, 0, 1]
    near, far, tall = numbers[:3, 10:13].T
    assert near.argmax() == 0 and far.argmax() == 1 and tall.argmax() == 1


def test_the_nearest_thing_has_the_first_rank_and_stuff_none():
    place = torch.tensor([[0.0, 0, 1], [0.1, 0, 1], [0.5, 0, 1], [0.0, 0.01, 1]])
    ranks = distance_ranks(place, things=3)
    torch.testing.assert_close(ranks[0], torch.tensor([0, 1, 0.5, 0]))
    torch.testing.assert_close(ranks[2], torch.tensor([0.5, 1, 0, 0]))
    assert not ranks[:, 3].any()


def test_what_no_one_sees_in_a_prompt_is_not_read():
    """A NUL or a mark of direction in "the red box" found nothing, and nothing said why."""
    for odd in ("the red box\0", "the \u202ered box", "the r\u200bed \ufeffbox"):
        assert split(odd, 48) == ["the", "red", "box"]
    assert split("the\tred\nbox", 48) == ["the", "red", "box"] and split("\0", 48) == [""]


def test_words_match_regions_by_the_names_both_have():
    reading = Reading(SIZES)
    names = names_of(SIZES)
    said, denied = torch.full((1, len(names)), -30.0), torch.full((1, len(names)), -30.0)
    said[0, names.index("ball")], denied[0, names.index("red")] = 30.0, 30.0
    chances = torch.zeros(1, 2, len(names))
    chances[0, 0, [names.index("ball"), names.index("blue")]] = 1
    chances[0, 1, [names.index("ball"), names.index("red")]] = 1
    match = reading.match(Read(torch.zeros(1, 1), said, denied), chances)[0]
    wanted = torch.zeros(2, 2 * GROUPS)
    wanted[:, 0] = 1  # both are balls
    wanted[1, GROUPS + 1] = 1  # and one of a colour that is denied
    torch.testing.assert_close(match, wanted)


# -- clicks and boxes ---------------------------------------------------------------------------------------


def test_a_click_means_the_region_under_it_and_a_box_the_one_it_fits():
    from askmask.model.mini.clicks import region_at

    masks = torch.zeros(3, 32, 32)
    masks[0, 2:10, 2:10] = 1
    masks[1, 16:30, 16:30] = 1
    masks[2] = 1  # stuff is never meant
    instances = Instances(masks, torch.zeros(3, 4), torch.zeros(3, 3, 1), things=2)
    clicks = torch.tensor([[[0.2, 0.2]], [[0.7, 0.7]], [[0.45, 0.1]]])
    found = region_at(instances, clicks)
    assert torch.equal(found[0], masks[0]) and torch.equal(found[1], masks[1]) and not found[2].any()
    boxes = torch.tensor([[[0.5, 0.5], [0.95, 0.95]], [[0.05, 0.05], [0.3, 0.3]]])
    found = region_at(instances, boxes)
    assert torch.equal(found[0], masks[1]) and torch.equal(found[1], masks[0])


def test_promptable_gives_one_mask_per_click_and_box_in_picture_pixels(mini, picture):
    segmenter = PromptableMini(mini.backend.net)
    clicks = segmenter.segment_points(picture, [(3, 4), (80, 60), (40, 40)])
    boxes = segmenter.segment_boxes(picture, [(0, 0, 30, 30)])
    assert len(clicks) == 3 and len(boxes) == 1
    assert all(mask.size == (70, 90) and 0 <= score <= 1 for mask, score in clicks + boxes)
    assert segmenter.segment_boxes(picture, []) == []
    with pytest.raises(PictureError, match="uint8"):
        segmenter.segment_points(picture.astype(np.float32), [(1, 1)])


def test_everything_is_each_thing_once():
    rgb = read_picture(ROOT / "examples/table.png").rgb
    found = PromptableMini(askmask.load("mini", device="cpu").backend.net).everything(rgb)
    assert len(found) >= 3 and [score for _, score in found] == sorted((s for _, s in found), reverse=True)
    assert all(mask.size == rgb.shape[:2] and mask.area > 0 for mask, _ in found)
    assert all(a.iou(b) < 0.8 for (a, _), (b, _) in itertools.combinations(found, 2))


# -- domain -------------------------------------------------------------------------------------------------


def test_domain_accepts_its_own_and_refuses_another():
    torch.manual_seed(0)
    domain = Domain(6)
    mixing = torch.randn(12, 12)
    inside = torch.randn(600, 12) @ mixing
    domain.fit(inside[:400], inside[400:])
    maps = torch.randn(50, 6, 8, 8)
    assert (domain._distance(inside[400:]) / domain.limit > 1).float().mean() <= 0.01
    assert (domain._distance(torch.randn(200, 12) * 8) / domain.limit > 1).float().mean() > 0.95
    assert domain(Features((maps,))).shape == (50,)


def test_an_unfitted_domain_calls_nothing_unlike(mini, picture):
    assert mini.open(picture).ask("the mug").notices == ()


# -- the painted choice -------------------------------------------------------------------------------------


def choice_of(select):
    from askmask.model.mini.language import Choice

    rows = torch.zeros(1, 1, 4)
    return Choice(rows, torch.ones(1, 1, dtype=torch.bool), torch.zeros(1, dtype=torch.long),
                  torch.tensor([select]), torch.tensor([[9.0, 0.0]]), torch.zeros(1),
                  Read(rows[0], rows[0], rows[0]), torch.zeros(1, 4))  # fmt: skip


def test_the_likeliest_region_is_painted_even_when_all_are_unlikely():
    """Without this a third of the prompts with a target got an empty mask from an undecided choice."""
    masks = torch.eye(3).view(1, 3, 3, 1)
    parts = torch.zeros(1, 2, 3, 1)
    unsure = choice_of([-3.0, -1.0, -4.0]).on(masks, parts).paint[0, :, 0]
    assert unsure[1] > 0.5 and unsure[0] < 0.5 and unsure[2] < 0.5
    sure = choice_of([6.0, -6.0, 6.0]).on(masks, parts).paint[0, :, 0]
    assert sure[0] > 0.9 and sure[2] > 0.9 and sure[1] < 0.1


def test_what_is_chosen_by_a_little_is_painted_nearly_whole():
    """Half painted things were half drawn (results/mini/README.md)."""
    masks = torch.eye(3).view(1, 3, 3, 1)
    barely = choice_of([0.6, -0.6, 2.0]).on(masks, torch.zeros(1, 2, 3, 1)).paint[0, :, 0]
    assert barely[0] > 0.9 and barely[1] < 0.1 and barely[2] > 0.9


def test_a_blind_choice_paints_nothing():
    """Padding was lifted like a likeliest region: a prompt encoder without a picture painted all there is."""
    masks = torch.eye(3).view(1, 3, 3, 1)
    assert not (choice_of([NEVER, NEVER, NEVER]).on(masks, torch.zeros(1, 2, 3, 1)).paint > 1e-6).any()


@pytest.mark.parametrize(
    ("name", "value"),
    [*[("image_size", v) for v in (0, 1, -192, 200, 192.5, 10**9)], *[("max_objects", v) for v in (-1, 0, 10**9, True)],
     ("stuff", ("sea",)), ("stuff", "x"), ("widths", (24,)), ("colours", (None,)), ("kinds", ()),
     ("joint_layers", 10**7), ("heads", 0), ("max_words", -1), ("vocabulary", 5),
     ("listens", "false"), ("remembers", 1), ("composes", None), ("blends", 1), ("word_roles", "yes"),
     ("recognises", 0), ("doubts", 1)],
)  # fmt: skip
def test_sizes_that_no_network_has_are_refused(name, value, tmp_path):
    odd = SIZES.to_dict() | {name: value}
    with pytest.raises(CheckpointError, match=f"mini's .*{name}"):
        MiniConfig.from_dict(odd)
    (tmp_path / "model.json").write_text(json.dumps(odd))
    with pytest.raises(CheckpointError, match=rf"model\.json: mini's .*{name}"):
        MiniConfig.load(tmp_path / "model.json")  # of a run
    whole = {"name": "n", "backend": "mini", "segmenter": odd, "prompt_encoder": {}, "format": 1}
    (tmp_path / "config.json").write_text(json.dumps(whole))
    with pytest.raises(CheckpointError, match=rf"config\.json: .*{name}"):
        NetConfig.load(tmp_path)  # before any weights are looked for


@pytest.mark.parametrize(
    ("name", "value"),
    [("name", ""), ("name", "n" * 1000), ("format", True), ("format", 0), ("format", -1),
     ("trained_heads", {"score": 1}), ("trained_heads", {"presence": "no"}), ("trained_heads", {"mask": True}),
     ("trained_heads", {"score": None}), ("prompt_encoder", {"words": 3}), ("segmenter", [])],
)  # fmt: skip
def test_every_setting_of_a_checkpoint_has_its_type(name, value, tmp_path):
    whole = {"name": "n", "backend": "mini", "segmenter": SIZES.to_dict(), "prompt_encoder": {}, "format": 1}
    (tmp_path / "config.json").write_text(json.dumps(whole))
    assert NetConfig.load(tmp_path).name == "n"
    (tmp_path / "config.json").write_text(json.dumps(whole | {name: value}))
    with pytest.raises(CheckpointError, match=rf"config\.json: .*{name}"):
        NetConfig.load(tmp_path)
