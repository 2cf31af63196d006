"""Qwen2.5-VL or Qwen3-VL on this machine through transformers: no key, no network.

The weights are read when the first request comes. What the vision tower makes of a picture is kept for the next
prompts about it. Schemas are shown in the instructions, not enforced while decoding; a reply that does not fit goes
through the same repair round and quarantine as any other. One request at a time: the model has the device to itself.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from askmask.errors import MissingExtra, SettingError
from askmask.vlm.errors import CallFailed
from askmask.vlm.request import Completion, Request, Turn

KEPT_PICTURES = 4  # whose features are kept; one of 1024 tokens takes 4 to 40 MB


class LocalVlm:
    """A Qwen2.5-VL or Qwen3-VL from a folder, or of a Hub name that was fetched before.

    Raises SettingError for a folder that holds neither, before any weight is read.
    """

    provider = "local"
    extra: Mapping[str, Any] = {}

    def __init__(self, folder: str, *, device: str = "cpu", dtype: str = "auto"):
        try:
            import torch
            from transformers import (
                AutoConfig,
                AutoTokenizer,
                Qwen2_5_VLForConditionalGeneration,
                Qwen2VLImageProcessorPil,
                Qwen3VLForConditionalGeneration,
            )
        except ImportError as error:
            raise MissingExtra("transformers", "engine") from error
        kinds = {
            "qwen2_5_vl": Qwen2_5_VLForConditionalGeneration,
            "qwen3_vl": Qwen3VLForConditionalGeneration,
        }
        self.model = folder.rstrip("/").rsplit("/", 1)[-1]
        self._torch, self._folder, self._device, self._dtype = torch, folder, device, dtype
        try:
            kind = AutoConfig.from_pretrained(folder, local_files_only=True).model_type
            # Tokenizer and image processor apart: the joint processor would need torchvision.
            self._tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
            self._images = Qwen2VLImageProcessorPil.from_pretrained(folder, local_files_only=True)
        except (OSError, ValueError) as error:
            raise SettingError(
                "no local vision-language model can be read there",
                got=f"{folder}: {str(error).splitlines()[0][:160]}",
                do="Name a folder of Qwen2.5-VL or Qwen3-VL, or a Hub name that was fetched.",
            ) from error
        if kind not in kinds:
            raise SettingError("a local model must be a Qwen2.5-VL or a Qwen3-VL", got=kind)
        self._kind: Any = kinds[kind]
        self._lock = asyncio.Lock()

    @cached_property
    def _net(self) -> Any:
        net = self._kind.from_pretrained(self._folder, dtype=self._dtype, local_files_only=True)
        net = net.to(self._device).eval()
        net.model.visual.forward = _Remembering(net.model.visual)
        return net

    async def complete(self, request: Request) -> Completion:
        """Generate one reply in a thread."""
        async with self._lock:
            try:
                return await asyncio.to_thread(self._generate, request)
            except MemoryError:
                raise CallFailed("request", "out of memory for this picture") from None
            except (
                RuntimeError,
                ValueError,
                IndexError,
            ) as error:  # e.g. a strip too narrow for the processor
                raise CallFailed("request", f"{type(error).__name__}: {error}") from error

    def _generate(self, request: Request) -> Completion:
        torch = self._torch
        turns = request.turns(schema_in_words=True)
        pictures = [part.rgb for turn in turns for part in turn.parts if not isinstance(part, str)]
        images = self._images(images=pictures, return_tensors="pt") if pictures else {}
        net = self._net
        grids = images.get("image_grid_thw", torch.empty(0, 3))  # [pictures, 3]
        merged = self._images.merge_size**2
        text: str = self._tokenizer.apply_chat_template(
            [_message_of(turn) for turn in turns], tokenize=False, add_generation_prompt=True
        )
        pieces = text.split("<|image_pad|>")
        counts = [int(grid.prod()) // merged for grid in grids]
        text = pieces[0] + "".join(
            "<|image_pad|>" * count + piece for count, piece in zip(counts, pieces[1:], strict=True)
        )
        ids = self._tokenizer(text, return_tensors="pt", add_special_tokens=False).input_ids
        with torch.inference_mode():
            output = net.generate(
                input_ids=ids.to(self._device),
                attention_mask=torch.ones_like(ids).to(self._device),
                mm_token_type_ids=(ids == net.config.image_token_id).int().to(self._device),
                **self._vision(images),
                max_new_tokens=request.tokens_at_most()[1],
                **self._sampling(request),
            )
        new = output[0, ids.shape[1] :]
        ended = bool(len(new)) and int(new[-1]) in _ids(net.generation_config.eos_token_id)
        return Completion(
            text=self._tokenizer.decode(new, skip_special_tokens=True),
            finish="stop" if ended else "length",
            input_tokens=ids.shape[1],
            output_tokens=len(new),
            model=self.model,
        )

    def _vision(self, images: Mapping[str, Any]) -> dict[str, Any]:
        if not images:
            return {}
        return {
            "pixel_values": images["pixel_values"].to(self._device, self._net.dtype),
            "image_grid_thw": images["image_grid_thw"].to(self._device),
        }

    def _sampling(self, request: Request) -> dict[str, Any]:
        if not request.temperature:
            return {"do_sample": False}
        self._torch.manual_seed(int(request.key(self.provider, self.model)[:8], 16))
        return {"do_sample": True, "temperature": request.temperature}

    async def close(self) -> None:
        """Nothing to close."""


class _Remembering:
    """A vision tower that keeps what it made of the last pictures: each is seen alone, so alone equals together."""

    def __init__(self, tower: Any):
        self._see = tower.forward
        self._kept: OrderedDict[bytes, dict[str, Any]] = OrderedDict()

    def __call__(self, pixels: Any, grid_thw: Any, **options: Any) -> Any:
        """Return the features of all pictures, one after the other, as the tower does."""
        import torch
        from transformers.modeling_outputs import BaseModelOutputWithPooling

        kind, parts = BaseModelOutputWithPooling, []
        for patches, grid in zip(pixels.split(grid_thw.prod(-1).tolist()), grid_thw, strict=True):
            raw = patches.float().cpu().contiguous().numpy()
            key = hashlib.sha256(raw.tobytes() + repr(grid.tolist()).encode()).digest()
            if (part := self._kept.pop(key, None)) is None:
                seen = self._see(patches, grid_thw=grid[None], **options)
                part = {"kind": type(seen), "pooler_output": seen.pooler_output}
                if getattr(seen, "deepstack_features", None) is not None:  # Qwen3-VL's
                    part["deepstack_features"] = list(seen.deepstack_features)
            self._kept[key] = part
            kind = part["kind"]
            parts.append(part)
        while len(self._kept) > KEPT_PICTURES:
            self._kept.popitem(last=False)
        whole: dict[str, Any] = {"pooler_output": torch.cat([part["pooler_output"] for part in parts])}
        if "deepstack_features" in parts[0]:
            levels = zip(*(part["deepstack_features"] for part in parts), strict=True)
            whole["deepstack_features"] = [torch.cat(level) for level in levels]
        return kind(**whole)


def _message_of(turn: Turn) -> dict[str, Any]:
    # What people and models write must not pass for the template's own marks.
    words = [part.replace("<|", "< |") if isinstance(part, str) else None for part in turn.parts]
    if turn.role == "user":
        parts = [{"type": "image"} if word is None else {"type": "text", "text": word} for word in words]
        return {"role": turn.role, "content": parts}
    return {"role": turn.role, "content": "\n\n".join(word or "" for word in words)}


def _ids(eos: int | list[int] | None) -> list[int]:
    return [] if eos is None else [eos] if isinstance(eos, int) else list(eos)
