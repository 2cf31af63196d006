"""AskMaskNet: the four parts joined; `forward` reads like the figure in the paper.

    picture -> segmenter.encode ---------------------------------------> features --.
    picture, prompt -> prompt_encoder -> token states -> adapter -> prompts --------+-> segmenter.decode -> masks

Letters as in seams.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from askmask.model.seams import (
    Features,
    Marks,
    MaskOutput,
    PastRound,
    Piece,
    PromptEncoder,
    Segmenter,
    Tokens,
)


@dataclass(frozen=True)
class Look:
    """One picture as both sides of the network see it: all that does not depend on a prompt."""

    features: Features
    prefix: Any


class AskMaskNet(nn.Module):
    """A visual back-end, a language back-end, and the adapter between them."""

    segmenter: Segmenter
    prompt_encoder: PromptEncoder
    remembers = False  # whether earlier rounds of a conversation change its answers
    refers = True  # of one that does: whether masks that a prompt is said to be about change its answer
    threads: int | None = (
        None  # of the processor, in `at_most`'s words: what is fastest for a network of this size
    )

    def __init__(self, segmenter: Segmenter, prompt_encoder: PromptEncoder, adapter: nn.Module):
        super().__init__()
        self.segmenter = segmenter
        self.prompt_encoder = prompt_encoder
        self.adapter = adapter

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    @torch.no_grad()
    def look(self, rgb: np.ndarray, pixels: Tensor) -> Look:
        """Encode one picture: uint8 [H, W, 3] for the language side, [3, S, S] (`segmenter.prepare`) to segment."""
        features = self.segmenter.encode(pixels[None].to(self.device))
        return Look(features, self.prompt_encoder.prefix(rgb, features))

    def remember(self, look: Look, memory: Any, round: PastRound) -> Any:
        """Return the memory of a conversation after one more round; `memory` stays as it is, None before the first.

        A memory numbers its masks in the order they came: M = 0 .. n - 1. None from a network that forgets.
        """
        return None

    @torch.no_grad()
    def ask(
        self,
        look: Look,
        tokens: Tokens,
        memories: Sequence[Any] = (),
        meant: Sequence[Sequence[int]] = (),
        chains: Sequence[Sequence[int]] = (),
        *,
        multimask: bool = False,
    ) -> MaskOutput:
        """Answer B prompts about one picture; row by row what each would get alone.

        `memories`: what `remember` made of each prompt's conversation, () if all stand alone; `meant`: the numbers of
        the remembered masks that each prompt was said to speak of; `chains`: of the rounds that it builds on by that
        (`history.chain_of`), which a network may take to be all that was said.
        """
        states = self.prompt_encoder.encode(look.prefix, tokens)
        return self.segmenter.decode(look.features, self.adapter(states), multimask=multimask)

    def stream(
        self,
        look: Look,
        tokens: Tokens,
        memories: Sequence[Any] = (),
        meant: Sequence[Sequence[int]] = (),
        chains: Sequence[Sequence[int]] = (),
        *,
        multimask: bool = False,
        least: float = 0.0,
        earlier: Sequence[str] = (),
    ) -> Iterator[Piece | MaskOutput]:
        """Answer B prompts as `ask` does, in masks and words; yields the words as they come, then the whole.

        `least`: the presence below which nothing counts as found; `earlier`: what was said before each prompt, by the
        user and in reply, "" if nothing. A network that does not speak yields no words.
        """
        yield self.ask(look, tokens, memories, meant, chains, multimask=multimask)

    @torch.no_grad()
    def point(self, look: Look, marks: Marks, *, multimask: bool = False) -> MaskOutput:
        """Segment what is marked on one picture: Q = 1."""
        return self.segmenter.decode(look.features, self.segmenter.mark(marks), multimask=multimask)

    def notices(self, look: Look) -> tuple[str, ...]:
        """Return what a user should know before trusting an answer about this picture."""
        return ()

    def unread(self, text: str) -> tuple[str, ...]:
        """Return what a user should know about the words of a prompt."""
        return ()

    def forward(self, features: Features, tokens: Tokens, *, multimask: bool = False) -> MaskOutput:
        """Answer B prompts about B pictures, with gradients. `features`: `segmenter.encode(pixels)`, often cached."""
        states = self.prompt_encoder.encode_pairs(features, tokens)  # [B, T, D]
        return self.segmenter.decode(features, self.adapter(states), multimask=multimask)  # [Q, K, S/4, S/4]
