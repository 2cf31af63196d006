"""What a language model adds: sentences corrected in two rounds, things described without their class.

As in the paper (its tables A2 and A3). Of a sentence the first round makes natural English; the second sees both and
says whether they mean the same, and if not writes a better one. A corrected sentence that lost a name, a relation or a
reference is not used. Replies are cached in the output folder: a stopped run asks nothing twice. Prompt texts are ours
(templates/).
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from askmask.build.mrseg.talk import Step
from askmask.errors import SettingError
from askmask.notes import Notes
from askmask.vlm.blocking import BlockingCaller
from askmask.vlm.budget import Budget
from askmask.vlm.caller import Caller
from askmask.vlm.errors import UnitFailed
from askmask.vlm.ledger import Ledger
from askmask.vlm.opening import ModelChoice, open_vlm
from askmask.vlm.pictures import SentPicture, shrink
from askmask.vlm.prices import price_of
from askmask.vlm.request import Request
from askmask.vlm.templates import hash_of, text_of

if TYPE_CHECKING:
    from askmask.runs.manifest import OutputFolder

PACKAGE = "askmask.build.mrseg"
LEDGER = "calls.sqlite"
MOST_LETTERS = 600
CROP_PX = 512  # longer side of a crop that is described
T = TypeVar("T")
LOST = "corrections not used: a name, a relation or a reference was lost"
FAILED = "sentences left as they were: the model gave no usable reply"


class Corrected(BaseModel):
    """The reply of the first round."""

    model_config = ConfigDict(extra="forbid")
    sentence: str = Field(min_length=2, max_length=MOST_LETTERS)


class Compared(BaseModel):
    """The reply of the second round: `sentence` is the corrected one again, or a better one."""

    model_config = ConfigDict(extra="forbid")
    same_meaning: bool
    sentence: str = Field(min_length=2, max_length=MOST_LETTERS)


class Described(BaseModel):
    """What a thing is or does, going on after "the object that"; and what it is called."""

    model_config = ConfigDict(extra="forbid")
    description: str = Field(min_length=2, max_length=MOST_LETTERS)
    noun: str = Field(min_length=1, max_length=80)


class LanguageModel:
    """A model behind any client of vlm/. Use as a context manager, or `close` it."""

    def __init__(
        self,
        choice: ModelChoice,
        ledger: str | Path,
        *,
        max_usd: float | None = None,
        max_calls: int | None = None,
        concurrency: int = 8,
        attempts: int = 6,
        first_wait_s: float = 1.0,
        allow_floating: bool = False,
    ):
        price = price_of(choice.model, choice.price)
        if max_usd is not None and price is None:
            raise SettingError(
                f"--max-usd needs a price for {choice.model!r}, which is not in the table",
                do='Pass --price "IN,OUT" in dollars per million tokens, or limit with --max-calls.',
            )
        vlm = open_vlm(choice, allow_floating=allow_floating)
        self._ledger = Ledger(ledger)
        spent, calls = self._ledger.spent()
        budget = Budget(max_usd=max_usd, max_calls=max_calls, spent_usd=spent, calls=calls)
        self._caller = BlockingCaller(
            lambda: Caller(
                vlm,
                self._ledger,
                budget,
                price=price,
                slots=asyncio.Semaphore(concurrency),
                attempts=attempts,
                first_wait_s=first_wait_s,
                thinking_tokens=choice.thinking_tokens or 0,
            )
        )

    def clean(self, steps: Sequence[Step], notes: Notes) -> list[Step]:
        """Return the steps, those whose sentence could be corrected with better words.

        A set's own prompts stay as they are. Raises RunStopped when the budget is spent or the server refuses all.
        """
        sentences = list(dict.fromkeys(step.text for step in steps if step.kind != "own"))
        corrected = self._caller.start(self._correct_all(sentences)).result()
        result = []
        for step in steps:
            better = corrected.get(step.text) if step.kind != "own" else step.text
            if better is None:
                notes.add(FAILED, step.text)
            elif better != step.text and not keeps(better, step):
                notes.add(LOST, f"{step.text!r} -> {better!r}")
            else:
                step = replace(step, text=better)
            result.append(step)
        return result

    def describe(self, things: Sequence[tuple[np.ndarray, str]]) -> list[tuple[str, str] | None]:
        """Return (description, class) of each crop uint8 [H, W, 3] of a thing of a class; None where that failed."""
        return self._caller.start(_all(self._describe(rgb, noun) for rgb, noun in things)).result()

    async def _describe(self, rgb: np.ndarray, noun: str) -> tuple[str, str]:
        crop = SentPicture(shrink(rgb, CROP_PX), "the crop")
        request = _request("describe", {"class": noun}, Described, pictures=(crop,))
        answer = await self._caller.caller.ask(request, Described)
        return answer.value.description, answer.value.noun

    async def _correct_all(self, sentences: Sequence[str]) -> dict[str, str | None]:
        return dict(zip(sentences, await _all(map(self._correct, sentences)), strict=True))

    async def _correct(self, sentence: str) -> str:
        ask = self._caller.caller.ask
        first = await ask(_request("correct", {"sentence": sentence}, Corrected), Corrected)
        both = {"original": sentence, "corrected": first.value.sentence}
        second = await ask(_request("compare", both, Compared), Compared)
        chosen = first.value.sentence if second.value.same_meaning else second.value.sentence
        return " ".join(chosen.split())

    def close(self) -> None:
        """Let go of the connection and the ledger."""
        self._caller.close()
        self._ledger.close()

    def __enter__(self) -> LanguageModel:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_ledger(folder: OutputFolder) -> Path:
    """Return where an output keeps calls and replies; its files are listed as the command's own."""
    return folder.paths([LEDGER, f"{LEDGER}-wal", f"{LEDGER}-shm"])[0]


def keeps(text: str, step: Step) -> bool:
    """Whether a corrected sentence still has what the round needs, and nothing that reads as a marker."""
    said = text.casefold()
    return not {"[", "]"} & set(text) and all(
        any(word.casefold() in said for word in group) for group in step.keep
    )


async def _all(work: Iterable[Coroutine[Any, Any, T]]) -> list[T | None]:
    """Return the results, None of what failed alone; raises what stops all of it."""
    results = await asyncio.gather(*work, return_exceptions=True)
    for outcome in results:
        if isinstance(outcome, BaseException) and not isinstance(outcome, UnitFailed):
            raise outcome
    return [None if isinstance(outcome, BaseException) else outcome for outcome in results]


def _request(
    name: str, inputs: dict[str, str], schema: type[BaseModel], pictures: tuple[SentPicture, ...] = ()
) -> Request:
    instructions = text_of(PACKAGE, name)
    return Request(
        stage=name,
        template_hash=hash_of(instructions),
        instructions=instructions,
        pictures=pictures,
        inputs=inputs,
        schema_name=schema.__name__,
        schema=schema.model_json_schema(),
        max_tokens=300,
    )
