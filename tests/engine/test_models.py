"""The other clients, detectors and segmenters: on loopback, or with tiny random weights."""

import asyncio
import json
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest

from askmask.engine.replies import AlignmentReply
from askmask.engine.tools import request_for
from askmask.imaging.mask import Mask
from askmask.segmenters.classical import ClassicalSegmenter
from askmask.segmenters.queue import SegmentationQueue
from askmask.vlm.budget import Budget
from askmask.vlm.caller import Caller
from askmask.vlm.errors import CallFailed, Quarantined
from askmask.vlm.ledger import Ledger
from askmask.vlm.pictures import SentPicture
from tests.conftest import GOLDEN
from tests.engine.flatworld import draw_scene
from tests.vlm.endpoint import failure, scripted


def question(**inputs):
    picture = SentPicture(np.full((56, 84, 3), 90, np.uint8), "the original")
    return request_for(
        "align",
        AlignmentReply,
        instructions="Judge.",
        templates=("align_mask",),
        pictures=(picture,),
        inputs=inputs or {"prompt": "Segment the cup"},
        max_tokens=12,
    )


# -- clients --------------------------------------------------------------------------------------------------


def google_reply(text: str, finish: str = "STOP", **more):
    candidate = {"content": {"role": "model", "parts": [{"text": text}]}, "finishReason": finish, **more}
    usage = {"promptTokenCount": 50, "candidatesTokenCount": 7, "thoughtsTokenCount": 3}
    return 200, {}, {"candidates": [candidate], "usageMetadata": usage, "modelVersion": "gemini-x-1"}


def ask_google(monkeypatch, entry):
    pytest.importorskip("google.genai", reason="needs the extra [google]")
    from askmask.vlm.google import GoogleVlm

    monkeypatch.setenv("GEMINI_API_KEY", "google-test-key-123")

    async def ask(url):
        vlm = GoogleVlm("gemini-x-1", base_url=url.removesuffix("/v1"))
        try:
            return await vlm.complete(question())
        finally:
            await vlm.close()

    with scripted(entry) as (url, seen):
        try:
            return asyncio.run(ask(url)), seen
        except CallFailed as error:
            return error, seen


def test_google_sends_schema_and_reads_usage(monkeypatch):
    completion, seen = ask_google(monkeypatch, google_reply('{"reason": "x", "accept": true}'))
    assert json.loads(completion.text)["accept"] and completion.output_tokens == 10
    path, headers, body = seen[0]
    assert path.endswith("gemini-x-1:generateContent") and headers["x-goog-api-key"] == "google-test-key-123"
    assert "key=" not in path  # a key in an address would end up in logs
    assert body["generationConfig"]["responseMimeType"] == "application/json"
    assert body["generationConfig"]["responseJsonSchema"]["title"] == "AlignmentReply"
    assert "image/jpeg" in json.dumps(body["contents"][0]["parts"][0])


def test_google_faults(monkeypatch):
    blocked, _ = ask_google(monkeypatch, (200, {}, {"promptFeedback": {"blockReason": "SAFETY"}}))
    assert blocked.refused[0] == "safety"
    assert ask_google(monkeypatch, google_reply("", "SAFETY"))[0].refused[0] == "safety"
    assert ask_google(monkeypatch, google_reply("{", "MAX_TOKENS"))[0].finish == "length"
    late, seen = ask_google(monkeypatch, failure(429, retry_after="7"))
    assert late.error_class == "rate_limit" and len(seen) == 1  # its own retries are off
    assert ask_google(monkeypatch, failure(503))[0].error_class == "server"
    assert ask_google(monkeypatch, "drop")[0].error_class == "connection"


def test_local_model_generates_within_its_limit():
    if not GOLDEN.is_dir():
        pytest.skip(f"the tiny Qwen2.5-VL is not at {GOLDEN}")
    from askmask.vlm.local import LocalVlm

    vlm = LocalVlm(str(GOLDEN / "tiny_qwen"))
    completion = asyncio.run(vlm.complete(question()))
    assert completion.finish == "length" and completion.output_tokens == 12
    assert completion.input_tokens > 100 and vlm.model == "tiny_qwen"
    strip = SentPicture(np.full((6, 2400, 3), 90, np.uint8), "the original")
    with pytest.raises(CallFailed, match="request: ValueError: absolute aspect ratio"):
        asyncio.run(vlm.complete(replace(question(), pictures=(strip,))))


# -- detectors ------------------------------------------------------------------------------------------------


def find(detector, rgb, *texts):
    """The boxes of each text; a detector's own model is called as in a run."""

    async def work():
        with closing(Ledger()) as ledger:
            caller = Caller(detector.vlm, ledger, Budget(), first_wait_s=0.01)
            found = await detector.find(rgb, dict(enumerate(texts, 1)), caller)
            return list(found.values()), ledger.spent()[1]

    return asyncio.run(work())


def test_moondream_over_http(monkeypatch):
    from askmask.detectors.moondream import Moondream

    monkeypatch.setenv("MOONDREAM_API_KEY", "moon-test-key-1")
    picture = np.zeros((100, 200, 3), np.uint8)
    found = (200, {}, {"objects": [{"x_min": 0.1, "y_min": 0.2, "x_max": 0.5, "y_max": 0.6}]})
    with scripted(failure(429, retry_after="0.05"), found) as (url, seen):
        boxes, calls = find(Moondream(url), picture, "red cup")
    assert calls == 2 and boxes == [[pytest.approx((20.0, 20.0, 100.0, 60.0))]]
    path, headers, body = seen[-1]
    assert (
        path == "/v1/detect" and body["object"] == "red cup" and body["image_url"].startswith("data:image/")
    )
    assert headers["x-moondream-auth"] == "moon-test-key-1"
    with scripted((200, {}, {"nothing": 1})) as (url, _), pytest.raises(Quarantined, match="objects"):
        find(Moondream(url), picture, "red cup")


def test_grounding_dino_with_random_weights():
    torch = pytest.importorskip("torch")
    from transformers import (
        BertTokenizerFast,
        GroundingDinoConfig,
        GroundingDinoForObjectDetection,
        SwinConfig,
    )

    from askmask.detectors import grounding_dino

    torch.manual_seed(0)
    backbone = SwinConfig(
        image_size=64, embed_dim=8, depths=[1, 1, 1, 1], num_heads=[1, 1, 2, 2], window_size=4,
        out_features=["stage2", "stage3", "stage4"],
    )  # fmt: skip
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "red", "cup", "."]
    config = GroundingDinoConfig(
        backbone_config=backbone, d_model=32, encoder_layers=1, decoder_layers=2, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=32, decoder_ffn_dim=32, num_queries=9,
        text_config={"model_type": "bert", "vocab_size": len(words), "hidden_size": 32, "num_hidden_layers": 1,
                     "num_attention_heads": 2, "intermediate_size": 32},
    )  # fmt: skip
    tokenizer = BertTokenizerFast(vocab={word: n for n, word in enumerate(words)})
    picture = np.full((80, 120, 3), 128, np.uint8)
    boxes = []
    net = GroundingDinoForObjectDetection(config)
    for threshold, most in ((0.0, 1), (1.1, 1), (0.0, 9)):
        detector = grounding_dino.GroundingDino(
            model=net, tokenizer=tokenizer, threshold=threshold, most=most
        )
        boxes.append(find(detector, picture, "Red cup, on the left")[0][0])
    assert len(boxes[0]) == 1 and len(boxes[0][0]) == 4 and boxes[1] == []
    assert boxes[2][0] == boxes[0][0] and len(boxes[2]) <= 9
    pairs = [(a, b) for n, a in enumerate(boxes[2]) for b in boxes[2][:n]]
    assert all(grounding_dino._overlap(a, b) <= 0.5 for a, b in pairs)


# -- segmenters -----------------------------------------------------------------------------------------------


def tiny_sam2():
    torch = pytest.importorskip("torch")
    from transformers import Sam2Config, Sam2Model
    from transformers.models.sam2.configuration_sam2 import (
        Sam2HieraDetConfig,
        Sam2MaskDecoderConfig,
        Sam2PromptEncoderConfig,
        Sam2VisionConfig,
    )

    torch.manual_seed(0)
    trunk = Sam2HieraDetConfig(
        image_size=[64, 64], hidden_size=8, num_attention_heads=1, blocks_per_stage=[1, 1, 2, 1],
        embed_dim_per_stage=[8, 16, 32, 64], num_attention_heads_per_stage=[1, 1, 2, 4],
        window_size_per_stage=[4, 4, 4, 4], global_attention_blocks=[3],
        window_positional_embedding_background_size=[4, 4],
    )  # fmt: skip
    vision = Sam2VisionConfig(
        backbone_config=trunk, backbone_channel_list=[64, 32, 16, 8], fpn_hidden_size=32,
        backbone_feature_sizes=[[16, 16], [8, 8], [4, 4]],
    )  # fmt: skip
    prompts = Sam2PromptEncoderConfig(hidden_size=32, image_size=64, patch_size=16)
    decoder = Sam2MaskDecoderConfig(hidden_size=32, mlp_dim=32, num_attention_heads=2, iou_head_hidden_dim=16)
    return Sam2Model(
        Sam2Config(vision_config=vision, prompt_encoder_config=prompts, mask_decoder_config=decoder)
    )


def test_sam2_with_random_weights_batches_as_it_would_alone():
    from askmask.segmenters.sam2 import PromptableSam2

    segmenter = PromptableSam2(tiny_sam2(), points_per_side=4, least_score=-9, least_stability=0)
    rgb = [draw_scene(n)[0] for n in range(2)]
    boxes = [[(10, 20, 60, 70), (5, 5, 150, 150)], [(40, 40, 90, 99)]]
    together = segmenter.segment_batch(list(zip(rgb, boxes, strict=True)))
    assert [len(masks) for masks in together] == [2, 1]
    for picture, own, masks in zip(rgb, boxes, together, strict=True):
        alone = segmenter.segment_boxes(picture, own)
        for (a, score), (b, other) in zip(alone, masks, strict=True):
            assert a.size == picture.shape[:2] and a.iou(b) > 0.98 and score == pytest.approx(other, abs=1e-3)
    everything = segmenter.everything(rgb[0])
    assert everything and {mask.size for mask, _ in everything} == {(160, 160)}


def test_classical_segmenter_follows_coloured_things():
    segmenter, scores, best = ClassicalSegmenter(), [], []
    for seed in range(3):
        rgb, ids, facts = draw_scene(seed)
        pool = [mask for mask, _ in segmenter.everything(rgb)]
        for known in facts["objects"]:
            truth = Mask.from_array(ids == known["id"])
            ((mask, score),) = segmenter.segment_boxes(rgb, [truth.box])
            scores.append(mask.iou(truth))
            best.append(max(truth.iou(other) for other in pool))
            assert 0 <= score <= 1
    assert np.mean(scores) > 0.9 and np.mean(best) > 0.9
    whole = segmenter.segment_boxes(rgb, [(0, 0, 160, 160), (0, 0, 1, 1)])
    assert [mask.size for mask, _ in whole] == [(160, 160)] * 2


def test_queue_is_bounded_batched_and_hands_errors_to_the_asker():
    class Counting:
        def __init__(self):
            self.batches = []

        def segment_boxes(self, rgb, boxes):
            if boxes[0][0] < 0:
                raise ValueError("a bad box")
            return [(Mask.empty(rgb.shape[:2]), 0.5) for _ in boxes]

        def everything(self, rgb):
            return []

        def segment_batch(self, jobs):
            self.batches.append(len(jobs))
            return [self.segment_boxes(rgb, boxes) for rgb, boxes in jobs]

    async def use():
        model = Counting()
        async with SegmentationQueue(model, batch=4, waiting=6) as queue:
            picture = np.zeros((9, 9, 3), np.uint8)
            results = await asyncio.gather(*(queue.boxes(picture, [(0, 0, 5, 5)]) for _ in range(12)))
            with pytest.raises(ValueError, match="bad box"):
                await queue.boxes(picture, [(-1, 0, 5, 5)])
            assert await queue.boxes(picture, []) == [] and await queue.everything(picture) == []
        return model, results

    model, results = asyncio.run(use())
    assert len(results) == 12 and max(model.batches) <= 4 and sum(model.batches) >= 8


def test_there_is_one_sam2_and_its_clicks_are_the_librarys():
    torch = pytest.importorskip("torch")
    from askmask.model.sam2 import Sam2Segmenter

    model = tiny_sam2().eval()
    net = Sam2Segmenter(model)
    pixels = net.prepare(draw_scene(1)[0], letterbox=False)[None]
    boxes = torch.tensor([[4.0, 8.0, 24.0, 28.0], [2.0, 2.0, 60.0, 60.0]])
    points, labels = torch.tensor([[[9.0, 9.0], [50.0, 9.0]]]), torch.tensor([[1, 0]])
    with torch.inference_mode():
        features = net.encode(pixels)
        logits, scores = net.decode_geometry(features, boxes=boxes, multimask=False)
        whole = model(pixel_values=pixels, input_boxes=boxes[None], multimask_output=False)
        assert torch.equal(logits, whole.pred_masks[0]) and torch.equal(scores, whole.iou_scores[0])
        logits, scores = net.decode_geometry(features, points=points, labels=labels, multimask=True)
        whole = model(
            pixel_values=pixels, input_points=points[None], input_labels=labels[None], multimask_output=True
        )
        assert logits.shape[:2] == scores.shape == (1, 3) and torch.equal(logits, whole.pred_masks[0])
        again, _ = net.decode_geometry(
            features, points=points, labels=labels, masks=logits[:, :1], multimask=False
        )
        assert not torch.equal(again[0], logits[0, :1])  # an earlier mask is a prompt as well


def test_every_segmenter_opens_by_its_name(tmp_path):
    from askmask.errors import CheckpointError, SettingError
    from askmask.segmenters.segmenter import PromptableSegmenter, open_segmenter

    tiny_sam2().save_pretrained(tmp_path / "sam2")
    opened = [
        open_segmenter("classical"),
        open_segmenter("mini"),
        open_segmenter("sam2", at=str(tmp_path / "sam2")),
    ]
    assert all(isinstance(segmenter, PromptableSegmenter) for segmenter in opened)
    rgb = draw_scene(0)[0]
    assert all(len(segmenter.segment_boxes(rgb, [(10, 20, 60, 70)])) == 1 for segmenter in opened)
    with pytest.raises(SettingError, match="unknown segmenter"):
        open_segmenter("clasical")
    with pytest.raises(CheckpointError, match="--yes"):
        open_segmenter("sam2", at="nobody/nothing-at-all")


def test_a_broken_batch_of_the_queue_is_segmented_one_by_one():
    class Fussy(ClassicalSegmenter):
        def segment_batch(self, jobs):
            raise ValueError("not together")

    async def use():
        async with SegmentationQueue(Fussy()) as queue:
            rgb = draw_scene(0)[0]
            return await asyncio.gather(*(queue.boxes(rgb, [(10, 20, 60, 70)]) for _ in range(3)))

    assert [len(found) for found in asyncio.run(use())] == [1, 1, 1]
