"""Answer: a round as a model answered it, with all that says how far to trust it. A value; no model in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from askmask.conversation import Prompt, Reference, Round, Segment
from askmask.imaging.mask import Mask, union_of
from askmask.runs.manifest import output_folder
from askmask.runs.whole_files import write_json

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

    from askmask.imaging.files import Picture


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One prompt, what answers it in pixels of the upright picture, and how sure the model is.

    `round` holds the prompt, the reply in words, and a segment per instance where the model separates them; none when
    nothing was found.
    """

    round: Round
    size: tuple[int, int]  # (height, width)
    score: float | None  # predicted IoU of the answer as a whole, in [0, 1]; None where nothing was found
    presence: float  # probability that anything in the picture matches, in [0, 1]
    score_trained: bool  # False: no training on prompts has supervised the scores; they are SAM2's own
    presence_trained: bool  # False: no training has supervised `presence`, so `found` rests on the mask alone
    found: bool
    model: str
    protocol: str
    threshold: float | None = (
        None  # of `presence`, from which something counts as found; None: it decides nothing
    )
    mask_token: int = 0  # which of the decoder's mask tokens answered
    alternatives: tuple[Segment, ...] = ()  # other readings of the same prompt, best first, if kept
    notices: tuple[str, ...] = ()  # what the user should know, e.g. a picture unlike those trained on
    timings: Mapping[str, float] = field(default_factory=dict)  # seconds by step
    usage: Mapping[str, float] = field(
        default_factory=dict
    )  # calls, tokens and dollars, of models that are called
    pointed: tuple[Prompt, ...] = ()  # of a model that points: for each segment the box and points it gave
    logits: np.ndarray | None = field(default=None, repr=False, compare=False)  # float32 [H, W], if kept
    picture: Picture | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.found:  # the IoU of no mask is no number; how sure a model is of nothing is `presence`
            object.__setattr__(self, "score", None)
        if not self.round.made_by:
            object.__setattr__(self, "round", replace(self.round, made_by=self.model))

    @property
    def prompt(self) -> str:
        """The words of the prompt."""
        return self.round.text

    @property
    def text(self) -> str:
        """The reply in words, "" from models that do not speak."""
        return self.round.reply or ""

    @property
    def reply(self) -> str | None:
        """The reply in words, None from models that do not speak; the place of each segment in it is its `span`."""
        return self.round.reply

    @property
    def asks(self) -> bool:
        """Whether it is in words alone, such as a question back: nothing is said about pixels, not even that nothing
        matches. Its round's segments are None, as of one that is not answered yet.
        """
        return self.round.segments is None and bool(self.round.reply)

    @property
    def segments(self) -> tuple[Segment, ...]:
        """The segments of the answer, named; () when nothing was found."""
        return self.round.segments or ()

    @property
    def references(self) -> tuple[Reference, ...]:
        """What of the conversation the prompt was taken to speak of, how surely, and by what."""
        return self.round.references

    @property
    def masks(self) -> tuple[Mask, ...]:
        """One mask per instance."""
        return tuple(segment.mask for segment in self.segments)

    @property
    def scores(self) -> tuple[float | None, ...]:
        """How sure the model is of each mask, in [0, 1]; None of one that no model scored."""
        return tuple(segment.score for segment in self.segments)

    @property
    def mask(self) -> Mask:
        """The union of the masks; empty when nothing was found."""
        return union_of(self.masks, self.size)

    def __bool__(self) -> bool:
        return self.found

    def __repr__(self) -> str:
        from askmask.show import outcome_of

        return f"Answer({self.prompt[:60]!r}: {outcome_of(self) or '1 mask'}, model={self.model!r})"

    def overlay(self) -> Image.Image:
        """Return the picture with this answer drawn on it, and a legend with prompt and score."""
        from askmask.show import draw_answers

        return draw_answers([self])

    def plot(self, axes: Any = None) -> Any:
        """Show the overlay on Matplotlib axes (extra `[notebook]`), new ones if none are given; return them."""
        from askmask.show import plot

        return plot(self.overlay(), axes)

    def _repr_html_(self) -> str:
        from askmask.show import answer_html

        return answer_html(self)

    def _repr_png_(self) -> bytes | None:
        from askmask.show import NOTEBOOK_SIDE, draw_answers, png_of

        return None if self.picture is None else png_of(draw_answers([self], most=NOTEBOOK_SIDE))

    def to_supervision(self) -> Any:
        """Return supervision's Detections (extra `[supervision]`); see `show.to_supervision`."""
        from askmask.show import to_supervision

        return to_supervision(self)

    def to_dict(self) -> dict[str, Any]:
        """Return a form ready for JSON. Without the picture and the logits."""
        data: dict[str, Any] = {
            "round": self.round.id,
            "prompt": self.round.prompt.to_json(),
            "found": self.found,
            "presence": self.presence,
            "presence_trained": self.presence_trained,
            "threshold": self.threshold,
            "score_trained": self.score_trained,
            "score": self.score,
            "masks": [segment.to_dict() | {"box": segment.mask.box} for segment in self.segments],
            "text": self.text,
            "size": list(self.size),
            "model": self.model,
            "protocol": self.protocol,
            "mask_token": self.mask_token,
            "notices": list(self.notices),
            "timings": dict(self.timings),
        }
        if self.asks:
            data["asks"] = True
        elif self.round.segments is None:  # a reply that came to nothing does not say that nothing matches
            data["unanswered"] = True
        if self.references:
            data["references"] = [reference.to_dict() for reference in self.references]
        if self.alternatives:
            data["alternatives"] = [segment.to_dict() for segment in self.alternatives]
        if self.usage:
            data["usage"] = dict(self.usage)
        if self.pointed:
            data["pointed"] = [places.to_json() for places in self.pointed]
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Answer:
        """Read what `to_dict` wrote."""
        return cls(
            round=Round.from_dict(
                {
                    "id": data.get("round", ""),
                    "prompt": data["prompt"],
                    "segments": None if data.get("asks") or data.get("unanswered") else data["masks"],
                    "reply": data.get("text") or None,
                    "references": data.get("references", ()),
                }
            ),
            size=(int(data["size"][0]), int(data["size"][1])),
            score=None if data.get("score") is None else float(data["score"]),
            presence=float(data["presence"]),
            presence_trained=bool(data["presence_trained"]),
            score_trained=bool(data["score_trained"]),
            found=bool(data["found"]),
            model=str(data["model"]),
            protocol=str(data["protocol"]),
            threshold=None if data.get("threshold") is None else float(data["threshold"]),
            mask_token=int(data.get("mask_token", 0)),
            alternatives=tuple(Segment.from_dict(mask) for mask in data.get("alternatives", ())),
            notices=tuple(data.get("notices", ())),
            timings=dict(data.get("timings", {})),
            usage=dict(data.get("usage", {})),
            pointed=tuple(map(Prompt.from_json, data.get("pointed", ()))),
        )

    def save(self, folder: str | Path) -> list[Path]:
        """Write mask-00.png, overlay-00.png and result.json; see `save_answers`."""
        return save_answers([self], folder)

    def light(self) -> Answer:
        """Return the same answer without picture and logits, to keep many in memory."""
        return replace(self, picture=None, logits=None)


def result_of(answers: Sequence[Answer]) -> dict[str, Any]:
    """Return the answers to prompts about one picture in a form ready for JSON: what result.json holds."""
    first, parts = answers[0], [answer.to_dict() for answer in answers]
    return {
        "image": first.picture.name if first.picture is not None else None,
        "size": list(first.size),
        "model": first.model,
        "protocol": first.protocol,
        "answers": [
            {key: value for key, value in part.items() if key not in ("size", "model", "protocol")}
            for part in parts
        ],
    }


def save_answers(answers: Sequence[Answer], folder: str | Path) -> list[Path]:
    """Write mask-NN.png, overlay-NN.png (if the picture is there) and result.json; return their paths.

    An answer in words alone has no mask.

    Files of an earlier call that this one does not write anew are removed; nothing else is. Raises SettingError
    for a folder that holds anything but our own earlier answers.
    """
    masks = {
        f"mask-{number:02d}.png": answer
        for number, answer in enumerate(answers)
        if answer.round.segments is not None  # an empty mask would say that nothing matches
    }
    overlays = {f"overlay-{number:02d}.png": a for number, a in enumerate(answers) if a.picture is not None}
    with output_folder(folder, SAVED_BY, {}) as out, out.anew() as fresh:
        for name, answer in masks.items():
            answer.mask.to_png(fresh / name)
        for name, answer in overlays.items():
            answer.overlay().save(fresh / name)
        write_json(fresh / RESULT, result_of(answers))
    return [out.root / name for name in (*masks, *overlays, RESULT)]


SAVED_BY, RESULT = "askmask segment", "result.json"
