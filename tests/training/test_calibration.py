"""What export adds to mini: scores and presence that are true on unseen scenes, and the words it was taught."""

import json

import numpy as np
import pytest
import torch

from askmask.model.mini.config import MiniConfig
from askmask.model.mini.net import Mini
from askmask.training.export import MET, fit, fold, words_of

SIZES = MiniConfig(
    image_size=64, widths=(8, 16, 24, 32), channels=24, language_width=32, joint_layers=2, word_buckets=64,
    piece_buckets=64, categories=("wall", "table", "mug"), stuff=("wall", "table"),
)  # fmt: skip


def test_the_line_that_was_bent_is_found_again():
    z = torch.linspace(-6, 6, 2001)
    scale, shift = fit(z, torch.sigmoid(0.5 * z - 1.2))
    assert (scale, shift) == pytest.approx((0.5, -1.2), abs=0.01)


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


def test_words_are_those_of_prompts_that_are_meant(tmp_path):
    prompts = [{"prompt": "The red Mug", "kind": "named", "facts": {}}] * MET
    prompts += [{"prompt": "the mgu", "kind": "named", "facts": {"said_as": "mistyped"}}] * MET
    prompts += [{"prompt": "the giraffe", "kind": "unknown", "facts": {}}] * MET
    prompts += [{"prompt": "the rare mug", "kind": "named", "facts": {}}]
    (tmp_path / "shard-00000.jsonl").write_text(json.dumps({"views": [{"prompts": prompts}]}) + "\n")
    np.savez(tmp_path / "shard-00000.npz")
    assert words_of([str(tmp_path)]) == ("mug", "red", "the")
