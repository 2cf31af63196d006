"""Stage 3: is each mask what its description says? And is there a better one in the segmenter's own pool?

    initial fits,  no pool mask   -> initial
    initial fits,  pool mask      -> the model chooses; the refined one must fit as well, else initial stays
    initial fails, pool mask fits -> refined
    otherwise                     -> rejected, with the reason

So the mask that goes on is always one that was itself verified.
"""

from __future__ import annotations

from askmask.engine.pictures import Picture
from askmask.engine.replies import ChoiceReply, MaskReply
from askmask.engine.templates import fill
from askmask.engine.tools import Tools, request_for, run_units, vote
from askmask.engine.values import Failure, Region, Segmented, Verified
from askmask.imaging.mask import Mask
from askmask.imaging.overlay import fit
from askmask.vlm.errors import UnitFailed
from askmask.vlm.marked import mark, tint_for
from askmask.vlm.pictures import SentPicture

SAME_IOU = 0.98  # a pool mask this close to the initial one is no alternative


async def verify(
    picture: Picture, segmented: Segmented, tools: Tools
) -> tuple[Verified | None, list[Failure]]:
    """Judge every region; a unit is a region."""
    settings = tools.settings
    if not settings.verify_masks:
        return Verified(accepted=segmented.regions), []
    refined: dict[int, Mask] = {}
    if settings.refine and segmented.regions:
        pools, failures = await run_units({"pool": _pool(picture, tools)})
        if failures:
            return None, failures
        refined = assign_pool(segmented.regions, pools["pool"], settings.pool_iou)
    results, failures = await run_units(
        {
            f"region {region.id}": _judge(picture, region, refined.get(region.id), tools)
            for region in segmented.regions
        }
    )
    judged = list(results.values())
    if segmented.regions and not judged:
        return None, failures
    return (
        Verified(
            accepted=tuple(region for region in judged if region.verdict and region.verdict.accept),
            rejected=tuple(region for region in judged if not (region.verdict and region.verdict.accept)),
        ),
        failures,
    )


async def _judge(picture: Picture, region: Region, pool_mask: Mask | None, tools: Tools) -> Region:
    initial = await _consistent(picture, region, tools)
    fits = initial.verdict is not None and initial.verdict.accept
    if pool_mask is None:
        return initial
    if fits and not await _prefers_second(picture, region, pool_mask, tools):
        return initial
    refined = await _consistent(
        picture, region.model_copy(update={"mask": pool_mask, "origin": "refined"}), tools
    )
    return refined if refined.verdict and refined.verdict.accept else initial


async def _consistent(picture: Picture, region: Region, tools: Tools) -> Region:
    original = tools.original(picture)
    tint = tint_for(original.rgb, fit(region.mask, original.size))
    marked = SentPicture(mark(original.rgb, region.mask, tint), "one region marked")

    def build(number: int, temperature: float):
        return request_for(
            "verify",
            MaskReply,
            instructions=fill("verify_mask", tint=tint),
            templates=("verify_mask",),
            pictures=(original, marked),
            inputs={"description": region.text},
            temperature=temperature,
            max_tokens=1024,
            vote=number,
        )

    verdict, replies = await vote(tools, build, MaskReply, "matches")
    return region.model_copy(update={"verdict": verdict, "seen_as": str(getattr(replies[0], "seen", ""))})


async def _prefers_second(picture: Picture, region: Region, second: Mask, tools: Tools) -> bool:
    """Whether the refined mask is preferred. "neither" counts as no: the initial one has been verified."""
    original = tools.original(picture)
    tint = tint_for(original.rgb, fit(region.mask.union(second), original.size))
    answer = await tools.verifier.ask(
        request_for(
            "verify",
            ChoiceReply,
            instructions=fill("choose_mask", tint=tint),
            templates=("choose_mask",),
            pictures=(
                original,
                SentPicture(mark(original.rgb, region.mask, tint), "first mask"),
                SentPicture(mark(original.rgb, second, tint), "second mask"),
            ),
            inputs={"description": region.text},
            max_tokens=1024,
        ),
        ChoiceReply,
    )
    return answer.value.choice == "second"


async def _pool(picture: Picture, tools: Tools) -> list[Mask]:
    try:
        everything = await tools.segmentation.everything(picture.rgb)
    except Exception as error:
        raise UnitFailed("segmenter", f"{type(error).__name__}: {error}") from error
    smallest = tools.settings.area_px(tools.settings.pool_smallest_px, picture.size)
    return [mask for mask, _ in everything if mask.area >= smallest]


def assign_pool(regions: tuple[Region, ...], pool: list[Mask], least_iou: float) -> dict[int, Mask]:
    """Give each region the pool mask that agrees with it best, each pool mask to one region only."""
    matches = sorted(
        (
            (-overlap, region.id, number)
            for region in regions
            for number, mask in enumerate(pool)
            if (overlap := region.mask.iou(mask)) >= least_iou
        ),
    )
    given: dict[int, Mask] = {}
    used: set[int] = set()
    same: set[int] = set()
    for overlap, region_id, number in matches:
        if region_id in given or region_id in same or number in used:
            continue
        used.add(number)
        if -overlap >= SAME_IOU:
            same.add(region_id)
        else:
            given[region_id] = pool[number]
    return given
