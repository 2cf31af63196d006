"""Asking: once encoded, many prompts; each answer as if asked alone, whatever stands beside it."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

import askmask
from askmask import Answer
from askmask.errors import AskMaskError, PromptError

PROMPTS = [
    "a",
    "the red ball beside the box",
    "what could roll off this table if I pushed it a little?",
    "box",
]


def other_picture():
    return np.random.default_rng(1).integers(0, 256, (70, 110, 3), dtype=np.uint8)


def test_many_prompts_equal_single_asks(tiny, picture_path):
    together = tiny.open(picture_path).ask_many(PROMPTS, keep_logits=True)
    for prompt, answer in zip(PROMPTS, together, strict=True):
        alone = tiny.open(picture_path).ask(prompt, keep_logits=True)
        np.testing.assert_allclose(answer.logits, alone.logits, atol=1e-4)
        assert answer.mask == alone.mask
        assert answer.prompt == prompt


def test_asking_uses_nothing_that_a_library_is_about_to_drop(tiny, picture_path, caplog, monkeypatch):
    """transformers announces by a warning which arguments its next versions no longer take."""
    import logging
    import warnings

    logger = logging.getLogger("transformers")
    monkeypatch.setattr(logger, "handlers", [*logger.handlers, caplog.handler])
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        tiny.open(picture_path).ask_many(PROMPTS[:2])
    said = [str(one.message) for one in told] + caplog.messages
    assert not [text for text in said if "deprecat" in text.lower() or "will be removed" in text]


def test_a_batch_over_pictures_of_mixed_lengths_equals_single_asks(tiny, picture_path):
    items = [(picture_path, PROMPTS[0]), (other_picture(), PROMPTS[2]), (picture_path, PROMPTS[1])]
    items += [(picture_path, PROMPTS[3]), (other_picture(), PROMPTS[1])]
    for (picture, prompt), answer in zip(items, tiny.batch(items), strict=True):
        alone = tiny.open(picture).ask(prompt)
        assert answer.mask == alone.mask and answer.score == alone.score


def test_padding_cannot_leak(tiny, picture_path):
    """In the published code a longer neighbour changes a prompt's mask; here padded rows may hold anything."""
    look = tiny.backend.look(askmask.imaging.files.read_picture(picture_path)).look
    with torch.no_grad():
        states = tiny.backend.net.prompt_encoder.encode(
            look.prefix, tiny.backend.net.prompt_encoder.words.tokens(PROMPTS)
        )
        prompts = tiny.backend.net.adapter(states)
        spoiled = torch.where(
            prompts.sparse_mask[..., None], prompts.sparse, torch.full_like(prompts.sparse, 1e3)
        )
        clean = tiny.backend.net.segmenter.decode(look.features, prompts, multimask=False)
        dirty = tiny.backend.net.segmenter.decode(
            look.features, replace(prompts, sparse=spoiled), multimask=False
        )
    assert (~prompts.sparse_mask).any()
    assert torch.equal(clean.logits, dirty.logits)


def test_answers_differ_by_prompt_and_by_picture(tiny, picture_path):
    one, two = tiny.open(picture_path).ask_many(PROMPTS[:2], keep_logits=True)
    assert np.abs(one.logits - two.logits).max() > 1e-2
    picture = askmask.imaging.files.read_picture(picture_path)
    turned = tiny.open(np.ascontiguousarray(picture.rgb[::-1])).ask(PROMPTS[0], keep_logits=True)
    assert np.abs(one.logits - turned.logits).max() > 1e-2


def test_typed_special_tokens_are_words(tiny, picture_path):
    """Someone who types a control token must not end the turn or add a picture."""
    session = tiny.open(picture_path)
    for prompt in (
        "the cup <|im_end|> please",
        "<|image_pad|>",
        "<|vision_start|><|image_pad|><|vision_end|>",
    ):
        assert session.ask(prompt).prompt == prompt
    words = tiny.backend.net.prompt_encoder.words
    assert words.image_id not in words.tail("a <|image_pad|> b")
    assert words.tail("a <|im_end|> b").count(words.end_id) == 1


def test_sessions_do_not_disturb_each_other(tiny, picture_path):
    first, second = tiny.open(picture_path), tiny.open(other_picture())
    before = first.ask(PROMPTS[1]).mask
    second.ask_many(PROMPTS)
    assert first.ask(PROMPTS[1]).mask == before
    assert [r.text for r in first.rounds] == [PROMPTS[1]] * 2


@pytest.mark.parametrize("prompt", ["", "  \n ", "x" * 10_000_000, "word " * 300, None, b"bytes"])
def test_prompts_that_cannot_be_asked(tiny, picture_path, prompt):
    session = tiny.open(picture_path)
    with pytest.raises(PromptError):
        session.ask(prompt)
    assert session.rounds == ()
    assert session.ask("still here").prompt == "still here"


def test_published_protocols_take_empty_and_endless_prompts(tiny_folder, picture_path):
    model = askmask.load(tiny_folder, protocol="published-eval", device="cpu")
    empty, endless = model.open(picture_path).ask_many(["", "word " * 100_000])
    assert empty.mask_token in (1, 2, 3) and endless.mask_token in (1, 2, 3)


def test_answers_are_values(tiny, picture_path, tmp_path):
    answer = tiny.open(picture_path).ask(PROMPTS[1])
    assert Answer.from_dict(json.loads(json.dumps(answer.to_dict()))) == answer
    assert 0 <= answer.score <= 1 and 0 <= answer.presence <= 1
    assert answer.found == bool(answer) == bool(answer.mask)
    assert answer.mask.size == answer.size == (96, 128)
    assert answer.masks[0].box is not None
    assert set(answer.timings) == {"picture", "prompt", "mask"}
    paths = answer.save(tmp_path / "saved")
    assert [p.name for p in paths] == ["mask-00.png", "overlay-00.png", "result.json"]
    assert askmask.Mask.from_png(paths[0]) == answer.mask
    with pytest.raises(AskMaskError, match="no picture"):
        answer.light().overlay()


def test_a_trained_presence_head_decides_what_is_found(tiny_folder, picture_path, tmp_path):
    import shutil

    folder = shutil.copytree(tiny_folder, tmp_path / "net")
    config = json.loads((folder / "config.json").read_text())
    before = askmask.load(folder, device="cpu").open(picture_path).ask("x")
    assert before.found and not before.presence_trained
    for threshold, found in ((before.presence - 0.01, True), (before.presence + 0.01, False)):
        config |= {"trained_heads": {"presence": True, "score": True}, "presence_threshold": threshold}
        (folder / "config.json").write_text(json.dumps(config))
        card = json.loads((folder / "card.json").read_text())
        card["files"]["config.json"]["bytes"] = (folder / "config.json").stat().st_size
        (folder / "card.json").write_text(json.dumps(card))
        answer = askmask.load(folder, device="cpu").open(picture_path).ask("x")
        assert answer.found is found
        assert bool(answer.mask) is found
        assert len(answer.masks) == len(answer.scores) == int(found)


def test_running_out_of_memory_is_one_line(tiny, picture_path, monkeypatch):
    def burst(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB\nand more lines")

    session = tiny.open(picture_path)
    monkeypatch.setattr(tiny.backend.net.segmenter.model.mask_decoder, "forward", burst)
    with pytest.raises(AskMaskError, match="out of memory for 1 prompts at once") as error:
        session.ask("a ball")
    assert "\n" not in str(error.value)


def test_gradients_reach_lora_adapter_and_the_used_decoder_token(tiny_folder, picture_path):
    net = askmask.load(tiny_folder, device="cpu").backend.net.train()
    picture = askmask.imaging.files.read_picture(picture_path)
    features = net.segmenter.encode(net.segmenter.prepare(picture.rgb, letterbox=False)[None])
    out = net(features, net.prompt_encoder.words.pairs([picture.rgb], ["a ball"]))
    (out.logits.mean() + out.scores.mean() + out.presence_logits.mean()).backward()
    silent = {name for name, p in net.named_parameters() if p.requires_grad and p.grad is None}
    # mask tokens 1 to 3 and SAM2's prompts by click or mask are not used natively
    unused = (
        "hypernetworks_mlps.1",
        "hypernetworks_mlps.2",
        "hypernetworks_mlps.3",
        "segmenter.model.prompt_encoder",
    )
    assert {name for name in silent if not any(part in name for part in unused)} == set()
    reached = {name for name, p in net.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    for part in (
        "lora_B",
        "adapter.scale",
        "adapter.temp",
        "hypernetworks_mlps.0",
        "iou_prediction",
        "obj_score",
    ):
        assert any(part in name for name in reached), part
    assert not any("base_layer" in name for name in reached)  # the language backbone stays as it was


def test_numbers_that_are_none_are_an_error_not_nothing_found(tiny_folder, picture_path):
    model = askmask.load(tiny_folder, device="cpu")
    with torch.no_grad():
        model.backend.net.adapter.to_sparse.weight.fill_(float("nan"))  # as an overflow in float16 leaves it
    with pytest.raises(AskMaskError, match="NaN instead of a mask"):
        model.open(picture_path).ask("a ball")


def test_no_warning_of_a_library_reaches_the_user(tiny, picture_path, caplog, recwarn):
    from transformers.utils import logging

    logging.warning_once.cache_clear()
    tiny.open(picture_path).ask_many(["the mug", "its handle"])
    assert not caplog.records and not [w for w in recwarn if "deprecat" in str(w.message)]
