"""Qwen2.5-VL in a conversation: its chat template, its pictures, its positions in three dimensions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from askmask.model.qwen import CLOSING, END_OF_TURN, QwenPromptEncoder, QwenWords
from askmask.model.talk.encoder import TalkPromptEncoder
from askmask.model.talk.memory import Seen
from askmask.model.talk.words import TalkWords

USER, ASSISTANT = "<|im_start|>user\n", "<|im_start|>assistant\n"


class QwenTalkWords(QwenWords, TalkWords):
    """Qwen's tokenizer with the signs of a conversation added."""

    def __init__(self, folder: str | Path, config: Any):
        super().__init__(folder, config, published_text=False)
        self.find_signs(folder)

    @property
    def user(self) -> list[int]:
        """What stands before the user's words in all turns but the first."""
        return self._ids(USER)

    @property
    def after(self) -> list[int]:
        """What comes between the user's words and the answer."""
        return self._ids(ASSISTANT)

    @property
    def closing(self) -> list[int]:
        """What stands between the end of an answer and the memory of its masks."""
        return self._ids(CLOSING.removeprefix(END_OF_TURN))


class QwenTalkEncoder(TalkPromptEncoder, QwenPromptEncoder):
    """Qwen2.5-VL as the language back-end of conversations."""

    words: QwenTalkWords

    def __init__(self, config: dict[str, Any], lora: Mapping[str, Any] | None, folder: str | Path):
        super().__init__(config, lora, folder)
        count, width = self.table.shape
        tied = config.get("tie_word_embeddings")
        self.head = None if tied else nn.Linear(width, count, bias=False)

    def _reading(self, folder: str | Path, config: Any, published_text: bool) -> QwenTalkWords:
        return QwenTalkWords(folder, config)

    @property
    def language(self) -> Any:
        """What reads vectors."""
        return self.base.language_model

    def see(self, pixels: Tensor, grids: Tensor) -> list[Seen]:
        """Encode pictures: patches as `QwenWords.picture` cuts them, one row of `grids` for each."""
        out = self.base.get_image_features(pixels.to(self.device), grids.to(self.device), return_dict=True)
        side = self.words.merge
        sizes = [(int(rows) // side, int(columns) // side) for _, rows, columns in grids.tolist()]
        return [Seen(tokens, size) for tokens, size in zip(out.pooler_output, sizes, strict=True)]

    def positions(self, ids: Tensor, real: Tensor, grids: Tensor) -> tuple[Tensor, int]:
        """Return the 3-D positions [3, B, L] of streams that begin with a picture, and how far they differ from 1-D."""
        kinds = ids.eq(self.words.image_id).int()
        found, delta = self.base.get_rope_index(
            input_ids=ids,
            image_grid_thw=grids.to(ids.device),
            mm_token_type_ids=kinds,
            attention_mask=real.long(),
        )
        return found, int(delta[0])

    def counted(self, places: Tensor) -> Tensor:
        """Return positions of words, 1-D [B, n], as the model takes them: [3, B, n]."""
        return places.expand(3, *places.shape)
