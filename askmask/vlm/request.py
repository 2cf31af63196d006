"""Request and Completion: what goes to a model and what comes back; and the protocol of a client.

A client (`Vlm`) does one thing: send one Request, return one Completion or raise CallFailed. It does not retry,
cache, count or parse; `caller.py` does.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, Protocol

from askmask.vlm.pictures import Sendable
from askmask.vlm.secrets import without_keys
from askmask.vlm.templates import fill

MOST_UNSTATED = 32_768  # output tokens counted where a request states no limit
MOST_TOKENS = 1 << 31  # a count of tokens beyond this is no count


@dataclass(frozen=True)
class Turn:
    """One message of a conversation: words and pictures in their order."""

    role: Literal["system", "user", "assistant"]
    parts: tuple[str | Sendable, ...]


@dataclass(frozen=True, kw_only=True)
class Request:
    """One question to a model. `inputs` is the JSON that describes the case; `instructions` the template.

    `text`, where given, is the user's message as it stands, instead of the pictures' names and `inputs` as JSON.
    `history` are earlier turns, between the instructions and this question. Without `schema` any words will do;
    without `max_tokens` or `temperature` the server's own hold; `seed` None sends none.
    """

    stage: str
    template_hash: str
    instructions: str = ""
    pictures: tuple[Sendable, ...] = ()
    inputs: Mapping[str, Any] = field(default_factory=dict)
    text: str | None = None
    pictures_first: bool = True
    history: tuple[Turn, ...] = ()
    schema_name: str = ""
    schema: Mapping[str, Any] | None = None
    temperature: float | None = 0.0
    max_tokens: int | None = 2048
    vote: int = 0
    seeded: bool = True  # send `vote` as the seed
    # A repair round: the reply that could not be used and what was wrong with it.
    broken_reply: str | None = None
    complaint: str | None = None

    @cached_property
    def user_text(self) -> str:
        """Text of the user message: what each picture is, then the inputs as JSON; or `text` as it is."""
        if self.text is not None:
            return self.text
        names = ", ".join(f"picture {i + 1}: {picture.name}" for i, picture in enumerate(self.pictures))
        return f"{names}\n\n```json\n{json.dumps(self.inputs, ensure_ascii=False)}\n```"

    def turns(self, *, schema_in_words: bool = False) -> list[Turn]:
        """Return the whole conversation as it is sent, any repair round included."""
        instructions = self.instructions
        if schema_in_words and self.schema is not None:
            shown = json.dumps(self.schema)
            instructions += f"\n\nReply with one JSON object that fits this schema:\n{shown}"
        parts: tuple[str | Sendable, ...] = (
            (*self.pictures, self.user_text) if self.pictures_first else (self.user_text, *self.pictures)
        )
        turns = [*self.history, Turn("user", parts)]
        if instructions.strip():
            turns.insert(0, Turn("system", (instructions.strip(),)))
        if self.complaint is not None:
            turns += [
                Turn("assistant", (self.broken_reply or "(nothing)",)),
                Turn("user", (fill("askmask.vlm", "repair", error=self.complaint),)),
            ]
        return turns

    def key(self, provider: str, model: str, extra: Mapping[str, Any] | None = None) -> str:
        """Return the content address of the reply: everything that can change it, hashed."""
        parts: dict[str, Any] = {
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
        if self.history:
            parts["history"] = [
                [turn.role, [part if isinstance(part, str) else part.sha256 for part in turn.parts]]
                for turn in self.history
            ]
        if not self.pictures_first:
            parts["pictures_first"] = False
        if extra:
            parts["extra"] = dict(extra)
        text = json.dumps(parts, sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()

    def repaired(self, reply: str, complaint: str, *, max_tokens: int | None) -> Request:
        """Return the request that shows the model its unusable reply and asks once more."""
        return replace(self, broken_reply=reply[:8000], complaint=complaint, max_tokens=max_tokens)

    def tokens_at_most(self) -> tuple[int, int]:
        """Return an upper bound of (input, output) tokens, for reserving budget and rate.

        Text: at least two bytes a token in practice, counted as one. Pictures: no current provider bills more
        than one token per 14 x 14 px patch plus a fixed part (Qwen 28 x 28 merged, Gemini 258 a tile).
        """
        earlier = [part for turn in self.history for part in turn.parts]
        words = "".join([self.instructions, self.user_text, self.broken_reply or ""])
        words += "".join(part for part in earlier if isinstance(part, str))
        text = len(words.encode("utf-8", "surrogatepass")) // 2
        text += len(json.dumps(self.schema or "")) // 2 + len(self.complaint or "")
        sent = [*self.pictures, *(part for part in earlier if not isinstance(part, str))]
        pictures = sum(300 + -(-p.size[0] // 14) * -(-p.size[1] // 14) for p in sent)
        return text + pictures + 64, self.max_tokens or MOST_UNSTATED


@dataclass(frozen=True, kw_only=True)
class Completion:
    """A model's raw reply. `refused` holds ("refusal" | "safety", its reason) when it declined.

    Token counts are None where the server gave none, or none that can be: the call then costs its worst case.
    """

    text: str
    finish: str = "stop"  # stop | length
    refused: tuple[str, str] | None = None
    input_tokens: int | None = 0
    output_tokens: int | None = 0
    model: str = ""  # as the endpoint named it
    reply_id: str = ""

    def without_keys(self) -> Completion:
        """Return it without any key in use, whatever in it echoed one."""
        refused = None if self.refused is None else (self.refused[0], without_keys(self.refused[1]))
        return replace(
            self,
            text=without_keys(self.text),
            refused=refused,
            model=without_keys(self.model),
            reply_id=without_keys(self.reply_id),
        )

    def to_json(self) -> str:
        """Return all that is kept of it, as JSON; not the id, which differs at every call."""
        kept = asdict(self)
        del kept["reply_id"]
        return json.dumps(kept, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Completion:
        """Read what `to_json` wrote."""
        data = json.loads(text)
        data["refused"] = tuple(data["refused"]) if data["refused"] else None
        return cls(**data)


def count_of(tokens: Any) -> int | None:
    """Return a count of tokens as a server gave it, None for what cannot be one."""
    return tokens if type(tokens) is int and 0 <= tokens <= MOST_TOKENS else None


class Vlm(Protocol):
    """A client of one model at one endpoint."""

    provider: str
    model: str

    @property
    def extra(self) -> Mapping[str, Any]:
        """Parameters beyond the request's own; they are part of a reply's key."""

    async def complete(self, request: Request) -> Completion:
        """Send once. Raises CallFailed with a class; never retries."""

    async def close(self) -> None:
        """Let go of connections."""
