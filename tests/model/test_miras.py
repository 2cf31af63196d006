"""MIRAS's network, tiny and untrained: its eyes, its words, and that it talks as every network here does."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import askmask
from askmask.backends.neural import WORDS_ALONE
from askmask.errors import CheckpointError
from askmask.imaging.files import read_picture
from askmask.model.build import build_net
from askmask.model.checkpoint import check_files, load_checkpoint
from askmask.model.config import NetConfig
from askmask.model.miras.front import Framing, PatchFusion
from askmask.model.miras.new import new_miras
from askmask.model.seams import PastRound
from askmask.model.talk import saying
from askmask.model.talk.adapter import Asked
from askmask.model.talk.aligned import AlignedAdapter
from askmask.model.talk.config import CHOICES, TalkConfig
from askmask.model.talk.net import TalkNet
from askmask.model.talk.words import OBJ, REF, SEG, Writer
from askmask.training.estimate import MIRAS, cache_bytes, estimate_miras
from tests.miras_bases import SIDE, write_bases
from tests.model.test_talk import CLOSE, PICTURE, ROUNDS, masks, remembered, whole  # noqa: F401


@pytest.fixture(autouse=True)
def short_replies(monkeypatch):
    """A network that knows nothing goes on until it is stopped."""
    monkeypatch.setattr(saying, "LONGEST_REPLY", 24)


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    return write_bases(tmp_path_factory.mktemp("bases"), image_size=256)


@pytest.fixture(scope="module")
def folder(bases, tmp_path_factory):
    return new_miras(**bases, out=tmp_path_factory.mktemp("miras") / "net", side=SIDE)


@pytest.fixture(scope="module")
def model(folder):
    """The network with a fusion that adds something."""
    model = askmask.load(folder, device="cpu")
    torch.manual_seed(0)
    torch.nn.init.normal_(model.backend.net.prompt_encoder.front.fusion.value[1].weight, std=0.5)
    return model


@pytest.fixture(scope="module")
def net(model):
    return model.backend.net


@pytest.fixture(scope="module")
def words(net):
    return net.prompt_encoder.words


@pytest.fixture(scope="module")
def look(model):
    return model.backend.look(read_picture(PICTURE)).look


# -- eyes --------------------------------------------------------------------------------------------------


@torch.no_grad()
def test_each_patch_takes_what_it_finds_in_the_cells_under_it():
    torch.manual_seed(0)
    fusion, patches, cells = PatchFusion(6, 5), torch.randn(2, 3, 6), torch.randn(2, 3, 4, 5)
    fused = fusion(patches, cells)
    for b in range(2):
        for p in range(3):
            query = fusion.query(patches[b, p])
            weight = torch.softmax(fusion.key(cells[b, p]) @ query / 6**0.5, 0)
            torch.testing.assert_close(fused[b, p], patches[b, p] + weight @ fusion.value(cells[b, p]))


@torch.no_grad()
def test_the_cells_of_a_patch_are_all_stages_at_its_place(net):
    front, pixels = net.prompt_encoder.front, torch.randn(1, 3, SIDE, SIDE)
    cells = front.cells(pixels)
    stages = front.convnext(pixels, output_hidden_states=True).hidden_states[1:]
    assert front.grid == 4 and cells.shape == (1, 16, 4, sum(stage.shape[1] for stage in stages))
    fine = [torch.nn.functional.interpolate(stage, (8, 8), mode="bilinear") for stage in stages]
    for row, column in ((0, 0), (1, 3), (3, 2)):
        places = [(2 * row + i, 2 * column + j) for i in (0, 1) for j in (0, 1)]
        under = torch.stack([torch.cat([one[0, :, y, x] for one in fine]) for y, x in places])
        torch.testing.assert_close(cells[0, 4 * row + column], under)
    small = torch.nn.functional.interpolate(pixels, (56, 56), mode="bilinear")
    states = front.clip(small, output_hidden_states=True).hidden_states
    torch.testing.assert_close(front.patches(pixels), states[-2][:, 1:])
    assert not torch.allclose(states[-2], states[-1])


def test_the_whole_picture_is_seen_and_a_crop_loses_its_borders():
    rgb = np.zeros((40, 100, 3), np.uint8)
    marked = rgb.copy()
    marked[:, :20] = 255
    seen = {
        how: (Framing(64, how).pixels(rgb) - Framing(64, how).pixels(marked)).abs().max()
        for how in ("stretch", "crop")
    }
    assert seen["stretch"] > 1 and seen["crop"] == 0
    with pytest.raises(CheckpointError, match="framing is one of"):
        Framing(64, "pad")


# -- words -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "reply", "spans", "meant", "nothing"), ROUNDS)
def test_a_reply_reads_as_it_was_written(words, text, reply, spans, meant, nothing):
    ids, _ = words.answer(reply, spans, nothing=nothing)
    said = words.read(ids)
    assert (said.text, said.nothing, said.trouble) == (reply, nothing, "")
    assert [phrase.span for phrase in said.marks] == [span or (len(reply), len(reply)) for span in spans]
    assert [ids[phrase.last] for phrase in said.marks] == [words.sign(SEG)] * len(spans)
    assert words.sign(REF) not in ids and not words.sayable[words.sign(REF)]
    writer = Writer(words)
    assert "".join(writer.add(number) for number in ids) == reply


def test_pieces_are_written_as_one_text_is(words):
    """A tokenizer of this kind puts a space before all that it reads, and takes one from all that it writes."""
    tokenizer = words.tokenizer
    ids, _ = words.answer("It is the red one.", [(6, 13)])
    own = [number for number in ids if number < words.first]
    assert own == [*tokenizer("It is the red one.", add_special_tokens=False).input_ids, words.end_id]
    for text in ("the red", " the red", "  It", "a\n\nb", "\n", "é [SEG] x</s>"):
        assert words.text(words._ids(text, split_special_tokens=True)) == text
    assert words.first not in words.bare("[MASK][SEG]</s>") and words.end_id not in words.bare("</s>")
    head = words.head(words.picture(np.zeros((9, 9, 3), np.uint8))[1])
    assert head[0] == tokenizer.bos_token_id and head.count(words.image_id) == 16


# -- as every network that talks ------------------------------------------------------------------------------


@torch.no_grad()
def test_cached_rounds_equal_one_reading_of_everything_and_generation_equals_training(
    net, words, look, masks  # noqa: F811
):  # fmt: skip
    memory = remembered(net, look, masks)
    ids, _ = words.answer("It is the red one here.", [(6, 17), None])
    stream = memory.stream.fork()
    stream.asked("and the other")
    out, _ = net._read_again(look, memory, [stream], [ids], [()], False)
    talks = whole(net, read_picture(PICTURE), last=("and the other", (), ids))
    _, shown = net.converse(look.features, talks, masks[:5])
    assert len(talks.marks) == 7 and out.references is None and shown.again is None
    torch.testing.assert_close(out.logits, shown.out.logits[-2:], **CLOSE)
    assert torch.equal(out.logits > 0, shown.out.logits[-2:] > 0)
    made = [*net.stream(look, words.tokens(["and the other"]), [memory], [()])][-1]
    again = whole(net, read_picture(PICTURE), last=("and the other", (), made.replies[0].ids))
    states, _ = net.converse(look.features, again, masks[:5])
    start = again.ids.shape[1] - len(made.replies[0].ids)
    logits = net.next_logits(states[0, start - 1 : -1]).masked_fill(~words.sayable, -torch.inf)
    assert logits.argmax(1).tolist() == list(made.replies[0].ids)


@torch.no_grad()
def test_what_is_asked_together_is_answered_as_if_alone(net, words, look, masks):  # noqa: F811
    memories = [remembered(net, look, masks), None]
    texts = ["what is there, then?", "the ball"]
    together = net.ask(look, words.tokens(texts), memories)
    for row, text in enumerate(texts):
        alone = net.ask(look, words.tokens([text]), [memories[row]])
        assert alone.replies[0] == together.replies[row]
        torch.testing.assert_close(alone.logits, together.logits[together.row == row], **CLOSE)


@torch.no_grad()
def test_a_mask_hangs_on_the_words_before_it_and_on_where_its_sign_stands(net, words, look):
    def logits(text, span, asked="which one?"):
        stream = net._nothing(look).stream.fork()
        stream.asked(asked)
        ids, _ = words.answer(text, [span])
        return net._read_again(look, net._nothing(look), [stream], [ids], [()], False)[0].logits

    one = logits("the red cup", (0, 11))
    for other in (
        logits("the red cup", (4, 11)),
        logits("the red pot", (0, 11)),
        logits("the red cup", None),
        logits("the red cup", (0, 11), "not that"),
    ):
        assert (one - other).abs().max() > 1e-6


@torch.no_grad()
def test_a_state_read_among_the_picture_hears_no_word(net, words, look, masks):  # noqa: F811
    """The published mistake, as a switch: what is asked, and what is replied, changes no mask any more."""
    adapter = AlignedAdapter(replace(TalkConfig.miras(), read="picture"), 64, 64)
    deaf = TalkNet(net.segmenter, net.prompt_encoder, adapter).eval()
    found = []
    for asked, reply in (("the ball", "here"), ("not that", "the red cup")):
        ids, _ = words.answer(reply, [None])
        stream = remembered(deaf, look, masks).stream.fork()
        stream.asked(asked)
        memory = remembered(deaf, look, masks)
        found.append(deaf._read_again(look, memory, [stream], [ids], [()], False)[0].logits)
        talks = whole(deaf, read_picture(PICTURE), last=(asked, (), ids))
        again = deaf.converse(look.features, talks, masks[:5])[1].out.logits
        torch.testing.assert_close(again[-1:], found[-1], **CLOSE)
    torch.testing.assert_close(found[0], found[1])


def test_words_alone_are_remembered_and_a_saved_conversation_goes_on(model, picture_path):
    session = model.open(picture_path)
    array = np.zeros(session.picture.size, bool)
    array[10:40, 20:60] = True
    session.add(array)
    session.ask("the red one")
    other = askmask.Session.from_dict(json.loads(json.dumps(session.to_dict())), model, picture_path)
    answers = [one.ask("its lid", about="m1") for one in (session, other)]
    assert answers[0].round.to_dict() == answers[1].round.to_dict()
    assert WORDS_ALONE in answers[0].notices


# -- alignment -------------------------------------------------------------------------------------------------


def asked(channels=32, many=3):
    torch.manual_seed(1)
    words = torch.randn(2, many, channels)
    real = torch.tensor([[True] * many, [True] + [False] * (many - 1)])  # the second has no words
    seg = torch.stack([words[0, -1], words[1, 0]])
    return Asked(seg, seg, words, real, torch.tensor([0, 0]))


@pytest.mark.parametrize("align", CHOICES["align"])
def test_one_token_a_mask_and_the_dense_prompt_of_no_mask(align):
    config = TalkConfig(mask_tokens=0, box="none", inject="none", adapter="miras", align=align)
    adapter, none = AlignedAdapter(config, 32, 16), torch.randn(1, 16)
    given = asked()
    prompts = adapter.targets(given, none)
    assert prompts.sparse_mask.sum(1).tolist() == [3 if align == "tokens" else 1, 1]
    assert torch.equal(prompts.dense, none.expand(2, -1))
    plain = adapter.project(given.seg)
    torch.testing.assert_close(prompts.sparse[1, 0], plain[1])  # nothing to be aligned with
    last = prompts.sparse[0][prompts.sparse_mask[0]][-1]
    assert torch.allclose(last, plain[0]) == (align in ("seg", "tokens"))
    prompts.sparse.square().sum().backward()
    reached = {name for name, p in adapter.named_parameters() if p.grad is not None and p.grad.any()}
    assert ("align.in_proj_weight" in reached and "aligned.weight" in reached) == (align == "attention")


def test_padding_changes_no_prompt():
    adapter = AlignedAdapter(TalkConfig.miras(), 32, 16)
    given, none = asked(), torch.zeros(1, 16)
    padded = Asked(
        given.ref,
        given.seg,
        torch.cat([given.words, torch.randn(2, 2, 32)], 1),
        torch.cat([given.real, torch.zeros(2, 2, dtype=torch.bool)], 1),
        given.row,
    )
    torch.testing.assert_close(adapter.targets(given, none).sparse, adapter.targets(padded, none).sparse)


def test_masks_cannot_be_remembered_by_it():
    with pytest.raises(CheckpointError, match="remembers no masks"):
        TalkConfig(adapter="miras")


# -- from base weights ----------------------------------------------------------------------------------------


@torch.no_grad()
def test_the_bases_are_what_was_given_and_fresh_parts_change_nothing(folder, bases):
    from transformers import LlamaForCausalLM

    net, config = load_checkpoint(folder)
    encoder = net.prompt_encoder
    base = LlamaForCausalLM.from_pretrained(bases["language"]).eval()
    vectors = torch.randn(1, 5, 64)
    ours = encoder.base(inputs_embeds=vectors).last_hidden_state
    assert torch.equal(ours, base.model(inputs_embeds=vectors).last_hidden_state)
    assert torch.equal(encoder.head.weight, base.lm_head.weight)
    clip = load_file(bases["clip"] / "model.safetensors")
    ours = encoder.front.clip.state_dict()
    given = {key.removeprefix("vision_model."): value for key, value in clip.items()}
    assert (
        all(torch.equal(value, given[key]) for key, value in ours.items() if key in given) and len(ours) > 9
    )
    pixels = torch.randn(1, 3, SIDE, SIDE)
    patches = encoder.front.patches(pixels)
    assert torch.equal(encoder.front.fusion(patches, encoder.front.cells(pixels)), patches)
    assert config.lora["targets"] == ["q_proj", "v_proj"] and config.lora["r"] == 8
    assert config.conversation == TalkConfig.miras().to_dict()
    card = check_files(folder, hashes=True)["provenance"]
    assert card["made_by"] == "askmask new --miras" and len(card["sources"]) == 4


def test_our_memory_of_masks_goes_with_the_front_too(bases, look, masks, tmp_path):  # noqa: F811
    """The front and the way from states to prompts are chosen apart."""
    folder = new_miras(**bases, out=tmp_path / "net", side=SIDE, talk=TalkConfig())
    model = askmask.load(folder, device="cpu")
    net = model.backend.net
    look = model.backend.look(read_picture(PICTURE)).look
    memory = remembered(net, look, masks, 2)
    ids, _ = net.prompt_encoder.words.answer("the lid", [(0, 7)])
    assert ids[-3] == net.prompt_encoder.words.sign(REF)
    stream = memory.stream.fork()
    stream.asked("its lid", (0,))
    out, _ = net._read_again(look, memory, [stream], [ids], [(0,)], False)
    assert memory.tokens.shape == (3, 2, 64) and out.references.shape == (1, 3)


def test_a_llava_folder_brings_its_connector(bases, folder, tmp_path):
    """Its files hold the language model under names that changed over time, and a tower that is not needed."""
    llava, state = tmp_path / "llava", load_file(bases["language"] / "model.safetensors")
    llava.mkdir()
    for path in bases["language"].iterdir():
        if path.suffix != ".safetensors":
            (llava / path.name).write_bytes(path.read_bytes())
    config = json.loads((llava / "config.json").read_text())
    (llava / "config.json").write_text(json.dumps({"model_type": "llava", "text_config": config}))
    torch.manual_seed(0)
    connector = {"linear_1.weight": torch.randn(64, 32), "linear_1.bias": torch.randn(64)}
    connector |= {"linear_2.weight": torch.randn(64, 64), "linear_2.bias": torch.randn(64)}
    weights = {f"language_model.{key}": value for key, value in state.items()}
    weights |= {f"multi_modal_projector.{key}": value for key, value in connector.items()}
    save_file(weights | {"vision_tower.x": torch.zeros(1)}, llava / "model.safetensors")
    made = new_miras(**bases | {"language": llava}, out=tmp_path / "net", side=SIDE)
    ours, plain = (load_file(one / "language.safetensors") for one in (made, folder))
    for number, name in ((0, "linear_1"), (2, "linear_2")):
        for which in ("weight", "bias"):
            key = f"prompt_encoder.front.connector.{number}.{which}"
            assert torch.equal(ours.pop(key), connector[f"{name}.{which}"])
            plain.pop(key)
    assert ours.keys() == plain.keys() and all(torch.equal(ours[key], plain[key]) for key in ours)
    assert check_files(made)["provenance"]["connector"] == "LLaVA's"


def test_what_is_no_base_is_named(bases, tmp_path):
    for part, wrong, said in (
        ("clip", "convnext", "a CLIP model is needed"),
        ("convnext", "clip", "a ConvNeXt model is needed"),
        ("language", "segmenter", "a Llama, Vicuna or LLaVA"),
        ("segmenter", "clip", "a SAM2 model is needed"),
    ):
        with pytest.raises(CheckpointError, match=said):
            new_miras(**bases | {part: bases[wrong]}, out=tmp_path / part, side=SIDE)
        assert not (tmp_path / part / "card.json").exists()
    for side in (100, 0, -32, 10**7):
        with pytest.raises(CheckpointError, match="multiple of 32"):
            new_miras(**bases, out=tmp_path / "odd", side=side)


@pytest.mark.parametrize(
    ("name", "text"),
    [("tokenizer.json", "{}"), ("tokenizer_config.json", "["), ("config.json", '"num_attention_heads": 3')],
)
def test_a_damaged_tokenizer_is_named(bases, tmp_path, name, text):
    """It was an error of transformers', of whatever kind: so were settings that it reads beside the tokenizer."""
    folder = shutil.copytree(bases["language"], tmp_path / "language")
    whole = (folder / name).read_text()
    (folder / name).write_text(
        whole.replace('"num_attention_heads": 4', text) if name == "config.json" else text
    )
    with pytest.raises(CheckpointError, match="no tokenizer that can be read"):
        new_miras(**bases | {"language": folder}, out=tmp_path / "out", side=SIDE)


# -- real sizes ------------------------------------------------------------------------------------------------


def test_the_papers_size_is_built_without_weights(folder):
    """Against the numbers of parameters that the makers of the parts give."""
    small = NetConfig.load(folder)
    config = NetConfig(
        name="real",
        backend="sam2-miras",
        segmenter=small.segmenter,
        prompt_encoder=MIRAS,
        lora={"r": 8, "alpha": 16, "dropout": 0.05, "targets": ["q_proj", "v_proj"]},
        conversation=TalkConfig.miras().to_dict(),
    )
    encoder = build_net(config, folder).prompt_encoder

    def count(module):
        return sum(value.numel() for value in module.parameters())

    front, lora = encoder.front, 32 * 2 * 8 * (4096 + 4096)
    assert count(encoder.base) + count(encoder.head) - lora == 6_738_415_616  # Vicuna-7B
    assert count(front.clip) == 303_507_456  # ViT-L/14-336
    assert count(front.convnext) == 197_767_336 - (1536 + 1) * 1000  # ConvNeXt-L without its classes
    assert front.grid**2 == 576 and encoder.words.framing.side == 768
    assert front.fusion.key[1].in_features == 2880 and front.connector[0].out_features == 4096
    assert encoder.words.head(torch.tensor([[1, 24, 24]])).count(encoder.words.image_id) == 576


def test_the_memory_of_training_it_is_known():
    """Counted by hand: D = 4096, V = 1024, F = 2880, C = 256."""
    fusion = 2 * 1024 + 1024 * 1025 + 2 * (2 * 2880 + 1024 * 2881)
    connector = 4096 * 1025 + 4096 * 4097
    adapter = 10 * 4096 + 4096 * 4097 + 256 * 4097 + 4 * 256 * 257 + 256 * 257
    decoder = 4_216_000  # of SAM2
    paper, coded = estimate_miras(), estimate_miras(as_coded=True)
    assert paper.trained == pytest.approx(fusion + connector + adapter + decoder, rel=1e-3)
    lora_and_tables = 32 * 2 * 8 * 8192 + 2 * 32_000 * 4096
    assert coded.trained - paper.trained == lora_and_tables - fusion - connector
    assert cache_bytes("miras") == 2 * 2 * 32 * 4096


def test_a_past_round_without_words_is_taken(net, look, masks):  # noqa: F811
    memory = net.remember(look, None, PastRound("", "", masks[:1], (None,)))
    assert memory.masks.shape[0] == 1 and memory.tokens.shape[1] == 0
    assert net.prompt_encoder.words.sign(OBJ) < net.prompt_encoder.words.size
