"""Stage 5: does the prompt pick out exactly this mask, and does a negative prompt truly find nothing?"""

from __future__ import annotations

from askmask.engine.pictures import Picture
from askmask.engine.replies import AlignmentReply
from askmask.engine.templates import fill, text_of
from askmask.engine.tools import Tools, request_for, run_units, vote
from askmask.engine.values import Aligned, Failure, Pair, Verified, Written, WrittenPrompt
from askmask.imaging.mask import Mask, union_of
from askmask.imaging.overlay import fit
from askmask.vlm.marked import mark, tint_for
from askmask.vlm.pictures import SentPicture


async def align(
    picture: Picture, verified: Verified, written: Written, tools: Tools
) -> tuple[Aligned | None, list[Failure]]:
    """Judge every prompt with its mask; a unit is a prompt."""
    masks = {region.id: region.mask for region in verified.accepted}
    pairs = {
        prompt.id: Pair(
            prompt=prompt,
            mask=union_of([masks[number] for number in prompt.satisfying], picture.size),
            verdict=None,
        )
        for prompt in written.prompts
    }
    if not tools.settings.verify_pairs:
        return Aligned(pairs=tuple(pairs.values())), []
    results, failures = await run_units(
        {name: _judge(picture, pair.prompt, pair.mask, tools) for name, pair in pairs.items()}
    )
    if pairs and not results:
        return None, failures
    return Aligned(pairs=tuple(results.values())), failures


async def _judge(picture: Picture, prompt: WrittenPrompt, mask: Mask, tools: Tools) -> Pair:
    original = tools.original(picture)
    pictures: tuple[SentPicture, ...]
    if mask:
        tint = tint_for(original.rgb, fit(mask, original.size))
        template, instructions = "align_mask", fill("align_mask", tint=tint)
        pictures = (original, SentPicture(mark(original.rgb, mask, tint), "the mask marked"))
    else:
        template, instructions = "align_empty", text_of("align_empty")
        pictures = (original,)

    def build(number: int, temperature: float):
        return request_for(
            "align",
            AlignmentReply,
            instructions=instructions,
            templates=(template,),
            pictures=pictures,
            inputs={"prompt": prompt.text, "mask": bool(mask)},
            temperature=temperature,
            max_tokens=1024,
            vote=number,
        )

    verdict, _ = await vote(tools, build, AlignmentReply, "accept")
    return Pair(prompt=prompt, mask=mask, verdict=verdict)
