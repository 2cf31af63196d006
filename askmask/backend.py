"""The one seam between what users hold (Model, Session) and what answers: nets, `mini`, models that point.

    look     once per picture: all that depends on it alone
    begin    a State: one picture and the rounds so far, none at first
    extend   a State with one more round; the old one stays as it is, so that undo and fork cost nothing
    answer   prompts in their states, many conversations at once -> events, one `Done` for each prompt

Names no network and needs no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from askmask.answer import Answer
from askmask.conversation import Prompt, Round, Segment
from askmask.imaging.files import Picture


class View(Protocol):
    """One picture as a back-end has seen it."""

    @property
    def picture(self) -> Picture:
        """The picture itself."""

    @property
    def nbytes(self) -> int:
        """Memory that keeping it costs."""


@dataclass(frozen=True)
class State:
    """One conversation: a picture looked at, and the rounds so far; a back-end that keeps more derives its own."""

    view: View
    rounds: tuple[Round, ...] = ()

    @property
    def nbytes(self) -> int:
        """Memory that keeping it costs, beyond its view and its rounds."""
        return 0

    def with_round(self, round: Round) -> State:
        """Return the state after one more round."""
        return replace(self, rounds=(*self.rounds, round))


@dataclass(frozen=True, slots=True)
class Asked:
    """One prompt in its conversation."""

    state: State
    prompt: Prompt


@dataclass(frozen=True, slots=True, kw_only=True)
class Keep:
    """What an answer should keep beyond its masks."""

    logits: bool = False  # of the mask, float32 [H, W]
    alternatives: bool = False  # other readings of the same prompt, where the back-end has them
    words: bool = True  # a reply, where the back-end writes one; without it, masks come sooner


@dataclass(frozen=True, slots=True)
class Words:
    """More of the reply to prompt number `row`."""

    row: int
    text: str


@dataclass(frozen=True, slots=True)
class Found:
    """One more segment of the answer to prompt number `row`."""

    row: int
    segment: Segment


@dataclass(frozen=True, slots=True)
class Done:
    """The whole answer to prompt number `row`: nothing more comes for it."""

    row: int
    answer: Answer


Event = Words | Found | Done


class Backend(Protocol):
    """What answers prompts about pictures. Safe to call from several threads."""

    name: str  # what results are labelled with
    protocol_name: str  # by which rules pictures and prompts are read
    fingerprint: str  # of the weights: two models may share a name

    def check(self, prompt: Prompt) -> Prompt:
        """Return the prompt as it will be asked. Raises PromptError for one that cannot be."""

    def look(self, picture: Picture) -> View:
        """Do all that depends on the picture alone."""

    def begin(self, view: View) -> State:
        """Begin a conversation over a picture."""

    def extend(self, state: State, round: Round) -> State:
        """Return the state after a round that was answered."""

    def answer(self, asked: Sequence[Asked], keep: Keep) -> Iterator[Event]:
        """Answer prompts, each as if it were alone; rows count from 0 in the order given."""


@contextmanager
def replies_kept(backend: Backend, at: Callable[[], Path]) -> Iterator[Any]:
    """Have a back-end that calls a server keep every reply in a file meanwhile, so that none is paid for twice.

    Yields its ledger of calls, None for a back-end that calls none; `at` makes the path.
    """
    remember = getattr(backend, "remembering", None)
    if remember is None:
        yield None
        return
    with remember(at()) as ledger:
        yield ledger
