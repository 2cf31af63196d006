"""Stage 1: a picture -> 5 to 7 regions in words, typed."""

from __future__ import annotations

from askmask.engine.pictures import Picture
from askmask.engine.replies import RegionsReply
from askmask.engine.templates import text_of
from askmask.engine.tools import Tools, request_for, run_units
from askmask.engine.values import Described, Description, Dropped, Failure


async def describe(picture: Picture, tools: Tools) -> tuple[Described | None, list[Failure]]:
    """Ask the writing model for the regions; one unit, so a failure leaves no result."""
    request = request_for(
        "describe",
        RegionsReply,
        instructions=text_of("describe"),
        templates=("describe",),
        pictures=(tools.original(picture),),
        inputs={"width": picture.size[1], "height": picture.size[0]},
        temperature=tools.settings.writer_temperature,
    )
    answers, failures = await run_units({"": tools.writer.ask(request, RegionsReply)})
    if not answers:
        return None, failures
    reply = answers[""].value
    regions: list[Description] = []
    dropped: list[Dropped] = []
    for number, region in enumerate(reply.regions, start=1):
        text = " ".join(region.description.split())
        if any(text.casefold() == other.text.casefold() for other in regions):
            dropped.append(Dropped(what=text, rule="same_words"))
        elif len(regions) == tools.settings.most_regions:
            dropped.append(Dropped(what=text, rule="too_many_regions"))
        else:
            parent = region.parent if region.parent in {r.id for r in regions} else None
            regions.append(Description(id=number, text=text, kind=region.kind, parent=parent))
    return Described(
        scene=reply.scene, regions=tuple(regions), call=answers[""].key, dropped=tuple(dropped)
    ), failures
