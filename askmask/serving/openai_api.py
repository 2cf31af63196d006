"""OpenAI's chat completions: a picture and words in, words and masks out; so that any chat client can ask.

What comes back is the reply in words, then a fenced JSON block of instances, in the convention of Qwen3-VL (boxes and
points in thousandths of the picture) with each mask's run-length code; the same stands in the field `askmask`. With a
`response_format` of JSON the content is the JSON alone, without masks. The conversation is read from the messages: a
client that sends our JSON back gets the masks of earlier rounds remembered. Another askmask can so use it to point.
"""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

import numpy as np
from fastapi import APIRouter, Request
from starlette.responses import Response, StreamingResponse

from askmask.answer import Answer
from askmask.backend import Done, Words
from askmask.conversation import Prompt, Round, Segment
from askmask.errors import AskMaskError
from askmask.imaging.files import read_picture
from askmask.imaging.mask import Mask
from askmask.serving.jobs import Job, Jobs
from askmask.serving.pictures_in import json_body, picture_of
from askmask.serving.refusal import Cancelled, Refusal
from askmask.serving.replies import STILL, Json, watched
from askmask.serving.service import Service
from askmask.serving.wire import MOST_TEXT, PictureIn, facts_of, segment_to_wire
from askmask.session import Model, Session

THOUSANDTHS = 1000  # what the far edge of a picture is called
MOST_MESSAGES = 400
NOTHING = "Nothing in the picture matches."
FENCE = "```"


def routes(service: Service) -> APIRouter:
    """Return the routes below /openai/v1."""
    router = APIRouter(prefix="/openai/v1", tags=["openai"])

    @router.get("/models")
    async def models() -> Response:
        """List the models."""
        rows = [
            {"id": n, "object": "model", "created": 0, "owned_by": "askmask"} for n in service.model_names
        ]
        return Json({"object": "list", "data": rows})

    @router.post("/chat/completions")
    async def complete(request: Request) -> Response:
        """Ask about a picture, as a chat completion; streamed with `stream`."""
        body = await json_body(request)
        if not isinstance(body, dict):
            raise Refusal(422, "the request must be a JSON object")
        model = service.model_name(body["model"] if isinstance(body.get("model"), str) else None)
        picture, turns = turns_of(body.get("messages"))
        data = await picture_of(picture, service)
        as_json = _wants_json(body.get("response_format"))

        def work(job: Job) -> dict[str, Any]:
            session = _session_of(
                service.model(model), read_picture(data, max_pixels=service.limits.pixels), turns[:-1]
            )
            prompt = prompt_of(turns[-1][1], session.picture.size)
            answer = None
            for event in session.stream(prompt):
                if job.cancel:
                    raise Cancelled
                if isinstance(event, Words) and not as_json:
                    job.tell("words", event.text)
                elif isinstance(event, Done):
                    answer = event.answer
            assert answer is not None
            return _completion_of(answer, model, as_json=as_json)

        owner = request.scope["state"]["owner"]
        job = service.jobs.start(
            owner, "chat", lambda job: job.in_thread(lambda: work(job)), followed=bool(body.get("stream"))
        )
        if body.get("stream"):
            return StreamingResponse(_chunks(service.jobs, job, model), media_type="text/event-stream")
        await watched(request, job)
        service.jobs.told(job)
        if job.refusal is not None:
            raise job.refusal
        return Json(job.result)

    return router


# -- in -------------------------------------------------------------------------------------------------------


def turns_of(messages: Any) -> tuple[PictureIn, list[tuple[str, str]]]:
    """Return the picture and (role, words) of each turn about it, the question last. Raises Refusal.

    The last message that brings pictures begins the conversation; of its pictures the first is meant.
    """
    if not isinstance(messages, list) or not 0 < len(messages) <= MOST_MESSAGES:
        raise Refusal(422, f'"messages" must be a list of 1 to {MOST_MESSAGES}')
    picture: PictureIn | None = None
    turns: list[tuple[str, str]] = []
    for message in messages:
        if not isinstance(message, Mapping) or message.get("role") not in (
            "system", "developer", "user", "assistant",
        ):  # fmt: skip
            raise Refusal(422, "a message needs a role: system, user or assistant")
        words, pictures = _parts_of(message.get("content"))
        if message["role"] == "user" and pictures:
            picture, turns = pictures[0], []
        if message["role"] in ("user", "assistant"):
            turns.append((message["role"], words))
    if picture is None:
        raise Refusal(
            422, "there is no picture in the messages", do="Send one as an image_url with a data: URL."
        )
    if turns[-1][0] != "user":
        raise Refusal(422, "the last message must be the user's")
    return picture, turns


def _parts_of(content: Any) -> tuple[str, list[PictureIn]]:
    if isinstance(content, str):
        return content, []
    words: list[str] = []
    pictures: list[PictureIn] = []
    for part in content if isinstance(content, list) else []:
        if isinstance(part, Mapping) and isinstance(part.get("text"), str):
            words.append(part["text"])
        elif isinstance(part, Mapping) and part.get("type") == "image_url":
            image = part.get("image_url")
            url = image.get("url") if isinstance(image, Mapping) else image
            if not isinstance(url, str):
                raise Refusal(422, "an image_url needs a url")
            pictures.append(
                PictureIn(data=url, url=None)
                if url[:5].lower() == "data:"
                else PictureIn(data=None, url=url[:2000])
            )
        else:
            raise Refusal(422, "a part of a message is text or image_url", got=repr(part)[:60])
    return "\n".join(words).strip(), pictures


def prompt_of(words: str, size: tuple[int, int]) -> Prompt:
    """Return what is asked: the words, or what another askmask that uses this one to point put into JSON."""
    if len(words) > MOST_TEXT:
        raise Refusal(422, f"a prompt has at most {MOST_TEXT} characters", got=len(words))
    asked = next((one for one in _objects_in(words) if isinstance(one.get("asked"), str)), None)
    if asked is None:
        return Prompt(text=words)
    if asked["asked"].strip():
        return Prompt(text=asked["asked"])
    try:
        return Prompt(
            boxes=tuple(_pixels(box, size) for box in asked.get("marked_boxes", ())),  # type: ignore[misc]
            points=tuple(
                (*_pixels(one["point"], size), bool(one.get("part_of_it", True)))  # type: ignore[misc]
                for one in asked.get("marked_points", ())
            ),
        )
    except (TypeError, ValueError, KeyError) as error:
        raise Refusal(422, "marks that cannot be read", got=error) from None


def _session_of(model: Model, picture: Any, turns: list[tuple[str, str]]) -> Session:
    """Return a conversation that has the rounds of the turns before, as far as their masks were sent back."""
    session = model.open(picture)
    rounds: list[dict[str, Any]] = []
    count = 1
    for (role, words), (_, reply) in zip(turns[::2], turns[1::2], strict=False):
        found = next((one for one in _objects_in(reply) if isinstance(one.get("instances"), list)), None)
        if role != "user" or found is None:
            continue
        masks = [_mask_of(one, session.picture.size) for one in found["instances"]]
        if any(mask is None for mask in masks):
            continue
        segments: tuple[Segment, ...] | None = tuple(
            Segment(mask=mask, id=f"m{count + n}", source="predicted") for n, mask in enumerate(masks) if mask
        )
        count += len(masks)
        said = _words_of(found) if reply.lstrip().startswith("{") else reply.split(FENCE)[0].strip() or None
        if not masks and found.get("reply") and not found.get("nothing_because"):
            segments = None  # it was in words alone
        prompt = prompt_of(words, session.picture.size)
        rounds.append(Round(prompt=prompt, segments=segments, reply=said, id=f"r{len(rounds) + 1}").to_dict())
    if not rounds:
        return session
    saved = session.to_dict() | {"rounds": rounds, "next": {"r": len(rounds) + 1, "m": count}}
    return Session.from_dict(saved, model, session.picture)


def _words_of(found: Mapping[str, Any]) -> str | None:
    """Return the words of a reply that was JSON alone."""
    texts = (found.get("reply"), found.get("nothing_because"))
    return next((text for text in texts if isinstance(text, str) and text), None)


def _mask_of(instance: Any, size: tuple[int, int]) -> Mask | None:
    try:
        mask = Mask.from_dict(instance["mask"])
    except (AskMaskError, TypeError, KeyError):
        return None
    return mask if mask.size == size else None


def _objects_in(words: str) -> list[dict[str, Any]]:
    """Return the JSON objects in a text: all of it, or its fenced blocks."""
    blocks = [words, *words.split(FENCE)[1::2]]
    found = []
    for block in blocks:
        try:
            value = json.loads(block.strip().removeprefix("json"))
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict):
            found.append(value)
    return found


def _wants_json(form: Any) -> bool:
    return isinstance(form, Mapping) and form.get("type") in ("json_object", "json_schema")


# -- out ------------------------------------------------------------------------------------------------------


def _completion_of(answer: Answer, model: str, *, as_json: bool) -> dict[str, Any]:
    instances = [_instance(segment, answer) for segment in answer.segments]
    words = answer.text or (_counted(answer) if answer.found else NOTHING)
    reply = {
        "instances": instances,
        "nothing_because": "" if answer.found or answer.asks else answer.text or NOTHING,
        "reply": answer.text if answer.found or answer.asks else "",
    }
    if as_json:
        content = json.dumps(reply, ensure_ascii=False)
    else:
        masked = [
            one | {"mask": segment.mask.to_dict()}
            for one, segment in zip(instances, answer.segments, strict=True)
        ]
        block = json.dumps(reply | {"instances": masked}, ensure_ascii=False)
        content = f"{words}\n\n{FENCE}json\n{block}\n{FENCE}"
    return {
        "id": "chatcmpl-askmask",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": model,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": content, "refusal": None},
                "finish_reason": "stop",
                "logprobs": None,
            }
        ],
        "usage": _usage(answer),
        "askmask": {
            "segments": [segment_to_wire(segment, "rle") for segment in answer.segments],
            "answer": facts_of(answer),
        },
    }


def _instance(segment: Segment, answer: Answer) -> dict[str, Any]:
    height, width = segment.mask.size
    box = segment.mask.box or (0, 0, 0, 0)
    x, y = point_inside(segment.mask)
    return {
        "bbox_2d": [_thousandths(v, side) for v, side in zip(box, (width, height) * 2, strict=True)],
        "points_2d": [[_thousandths(x, width), _thousandths(y, height)]],
        "label": segment.name or segment.phrase or " ".join(answer.prompt.split())[:60] or segment.id,
    }


def point_inside(mask: Mask) -> tuple[float, float]:
    """Return the middle of the pixel of a mask that is nearest to the middle of them all."""
    rows, columns = np.nonzero(mask.to_array())
    if not len(rows):
        return 0.0, 0.0
    nearest = int(((rows - rows.mean()) ** 2 + (columns - columns.mean()) ** 2).argmin())
    return float(columns[nearest]) + 0.5, float(rows[nearest]) + 0.5


def _counted(answer: Answer) -> str:
    count = len(answer.segments)
    return f"{count} found." if count > 1 else "Found."


def _usage(answer: Answer) -> dict[str, int]:
    used = [int(answer.usage.get(name, 0)) for name in ("input_tokens", "output_tokens")]
    return {"prompt_tokens": used[0], "completion_tokens": used[1], "total_tokens": sum(used)}


def _thousandths(value: float, side: int) -> float:
    return round(value * THOUSANDTHS / side, 1)


def _pixels(places: Any, size: tuple[int, int]) -> tuple[float, ...]:
    """Bring thousandths x, y, ... to pixels."""
    sides = (size[1], size[0])
    if len(places) not in (2, 4):
        raise ValueError("a point has two numbers, a box four")
    return tuple(
        min(sides[n % 2], max(0.0, float(v) * sides[n % 2] / THOUSANDTHS)) for n, v in enumerate(places)
    )


async def _chunks(jobs: Jobs, job: Job, model: str) -> AsyncIterator[bytes]:
    """Yield a completion piece by piece, and signs of life while nothing comes."""
    head = {
        "id": "chatcmpl-askmask",
        "object": "chat.completion.chunk",
        "created": int(time.time()),
        "model": model,
    }

    def chunk(delta: dict[str, Any], finish: str | None = None, **more: Any) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        return f"data: {json.dumps(head | {'choices': [choice]} | more, ensure_ascii=False)}\n\n".encode()

    try:
        yield chunk({"role": "assistant", "content": ""})
        said = ""
        async for told in job.follow(jobs.beat_s):
            if told is None:
                yield STILL
                continue
            kind, data = told
            if kind == "words":
                said += data
                yield chunk({"content": data})
            elif kind == "done":
                content = data["choices"][0]["message"]["content"]
                yield chunk({"content": content.removeprefix(said) if said else content})
                yield chunk({}, "stop", askmask=data["askmask"], usage=data["usage"])
            elif kind == "error":
                yield f"data: {json.dumps({'error': data})}\n\n".encode()
        yield b"data: [DONE]\n\n"
    finally:
        if not job.over.is_set():
            job.cancel.set()
        jobs.told(job)
