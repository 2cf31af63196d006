"""Fixtures shared by all tests: golden data if present, a miniature checkpoint, the published one converted."""

import gc
import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
GOLDEN = ROOT.parent / "shared" / "golden" / "converseg"  # all of it: 53 MB
RECORDED = ROOT / "tests" / "golden"  # what of it is kept here


gc.disable()  # until all is imported: what libraries make as they are read stays


def pytest_collection_finish(session):
    """Look for garbage less often, and never among what was imported: a fifth of the processor's time went there."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    gc.enable()


@pytest.fixture(scope="session", autouse=True)
def own_home(tmp_path_factory):
    """Keep every test away from the user's caches and from the network."""
    from tests import warm

    home = tmp_path_factory.mktemp("home")
    kept = dict(os.environ)
    os.environ |= {"ASKMASK_CACHE": str(home / "askmask"), "HF_HOME": str(home / "hf"), "HF_HUB_OFFLINE": "1"}
    os.environ |= {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}  # of commands that tests start
    yield home
    warm.close()
    os.environ.clear()
    os.environ.update(kept)


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Use one thread in torch: sums then have one order, and two test processes on two cores do not thrash."""
    try:
        import torch
    except ImportError:  # what needs no network is also tested without torch
        return
    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def one_tree_of_commands():
    """Build what typer makes of the commands once: it does so anew at each call, which a process makes but once."""
    import typer.main
    import typer.testing

    build, trees = typer.main.get_command, {}

    def built(app):
        key = id(app), len(app.registered_commands), len(app.registered_groups)
        if key not in trees:
            trees[key] = app, build(app)  # the app is kept, so that no other can have its id
        return trees[key][1]

    typer.main.get_command = typer.testing._get_command = built
    yield
    typer.main.get_command = typer.testing._get_command = build


@pytest.fixture(scope="session")
def golden() -> Path:
    if not GOLDEN.is_dir():
        pytest.skip("the golden outputs of the published code are not beside this clone (../shared/golden)")
    return GOLDEN


@pytest.fixture(scope="session")
def recorded_language(tmp_path_factory) -> Path:
    """The published release with the recorded language side, converted; its visual side is a random one."""
    import re

    import torch
    from safetensors.torch import load_file

    from askmask.model.published import convert_published

    folder = tmp_path_factory.mktemp("recorded")
    lora = RECORDED / "weights" / "lora_plm_adapter"
    language = load_file(RECORDED / "weights" / "adapter.safetensors")
    wrapped = load_file(lora / "adapter_model.safetensors")
    language |= {
        f"backbone.{re.sub('lora_[AB]', lambda m: m[0] + '.default', key)}": value
        for key, value in wrapped.items()
    }
    for key, value in load_file(RECORDED / "tiny_qwen" / "model.safetensors").items():
        name = re.sub(
            "^(visual|model)",
            lambda m: {"visual": "model.visual", "model": "model.language_model"}[m[0]],
            key,
        )
        stem, last = name.rsplit(".", 1)
        base = f"backbone.base_model.model.{stem}"
        inner = ".base_layer" if f"{base}.lora_A.default.weight" in language else ""
        language[f"{base}{inner}.{last}"] = value
    torch.manual_seed(0)
    shapes = recorded_keys("tiny_sam2")
    torch.save(
        {"model": {key: torch.randn(shape) * 0.02 for key, (shape, _) in shapes.items()}},
        folder / "sam2.torch",
    )
    torch.save({"plm": language}, folder / "plm.torch")
    return convert_published(
        folder / "sam2.torch", folder / "plm.torch", lora, RECORDED / "tiny_qwen", folder / "net",
        sam2_config=RECORDED / "sam2_tiny_config.json",
    )  # fmt: skip


def recorded_keys(name: str) -> dict[str, tuple[list[int], str]]:
    """Keys of a published file, with shape and type of each."""
    import gzip
    import json

    return json.loads(gzip.decompress((RECORDED / "keys" / f"{name}.json.gz").read_bytes()))


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory) -> Path:
    from askmask.model.tiny import make_tiny

    return make_tiny(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def tiny(tiny_folder):
    import askmask

    return askmask.load(tiny_folder, device="cpu")


@pytest.fixture(scope="session")
def release(golden, tmp_path_factory) -> Path:
    """The golden weights in the published three-part form, pickles and all."""
    import shutil

    import torch
    from safetensors.torch import load_file

    folder = tmp_path_factory.mktemp("release")
    weights = golden / "weights"
    torch.save({"model": load_file(weights / "sam2_finetuned.safetensors")}, folder / "X_sam2_90000.torch")
    torch.save({"plm": load_file(weights / "plm_finetuned.safetensors")}, folder / "X_plm_90000.torch")
    shutil.copytree(weights / "lora_plm_adapter", folder / "lora_plm_adapter_90000")
    shutil.copy(golden / "sam2_tiny_config.json", folder / "sam2_config.json")
    return folder


@pytest.fixture(scope="session")
def converted(golden, release, tmp_path_factory) -> Path:
    """The published release, converted."""
    from askmask.model.published import convert_published

    return convert_published(
        release / "X_sam2_90000.torch",
        release / "X_plm_90000.torch",
        release / "lora_plm_adapter_90000",
        golden / "tiny_qwen",
        tmp_path_factory.mktemp("converted") / "net",
        sam2_config=release / "sam2_config.json",
    )


@pytest.fixture
def picture_path() -> Path:
    """The small picture inside the package."""
    return ROOT / "askmask" / "selftest" / "picture.png"
