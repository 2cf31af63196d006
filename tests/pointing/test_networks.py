"""Networks that point or draw on this machine: the real code paths with tiny random weights."""

import json
import shutil

import numpy as np
import pytest

pytest.importorskip("openai")
pytest.importorskip("torch")
import askmask
from askmask.backends.pointing import ReplyUnreadable
from askmask.errors import CheckpointError, PromptError, SettingError
from askmask.segmenters.golden_click import ENOUGH, golden_click
from askmask.segmenters.segmenter import Marked, open_segmenter
from askmask.vlm.local import LocalVlm
from askmask.vlm.pictures import SentPicture
from askmask.vlm.request import Request
from tests.conftest import RECORDED
from tests.pointing.test_point import THING, picture

QWEN = RECORDED / "tiny_qwen"
TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.json", "merges.txt",
             "added_tokens.json")  # fmt: skip
# As Qwen's own, less what is not needed here.
TEMPLATE = (
    "{%- for m in messages -%}<|im_start|>{{ m.role }}\n{%- if m.content is string -%}{{ m.content }}{%- else -%}"
    "{%- for p in m.content -%}{%- if p.type == 'image' -%}<|vision_start|><|image_pad|><|vision_end|>{%- else -%}"
    "{{ p.text }}{%- endif -%}{%- endfor -%}{%- endif -%}<|im_end|>\n{%- endfor -%}<|im_start|>assistant\n"
)


@pytest.fixture(scope="module")
def qwen25(tmp_path_factory):
    folder = tmp_path_factory.mktemp("Qwen2.5-VL-tiny")
    shutil.copytree(QWEN, folder, dirs_exist_ok=True)
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    return folder


@pytest.fixture(scope="module")
def qwen3(qwen25, tmp_path_factory):
    import torch
    from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

    folder = tmp_path_factory.mktemp("Qwen3-VL-tiny")
    shutil.copytree(qwen25, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.safetensors"))
    known = json.loads((QWEN / "config.json").read_text())
    words = {
        "vocab_size": 704, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 3, "head_dim": 16,
        "num_attention_heads": 4, "num_key_value_heads": 2,
        "rope_parameters": {"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 5e6},
    }  # fmt: skip
    sight = {
        "depth": 3, "hidden_size": 32, "intermediate_size": 64, "num_heads": 2, "out_hidden_size": 64,
        "num_position_embeddings": 64, "deepstack_visual_indexes": [0, 1, 2],
    }  # fmt: skip
    ids = {
        name: known[name]
        for name in known
        if (name.endswith("_token_id") and "vi" in name) or "image" in name
    }
    torch.manual_seed(0)
    Qwen3VLForConditionalGeneration(
        Qwen3VLConfig(
            text_config=words, vision_config=sight, **{k: v for k, v in ids.items() if k.endswith("id")}
        )
    ).save_pretrained(folder)
    settings = json.loads((folder / "preprocessor_config.json").read_text())
    (folder / "preprocessor_config.json").write_text(json.dumps(settings | {"patch_size": 16}))
    return folder


def noise(seed, size=(128, 160)):
    rgb = np.random.default_rng(seed).integers(0, 255, (*size, 3), dtype=np.uint8)
    return SentPicture(rgb, f"picture {seed}")


@pytest.mark.parametrize("family", ["qwen25", "qwen3"])
def test_a_local_model_is_read_late_and_sees_each_picture_once(family, request):
    import asyncio

    folder = request.getfixturevalue(family)
    vlm, plain = LocalVlm(str(folder)), LocalVlm(str(folder))
    assert "_net" not in vlm.__dict__  # nothing is read before the first question
    seen = []

    def ask(one, text, *pictures):
        wanted = Request(
            stage="s", template_hash="", instructions="Say where.", pictures=pictures, inputs={"asked": text},
            max_tokens=6,
        )  # fmt: skip
        return asyncio.run(one.complete(wanted)).text

    first = ask(vlm, "cup", noise(1))
    tower = vlm._net.model.visual.forward
    see = tower._see
    tower._see = lambda *given, **more: seen.append(1) or see(*given, **more)
    assert ask(vlm, "cup", noise(1)) == first and not seen
    ask(vlm, "jug", noise(1))
    assert not seen
    both = ask(vlm, "jug", noise(1), noise(2))
    assert len(seen) == 1 and ask(vlm, "jug", noise(1), noise(2)) == both and len(seen) == 1
    # Kept features give what a network without them gives.
    plain.__dict__["_net"] = plain._kind.from_pretrained(folder).eval()
    assert ask(plain, "cup", noise(1)) == first and ask(plain, "jug", noise(1), noise(2)) == both


def test_a_local_model_points_through_the_whole_of_it(qwen3, monkeypatch):
    for place in ("asking", "pointer"):
        monkeypatch.setattr(f"askmask.pointing.{place}.MOST_TOKENS", 12)
    model = askmask.load("point", pointer="local", vlm_model=str(qwen3), drawer="classical", device="cpu")
    with pytest.raises(ReplyUnreadable) as caught:  # random weights say nothing that can be read
        model.open(picture()).ask("the ball")
    assert caught.value.raw and model.backend.pointer.convention.name == "qwen3-vl"


def test_what_is_no_local_model_is_said_before_it_is_read(tmp_path, qwen3):
    with pytest.raises(SettingError, match="no local vision-language model"):
        LocalVlm(str(tmp_path))
    for name in TOKENIZER:
        shutil.copy(QWEN / name, tmp_path)
    shutil.copy(qwen3 / "preprocessor_config.json", tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "gpt2"}))
    with pytest.raises(SettingError, match=r"must be a Qwen2\.5-VL or a Qwen3-VL"):
        LocalVlm(str(tmp_path))


# -- SAM 3 ----------------------------------------------------------------------------------------------------

EYES = {
    "model_type": "sam3_vision_model",
    "fpn_hidden_size": 32,
    "backbone_feature_sizes": [[32, 32], [16, 16], [8, 8]],
    "backbone_config": {
        "model_type": "sam3_vit_model", "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
        "num_attention_heads": 2, "image_size": 112, "window_size": 4, "global_attn_indexes": [1],
        "pretrain_image_size": 56,
    },
}  # fmt: skip
SMALL = {"hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 2}


@pytest.fixture(scope="module")
def sam3(tmp_path_factory):
    transformers = pytest.importorskip("transformers")
    if not hasattr(transformers, "Sam3Model"):
        pytest.skip("this transformers has no SAM 3")
    import torch

    folder = tmp_path_factory.mktemp("sam3")
    words = SMALL | {
        "vocab_size": 704,
        "num_hidden_layers": 2,
        "projection_dim": 32,
        "max_position_embeddings": 32,
    }
    words |= {"bos_token_id": 487, "eos_token_id": 489}
    config = transformers.Sam3Config(
        vision_config=EYES | {"scale_factors": [4.0, 2.0, 1.0, 0.5]},
        text_config=words,
        geometry_encoder_config=SMALL | {"num_layers": 1},
        detr_encoder_config=SMALL | {"num_layers": 1},
        detr_decoder_config=SMALL | {"num_layers": 2, "num_queries": 5},
        mask_decoder_config=SMALL,
    )
    torch.manual_seed(1)
    transformers.Sam3Model(config).save_pretrained(folder)
    for name in TOKENIZER:
        shutil.copy(QWEN / name, folder)
    return folder


def test_sam3_points_and_draws_in_one(sam3):
    model = askmask.load("point", pointer="sam3", vlm_model=str(sam3), drawer="classical", device="cpu")
    session = model.open(picture())
    assert not session.ask("a cup").found  # random weights are sure of nothing
    model.backend.pointer._threshold = 0.0
    answer = session.ask("a cup")
    assert len(answer.masks) == 5 and all(mask.size == (480, 640) for mask in answer.masks)
    assert list(answer.scores) == sorted(answer.scores, reverse=True) and answer.usage["calls"] == 0
    assert session.model.view_of(session).encoded is None  # the drawer was not needed
    mended = session.ask(boxes=[THING])
    assert mended.found and session.model.view_of(session).encoded is not None
    assert session.model.view_of(session).nbytes > 500_000  # features are counted


@pytest.mark.parametrize("levels", [3, 4])
def test_sam3_draws_by_box_and_points_as_sam2_does(levels, tmp_path):
    import torch
    from transformers import Sam3TrackerConfig, Sam3TrackerModel

    config = Sam3TrackerConfig(
        vision_config=EYES | {"scale_factors": [4.0, 2.0, 1.0, 0.5][:levels]},
        prompt_encoder_config={"hidden_size": 32, "image_size": 112},
        mask_decoder_config={
            "hidden_size": 32, "mlp_dim": 48, "num_attention_heads": 2, "iou_head_hidden_dim": 32,
        },
    )  # fmt: skip
    torch.manual_seed(0)
    net = Sam3TrackerModel(config).eval()
    net.save_pretrained(tmp_path)
    drawer = open_segmenter("sam3", at=str(tmp_path))
    rgb = np.array(picture())
    marked = [Marked(box=THING), Marked(box=THING, points=((400, 200, True),))]
    drawn = drawer.draw(drawer.encode(rgb), marked)
    assert [mask.size for mask, _ in drawn] == [(480, 640)] * 2 and drawn[0] != drawn[1]
    pixels = drawer.net.prepare(rgb, letterbox=False)[None]
    assert float(pixels.min()) >= -1.001 and float(pixels.max()) <= 1.001  # SAM 3's own mean and spread
    with torch.no_grad():
        own = net.get_image_embeddings(pixels)[:3]
    assert all(torch.equal(a, b) for a, b in zip(own, drawer.encode(rgb)[0].maps, strict=True))


def test_weights_of_something_else_are_refused(tmp_path, qwen3):
    with pytest.raises(CheckpointError, match=r"SAM 2, SAM 2\.1, EdgeTAM or SAM 3 is wanted"):
        open_segmenter("sam2.1-tiny", at=str(qwen3))
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        askmask.load("point", pointer="sam3", vlm_model=str(tmp_path), drawer="classical", device="cpu")


# -- the golden click -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["classical", "mini"])
def test_drawers_that_need_no_download_pass_the_golden_click(name):
    assert golden_click(open_segmenter(name)) > ENOUGH


def test_weights_at_random_do_not(tmp_path):
    from tests.engine.test_models import tiny_sam2

    tiny_sam2().save_pretrained(tmp_path)
    assert golden_click(open_segmenter("sam2.1-tiny", at=str(tmp_path))) < ENOUGH


def test_mini_says_what_it_cannot_draw_by():
    drawer = open_segmenter("mini")
    encoded = drawer.encode(np.array(picture()))
    with pytest.raises(PromptError, match="no point outside"):
        drawer.draw(encoded, [Marked(box=THING, points=((310, 110, False),))])
