"""Start a run from its recipe, or go on with one: builds the task and hands it to the loop."""

from __future__ import annotations

import platform
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from askmask import __version__
from askmask.errors import CheckpointError, DataError, SettingError
from askmask.formats.dense import read_shard, shards
from askmask.model.checkpoint import load_checkpoint
from askmask.model.config import NetConfig
from askmask.model.mini.config import MiniConfig
from askmask.model.mini.net import Mini
from askmask.model.net import AskMaskNet
from askmask.runs.json_text import read_rows
from askmask.runs.manifest import git_commit
from askmask.runs.whole_files import write_json, write_text
from askmask.training.conversation import ConversationTask
from askmask.training.devices import rank
from askmask.training.dialogue import DialogueTask
from askmask.training.loop import Task, Told, train
from askmask.training.memory import check_memory
from askmask.training.perception import PerceptionNet, PerceptionTask
from askmask.training.recipes import (
    ConversationRecipe,
    DialogueRecipe,
    PerceptionRecipe,
    Recipe,
    RefinementRecipe,
    ReplyRecipe,
    SegmentationRecipe,
    SelectionRecipe,
)
from askmask.training.refinement import RefinementTask
from askmask.training.replies import ReplyTask, reply_vocabulary
from askmask.training.run_folder import RunFolder, read_state, weights_in
from askmask.training.segmentation import SegmentationTask
from askmask.training.selection import SelectionTask
from askmask.training.settings import check_values
from askmask.training.vocabulary import Vocabulary

EYES = ("segmenter.encoder.", "prompt_encoder.perception.")
LANGUAGE = "prompt_encoder.language."
BLEND = "segmenter.blend."
# Settings of the data that a run may go on with changed: what is learnt does not depend on them.
FREE = ("val", "val_items", "val_views", "workers", "cache", "cache_gb", "check", "wait_s")


def start(recipe: Recipe, say: Callable[[str], None] = lambda line: None) -> Iterator[Told]:
    """Run a recipe to its end; yields after each step. Goes on where the run folder stands.

    `say` is told what a person should know before step 0. Raises SettingError for a setting that makes no sense, for
    data other than the run began with, or if another process trains in the folder, before anything in it changes.
    """
    check_values(recipe)
    if recipe.threads:
        torch.set_num_threads(recipe.threads)
    folder = RunFolder(recipe.run)
    facts = {"stage": recipe.stage, "data": {k: v for k, v in asdict(recipe.data).items() if k not in FREE}}
    with folder.held(facts) if rank() == 0 else nullcontext():
        yield from _run(recipe, folder, say if rank() == 0 else lambda line: None)


def _run(recipe: Recipe, folder: RunFolder, say: Callable[[str], None]) -> Iterator[Told]:
    torch.manual_seed(recipe.loop.seed)
    for where in getattr(recipe.data, "val", ()):
        if recipe.stage not in ("segmentation", "dialogue") and not shards(where):
            raise DataError("no finished shard of dense truth to validate on", got=where)
    task = BUILDERS[recipe.stage](recipe, folder)
    memory = check_memory(task.module)
    facts = task.facts() if isinstance(task, (SegmentationTask, DialogueTask)) else {}
    if rank() == 0:
        _compare_data(folder.config().get("data"), facts.get("data"), folder)
        folder.write_config(_config(recipe, memory) | facts)
    for source in (*facts.get("data", ()), *facts.get("val", ())):
        left = "".join(f"; left out: {count} {why}" for why, count in source["left_out"].items())
        say(f"{source['source']}: {source['rounds']} rounds{left}")
    if folder.newest_step() >= recipe.loop.steps:
        say(
            f"{folder.root} has had its {recipe.loop.steps} steps: raise steps= to go on, or `askmask export` it"
        )
    try:
        yield from train(task, recipe.loop, folder)
    finally:
        if isinstance(task, SegmentationTask):
            task.close()


def _compare_data(before: Any, now: Any, folder: RunFolder) -> None:
    """Raise DataError if files have other contents than when the run began: its losses could not be repeated."""
    if folder.checkpoints() and before and now:
        hashes = [{one["source"]: one.get("sha256") for one in facts} for facts in (before, now)]
        changed = [name for name, value in hashes[0].items() if hashes[1].get(name) != value]
        if changed:
            raise DataError(
                "the data changed since the run began",
                got=", ".join(changed),
                do="Use a new run=, or the old data.",
            )


def _config(recipe: Recipe, memory: dict[str, Any]) -> dict[str, Any]:
    return {
        "recipe": asdict(recipe),
        "memory": memory,
        "askmask": __version__,
        "commit": git_commit(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
    }


def perception_task(recipe: PerceptionRecipe, folder: RunFolder) -> Task:
    """Build stage 0. The names the heads predict come from the data at the first start, then stay."""
    model = model_of(folder, recipe.start)
    if model is None:
        paths = [path for where in recipe.data.train for path in shards(where)][:4]
        if not paths:
            raise DataError(
                "no finished shard of dense truth",
                got=", ".join(recipe.data.train) or "data.train is empty",
                do="Make some with `askmask world make --dense`, and name the folder: data.train=DIR.",
            )
        words = Vocabulary.of(scene for path in paths for scene in read_shard(path).scenes)
        model = MiniConfig(
            categories=words.categories,
            colours=words.colours,
            parts=words.parts,
            attributes=words.attributes,
            kinds=words.kinds,
            stuff=("wall", "table", "floor"),
        )
    _write_model(folder, model)
    net = PerceptionNet(model)
    if recipe.start:
        _load(net, recipe.start, wanted=EYES)
    vocabulary = Vocabulary(model.categories, model.colours, model.parts, model.attributes)
    return PerceptionTask(net, vocabulary, recipe.data)


def selection_task(recipe: SelectionRecipe, folder: RunFolder) -> Task:
    """Build the language stage over the eyes of `start`."""
    kinds = kinds_in(recipe.data.train) if recipe.grow else set()
    net, known = _mini(recipe, folder, wanted=EYES, kinds=kinds)
    return SelectionTask(net, recipe.data, fresh=f"{LANGUAGE}summary" not in known)


def conversation_task(recipe: ConversationRecipe, folder: RunFolder) -> Task:
    """Build the stage of conversations over eyes, and words if there are any, of `start`."""
    kinds = kinds_in(recipe.data.train)
    net, known = _mini(recipe, folder, wanted=EYES, kinds=kinds, remembers=True)
    return ConversationTask(net, recipe.data, fresh=f"{LANGUAGE}summary" not in known)


def kinds_in(folders: Sequence[str]) -> set[str]:
    """Return the kinds of request in the first shards of some folders, in dialogues as well."""
    paths = [path for where in folders for path in shards(where)]
    rows = (row for path in paths[:2] for _, row in read_rows(path.with_suffix(".jsonl")))
    views = (view for row in rows for view in row["views"])
    asked = (p for view in views for some in (view["prompts"], *view.get("dialogues", ())) for p in some)
    return {prompt["kind"] for prompt in asked if prompt.get("kind")}


def refinement_task(recipe: RefinementRecipe, folder: RunFolder) -> Task:
    """Build the last stage over eyes and language of `start`."""
    net, _ = _mini(recipe, folder, wanted=(*EYES, LANGUAGE), blends=True)
    return RefinementTask(net, recipe.data)


def replies_task(recipe: ReplyRecipe, folder: RunFolder) -> Task:
    """Build the stage of replies over any weights of mini. The words come from the data at the first start."""
    model, begun = model_of(folder, recipe.start), (folder.root / "model.json").exists()
    words = set() if model is None or begun else reply_vocabulary(recipe.data.train, model)
    net, _ = _mini(recipe, folder, wanted=(*EYES, LANGUAGE, BLEND), words=words)
    return ReplyTask(net, recipe.data)


def segmentation_task(recipe: SegmentationRecipe, folder: RunFolder) -> Task:
    """Build phase one or two over a checkpoint folder, or over the weights that `start` trained from it."""
    from askmask.model.talk.net import TalkNet

    net, _ = _network(recipe)
    if isinstance(net, TalkNet):
        raise SettingError(
            "a network of single prompts is needed",
            got=f"{recipe.model}, which talks",
            do="Train it in conversations: askmask train conversation data=... model=FOLDER.",
        )
    task = SegmentationTask(net, recipe.data)
    _write_source(recipe, folder)
    return task


def dialogue_task(recipe: DialogueRecipe, folder: RunFolder) -> Task:
    """Build conversations over the checkpoint folder of a network that talks."""
    from askmask.model.talk.net import TalkNet

    net, config = _network(recipe)
    if not isinstance(net, TalkNet):
        raise SettingError(
            "a network that talks is needed",
            got=recipe.model,
            do="Make one: askmask new OUT --talking-from FOLDER, or --miras. (mini: start=mini instead of model=.)",
        )
    task = DialogueTask(net, config, recipe.data)
    _write_source(recipe, folder)
    return task


def _network(recipe: SegmentationRecipe | DialogueRecipe) -> tuple[AskMaskNet, NetConfig]:
    source = Path(recipe.model)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    net, config = load_checkpoint(source, device=device, dtype=torch.float32 if device == "cpu" else None)
    if recipe.start:
        weights, own = started_from(recipe.start), net.state_dict()
        foreign = sorted(set(weights) - set(own))
        sized = [name for name in own.keys() & weights.keys() if own[name].shape != weights[name].shape]
        if foreign or sized:
            raise CheckpointError(
                f"{', '.join(recipe.start)} is of another network",
                got=f"foreign {foreign[:4]}, of another size {sorted(sized)[:4]}",
            )
        net.load_state_dict(weights, strict=False)
    return net, config


def _write_source(recipe: SegmentationRecipe | DialogueRecipe, folder: RunFolder) -> None:
    if rank() == 0:
        write_text(folder.root / "source.txt", f"{Path(recipe.model).resolve()}\n")


BUILDERS: dict[str, Callable[[Any, RunFolder], Task]] = {
    "perception": perception_task,
    "selection": selection_task,
    "conversation": conversation_task,
    "refinement": refinement_task,
    "replies": replies_task,
    "segmentation": segmentation_task,
    "dialogue": dialogue_task,
}


def _mini(
    recipe: Recipe,
    folder: RunFolder,
    wanted: tuple[str, ...],
    kinds: Collection[str] = (),
    remembers: bool = False,
    words: Collection[str] = (),
    blends: bool = False,
) -> tuple[Mini, set[str]]:
    model = model_of(folder, recipe.start)
    if model is None or not recipe.start:
        raise SettingError(
            f"stage {recipe.stage} begins with the weights of an earlier one", do="Name its run: start=RUN."
        )
    if kinds or remembers:
        model = model.grown(kinds, remembers=remembers)
    if words:
        model = model.speaking(words)
    if blends:
        model = replace(model, blends=True)
    _write_model(folder, model)
    net = Mini(model)
    return net, _load(net, recipe.start, wanted)


def started_from(start: Sequence[str]) -> dict[str, torch.Tensor]:
    """Return the weights of all that is in `start`, a later one's in place of an earlier one's.

    Of one written `RUN@segmenter+adapter`, only the weights whose names begin so. Raises CheckpointError for
    a part that it has no weights of.
    """
    found: dict[str, torch.Tensor] = {}
    for one in start:
        place, parts = split_start(one)
        weights = newest(place)["model"]
        if lacking := [part for part in parts if not any(name.startswith(part) for name in weights)]:
            known = ", ".join(sorted({name.partition(".")[0] for name in weights}))
            got = ", ".join(repr(part.removesuffix(".")) for part in lacking)
            raise CheckpointError(
                f"{place} has no such part", got=f"{got} in {one}", do=f"Its parts: {known}."
            )
        found |= {name: value for name, value in weights.items() if not parts or name.startswith(parts)}
    return found


def split_start(one: str) -> tuple[str, tuple[str, ...]]:
    """Return which run or folder one of `start` names, and the beginnings of the weights wanted of it, () for all."""
    if "@" not in one or Path(one).exists():
        return one, ()
    place, _, parts = one.rpartition("@")
    return place, tuple(f"{part}." for part in parts.split("+"))


def model_of(folder: RunFolder, start: Sequence[str]) -> MiniConfig | None:
    """Return the sizes and names of a run, or else of the last that it starts from; None if none has any yet."""
    if (own := folder.root / "model.json").exists():
        return MiniConfig.load(own)
    found: list[MiniConfig] = []
    for one in (split_start(one)[0] for one in start):
        root = Path(one)
        place = root / "model.json" if root.is_dir() else root.parent.parent / "model.json"
        if (exported := _exported(one)) is not None:
            found.append(MiniConfig.from_dict(NetConfig.load(exported).segmenter))
        elif place.exists():
            found.append(MiniConfig.load(place))
    # One speaks, another does not yet, or was not yet taught all of its words. And one has parts that another, of which
    # other weights are wanted, has not.
    words = max((one.replies for one in reversed(found)), key=len, default=())
    parts: dict[str, Any] = {
        part: any(getattr(one, part) for one in found)
        for part in ("blends", "word_roles", "recognises", "doubts")
    }
    found = [
        replace(one, **parts, replies=words if one.replies == words[: len(one.replies)] else one.replies)
        for one in found
    ]
    if any(other != found[-1] for other in found):
        raise CheckpointError("the starts are of networks with other sizes or names", got=", ".join(start))
    return found[-1] if found else None


def _write_model(folder: RunFolder, model: MiniConfig) -> None:
    if rank() == 0:
        write_json(folder.root / "model.json", model.to_dict())


def _load(net: nn.Module, start: Sequence[str], wanted: tuple[str, ...]) -> set[str]:
    """Load the weights of other runs that `net` has; under `wanted`, both must have the same ones."""
    known = set(net.state_dict())
    weights = started_from(start)
    foreign = sorted(name for name in set(weights) - known if name.startswith(wanted))
    weights = {name: value for name, value in weights.items() if name in known}
    for name, value in net.state_dict().items():
        if name in weights and value.shape != weights[name].shape:
            weights[name] = wider(name, weights[name], value)
    lacking = sorted(name for name in known - set(weights) if name.startswith(wanted))
    if foreign or lacking:
        raise CheckpointError(
            f"{', '.join(start)} does not fit", got=f"lacking {lacking[:5]}, foreign {foreign[:5]}"
        )
    net.load_state_dict(weights, strict=False)
    return set(weights)


def wider(name: str, old: torch.Tensor, new: torch.Tensor) -> torch.Tensor:
    """Return what a network begins with, with what an earlier one of fewer kinds of request has learnt put in."""
    if old.shape[1:] != new.shape[1:] or len(old) > len(new):
        raise CheckpointError(
            f"{name} has another size", got=f"{[*old.shape]} where {[*new.shape]} is needed"
        )
    return torch.cat([old.to(new.dtype), new[len(old) :]])


def _exported(start: str) -> Path | None:
    """Return the folder of an exported model that `start` names; None if it is a run or a checkpoint file."""
    folder = Path(start)
    return folder if (folder / "segmenter.safetensors").exists() else None


def newest(start: str) -> dict[str, Any]:
    """Read a checkpoint file, the newest one of a run folder, or an exported model's folder."""
    if (folder := _exported(start)) is not None:
        net, _ = load_checkpoint(folder, device="cpu")
        return {"model": net.state_dict(), "step": 0}
    path = Path(start)
    if path.is_dir():
        found = RunFolder(path).checkpoints()
        if not found:
            raise CheckpointError("no checkpoint yet", got=path, do="Let that run save one first.")
        path = found[-1]
    elif not path.exists():
        raise CheckpointError("no such run, file or model to start from", got=start or "no name")
    state = read_state(path)
    return state | {"model": weights_in(state, path)}
