"""Judged scores of dialogues: PR, LC, CC, TR and win rate, by any model that can be called.

The rubric is ours (templates/judge_dialogue.md): published work names the four scores but not how they were
asked for, so numbers compare only under one rubric and one judge; both are stored with every result. Temperature
is 0; pairs are asked in both orders; a reply that cannot be read is counted, never dropped or guessed.
"""

from __future__ import annotations

import hashlib
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol

from pydantic import BaseModel, Field

from askmask.conversation import Example, Round, Segment
from askmask.errors import AskMaskError, DataError, Stopped
from askmask.evaluation.predictions import PredictionFiles
from askmask.evaluation.truth import item_id
from askmask.imaging.mask import union_of

if TYPE_CHECKING:
    from askmask.vlm.opening import ModelChoice
    from askmask.vlm.pictures import Sendable

RUBRIC = ("PR", "LC", "CC", "TR")
GONE_AFTER = 3  # dialogues in a row that a server left without a reply: the rest would wait in vain
MOST_TOLD = 20  # reasons of dialogues that could not be asked about
_TEMPLATES = Path(__file__).parent / "templates"


class Judge(Protocol):
    """Anything that answers a text, with a picture if there is one. `name` is stored with results."""

    name: str

    def ask(
        self, text: str, pictures: Sequence[Sendable], *, about: Mapping[str, Any], repeat: int = 0
    ) -> str:
        """Return the reply in words; another `repeat` is another reply to the same question.

        `about` names the question (dialogue, order, repeat) and is not part of it. Raises AskMaskError if the service
        fails for good.
        """


class VlmJudge:
    """A judge behind any model that `vlm/` can call; replies are cached in `ledger`, a file, if one is given.

    What may pass (timeouts, 429, 5xx) is tried again. The key is read from the environment, never stored or shown.
    """

    def __init__(
        self,
        choice: ModelChoice,
        *,
        ledger: str | Path | None = None,
        attempts: int = 5,
        first_wait_s: float = 1.0,
    ):
        from askmask.vlm.blocking import BlockingCaller
        from askmask.vlm.budget import Budget
        from askmask.vlm.caller import Caller
        from askmask.vlm.ledger import IN_MEMORY, Ledger
        from askmask.vlm.opening import open_vlm
        from askmask.vlm.prices import price_of

        self.name = choice.name
        vlm = open_vlm(choice.placed(), allow_floating=True)  # the name is stored with every result
        self._ledger = Ledger(ledger or IN_MEMORY)
        price = price_of(choice.model, choice.price)
        self._caller = BlockingCaller(
            lambda: Caller(
                vlm,
                self._ledger,
                Budget(),
                price=price,
                attempts=attempts,
                first_wait_s=first_wait_s,
                thinking_tokens=choice.thinking_tokens or 0,
            )
        )

    def ask(
        self, text: str, pictures: Sequence[Sendable], *, about: Mapping[str, Any], repeat: int = 0
    ) -> str:
        """Send one question at temperature 0; a refused one has the reply ""."""
        from askmask.vlm.request import Request

        request = Request(
            stage="judge",
            template_hash="",
            text=text,
            inputs=about,  # not sent: recordings tell their replies apart by it
            pictures=tuple(pictures),
            pictures_first=False,
            max_tokens=None,
            vote=repeat,
            seeded=False,
        )
        _, completion = self._caller.complete(request)
        return "" if completion.refused else completion.text

    def close(self) -> None:
        """Let go of the connection and the ledger."""
        self._caller.close()
        self._ledger.close()

    def __enter__(self) -> VlmJudge:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialogue:
    """What is judged: the rounds as answered, the target they should reach, the picture if the judge sees it.

    With a picture the judge is also shown what the last round that was answered with regions marked in it.
    """

    id: str
    rounds: tuple[Round, ...]
    target: str
    image: str | None = None

    def pictures(self) -> list[Sendable]:
        """Return the picture as it is, then with the last marks; [] without a picture."""
        from askmask.vlm.pictures import SentFile

        return [] if self.image is None else [SentFile.read(self.image), *self.marked("the last marks")]

    def marked(self, name: str) -> list[Sendable]:
        """Return the picture with the last marks, if there are any."""
        marks = next((r.masks for r in reversed(self.rounds) if r.masks), None)
        if self.image is None or not marks:
            return []
        from askmask.imaging.overlay import fit
        from askmask.vlm.marked import mark, tint_for
        from askmask.vlm.pictures import SentFile, SentPicture

        rgb = SentFile.read(self.image).rgb
        mask = union_of(marks, marks[0].size)
        return [SentPicture(mark(rgb, mask, tint_for(rgb, fit(mask, rgb.shape[:2]))), name)]


def dialogues_of(
    examples: Iterable[Example],
    texts: Mapping[str, str] | None = None,
    predictions: PredictionFiles | None = None,
    *,
    pictures: bool = True,
) -> list[Dialogue]:
    """Return the dialogues of a data set that end on something to mark, as answered by a run, or rightly (texts None).

    The target is the name that the data set keeps for it ("focus"), else the phrases of the true answer's segments,
    else its reply in words.
    """
    found = []
    for example in examples:
        at = max((k for k, round in enumerate(example.rounds) if round.segments), default=None)
        if example.independent or len(example.rounds) < 2 or at is None:
            continue
        last = example.rounds[at]
        phrases = dict.fromkeys(s.phrase for s in last.segments or () if s.phrase)
        target = last.meta.get("focus") or " and ".join(phrases) or last.reply or last.text
        rounds = example.rounds[: at + 1]
        if texts is not None:
            rounds = tuple(
                _answered(round, item_id(example, k), example.size, texts, predictions)
                for k, round in enumerate(rounds)
            )
        image = example.image if pictures else None
        found.append(Dialogue(id=example.id, rounds=rounds, target=str(target), image=image))
    return found


def _answered(
    round: Round,
    name: str,
    size: tuple[int, int] | None,
    texts: Mapping[str, str],
    predictions: PredictionFiles | None,
) -> Round:
    """Return a round with a run's answer in the place of the true one."""
    segments = None
    if round.segments is not None:
        size = size or next((mask.size for mask in (*(round.masks or ()), round.ignore) if mask), None)
        given = predictions.get(name, size) if predictions is not None and size is not None else None
        segments = tuple(Segment(mask=mask, source="predicted") for mask in given.masks) if given else ()
    return replace(round, reply=texts.get(name), segments=segments, ignore=None, meta={})


def judge_dialogues(judge: Judge, dialogues: Sequence[Dialogue], *, repeats: int = 3) -> dict[str, Any]:
    """Ask for the four scores `repeats` times each; return means, deviations between repeats, and failures.

    A dialogue none of whose replies can be read counts in `n` and in `n_unread`, and in no mean; one that could not
    be asked about counts in `n` and in `n_failed`. Raises Stopped where no other dialogue would fare better.
    """
    template = _template("judge_dialogue.md")
    failed = _Failed()
    values: dict[str, list[float]] = {name: [] for name in RUBRIC}
    spreads: dict[str, list[float]] = {name: [] for name in RUBRIC}
    asked = unread_replies = unread = 0
    for dialogue in dialogues:
        text = template.format(target=dialogue.target, dialogue=_script(dialogue.rounds))
        with failed.of(dialogue):
            pictures = dialogue.pictures()
            replies = [
                judge.ask(text, pictures, about={"dialogue": dialogue.id, "repeat": repeat}, repeat=repeat)
                for repeat in range(repeats)
            ]
        if dialogue.id in failed.reasons:
            continue
        read = [parse_grades(reply) for reply in replies]
        grades = [grade for grade in read if grade is not None]
        asked, unread_replies = asked + len(read), unread_replies + len(read) - len(grades)
        unread += not grades
        for name in RUBRIC if grades else ():
            values[name].append(statistics.fmean(grade[name] for grade in grades))
            spreads[name].append(statistics.pstdev(grade[name] for grade in grades))
    return {
        "n": len(dialogues),
        "n_unread": unread,
        **failed.counted(),
        "replies": asked,
        "replies_unread": unread_replies,
        **{name: statistics.fmean(values[name]) if values[name] else None for name in RUBRIC},
        "sd_between_items": {n: statistics.pstdev(v) if v else None for n, v in values.items()},
        "sd_between_repeats": {n: statistics.fmean(v) if v else None for n, v in spreads.items()},
        **_made_by(judge, template, repeats),
    }


def win_rate(
    judge: Judge, ours: Sequence[Dialogue], theirs: Sequence[Dialogue], *, repeats: int = 1
) -> dict[str, Any]:
    """Compare dialogues of the same ids pairwise, each pair in both orders, `repeats` times.

    A comparison is one pair in both orders. It is won if won in both, lost if lost in both; everything else that could
    be read is a tie and counts one half. Comparisons with an unread reply count in `n_unread` and not in the rate,
    dialogues that could not be asked about in `n_failed`.
    """
    others = {dialogue.id: dialogue for dialogue in theirs}
    if len(others) != len(theirs) or {d.id for d in ours} != others.keys() or len(ours) != len(others):
        raise DataError(
            "both sides must hold the same dialogues, each once", got=f"{len(ours)} and {len(theirs)}"
        )
    template = _template("judge_pair.md")
    failed = _Failed()
    wins = losses = ties = unread = 0
    for mine in ours:
        verdicts: list[int | None] = []
        with failed.of(mine):
            verdicts = [
                _compared(judge, template, mine, others[mine.id], repeat) for repeat in range(repeats)
            ]
        unread += verdicts.count(None)
        wins, losses, ties = wins + verdicts.count(1), losses + verdicts.count(-1), ties + verdicts.count(0)
    read = wins + losses + ties
    return {
        "n": len(ours), "comparisons": read + unread, "n_unread": unread, **failed.counted(),
        "wins": wins, "losses": losses, "ties": ties, "win_rate": (wins + 0.5 * ties) / read if read else None,
        **_made_by(judge, template, repeats),
    }  # fmt: skip


class _Failed:
    """The dialogues that could not be asked about, and why; the others are judged."""

    def __init__(self) -> None:
        self.reasons: dict[str, str] = {}
        self._in_a_row = 0

    @contextmanager
    def of(self, dialogue: Dialogue) -> Iterator[None]:
        """Take what is wrong with one dialogue as its state. Lets through what concerns all of them."""
        from askmask.vlm.errors import CallFailed

        try:
            yield
        except Stopped:
            raise
        except AskMaskError as error:
            self._in_a_row += isinstance(error, CallFailed) and error.retryable
            if self._in_a_row >= GONE_AFTER:
                raise
            self.reasons[dialogue.id] = str(error)
        else:
            self._in_a_row = 0

    def counted(self) -> dict[str, Any]:
        """Return how many there were, and the first reasons."""
        return {
            "n_failed": len(self.reasons),
            "failed": dict(list(self.reasons.items())[:MOST_TOLD]),
        }


def _compared(judge: Judge, template: str, mine: Dialogue, other: Dialogue, repeat: int) -> int | None:
    """Return 1 if mine is better in both orders, -1 if the other is, 0 for a tie, None if a reply was unread."""
    verdicts: set[int] = set()
    for me, sides in (("A", (mine, other)), ("B", (other, mine))):
        marks = [*sides[0].marked("the last marks of A"), *sides[1].marked("the last marks of B")]
        text = template.format(target=mine.target, a=_script(sides[0].rounds), b=_script(sides[1].rounds))
        about = {"dialogue": mine.id, "ours": me, "repeat": repeat}
        better = parse_better(judge.ask(text, [*mine.pictures()[:1], *marks], about=about, repeat=repeat))
        if better is None:
            return None
        verdicts.add(0 if better == "tie" else 1 if better == me else -1)
    return verdicts.pop() if len(verdicts) == 1 else 0


def parse_grades(reply: str) -> dict[str, int] | None:
    """Read {"PR": n, ...} of whole numbers 1 to 5 out of a reply; None if it does not hold exactly that."""
    return _read(reply, _Grades)


def parse_better(reply: str) -> str | None:
    """Read {"better": "A" | "B" | "tie"} out of a reply; None if it does not hold that."""
    found = _read(reply, _Better)
    return None if found is None else found["better"]


_Grade = Annotated[int, Field(strict=True, ge=1, le=5)]


class _Grades(BaseModel):
    PR: _Grade
    LC: _Grade
    CC: _Grade
    TR: _Grade


class _Better(BaseModel):
    better: Literal["A", "B", "tie"]


def _read(reply: str, schema: type[BaseModel]) -> dict[str, Any] | None:
    from askmask.vlm.errors import Quarantined
    from askmask.vlm.reply import read_reply

    try:
        return read_reply(reply, schema).model_dump()
    except Quarantined:
        return None


def _script(rounds: Sequence[Round]) -> str:
    return "\n".join(f"Person: {round.text}\nAssistant: {_told(round)}" for round in rounds)


def _told(round: Round) -> str:
    """Say what a round answered: its words, and how much it marked."""
    marks = "" if round.segments is None else f"[marks {len(round.segments) or 'nothing'}]"
    return " ".join(part for part in (round.reply, marks) if part) or "(no words)"


def _template(name: str) -> str:
    return (_TEMPLATES / name).read_text(encoding="utf-8")


def _made_by(judge: Judge, template: str, repeats: int) -> dict[str, Any]:
    digest = hashlib.sha256(template.encode()).hexdigest()
    return {"judge": judge.name, "template_sha256": digest, "temperature": 0, "repeats": repeats}
