"""RewritingBackend: any back-end, asked every prompt alone, with the conversation written into its words.

Baselines for memory. What a prompt refers to becomes

    mask        the words "the mask" (LISA's first approach in the SegLLM paper, its table A4)
    caption     what it was asked for by: "its handle" -> "the red mug's handle" (the second approach)
    transcript  nothing; the earlier prompts and what came of them (found, asks back, ...) stand before the prompt
    condense    with the whole conversation, a phrase that stands alone, written by a language model (condensing.py)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Final

from askmask.backend import Asked, Backend, Done, Event, Keep, State, View
from askmask.conversation import Prompt, Round, without_masks
from askmask.errors import PromptError, SettingError
from askmask.imaging.files import Picture
from askmask.references import mentions, said_by

WAYS: Final = ("mask", "caption", "transcript")
CONDENSE: Final = "condense="  # then the model's name


class RewritingBackend:
    """A back-end that sees no conversation, but its words; `how` is one of WAYS, or "condense=MODEL"."""

    def __init__(self, inner: Backend, how: str):
        self._condense: Callable[[Prompt, Sequence[Round]], str] | None = None
        if how.startswith(CONDENSE) and how != CONDENSE:
            from askmask.backends.condensing import Condenser

            self._condense = condenser = Condenser(how.removeprefix(CONDENSE))
            self.remembering, how = condenser.remembering, CONDENSE + condenser.name
        elif how not in WAYS:
            known = ", ".join((*WAYS, f"{CONDENSE}MODEL"))
            raise SettingError("no such way to rewrite", got=repr(how), do=f"Choose of {known}.")
        elif (remember := getattr(inner, "remembering", None)) is not None:
            self.remembering = remember  # what the back-end pays for is kept under this name, too
        self.inner, self.how = inner, how
        self.name = f"{inner.name}+{how}"
        self.protocol_name = inner.protocol_name
        self.fingerprint = f"{inner.fingerprint}+{how}"

    def check(self, prompt: Prompt) -> Prompt:
        """Return the prompt if it can be asked. Raises PromptError."""
        return self.inner.check(prompt)

    def look(self, picture: Picture) -> View:
        """Look at a picture."""
        return self.inner.look(picture)

    def begin(self, view: View) -> State:
        """Begin a conversation."""
        return State(view)

    def extend(self, state: State, round: Round) -> State:
        """Remember a round, to be written into later prompts."""
        return state.with_round(round)

    def answer(self, asked: Sequence[Asked], keep: Keep) -> Iterator[Event]:
        """Answer prompts as rewritten; each answer says what was asked."""
        written = [self.written(one.prompt, one.state.rounds) for one in asked]
        alone = [
            Asked(self.inner.begin(one.state.view), prompt)
            for one, prompt in zip(asked, written, strict=True)
        ]
        for event in self.inner.answer(alone, keep):
            if isinstance(event, Done):
                answer, prompt = event.answer, asked[event.row].prompt
                notices = answer.notices
                if (now := written[event.row].text) != prompt.text:
                    notices = (*notices, f"asked as: {now}")
                round = replace(answer.round, prompt=prompt, made_by="")
                event = Done(event.row, replace(answer, round=round, model=self.name, notices=notices))
            yield event

    def written(self, prompt: Prompt, rounds: Sequence[Round]) -> Prompt:
        """Return a prompt as it is asked: without references, its words saying what they meant."""
        alone = replace(prompt, refers_to=())
        if not prompt.text.strip() or not rounds:
            return alone
        if self._condense is not None:
            return replace(alone, text=self._condense(prompt, rounds))
        if self.how == "transcript":
            return self._transcript(alone, rounds)
        return replace(alone, text=rewritten(prompt, rounds, captions=self.how == "caption"))

    def _transcript(self, prompt: Prompt, rounds: Sequence[Round]) -> Prompt:
        """Write as many of the last rounds before the prompt as the back-end takes."""
        told = [
            f"{r.text.strip()}: {'found' if r.segments else without_masks(r.segments, r.reply)}."
            for r in rounds
            if r.text.strip()
        ]
        for first in range(len(told) + 1):
            long = replace(prompt, text=" ".join(["Before:", *told[first:], "Now:", prompt.text]))
            try:
                return self.inner.check(long if told[first:] else prompt)
            except PromptError:
                if first == len(told):
                    raise
        return prompt


def rewritten(prompt: Prompt, rounds: Sequence[Round], *, captions: bool) -> str:
    """Return the words of a prompt with what they refer to spelt out: by captions, or as "the mask"."""
    text, meant = prompt.text, prompt.refers_to
    found = [one for one in mentions(text, rounds) if one.ids or meant]
    said = False
    for one in reversed(found):
        ids = one.ids if not meant or set(one.ids) & set(meant) else meant
        now = caption_of(ids, rounds) if captions else "the mask"
        words = text[one.start : one.end].lower()
        if one.rule == "other":
            now = f"{text[one.start : one.end]} than {now}"
        elif words in ("its", "their"):
            now += "'" if now.endswith("s") else "'s"
        text = f"{text[: one.start]}{now}{text[one.end :]}"
        said = True
    if meant and not said:
        text = f"{caption_of(meant, rounds) if captions else 'the mask'}: {text}"
    return text


def caption_of(ids: Sequence[str], rounds: Sequence[Round]) -> str:
    """Return words for segments or rounds: the name a user gave, a model's phrase, or what was asked for."""
    captions: list[str] = []
    for number, round in enumerate(rounds):
        if not {round.id, *(segment.id for segment in round.segments or ())} & set(ids):
            continue
        asked = said_by(rewritten(round.prompt, rounds[:number], captions=True)) if round.text else ""
        if round.id in ids:
            captions.append(asked)
        for segment in round.segments or ():
            if segment.id in ids:
                captions.append(segment.name or segment.phrase or asked)
    words = [
        f"the {one}" if one and not one.startswith(("what", "where", "which")) else one for one in captions
    ]
    return " and ".join(dict.fromkeys(one for one in words if one)) or "the mask"
