"""The application: every route of one server, its errors as JSON, and the guard around it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse
from starlette.exceptions import HTTPException

import askmask
from askmask.errors import AskMaskError
from askmask.serving import label_studio, openai_api, sessions_api, x_anylabeling
from askmask.serving.guard import Guard, log
from askmask.serving.pictures_in import refusal_of_faults
from askmask.serving.refusal import Refusal, refusal_of
from askmask.serving.replies import Json
from askmask.serving.service import Service

PAGE = Path(__file__).parent / "page"
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".jpg": "image/jpeg",
    ".json": "application/json",
    ".webmanifest": "application/manifest+json",
}
ABOUT = """Ask a picture, get the mask. Open a session with a picture, ask in words or by marks, refer to earlier masks.

Every call that works on a model takes `wait` (seconds): what takes longer is answered 202 with a job, to be fetched at
`/v1/jobs/{job}`. With `Accept: text/event-stream` the answer comes as events. With an `Idempotency-Key` a call may be
repeated: it is done once. Errors are `{"error": {"what", "got", "do"}}`.
"""


def make_app(service: Service, *, failed: Callable[[BaseException], None] = lambda error: None) -> Guard:
    """Return the whole application; `failed` is told when a model cannot be loaded."""

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        await service.start(failed)
        yield
        await service.stop()

    app = FastAPI(
        title="askmask",
        version=askmask.__version__,
        description=ABOUT,
        lifespan=life,
        docs_url=None,  # the usual page loads its code from another's network
        redoc_url=None,
        redirect_slashes=False,
    )
    _errors(app)
    _own_state(app, service)
    for protocol in (sessions_api, openai_api, label_studio, x_anylabeling):
        app.include_router(protocol.routes(service))
    _page(app)
    return Guard(app, keys=service.keys, names=service.names, limits=service.limits, metrics=service.metrics)


def _errors(app: FastAPI) -> None:
    def refuse(refusal: Refusal) -> Response:
        return Json(refusal.to_dict(), refusal.status, headers=refusal.headers)

    async def refused(request: Request, error: Any) -> Response:
        return refuse(refusal_of(error))

    async def unfit(request: Request, error: Any) -> Response:
        faults = error.errors()
        if any(one["type"] == "json_invalid" for one in faults):
            return refuse(Refusal(400, "the request is not JSON", got=faults[0].get("ctx", {}).get("error")))
        return refuse(refusal_of_faults(faults))

    async def usual(request: Request, error: Any) -> Response:
        said = {404: "there is nothing at this address", 405: "this address does not take that method"}
        what = said.get(error.status_code, str(error.detail))
        do = "GET /openapi.json says what there is." if error.status_code in said else None
        return refuse(Refusal(error.status_code, what, do=do))

    async def unexpected(request: Request, error: Exception) -> Response:
        log.error("%s", type(error).__name__)
        return refuse(refusal_of(error))

    app.add_exception_handler(Refusal, refused)
    app.add_exception_handler(AskMaskError, refused)
    app.add_exception_handler(RequestValidationError, unfit)
    app.add_exception_handler(HTTPException, usual)
    app.add_exception_handler(Exception, unexpected)


def _own_state(app: FastAPI, service: Service) -> None:
    @app.get("/health", tags=["server"])
    async def health() -> Response:
        """Whether the process lives."""
        return Json({"status": "UP"})

    @app.get("/ready", tags=["server"])
    async def ready() -> Response:
        """Whether calls are taken: the models are loaded and the server is not stopping."""
        return Json({"ready": service.ready}, 200 if service.ready else 503)

    @app.get("/metrics", tags=["server"])
    async def metrics() -> Response:
        """Figures for Prometheus."""
        return Response(service.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


def _page(app: FastAPI) -> None:
    def file(name: str) -> Response:
        path = PAGE / name
        # Names of our own files alone: one name, or one in a folder.
        if not path.is_file() or PAGE not in path.resolve().parents:
            raise Refusal(404, "there is nothing at this address")
        return FileResponse(
            path,
            media_type=TYPES.get(path.suffix, "application/octet-stream"),
            headers={"cache-control": "no-cache"},
        )

    @app.get("/", include_in_schema=False)
    async def index() -> Response:
        return file("index.html")

    @app.get("/api", include_in_schema=False)
    async def api() -> Response:
        return file("api.html")

    @app.get("/favicon.ico", include_in_schema=False)
    async def icon() -> Response:
        return file("icon.svg")

    @app.get("/page/{name:path}", include_in_schema=False)
    async def asset(name: str) -> Response:
        return file(name)
