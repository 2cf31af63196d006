"""A machine-learning backend of Label Studio: predict, setup, health, webhook, versions.

https://labelstud.io/guide/ml_create. Masks go out as its brush labels. Asked about a task, it is asked for every label
of the interface, or for what stands in the task's field `prompt`; with a click, a box or a text in the context, for
that. Predictions are proposals: annotations stay, and a mask that equals one of them is not proposed again, which the
field `askmask` of the prediction says, and the text area `askmask_says` of the interface, if it has one.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from typing import Any
from urllib.parse import urljoin, urlsplit
from xml.etree import ElementTree

from fastapi import APIRouter, Request
from starlette.responses import Response

from askmask.answer import Answer
from askmask.conversation import Prompt, Segment
from askmask.errors import AskMaskError
from askmask.formats.label_studio import decode_rle, encode_rle
from askmask.imaging.files import read_picture
from askmask.imaging.mask import Mask
from askmask.imaging.remote import Limits, NotFetched, fetch
from askmask.runs.json_text import json_text
from askmask.serving.jobs import Job
from askmask.serving.pictures_in import fetched, json_body
from askmask.serving.proposals import in_words, new_ones
from askmask.serving.refusal import Refusal
from askmask.serving.replies import Json, watched
from askmask.serving.service import Service
from askmask.serving.settings import Settings
from askmask.serving.wire import PictureIn, picture_bytes

MOST_TASKS = 100
MOST_CONFIG = 200_000  # characters of a labelling interface
SAYS = "askmask_says"
FETCH_S = 30.0
_BRUSHES = ("BrushLabels", "Brush")


class Interface:
    """What of a labelling interface matters here. Raises Refusal for one without a picture or a brush."""

    def __init__(self, config: Any):
        if not isinstance(config, str) or len(config) > MOST_CONFIG or "<!" in config.replace("<!--", ""):
            raise Refusal(422, "a labelling interface is XML without declarations")
        try:
            root = ElementTree.fromstring(config)
        except (ElementTree.ParseError, RecursionError) as error:
            raise Refusal(422, "the labelling interface is no XML", got=error) from None
        image = next(root.iter("Image"), None)
        brush = next((tag for kind in _BRUSHES for tag in root.iter(kind)), None)
        if image is None or brush is None:
            raise Refusal(
                422,
                "the labelling interface needs an Image and BrushLabels",
                do="See docs/serving.md for one.",
            )
        self.to_name, self.field = image.get("name", "image"), image.get("value", "$image").lstrip("$")
        self.from_name = brush.get("name", "label")
        self.kind = "brushlabels" if brush.tag == "BrushLabels" else "brush"
        self.labels = [label.get("value", "") for label in brush.iter("Label")]
        self.says = any(tag.get("name") == SAYS for tag in root.iter("TextArea"))


def routes(service: Service) -> APIRouter:
    """Return the routes below /label-studio."""
    router = APIRouter(prefix="/label-studio", tags=["label-studio"])

    def version() -> str:
        name = service.model_names[0]
        model = service.loaded(name)
        return f"askmask {name}" + (f" {model.backend.fingerprint[:8]}" if model is not None else "")

    @router.get("/health")
    async def health() -> Response:
        """Whether it is there."""
        return Json({"status": "UP", "model_class": "askmask"})

    @router.get("/versions")
    async def versions() -> Response:
        """List the versions of the model."""
        return Json({"versions": [version()]})

    @router.post("/setup")
    async def setup(request: Request) -> Response:
        """Say which model answers, and whether it can be used with a labelling interface."""
        body = await _object_of(request)
        if body.get("schema"):
            Interface(body["schema"])
        return Json({"model_version": version()})

    @router.post("/webhook")
    async def webhook(request: Request) -> Response:
        """Hear of events; nothing is learnt from them here."""
        await _object_of(request)
        return Json({"status": "ok", "result": {}}, 201)

    @router.post("/predict")
    async def predict(request: Request) -> Response:
        """Propose masks for tasks. Asked again with the same, also after the caller gave up, it is done once."""
        body = await _object_of(request)
        tasks = body.get("tasks")
        if not isinstance(tasks, list) or not tasks or len(tasks) > MOST_TASKS:
            raise Refusal(422, f'"tasks" must be a list of 1 to {MOST_TASKS}')
        interface = Interface(body.get("label_config"))
        params = body.get("params") if isinstance(body.get("params"), Mapping) else {}
        context = (params or {}).get("context") or body.get("context") or {}
        name = service.model_names[0]

        def work(job: Job) -> bytes:
            results = []
            for number, task in enumerate(tasks, 1):
                results.append(
                    _prediction(service, name, interface, task, context) | {"model_version": version()}
                )
                job.tell("progress", {"done": number, "total": len(tasks)}, done=number)
            return json_text(
                {"results": results}, compact=True
            ).encode()  # lists of bytes are large in memory

        key = hashlib.sha256(json_text(body).encode("utf-8", "surrogatepass")).hexdigest()
        owner = request.scope["state"]["owner"]
        job = service.jobs.start(
            owner, "label-studio", lambda job: job.in_thread(lambda: work(job)), key=f"label-studio {key}"
        )
        job.total = len(tasks)
        await watched(request, job, stays=True)
        if job.refusal is not None:
            raise job.refusal
        return Response(job.result, media_type="application/json")

    return router


async def _object_of(request: Request) -> dict[str, Any]:
    body = await json_body(request)
    if not isinstance(body, dict):
        raise Refusal(422, "the request must be a JSON object")
    return body


def _prediction(
    service: Service, model: str, interface: Interface, task: Any, context: Any
) -> dict[str, Any]:
    """Return one task's prediction. Raises Refusal."""
    data = task.get("data") if isinstance(task, Mapping) else None
    if not isinstance(data, Mapping):
        raise Refusal(422, 'a task needs "data"')
    raw = picture_at(data.get(interface.field), service.settings)
    session = service.model(model).open(read_picture(raw, max_pixels=service.limits.pixels))
    size = session.picture.size
    there = _masks_of(task, size)
    asked = _asked(context, size, interface) or _labels_asked(data, interface)
    if len(asked) > service.limits.prompts:
        raise Refusal(422, f"one task takes {service.limits.prompts} prompts", got=len(asked))
    result, said, scores, suppressed_in_all = [], [], [], 0
    for (label, _), answer in zip(asked, session.ask_many([prompt for _, prompt in asked]), strict=True):
        kept, suppressed = new_ones(answer.segments, there)
        there += [segment.mask for segment in kept]
        suppressed_in_all += suppressed
        result += [_region(segment, label, answer, interface) for segment in kept]
        scores += [segment.score for segment in kept if segment.score is not None and answer.score_trained]
        said.append(f"{answer.prompt or label}: {in_words(answer, suppressed)}")
        said += answer.notices
    said = list(dict.fromkeys(said))
    if interface.says:
        result.append(
            {"id": secrets.token_hex(5), "from_name": SAYS, "to_name": interface.to_name, "type": "textarea",
             "value": {"text": said}}
        )  # fmt: skip
    prediction = {"result": result, "askmask": {"said": said, "suppressed": suppressed_in_all}}
    return prediction | ({"score": sum(scores) / len(scores)} if scores else {})


def _region(segment: Segment, label: str, answer: Answer, interface: Interface) -> dict[str, Any]:
    height, width = segment.mask.size
    code = {"format": "rle", "rle": encode_rle(segment.mask)}
    region: dict[str, Any] = {
        "id": secrets.token_hex(5),  # people take several predictions into one annotation
        "from_name": interface.from_name,
        "to_name": interface.to_name,
        "type": interface.kind,
        "original_width": width,
        "original_height": height,
        "image_rotation": 0,
        "value": code | ({"brushlabels": [label]} if interface.kind == "brushlabels" else {}),
        "readonly": False,
    }
    if answer.prompt:
        region["meta"] = {"text": [answer.prompt]}
    return region | ({"score": segment.score} if answer.score_trained and segment.score is not None else {})


def _labels_asked(data: Mapping[str, Any], interface: Interface) -> list[tuple[str, Prompt]]:
    """Return what is asked of a task without a context: its own prompts, else every label."""
    own = data.get("prompt") or data.get("prompts")
    texts = [own] if isinstance(own, str) else own if isinstance(own, list) else []
    texts = [text for text in texts if isinstance(text, str) and text.strip()]
    if texts:
        return [
            (text if text in interface.labels else _first(interface), Prompt(text=text)) for text in texts
        ]
    return [(label, Prompt(text=label)) for label in interface.labels if label.strip()]


def _asked(context: Any, size: tuple[int, int], interface: Interface) -> list[tuple[str, Prompt]]:
    """Return what the marks and texts of a context ask: all clicks together one thing, every box and text another."""
    regions = context.get("result") if isinstance(context, Mapping) else None
    points: list[tuple[float, float, bool]] = []
    asked: list[tuple[str, Prompt]] = []
    label = _first(interface)
    try:
        for region in regions or []:
            value, kind = region.get("value", {}), region.get("type", "")
            meant = value.get(kind) or value.get("labels") or []
            label = next((one for one in meant if one in interface.labels), label)
            if kind == "textarea":
                texts = value.get("text") or []
                texts = [texts] if isinstance(texts, str) else texts
                asked += [(label, Prompt(text=str(text))) for text in texts if str(text).strip()]
            elif kind.startswith("keypoint"):
                x, y = _pixels(value["x"], value["y"], size)
                points.append((x, y, bool(int(region.get("is_positive", 1)))))
            elif kind.startswith("rectangle"):
                x0, y0 = _pixels(value["x"], value["y"], size)
                x1, y1 = _pixels(value["x"] + value["width"], value["y"] + value["height"], size)
                asked.append((label, Prompt(boxes=((x0, y0, x1, y1),))))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise Refusal(
            422, "a region of the context cannot be read", got=f"{type(error).__name__}: {error}"
        ) from None
    return asked + ([(label, Prompt(points=tuple(points)))] if points else [])


def _pixels(x: float, y: float, size: tuple[int, int]) -> tuple[float, float]:
    """Bring per cent of the picture to pixels."""
    height, width = size
    return min(width, max(0.0, float(x) * width / 100)), min(height, max(0.0, float(y) * height / 100))


def _first(interface: Interface) -> str:
    return interface.labels[0] if interface.labels else "mask"


def _masks_of(task: Any, size: tuple[int, int]) -> list[Mask]:
    """Return the regions that people have drawn for a task: they are not proposed again."""
    height, width = size
    masks: list[Mask] = []
    scale = [width / 100, height / 100]
    for annotation in [*(task.get("annotations") or []), *(task.get("drafts") or [])]:
        for region in annotation.get("result") or [] if isinstance(annotation, Mapping) else []:
            try:
                value, kind = region["value"], region.get("type", "")
                if kind.startswith("brush"):
                    masks.append(decode_rle(value["rle"], size))
                elif kind.startswith("polygon"):
                    ring = [[x * scale[0], y * scale[1]] for x, y in value["points"]]
                    masks.append(Mask.from_polygons([ring], size))
            except (AskMaskError, AttributeError, KeyError, TypeError, ValueError):
                continue  # of no picture of this size, or no region: nothing can equal it
    return masks


def picture_at(place: Any, settings: Settings) -> bytes:
    """Return the bytes of a task's picture: in the task itself, or from the Label Studio that the server was told of.

    Raises Refusal or PictureError.
    """
    most = settings.limits.body_mb << 20
    if not isinstance(place, str) or not place:
        raise Refusal(422, "the task has no picture in the field that the interface names")
    if place[:5].lower() == "data:":
        return picture_bytes(PictureIn(data=place, url=None), most)
    home = settings.label_studio_url
    if home and _origin(url := urljoin(home, place)) == _origin(home):
        headers = {"Authorization": f"Token {settings.label_studio_key}"} if settings.label_studio_key else {}
        limits = Limits(size=most, seconds=FETCH_S, redirects=0)
        try:  # this one address was named by whoever started the server, so it may be a private one
            return fetch(url, limits, public=lambda address: True, headers=headers)
        except NotFetched as error:
            raise Refusal(502, "Label Studio did not give the picture", got=error.got) from None
    if not settings.allow_urls:
        raise Refusal(
            403,
            "this server fetches no addresses",
            do="Start it with --label-studio-url URL (and LABEL_STUDIO_API_KEY), or with --allow-urls.",
        )
    return fetched(place, most)


def _origin(url: str) -> tuple[str, str]:
    try:
        parts = urlsplit(url)
        return parts.scheme, parts.netloc.lower()
    except ValueError:
        return "", ""
