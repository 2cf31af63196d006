"""The builder's stages: three that write, the engine's own that segments and verifies, and the last check.

elements    the picture -> what can be seen                               one unit
tree        -> reasoning questions, graded, and their paths               one unit
dialogues   -> one dialogue a path                                        a unit is a path
segment     -> masks of all that is pointed at (engine/segment.py)        one unit
verify      -> is each mask what its name says? (engine/verify.py)        a unit is an element
check       -> is the focus unique, do the words lead to it, is nothing truly nothing?   a unit is a dialogue
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from askmask.engine.dialogues.replies import DialogueReply, ElementsReply, FitsReply, TreeReply, UniqueReply
from askmask.engine.dialogues.rules import broken_dialogue, broken_path
from askmask.engine.dialogues.values import (
    Checked,
    Dialogue,
    Dialogues,
    Element,
    Elements,
    Tree,
    TreePath,
    Turn,
)
from askmask.engine.pictures import Picture
from askmask.engine.replies import AlignmentReply
from askmask.engine.segment import segment
from askmask.engine.templates import text_of as engine_text_of
from askmask.engine.tools import Tools, run_units
from askmask.engine.values import Described, Description, Dropped, Failure, Region, Value, Verdict, Verified
from askmask.engine.verify import verify
from askmask.imaging.overlay import fit
from askmask.vlm import templates
from askmask.vlm.caller import Answer
from askmask.vlm.marked import mark, tint_for
from askmask.vlm.pictures import SentPicture
from askmask.vlm.request import Request

PACKAGE = "askmask.engine.dialogues"
MOST_PATHS = 4


async def run_stage(
    stage: str, picture: Picture, results: Mapping[str, Any], tools: Tools
) -> tuple[Value | None, list[Failure]]:
    """Do one stage of a picture."""
    if stage == "elements":
        return await _elements(picture, tools)
    if stage == "tree":
        return await _tree(picture, results["elements"], tools)
    if stage == "dialogues":
        return await _dialogues(picture, results["elements"], results["tree"], tools)
    if stage == "segment":
        return await segment(picture, described(results["elements"], results["dialogues"]), tools)
    if stage == "verify":
        return await verify(picture, results["segment"], tools)
    return await _check(picture, results["elements"], results["dialogues"], results["verify"], tools)


def described(elements: Elements, dialogues: Dialogues) -> Described:
    """Return the elements that are pointed at as the engine's second stage takes them."""
    wanted = dialogues.pointed_at
    chosen = tuple(
        Description(id=e.id, text=e.name, kind="thing") for e in elements.elements if e.id in wanted
    )
    return Described(scene=elements.scene, regions=chosen, call=elements.call)


async def _elements(picture: Picture, tools: Tools) -> tuple[Elements | None, list[Failure]]:
    inputs = {"width": picture.size[1], "height": picture.size[0]}
    asked = _ask(tools, ElementsReply, "elements", "elements", picture, inputs)
    answers, failures = await run_units({"": asked})
    if not answers:
        return None, failures
    kept: list[Element] = []
    dropped: list[Dropped] = []
    for number, one in enumerate(answers[""].value.elements, 1):
        name = " ".join(one.name.split())
        if any(name.casefold() == other.name.casefold() for other in kept):
            dropped.append(Dropped(what=name, rule="same_words"))
        else:
            kept.append(Element(id=number, name=name, seen=one.seen))
    scene = answers[""].value.scene
    return Elements(scene=scene, elements=tuple(kept), call=answers[""].key, dropped=tuple(dropped)), failures


async def _tree(picture: Picture, elements: Elements, tools: Tools) -> tuple[Tree | None, list[Failure]]:
    inputs = {"elements": _listed(elements)}
    answers, failures = await run_units({"": _ask(tools, TreeReply, "tree", "tree", picture, inputs)})
    if not answers:
        return None, failures
    reply, kept, dropped = answers[""].value, list[TreePath](), list[Dropped]()
    known = {element.id for element in elements.elements}
    for number, path in enumerate(reply.paths, 1):
        if not 1 <= path.question <= len(reply.questions) or not all(
            1 <= node <= len(reply.nodes) for node in path.nodes
        ):
            dropped.append(Dropped(what=f"path {number}", rule="unknown_node"))
            continue
        question = reply.questions[path.question - 1]
        one = TreePath(
            id=f"path {number}",
            question=question.question,
            grade=question.grade,
            nodes=tuple(path.nodes),
            focus=path.focus,
        )
        rule = broken_path(one, known, kept) or ("too_many_paths" if len(kept) == MOST_PATHS else None)
        if rule is None:
            kept.append(one)
        else:
            dropped.append(Dropped(what=question.question, rule=rule))
    return Tree(
        nodes=tuple(reply.nodes), paths=tuple(kept), call=answers[""].key, dropped=tuple(dropped)
    ), failures


async def _dialogues(
    picture: Picture, elements: Elements, tree: Tree, tools: Tools
) -> tuple[Dialogues | None, list[Failure]]:
    units = {
        path.id: _ask(
            tools, DialogueReply, "dialogues", "dialogue", picture,
            {
                "elements": _listed(elements),
                "question": path.question,
                "path": [tree.nodes[node - 1] for node in path.nodes],
                "focus": path.focus,
            },
        )
        for path in tree.paths
    }  # fmt: skip
    answers, failures = await run_units(units)
    if units and not answers:
        return None, failures
    named = {element.id: element for element in elements.elements}
    kept: list[Dialogue] = []
    dropped: list[Dropped] = []
    for path in tree.paths:
        if path.id not in answers:
            continue
        reply = answers[path.id].value
        turns = tuple(
            Turn(
                person=_line(turn.person),
                assistant=_line(turn.assistant),
                kind=turn.kind,
                points_at=tuple(sorted(set(turn.points_at))),
            )
            for turn in reply.turns
        )
        talk = Dialogue(
            path=path.id,
            turns=turns,
            request=_line(reply.request),
            focus=reply.focus,
            call=answers[path.id].key,
        )
        rule = broken_dialogue(talk, path.focus, named, kept)
        if rule is None:
            kept.append(talk)
        else:
            dropped.append(Dropped(what=path.question, rule=rule, detail=talk.request))
    return Dialogues(dialogues=tuple(kept), dropped=tuple(dropped)), failures


async def _check(
    picture: Picture, elements: Elements, dialogues: Dialogues, verified: Verified, tools: Tools
) -> tuple[Checked | None, list[Failure]]:
    regions = {region.id: region for region in verified.accepted}
    names = {element.id: element.name for element in elements.elements}
    dropped: list[Dropped] = []
    whole: list[Dialogue] = []
    for talk in dialogues.dialogues:
        lost = [n for n in (talk.focus, *(n for t in talk.turns for n in t.points_at)) if n not in regions]
        if lost:
            what = ", ".join(names[n] for n in dict.fromkeys(lost))
            dropped.append(Dropped(what=names[talk.focus], rule="no_mask", detail=what[:200]))
        else:
            whole.append(talk)
    verdicts, failures = await run_units(
        {talk.path: _judged(picture, talk, names, regions[talk.focus], tools) for talk in whole}
    )
    if whole and not verdicts:
        return None, failures
    kept = tuple(talk for talk in whole if talk.path in verdicts)
    found = tuple(verdicts[talk.path] for talk in kept)
    return Checked(dialogues=kept, verdicts=found, dropped=tuple(dropped)), failures


async def _judged(
    picture: Picture, talk: Dialogue, names: Mapping[int, str], region: Region, tools: Tools
) -> Verdict:
    """Ask the verifier until it declines; the first fault is the reason."""
    original = tools.original(picture)
    one = await _ask(
        tools, UniqueReply, "check", "unique", picture, {"name": names[talk.focus]}, verifier=True
    )
    calls = [one.key]
    if not (one.value.visible and one.value.unique):
        return Verdict(accept=False, reason=f"not one in sight: {one.value.reason}", calls=tuple(calls))
    for turn in talk.turns:
        if turn.kind != "nothing":
            continue
        text = engine_text_of("align_empty")
        request = _request(AlignmentReply, "check", text, (original,), {"prompt": turn.person}, 0.0)
        answer = await tools.verifier.ask(request, AlignmentReply)
        calls.append(answer.key)
        if not answer.value.accept:
            reason = f"something is there: {answer.value.reason}"
            return Verdict(accept=False, reason=reason, calls=tuple(calls))
    tint = tint_for(original.rgb, fit(region.mask, original.size))
    marked = SentPicture(mark(original.rgb, region.mask, tint), "what is marked in the end")
    inputs = {
        "conversation": [
            {
                "person": turn.person,
                "assistant": turn.assistant,
                "points_at": [names[n] for n in turn.points_at],
            }
            for turn in talk.turns
        ],
        "request": talk.request,
    }
    text = templates.fill(PACKAGE, "fits", tint=tint)
    fits = await tools.verifier.ask(
        _request(FitsReply, "check", text, (original, marked), inputs, 0.0), FitsReply
    )
    return Verdict(accept=fits.value.accept, reason=fits.value.reason, calls=(*calls, fits.key))


async def _ask(
    tools: Tools,
    schema: type[Any],
    stage: str,
    template: str,
    picture: Picture,
    inputs: Mapping[str, Any],
    *,
    verifier: bool = False,
) -> Answer[Any]:
    """Ask about the picture as it is; who writes is free in its words, who verifies is not."""
    caller = tools.verifier if verifier else tools.writer
    temperature = 0.0 if verifier else tools.settings.writer_temperature
    text = templates.text_of(PACKAGE, template)
    return await caller.ask(
        _request(schema, stage, text, (tools.original(picture),), inputs, temperature), schema
    )


def _request(
    schema: type[Any],
    stage: str,
    text: str,
    pictures: tuple[SentPicture, ...],
    inputs: Mapping[str, Any],
    temperature: float,
) -> Request:
    return Request(
        stage=stage,
        template_hash=templates.hash_of(text),
        instructions=text,
        pictures=pictures,
        inputs=inputs,
        schema_name=schema.__name__,
        schema=schema.model_json_schema(),
        temperature=temperature,
        max_tokens=3072,
    )


def _listed(elements: Elements) -> list[dict[str, Any]]:
    return [{"number": e.id, "name": e.name, "seen": e.seen} for e in elements.elements]


def _line(text: str) -> str:
    return " ".join(text.split())
