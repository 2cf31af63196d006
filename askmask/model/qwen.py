"""The language back-end of the large networks: Qwen2.5-VL without its language head, with LoRA (PEFT).

Sees one user turn, the picture and then the words, through the chat template. Everything up to the end of the
picture is the same for all prompts about it, and is run once (`prefix`).

Letters: B prompts, P prefix tokens, W words among them, L tokens after the prefix, D width, M picture patches.
Source: Qwen2.5-VL technical report 2025; the choice of tokens is ConverSeg's (CVPR 2026).
"""

from __future__ import annotations

import copy
import inspect
import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from askmask.errors import CheckpointError, PictureError, PromptError
from askmask.model.seams import MAX_PROMPT_CHARS, Features, Tokens, TokenStates

MAX_PROMPT_TOKENS = 256
CACHED_TOKENS = 32_768  # of picture and template, over the prompts encoded together: 1.2 GB at 3B in bfloat16
IMAGE_TOKEN = "<|image_pad|>"
PICTURE = "<|vision_start|><|image_pad|><|vision_end|>"
# Tokens whose numbers the checkpoint's config and its tokenizer must agree on.
SPECIAL_TOKENS = {
    "image_token_id": "<|image_pad|>",
    "vision_start_token_id": "<|vision_start|>",
    "vision_end_token_id": "<|vision_end|>",
}
END_OF_TURN = "<|im_end|>"
CLOSING = f"{END_OF_TURN}\n"


@dataclass(frozen=True)
class QwenPrefix:
    """What the language side knows of a picture before any word of the prompt."""

    cache: Any  # key-value cache of P tokens, batch 1; copied before use
    length: int  # P
    words: Tensor  # [1, W, D], states of the template's words before the picture
    next_position: int  # of the first token after the prefix, in Qwen's 3-D counting


@dataclass(frozen=True)
class QwenTokens(Tokens):
    """Prompts, and the pictures inside them where they bring their own."""

    patches: Tensor | None = None  # [M, 3 * frames * patch^2] of all pictures
    grids: Tensor | None = None  # [B, 3]: frames, rows and columns of patches of each

    def group(self, first: int, last: int) -> QwenTokens:
        """Return prompts about a picture already encoded, without padding that none of them needs."""
        longest = int(self.real[first:last].sum(1).max())
        return QwenTokens(self.ids[first:last, :longest], self.real[first:last, :longest])


class QwenPromptEncoder(nn.Module):
    """Qwen2.5-VL behind the PromptEncoder seam."""

    def __init__(
        self,
        config: dict[str, Any],
        lora: Mapping[str, Any] | None,
        folder: str | Path,
        *,
        published_text: bool = False,
    ):
        """Build from a transformers config, LoRA settings {r, alpha, dropout, targets} and a tokenizer folder.

        `published_text`: treat prompts as the published code does (see QwenWords.sent_text).
        """
        from transformers import Qwen2_5_VLConfig, Qwen2_5_VLModel

        super().__init__()
        base: Any = Qwen2_5_VLModel(Qwen2_5_VLConfig(**config))
        self.width: int = base.config.text_config.hidden_size
        self.base: Any = base if lora is None else with_lora(base, lora)
        # transformers 5.24 renamed it, and drops the old name in 5.40.
        known = inspect.signature(Qwen2_5_VLModel.forward).parameters
        self._cache_argument = "cache" if "cache" in known else "past_key_values"
        self.words = self._reading(folder, base.config, published_text)

    def _reading(self, folder: str | Path, config: Any, published_text: bool) -> QwenWords:
        return QwenWords(folder, config, published_text)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.base.language_model.embed_tokens.weight.device

    # -- one picture, many prompts ------------------------------------------------------------------------

    @torch.no_grad()
    def prefix(self, rgb: np.ndarray, features: Features | None = None) -> QwenPrefix:
        """Run the template and the picture uint8 [H, W, 3] up to the first word; `features` are not used."""
        pixels, grid = self.words.picture(rgb)
        ids = torch.tensor([self.words.head(grid)], device=self.device)  # [1, P]
        inputs = self._inputs(ids, pixels, grid)
        positions, delta = self.base.get_rope_index(
            input_ids=ids,
            image_grid_thw=inputs["image_grid_thw"],
            mm_token_type_ids=inputs["mm_token_type_ids"],
        )
        out = self.base(input_ids=ids, position_ids=positions, use_cache=True, **inputs)
        words = out.last_hidden_state[:, self.words.is_text(ids)[0]]
        return QwenPrefix(getattr(out, self._cache_argument), ids.shape[1], words, ids.shape[1] + int(delta))

    @torch.no_grad()
    def encode(self, prefix: QwenPrefix, tokens: QwenTokens) -> TokenStates:
        """Encode B prompts about one picture: states [B, T, D], T the prefix's words and the prompt's tokens."""
        # Every prompt of a group has its own copy of the picture's cache, so long ones go in smaller groups.
        size = max(1, CACHED_TOKENS // prefix.length)
        groups = [tokens.group(n, n + size) for n in range(0, len(tokens), size)]
        parts = [self._encode_tails(prefix, group) for group in groups]
        longest = max(part.states.shape[1] for part in parts)
        return TokenStates(
            torch.cat([F.pad(part.states, (0, 0, 0, longest - part.states.shape[1])) for part in parts]),
            torch.cat([F.pad(part.sparse, (0, longest - part.sparse.shape[1])) for part in parts]),
            torch.cat([part.dense_at for part in parts]),
        )

    def _encode_tails(self, prefix: QwenPrefix, tokens: QwenTokens) -> TokenStates:
        ids, real = tokens.ids.to(self.device), tokens.real.to(self.device)  # [B, L]
        batch, length = ids.shape
        positions = torch.arange(length, device=self.device) + prefix.next_position
        cache = copy.deepcopy(prefix.cache)
        cache.batch_repeat_interleave(batch)
        seen = torch.ones(batch, prefix.length, dtype=torch.bool, device=self.device)
        out = self.base(
            input_ids=ids,
            attention_mask=torch.cat([seen, real], 1).long(),
            position_ids=positions.expand(3, batch, length),
            **{self._cache_argument: cache},
            use_cache=True,
        )
        words = prefix.words.expand(batch, -1, -1)  # [B, W, D]
        text, end = self._roles(ids, real)
        every = torch.ones(words.shape[:2], dtype=torch.bool, device=self.device)
        return TokenStates(
            torch.cat([words, out.last_hidden_state], 1), torch.cat([every, text], 1), end + words.shape[1]
        )

    # -- many pictures, one prompt each --------------------------------------------------------

    def encode_pairs(self, features: Features | None, tokens: QwenTokens) -> TokenStates:
        """Encode B prompts with their pictures, with gradients; `features` are not used."""
        ids, real = tokens.ids.to(self.device), tokens.real.to(self.device)  # [B, T]
        inputs = self._inputs(ids, tokens.patches, tokens.grids)
        out = self.base(input_ids=ids, attention_mask=real.long(), use_cache=False, **inputs)
        text, end = self._roles(ids, real)
        return TokenStates(out.last_hidden_state, text, end)

    # -- parts --------------------------------------------------------------------------------------------

    def _inputs(self, ids: Tensor, pixels: Tensor | None, grid: Tensor | None) -> dict[str, Tensor]:
        # Without mm_token_type_ids transformers 5 silently counts positions in 1-D.
        inputs = {"mm_token_type_ids": ids.eq(self.words.image_id).int()}
        if pixels is not None and grid is not None:
            inputs |= {"pixel_values": pixels.to(self.device), "image_grid_thw": grid.to(self.device)}
        return inputs

    def _roles(self, ids: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
        """Which tokens are text [B, T] bool, and where the last end of turn stands [B], else the last token."""
        ends: Tensor = ids.eq(self.words.end_id) & real
        ends = torch.where(ends.any(1, keepdim=True), ends, real)
        last = ids.shape[1] - 1 - ends.flip(1).int().argmax(1)
        text = self.words.is_text(ids) & real
        return text.scatter(1, last[:, None], False), last


class QwenWords:
    """Tokenizer, chat template and picture patches, without torchvision (transformers' processor needs it)."""

    def __init__(self, folder: str | Path, config: Any, published_text: bool):
        from transformers import AutoTokenizer

        # Never code from the folder: without the refusal transformers asks on the terminal whether to run it.
        self.tokenizer: Any = AutoTokenizer.from_pretrained(
            str(folder), local_files_only=True, trust_remote_code=False
        )
        # Each kind of call sets switches in the tokenizer itself, so that threads must take turns.
        self._turn = threading.Lock()
        settings = json.loads((Path(folder) / "preprocessor_config.json").read_text(encoding="utf-8"))
        self.published_text = published_text
        self.patch, self.merge = settings["patch_size"], settings["merge_size"]
        self.frames = settings["temporal_patch_size"]
        self.min_pixels, self.max_pixels = settings["min_pixels"], settings["max_pixels"]
        self.mean = torch.tensor(settings["image_mean"])[:, None, None]
        self.std = torch.tensor(settings["image_std"])[:, None, None]
        for name, token in SPECIAL_TOKENS.items():
            found, wanted = self.tokenizer.convert_tokens_to_ids(token), getattr(config, name)
            if found != wanted:
                raise CheckpointError(
                    f"{folder}: token {token} is number {wanted} for the weights ({name})",
                    got=f"{found} in the tokenizer",
                    do="Use the tokenizer that came with these weights.",
                )
        image_id = self.tokenizer.convert_tokens_to_ids(IMAGE_TOKEN)
        assert isinstance(image_id, int)  # a token, not a list of them, was asked for
        self.image_id = image_id
        end_id = self.tokenizer.convert_tokens_to_ids(END_OF_TURN)
        if not isinstance(end_id, int) or end_id == self.tokenizer.unk_token_id:
            raise CheckpointError(f"{folder}: the tokenizer has no {END_OF_TURN}")
        self.end_id = end_id
        self.pad_id = self.tokenizer.pad_token_id
        self._not_text = torch.tensor(sorted({*self.tokenizer.all_special_ids, self.image_id, self.end_id}))
        self.head(self.picture(np.zeros((1, 1, 3), np.uint8))[1])  # settings that cannot work show now

    def tokens(self, prompts: list[str]) -> QwenTokens:
        """Read prompts about a picture already encoded: their words, and what closes the turn."""
        return self.padded([self.tail(prompt) for prompt in prompts])

    def pairs(self, pictures: list[np.ndarray], prompts: list[str]) -> QwenTokens:
        """Read whole turns: picture uint8 [H, W, 3], then words."""
        cut = [self.picture(rgb) for rgb in pictures]
        rows = [self.head(grid) + self.tail(prompt) for (_, grid), prompt in zip(cut, prompts, strict=True)]
        patches, grids = (torch.cat(part) for part in zip(*cut, strict=True))
        return replace(self.padded(rows), patches=patches, grids=grids)

    def padded(self, rows: list[list[int]]) -> QwenTokens:
        """Bring rows of ids to one length."""
        length = max(map(len, rows))
        ids = torch.tensor([row + [self.pad_id] * (length - len(row)) for row in rows])
        real = torch.tensor([[n < len(row) for n in range(length)] for row in rows])
        return QwenTokens(ids, real)

    def is_text(self, ids: Tensor) -> Tensor:
        """Say which ids are words (template boilerplate included), not special or picture tokens."""
        return ~torch.isin(ids, self._not_text.to(ids.device))

    def head(self, grid: Tensor) -> list[int]:
        """Return the ids up to the end of the picture, its placeholder repeated."""
        text = self.tokenizer.apply_chat_template([{"role": "user", "content": PICTURE}], tokenize=False)
        ids = self._ids(text.removesuffix(CLOSING))
        if not text.endswith(CLOSING) or ids.count(self.image_id) != 1:
            raise CheckpointError(
                "the chat template must show the picture and close the turn", got=repr(text)
            )
        at = ids.index(self.image_id)
        ids[at : at + 1] = [self.image_id] * (int(grid.prod()) // self.merge**2)
        return ids

    def tail(self, prompt: str) -> list[int]:
        """Return the ids of the words and of what closes the turn."""
        # The words stand between special tokens, so reading them apart changes no token.
        return self.bare(prompt) + self._ids(CLOSING)

    def bare(self, prompt: str) -> list[int]:
        """Return the ids of the words alone.

        Natively, special tokens that someone types are words like others, and more than 256 tokens are an
        error. As published: cut at 256 tokens, special tokens removed, and what is left read again.
        """
        if self.published_text:
            cut = self._ids(prompt[:MAX_PROMPT_CHARS], truncation=True, max_length=MAX_PROMPT_TOKENS)
            sent = self.tokenizer.decode(cut, skip_special_tokens=True, clean_up_tokenization_spaces=False)
            return self._ids(sent)
        return written(prompt, lambda text: self._ids(text, split_special_tokens=True))

    def _ids(self, text: str, **how: Any) -> list[int]:
        with self._turn:
            return self.tokenizer(text, add_special_tokens=False, **how).input_ids

    def picture(self, rgb: np.ndarray) -> tuple[Tensor, Tensor]:
        """Cut uint8 [H, W, 3] into normalised patches [M, 3 * frames * patch^2] and the grid [1, 3] (t, h, w)."""
        height, width = self._fit(*rgb.shape[:2])
        pixels = torch.from_numpy(rgb).permute(2, 0, 1)[None]  # [1, 3, H, W]
        # On uint8 and antialiased: what torchvision does, to the bit; Pillow's bicubic is up to 0.03 off.
        pixels = F.interpolate(pixels, (height, width), mode="bicubic", antialias=True)[0]
        pixels = (pixels.float() - 255 * self.mean) / (255 * self.std)  # [3, height, width]
        rows, columns, side = height // self.patch, width // self.patch, self.merge
        blocks = pixels.reshape(3, rows // side, side, self.patch, columns // side, side, self.patch)
        blocks = blocks.permute(1, 4, 2, 5, 0, 3, 6)  # merge blocks in reading order, patches inside them
        blocks = blocks[:, :, :, :, :, None].expand(-1, -1, -1, -1, -1, self.frames, -1, -1)
        return blocks.reshape(rows * columns, -1), torch.tensor([[1, rows, columns]])

    def _fit(self, height: int, width: int) -> tuple[int, int]:
        """Nearest multiples of a merge block whose area lies within the model's limits (Qwen2-VL, section 2.1)."""
        unit = self.patch * self.merge
        if max(height, width) > 200 * min(height, width):
            raise PictureError(
                "the picture is more than 200 times as long as wide",
                got=f"{width} x {height} px",
                do="Crop it.",
            )
        fit_h, fit_w = max(unit, round(height / unit) * unit), max(unit, round(width / unit) * unit)
        if fit_h * fit_w > self.max_pixels:
            shrink = (height * width / self.max_pixels) ** 0.5
            fit_h = max(unit, int(height / shrink / unit) * unit)
            fit_w = max(unit, int(width / shrink / unit) * unit)
        elif fit_h * fit_w < self.min_pixels:
            grow = (self.min_pixels / (height * width)) ** 0.5
            fit_h, fit_w = (-int(-length * grow // unit) * unit for length in (height, width))
        return fit_h, fit_w


def written(prompt: str, write: Callable[[str], list[int]]) -> list[int]:
    """Return what `write` makes of a prompt. Raises PromptError if that, or the prompt, is too long."""
    if len(prompt) > MAX_PROMPT_CHARS:
        raise PromptError(
            f"a prompt has at most {MAX_PROMPT_CHARS} characters", got=len(prompt), do="Shorten it."
        )
    words = write(prompt)
    if len(words) > MAX_PROMPT_TOKENS:
        raise PromptError(
            f"a prompt has at most {MAX_PROMPT_TOKENS} tokens", got=len(words), do="Shorten it."
        )
    return words


def with_lora(model: nn.Module, lora: Mapping[str, Any]) -> nn.Module:
    """Put LoRA layers {r, alpha, dropout, targets} into a model, and return it."""
    from peft import LoraConfig, inject_adapter_in_model

    settings = LoraConfig(
        r=lora["r"],
        lora_alpha=lora["alpha"],
        lora_dropout=lora["dropout"],
        target_modules=lora["targets"],
    )
    return inject_adapter_in_model(settings, model)
