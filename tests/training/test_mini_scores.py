"""Validation during training: cached views are scored by the weights of now."""

import torch

from askmask.loading import find_checkpoint
from askmask.model.checkpoint import load_checkpoint
from askmask.training.mini_scores import answer, val_views
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
