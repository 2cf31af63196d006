"""Stage 4: prompts per concept over the accepted regions, with hard negatives; then the rules, checked not hoped.

A prompt that breaks a rule is dropped with the rule's name, which is no verdict of a model and no failure.
"""

from __future__ import annotations

import re
from typing import Any

from askmask.engine.pictures import Picture
from askmask.engine.replies import prompts_reply
from askmask.engine.templates import fill_write
from askmask.engine.tools import Tools, request_for, run_units
from askmask.engine.values import Concept, Dropped, Failure, Region, Verified, Written, WrittenPrompt
from askmask.engine.words import caption_solves, normal_words, same_request, starts_with_verb
from askmask.vlm.marked import mark_numbered
from askmask.vlm.pictures import SentPicture

MOST_PROMPTS, MOST_NEGATIVES = 3, 2


async def write(picture: Picture, verified: Verified, tools: Tools) -> tuple[Written | None, list[Failure]]:
    """Ask for prompts of every concept; a unit is a concept."""
    regions = verified.accepted
    if len(regions) < 2:
        # A prompt needs at least two candidates to tell apart.
        return Written(prompts=(), dropped=(Dropped(what="all concepts", rule="too_few_regions"),)), []
    results, failures = await run_units(
        {concept: _write(picture, regions, concept, tools) for concept in tools.settings.concepts}
    )
    if not results:
        return None, failures
    prompts: list[WrittenPrompt] = []
    dropped: list[Dropped] = []
    for concept in (c for c in tools.settings.concepts if c in results):
        reply, key = results[concept]
        for prompt in _prompts_of(concept, reply, key):
            rule = broken_rule(prompt, regions, tools.settings.max_words)
            if rule is None and any(same_request(prompt.text, other.text) for other in prompts):
                rule = "duplicate"
            if rule is None:
                prompts.append(prompt)
            else:
                dropped.append(Dropped(what=prompt.text, rule=rule, detail=concept))
        dropped += [
            Dropped(what=p.prompt, rule="fits_unmarked", detail=", ".join(p.unmarked_rivals)[:200])
            for p in reply.prompts
            if p.unmarked_rivals
        ]
    return Written(prompts=tuple(prompts), dropped=tuple(dropped)), failures


async def _write(
    picture: Picture, regions: tuple[Region, ...], concept: str, tools: Tools
) -> tuple[Any, str]:
    schema = prompts_reply(concept)
    original = tools.original(picture)
    numbered = mark_numbered(original.rgb, {region.id: region.mask for region in regions})
    height, width = picture.size
    answer = await tools.writer.ask(
        request_for(
            "write",
            schema,
            instructions=fill_write(concept),
            templates=("write_prompts", f"concept_{concept}"),
            pictures=(original, SentPicture(numbered, "regions marked and numbered")),
            inputs={
                "concept": concept,
                "regions": [
                    {"number": r.id, "description": r.text, "box": _in_thousandths(r, width, height)}
                    for r in regions
                ],
            },
            temperature=tools.settings.writer_temperature,
            max_tokens=3072,
        ),
        schema,
    )
    return answer.value, answer.key


def _in_thousandths(region: Region, width: int, height: int) -> list[int]:
    box = region.mask.box or (0, 0, 0, 0)
    return [round(1000 * v / side) for v, side in zip(box, (width, height) * 2, strict=True)]


def _prompts_of(concept: Concept, reply: Any, key: str) -> list[WrittenPrompt]:
    """Turn a reply into prompts: requests that list rivals are left out, an empty answer is a negative."""

    def written(
        name: str, p: Any, negative: Any, candidates: list[int], satisfying: list[int]
    ) -> WrittenPrompt:
        return WrittenPrompt(
            id=f"{concept}-{name}",
            concept=concept,
            family=p.family,
            text=tidy(p.prompt),
            candidates=tuple(sorted(set(candidates))),
            satisfying=tuple(sorted(set(satisfying))),
            negative=negative,
            reason=p.reason,
            call=key,
        )

    prompts = []
    for number, p in enumerate([p for p in reply.prompts if not p.unmarked_rivals][:MOST_PROMPTS]):
        negative = None if p.satisfying else "none_satisfies"
        prompts.append(written(f"{number}", p, negative, p.candidates, p.satisfying))
    for number, p in enumerate(reply.negatives[:MOST_NEGATIVES]):
        prompts.append(written(f"n{number}", p, p.strategy, [], []))
    return prompts


def broken_rule(prompt: WrittenPrompt, regions: tuple[Region, ...], max_words: int) -> str | None:
    """Return the name of the first rule a prompt breaks, None if it keeps them all."""
    words = normal_words(prompt.text)
    if not words:
        return "empty"
    if len(words) > max_words:
        return "too_long"
    if not starts_with_verb(prompt.text):
        return "no_verb"
    if re.search(r"\b(mask(ed|s)?|marked|numbered|region \d+|number \d+)\b|#\d", prompt.text.lower()):
        return "speaks_of_marks"
    if prompt.negative in ("absent", "false_attribute"):
        return None
    numbers = {region.id for region in regions}
    if not set(prompt.candidates) <= numbers or not set(prompt.satisfying) <= numbers:
        return "unknown_region"
    if not set(prompt.satisfying) < set(prompt.candidates):
        return "not_a_strict_subset"
    if len(prompt.candidates) < 2:
        return "one_candidate"
    if prompt.satisfying and caption_solves(
        prompt.text, {region.id: region.text for region in regions}, set(prompt.satisfying)
    ):
        return "trivial"
    return None


def tidy(text: str) -> str:
    """Return the text in one line without quotes around it or a full stop after it."""
    return " ".join(text.split()).strip(" \"'").rstrip(" .")
