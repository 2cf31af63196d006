"""X-AnyLabeling's protocol for remote models: list models, predict; polygons out.

https://github.com/CVHub520/X-AnyLabeling-Server/blob/main/docs/router.md. Faults come as HTTP 200 with
{"success": false, "error": {"code", "message"}}, as its client expects. Every answer says `replace: false`, also one of
a fault: without it the client takes all that is drawn already for something to be replaced, by nothing where nothing
was found. Shapes that it sends along as `existing_shapes` are not proposed again.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from askmask.conversation import Prompt, Segment
from askmask.errors import AskMaskError, MaskError
from askmask.imaging.contours import one_ring
from askmask.imaging.files import read_picture
from askmask.imaging.mask import Mask
from askmask.serving.jobs import Job
from askmask.serving.pictures_in import json_body
from askmask.serving.proposals import in_words, new_ones
from askmask.serving.refusal import Refusal, refusal_of
from askmask.serving.replies import Json, watched
from askmask.serving.service import Service
from askmask.serving.wire import PictureIn, picture_bytes

WIDGETS = [
    {"name": name, "value": None}
    for name in ("edit_text", "button_send", "add_point", "add_pos_rect", "button_run_rect", "button_clear",
                 "button_finish_object")
] + [{"name": "toggle_preserve_existing_annotations", "value": True}]  # fmt: skip
SHORT = 3  # words: a list of things, "mug, plate", is parted at its commas; a sentence is not
CODES = {401: "UNAUTHORIZED", 404: "MODEL_NOT_FOUND"}


def routes(service: Service) -> APIRouter:
    """Return the routes below /x-anylabeling."""
    router = APIRouter(prefix="/x-anylabeling", tags=["x-anylabeling"])

    def shown(name: str) -> dict[str, Any]:
        return {
            "display_name": f"askmask {name}",
            "batch_processing_mode": "text_prompt",
            "widgets": WIDGETS,
            "params": {},
        }

    @router.get("/health")
    async def health() -> Response:
        """Whether it is there."""
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        loaded = sum(service.loaded(name) is not None for name in service.model_names)
        return Json({"status": "healthy", "models_loaded": loaded, "timestamp": now})

    @router.get("/v1/models")
    async def models() -> Response:
        """List the models."""
        return Json({"success": True, "data": {name: shown(name) for name in service.model_names}})

    @router.get("/v1/models/{model}/info")
    async def info(model: str) -> Response:
        """Return what one model is."""
        if model not in service.model_names:
            return _fault(Refusal(404, "no such model here", got=repr(model)))
        return Json({"success": True, "data": {"model_id": model} | shown(model)})

    @router.post("/v1/predict")
    async def predict(request: Request) -> Response:
        """Answer a text prompt or marks with polygons."""
        try:
            body = await json_body(request)
            if not isinstance(body, dict) or not isinstance(body.get("image"), str):
                raise Refusal(422, 'the request needs "model", "image" and "params"')
            name = service.model_name(body["model"] if isinstance(body.get("model"), str) else None)
            params = body.get("params") or {}
            if not isinstance(params, Mapping):
                raise Refusal(422, '"params" must be an object')
            data = picture_bytes(PictureIn(data=body["image"], url=None), service.limits.body_mb << 20)
            prompts = prompts_of(params, service.limits.prompts)
        except (Refusal, AskMaskError) as error:
            return _fault(refusal_of(error))

        def work(job: Job) -> dict[str, Any]:
            session = service.model(name).open(read_picture(data, max_pixels=service.limits.pixels))
            there = _there(params.get("existing_shapes"), session.picture.size)
            shapes: list[dict[str, Any]] = []
            said: list[str] = []
            for answer in session.ask_many(prompts):
                kept, suppressed = new_ones(answer.segments, there)
                there += [segment.mask for segment in kept]
                label = " ".join(answer.prompt.split())[:100] or "AUTOLABEL_OBJECT"
                for segment in kept:
                    shapes += _shapes(segment, label, len(shapes) + 1, scored=answer.score_trained)
                said.append(f"{label}: {in_words(answer, suppressed)}")
                said += answer.notices
            return {
                "success": True,
                "data": _proposed(shapes, "; ".join(dict.fromkeys(said))),
            }

        try:
            owner = request.scope["state"]["owner"]
            job = service.jobs.start(owner, "x-anylabeling", lambda job: job.in_thread(lambda: work(job)))
            await watched(request, job)
            service.jobs.told(job)
        except Refusal as refusal:
            if refusal.status in (429, 499, 503):
                raise
            return _fault(refusal)
        return Json(job.result) if job.refusal is None else _fault(job.refusal)

    return router


def prompts_of(params: Mapping[str, Any], most: int) -> list[Prompt]:
    """Return the prompts of a call: marks, else the words. Raises Refusal."""
    marks, text = params.get("marks") or [], params.get("text_prompt") or ""
    if not isinstance(marks, list) or not isinstance(text, str) or len(marks) > most:
        raise Refusal(422, f'"marks" must be a list of at most {most}, "text_prompt" a text')
    points: list[tuple[float, float, bool]] = []
    boxes: list[tuple[float, float, float, float]] = []
    try:
        for mark in marks:
            numbers, inside = [float(v) for v in mark["data"]], mark.get("label", 1) == 1
            if mark["type"] == "point":
                points.append((numbers[0], numbers[1], inside))
            elif mark["type"] == "rectangle" and inside:
                x0, y0, x1, y1 = numbers
                boxes.append((min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)))
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise Refusal(422, "a mark that cannot be read", got=f"{type(error).__name__}: {error}") from None
    found = [Prompt(boxes=(box,)) for box in boxes]
    if points:
        found.append(Prompt(points=tuple(points)))
    if not found:
        parts = [part.strip() for part in text.split(",") if part.strip()]
        if not all(len(part.split()) <= SHORT for part in parts):
            parts = [text.strip()]
        found = [Prompt(text=part) for part in dict.fromkeys(parts)]
    if not found or len(found) > most:
        raise Refusal(
            422, "there is no prompt" if not found else f"at most {most} prompts", do="Set text_prompt."
        )
    return found


def _shapes(segment: Segment, label: str, group: int, *, scored: bool) -> list[dict[str, Any]]:
    """Return one polygon for each part of a mask, holes joined by seams; the parts of one mask share a group."""
    rings = [one_ring(part) for part in segment.mask.parts()]
    return [
        {
            "label": segment.name or label,
            "shape_type": "polygon",
            "points": [list(corner) for corner in (*ring, ring[0])],
            "score": segment.score if scored else None,
            "attributes": {},
            "description": label,
            "difficult": False,
            "direction": 0,
            "flags": None,
            "group_id": group if len(rings) > 1 else None,
            "kie_linking": [],
        }
        for ring in rings
    ]


def _there(shapes: Any, size: tuple[int, int]) -> list[Mask]:
    masks = []
    for shape in shapes if isinstance(shapes, list) else []:
        try:
            if shape.get("shape_type") in ("polygon", "rectangle"):
                masks.append(Mask.from_polygons([shape["points"]], size))
        except (MaskError, AttributeError, KeyError):
            continue  # a shape that is no region cannot be proposed twice
    return masks


def _fault(refusal: Refusal) -> Response:
    code = CODES.get(refusal.status, "INVALID_IMAGE" if "picture" in refusal.what else "INFERENCE_ERROR")
    error = {"code": code, "message": refusal.text}
    return Json({"success": False, "error": error, "data": _proposed([], refusal.text)})


def _proposed(shapes: list[dict[str, Any]], said: str) -> dict[str, Any]:
    return {"shapes": shapes, "description": said, "replace": False}
