"""`askmask convert-published` and `askmask doctor`."""

import shutil

import pytest

import askmask as package


def test_convert_then_segment(askmask, golden, release, tmp_path):
    ran = askmask(
        *(
            "convert-published",
            "--sam2",
            release / "X_sam2_90000.torch",
            "--adapter",
            release / "X_plm_90000.torch",
        ),
        *("--lora", release / "lora_plm_adapter_90000", "--vlm", golden / "tiny_qwen"),
        *("--sam2-config", release / "sam2_config.json", "--out", tmp_path / "net"),
    )
    assert ran.code == 0, ran.err
    assert "licence" in ran.out
    assert package.load(tmp_path / "net", device="cpu").backend.protocol_name == "published-eval"


def test_convert_says_what_is_missing(askmask, golden, tmp_path):
    ran = askmask(
        *("convert-published", "--sam2", "nowhere.torch", "--adapter", "a", "--lora", golden / "weights"),
        *("--vlm", golden / "tiny_qwen", "--out", tmp_path / "net"),
    )
    assert ran.code == 2 and "no such checkpoint file; got nowhere.torch" in ran.err


def test_convert_says_what_is_missing_before_it_fetches_anything(askmask, tmp_path, monkeypatch):
    from askmask import hub

    monkeypatch.setattr(hub, "fetch_vlm", lambda name: pytest.fail("the Hub was asked"))
    (tmp_path / "there").touch()
    call = ["convert-published", "--vlm", "Qwen/Qwen2.5-VL-3B-Instruct", "--out", "net"]
    for missing in ("--sam2", "--adapter", "--lora", "--sam2-config"):
        parts = {name: "there" for name in ("--sam2", "--adapter", "--lora")} | {missing: "nowhere"}
        ran = askmask(*call, *(word for pair in parts.items() for word in pair))
        assert ran.code == 2 and "no such checkpoint file; got nowhere" in ran.err


def test_doctor_tests_itself_and_a_checkpoint(askmask, tiny_folder):
    ran = askmask("doctor", "--model", tiny_folder)
    said = " ".join(ran.out.split())
    assert "IoU 1.0000" in said
    assert "equal their hashes" in said


def test_doctor_finds_a_damaged_checkpoint(askmask, tiny_folder, tmp_path):
    folder = shutil.copytree(tiny_folder, tmp_path / "net")
    path = folder / "adapter.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\0")
    ran = askmask("doctor", "--model", folder)
    assert ran.code == 1
    assert "differs from its hash" in " ".join(ran.out.split())


def test_doctor_finds_a_library_that_computes_something_else(askmask, monkeypatch):
    import torch.nn.functional

    real = torch.nn.functional.silu
    monkeypatch.setattr(torch.nn.functional, "silu", lambda x, *a, **k: real(x, *a, **k) * 1.05)
    monkeypatch.setattr(torch.nn.SiLU, "forward", lambda self, x: real(x) * 1.05)
    ran = askmask("doctor")
    assert ran.code == 1
