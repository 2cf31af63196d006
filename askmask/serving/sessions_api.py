"""The native calls: pictures with prompts, sessions, jobs and models.

Without `from __future__ import annotations`: FastAPI reads annotations, and these name what a function holds.
"""

import asyncio
from collections.abc import Callable
from typing import Annotated, Any, TypeVar
from urllib.parse import quote

from fastapi import APIRouter, Depends, Query, Request, Response

from askmask.serving.downloads import PAGE_TYPE, conversation_page, masks_zip, overlay_png, picture_for_page
from askmask.serving.jobs import Job
from askmask.serving.journal import Standing
from askmask.serving.masks import Form
from askmask.serving.pictures_in import open_call_of, segment_call_of
from askmask.serving.refusal import Refusal
from askmask.serving.replies import LONGEST_WAIT_S, Json, follows, key_of, outcome, told
from askmask.serving.service import Service
from askmask.serving.store import Kept
from askmask.serving.wire import (
    AddCall,
    EditCall,
    ForkCall,
    OpenCall,
    PromptIn,
    RenameCall,
    SegmentCall,
    head_to_wire,
    session_to_wire,
)

R = TypeVar("R")


def routes(service: Service) -> APIRouter:
    """Return the routes below /v1."""
    router = APIRouter(prefix="/v1")
    usual = service.limits.wait_s

    def owner(request: Request) -> str:
        name: str = request.scope["state"]["owner"]
        return name

    Owner = Annotated[str, Depends(owner)]
    Masks = Annotated[Form, Query(alias="masks", description="how masks are written")]
    Wait = Annotated[
        float,
        Query(ge=0, le=LONGEST_WAIT_S, description="seconds to wait; what takes longer comes by its job"),
    ]

    def find(session: str, owner: Owner) -> Kept:
        return service.store.find(owner, session)

    Found = Annotated[Kept, Depends(find)]

    async def under_lock(kept: Kept, read: Callable[[], R]) -> R:
        async with kept.lock:
            return await asyncio.to_thread(read)

    async def standing(kept: Kept) -> Standing:
        journal = kept.journal
        if journal is not None and not kept.gone:  # a value as it stands: nobody need be waited for
            return journal.standing()
        return await under_lock(kept, lambda: service.store.journal(kept).standing())

    @router.get("/models", tags=["models"])
    async def models() -> Response:
        """List the models: which are loaded, and what they are."""
        rows: list[dict[str, Any]] = []
        for name in service.model_names:
            model = service.loaded(name)
            row: dict[str, Any] = {"id": name, "object": "model", "ready": model is not None}
            if model is not None:
                row |= {
                    "name": model.name,
                    "protocol": model.backend.protocol_name,
                    "fingerprint": model.backend.fingerprint,
                }
            rows.append(row)
        return Json({"object": "list", "data": rows})

    @router.post(
        "/segment",
        tags=["segment"],
        openapi_extra=_body_of(SegmentCall, "picture", "prompts, one field each", "model", "masks"),
    )
    async def segment(request: Request, owner: Owner, wait: Wait = usual) -> Response:
        """Answer prompts about one picture, each as if it were alone. JSON, or a form with a file `picture`."""
        data, call = await segment_call_of(request, service)
        job = service.segment(owner, data, call.prompts, call.model, key_of(request))
        return await outcome(service.jobs, request, job, call.masks, wait)

    # -- sessions -------------------------------------------------------------------------------------------

    @router.post(
        "/sessions",
        tags=["sessions"],
        status_code=201,
        openapi_extra=_body_of(OpenCall, "picture", "model", "saved"),
    )
    async def open_session(
        request: Request, owner: Owner, wait: Wait = usual, masks: Masks = "rle"
    ) -> Response:
        """Open a session: the picture is sent and encoded once. JSON, or a form with a file `picture`."""
        data, name, call = await open_call_of(request, service)
        job = service.open(owner, data, name, call.model, call.saved, key_of(request))
        return await outcome(service.jobs, request, job, masks, wait, status=201)

    @router.get("/sessions", tags=["sessions"])
    async def list_sessions(owner: Owner, most: Annotated[int, Query(ge=1, le=1000)] = 100) -> Response:
        """List your sessions, the last used first."""
        rows = []
        for kept in service.store.listed(owner)[:most]:
            try:
                stands = await standing(kept)
            except Refusal:
                continue
            rounds = stands.moment.rounds
            row = head_to_wire(stands) | {"used": round(kept.used, 3), "rounds": len(rounds)}
            last = rounds[-1]["prompt"] if rounds else ""
            rows.append(row | {"last": (last if isinstance(last, str) else last.get("text", ""))[:200]})
        return Json({"sessions": rows, "total": len(service.store.listed(owner))})

    @router.get("/sessions/{session}", tags=["sessions"])
    async def read_session(kept: Found, masks: Masks = "rle") -> Response:
        """Return a session with all its rounds."""
        stands = await standing(kept)
        return Json(await asyncio.to_thread(session_to_wire, stands, masks))

    @router.delete("/sessions/{session}", tags=["sessions"], status_code=204)
    async def delete_session(kept: Found) -> Response:
        """Delete a session and all that is kept of it."""
        await under_lock(kept, lambda: service.store.remove(kept))
        return Response(status_code=204)

    @router.post("/sessions/{session}/rounds", tags=["rounds"])
    async def ask(
        kept: Found, body: PromptIn, request: Request, wait: Wait = usual, masks: Masks = "rle"
    ) -> Response:
        """Ask the next round: in words, by points, boxes or a drawn mask, about earlier rounds or segments."""
        job = service.ask(kept, body, key=key_of(request), followed=follows(request))
        return await outcome(service.jobs, request, job, masks, wait)

    @router.put("/sessions/{session}/rounds/{round}", tags=["rounds"])
    async def edit(
        kept: Found, round: str, body: EditCall, request: Request, wait: Wait = usual, masks: Masks = "rle"
    ) -> Response:
        """Ask a round anew with another prompt; rounds that refer to it become stale, or are asked anew too."""
        return await outcome(
            service.jobs, request, service.edit(kept, round, body, key=key_of(request)), masks, wait
        )

    @router.delete("/sessions/{session}/rounds/{round}", tags=["rounds"])
    async def delete_round(
        kept: Found, round: str, request: Request, wait: Wait = usual, masks: Masks = "rle"
    ) -> Response:
        """Remove a round."""

        def act(session: Any, job: Job) -> dict[str, Any]:
            session.delete(round)
            return {}

        return await outcome(
            service.jobs, request, service.change(kept, "delete", act, key=key_of(request)), masks, wait
        )

    @router.post("/sessions/{session}/refresh", tags=["rounds"])
    async def refresh(kept: Found, request: Request, wait: Wait = usual, masks: Masks = "rle") -> Response:
        """Ask the stale rounds anew."""
        return await outcome(service.jobs, request, service.refresh(kept, key=key_of(request)), masks, wait)

    @router.post("/sessions/{session}/segments", tags=["segments"])
    async def add(
        kept: Found, body: AddCall, request: Request, wait: Wait = usual, masks: Masks = "rle"
    ) -> Response:
        """Take in a drawn mask; or mend a segment: add to it or cut from it what is drawn or marked."""
        return await outcome(service.jobs, request, service.add(kept, body, key=key_of(request)), masks, wait)

    @router.patch("/sessions/{session}/segments/{segment}", tags=["segments"])
    async def rename(
        kept: Found,
        segment: str,
        body: RenameCall,
        request: Request,
        wait: Wait = usual,
        masks: Masks = "none",
    ) -> Response:
        """Give a segment a name; null takes it away."""

        def act(session: Any, job: Job) -> dict[str, Any]:
            try:
                session.rename(segment, body.name)
            except KeyError:
                raise Refusal(404, "no such segment", got=repr(segment)) from None
            return {}

        return await outcome(
            service.jobs, request, service.change(kept, "rename", act, key=key_of(request)), masks, wait
        )

    @router.post("/sessions/{session}/undo", tags=["sessions"])
    async def undo(kept: Found, request: Request, wait: Wait = usual, masks: Masks = "rle") -> Response:
        """Take the last change back; also after a restart of the server."""
        return await outcome(service.jobs, request, service.undo(kept), masks, wait)

    @router.post("/sessions/{session}/fork", tags=["sessions"], status_code=201)
    async def fork(
        kept: Found, request: Request, body: ForkCall = ForkCall(), wait: Wait = usual, masks: Masks = "rle"
    ) -> Response:
        """Begin a second session as this one stands: for another way on, or another model to compare."""
        return await outcome(
            service.jobs, request, service.fork(kept, body, key=key_of(request)), masks, wait, status=201
        )

    # -- files ----------------------------------------------------------------------------------------------

    @router.get("/sessions/{session}/saved", tags=["files"])
    async def saved(kept: Found) -> Response:
        """Return the conversation as the library writes it: `Session.from_dict` goes on from it."""
        stands = await standing(kept)
        whole = dict(stands.moment.rest) | {"rounds": list(stands.moment.rounds)}
        return Json(whole, headers=_as_file(stands, ".json"))

    @router.get("/sessions/{session}/picture", tags=["files"])
    async def picture(kept: Found, most: Annotated[int, Query(ge=16, le=16384)] = 16384) -> Response:
        """Return the upright picture, as PNG or JPEG; its longer side at most `most` pixels."""
        data, kind = await under_lock(kept, lambda: picture_for_page(service.store.picture(kept), most))
        return Response(data, media_type=kind, headers={"cache-control": "private, max-age=86400"})

    @router.get("/sessions/{session}/overlay.png", tags=["files"])
    async def overlay(kept: Found, rounds: Annotated[str, Query(max_length=5000)] = "") -> Response:
        """Return the picture with the masks of all rounds, or of those named (r1,r3), drawn on it."""
        stands = await standing(kept)
        drawn = await under_lock(
            kept, lambda: overlay_png(service.store.picture(kept), stands.moment, _names(rounds))
        )
        return Response(drawn, media_type="image/png", headers=_as_file(stands, "-overlay.png"))

    @router.get("/sessions/{session}/masks.zip", tags=["files"])
    async def masks(kept: Found, rounds: Annotated[str, Query(max_length=5000)] = "") -> Response:
        """Return one PNG for each segment and a list of what they are."""
        stands = await standing(kept)
        packed = await asyncio.to_thread(masks_zip, stands.moment, _names(rounds))
        return Response(packed, media_type="application/zip", headers=_as_file(stands, "-masks.zip"))

    @router.get("/sessions/{session}/page.html", tags=["files"])
    async def page(kept: Found) -> Response:
        """Return the conversation as one HTML page that needs nothing beside itself."""
        stands = await standing(kept)
        text = await under_lock(kept, lambda: conversation_page(service.store.picture(kept), stands))
        return Response(text, media_type=PAGE_TYPE, headers=_as_file(stands, ".html"))

    # -- jobs -----------------------------------------------------------------------------------------------

    @router.get("/jobs/{job}", tags=["jobs"])
    async def read_job(
        job: str, owner: Owner, request: Request, wait: Wait = 0.0, masks: Masks = "rle"
    ) -> Response:
        """Return how work stands, and its result when it is done."""
        found = service.jobs.find(owner, job)
        if not found.over.is_set() and wait:
            try:
                await asyncio.wait_for(found.over.wait(), wait)
            except TimeoutError:
                pass
        if not found.over.is_set():
            return Json({"job": found.to_dict()}, 202, headers={"Retry-After": "1"})
        return told(found, masks)

    @router.delete("/jobs/{job}", tags=["jobs"])
    async def cancel_job(job: str, owner: Owner) -> Response:
        """Cancel work; what is finished stays."""
        found = service.jobs.find(owner, job)
        if not found.over.is_set():
            found.cancel.set()
        return Json({"job": found.to_dict()}, 202)

    return router


def _names(text: str) -> set[str] | None:
    return {name for name in text.split(",") if name} or None


def _as_file(stands: Standing, suffix: str) -> dict[str, str]:
    """Return the header that names a download after the picture."""
    stem = str(stands.head["name"]).rsplit(".", 1)[0][:60] or "picture"
    plain = "".join(c if c.isascii() and (c.isalnum() or c in "-_ ") else "_" for c in stem)
    full = quote(f"{stem}{suffix}", safe="")
    return {"content-disposition": f"attachment; filename=\"{plain}{suffix}\"; filename*=UTF-8''{full}"}


def _body_of(call: Any, *fields: str) -> dict[str, Any]:
    """Describe a body that may be JSON or a form, for the API page."""
    form = {name.split(",")[0]: {"type": "string", "description": name} for name in fields}
    form["picture"] = {"type": "string", "format": "binary"}
    schema = call.model_json_schema(ref_template="#/components/schemas/{model}")
    schema.pop("$defs", None)
    return {
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": schema},
                "multipart/form-data": {"schema": {"type": "object", "properties": form}},
            },
        }
    }
