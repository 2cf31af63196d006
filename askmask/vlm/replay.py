"""Recorded replies instead of a model: the whole engine without a key, a network or a cost.

A recording is JSON lines, one reply a line, told apart by what the request asks about, not by pixels:

    {"picture": "9c3e...", "stage": "verify", "schema": "MaskReply", "inputs": {"description": "..."}, "reply": {...}}

`inputs` need only hold the fields that decide; all of them must be equal to the request's. `picture` is the
perceptual hash (16 hex digits, `pictures.difference_hash`) of the first picture; a few differing bits are allowed.
A `reply` that is text is sent as it is, so that broken replies can be recorded as well.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from askmask.errors import DataError
from askmask.runs.json_text import read_rows
from askmask.vlm.errors import CallFailed
from askmask.vlm.pictures import difference_hash
from askmask.vlm.reply import faults_of
from askmask.vlm.request import Completion, Request

MOST_BITS = 6  # differing bits of 64 between perceptual hashes of one picture


class Recorded(BaseModel):
    """One line of a recording; fields of others (notes) are let be."""

    model_config = ConfigDict(strict=True)

    stage: str
    schema_name: str = Field(alias="schema")
    reply: str | dict[str, Any] | list[Any]
    inputs: dict[str, Any] = {}
    picture: str | None = Field(default=None, pattern="^[0-9a-fA-F]{1,16}$")
    finish: Literal["stop", "length"] = "stop"
    refused: list[str] | None = Field(default=None, min_length=2, max_length=2)
    repair: Any = None

    def fits(self, request: Request) -> bool:
        """Whether this is the reply to a request."""
        if self.stage != request.stage or self.schema_name != request.schema_name:
            return False
        if self.picture is not None and request.pictures:
            seen = difference_hash(request.pictures[0].rgb)
            if (seen ^ int(self.picture, 16)).bit_count() > MOST_BITS:
                return False
        if ("repair" in self.model_fields_set) != (request.complaint is not None):
            return False
        return all(request.inputs.get(name) == value for name, value in self.inputs.items())


class ReplayVlm:
    """Answers from a recording; a request without a recorded reply fails with class `request`."""

    provider = "replay"
    extra: Mapping[str, Any] = {}

    def __init__(self, path: str | Path, *, model: str = "recorded-1"):
        self.model = model
        self._rows: list[Recorded] = []
        for number, row in read_rows(path):
            try:
                self._rows.append(Recorded.model_validate(row))
            except ValidationError as error:
                raise DataError(
                    f"{path}, line {number}: no recorded reply; it needs stage, schema and reply",
                    got=faults_of(error),
                ) from None

    async def complete(self, request: Request) -> Completion:
        """Return the first recorded reply that fits."""
        for row in self._rows:
            if row.fits(request):
                reply = row.reply
                text = reply if isinstance(reply, str) else json.dumps(reply, ensure_ascii=False)
                return Completion(
                    text=text,
                    finish=row.finish,
                    refused=(row.refused[0], row.refused[1]) if row.refused else None,
                    input_tokens=request.tokens_at_most()[0],
                    output_tokens=len(text) // 4,
                    model=self.model,
                )
        raise CallFailed(
            "request",
            f"no recorded reply for {request.stage}, {request.schema_name}, {json.dumps(request.inputs)[:300]}",
        )

    async def close(self) -> None:
        """Nothing to close."""
