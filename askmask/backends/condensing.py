"""A language model condenses a conversation to one phrase that stands alone, for back-ends without memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from askmask.conversation import Prompt, Round
from askmask.vlm import templates
from askmask.vlm.blocking import BlockingCaller
from askmask.vlm.budget import Budget
from askmask.vlm.caller import Caller
from askmask.vlm.ledger import IN_MEMORY, Ledger
from askmask.vlm.opening import ModelChoice, open_vlm
from askmask.vlm.prices import price_of
from askmask.vlm.request import Request

MOST_ROUNDS = 30  # told to the model, the last ones


class CondensedReply(BaseModel):
    """What the model answers."""

    model_config = ConfigDict(extra="forbid")

    phrase: str = Field(min_length=1, max_length=400)


class Condenser:
    """Asks a model behind an OpenAI-compatible address (OPENAI_BASE_URL), or a file of recorded replies (*.jsonl).

    A repeated question is asked once. Raises SettingError for what is wrong in the choice.
    """

    def __init__(self, model: str):
        provider = "replay" if model.endswith(".jsonl") else "openai"
        self._choice = ModelChoice(provider=provider, model=model).placed()
        self.name = self._choice.name
        self._open(IN_MEMORY)

    def __call__(self, prompt: Prompt, rounds: Sequence[Round]) -> str:
        """Return the prompt in words that need nothing of the rounds before it."""
        told = [{"person": r.text, "assistant": _answer(r)} for r in rounds[-MOST_ROUNDS:]]
        text = templates.text_of("askmask.backends", "condense")
        request = Request(
            stage="condense",
            template_hash=templates.hash_of(text),
            instructions=text,
            inputs={"conversation": told, "last": prompt.text},
            schema_name=CondensedReply.__name__,
            schema=CondensedReply.model_json_schema(),
            max_tokens=512,
        )
        return " ".join(self._caller.ask(request, CondensedReply).value.phrase.split())

    @contextmanager
    def remembering(self, path: Path) -> Iterator[Ledger]:
        """Keep every reply in a file meanwhile, so that none is paid for twice."""
        self.close()
        self._open(path)
        try:
            yield self._ledger
        finally:
            self.close()
            self._open(IN_MEMORY)

    def close(self) -> None:
        """Let go of the connection and the file."""
        self._caller.close()
        self._ledger.close()

    def _open(self, path: str | Path) -> None:
        vlm = open_vlm(self._choice, allow_floating=True)  # its name is stored with every result
        self._ledger = Ledger(path)
        price = price_of(self._choice.model, self._choice.price)
        self._caller = BlockingCaller(lambda: Caller(vlm, self._ledger, Budget(), price=price))


def _answer(round: Round) -> str:
    marked = 0 if round.segments is None else len(round.segments)
    shown: Any = f"(marked {marked})" if marked else "(marked nothing)" if round.segments is not None else ""
    return " ".join(part for part in (round.reply or "", shown) if part)
