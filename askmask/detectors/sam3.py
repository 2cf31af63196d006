"""SAM 3's text prompts: a pointer of noun phrases that draws what it points at. For those who have its weights.

Score of an instance: its own times the presence of the concept (Meta's SAM 3; Sam3Model in transformers). Not run with
the released weights in this repository's tests (they are gated); the code path is run with tiny random ones.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from askmask.conversation import Prompt, Round
from askmask.errors import CheckpointError, MissingExtra
from askmask.imaging.files import Picture
from askmask.imaging.mask import Mask
from askmask.pointing.meter import Meter
from askmask.pointing.outcome import Instance, NothingHere, Outcome, Pointed

HUB_NAME = "facebook/sam3"
THRESHOLD = 0.5  # of a score, as in Meta's own use


@dataclass(frozen=True)
class _Seen:
    features: Any
    size: tuple[int, int]
    nbytes: int


class Sam3Pointer:
    """`folder`: a folder of the weights, or a Hub name that was fetched before. Raises CheckpointError."""

    name = fingerprint = "sam3"
    draws = True
    notices = ("sam3 takes noun phrases: it reads neither questions nor what was said before",)

    def __init__(self, folder: str, *, device: str = "cpu", threshold: float = THRESHOLD):
        try:
            import torch
            from transformers import AutoTokenizer, Sam3Model
        except ImportError as error:
            raise MissingExtra("transformers", "engine") from error
        try:
            loaded: Any = Sam3Model.from_pretrained(folder, local_files_only=True, output_loading_info=True)
            net, loading = loaded
            self._tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        except (OSError, ValueError, KeyError) as error:
            raise CheckpointError(
                "these weights of SAM 3 cannot be loaded", got=str(error).splitlines()[0][:200]
            ) from error
        if missing := sorted(loading["missing_keys"]) + sorted(map(str, loading["mismatched_keys"])):
            raise CheckpointError(f"{len(missing)} weights are missing and would be random", got=missing[0])
        self._torch, self._device, self._threshold = torch, device, threshold
        self._net: Any = net.to(device).eval()
        self._lock = threading.Lock()

    def see(self, picture: Picture) -> _Seen:
        """Encode a picture once for all phrases."""
        torch = self._torch
        side = self._net.config.vision_config.image_size
        chw = torch.from_numpy(np.array(picture.rgb)).permute(2, 0, 1)[None].float() / 255
        chw = torch.nn.functional.interpolate(chw, (side, side), mode="bilinear", antialias=True)
        with self._lock, torch.inference_mode():
            features = self._net.get_vision_features(pixel_values=((chw - 0.5) / 0.5).to(self._device))
        maps = (*features.fpn_hidden_states, *features.fpn_position_encoding)
        return _Seen(features, picture.size, sum(one.nbytes for one in maps))

    def point(self, seen: _Seen, prompt: Prompt, rounds: Sequence[Round], meter: Meter) -> Outcome:
        """Return every instance of the phrase with its mask."""
        torch = self._torch
        words = self._tokenizer(
            prompt.text, return_tensors="pt", padding="max_length", truncation=True, max_length=32
        ).to(self._device)
        with self._lock, torch.inference_mode():
            out = self._net(
                vision_embeds=seen.features, input_ids=words.input_ids, attention_mask=words.attention_mask
            )
            scores = (out.pred_logits.sigmoid() * out.presence_logits.sigmoid())[0]  # [queries]
            found = []
            for index in (scores > self._threshold).nonzero()[:, 0].tolist():
                logits = out.pred_masks[:, index : index + 1].float()
                whole = torch.nn.functional.interpolate(
                    logits, seen.size, mode="bilinear", align_corners=False
                )
                mask = Mask.from_array((whole[0, 0] > 0).cpu().numpy())
                if mask:
                    score = round(float(scores[index]), 4)
                    found.append(Instance(box=mask.box, label=prompt.text[:200], sure=score, mask=mask))
        if not found:
            return NothingHere(f"{self.name} found nothing of that name")
        return Pointed(tuple(sorted(found, key=lambda one: -(one.sure or 0.0))))
