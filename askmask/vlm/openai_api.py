"""Any OpenAI-compatible endpoint through the `openai` SDK: OpenAI, Gemini's, vLLM, Ollama, LM Studio, llama.cpp.

The SDK's own retries are off: `caller.py` counts, budgets and spaces every attempt. Parameters that a server refuses
are left out, or renamed, for the rest of the run.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import Mapping
from typing import Any

from askmask.errors import MissingExtra, SettingError
from askmask.vlm.budget import sane
from askmask.vlm.errors import ADAPTED, CallFailed
from askmask.vlm.http import (
    LOOPBACK,
    MOST_BYTES,
    Headers,
    bound_errors,
    checked_address,
    checked_key,
    outcome_of_error,
    sentence_of,
)
from askmask.vlm.pictures import data_url
from askmask.vlm.reply import json_of
from askmask.vlm.request import Completion, Request, Turn, count_of

DEFAULT_URL = "https://api.openai.com/v1"
LONGEST_TIMEOUT_S = 86_400.0
# What a server may call a parameter in its complaint, beside the parameter's own name.
_ALIASES = {
    "response_format": r"|json_schema|structured[ _]outputs?|guided_json|response_schema|additionalProperties|grammar"
    r"|schema"
}
# Chat templates of models that know no system message say so in many ways.
_NO_SYSTEM = re.compile(
    r"system role|system messages? (?:is|are)? ?not|only user and assistant roles|role.{0,10}system.{0,20}not",
    re.IGNORECASE,
)
_NEVER_EXTRA = ("model", "messages", "stream", "n", "max_tokens", "max_completion_tokens")


class OpenAIVlm:
    """A chat-completions client. The key is read from an environment variable and kept nowhere else.

    `extra`: further parameters of the request's body; None leaves one of ours out ({"seed": None}).
    """

    def __init__(
        self,
        model: str,
        *,
        base_url: str | None = None,
        api_key_env: str = "OPENAI_API_KEY",
        timeout_s: float = 120.0,
        extra: Mapping[str, Any] | None = None,
    ):
        try:
            import openai
        except ImportError as error:
            raise MissingExtra("openai", "engine") from error
        self._openai, self.model = openai, model
        self.base_url = base_url or os.environ.get("OPENAI_BASE_URL") or DEFAULT_URL
        address = checked_address(self.base_url)
        self._has_path = bool(address.path.strip("/"))
        self.provider = f"openai:{address.hostname}" + (f":{address.port}" if address.port else "")
        self._timeout_s = sane("a timeout", timeout_s, least=0.001, most=LONGEST_TIMEOUT_S)
        self.extra = dict(extra or {})
        for name in _NEVER_EXTRA:
            if self.extra.get(name) is not None:
                raise SettingError(
                    f"{name!r} cannot be an extra parameter", do="Allow more with --thinking-tokens."
                )
        self._without = {name for name, value in self.extra.items() if value is None}
        self._limit = "max_tokens"
        self._json_mode = False  # the server takes no schema, but may promise JSON
        self._system = True
        key = checked_key(api_key_env, address)
        try:
            http = openai.DefaultAsyncHttpxClient(
                timeout=timeout_s,
                event_hooks={"response": [bound_errors]},
                headers={"Accept-Encoding": "identity"},
                trust_env=address.hostname not in LOOPBACK,  # no proxy leads to this machine
            )
        except ImportError as error:  # raised for a SOCKS proxy of the environment
            raise SettingError(
                "the proxy that ALL_PROXY or HTTPS_PROXY names is a SOCKS proxy, which needs socksio",
                do="pip install socksio, or unset the variable.",
            ) from error
        self._client = openai.AsyncOpenAI(
            api_key=key or "none-needed",
            base_url=self.base_url,
            max_retries=0,
            timeout=timeout_s,
            http_client=http,
        )

    async def complete(self, request: Request) -> Completion:
        """Send one chat completion, with the schema as structured output where the server takes it."""
        openai = self._openai
        parameters = self._parameters(request)
        by_schema = parameters.get("response_format", {}).get("type") == "json_schema"
        turns = request.turns(schema_in_words=not by_schema)
        if not self._system:
            turns = without_system(turns)
        extra = {name: value for name, value in self.extra.items() if value is not None}
        try:
            async with (
                asyncio.timeout(self._timeout_s),
                self._client.chat.completions.with_streaming_response.create(
                    model=self.model,
                    messages=[message_of(turn) for turn in turns],  # type: ignore[misc]
                    extra_body=extra or None,
                    **parameters,
                ) as response,
            ):
                body = await _body_of(response)
        except (TimeoutError, openai.APITimeoutError):
            raise CallFailed("timeout", f"no whole reply within {self._timeout_s:g} s") from None
        except openai.APIStatusError as error:
            self._adapt(error.status_code, error.body, parameters, turns)
            said = error.message if isinstance(error.body, dict) else ""
            return self._outcome(error.status_code, error.body, error.response.headers, said)
        except openai.APIConnectionError as error:
            raise CallFailed("connection", f"connection lost: {error.__cause__ or error}") from None
        except CallFailed:
            raise
        except Exception as error:  # the HTTP library's own, while the body is read
            raise CallFailed("connection", f"connection lost: {type(error).__name__}: {error}") from None
        return self._read(body, parameters, turns)

    async def close(self) -> None:
        """Close the connection pool."""
        await self._client.close()

    def _parameters(self, request: Request) -> dict[str, Any]:
        wanted: dict[str, Any] = {
            "temperature": request.temperature,
            self._limit: request.max_tokens,
            "seed": request.vote if request.seeded else None,
        }
        if request.schema is not None:
            shape = {"name": request.schema_name, "schema": dict(request.schema), "strict": True}
            by_schema = {"type": "json_schema", "json_schema": shape}
            wanted["response_format"] = {"type": "json_object"} if self._json_mode else by_schema
        return {
            name: value
            for name, value in wanted.items()
            if value is not None and name not in self._without and name not in self.extra
        }

    def _adapt(self, status: int, body: Any, sent: Mapping[str, Any], turns: list[Turn]) -> None:
        """Leave out, rename or put otherwise what the server refuses; raise CallFailed(ADAPTED) if that may help."""
        text = json.dumps(body) if isinstance(body, dict | list) else str(body)
        if status in (400, 422, 500) and turns[0].role == "system" and _NO_SYSTEM.search(text):
            self._system = False
            raise CallFailed(ADAPTED, f"HTTP {status}: {sentence_of(body) or 'no system message'}") from None
        if status not in (400, 422):
            return
        for name in sent:
            other = "max_completion_tokens" if name == "max_tokens" else "max_tokens"
            if name == self._limit and re.search(rf"\b{other}\b", text) and "too large" not in text:
                self._limit = other
                self._without.add(name)
                break
            if re.search(rf"\b({name}{_ALIASES.get(name, '')})\b", text, re.IGNORECASE):
                if name == "response_format" and sent[name]["type"] == "json_schema":
                    self._json_mode = True
                else:
                    self._without.add(name)
                break
        else:
            return
        raise CallFailed(ADAPTED, f"HTTP {status}: {sentence_of(body) or name}") from None

    def _outcome(self, status: int, body: Any, headers: Headers, said: str) -> Completion:
        if status in (404, 405) and not self._has_path:
            raise CallFailed(
                "address",
                f"HTTP {status} at {self.base_url}: the address has no path; most servers want /v1 at its end",
            ) from None
        return outcome_of_error(status, body, headers, said)

    def _read(self, body: bytes, sent: Mapping[str, Any], turns: list[Turn]) -> Completion:
        if body.lstrip()[:1] == b"<":
            raise CallFailed(
                "address", f"a web page instead of a reply at {self.base_url}; it usually ends in /v1"
            )
        try:
            data = json_of(body.decode("utf-8"))
        except json.JSONDecodeError:
            raise CallFailed("connection", f"a response cut short, or none: {body[:80]!r}") from None
        except (ValueError, RecursionError) as error:
            raise CallFailed("parse", f"a response that cannot be read: {error}") from None
        if isinstance(data, dict) and not data.get("choices") and (fault := data.get("error")):
            code = fault.get("code") if isinstance(fault, dict) else None
            status = code if type(code) is int and 400 <= code < 600 else 500
            self._adapt(status, fault, sent, turns)
            return self._outcome(status, fault, {}, "")
        return completion_of(data)


def without_system(turns: list[Turn]) -> list[Turn]:
    """Return a conversation whose instructions stand at the head of the first question."""
    if turns[0].role != "system":
        return turns
    (system, first), rest = turns[:2], turns[2:]
    return [Turn(first.role, (*system.parts, *first.parts)), *rest]


def message_of(turn: Turn) -> dict[str, Any]:
    """Return a turn as a chat message; one of words alone as plain text, which every server takes."""
    if all(isinstance(part, str) for part in turn.parts):
        return {"role": turn.role, "content": "\n\n".join(str(part) for part in turn.parts)}
    return {
        "role": turn.role,
        "content": [
            {"type": "text", "text": part}
            if isinstance(part, str)
            else {"type": "image_url", "image_url": {"url": data_url(part)}}
            for part in turn.parts
        ],
    }


def completion_of(data: Any) -> Completion:
    """Read a chat completion's JSON, trusting no type in it. Raises CallFailed("parse") for what is none."""
    choices = data.get("choices") if isinstance(data, dict) else None
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise CallFailed("parse", "a response without choices")
    message, finish = choices[0].get("message"), choices[0].get("finish_reason")
    if not isinstance(message, dict):
        raise CallFailed("parse", "a response without a message")
    text, refusal = _text(message.get("content"), "content"), _text(message.get("refusal"), "refusal")
    if not text.strip() and finish != "length":
        # Some servers put all of a thinking model's reply where its thinking goes.
        text = _text(message.get("reasoning_content") or message.get("reasoning"), "reasoning_content")
    refused = None
    if finish == "content_filter":
        refused = ("safety", refusal or "blocked by the provider's filter")
    elif refusal:
        refused = ("refusal", refusal)
    usage = data.get("usage")
    usage = usage if isinstance(usage, dict) else {}
    return Completion(
        text=text,
        finish="length" if finish == "length" else "stop",
        refused=refused,
        input_tokens=count_of(usage.get("prompt_tokens")),
        output_tokens=count_of(usage.get("completion_tokens")),
        model=_name(data.get("model")),
        reply_id=_name(data.get("id")),
    )


def _text(value: Any, name: str) -> str:
    """Return the words of a message's field: a text, or a list of parts of which the thinking is left out."""
    if value is None:
        return ""
    if isinstance(value, list):
        parts = [part.get("text") if isinstance(part, dict) else part for part in value]
        kinds = [part.get("type") if isinstance(part, dict) else "text" for part in value]
        value = "".join(
            p for p, kind in zip(parts, kinds, strict=True) if kind == "text" and isinstance(p, str)
        )
        if not value and "text" not in kinds:
            raise CallFailed("parse", f"a response whose {name} holds no text")
    if not isinstance(value, str):
        raise CallFailed("parse", f"a response whose {name} is no text but {type(value).__name__}")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise CallFailed("parse", f"a response whose {name} holds half a character") from None
    return value


def _name(value: Any) -> str:
    return value[:200].encode("utf-8", "replace").decode("utf-8") if isinstance(value, str) else ""


async def _body_of(response: Any) -> bytes:
    body = bytearray()
    async for chunk in response.iter_bytes():
        body += chunk
        if len(body) > MOST_BYTES:
            raise CallFailed("parse", f"a response of more than {MOST_BYTES >> 20} MB")
    return bytes(body)
