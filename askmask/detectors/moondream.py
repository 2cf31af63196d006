"""Moondream's detect endpoint over HTTP as a detector: the cloud's, or Moondream Station's on this machine.

POST {base}/detect  {"image_url": "data:image/jpeg;base64,...", "object": "..."}
-> {"objects": [{"x_min": 0.1, "y_min": 0.2, "x_max": 0.3, "y_max": 0.4}]}      fractions of width and height
"""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import urllib.error
import urllib.request
from urllib.parse import urlsplit

from askmask.engine.pictures import Picture
from askmask.engine.tools import Tools
from askmask.engine.values import Box, Description
from askmask.errors import SettingError
from askmask.vlm.errors import CallFailed, UnitFailed, keep_secret

CLOUD = "https://api.moondream.ai/v1"
MOST_BYTES = 1 << 20


class Moondream:
    """The key, if the endpoint needs one, is read from `api_key_env`."""

    name = "moondream"

    def __init__(
        self,
        base_url: str = CLOUD,
        *,
        api_key_env: str = "MOONDREAM_API_KEY",
        timeout_s: float = 60.0,
        attempts: int = 5,
        first_wait_s: float = 1.0,
        concurrency: int = 4,
    ):
        address = urlsplit(base_url)
        if address.scheme not in ("http", "https") or address.username or address.password:
            raise SettingError(
                "Moondream's address must be http(s)://host/v1 without a password", got=address.netloc
            )
        self._base, self._timeout_s = base_url.rstrip("/"), timeout_s
        self._attempts, self._first_wait_s = attempts, first_wait_s
        self._key = os.environ.get(api_key_env)
        if not self._key and base_url == CLOUD:
            raise SettingError("no key for Moondream", do=f"Set the environment variable {api_key_env}.")
        keep_secret(self._key)
        self._slots = asyncio.Semaphore(concurrency)

    async def find(
        self, picture: Picture, descriptions: tuple[Description, ...], tools: Tools
    ) -> list[list[Box]]:
        """Return every box the endpoint gives for each description."""
        image = tools.original(picture).data_url
        return list(await asyncio.gather(*(self._find(image, d.text, picture.size) for d in descriptions)))

    async def _find(self, image: str, text: str, size: tuple[int, int]) -> list[Box]:
        from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt

        from askmask.vlm.caller import wait_as_told

        retrying = AsyncRetrying(
            stop=stop_after_attempt(self._attempts),
            wait=wait_as_told(self._first_wait_s, 60.0),
            retry=retry_if_exception(lambda e: isinstance(e, CallFailed) and e.retryable),
            reraise=True,
        )
        async for attempt in retrying:
            with attempt:
                async with self._slots:
                    reply = await asyncio.to_thread(self._post, {"image_url": image, "object": text})
        height, width = size
        try:
            return [
                (o["x_min"] * width, o["y_min"] * height, o["x_max"] * width, o["y_max"] * height)
                for o in reply["objects"]
            ]
        except (KeyError, TypeError) as error:
            raise UnitFailed("detector", f"Moondream: unexpected reply {str(reply)[:100]}") from error

    def _post(self, body: dict[str, str]) -> dict:
        from askmask.vlm.openai_api import retry_after, status_class

        headers = {"Content-Type": "application/json", "User-Agent": "askmask"}
        if self._key:
            headers["X-Moondream-Auth"] = self._key
        request = urllib.request.Request(f"{self._base}/detect", json.dumps(body).encode(), headers)
        try:
            with urllib.request.urlopen(request, timeout=self._timeout_s) as response:
                return json.loads(response.read(MOST_BYTES))
        except urllib.error.HTTPError as error:
            raise CallFailed(
                status_class(error.code),
                f"Moondream: HTTP {error.code}",
                retry_after_s=retry_after(error.headers),
            ) from error
        except TimeoutError as error:
            raise CallFailed("timeout", "Moondream: no reply in time") from error
        except (OSError, http.client.HTTPException, json.JSONDecodeError) as error:
            raise CallFailed("connection", f"Moondream: {error}") from error
