"""Moondream's detect endpoint as a client: the cloud's, or Moondream Station's on this machine.

POST {base}/detect  {"image_url": "data:image/jpeg;base64,...", "object": "..."}
-> {"objects": [{"x_min": 0.1, "y_min": 0.2, "x_max": 0.3, "y_max": 0.4}]}      fractions of width and height
"""

from __future__ import annotations

import asyncio
import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

from askmask.vlm.budget import sane
from askmask.vlm.errors import CallFailed
from askmask.vlm.http import MOST_ERROR_BYTES, checked_address, checked_key, outcome_of_error
from askmask.vlm.pictures import data_url
from askmask.vlm.request import Completion, Request
from askmask.vlm.secrets import read_key

CLOUD = "https://api.moondream.ai/v1"
MOST_BYTES = 1 << 20


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would carry the key to another host."""

    def redirect_request(self, *_: Any) -> None:
        return None


class MoondreamVlm:
    """Sends a request's first picture and its input "object"; the reply is the endpoint's own JSON."""

    extra: Mapping[str, Any] = {}

    def __init__(
        self, base_url: str = CLOUD, *, api_key_env: str = "MOONDREAM_API_KEY", timeout_s: float = 60.0
    ):
        address = checked_address(base_url)
        self._base = base_url.rstrip("/")
        self._timeout_s = sane("a timeout", timeout_s, least=0.001, most=86_400)
        # Moondream Station asks for no key, wherever in a network it runs.
        self._key = checked_key(api_key_env, address) if self._base == CLOUD else read_key(api_key_env)
        self.provider, self.model = f"moondream:{address.hostname}", "detect"
        self._opener = urllib.request.build_opener(_NoRedirect)

    async def complete(self, request: Request) -> Completion:
        """Ask for one phrase."""
        body = {"image_url": data_url(request.pictures[0]), "object": request.inputs["object"]}
        try:
            async with asyncio.timeout(self._timeout_s):
                return await asyncio.to_thread(self._post, body)
        except TimeoutError:
            raise CallFailed("timeout", "Moondream: no reply in time") from None

    def _post(self, body: dict[str, Any]) -> Completion:
        headers = {"Content-Type": "application/json", "User-Agent": "askmask"}
        if self._key:
            headers["X-Moondream-Auth"] = self._key
        request = urllib.request.Request(f"{self._base}/detect", json.dumps(body).encode(), headers)
        try:
            with self._opener.open(request, timeout=self._timeout_s) as response:
                data = response.read(MOST_BYTES + 1)
        except urllib.error.HTTPError as error:
            said = error.read(MOST_ERROR_BYTES).decode("utf-8", "replace")
            try:
                parsed = json.loads(said)
            except (ValueError, RecursionError):
                parsed = said
            return outcome_of_error(error.code, parsed, error.headers)
        except TimeoutError:
            raise CallFailed("timeout", "Moondream: no reply in time") from None
        except (OSError, http.client.HTTPException) as error:
            raise CallFailed("connection", f"Moondream: {error}") from None
        if len(data) > MOST_BYTES:
            raise CallFailed("parse", f"Moondream: a response of more than {MOST_BYTES >> 20} MB")
        return Completion(
            text=data.decode("utf-8", "replace"), input_tokens=None, output_tokens=None, model=self.model
        )

    async def close(self) -> None:
        """Nothing to close."""
