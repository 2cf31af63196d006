"""The rules: what is asked about a picture, in which order, with reference to what.

Paper: SegLLM (arXiv 2410.18923), appendix A.1.2. Ours beside it: relations keep a margin (positions.py); what is asked
for by a noun and a relation is the only one that fits them; captions fit one thing; a class of which the picture may
show more than is annotated is never called by its noun alone; "next" are hard pairs among three or more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from random import Random
from typing import TypeVar

from askmask.build.mrseg.bank import Bank
from askmask.build.mrseg.positions import (
    CARDINAL,
    KEEP,
    OVERLAPPING,
    SAME,
    WORDS,
    could_be,
    is_clear,
    offsets,
    relation,
)
from askmask.build.mrseg.scene import Region, Scene, by_id
from askmask.build.mrseg.talk import CAPTION, INSTANCE, ROUND, Step, Talk
from askmask.build.mrseg.words import clause, core, with_article

MOST_ROUNDS = 18
MOST_WHOLES = MOST_PARTS = 4
MOST_LINKS = 4
MOST_CLASSES = 3  # of one picture; the paper's counts come to 2.9
DIRECT_SHARE = 1 / 3
LEAST_INSIDE = 0.5  # share of a part that lies in its whole
NEXT_GAP = 0.5  # by how many mean sides the second nearest is farther than the nearest
_PREFIX = {"left": "left", "right": "right", "above": "upper", "below": "lower"}
T = TypeVar("T")


def positional(scene: Scene, draw: Random, bank: Bank) -> Iterator[Talk]:
    """2 to 18 rounds: a caption first; then a third captions, else where something lies from an earlier answer.

    Where no relation is left that is beyond dispute, the conversation ends: so the third stays a third.
    """
    left = [(region, caption) for region in scene.regions for caption in region.captions]
    if len(left) < 2:
        return
    wanted = 2 + draw.randrange(min(MOST_ROUNDS, len(left)) - 1)
    region, caption = left.pop(draw.randrange(len(left)))
    steps = [_direct(scene, region, caption, draw, bank)]
    while len(steps) < wanted:
        options = list(_relations(scene, left, steps))
        if not options:
            break
        if draw.random() < DIRECT_SHARE:
            region, caption = left.pop(draw.randrange(len(left)))
            steps.append(replace(_direct(scene, region, caption, draw, bank), free=True))
            continue
        place, earlier, name = options[draw.randrange(len(options))]
        region, caption = left.pop(place)
        by_noun = name != SAME and _only_one(scene, region, steps[earlier].target, name)
        target = region.noun if by_noun and draw.random() < 0.5 else caption
        reference, said_by, kept = _refer(steps, earlier, draw)
        values = {"target": with_article(target), "relation": WORDS[name], "reference": reference}
        steps.append(
            Step(
                kind="positional",
                target=region,
                text=bank.say("positional", draw, **values),
                reply=bank.reply(draw, with_article(target)),
                caption=caption,
                refers_to=earlier,
                relation=name,
                said_by=said_by,
                alike=scene.counted(region.noun),
                free=True,
                keep=((core(target),), KEEP[name], kept),
            )
        )
    if len(steps) > 1:
        yield Talk(scene=scene, id=scene.id, steps=tuple(steps))


def _relations(
    scene: Scene, left: list[tuple[Region, str]], steps: list[Step]
) -> Iterator[tuple[int, int, str]]:
    """Yield (place in `left`, earlier round, relation) of all that can be asked by position."""
    for place, (region, _) in enumerate(left):
        for earlier, step in enumerate(steps):
            if step.target.id == region.id:
                yield place, earlier, SAME
            elif is_clear(region.box, step.target.box):
                yield place, earlier, relation(region.box, step.target.box)


def _only_one(scene: Scene, target: Region, reference: Region, name: str) -> bool:
    """Whether nothing else of the target's noun could be said to be `name` to the reference."""
    if not scene.counted(target.noun):
        return False
    others = [one for one in scene.of(target.noun) if one.id not in (target.id, reference.id)]
    return not any(could_be(name, one.box, reference.box) for one in others)


def hierarchical(scene: Scene, draw: Random, bank: Bank) -> Iterator[Talk]:
    """1 to 4 wholes, each followed by 1 to 4 of its parts."""
    parts: dict[str, list[Region]] = {}
    wholes = by_id([region for region in scene.regions if not region.parent])
    for region in scene.regions:
        whole = wholes.get(region.parent)
        if whole is not None and region.mask.inside(whole.mask) >= LEAST_INSIDE:
            parts.setdefault(whole.id, []).append(region)
    captions = {name: _caption_among(scene, wholes[name]) for name in parts}
    candidates = [name for name, caption in captions.items() if caption]
    if not candidates:
        return
    steps: list[Step] = []
    for name in _some(candidates, 1 + draw.randrange(min(MOST_WHOLES, len(candidates))), draw):
        start = len(steps)
        steps.append(_direct(scene, wholes[name], captions[name], draw, bank))
        for part in _some(parts[name], 1 + draw.randrange(min(MOST_PARTS, len(parts[name]))), draw):
            reference, said_by, kept = _refer(steps, start, draw)
            caption = f"{part.noun} of {with_article(captions[name])}"
            steps.append(
                Step(
                    kind="hierarchical",
                    target=part,
                    text=bank.say("hierarchical", draw, part=part.noun, reference=reference),
                    reply=bank.reply(draw, with_article(part.noun)),
                    caption=caption,
                    refers_to=start,
                    relation="part",
                    said_by=said_by,
                    alike=sum(one.noun == part.noun for one in scene.regions if one.parent),
                    keep=((part.noun,), kept),
                )
            )
    yield Talk(scene=scene, id=scene.id, steps=tuple(steps))


def _caption_among(scene: Scene, region: Region) -> str:
    """Return words that fit one whole alone: its noun, of two with their place; "" where none do."""
    count = scene.counted(region.noun)
    if count == 1:
        return region.noun
    if count != 2:
        return ""
    return placed_caption(region, next(one for one in scene.of(region.noun) if one.id != region.id))


def placed_caption(region: Region, other: Region) -> str:
    """Return "left NOUN" and the like, to tell a region from the only other of its noun; "" if boxes cannot tell."""
    if not is_clear(region.box, other.box):
        return ""
    name = relation(region.box, other.box)
    return "" if name == OVERLAPPING else f"{_PREFIX[name.split()[-1]]} {region.noun}"


def hard(scene: Scene, draw: Random, bank: Bank) -> Iterator[Talk]:
    """Two of a class: a conversation of one round each way, the mask of one given, "the other CLASS" asked for."""
    nouns = [noun for noun in _nouns(scene) if scene.counted(noun) == 2]
    if not nouns:
        return
    noun = nouns[draw.randrange(len(nouns))]
    one, other = scene.of(noun)
    kinds = {"class": noun}
    template = draw.randrange(1 << 30)
    for number, (given, target) in enumerate(((one, other), (other, one)), 1):
        step = Step(
            kind="hard",
            target=target,
            text=bank.say("hard", Random(template), **kinds),
            reply=bank.reply(draw, f"the other {noun}"),
            given=given,
            relation="other",
            alike=2,
            keep=((noun,),),
        )
        yield Talk(scene=scene, id=f"{scene.id}-other-{number}", steps=(step,), group="hard")


def next_one(scene: Scene, draw: Random, bank: Bank) -> Iterator[Talk]:
    """Three or more of a class: the same words about two given masks, and two different right answers.

    The target is the nearest in a direction, and the second nearest clearly farther.
    """
    pairs: list[tuple[str, str, tuple[Region, Region], tuple[Region, Region]]] = []
    for noun in _nouns(scene):
        if scene.counted(noun) < 3:
            continue
        for name in CARDINAL:
            found = [(given, target) for given in scene.of(noun) if (target := nearest(scene, given, name))]
            pairs += [
                (noun, name, a, b)
                for place, a in enumerate(found)
                for b in found[place + 1 :]
                if a[1].id != b[1].id
            ]
    if not pairs:
        return
    noun, name, *both = pairs[draw.randrange(len(pairs))]
    values = {"class": noun, "direction": WORDS[name]}
    template = draw.randrange(1 << 30)
    for number, (given, target) in enumerate(both, 1):
        step = Step(
            kind="next",
            target=target,
            text=bank.say("next", Random(template), **values),
            reply=bank.reply(draw, f"the {noun}"),
            given=given,
            relation=name,
            alike=scene.counted(noun),
            keep=((noun,), KEEP[name]),
        )
        yield Talk(scene=scene, id=f"{scene.id}-next-{number}", steps=(step,), group="next")


def nearest(scene: Scene, given: Region, name: str) -> Region | None:
    """Return the next of the same noun in a cardinal direction, where nobody could doubt which it is."""
    axis, sign = (0 if name in ("left", "right") else 1), (-1 if name in ("left", "above") else 1)
    found = sorted(
        (sign * offsets(one.box, given.box)[axis], one.id)
        for one in scene.of(given.noun)
        if one.id != given.id and could_be(name, one.box, given.box)
    )
    if not found or (len(found) > 1 and found[1][0] - found[0][0] < NEXT_GAP):
        return None
    target = by_id(scene.regions)[found[0][1]]
    fits = is_clear(target.box, given.box) and relation(target.box, given.box) == name
    return target if fits else None


def interactional(scene: Scene, draw: Random, bank: Bank) -> Iterator[Talk]:
    """Up to 4 relationships, each of two rounds: the subject, then the object by what the subject does to it."""
    regions = by_id(scene.regions)
    for number, link in enumerate(_some(list(scene.links), MOST_LINKS, draw), 1):
        subject, target = regions[link.subject], regions[link.object]
        first = _direct(scene, subject, subject.noun, draw, bank)
        reference, said_by, kept = _refer([first], 0, draw)
        values = {
            "target": with_article(target.noun),
            "clause": clause(reference, link.predicate),
            "reference": reference,
        }
        step = Step(
            kind="interactional",
            target=target,
            text=bank.say("interactional", draw, **values),
            reply=bank.reply(draw, with_article(target.noun)),
            caption=target.noun,
            refers_to=0,
            relation=link.predicate,
            said_by=said_by,
            alike=scene.counted(target.noun),
            keep=((target.noun,), (link.predicate,), kept),
        )
        yield Talk(scene=scene, id=f"{scene.id}-{number}", steps=(first, step))


def attribute(scene: Scene, draw: Random, bank: Bank) -> Iterator[Talk]:
    """One round for each region that has a description without its class; the answer names the class."""
    for region in scene.regions:
        for number, description in enumerate(region.captions, 1):
            step = Step(
                kind="attribute",
                target=region,
                text=bank.say("attribute", draw, description=description),
                reply=bank.reply(draw, with_article(region.noun), named=True),
                caption=region.noun,
                alike=scene.counted(region.noun),
                keep=((description,),),
            )
            yield Talk(scene=scene, id=f"{region.id}-{number}", steps=(step,))


def semantic(scene: Scene, draw: Random, bank: Bank) -> Iterator[Talk]:
    """One round for each of up to 3 classes: all of its pixels."""
    for region in _some(list(scene.regions), MOST_CLASSES, draw):
        step = Step(
            kind="semantic",
            target=region,
            text=bank.say("semantic", draw, **{"class": region.noun}),
            reply=bank.reply(draw, with_article(region.noun)),
            caption=region.noun,
            keep=((region.noun,),),
        )
        yield Talk(scene=scene, id=f"{scene.id}-{region.id}", steps=(step,))


def as_it_is(scene: Scene, draw: Random, bank: Bank) -> Iterator[Talk]:
    """One round for each prompt of the set's own, word for word."""
    for number, text in enumerate(scene.asked, 1):
        step = Step(kind="own", target=scene.regions[0], text=text, reply=bank.reply(draw), keep=((text,),))
        yield Talk(scene=scene, id=f"{scene.id}-{number}", steps=(step,))


Rule = Callable[[Scene, Random, Bank], Iterator[Talk]]


def _direct(scene: Scene, region: Region, caption: str, draw: Random, bank: Bank) -> Step:
    target = with_article(caption)
    return Step(
        kind="direct",
        target=region,
        text=bank.say("direct", draw, target=target),
        reply=bank.reply(draw, target),
        caption=caption,
        alike=scene.counted(region.noun),
        keep=((core(caption),),),
    )


def _refer(steps: list[Step], earlier: int, draw: Random) -> tuple[str, str, tuple[str, ...]]:
    """Return how an earlier round's answer is named, half by its caption; how that is; and what must be kept of it."""
    number = earlier + 1
    if draw.random() < 0.5:
        caption = steps[earlier].caption
        return with_article(caption), CAPTION, (core(caption),)
    if draw.random() < 0.5:
        return f"instance {number}", INSTANCE, (f"instance {number}",)
    return f"the output of round {number}", ROUND, (f"round {number}",)


def _nouns(scene: Scene) -> list[str]:
    return list(dict.fromkeys(region.noun for region in scene.regions if not region.parent))


def _some(things: list[T], most: int, draw: Random) -> list[T]:
    """Return up to `most` things in random order."""
    things = list(things)
    return [things.pop(draw.randrange(len(things))) for _ in range(min(most, len(things)))]
