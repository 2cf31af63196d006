"""Qwen2.5-VL on this machine through transformers: no key, no network once the weights are there.

Schemas are shown in the instructions, not enforced while decoding; a reply that does not fit goes through the same
repair round and quarantine as any other. One request at a time: the model has the device to itself.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

from askmask.engine.templates import fill
from askmask.errors import MissingExtra
from askmask.vlm.errors import CallFailed
from askmask.vlm.request import Completion, Request


class LocalVlm:
    """A `Qwen2_5_VLForConditionalGeneration` from a folder or Hub name."""

    provider = "local"

    def __init__(self, folder: str, *, device: str = "cpu", dtype: str = "auto"):
        try:
            import torch
            from transformers import (
                AutoTokenizer,
                Qwen2_5_VLForConditionalGeneration,
                Qwen2VLImageProcessorPil,
            )
        except ImportError as error:
            raise MissingExtra("transformers", "engine") from error
        self.model = folder.rstrip("/").rsplit("/", 1)[-1]
        self._torch, self._device = torch, device
        # Tokenizer and image processor apart: the joint processor would need torchvision.
        self._tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        self._images = Qwen2VLImageProcessorPil.from_pretrained(folder)
        net = Qwen2_5_VLForConditionalGeneration.from_pretrained(folder, dtype=dtype)
        self._net = net.to(device).eval()  # type: ignore[arg-type]  # transformers' wrapper of `to` hides self
        self._lock = asyncio.Lock()

    async def complete(self, request: Request) -> Completion:
        """Generate one reply in a thread."""
        async with self._lock:
            try:
                return await asyncio.to_thread(self._generate, request)
            except (RuntimeError, MemoryError) as error:
                raise CallFailed("server", f"{type(error).__name__}: {error}") from error

    def _generate(self, request: Request) -> Completion:
        torch = self._torch
        images = self._images(images=[p.rgb for p in request.pictures], return_tensors="pt")
        grids = images["image_grid_thw"]  # [pictures, 3]
        merged = self._images.merge_size**2
        text: str = self._tokenizer.apply_chat_template(
            _messages(request), tokenize=False, add_generation_prompt=True
        )
        pieces = text.split("<|image_pad|>")
        counts = [int(grid.prod()) // merged for grid in grids]
        text = pieces[0] + "".join(
            "<|image_pad|>" * count + piece for count, piece in zip(counts, pieces[1:], strict=True)
        )
        ids = self._tokenizer(text, return_tensors="pt", add_special_tokens=False).input_ids
        with torch.inference_mode():
            output = self._net.generate(
                input_ids=ids.to(self._device),
                attention_mask=torch.ones_like(ids).to(self._device),
                mm_token_type_ids=(ids == self._net.config.image_token_id).int().to(self._device),
                pixel_values=images["pixel_values"].to(self._device, self._net.dtype),
                image_grid_thw=grids.to(self._device),
                max_new_tokens=request.max_tokens,
                **self._sampling(request),
            )
        new = output[0, ids.shape[1] :]
        ended = bool(len(new)) and int(new[-1]) in _ids(self._net.generation_config.eos_token_id)
        return Completion(
            text=self._tokenizer.decode(new, skip_special_tokens=True),
            finish="stop" if ended else "length",
            input_tokens=ids.shape[1],
            output_tokens=len(new),
            model=self.model,
        )

    def _sampling(self, request: Request) -> dict[str, Any]:
        if request.temperature == 0:
            return {"do_sample": False}
        self._torch.manual_seed(int(request.key(self.provider, self.model)[:8], 16))
        return {"do_sample": True, "temperature": request.temperature}

    async def close(self) -> None:
        """Nothing to close."""


def _messages(request: Request) -> list[dict[str, Any]]:
    system = f"{request.instructions}\n\nReply with one JSON object that fits this schema:\n" + json.dumps(
        request.schema
    )
    content = [*({"type": "image"} for _ in request.pictures), {"type": "text", "text": request.user_text}]
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": system},
        {"role": "user", "content": content},
    ]
    if request.complaint is not None:
        messages += [
            {"role": "assistant", "content": request.broken_reply or ""},
            {"role": "user", "content": fill("repair", error=request.complaint)},
        ]
    return messages


def _ids(eos: int | list[int] | None) -> list[int]:
    return [] if eos is None else [eos] if isinstance(eos, int) else list(eos)
