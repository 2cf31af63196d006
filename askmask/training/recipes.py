"""Recipes: one function per kind of run, each returning a frozen dataclass that says everything about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from askmask.training.conversation import ConversationConfig
from askmask.training.dialogue import DialogueConfig
from askmask.training.loop import LoopConfig
from askmask.training.optimiser import Schedule
from askmask.training.perception import PerceptionConfig
from askmask.training.refinement import RefinementConfig
from askmask.training.replies import ReplyConfig
from askmask.training.segmentation import SegmentationConfig
from askmask.training.selection import SelectionConfig


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What every run has: where it writes, whose weights it begins with, how it loops."""

    stage: str
    run: str
    # For its weights: runs, checkpoints, models' folders (or names, on the command line), a later one's weights in
    # place of an earlier one's.
    start: tuple[str, ...] = ()
    threads: int = 0  # 0: torch's own choice
    loop: LoopConfig = field(default_factory=LoopConfig)
    data: Any  # what it reads and trains


@dataclass(frozen=True, kw_only=True)
class PerceptionRecipe(Recipe):
    """Stage 0 of `mini`: encoder and dense heads, from nothing or from `start`, on dense truth."""

    data: PerceptionConfig = field(default_factory=PerceptionConfig)


@dataclass(frozen=True, kw_only=True)
class SelectionRecipe(Recipe):
    """`mini`'s language: words choose regions, over frozen eyes (`start`)."""

    grow: bool = False  # whether `start` gets what it lacks: compose.py, and the kinds of request in the data
    data: SelectionConfig = field(default_factory=SelectionConfig)


@dataclass(frozen=True, kw_only=True)
class ConversationRecipe(Recipe):
    """`mini`'s words and memory together, over frozen eyes: any weights of it (`start`) get what they lack."""

    data: ConversationConfig = field(default_factory=ConversationConfig)


@dataclass(frozen=True, kw_only=True)
class RefinementRecipe(Recipe):
    """`mini`'s mask decoder, with the language side still learning or, with `data.choice=0`, frozen (`start`)."""

    data: RefinementConfig = field(default_factory=RefinementConfig)


@dataclass(frozen=True, kw_only=True)
class ReplyRecipe(Recipe):
    """`mini`'s replies in words, over all else frozen (`start`); any weights of it get what they lack."""

    data: ReplyConfig = field(default_factory=ReplyConfig)


@dataclass(frozen=True, kw_only=True)
class SegmentationRecipe(Recipe):
    """Phase one or two of any network (`model`) on pictures, prompts and masks."""

    model: str = "mini"  # a checkpoint folder; on the command line also a name `askmask.load` knows
    data: SegmentationConfig = field(default_factory=SegmentationConfig)


@dataclass(frozen=True, kw_only=True)
class DialogueRecipe(Recipe):
    """Conversations on a large network that talks (`model`): masks remembered, replies with masks in them."""

    model: str = ""  # a checkpoint folder that `askmask new --talking-from` wrote, or an export of such a run
    data: DialogueConfig = field(default_factory=DialogueConfig)


def phase_one() -> SegmentationRecipe:
    """Literal concepts and referring expressions: the paper's first phase (35,000 steps, section 5)."""
    return SegmentationRecipe(
        stage="segmentation",
        run="runs/phase-one",
        loop=LoopConfig(steps=35_000, schedule=Schedule(lr=1e-4, min_lr=1e-6)),
    )


def phase_two() -> SegmentationRecipe:
    """Conversational data at a tenth of the rate. Mix phase one in, half and half: data=NEW,OLD weights=1,1."""
    return SegmentationRecipe(
        stage="segmentation",
        run="runs/phase-two",
        loop=LoopConfig(steps=35_000, schedule=Schedule(lr=1e-5, min_lr=1e-6)),
    )


def mini_perception() -> PerceptionRecipe:
    """`mini`'s eyes: 64 to 192 px."""
    return PerceptionRecipe(
        stage="perception",
        run="runs/mini-perception",
        loop=LoopConfig(
            steps=3000, schedule=Schedule(lr=2e-3, min_lr=1e-5), clip=5.0, save_every=100, evaluate_every=500
        ),
    )


def mini_phase_one() -> SelectionRecipe:
    """Plain names, colours and places."""
    return SelectionRecipe(
        stage="selection",
        run="runs/mini-phase-one",
        data=SelectionConfig(literal=1.0),
        loop=LoopConfig(
            steps=1000, schedule=Schedule(lr=1.2e-3, min_lr=2e-5), save_every=200, evaluate_every=500
        ),
    )


def mini_phase_two() -> SelectionRecipe:
    """All five concepts, half of the samples still literal, at a lower rate."""
    return SelectionRecipe(
        stage="selection",
        run="runs/mini-phase-two",
        data=SelectionConfig(literal=0.5),
        loop=LoopConfig(
            steps=3000, schedule=Schedule(lr=8e-4, min_lr=1e-5), save_every=200, evaluate_every=500
        ),
    )


def conversation() -> ConversationRecipe:
    """Dialogues beside single prompts: every round, in the light of those before it."""
    return ConversationRecipe(
        stage="conversation",
        run="runs/conversation",
        loop=LoopConfig(
            steps=3000, schedule=Schedule(lr=8e-4, min_lr=1e-5), save_every=100, evaluate_every=500
        ),
    )


def large_conversation() -> DialogueRecipe:
    """The same for SAM2 and Qwen2.5-VL: what `conversation` means where `model=` names such a network."""
    return DialogueRecipe(
        stage="dialogue",
        run="runs/conversation",
        loop=LoopConfig(steps=20_000, schedule=Schedule(lr=5e-5, min_lr=1e-6)),
    )


def miras_one() -> DialogueRecipe:
    """MIRAS's mask-text alignment, as its paper trains it: projections and mask decoder; eyes and language frozen."""
    return _miras("runs/miras-one", "miras-one", steps=5000, batch=2, warmup=0.02, clip=5.0, templated=True)


def miras_two() -> DialogueRecipe:
    """MIRAS's instruction tuning on PRIST, as its paper trains it. Begin with the first stage: start=RUN."""
    return _miras("runs/miras-two", "miras-two", steps=25_000, batch=8, warmup=0.004, clip=1.0)


def miras_one_as_coded() -> DialogueRecipe:
    """The first stage with what its code trains: LoRA, the tables of words and the mask decoder; projections frozen."""
    return _as_coded(miras_one())


def miras_two_as_coded() -> DialogueRecipe:
    """The second stage with what its code trains."""
    return _as_coded(miras_two())


def _miras(
    run: str, mixture: str, *, steps: int, batch: int, warmup: float, clip: float, templated: bool = False
) -> DialogueRecipe:
    return DialogueRecipe(
        stage="dialogue",
        run=run,
        loop=LoopConfig(
            steps=steps,
            accumulate=10,
            schedule=Schedule(lr=3e-4, min_lr=0.0, warmup=warmup, fall="linear"),
            weight_decay=0.0,
            beta2=0.95,
            clip=clip,
        ),
        data=DialogueConfig(
            batch=batch,
            mixture=mixture,
            templated=templated,
            language="frozen",
            front="projections",
            own=0.0,  # no mask is remembered
            damage=0.0,
            words_weight=1.0,
            bce_weight=2.0,
            dice_weight=0.5,
            score_weight=0.0,
        ),
    )


def _as_coded(recipe: DialogueRecipe) -> DialogueRecipe:
    data = replace(recipe.data, language="lora+tables", front="frozen")
    return replace(recipe, run=f"{recipe.run}-as-coded", data=data)


def mini_masks() -> RefinementRecipe:
    """The mask decoder over what the words chose; clicks and boxes besides."""
    return RefinementRecipe(
        stage="refinement",
        run="runs/mini-masks",
        loop=LoopConfig(
            steps=600,
            schedule=Schedule(lr=6e-4, min_lr=1e-5),
            log_every=10,
            save_every=50,
            evaluate_every=150,
        ),
    )


def mini_replies() -> ReplyRecipe:
    """Replies: what was found, that nothing matches, or a question back. Masks stay as they are: train it last."""
    return ReplyRecipe(
        stage="replies",
        run="runs/mini-replies",
        loop=LoopConfig(
            steps=4000,
            schedule=Schedule(lr=2e-3, min_lr=2e-5),
            log_every=50,
            save_every=200,
            evaluate_every=1000,
        ),
    )


RECIPES: dict[str, Any] = {
    recipe.__name__: recipe
    for recipe in (
        phase_one,
        phase_two,
        mini_perception,
        mini_phase_one,
        mini_phase_two,
        conversation,
        miras_one,
        miras_two,
        miras_one_as_coded,
        miras_two_as_coded,
        mini_masks,
        mini_replies,
    )
}


def recipe_for(name: str, settings: Sequence[str]) -> Any:
    """Return the recipe of a name; where `model=` names a large network, its own of that name."""
    named = any(setting.partition("=")[0].strip() == "model" for setting in settings)
    return large_conversation() if name == "conversation" and named else RECIPES[name]()
