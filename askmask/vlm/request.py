"""Request and Completion: what goes to a model and what comes back; and the protocol of a client.

A client (`Vlm`) does one thing: send one Request, return one Completion or raise CallFailed. It does not retry,
cache, count or parse; `caller.py` does.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol

from askmask.engine.pictures import SentPicture


@dataclass(frozen=True, kw_only=True)
class Request:
    """One question to a model. `inputs` is the JSON that describes the case; `instructions` the template."""

    stage: str
    template_hash: str
    instructions: str
    pictures: tuple[SentPicture, ...]
    inputs: Mapping[str, Any]
    schema_name: str
    schema: Mapping[str, Any]
    temperature: float = 0.0
    max_tokens: int = 2048
    vote: int = 0
    # A repair round: the reply that could not be used and what was wrong with it.
    broken_reply: str | None = None
    complaint: str | None = None

    @cached_property
    def user_text(self) -> str:
        """Text of the user message: what each picture is, then the inputs as JSON."""
        names = ", ".join(f"picture {i + 1}: {picture.name}" for i, picture in enumerate(self.pictures))
        return f"{names}\n\n```json\n{json.dumps(self.inputs, ensure_ascii=False)}\n```"

    def key(self, provider: str, model: str) -> str:
        """Return the content address of the reply: everything that can change it, hashed."""
        parts = {
            "provider": provider,
            "model": model,
            "template": self.template_hash,
            "instructions": self.instructions,
            "inputs": self.user_text,
            "pictures": [picture.sha256 for picture in self.pictures],
            "schema": self.schema,
            "temperature": self.temperature,
            "max_tokens": self.max_tokens,
            "vote": self.vote,
            "repair": [self.broken_reply, self.complaint],
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True, ensure_ascii=False).encode()).hexdigest()

    def repaired(self, reply: str, complaint: str, *, max_tokens: int) -> Request:
        """Return the request that shows the model its unusable reply and asks once more."""
        return replace(self, broken_reply=reply[:8000], complaint=complaint, max_tokens=max_tokens)

    def tokens_at_most(self) -> tuple[int, int]:
        """Return an upper bound of (input, output) tokens, for reserving budget and rate.

        Text: at least two bytes a token in practice, counted as one. Pictures: no current provider bills more
        than one token per 14 x 14 px patch plus a fixed part (Qwen 28 x 28 merged, Gemini 258 a tile).
        """
        text = len((self.instructions + self.user_text + (self.broken_reply or "")).encode()) // 2
        text += len(json.dumps(self.schema)) // 2 + len(self.complaint or "")
        pictures = sum(300 + -(-p.size[0] // 14) * -(-p.size[1] // 14) for p in self.pictures)
        return text + pictures + 64, self.max_tokens


@dataclass(frozen=True, kw_only=True)
class Completion:
    """A model's raw reply. `refused` holds ("refusal" | "safety", its reason) when it declined."""

    text: str
    finish: str = "stop"  # stop | length
    refused: tuple[str, str] | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    model: str = ""  # as the endpoint named it
    reply_id: str = ""


class Vlm(Protocol):
    """A client of one model at one endpoint."""

    provider: str
    model: str

    async def complete(self, request: Request) -> Completion:
        """Send once. Raises CallFailed with a class; never retries."""

    async def close(self) -> None:
        """Let go of connections."""
