"""From a run's checkpoint to a model folder that `askmask.load` reads: half-precision weights, config, card."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from askmask.errors import CheckpointError, DataError
from askmask.formats.dense import read_shard, shards
from askmask.formats.own import read_rows
from askmask.model.build import TOKENIZER
from askmask.model.checkpoint import HEAD, check_files, compare_keys, load_checkpoint, save_checkpoint
from askmask.model.config import NetConfig
from askmask.model.mini.config import MiniConfig
from askmask.model.mini.domain import statistics
from askmask.model.mini.net import Mini
from askmask.model.mini.score import HALF, Score
from askmask.model.mini.vocabulary import plain
from askmask.runs.content_hash import sha256
from askmask.training.mini_scores import answer, prefix_now, val_views
from askmask.training.run_folder import RunFolder, check_kinds, weights_in

MET = 8  # prompts with a word that was taught, at least
SURE = 0.25  # of the wrong masks of validation, that score a half or more
FEW = 30  # answers, or wrong ones, or prompts with a target: from fewer nothing is fitted
KEPT = 0.98  # of prompts with a target: beyond it gIoU gains little on validation, and nothing is found less often


def load_run(run: str | Path) -> tuple[Mini, dict[str, Any]]:
    """Return the network of a run's newest checkpoint, in evaluation mode, and what is known of the run."""
    folder, state = newest(run)
    net = Mini(MiniConfig.load(folder.root / "model.json"))
    weights = weights_in(state, run)
    given = {name: tuple(value.shape) for name, value in weights.items()}
    wanted = {name: tuple(value.shape) for name, value in net.state_dict().items()}
    domain = {name for name in set(wanted) - set(given) if name.startswith("prompt_encoder.domain.")}
    if problems := compare_keys({name: shape for name, shape in wanted.items() if name not in domain}, given):
        raise CheckpointError(
            f"{run} does not fit, or has not been through all stages",
            got=problems,
            do="Export mini_masks' run.",
        )
    check_kinds(weights, net.state_dict(), run)
    net.load_state_dict(weights, strict=False)
    return net.eval(), {"run": str(run), "step": state["step"]}


def export_segmentation(run: str | Path, out: str | Path) -> Path:
    """Write the model folder of a phase one or two run: the model it began with, its trained weights put in.

    These stay in the precision they were trained in. Raises CheckpointError for weights that are of another network,
    of another shape or not finite.
    """
    folder, state = newest(run)
    source = Path((folder.root / "source.txt").read_text(encoding="utf-8").strip())
    net, config = load_checkpoint(source)
    whole = dict(net.state_dict())
    weights = weights_in(state, run)
    shapes = [{name: tuple(value.shape) for name, value in some.items()} for some in (whole, weights)]
    if problems := compare_keys(*shapes, missing=False):
        raise CheckpointError(f"{source} is not what {run} began with", got=problems)
    check_kinds(weights, whole, run)
    whole |= weights
    facts = folder.config()
    provenance = {
        "made_by": "askmask export",
        "run": str(run),
        "step": state["step"],
        "checkpoint_sha256": sha256(folder.checkpoints()[-1]),
        **{name: facts.get(name) for name in ("askmask", "commit", "data")},
        "begun_from": check_files(source).get("provenance"),
    }
    # Our losses supervise the mask that `native` uses.
    trained = replace(config, protocol="native", trained_heads=_heads(config, state, facts))
    tokenizer, head = source / TOKENIZER, source / HEAD
    return save_checkpoint(
        out,
        trained,
        whole,
        provenance,
        tokenizer=tokenizer if tokenizer.is_dir() else None,
        head=head if head.is_file() else None,
    )


def _heads(config: NetConfig, state: Mapping[str, Any], facts: Mapping[str, Any]) -> dict[str, bool]:
    """Say which heads the run has supervised: by a loss of some weight, on prompts with and without an answer."""
    data = facts.get("recipe", {}).get("data", {})
    if facts.get("recipe", {}).get("stage") == "dialogue":  # what is there, replies say
        return {"score": data.get("score_weight", 0) > 0, "presence": False}
    both = all(state["task"]["seen"].values())
    return {
        head: both if data.get(f"{head}_weight", 1.0) > 0 else config.trained_heads.get(head, False)
        for head in ("score", "presence")
    }


def newest(run: str | Path) -> tuple[RunFolder, dict[str, Any]]:
    """Return the run's folder and what its newest checkpoint holds. Raises CheckpointError where there is none."""
    folder = RunFolder(run)
    state = folder.load()
    if state is None:
        raise CheckpointError(
            "no checkpoint in this run", got=run, do="Name a run's folder that has saved one."
        )
    return folder, state


def export_mini(
    run: str | Path, out: str | Path, *, train: Sequence[str], val: Sequence[str], provenance: dict[str, Any]
) -> Path:
    """Write the model folder. `train` and `val` are dense truth, to learn what the domain looks like."""
    net, known = load_run(run)
    net = taught(net, {*net.config.vocabulary, *words_of(train)})  # what it was taught earlier, it knows
    calibration = calibrate(net, val)
    limit = net.prompt_encoder.domain.fit(_statistics(net, train, 600), _statistics(net, val, 250))
    checkpoint = RunFolder(run).checkpoints()[-1]
    config = NetConfig(
        name="mini",
        backend="mini",
        compute="float32",
        segmenter=net.config.to_dict(),
        prompt_encoder={},
        trained_heads={"score": True, "presence": True},
        presence_threshold=_threshold(net, val),
    )
    state = {key: _half(value) for key, value in net.state_dict().items()}
    facts = {"step": known["step"], "checkpoint_sha256": sha256(checkpoint), "domain_limit": limit}
    facts["calibration"] = calibration
    facts |= {"commit": RunFolder(run).config().get("commit")}
    return save_checkpoint(out, config, state, facts | provenance)


def words_of(folders: Sequence[str]) -> tuple[str, ...]:
    """Return the words of training prompts, in dialogues too, as they are meant: no typing errors, nothing unseen."""
    counts: Counter[str] = Counter()
    for path in (path for folder in folders for path in shards(folder)):
        for _, scene in read_rows(path.with_suffix(".jsonl")):
            talks = (talk for view in scene["views"] for talk in view.get("dialogues", ()))
            alone = (prompt for view in scene["views"] for prompt in view["prompts"])
            for prompt in chain(alone, chain.from_iterable(talks)):
                if prompt["kind"] != "unknown" and prompt["facts"].get("said_as") != "mistyped":
                    counts.update(set(re.findall(r"\w+", plain(prompt["prompt"]))))
    return tuple(sorted(word for word, count in counts.items() if count >= MET))


def taught(net: Mini, words: Collection[str]) -> Mini:
    """Return the same network with the words it was taught, and scores that hear how sure choosing was."""
    taught = Mini(replace(net.config, vocabulary=tuple(sorted(words)), doubts=True))
    taught.load_state_dict(taught.state_dict() | net.state_dict())
    return taught.eval()


@torch.no_grad()
def calibrate(net: Mini, folders: Sequence[str], views: int = 300) -> dict[str, list[float]]:
    """Make score and presence true on unseen scenes, and the score cautious; return the numbers that do it.

    The logits of the decoder's score and of presence are scaled and shifted: that goes into the last layers' weights.
    Then score.py weighs its signs, and SURE of the wrong masks may keep a half. Scores are fitted where something is
    shown (presence over a half), wrongly shown masks among them.
    """
    z: dict[str, list[Tensor]] = {"score": [], "presence": []}
    true: dict[str, list[Tensor]] = {"score": [], "presence": []}
    for view in val_views(net, folders, views):
        tokens = net.prompt_encoder.words.tokens([ask.text for ask in view.asks])
        prefix = prefix_now(net, view)
        choice = net.prompt_encoder.encode(prefix, tokens)
        out = net.segmenter.decode(view.features, net.adapter(choice), multimask=False)
        shown = F.interpolate(out.logits, size=view.truth.shape[1:], mode="bilinear")[:, 0] > 0
        truth, counted = torch.from_numpy(view.truth), torch.from_numpy(~view.ignored)
        both, either = (
            (shown & truth & counted).flatten(1).sum(1),
            ((shown | truth) & counted).flatten(1).sum(1),
        )
        kept = out.presence_logits > 0
        z["presence"].append(out.presence_logits[:, None])
        true["presence"].append(torch.tensor([float(ask.present) for ask in view.asks]))
        z["score"].append(net.signs(prefix, choice, out)[kept])
        true["score"].append((both / either.clamp(min=1))[kept])
    if not z["presence"]:
        raise DataError(
            "no prompts to calibrate on", got=", ".join(folders), do="Name folders of dense truth."
        )
    known = {name: (torch.cat(z[name]), torch.cat(true[name])) for name in z}
    own = known["score"][0][:, :1], known["score"][1]
    fitted = {"score": fit(*own), "presence": fit(*known["presence"])}
    fold(net, fitted)
    assert net.score is not None
    scale, shift = fitted["score"]
    signs, ious = known["score"]
    signs[:, 0] = signs[:, 0] * scale + shift
    return fitted | {"signs": _weigh(net.score, signs, ious), "cut": [round(float(net.score.cut), 4)]}


@torch.no_grad()
def _weigh(score: Score, signs: Tensor, ious: Tensor) -> list[float]:
    """Fit how `score` weighs signs [N, F] of masks with some IoUs [N], and from where on it is sure."""
    weights = fit(signs, ious)
    score.weigh.weight.copy_(torch.tensor(weights[:-1])[None])
    score.weigh.bias.fill_(weights[-1])
    wrong = score.weigh(signs)[:, 0].sigmoid()[ious < HALF]
    score.cut.fill_(HALF if len(wrong) < FEW else max(HALF, float(wrong.quantile(1 - SURE))))
    return weights


@torch.no_grad()
def fold(net: Mini, fitted: Mapping[str, Sequence[float]]) -> None:
    """Put scale and shift of the logits of score and presence into the last layers that make them."""
    decoder, language = net.segmenter.decoder, net.language
    for name, layers in (
        ("score", [decoder.score[-1]]),
        ("presence", [decoder.presence[-1], language.presence[-1]]),
    ):
        scale, shift = fitted[name]
        for number, layer in enumerate(layers):
            assert isinstance(layer, nn.Linear)
            layer.weight.mul_(scale)
            layer.bias.mul_(scale).add_(shift if number == 0 else 0.0)


@torch.enable_grad()
def fit(z: Tensor, true: Tensor) -> list[float]:
    """Return the weights of numbers [N, F], and a shift, whose cross-entropy against truths [N] in 0..1 is least.

    Of fewer than FEW nothing is learnt: the first number stays as it is.
    """
    if len(z) < FEW:
        return [1.0] + [0.0] * z.shape[1]
    mean, scale = z.mean(0), z.std(0).clamp(min=0.01)  # what hardly varies says nothing, and gets no weight
    even = (z - mean) / scale
    line = torch.zeros(z.shape[1] + 1, requires_grad=True)
    optimiser = torch.optim.LBFGS([line], max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> float:
        optimiser.zero_grad()
        value = F.binary_cross_entropy_with_logits(even @ line[:-1] + line[-1], true)
        # Truths that a line parts would have weights without bounds.
        value = value + 1e-5 * line[:-1].square().sum()
        value.backward()  # type: ignore[no-untyped-call]
        return float(value.detach())

    optimiser.step(loss)
    weights = line.detach()[:-1] / scale
    return [round(value, 4) for value in (*weights.tolist(), float(line.detach()[-1] - weights @ mean))]


@torch.no_grad()
def _threshold(net: Mini, folders: Sequence[str], views: int = 60) -> float:
    """Return the presence above which KEPT of the prompts with a target are answered, on unseen scenes."""
    chances: list[float] = []
    for view in val_views(net, folders, views):
        _, presence = answer(net, view, decode=True)
        chances += [float(p.sigmoid()) for p, ask in zip(presence, view.asks, strict=True) if ask.present]
    return 0.5 if len(chances) < FEW else round(float(np.quantile(chances, 1 - KEPT)), 3)


def _half(value: Tensor) -> Tensor:
    return value.half() if value.dtype == torch.float32 else value


@torch.no_grad()
def _statistics(net: Mini, folders: Sequence[str], count: int) -> Tensor:
    rows: list[Tensor] = []
    for path in (path for folder in folders for path in shards(folder)):
        shard = read_shard(path)
        for row in range(len(shard.rgb)):
            rows.append(statistics(net.segmenter.encode(net.segmenter.prepare(shard.rgb[row])[None]))[0])
            if len(rows) == count:
                return torch.stack(rows)
    if len(rows) < 20:
        raise DataError("too few views to know the domain", got=len(rows), do="Name folders of dense truth.")
    return torch.stack(rows)
