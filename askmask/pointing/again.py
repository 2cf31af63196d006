"""The second look: what was drawn is shown back, numbered; the model keeps, corrects or withdraws each mask."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from askmask.conversation import Prompt
from askmask.imaging.mask import Mask
from askmask.pointing.asking import (
    MOST_TOKENS,
    TEXT,
    box_as_written,
    numbered,
    object_schema,
    place_schema,
    template_of,
)
from askmask.pointing.conventions import Convention
from askmask.pointing.outcome import Instance, Pointed
from askmask.pointing.reading import read_instances
from askmask.pointing.sent import Sent
from askmask.vlm.errors import Quarantined
from askmask.vlm.reply import json_values
from askmask.vlm.request import Completion, Request
from askmask.vlm.templates import hash_of

VERDICTS = ("keep", "withdraw", "correct")


@dataclass(frozen=True)
class SecondLook:
    """What a model said of its drawn masks: for each that stays its new places, None as it is; and what is missing."""

    kept: Mapping[int, Instance | None]  # by the index of the mask
    missing: Pointed


def looking_again(prompt: Prompt, masks: Sequence[Mask], seen: Sent, convention: Convention) -> Request:
    """Return the request that shows drawn masks back."""
    template, place = template_of("again", convention, seen.size), place_schema(convention)
    verdict = {"number": {"type": "integer"}, "verdict": {"type": "string", "enum": list(VERDICTS)}} | place
    regions = [
        {"number": n, convention.box_key: box_as_written(mask.box, seen, convention)}
        for n, mask in enumerate(masks, 1)
        if mask.box
    ]
    return Request(
        stage="look",
        template_hash=hash_of(template),
        instructions=template,
        pictures=(seen.picture, numbered(seen, masks, "the same with regions numbered")),
        inputs={"asked": prompt.text, "regions": regions},
        schema_name="LookReply",
        schema=object_schema(
            {
                "verdicts": {"type": "array", "items": object_schema(verdict)},
                "missing": {"type": "array", "items": object_schema(place | {"label": TEXT})},
            }
        ),
        max_tokens=MOST_TOKENS,
    )


def read_look(completion: Completion, masks: int, sent: Sent, convention: Convention) -> SecondLook:
    """Read the verdicts on so many masks. Raises Quarantined for a reply that cannot be read."""
    if completion.finish == "length":
        raise Quarantined("truncated", "the reply stopped at its token limit")
    values = json_values(completion.text)
    if len(values) != 1 or not isinstance(values[0], dict) or not isinstance(values[0].get("verdicts"), list):
        raise Quarantined("parse", "one object with verdicts is wanted")
    kept: dict[int, Instance | None] = dict.fromkeys(range(masks))
    try:
        for verdict in values[0]["verdicts"]:
            number, said = verdict["number"] - 1, verdict["verdict"]
            if number not in range(masks) or said not in VERDICTS:
                raise Quarantined("parse", "a verdict on no region, or none that is known")
            if said == "withdraw":
                kept.pop(number, None)
            elif said == "correct":
                kept[number] = read_instances([verdict], sent, convention).instances[0]
        return SecondLook(kept, read_instances(values[0].get("missing") or [], sent, convention))
    except (KeyError, TypeError, ValueError) as error:
        raise Quarantined("parse", f"verdicts that cannot be read: {error}") from error
