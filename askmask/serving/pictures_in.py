"""Pictures as they come in: base64 in JSON, a file in a form, or an address that is fetched if allowed."""

from __future__ import annotations

import asyncio
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException
from starlette.requests import Request

from askmask.errors import DataError
from askmask.imaging.remote import Limits, NotFetched, fetch
from askmask.runs.json_text import parse_json
from askmask.serving.refusal import Refusal
from askmask.serving.service import Service
from askmask.serving.wire import OpenCall, PictureIn, SegmentCall, picture_bytes

C = TypeVar("C", bound=BaseModel)
MOST_FIELDS = 200
FETCH_S = 20.0  # for a picture to be fetched
PORTS = (80, 443)  # and from where: other ports are other services


async def segment_call_of(request: Request, service: Service) -> tuple[bytes, SegmentCall]:
    """Read a call of /v1/segment: the picture's bytes and the rest. Raises Refusal or PictureError."""
    data, _, call = await _call_of(request, service, SegmentCall)
    return data, call


async def open_call_of(request: Request, service: Service) -> tuple[bytes, str, OpenCall]:
    """Read a call of /v1/sessions: the picture's bytes, its name, and the rest."""
    return await _call_of(request, service, OpenCall)


async def _call_of(request: Request, service: Service, schema: type[C]) -> tuple[bytes, str, C]:
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if kind == "multipart/form-data":
        return await _form_of(request, service, schema)
    if kind.startswith("image/"):
        data = await request.body()
        fields: dict[str, Any] = {"picture": {}}
        prompts = request.query_params.getlist("prompt")
        fields |= {"prompts": prompts} if "prompts" in schema.model_fields else {}
        fields |= {
            k: v
            for k, v in request.query_params.items()
            if k in ("model", "masks") and k in schema.model_fields
        }
        return _some(data), request.query_params.get("name", "picture"), validated(schema, fields)
    body = await json_body(request)
    call = validated(schema, body)
    picture: PictureIn = call.picture  # type: ignore[attr-defined]
    data = await picture_of(picture, service)
    return data, picture.name or _name_of(picture), call


async def picture_of(picture: PictureIn, service: Service) -> bytes:
    """Return a picture's bytes, fetched where it is an address. Raises Refusal or PictureError."""
    most = service.limits.body_mb << 20
    if (picture.data is None) == (picture.url is None):
        raise Refusal(422, 'a picture needs either "data" or "url"')
    if picture.url is None:
        return await asyncio.to_thread(picture_bytes, picture, most)
    if not service.settings.allow_urls:
        raise Refusal(
            403,
            "this server fetches no addresses",
            do='Send the file as "data", or start it with --allow-urls.',
        )
    url = picture.url
    return await asyncio.to_thread(fetched, url, most)


def fetched(url: str, most: int) -> bytes:
    """Fetch a picture from a public address. Raises Refusal, which does not say what a name inside resolves to."""
    try:
        return fetch(url, Limits(size=most, seconds=FETCH_S), ports=PORTS)
    except NotFetched as error:
        if error.why == "address":
            raise Refusal(403, "only pictures at public addresses are fetched") from None
        raise Refusal(413 if error.why == "size" else 422, error.what, got=error.got, do=error.do) from None


async def json_body(request: Request) -> Any:
    """Read a JSON body. Raises Refusal."""
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if kind not in ("", "application/json") and not kind.endswith("+json"):
        raise Refusal(
            415,
            "a request is JSON, a form, or a picture",
            got=repr(kind[:60]),
            do="Content-Type: application/json.",
        )
    raw = await request.body()
    try:
        return (
            await asyncio.to_thread(parse_json, raw, "the request")
            if len(raw) > 1 << 20
            else parse_json(raw, "the request")
        )
    except DataError as error:
        raise Refusal(400, error.what, got=error.got) from None


def validated(schema: type[C], data: Any) -> C:
    """Read a request by its schema. Raises Refusal that names the first faults."""
    try:
        return schema.model_validate(data)
    except ValidationError as error:
        raise refusal_of_faults(error.errors(include_url=False, include_context=False)) from None


def refusal_of_faults(faults: Any) -> Refusal:
    """Return the refusal that says what is wrong with a request."""
    said = [f"{'.'.join(map(str, one['loc'])) or 'the request'}: {one['msg']}" for one in faults[:5]]
    return Refusal(
        422, "the request does not fit", got="; ".join(said), do="GET /openapi.json says what does."
    )


async def _form_of(request: Request, service: Service, schema: type[C]) -> tuple[bytes, str, C]:
    try:
        form = await request.form(max_files=1, max_fields=MOST_FIELDS)
    except MultiPartException as error:
        raise Refusal(400, f"not a form: {error.message}") from None
    except Exception as error:
        if type(error).__name__ == "HTTPException":
            raise Refusal(400, f"not a form: {getattr(error, 'detail', '')}") from None
        raise
    async with _closing(form):
        file = form.get("picture")
        if not isinstance(file, UploadFile):
            raise Refusal(422, "the form needs a file named picture")
        data = await file.read()
        fields: dict[str, Any] = {"picture": {}}
        for name, value in form.multi_items():
            if name == "picture":
                continue
            if isinstance(value, UploadFile):
                raise Refusal(422, "the form takes one file, named picture", got=repr(name[:40]))
            if name in ("prompt", "prompts"):
                fields.setdefault("prompts", []).append(value)
            elif name == "saved":
                fields[name] = parse_json(value, "saved")
            else:
                fields[name] = value
    return _some(data), file.filename or "picture", validated(schema, fields)


class _closing:
    def __init__(self, form: Any):
        self.form = form

    async def __aenter__(self) -> None:
        return None

    async def __aexit__(self, *_: object) -> None:
        await self.form.close()


def _some(data: bytes) -> bytes:
    if not data:
        raise Refusal(422, "the picture is empty")
    return data


def _name_of(picture: PictureIn) -> str:
    if picture.url:
        return picture.url.split("?")[0].rstrip("/").rsplit("/", 1)[-1][:200] or "picture"
    return "picture"
