"""Gemini through Google's own SDK (extra `[google]`). Gemini also answers at its OpenAI-compatible endpoint."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from askmask.errors import MissingExtra, SettingError
from askmask.vlm.budget import sane
from askmask.vlm.errors import CallFailed
from askmask.vlm.http import checked_address, checked_key, outcome_of_error
from askmask.vlm.openai_api import LONGEST_TIMEOUT_S
from askmask.vlm.request import Completion, Request, Turn, count_of

DEFAULT_URL = "https://generativelanguage.googleapis.com"
_BLOCKED = ("SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "IMAGE_SAFETY", "MODEL_ARMOR")


class GoogleVlm:
    """A generate-content client; `base_url` is for proxies and tests.

    `extra`: fields of the SDK's GenerateContentConfig, such as {"thinking_config": {"thinking_budget": 0}}.
    """

    def __init__(
        self,
        model: str,
        *,
        api_key_env: str = "GEMINI_API_KEY",
        base_url: str | None = None,
        timeout_s: float = 120.0,
        extra: Mapping[str, Any] | None = None,
    ):
        try:
            from google import genai
            from google.genai import errors, types
        except ImportError as error:
            raise MissingExtra("google-genai", "google") from error
        checked_address(base_url or DEFAULT_URL)
        key = checked_key(api_key_env, checked_address(DEFAULT_URL))
        self._timeout_s = sane("a timeout", timeout_s, least=0.001, most=LONGEST_TIMEOUT_S)
        self.provider, self.model, self.extra = "google", model, dict(extra or {})
        self._types, self._errors = types, errors
        try:
            types.GenerateContentConfig(**self.extra)
        except ValueError as error:
            raise SettingError("not parameters of Gemini", got=" ".join(str(error).split())[:200]) from error
        self._client = genai.Client(
            api_key=key,
            http_options=types.HttpOptions(
                base_url=base_url,
                timeout=int(timeout_s * 1000),
                retry_options=types.HttpRetryOptions(attempts=1),
            ),
        )

    async def complete(self, request: Request) -> Completion:
        """Send one request, with the schema as JSON output."""
        turns = request.turns()
        system = turns.pop(0).parts[0] if turns[0].role == "system" else None
        wanted: dict[str, Any] = {
            "temperature": request.temperature,
            "max_output_tokens": request.max_tokens,
            "seed": request.vote if request.seeded else None,
            "system_instruction": system,
        }
        if request.schema is not None:
            wanted |= {"response_mime_type": "application/json", "response_json_schema": dict(request.schema)}
        try:
            async with asyncio.timeout(self._timeout_s):
                response = await self._client.aio.models.generate_content(
                    model=self.model,
                    contents=[self._content(turn) for turn in turns],
                    config=self._types.GenerateContentConfig(**wanted | self.extra),
                )
        except self._errors.APIError as error:
            headers = getattr(getattr(error, "response", None), "headers", None) or {}
            return outcome_of_error(error.code, error.details, headers, error.message or "")
        except Exception as error:  # the SDK lets several HTTP libraries' own errors through
            kind = "timeout" if "timeout" in type(error).__name__.lower() else "connection"
            raise CallFailed(kind, f"{type(error).__name__}: {error}") from None
        return self._completion_of(response)

    def _content(self, turn: Turn) -> Any:
        types = self._types
        return types.Content(
            role="model" if turn.role == "assistant" else "user",
            parts=[
                types.Part(text=part)
                if isinstance(part, str)
                else types.Part.from_bytes(data=part.data, mime_type=part.media)
                for part in turn.parts
            ],
        )

    def _completion_of(self, response) -> Completion:
        feedback = getattr(response, "prompt_feedback", None)
        if feedback is not None and feedback.block_reason:
            said = feedback.block_reason_message or feedback.block_reason.name
            return Completion(text="", refused=("safety", said), model=self.model)
        if not response.candidates:
            raise CallFailed("parse", "a response without candidates")
        candidate, usage = response.candidates[0], response.usage_metadata
        finish = candidate.finish_reason.name if candidate.finish_reason else "STOP"
        content = candidate.content
        parts = content.parts if content is not None and content.parts else []
        return Completion(
            text="".join(part.text or "" for part in parts if not getattr(part, "thought", False)),
            finish="length" if finish == "MAX_TOKENS" else "stop",
            refused=("safety", candidate.finish_message or finish) if finish in _BLOCKED else None,
            input_tokens=count_of(usage.prompt_token_count) if usage else None,
            # Thinking is billed as output.
            output_tokens=count_of((usage.candidates_token_count or 0) + (usage.thoughts_token_count or 0))
            if usage
            else None,
            model=response.model_version or self.model,
            reply_id=response.response_id or "",
        )

    async def close(self) -> None:
        """Close the connection pool."""
        await self._client.aio.aclose()
