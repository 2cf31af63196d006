"""mini's modules as ONNX graphs: the same answers; a graph that is not of the weights beside it is refused."""

import shutil
import sys

import numpy as np
import pytest
from filelock import FileLock

import askmask
from askmask.errors import CheckpointError, MissingExtra, SettingError
from askmask.loading import find_checkpoint
from askmask.model.checkpoint import GRAPHS, check_files, fingerprint, load_checkpoint
from askmask.model.mini import graphs
from askmask.model.onnx import write_with_graphs

pytest.importorskip("onnxruntime", reason="needs the extra [onnx]")
pytest.importorskip("onnxscript", reason="needs the extra [onnx]")
TABLE = "examples/table.png"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The bundled model with graphs; made once, whichever processes ask for it."""
    root = tmp_path_factory.getbasetemp()
    shared = root.parent if root.name.startswith("popen-") else root
    with FileLock(shared / "graphs.lock"):
        if not (shared / "mini-onnx").exists():
            write_with_graphs(find_checkpoint("mini"), shared / "mini-onnx")
    return shared / "mini-onnx"


@pytest.fixture(scope="module")
def models(folder):
    return askmask.load("mini", device="cpu"), askmask.load(folder, device="cpu")


@pytest.fixture
def broken(folder, tmp_path):
    shutil.copytree(folder / GRAPHS, tmp_path / GRAPHS)
    return tmp_path / GRAPHS


def same(answers, others):
    for one, other in zip(answers, others, strict=True):
        assert one.found == other.found and one.reply == other.reply
        assert [r.id for r in one.references] == [r.id for r in other.references]
        assert [s.score for s in one.segments] == pytest.approx([s.score for s in other.segments], abs=1e-3)
        assert one.presence == pytest.approx(other.presence, abs=1e-3)
        assert one.logits is None or np.abs(one.logits - other.logits).max() < 0.05
        assert one.mask == other.mask or one.mask.iou(other.mask) > 0.99


@pytest.mark.slow
def test_graphs_answer_as_the_weights_do(models):
    assert models[1].backend.net.language.graphs is not None
    prompts = [
        "the boxes",
        "what could fall?",
        "a giraffe",
        "the second smallest thing left of the glass",
        "?",
    ]
    plain, faster = (model.open(TABLE) for model in models)
    same(plain.ask_many(prompts, keep_logits=True), faster.ask_many(prompts, keep_logits=True))
    for prompt in ("the boxes", "only the largest of them", "what is beside it?", "and all the others"):
        same([plain.ask(prompt, keep_logits=True)], [faster.ask(prompt, keep_logits=True)])
    same([plain.ask(points=[(87, 227)])], [faster.ask(points=[(87, 227)])])


@pytest.mark.slow
def test_what_is_too_long_for_a_graph_goes_without(models, monkeypatch):
    before = models[0].open(TABLE).ask_many(["the glass"], keep_logits=True)
    monkeypatch.setattr(graphs, "WHOLE", 8)
    monkeypatch.setattr(models[1].backend.net.language.graphs.alone, "session", None)
    same(before, models[1].open(TABLE).ask_many(["the glass"], keep_logits=True))


@pytest.mark.slow
def test_the_folder_is_a_checkpoint_of_its_own(folder):
    card = check_files(folder, hashes=True)
    listed = {name for name in card["files"] if name.startswith(f"{GRAPHS}/")}
    assert (folder / "card.md").read_bytes() == (find_checkpoint("mini") / "card.md").read_bytes()
    assert listed == {f"{GRAPHS}/{path.name}" for path in (folder / GRAPHS).iterdir()} and len(listed) == 6
    assert fingerprint(folder) != fingerprint(find_checkpoint("mini"))
    with pytest.raises(SettingError, match="neither empty nor"):
        write_with_graphs(find_checkpoint("mini"), folder.parent)


@pytest.mark.slow
@pytest.mark.parametrize("harm", ["other", "cut", "gone", "large"])
def test_a_graph_that_is_not_of_these_weights_is_refused(broken, harm, monkeypatch):
    path = broken / "perception.onnx"
    if harm == "other":
        shutil.copy(broken / "blend.onnx", path)
    elif harm == "cut":
        path.write_bytes(path.read_bytes()[:5000])
    elif harm == "gone":
        path.unlink()
    else:
        monkeypatch.setattr(graphs, "LARGEST", 1000)
    net, _ = load_checkpoint(find_checkpoint("mini"))
    with pytest.raises(CheckpointError, match=r"askmask onnx|too large"):
        graphs.run_graphs(net, broken)
    assert not isinstance(net.segmenter.encoder, graphs._Encoder)  # nothing was half replaced


@pytest.mark.slow
def test_weights_that_went_on_need_new_graphs(folder):
    net, _ = load_checkpoint(find_checkpoint("mini"))
    net.segmenter.decoder.bias.data += 0.5
    with pytest.raises(CheckpointError, match="the graph of the decoder is not of these weights"):
        graphs.run_graphs(net, folder / GRAPHS)


@pytest.mark.slow
def test_a_graph_whose_last_number_is_none_is_refused(folder):
    net, _ = load_checkpoint(find_checkpoint("mini"))
    net.segmenter.decoder.score[2].bias.data[:] = float("nan")  # in the second of three outputs
    with pytest.raises(CheckpointError, match="the graph of the decoder is not of these weights; got nan"):
        graphs.run_graphs(net, folder / GRAPHS)


@pytest.mark.slow
def test_graphs_are_for_the_processor_and_the_weights_as_stored(folder):
    rounded = askmask.load(folder, device="cpu", dtype="bfloat16").backend.net
    numbered = askmask.load(folder, device="cpu:0").backend.net
    assert rounded.language.graphs is None and numbered.language.graphs is not None


@pytest.mark.slow
def test_a_missing_library_is_named(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtra, match=r"askmask\[onnx\]"):
        askmask.load(folder, device="cpu")


def test_only_small_networks_have_graphs(tiny_folder, tmp_path):
    with pytest.raises(SettingError, match="only small networks like mini"):
        write_with_graphs(tiny_folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(CheckpointError, match="only small networks like mini"):
        graphs.run_graphs(load_checkpoint(tiny_folder)[0], tmp_path)
