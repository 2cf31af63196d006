"""MIRAS's language side in a conversation: its front, and a Llama with LoRA that reads what the front sees.

Letters as in talk/encoder.py.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from askmask.errors import CheckpointError
from askmask.model.miras.front import Framing, MirasFront
from askmask.model.miras.words import VicunaWords
from askmask.model.qwen import with_lora
from askmask.model.talk.encoder import TalkPromptEncoder
from askmask.model.talk.memory import Seen

SIDE = 768  # of the square that ConvNeXt sees
PARTS = ("clip", "convnext", "language")


class MirasEncoder(TalkPromptEncoder):
    """CLIP, ConvNeXt and Llama as the language back-end of conversations."""

    words: VicunaWords

    def __init__(self, config: Mapping[str, Any], lora: Mapping[str, Any] | None, folder: str | Path | None):
        """Build from {clip, convnext, language: transformers' settings; side; framing}, LoRA settings, a tokenizer.

        `folder` None: to be counted alone.
        """
        from transformers import LlamaConfig, LlamaModel

        super().__init__()
        settings = {name: config.get(name) for name in PARTS}
        if not all(isinstance(value, Mapping) for value in settings.values()):
            raise CheckpointError(f"settings of {', '.join(PARTS)} are needed", got=sorted(config))
        base: Any = LlamaModel(LlamaConfig(**settings["language"]))  # type: ignore[arg-type]
        self.width: int = base.config.hidden_size
        self.base: Any = base if lora is None else with_lora(base, lora)
        framing = Framing(config.get("side", SIDE), config.get("framing", "stretch"))
        self.front = MirasFront(settings["clip"] or {}, settings["convnext"] or {}, framing.side, self.width)
        rows = self.table.shape[0]
        tied = base.config.tie_word_embeddings
        self.head = None if tied else nn.Linear(self.width, rows, bias=False)
        # transformers 5.24 renamed it, and drops the old name in 5.40.
        known = inspect.signature(LlamaModel.forward).parameters
        self._cache_argument = "cache" if "cache" in known else "past_key_values"
        if folder is not None:
            self.words = VicunaWords(folder, framing, self.front.grid, rows)

    @property
    def language(self) -> Any:
        """What reads vectors."""
        return self.base

    def see(self, pixels: Tensor, grids: Tensor) -> list[Seen]:
        """Encode pictures as `VicunaWords.picture` makes them, one row of `grids` for each."""
        side = self.front.grid
        return [Seen(tokens, (side, side)) for tokens in self.front(pixels.to(self.device))]

    def positions(self, ids: Tensor, real: Tensor, grids: Tensor) -> tuple[Tensor, int]:
        """Return positions of streams, [B, L]: a picture's tokens are counted as words are."""
        return torch.arange(ids.shape[1], device=ids.device).expand_as(ids), 0

    def counted(self, places: Tensor) -> Tensor:
        """Return positions of words [B, n] as the model takes them: as they are."""
        return places
