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
from typing import Any

from askmask.engine.pictures import difference_hash
from askmask.errors import DataError
from askmask.runs.json_text import read_rows
from askmask.vlm.errors import CallFailed
from askmask.vlm.request import Completion, Request

MOST_BITS = 6  # differing bits of 64 between perceptual hashes of one picture


class ReplayVlm:
    """Answers from a recording; a request without a recorded reply fails with class `request`."""

    provider = "replay"

    def __init__(self, path: str | Path, *, model: str = "recorded-1"):
        self.model = model
        self._rows = [row for _, row in read_rows(path)]
        for row in self._rows:
            if not {"stage", "schema", "reply"} <= row.keys():
                raise DataError('a recorded reply needs "stage", "schema" and "reply"', got=str(row)[:80])

    async def complete(self, request: Request) -> Completion:
        """Return the first recorded reply that fits."""
        for row in self._rows:
            if _fits(row, request):
                reply = row["reply"]
                text = reply if isinstance(reply, str) else json.dumps(reply, ensure_ascii=False)
                return Completion(
                    text=text,
                    finish=row.get("finish", "stop"),
                    refused=tuple(row["refused"]) if row.get("refused") else None,
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


def _fits(row: Mapping[str, Any], request: Request) -> bool:
    if row["stage"] != request.stage or row["schema"] != request.schema_name:
        return False
    picture = row.get("picture")
    if picture is not None:
        seen = difference_hash(request.pictures[0].rgb)
        if (seen ^ int(picture, 16)).bit_count() > MOST_BITS:
            return False
    if ("repair" in row) != (request.complaint is not None):
        return False
    inputs = request.inputs
    return all(inputs.get(name) == value for name, value in row.get("inputs", {}).items())
