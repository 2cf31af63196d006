"""All models of a run, opened before anything of it is written: a wrong name or number must cost nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from askmask.detectors.detector import Detector, open_detector
from askmask.engine.values import Value
from askmask.errors import SettingError
from askmask.hub import fetch_weights
from askmask.segmenters.segmenter import PromptableSegmenter, open_segmenter
from askmask.vlm.budget import Price
from askmask.vlm.opening import ModelChoice, open_vlm
from askmask.vlm.prices import price_of
from askmask.vlm.request import Vlm


class VisionChoice(Value):
    """Which detector and segmenter."""

    detector: str = "vlm"  # vlm | grounding-dino | moondream
    detector_at: str | None = None  # a model folder or a base URL
    detector_price: str | None = None  # of Moondream's cloud
    coordinates: str | None = None  # how the model writes them, if not as its name says
    segmenter: str = "classical"  # classical | mini | sam2
    segmenter_at: str | None = None
    device: str = "cpu"


@dataclass(frozen=True)
class Models:
    """The opened models; each VLM with the price of its tokens, None where it is not known."""

    writer: tuple[Vlm, Price | None]
    verifier: tuple[Vlm, Price | None] | None
    locator: tuple[Vlm, Price | None] | None  # the detector's own
    detector: Detector
    segmenter: PromptableSegmenter


def open_segmenter_of(
    vision: VisionChoice, *, confirm: Callable[[str], bool] | None = None
) -> PromptableSegmenter:
    """Open a choice's segmenter."""
    return open_segmenter(vision.segmenter, at=vision.segmenter_at, device=vision.device, confirm=confirm)


def open_models(
    writer: ModelChoice,
    verifier: ModelChoice | None,
    vision: VisionChoice,
    *,
    sent_px: int,
    allow_floating: bool = False,
    priced: bool = False,
    confirm: Callable[[str], bool] | None = None,
    segmenter: PromptableSegmenter | None = None,
) -> Models:
    """Open every model. `priced`: a price is needed for each; `confirm` is asked before weights are fetched;
    `segmenter` is one that was opened before.

    Raises SettingError or another AskMaskError that says what to do.
    """

    def weights(name: str) -> str:
        return str(fetch_weights(name, confirm=confirm))

    def opened(choice: ModelChoice) -> tuple[Vlm, Price | None]:
        price = price_of(choice.model, choice.price)
        if priced:
            _need(price, choice.model, "--price")
        if choice.provider == "local":
            choice = choice.model_copy(update={"model": weights(choice.model)})
        return open_vlm(choice, allow_floating=allow_floating), price

    detector = open_detector(
        vision.detector,
        at=vision.detector_at,
        device=vision.device,
        sent_px=sent_px,
        convention=vision.coordinates,
        weights=weights,
    )
    locator = None
    if detector.vlm is not None:
        price = Price.parse(vision.detector_price) if vision.detector_price else None
        if priced and vision.detector_at is None:
            _need(price, vision.detector, "--detector-price")
        locator = detector.vlm, price
    return Models(
        writer=opened(writer),
        verifier=opened(verifier) if verifier else None,
        locator=locator,
        detector=detector,
        segmenter=segmenter or open_segmenter_of(vision, confirm=confirm),
    )


def _need(price: Price | None, name: str, option: str) -> None:
    if price is None:
        raise SettingError(
            f"--max-usd needs a price for {name!r}, which is not in the table",
            do=f'Pass {option} "IN,OUT" in dollars per million tokens, or limit with --max-calls.',
        )
