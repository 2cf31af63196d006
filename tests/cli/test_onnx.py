"""`askmask onnx`: what cannot be made into graphs is refused before anything is fetched or written."""

import pytest


@pytest.mark.parametrize("model", ["point", "converseg-net-3b", "nothing-here"])
def test_other_models_are_refused_before_anything_is_fetched(askmask, tmp_path, monkeypatch, model):
    monkeypatch.setattr("askmask.hub.fetch", lambda *_, **__: pytest.fail("it fetched"), raising=False)
    ran = askmask("onnx", model, tmp_path / "out")
    assert ran.code == 2 and f"trained like it, is made into graphs; got {model}" in ran.err
    assert ran.err.count("\n") == 1 and not (tmp_path / "out").exists()


def test_networks_of_another_kind_are_refused(askmask, tiny_folder, tmp_path):
    pytest.importorskip("onnxruntime", reason="needs the extra [onnx]")
    ran = askmask("onnx", tiny_folder, tmp_path / "out")
    assert ran.code == 2 and "only small networks like mini" in ran.err and not (tmp_path / "out").exists()
