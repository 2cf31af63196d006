"""Judged scores of dialogues: PR, LC, CC, TR and win rate, by any OpenAI-compatible model.

The rubric is ours (templates/judge_dialogue.md): published work names the four scores but not how they were
asked for, so numbers compare only under one rubric and one judge; both are stored with every result. Temperature
is 0; pairs are asked in both orders; a reply that cannot be read is counted, never dropped or guessed.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from askmask.conversation import Round
from askmask.errors import AskMaskError, DataError, MissingExtra

RUBRIC = ("PR", "LC", "CC", "TR")
_TEMPLATES = Path(__file__).parent / "templates"
_MEDIA = {".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".png": "image/png", ".webp": "image/webp"}
MAX_IMAGE_BYTES = 20 << 20


class Judge(Protocol):
    """Anything that answers a text, with a picture if there is one. `name` is stored with results."""

    name: str

    def ask(self, text: str, image: str | None) -> str:
        """Return the reply in words. Raises AskMaskError if the service fails for good."""


class OpenAIJudge:
    """A judge behind an OpenAI-compatible server; the key comes from OPENAI_API_KEY unless given.

    The SDK retries what may pass (timeouts, 429, 5xx) up to `retries` times. The key is never stored or shown.
    """

    def __init__(
        self,
        model: str,
        *,
        base_url: str | None = None,
        api_key: str | None = None,
        timeout_s: float = 120.0,
        retries: int = 4,
    ):
        try:
            import openai
        except ImportError as error:
            raise MissingExtra("openai", "eval") from error
        self.name = model
        try:
            self._client = openai.OpenAI(
                base_url=base_url, api_key=api_key, timeout=timeout_s, max_retries=retries
            )
        except openai.OpenAIError as error:
            raise AskMaskError("the judge needs a key", do="Set OPENAI_API_KEY.") from error
        self._error = openai.OpenAIError

    def ask(self, text: str, image: str | None) -> str:
        """Send one question at temperature 0."""
        content: list[dict[str, Any]] = [{"type": "text", "text": text}]
        if image is not None:
            content.append({"type": "image_url", "image_url": {"url": _data_url(Path(image))}})
        try:
            reply = self._client.chat.completions.create(
                model=self.name,
                temperature=0,
                messages=[{"role": "user", "content": content}],  # type: ignore[list-item, misc]
            )
        except self._error as error:
            status = getattr(error, "status_code", None)
            raise AskMaskError(
                f"the judge {self.name!r} cannot be asked", got=status or type(error).__name__
            ) from error
        return (reply.choices[0].message.content if reply.choices else None) or ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialogue:
    """What is judged: the rounds as answered, the target they should reach, the picture if the judge sees it."""

    id: str
    rounds: tuple[Round, ...]
    target: str
    image: str | None = None


def judge_dialogues(judge: Judge, dialogues: Sequence[Dialogue], *, repeats: int = 3) -> dict[str, Any]:
    """Ask for the four scores `repeats` times each; return means, deviations between repeats, and failures.

    A dialogue none of whose replies can be read counts in `n` and in `n_unread`, and in no mean.
    """
    template = _template("judge_dialogue.md")
    values: dict[str, list[float]] = {name: [] for name in RUBRIC}
    spreads: dict[str, list[float]] = {name: [] for name in RUBRIC}
    asked = unread_replies = unread = 0
    for dialogue in dialogues:
        text = template.format(target=dialogue.target, dialogue=_script(dialogue.rounds))
        grades = []
        for _ in range(repeats):
            asked += 1
            grade = parse_grades(judge.ask(text, dialogue.image))
            if grade is None:
                unread_replies += 1
            else:
                grades.append(grade)
        unread += not grades
        for name in RUBRIC if grades else ():
            values[name].append(statistics.fmean(grade[name] for grade in grades))
            spreads[name].append(statistics.pstdev(grade[name] for grade in grades))
    return {
        "n": len(dialogues),
        "n_unread": unread,
        "replies": asked,
        "replies_unread": unread_replies,
        **{name: statistics.fmean(values[name]) if values[name] else None for name in RUBRIC},
        "sd_between_items": {n: statistics.pstdev(v) if v else None for n, v in values.items()},
        "sd_between_repeats": {n: statistics.fmean(v) if v else None for n, v in spreads.items()},
        **_made_by(judge, template, repeats),
    }


def win_rate(judge: Judge, ours: Sequence[Dialogue], theirs: Sequence[Dialogue]) -> dict[str, Any]:
    """Compare dialogues of the same ids pairwise, each pair in both orders.

    A win is a win in both orders, a loss a loss in both; everything else that could be read is a tie and counts
    one half. Pairs with an unread reply count in `n_unread` and not in the rate.
    """
    others = {dialogue.id: dialogue for dialogue in theirs}
    if len(others) != len(theirs) or {d.id for d in ours} != others.keys() or len(ours) != len(others):
        raise DataError(
            "both sides must hold the same dialogues, each once", got=f"{len(ours)} and {len(theirs)}"
        )
    template = _template("judge_pair.md")
    wins = losses = ties = unread = 0
    for mine in ours:
        other = others[mine.id]
        scripts = _script(mine.rounds), _script(other.rounds)
        verdicts = []
        for first, second, me in ((*scripts, "A"), (*reversed(scripts), "B")):
            reply = judge.ask(template.format(target=mine.target, a=first, b=second), mine.image)
            better = parse_better(reply)
            verdicts.append(None if better is None else 0 if better == "tie" else 1 if better == me else -1)
        if None in verdicts:
            unread += 1
        elif sum(verdicts) == 2:  # type: ignore[arg-type]
            wins += 1
        elif sum(verdicts) == -2:  # type: ignore[arg-type]
            losses += 1
        else:
            ties += 1
    read = wins + losses + ties
    return {
        "n": len(ours), "n_unread": unread, "wins": wins, "losses": losses, "ties": ties,
        "win_rate": (wins + 0.5 * ties) / read if read else None,
        **_made_by(judge, template, 1),
    }  # fmt: skip


def parse_grades(reply: str) -> dict[str, int] | None:
    """Read {"PR": n, ...} of whole numbers 1 to 5 out of a reply; None if it does not hold exactly that."""
    data = _json_object(reply)
    if data is None:
        return None
    grades = {name: data.get(name) for name in RUBRIC}
    if any(type(value) is not int or not 1 <= value <= 5 for value in grades.values()):
        return None
    return grades  # type: ignore[return-value]


def parse_better(reply: str) -> str | None:
    """Read {"better": "A" | "B" | "tie"} out of a reply; None if it does not hold that."""
    data = _json_object(reply)
    better = None if data is None else data.get("better")
    return better if better in ("A", "B", "tie") else None


def _json_object(reply: str) -> dict[str, Any] | None:
    """Return the one JSON object in a reply, with words or a code fence around it at most."""
    found = re.search(r"\{[^{}]*\}", reply)
    if found is None:
        return None
    try:
        data = json.loads(found.group())
    except json.JSONDecodeError:
        return None
    return data if isinstance(data, dict) else None


def _script(rounds: Sequence[Round]) -> str:
    return "\n".join(f"Person: {round.text}\nAssistant: {round.reply or '(no words)'}" for round in rounds)


def _template(name: str) -> str:
    return (_TEMPLATES / name).read_text(encoding="utf-8")


def _made_by(judge: Judge, template: str, repeats: int) -> dict[str, Any]:
    digest = hashlib.sha256(template.encode()).hexdigest()
    return {"judge": judge.name, "template_sha256": digest, "temperature": 0, "repeats": repeats}


def _data_url(path: Path) -> str:
    media = _MEDIA.get(path.suffix.lower())
    if media is None or not path.is_file() or path.stat().st_size > MAX_IMAGE_BYTES:
        raise DataError(
            f"a JPEG, PNG or WebP file of at most {MAX_IMAGE_BYTES >> 20} MB is needed for the judge",
            got=path,
        )
    return f"data:{media};base64,{base64.b64encode(path.read_bytes()).decode('ascii')}"
