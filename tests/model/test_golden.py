"""The published code's numbers, through the public path: convert -> load -> open -> ask."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import askmask
from askmask.imaging.files import read_picture
from tests.conftest import RECORDED

CLOSE = {"atol": 1e-4, "rtol": 1e-4}
CASES = [
    (path, case)
    for path in ("eval", "demo")
    for case in ("groceries_a", "groceries_b", "truck_portrait", "cars")
]


@pytest.fixture(scope="module")
def models(converted):
    return {
        path: askmask.load(converted, protocol=f"published-{path}", device="cpu") for path in ("eval", "demo")
    }


@pytest.fixture(scope="module")
def facts(golden):
    facts = json.loads((golden / "facts.json").read_text())
    return {(path, fact["case"]): fact for path in ("eval", "demo") for fact in facts[f"infer_{path}"]}


@pytest.mark.parametrize(("path", "case"), CASES)
def test_published_masks_from_photographs(golden, models, facts, path, case):
    fact = facts[path, case]
    record = load_file(golden / "infer" / f"{case}__{path}.safetensors")
    features = load_file(golden / fact["features"])
    session = models[path].open(golden / "images" / fact["image"])
    maps = models[path].view_of(session).look.features.maps
    close = dict(CLOSE)
    torch.testing.assert_close(maps[2], features["image_embeddings"], **close)
    # recorded in half precision
    torch.testing.assert_close(maps[0], features["high_res_s0_f16"].float(), atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(maps[1], features["high_res_s1_f16"].float(), atol=1e-3, rtol=1e-3)

    answer = session.ask(fact["prompt"], keep_logits=True)
    assert answer.mask_token == fact["decoder_mask_token"]
    assert answer.score == pytest.approx(fact["scores"][fact["best_index_among_3"]], abs=1e-4)
    logits = torch.from_numpy(answer.logits.copy())
    if "logit_orig_size" in record:
        torch.testing.assert_close(logits, record["logit_orig_size"], **close)
    else:
        torch.testing.assert_close(logits[::4, ::4], record["logit_orig_size_stride4"], **close)
    wanted = np.asarray(Image.open(golden / "infer" / f"{case}__{path}_mask.png").convert("L")) > 0
    assert (answer.mask.to_array() != wanted).mean() < 1e-3


@pytest.mark.parametrize(("path", "case"), CASES)
def test_every_step_between(golden, models, facts, path, case):
    fact = facts[path, case]
    record = load_file(golden / "infer" / f"{case}__{path}.safetensors")
    model = models[path]
    picture = read_picture(golden / "images" / fact["image"])
    protocol, net = model.backend.protocol, model.backend.net
    pixels = net.segmenter.prepare(protocol.rgb(picture), letterbox=protocol.letterbox)
    features = load_file(golden / fact["features"])
    torch.testing.assert_close(pixels[None, :, ::16, ::16], features["encoder_input_stride16"], **CLOSE)
    patches, grid = net.prompt_encoder.words.picture(picture.rgb)
    inputs = load_file(golden / "infer" / f"{fact['image'].removesuffix('.png')}__qwen_inputs.safetensors")
    if "pixel_values" in inputs:
        assert torch.equal(patches, inputs["pixel_values"])
    else:  # of the large photograph some rows were kept
        assert torch.equal(patches[inputs["pixel_values_row_index"].long()], inputs["pixel_values_rows"])
    assert grid.tolist() == fact["image_grid_thw"]
    with torch.no_grad():
        look = net.look(picture.rgb, pixels)
        states = net.prompt_encoder.encode(look.prefix, net.prompt_encoder.words.tokens([fact["prompt"]]))
        prompts = net.adapter(states)
        out = net.segmenter.decode(look.features, prompts, multimask=True)
        single = net.segmenter.decode(look.features, prompts, multimask=False)
    # ours keeps the words alone; the published code all tokens
    words, last = record["hidden"][record["text_mask"].bool()], record["hidden"][0, record["eos_pos"]]
    torch.testing.assert_close(states.states[states.sparse], words, **CLOSE)
    torch.testing.assert_close(states.states[0, states.dense_at], last, **CLOSE)
    torch.testing.assert_close(prompts.sparse, record["sparse"], **CLOSE)
    torch.testing.assert_close(prompts.dense, record["dense_vec"], **CLOSE)
    torch.testing.assert_close(out.logits, record["masks_all4_low"][:, 1:], **CLOSE)
    torch.testing.assert_close(out.scores, record["scores"], **CLOSE)
    torch.testing.assert_close(out.presence_logits[:, None], record["object_score_logits"], **CLOSE)
    # natively the answer is token 0, the one that training supervises, whatever its stability
    torch.testing.assert_close(single.logits, record["masks_all4_low"][:, :1], **CLOSE)
    torch.testing.assert_close(single.scores, record["iou_all4"][:, :1], **CLOSE)


ADAPTER_CASES = json.loads((RECORDED / "adapter" / "index.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def language(recorded_language):
    return askmask.load(recorded_language, protocol="published-eval", device="cpu").backend.net


ADAPTER = (
    *(
        "plain",
        "empty_prompt",
        "whitespace",
        "typed_specials",
        "long_prompt",
        "unicode",
        "long_emoji",
        "fmt_gray",
    ),
    *("fmt_rgba", "fmt_palette", "fmt_tiny", "fmt_exif6", "batch3", "text_only"),
)


@pytest.mark.parametrize("case", ADAPTER)
def test_the_language_side_of_odd_prompts_and_pictures(language, case):
    fact = next(fact for fact in ADAPTER_CASES if fact["case"] == case)
    record = load_file(RECORDED / "adapter" / f"{case}.safetensors")
    net = language
    words = net.prompt_encoder.words
    if fact["images"]:
        pictures = [read_picture(RECORDED / "images" / name).rgb for name in fact["images"]]
        tokens = words.pairs(pictures, fact["prompts"])
    else:
        tokens = words.padded([words.bare(prompt) for prompt in fact["prompts"]])
    with torch.no_grad():
        states = net.prompt_encoder.encode_pairs(None, tokens)
        prompts = net.adapter(states)
    real = record["attention_mask"].bool()
    torch.testing.assert_close(states.states[real], record["hidden"][real], **CLOSE)
    assert torch.equal(states.sparse, record["text_mask"].bool())
    assert states.dense_at.tolist() == fact["eos_pos"]
    assert prompts.sparse_mask.sum(1).tolist() == fact["sparse_counts"]
    torch.testing.assert_close(
        prompts.sparse[prompts.sparse_mask], record["sparse"][prompts.sparse_mask], **CLOSE
    )
    torch.testing.assert_close(prompts.dense, record["dense_vec"], **CLOSE)


def test_all_recorded_cases_are_tested():
    assert {fact["case"] for fact in ADAPTER_CASES} == set(ADAPTER)


def test_all_recorded_photographs_are_tested(facts):
    assert set(facts) == set(CASES)


def test_exif_the_mask_of_stored_pixels_comes_back_upright(golden, models):
    """The published code segments the pixels as stored; the answer must still lie on the upright picture."""
    path = golden / "images" / "fmt_exif6_96x64.jpg"
    picture = read_picture(path)
    assert picture.size == (96, 64)
    turned = models["eval"].open(path).ask("the car", keep_logits=True)
    stored = models["eval"].open(picture.as_stored())
    assert turned.mask.size == (96, 64)
    # Same visual side as the stored pixels without EXIF.
    upright = picture.upright(picture.as_stored())
    assert (upright == picture.rgb).all()
    model = models["eval"]
    maps = [model.view_of(session).look.features.maps[2] for session in (model.open(path), stored)]
    torch.testing.assert_close(*maps)
