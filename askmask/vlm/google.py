"""Gemini through Google's own SDK (extra `[google]`). Gemini also answers at its OpenAI-compatible endpoint."""

from __future__ import annotations

import os

from askmask.engine.templates import fill
from askmask.errors import MissingExtra, SettingError
from askmask.vlm.errors import CallFailed, keep_secret
from askmask.vlm.openai_api import retry_after, status_class
from askmask.vlm.request import Completion, Request

_BLOCKED = ("SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "IMAGE_SAFETY", "MODEL_ARMOR")


class GoogleVlm:
    """A generate-content client; `base_url` is for proxies and tests."""

    def __init__(
        self,
        model: str,
        *,
        api_key_env: str = "GEMINI_API_KEY",
        base_url: str | None = None,
        timeout_s: float = 120.0,
    ):
        try:
            from google import genai
            from google.genai import errors, types
        except ImportError as error:
            raise MissingExtra("google-genai", "google") from error
        key = os.environ.get(api_key_env)
        if not key:
            raise SettingError("no key for Gemini", do=f"Set the environment variable {api_key_env}.")
        keep_secret(key)
        self.provider, self.model = "google", model
        self._types, self._errors = types, errors
        self._client = genai.Client(
            api_key=key,
            http_options=types.HttpOptions(
                base_url=base_url,
                timeout=int(timeout_s * 1000),
                retry_options=types.HttpRetryOptions(attempts=1),
            ),
        )

    async def complete(self, request: Request) -> Completion:
        """Send one request with the schema as JSON output."""
        types = self._types
        parts = [types.Part.from_bytes(data=p.jpeg, mime_type="image/jpeg") for p in request.pictures]
        contents = [types.Content(role="user", parts=[*parts, types.Part(text=request.user_text)])]
        if request.complaint is not None:
            contents += [
                types.Content(role="model", parts=[types.Part(text=request.broken_reply or "(nothing)")]),
                types.Content(role="user", parts=[types.Part(text=fill("repair", error=request.complaint))]),
            ]
        try:
            response = await self._client.aio.models.generate_content(
                model=self.model,
                contents=contents,
                config=types.GenerateContentConfig(
                    system_instruction=request.instructions,
                    temperature=request.temperature,
                    max_output_tokens=request.max_tokens,
                    seed=request.vote,
                    response_mime_type="application/json",
                    response_json_schema=dict(request.schema),
                ),
            )
        except self._errors.APIError as error:
            headers = getattr(getattr(error, "response", None), "headers", None)
            raise CallFailed(
                status_class(error.code),
                f"HTTP {error.code}: {error.message}",
                retry_after_s=retry_after(headers) if headers is not None else None,
            ) from error
        except Exception as error:  # the SDK lets several HTTP libraries' own errors through
            kind = "timeout" if "timeout" in type(error).__name__.lower() else "connection"
            raise CallFailed(kind, f"{type(error).__name__}: {error}") from error
        return self._completion_of(response)

    def _completion_of(self, response) -> Completion:
        feedback = getattr(response, "prompt_feedback", None)
        if feedback is not None and feedback.block_reason:
            said = feedback.block_reason_message or feedback.block_reason.name
            return Completion(text="", refused=("safety", said), model=self.model)
        if not response.candidates:
            raise CallFailed("connection", "a response without candidates")
        candidate, usage = response.candidates[0], response.usage_metadata
        finish = candidate.finish_reason.name if candidate.finish_reason else "STOP"
        content = candidate.content
        parts = content.parts if content is not None and content.parts else []
        return Completion(
            text="".join(part.text or "" for part in parts if not getattr(part, "thought", False)),
            finish="length" if finish == "MAX_TOKENS" else "stop",
            refused=("safety", candidate.finish_message or finish) if finish in _BLOCKED else None,
            input_tokens=(usage.prompt_token_count or 0) if usage else 0,
            # Thinking is billed as output.
            output_tokens=((usage.candidates_token_count or 0) + (usage.thoughts_token_count or 0))
            if usage
            else 0,
            model=response.model_version or self.model,
            reply_id=response.response_id or "",
        )

    async def close(self) -> None:
        """Close the connection pool."""
        await self._client.aio.aclose()
