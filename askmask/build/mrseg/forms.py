"""A conversation in two forms: SegLLM's turns with markers, and our Example. Both say the same."""

from __future__ import annotations

from typing import Any

from askmask.build.mrseg.scene import Region
from askmask.build.mrseg.talk import Step, Talk
from askmask.conversation import Example, Prompt, Round, Segment
from askmask.formats.mrseg_turns import ANSWER, BOX, IMAGE, MASK, Dialogue, Marker, Turn

RELATIONAL = "relational"


def as_dialogue(talk: Talk, dataset: str) -> Dialogue:
    """Return SegLLM's form. Raises DataError for a name that its markers cannot hold."""
    turns: list[Turn] = []
    image = talk.scene.image
    for number, step in enumerate(talk.steps):
        markers = [] if number else [Marker(IMAGE, image)]
        reference = _reference(talk, step)
        if reference is not None:
            markers += [Marker(kind, image, dataset, reference.id) for kind in (MASK, BOX)]
        ind = -1 if step.refers_to is None else step.refers_to + 1
        turns.append(Turn("human", (*markers, f" {step.text}" if markers else step.text), ind))
        answer = Marker(ANSWER, image, dataset, step.target.id)
        if reference is not None:
            answer = Marker(ANSWER, image, dataset, step.target.id, RELATIONAL, (reference.id,))
        turns.append(Turn("gpt", (f"{step.reply} ", answer)))
    return Dialogue(tuple(turns), {"task": "segmentation", "base": "None", "conv_id": talk.id})


def as_example(talk: Talk, name: str, split: str) -> Example:
    """Return our form; `name` is the source's. What the rules know of a round stands in its `meta`."""
    rounds = []
    for step in talk.steps:
        known = {
            "kind": step.kind,
            "relation": step.relation,
            "said_by": step.said_by,
            "alike": step.alike,
        }
        rounds.append(
            Round(
                prompt=Prompt(
                    text=step.text,
                    refers_to=() if step.refers_to is None else (f"r{step.refers_to + 1}",),
                    masks=() if step.given is None else (step.given.mask,),
                ),
                segments=(Segment(mask=step.target.mask),),
                reply=step.reply,
                ignore=talk.scene.ignore,
                meta={key: value for key, value in known.items() if value},
            )
        )
    group = {"group": talk.group} if talk.group else {}
    return Example(
        id=f"{name}-{split}-{talk.id}",
        image=f"images_folder/{talk.scene.image}",
        size=talk.scene.size,
        rounds=tuple(rounds),
        source=name,
        split=split,
        meta=group,
    )


def regions_of(talk: Talk) -> list[Region]:
    """Return the regions that a conversation's markers name."""
    given = [step.given for step in talk.steps if step.given is not None]
    return [*(step.target for step in talk.steps), *given]


def table_entry(region: Region, table: str) -> dict[str, Any]:
    """Return a mask as a table of codes holds it, or with the picture's size beside it ("sized")."""
    code = region.mask.to_dict()
    return {"segmentation": code, "image_dim": list(region.mask.size)} if table == "sized" else code


def annotation(region: Region, image_id: int | str) -> dict[str, Any]:
    """Return a mask as an instances file holds it."""
    x0, y0, x1, y1 = region.box
    return {
        "id": number(region.id),
        "image_id": image_id,
        "category_id": region.category,
        "segmentation": region.mask.to_dict(),
        "area": region.mask.area,
        "bbox": [x0, y0, x1 - x0, y1 - y0],
        "iscrowd": 0,
    }


def number(name: str) -> int | str:
    """Return an id as a file of numbers holds it."""
    return int(name) if name.isdecimal() else name


def _reference(talk: Talk, step: Step) -> Region | None:
    return step.given if step.refers_to is None else talk.steps[step.refers_to].target
