"""Checkpoints are strict both ways, and say which key, file or token is wrong."""

import errno
import json
import os
import shutil
import time

import pytest
import torch
from safetensors.torch import load_file, save_file

import askmask
from askmask.errors import AskMaskError, CheckpointError
from askmask.model.checkpoint import check_files, save_checkpoint
from askmask.model.config import NetConfig
from askmask.model.published import convert_published


@pytest.fixture
def folder(tiny_folder, tmp_path):
    return shutil.copytree(tiny_folder, tmp_path / "net")


def edit(path, change, card=True):
    """Change a safetensors file, and make the card agree if asked."""
    state = load_file(path)
    change(state)
    save_file(state, path)
    if card:
        data = json.loads((path.parent / "card.json").read_text())
        data["files"][path.name]["bytes"] = path.stat().st_size
        (path.parent / "card.json").write_text(json.dumps(data))


def refuse(folder, said):
    with pytest.raises(CheckpointError, match=said) as error:
        askmask.load(folder, device="cpu")
    assert "\n" not in str(error.value)


def test_saving_and_loading_changes_nothing(tiny, tiny_folder, picture_path):
    again = askmask.load(tiny_folder, device="cpu")
    for key, value in tiny.backend.net.state_dict().items():
        assert torch.equal(value, again.backend.net.state_dict()[key]), key
    assert again.open(picture_path).ask("a ball").mask == tiny.open(picture_path).ask("a ball").mask


def test_a_missing_key_is_named(folder):
    edit(folder / "adapter.safetensors", lambda state: state.pop("adapter.scale"))
    refuse(folder, r"1 missing: adapter\.scale")


def test_an_unexpected_key_is_named(folder):
    edit(folder / "adapter.safetensors", lambda state: state.update({"adapter.extra": torch.zeros(1)}))
    refuse(folder, r"1 unexpected: adapter\.extra")


def test_a_wrong_shape_is_named(folder):
    edit(
        folder / "adapter.safetensors", lambda state: state.update({"adapter.to_sparse.bias": torch.zeros(3)})
    )
    refuse(folder, r"adapter\.to_sparse\.bias is \[3\], not \[64\]")


def test_lora_names_of_another_network_are_an_error_not_a_warning(folder):
    def rename(state):
        for key in list(state):
            state[key.replace("layers.0", "blocks.0")] = state.pop(key)

    edit(folder / "lora.safetensors", rename)
    refuse(folder, "missing: prompt_encoder")


def test_half_a_download_is_told(folder):
    path = folder / "segmenter.safetensors"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    refuse(folder, "segmenter.safetensors must be")
    data = json.loads((folder / "card.json").read_text())
    data["files"][path.name]["bytes"] = path.stat().st_size
    (folder / "card.json").write_text(json.dumps(data))
    refuse(folder, "damaged or only partly downloaded")


def test_a_changed_byte_is_found_by_the_hash(folder):
    path = folder / "segmenter.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    check_files(folder)
    with pytest.raises(CheckpointError, match="differs from its hash"):
        check_files(folder, hashes=True)


def test_wrong_token_ids_are_found(folder):
    config = json.loads((folder / "config.json").read_text())
    config["prompt_encoder"]["image_token_id"] = 3
    (folder / "config.json").write_text(json.dumps(config))
    data = json.loads((folder / "card.json").read_text())
    data["files"]["config.json"]["bytes"] = (folder / "config.json").stat().st_size
    (folder / "card.json").write_text(json.dumps(data))
    refuse(folder, r"token <\|image_pad\|> is number 3 for the weights")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "not readable as JSON"),
        ("{}", "not an askmask config"),
        ('{"format": 99, "backend": "mini"}', "newer than"),
        ('{"format": 1, "backend": "mini", "nmae": 1}', "nmae"),
        ('{"format": 1, "backend": "mini"}', "incomplete"),
    ],
)
def test_config_files_of_others(tmp_path, text, said):
    (tmp_path / "config.json").write_text(text)
    refuse(tmp_path, said)


def test_folders_without_weights_and_unknown_names(tmp_path):
    refuse(tmp_path, "config.json is needed")
    with pytest.raises(CheckpointError, match="Did you mean 'converseg-net-3b'"):
        askmask.load("converseg-net-3")
    with pytest.raises(AskMaskError, match="native, published-eval, published-demo"):
        askmask.load(tmp_path, protocol="nativ")


def test_an_unfinished_conversion_does_not_load(folder):
    (folder / "card.json").unlink()
    refuse(folder, "not written to its end")


def test_the_same_name_over_other_weights_is_another_model(folder):
    """Files of equal size, the card untouched: only their bytes tell."""
    before = askmask.load(folder, device="cpu").backend.fingerprint
    assert askmask.load(folder, device="cpu").backend.fingerprint == before
    path = folder / "adapter.safetensors"
    stat, data = path.stat(), bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert askmask.load(folder, device="cpu").backend.fingerprint != before


def contents(folder):
    paths = (p for p in folder.rglob("*") if p.is_file() and not p.name.startswith(".askmask-lock"))
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in paths}


def test_a_write_that_fails_leaves_the_old_checkpoint(folder, monkeypatch):
    (folder / "notes.txt").write_text("the user's")
    before = contents(folder)
    config, state = NetConfig.load(folder), {"adapter.x": torch.zeros(3), "segmenter.x": torch.zeros(3)}
    with pytest.raises(CheckpointError, match=r"not finite: adapter\.x"):
        save_checkpoint(folder, config, state | {"adapter.x": torch.tensor([1.0, float("nan")])}, {})
    assert contents(folder) == before

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(AskMaskError, match=r"no space left to write"):
        save_checkpoint(folder, config, state, {})
    assert contents(folder) == before
    monkeypatch.undo()
    save_checkpoint(folder, config, state, {})
    after = contents(folder)
    assert set(after) == {
        "config.json",
        "card.json",
        "adapter.safetensors",
        "segmenter.safetensors",
        "notes.txt",
    }
    check_files(folder, hashes=True)


@pytest.mark.skipif(os.name == "nt", reason="modes are POSIX's")
def test_others_may_read_the_weights(folder):
    assert (folder / "adapter.safetensors").stat().st_mode == (folder / "config.json").stat().st_mode


def test_a_folder_of_others_is_no_place_for_a_checkpoint(tiny_folder, tmp_path):
    (tmp_path / "config.json").write_text("the user's")
    with pytest.raises(AskMaskError, match="neither empty nor made by"):
        save_checkpoint(tmp_path, NetConfig.load(tiny_folder), {}, {})
    assert contents(tmp_path) == {"config.json": b"the user's"}


def test_bfloat16_is_for_the_language_side(tiny_folder, picture_path):
    model = askmask.load(tiny_folder, device="cpu", dtype="bfloat16")
    dtypes = {key.split(".")[0]: value.dtype for key, value in model.backend.net.state_dict().items()}
    assert dtypes == {"segmenter": torch.float32, "prompt_encoder": torch.bfloat16, "adapter": torch.float32}
    full = askmask.load(tiny_folder, device="cpu").open(picture_path).ask("a ball")
    assert model.open(picture_path).ask("a ball").score == pytest.approx(full.score, abs=0.05)


class TestConversion:
    """The published three-part release -> one folder."""

    def convert(self, golden, release, out, **parts):
        given = {
            "sam2": release / "X_sam2_90000.torch",
            "adapter": release / "X_plm_90000.torch",
            "lora": release / "lora_plm_adapter_90000",
            "vlm": golden / "tiny_qwen",
            "sam2_config": release / "sam2_config.json",
        } | parts
        return convert_published(out=out, **given)

    def test_the_card_names_sources_and_that_the_licence_must_be_checked(self, converted):
        card = check_files(converted, hashes=True)
        assert {s["file"] for s in card["provenance"]["sources"]} >= {
            "X_sam2_90000.torch",
            "X_plm_90000.torch",
        }
        assert "check the licence" in card["provenance"]["licence"]

    def test_the_lora_folder_replaces_the_lora_in_the_adapter_file(self, golden, release, tmp_path):
        state = load_file(golden / "weights" / "plm_finetuned.safetensors")
        spoiled = {k: torch.zeros_like(v) if ".lora_" in k else v for k, v in state.items()}
        torch.save({"plm": spoiled}, tmp_path / "plm.torch")
        out = self.convert(golden, release, tmp_path / "net", adapter=tmp_path / "plm.torch")
        good = load_file(golden / "weights" / "lora_plm_adapter" / "adapter_model.safetensors")
        ours = load_file(out / "lora.safetensors")
        assert sorted(float(v.sum()) for v in good.values()) == sorted(float(v.sum()) for v in ours.values())

    def test_a_pickle_that_runs_code_is_refused(self, golden, release, tmp_path):
        class Evil:
            def __reduce__(self):
                return (open, (str(tmp_path / "owned"), "w"))

        torch.save({"model": Evil()}, tmp_path / "evil.torch")
        with pytest.raises(CheckpointError, match="code in it was not run") as caught:
            self.convert(golden, release, tmp_path / "net", sam2=tmp_path / "evil.torch")
        assert "weights_only" not in str(caught.value)  # torch's own words read like advice to run it
        assert not (tmp_path / "owned").exists()

    def test_sizes_that_cannot_be_inferred_ask_for_the_json(self, golden, release, tmp_path):
        with pytest.raises(CheckpointError, match="--sam2-config"):
            self.convert(golden, release, tmp_path / "net", sam2_config=None)

    def test_sizes_of_another_network_are_told(self, golden, release, tmp_path):
        sizes = json.loads((release / "sam2_config.json").read_text())
        sizes["trunk"]["embed_dim"] = 96
        (tmp_path / "sizes.json").write_text(json.dumps(sizes))
        with pytest.raises(CheckpointError, match="The weights have embed_dim 16"):
            self.convert(golden, release, tmp_path / "net", sam2_config=tmp_path / "sizes.json")

    @pytest.mark.parametrize("part", ["sam2", "adapter"])
    def test_truncated_parts_are_told(self, golden, release, tmp_path, part):
        name = "X_sam2_90000.torch" if part == "sam2" else "X_plm_90000.torch"
        (tmp_path / name).write_bytes((release / name).read_bytes()[:100_000])
        with pytest.raises(CheckpointError, match="partly downloaded"):
            self.convert(golden, release, tmp_path / "net", **{part: tmp_path / name})

    def test_a_part_with_a_missing_key_is_told(self, golden, release, tmp_path):
        state = load_file(golden / "weights" / "plm_finetuned.safetensors")
        state.pop("to_dense.2.bias")
        save_file(state, tmp_path / "plm.safetensors")
        with pytest.raises(CheckpointError, match=r"1 missing: adapter\.to_dense\.2\.bias"):
            self.convert(golden, release, tmp_path / "net", adapter=tmp_path / "plm.safetensors")

    def test_a_lora_folder_with_a_missing_tensor_is_told(self, golden, release, tmp_path):
        lora = shutil.copytree(release / "lora_plm_adapter_90000", tmp_path / "lora")
        edit(lora / "adapter_model.safetensors", lambda state: state.pop(min(state)), card=False)
        with pytest.raises(CheckpointError, match="lacks a tensor"):
            self.convert(golden, release, tmp_path / "net", lora=lora)

    @pytest.mark.parametrize("part", ["sam2", "adapter"])
    def test_a_failure_leaves_the_old_checkpoint_and_the_right_command_then_works(
        self, golden, release, converted, tmp_path, part
    ):
        out = shutil.copytree(converted, tmp_path / "net")
        before = contents(out)
        swapped = {"sam2": release / "X_plm_90000.torch", "adapter": release / "X_sam2_90000.torch"}
        with pytest.raises(CheckpointError):
            self.convert(golden, release, out, **{part: swapped[part]})
        assert contents(out) == before
        with pytest.raises(CheckpointError):
            self.convert(golden, release, tmp_path / "new", **{part: swapped[part]})
        self.convert(golden, release, tmp_path / "new")
        assert set(contents(tmp_path / "new")) == set(before)

    def test_a_key_that_fails_late_leaves_the_old_checkpoint(self, golden, release, converted, tmp_path):
        state = load_file(golden / "weights" / "plm_finetuned.safetensors")
        state.pop("to_dense.2.bias")
        save_file(state, tmp_path / "plm.safetensors")
        out = shutil.copytree(converted, tmp_path / "net")
        before = contents(out)
        with pytest.raises(CheckpointError, match="do not make one network"):
            self.convert(golden, release, out, adapter=tmp_path / "plm.safetensors")
        assert contents(out) == before
        askmask.load(out, device="cpu")

    def test_an_input_within_out_is_refused_and_stays(self, golden, release, converted, tmp_path):
        out = shutil.copytree(converted, tmp_path / "net")
        shutil.copy(golden / "tiny_qwen" / "config.json", out / "tokenizer")
        before = contents(out)
        with pytest.raises(CheckpointError, match="which is to be written"):
            self.convert(golden, release, out, vlm=out / "tokenizer")
        assert contents(out) == before

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("image_encoder.trunk.blocks.999999999.proj.weight", torch.zeros(1)),
            ("image_encoder.trunk.blocks.x.proj.weight", torch.zeros(1)),
            ("image_encoder.trunk.patch_embed.proj.weight", torch.tensor(1.0)),
            ("image_encoder.trunk.pos_embed", torch.zeros(2)),
            ("no_mem_embed", torch.zeros(3, 3).to_sparse()),
            (5, torch.zeros(1)),
            ("sam_mask_decoder.iou_token.weight", torch.zeros(1, 32, dtype=torch.int8)),
            ("sam_mask_decoder.iou_token.weight", torch.zeros(1, 32, dtype=torch.complex64)),
            ("sam_mask_decoder.iou_token.weight", torch.full((1, 32), float("nan"))),
        ],
    )  # fmt: skip
    def test_odd_weights_are_refused_in_a_moment(self, golden, release, tmp_path, key, value):
        state = torch.load(release / "X_sam2_90000.torch", weights_only=True)["model"]
        shape = state[key].shape if key in state and value.shape == (1, 32) else None
        state[key] = value if shape is None else value[:, :1].expand(shape).clone()
        torch.save({"model": state}, tmp_path / "odd.torch")
        began = time.process_time()
        with pytest.raises(CheckpointError):
            self.convert(golden, release, tmp_path / "net", sam2=tmp_path / "odd.torch")
        assert time.process_time() - began < 10 and not (tmp_path / "net" / "card.json").exists()

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("r", float("inf")), ("r", 0), ("r", [1]), ("lora_dropout", float("nan")), ("lora_dropout", None),
            ("target_modules", "([a-z_.0-9]+)+!"), ("target_modules", [5]), ("target_modules", "q_proj" * 1000),
        ],
    )  # fmt: skip
    def test_odd_lora_settings_are_refused_in_a_moment(self, golden, release, tmp_path, name, value):
        lora = shutil.copytree(release / "lora_plm_adapter_90000", tmp_path / "lora")
        settings = json.loads((lora / "adapter_config.json").read_text()) | {name: value}
        (lora / "adapter_config.json").write_text(json.dumps(settings))
        with pytest.raises(CheckpointError):
            self.convert(golden, release, tmp_path / "net", lora=lora)

    @pytest.mark.parametrize(
        ("place", "value"),
        [*[("image_size", v) for v in (0, -1024, 10**9, 100.5, None, "x")],
         *[("trunk", v) for v in (5, {}, {"num_heads": 0})],
         *[("stages", v) for v in (5, None, "abcd")], *[("window_spec", v) for v in ([0], 5, [[]])],
         *[("global_att_blocks", v) for v in (5, ["x"])], ("num_heads", 0), ("depth", 10**7)],
    )  # fmt: skip
    def test_odd_sizes_are_refused(self, golden, release, tmp_path, place, value):
        sizes = json.loads((release / "sam2_config.json").read_text())
        holder = (
            sizes if place in ("image_size", "trunk") else sizes["decoder" if place == "depth" else "trunk"]
        )
        holder[place] = value
        (tmp_path / "sizes.json").write_text(json.dumps(sizes))
        with pytest.raises(CheckpointError):
            self.convert(golden, release, tmp_path / "net", sam2_config=tmp_path / "sizes.json")

    def test_swapped_parts_are_told(self, golden, release, tmp_path):
        with pytest.raises(CheckpointError, match=r"got keys \['plm'\]"):
            self.convert(golden, release, tmp_path / "net", sam2=release / "X_plm_90000.torch")


def change(folder, name, value):
    """Put a value into a JSON file of the folder, and make the card agree."""
    path = folder / name
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    card = json.loads((folder / "card.json").read_text())
    if name in card["files"]:
        card["files"][name]["bytes"] = path.stat().st_size
        (folder / "card.json").write_text(json.dumps(card))


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        *[(name, 5) for name in ("name", "segmenter", "prompt_encoder", "lora", "trained_heads")],
        *[("protocol", ["native"]), ("backend", None), ("format", "x"), ("presence_threshold", "high")],
        *[("lora", {}), ("prompt_encoder", {"text_config": "x"}), ("segmenter", {"vision_config": "x"})],
    ],
)
def test_settings_of_strangers_are_refused_in_one_line(folder, setting, value):
    change(folder, "config.json", json.loads((folder / "config.json").read_text()) | {setting: value})
    refuse(folder, "wrong kind of" if not isinstance(value, dict) else "make no network|lora needs r")


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        *[("presence_threshold", v) for v in (float("nan"), float("inf"), -0.1, 1.1, True)],
        *[
            ("lora", {"r": 2, "alpha": 4, "dropout": 0.0, "targets": v})
            for v in ("([a-z_.0-9]+)+!", 5, [5], None)
        ],
        *[("lora", {"r": v, "alpha": 4, "dropout": 0.0, "targets": ["q"]}) for v in (0, 10**9, 2.5, True)],
        ("prompt_encoder", {"text_config": {"num_hidden_layers": 10**7}}),
        ("prompt_encoder", {"vision_config": {"depth": 10**6}}),
        ("segmenter", {"vision_config": {"backbone_config": {"blocks_per_stage": [1, 10**7, 1, 1]}}}),
        ("segmenter", {"mask_decoder_config": {"hidden_size": float("nan")}}),
    ],
)
def test_numbers_that_no_network_has_are_refused_before_it_is_built(folder, setting, value):
    change(folder, "config.json", json.loads((folder / "config.json").read_text()) | {setting: value})
    began = time.process_time()
    refuse(folder, r"config\.json: (presence_threshold must|lora|segmenter|prompt_encoder)")
    assert time.process_time() - began < 10


@pytest.mark.parametrize("dtype", [torch.int8, torch.bool, torch.complex64, torch.float8_e4m3fn])
def test_weights_that_are_no_real_numbers_are_refused(folder, dtype):
    edit(folder / "adapter.safetensors", lambda s: s.update({"adapter.scale": s["adapter.scale"].to(dtype)}))
    refuse(folder, r"adapter\.scale must be torch\.float32")


@pytest.mark.skipif(os.name == "nt", reason="pipes in folders are POSIX's")
def test_a_pipe_in_place_of_the_card_is_refused(folder):
    (folder / "card.json").unlink()
    os.mkfifo(folder / "card.json")
    refuse(folder, r"has no card\.json")


@pytest.mark.parametrize("text", ["5", "null", '[1, "a"]', "[" * 100_000])
def test_json_that_is_no_config_or_card_is_refused(folder, text):
    whole = (folder / "config.json").read_text()
    change(folder, "config.json", text)
    refuse(folder, r"not an askmask config|not readable as JSON")
    change(folder, "config.json", whole)
    (folder / "card.json").write_text(text)
    refuse(folder, r"card\.json: not readable")


def test_a_card_speaks_of_files_in_its_folder_and_of_all_that_is_loaded(folder):
    card = json.loads((folder / "card.json").read_text())
    outside = card | {"files": card["files"] | {"../secret": {"bytes": 1, "sha256": ""}}}
    change(folder, "card.json", outside)
    refuse(folder, "outside the folder")
    card["files"].pop("adapter.safetensors")
    change(folder, "card.json", card)
    refuse(folder, r"does not list adapter\.safetensors")


def test_a_key_in_two_files_is_an_error(folder):
    state = load_file(folder / "adapter.safetensors")
    edit(folder / "lora.safetensors", lambda lora: lora.update(state))
    refuse(folder, "lora.safetensors has keys of another file")


def test_code_in_a_tokenizer_folder_is_neither_run_nor_offered(folder, tmp_path, capfd):
    settings = json.loads((folder / "tokenizer" / "tokenizer_config.json").read_text())
    settings |= {"tokenizer_class": "Evil", "auto_map": {"AutoTokenizer": ["evil.Evil", None]}}
    change(folder, "tokenizer/tokenizer_config.json", settings)
    (folder / "tokenizer" / "evil.py").write_text(f"open({str(tmp_path / 'owned')!r}, 'w')")
    refuse(folder, "make no network")
    assert not (tmp_path / "owned").exists()
    assert "[y/N]" not in "".join(capfd.readouterr())


def test_a_chat_template_without_the_picture_is_refused(folder):
    change(folder, "tokenizer/chat_template.jinja", "hello")
    refuse(folder, "chat template")


def test_other_files_of_the_folder_stay_out_of_the_card(tmp_path):
    from askmask.model.tiny import make_tiny

    make_tiny(tmp_path)
    (tmp_path / "holiday").mkdir()
    (tmp_path / "holiday" / "film.mp4").write_bytes(b"mine")
    card = check_files(make_tiny(tmp_path), hashes=True)
    assert not any("film" in name for name in card["files"])
    assert (tmp_path / "holiday" / "film.mp4").read_bytes() == b"mine"


def test_a_folder_called_mini_does_not_take_the_place_of_the_default(folder, monkeypatch):
    monkeypatch.chdir(folder.parent)
    folder.rename("mini")
    assert askmask.load("./mini", device="cpu").name == "tiny"
    from askmask.loading import find_checkpoint

    try:
        assert find_checkpoint("mini").is_absolute()
    except CheckpointError as error:
        assert "not in this installation" in str(error)


@pytest.mark.parametrize("device", ["cpu:3", "cpu:abc", "cuda:99", "", "xpu"])
def test_devices_that_are_not_here(tiny_folder, device):
    with pytest.raises(AskMaskError, match="is not here"):
        askmask.load(tiny_folder, device=device)
