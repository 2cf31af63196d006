"""Any OpenAI-compatible endpoint through the `openai` SDK: OpenAI, Gemini's compatible one, vLLM, Ollama, Moondream.

The SDK's own retries are off: `caller.py` counts, budgets and spaces every attempt.
"""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import urlsplit

from askmask.engine.templates import fill
from askmask.errors import MissingExtra, SettingError
from askmask.vlm.errors import CallFailed, keep_secret
from askmask.vlm.request import Completion, Request

_CLASS_OF_STATUS = {
    408: "timeout",
    409: "conflict",
    429: "rate_limit",
    401: "auth",
    403: "auth",
    404: "model",
}
_BLOCKED = ("content_filter", "content_policy", "responsibleai", "safety")


class OpenAIVlm:
    """A chat-completions client. The key is read from an environment variable and kept nowhere else."""

    def __init__(
        self,
        model: str,
        *,
        base_url: str | None = None,
        api_key_env: str = "OPENAI_API_KEY",
        timeout_s: float = 120.0,
        strict_schema: bool = True,
    ):
        try:
            import openai
        except ImportError as error:
            raise MissingExtra("openai", "engine") from error
        self._openai = openai
        self.model, self._strict = model, strict_schema
        host = urlsplit(base_url or "https://api.openai.com/v1")
        if host.username or host.password:
            raise SettingError("a base URL must not hold a password", do="Put the key into --api-key-env.")
        self.provider = f"openai:{host.hostname}" + (f":{host.port}" if host.port else "")
        key = os.environ.get(api_key_env)
        if not key and host.hostname not in ("localhost", "127.0.0.1", "::1"):
            raise SettingError(
                f"no key for {host.hostname}", do=f"Set the environment variable {api_key_env}."
            )
        keep_secret(key)
        self._client = openai.AsyncOpenAI(
            api_key=key or "none-needed", base_url=base_url, timeout=timeout_s, max_retries=0
        )

    async def complete(self, request: Request) -> Completion:
        """Send one chat completion with the schema as structured output."""
        openai = self._openai
        try:
            response = await self._client.chat.completions.create(
                model=self.model,
                messages=messages_of(request),
                temperature=request.temperature,
                max_tokens=request.max_tokens,
                seed=request.vote,
                response_format={
                    "type": "json_schema",
                    "json_schema": {
                        "name": request.schema_name,
                        "schema": dict(request.schema),
                        "strict": self._strict,
                    },
                },
            )
        except openai.APITimeoutError as error:
            raise CallFailed("timeout", "no reply in time") from error
        except openai.APIConnectionError as error:
            raise CallFailed("connection", f"connection lost: {error.__cause__ or error}") from error
        except openai.APIStatusError as error:
            return _status_outcome(error)
        except openai.APIError as error:  # a 200 whose body is no JSON: the line broke in the middle
            raise CallFailed("connection", str(error)) from error
        except ValueError as error:
            raise CallFailed("connection", f"unreadable response: {error}") from error
        return _completion_of(response)

    async def close(self) -> None:
        """Close the connection pool."""
        await self._client.close()


def messages_of(request: Request) -> list[Any]:
    """Return chat messages: instructions as system, pictures and inputs as user, then any repair round."""
    content: list[dict[str, Any]] = [
        {"type": "image_url", "image_url": {"url": picture.data_url}} for picture in request.pictures
    ]
    content.append({"type": "text", "text": request.user_text})
    messages: list[Any] = [
        {"role": "system", "content": request.instructions},
        {"role": "user", "content": content},
    ]
    if request.complaint is not None:
        messages += [
            {"role": "assistant", "content": request.broken_reply or ""},
            {"role": "user", "content": fill("repair", error=request.complaint)},
        ]
    return messages


def _completion_of(response: Any) -> Completion:
    if not getattr(response, "choices", None):
        raise CallFailed("connection", "a response without choices")
    choice, usage = response.choices[0], response.usage
    refused = None
    if choice.finish_reason == "content_filter":
        refused = ("safety", getattr(choice.message, "refusal", None) or "blocked by the provider's filter")
    elif getattr(choice.message, "refusal", None):
        refused = ("refusal", choice.message.refusal)
    return Completion(
        text=choice.message.content or "",
        finish="length" if choice.finish_reason == "length" else "stop",
        refused=refused,
        input_tokens=usage.prompt_tokens if usage else 0,
        output_tokens=usage.completion_tokens if usage else 0,
        model=response.model or "",
        reply_id=response.id or "",
    )


def _status_outcome(error: Any) -> Completion:
    """Turn an error status into a refusal (a reply, kept) or a CallFailed."""
    body = error.body if isinstance(error.body, dict) else {}
    said = " ".join(str(body.get(field) or "") for field in ("code", "type", "message"))
    if error.status_code == 400 and any(word in said.lower() for word in _BLOCKED):
        return Completion(text="", refused=("safety", str(body.get("message") or said)), model="")
    raise CallFailed(
        status_class(error.status_code),
        f"HTTP {error.status_code}: {body.get('message') or error.message}",
        retry_after_s=retry_after(error.response.headers),
    ) from error


def status_class(status: int) -> str:
    """Return the error class of an HTTP status."""
    return _CLASS_OF_STATUS.get(status) or ("server" if status >= 500 else "request")


def retry_after(headers: Any) -> float | None:
    """Return the seconds a Retry-After header asks for (number or HTTP date), None without one."""
    import time
    from email.utils import parsedate_to_datetime

    value = headers.get("retry-after")
    if value is None:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (TypeError, ValueError):
        return None
