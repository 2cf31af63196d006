"""From names in a run's settings to models: VLM clients, detectors, segmenters. The one place that knows them all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from askmask.engine.tools import Detector
from askmask.engine.values import Value
from askmask.errors import SettingError
from askmask.segmenters.segmenter import PromptableSegmenter
from askmask.vlm.prices import check_pinned
from askmask.vlm.request import Vlm


class ModelChoice(Value):
    """Which VLM, and where. Stored with the run: it holds the name of the key's variable, never the key."""

    provider: str = "openai"  # openai | google | local | replay
    model: str
    base_url: str | None = None
    api_key_env: str | None = None
    price: str | None = None
    timeout_s: float = 120.0

    @property
    def name(self) -> str:
        """The model's name for people; a local folder or file without its path."""
        return Path(self.model).name if self.provider in ("local", "replay") else self.model


class VisionChoice(Value):
    """Which detector and segmenter."""

    detector: str = "vlm"  # vlm | grounding-dino | moondream
    detector_at: str | None = None  # a model folder or a base URL
    segmenter: str = "classical"  # classical | mini | sam2
    segmenter_at: str | None = None
    device: str = "cpu"


def open_vlm(choice: ModelChoice, *, allow_floating: bool = False) -> Vlm:
    """Make a client. Raises SettingError for an unknown provider or a floating model name."""
    if choice.provider in ("openai", "google"):
        check_pinned(choice.model, allow_floating=allow_floating)
    options: dict[str, Any] = {"timeout_s": choice.timeout_s}
    if choice.api_key_env:
        options["api_key_env"] = choice.api_key_env
    if choice.provider == "openai":
        from askmask.vlm.openai_api import OpenAIVlm

        return OpenAIVlm(choice.model, base_url=choice.base_url, **options)
    if choice.provider == "google":
        from askmask.vlm.google import GoogleVlm

        return GoogleVlm(choice.model, base_url=choice.base_url, **options)
    if choice.provider == "local":
        from askmask.vlm.local import LocalVlm

        return LocalVlm(choice.model)
    if choice.provider == "replay":
        from askmask.vlm.replay import ReplayVlm

        return ReplayVlm(choice.model)
    raise SettingError(
        "unknown VLM provider", got=repr(choice.provider), do="Use openai, google, local or replay."
    )


def open_detector(choice: VisionChoice) -> Detector:
    """Make a detector."""
    if choice.detector == "vlm":
        from askmask.detectors.vlm_boxes import VlmBoxes

        return VlmBoxes()
    if choice.detector == "grounding-dino":
        from askmask.detectors.grounding_dino import GroundingDino

        if choice.detector_at:
            return GroundingDino(choice.detector_at, device=choice.device)
        return GroundingDino(device=choice.device)
    if choice.detector == "moondream":
        from askmask.detectors.moondream import Moondream

        return Moondream(choice.detector_at) if choice.detector_at else Moondream()
    raise SettingError(
        "unknown detector", got=repr(choice.detector), do="Use vlm, grounding-dino or moondream."
    )


def open_segmenter(choice: VisionChoice) -> PromptableSegmenter:
    """Make a promptable segmenter."""
    if choice.segmenter == "classical":
        from askmask.segmenters.classical import ClassicalSegmenter

        return ClassicalSegmenter()
    if choice.segmenter == "sam2":
        from askmask.segmenters.sam2 import Sam2Segmenter

        if choice.segmenter_at:
            return Sam2Segmenter(choice.segmenter_at, device=choice.device)
        return Sam2Segmenter(device=choice.device)
    raise SettingError("unknown segmenter", got=repr(choice.segmenter), do="Use classical, mini or sam2.")
