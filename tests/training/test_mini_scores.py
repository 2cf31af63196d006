"""Validation during training: cached views are scored by the weights of now."""

import pytest
import torch

from askmask.imaging.overlap import iou
from askmask.loading import find_checkpoint
from askmask.model.checkpoint import load_checkpoint
from askmask.training.mini_scores import answer, score_views, val_views
from tests.training.discs import write_discs


def test_a_cached_view_is_answered_by_what_the_language_side_has_learnt_since(tmp_path):
    write_discs(tmp_path / "val", scenes=1, seed=0, size=96)
    net, _ = load_checkpoint(find_checkpoint("mini"), device="cpu")
    (early,) = val_views(net, [str(tmp_path / "val")], 1)
    before, _ = answer(net, early, decode=True)
    with torch.no_grad():
        torch.manual_seed(0)
        for parameter in net.language.look.parameters():  # what reads the regions once per picture
            parameter.add_(0.3 * torch.randn_like(parameter))
    (late,) = val_views(net, [str(tmp_path / "val")], 1)
    masks, presence = answer(net, early, decode=True)
    wanted_masks, wanted_presence = answer(net, late, decode=True)
    assert torch.equal(masks, wanted_masks) and torch.allclose(presence, wanted_presence)
    assert not torch.equal(masks, before)


def test_scores_are_those_of_the_neutral_scorer_whatever_presence_says(tmp_path, monkeypatch):
    write_discs(tmp_path / "val", scenes=2, seed=0, size=32)
    net, _ = load_checkpoint(find_checkpoint("mini"), device="cpu")
    views = val_views(net, [str(tmp_path / "val")], 2)

    def shifted(net, view, *, decode):
        """Every mask two columns off; presence always no."""
        return torch.from_numpy(view.truth).roll(2, dims=2), torch.full((len(view.asks),), -1.0)

    monkeypatch.setattr("askmask.training.mini_scores.answer", shifted)
    found = score_views(net, views, decode=False)
    wanted = [
        float(iou(torch.from_numpy(true).roll(2, dims=1).numpy(), true, ~ignored))
        for view in views
        for true, ignored in zip(view.truth, view.ignored, strict=True)
        if true.any()
    ]
    assert found["giou_all"] == pytest.approx(sum(wanted) / len(wanted)) and 0.2 < found["giou_all"] < 0.9
    assert found["target_right"] == 0.0 and found["no_target_right"] == 1.0
