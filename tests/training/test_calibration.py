"""What export adds to mini: scores and presence that are true on unseen scenes, and the words it was taught."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from askmask.errors import DataError
from askmask.imaging.overlap import iou
from askmask.loading import find_checkpoint
from askmask.model.checkpoint import load_checkpoint
from askmask.model.mini.config import MiniConfig
from askmask.model.mini.net import Mini
from askmask.model.mini.score import HALF, Score
from askmask.training.export import MET, SURE, _threshold, _weigh, calibrate, fit, fold, taught, words_of
from askmask.training.mini_scores import val_views
from tests.training.discs import write_discs

SIZES = MiniConfig(
    image_size=64, widths=(8, 16, 24, 32), channels=24, language_width=32, joint_layers=2, word_buckets=64,
    piece_buckets=64, categories=("wall", "table", "mug"), stuff=("wall", "table"),
)  # fmt: skip


def test_the_line_that_was_bent_is_found_again():
    z = torch.linspace(-6, 6, 2001)
    scale, shift = fit(z[:, None], torch.sigmoid(0.5 * z - 1.2))
    assert (scale, shift) == pytest.approx((0.5, -1.2), abs=0.01)


def test_each_of_several_numbers_gets_its_weight():
    z = torch.randn(4000, 3, generator=torch.manual_seed(0)) * torch.tensor([1.0, 10.0, 0.1])
    found = fit(z, torch.sigmoid(0.5 * z[:, 0] - 0.02 * z[:, 1] + 3.0 * z[:, 2] - 0.4))
    assert found == pytest.approx([0.5, -0.02, 3.0, -0.4], abs=0.02)


@pytest.mark.parametrize("rows", [0, 1, 29])
def test_of_few_answers_nothing_is_learnt(rows):
    assert fit(torch.randn(rows, 3), torch.rand(rows)) == [1.0, 0.0, 0.0, 0.0]


def test_of_few_wrong_masks_no_caution_is_learnt():
    """One wrong mask that scored high pressed nearly all right ones under a half."""
    score = Score()
    _weigh(
        score,
        torch.randn(200, 4, generator=torch.manual_seed(0)),
        torch.cat([torch.ones(199), torch.zeros(1)]),
    )
    assert float(score.cut) == HALF


def test_without_prompts_there_is_nothing_to_calibrate_on(tmp_path):
    with pytest.raises(DataError, match="no prompts to calibrate on"):
        calibrate(Mini(SIZES), [str(tmp_path)])


def test_of_few_prompts_with_a_target_the_threshold_is_a_half(tmp_path):
    """One prompt gave a threshold of 1, and nothing was ever found."""
    write_discs(tmp_path, scenes=1, seed=0, size=64)
    assert (
        _threshold(Mini(replace(SIZES, categories=("wall", "table", "ball", "box"))).eval(), [str(tmp_path)])
        == 0.5
    )


@pytest.mark.parametrize("true", [torch.zeros(200), torch.ones(200), torch.arange(200.0).ge(100).float()])
def test_weights_have_bounds_where_a_number_never_varies_and_truths_are_parted(true):
    """A new network's export ended with weights that half precision cannot hold."""
    z = torch.stack([torch.arange(200.0) - 100, torch.full((200,), -6.9078), torch.zeros(200)], 1)
    assert torch.tensor(fit(z, true)).abs().max() < 1000


def test_the_line_is_in_the_weights_and_masks_stay():
    torch.manual_seed(0)
    net = Mini(SIZES).eval()
    look = net.look(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8), torch.rand(3, 64, 64))
    tokens = net.prompt_encoder.words.tokens(["the mug", "the wall"])
    before = net.ask(look, tokens)
    fold(net, {"score": (0.7, -0.3), "presence": (0.8, 0.4)})
    after = net.ask(look, tokens)
    assert torch.allclose(after.presence_logits, 0.8 * before.presence_logits + 0.4, atol=1e-5)
    assert torch.allclose(torch.logit(after.scores), 0.7 * torch.logit(before.scores) - 0.3, atol=1e-4)
    assert torch.equal(after.logits, before.logits)


def test_few_wrong_masks_of_unseen_scenes_keep_a_half(tmp_path):
    write_discs(tmp_path / "val", scenes=14, seed=0, size=96)
    net, _ = load_checkpoint(find_checkpoint("mini"), device="cpu")
    net = taught(net, net.config.vocabulary)
    net.score.load_state_dict(Score().state_dict())  # before it was fitted
    rows = []
    for fitted in (False, True):
        if fitted:
            found = calibrate(net, [str(tmp_path / "val")])
            assert found["cut"][0] == pytest.approx(float(net.score.cut), abs=1e-3)
        rows.append(
            [row for view in val_views(net, [str(tmp_path / "val")], 14) for row in scored(net, view)]
        )
    (before, ious), (after, again) = (np.array(one).T for one in rows)
    assert 20 < (ious < 0.5).sum() < len(ious) - 20, "else the test says nothing"
    wrong_before, (wrong, right) = (
        before[ious < 0.5] >= 0.5,
        (after[again < 0.5] >= 0.5, after[again >= 0.5] >= 0.5),
    )
    assert wrong.mean() <= SURE + 0.1 and wrong.mean() < wrong_before.mean()
    assert right.mean() > wrong.mean() + 0.2


def scored(net, view):
    """Score and IoU of each mask that is shown."""
    look = net.look(view.rgb, net.segmenter.prepare(view.rgb))
    out = net.ask(look, net.prompt_encoder.words.tokens([ask.text for ask in view.asks]))
    size = view.truth.shape[1:]
    drawn = torch.nn.functional.interpolate(out.logits, size=size, mode="bilinear")[:, 0].numpy() > 0
    for row in np.flatnonzero(out.presence_logits.numpy() > 0):
        yield float(out.scores[row, 0]), float(iou(drawn[row], view.truth[row], ~view.ignored[row]))


def test_words_are_those_of_prompts_that_are_meant(tmp_path):
    prompts = [{"prompt": "The red Mug", "kind": "named", "facts": {}}] * MET
    prompts += [{"prompt": "the mgu", "kind": "named", "facts": {"said_as": "mistyped"}}] * MET
    prompts += [{"prompt": "the giraffe", "kind": "unknown", "facts": {}}] * MET
    prompts += [{"prompt": "the rare mug", "kind": "named", "facts": {}}]
    (tmp_path / "shard-00000.jsonl").write_text(json.dumps({"views": [{"prompts": prompts}]}) + "\n")
    np.savez(tmp_path / "shard-00000.npz")
    assert words_of([str(tmp_path)]) == ("mug", "red", "the")
