"""A run as one HTML page: each picture with its regions, prompts, masks and verdicts. Fetches nothing."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterator
from pathlib import Path
from string import Template

import numpy as np
from PIL import Image

from askmask.conversation import CONCEPTS
from askmask.engine.export import unchanged
from askmask.engine.report import report_of
from askmask.engine.runs import plan_of
from askmask.engine.store import PictureRow, RunStore
from askmask.engine.templates import file_text
from askmask.engine.values import STAGES, Aligned, Described, Pair, Region, Segmented, Verified, Written
from askmask.errors import PictureError, SettingError
from askmask.imaging.mask import Mask
from askmask.imaging.overlay import fit, grown
from askmask.runs.whole_files import open_whole
from askmask.vlm.marked import mark_numbered
from askmask.vlm.pictures import shrink

_TITLE = "Engine run"
WIDE_PX, THUMB_PX = 480, 240
_ICON = {True: "yes", False: "no", None: "none"}


def write_gallery(store: RunStore, path: str | Path, *, most: int = 60) -> int:
    """Write the page for the first `most` pictures that have anything to show; return how many."""
    path = Path(path)
    if path.exists():
        with path.open("rb") as old:
            if _TITLE.encode() not in old.read(1000):
                raise SettingError(f"{path} is in the way: no gallery of askmask", do="Choose another --out.")
    shown = 0
    with open_whole(path) as file:
        file.write(_head(store).encode("utf-8", "backslashreplace"))
        for row in store.pictures():
            if shown == most:
                break
            if store.stage(row.sha256, "describe")[0] == "pending":
                continue
            file.write("".join(_picture(store, row)).encode("utf-8", "backslashreplace"))
            shown += 1
        file.write(b"</main></body></html>\n")
    return shown


def _head(store: RunStore) -> str:
    plan, report = plan_of(store), report_of(store)
    kept = sum(report.accepted.values())
    empty = sum(report.negatives.values())
    tiles = [
        (f"{report.finished}/{report.pictures}", "pictures finished"),
        (f"{report.regions_accepted}/{report.regions_found}", "regions accepted"),
        (f"{kept}", "pairs with a mask"),
        (f"{empty}", "pairs with nothing to find"),
        (f"{report.failed_units}", "undecided"),
        (f"${report.spent_usd:.2f}", "spent")
        if report.spent_usd
        else (f"{sum(report.calls.values())}", "calls"),
    ]
    cells = "".join(f"<div><b>{_text(value)}</b><span>{_text(label)}</span></div>" for value, label in tiles)
    concepts = "".join(
        f'<label><input type="checkbox" checked value="{c}"><i class="dot {c}"></i>{c}</label>'
        for c in CONCEPTS
    )
    return Template(file_text("gallery.html")).substitute(
        name=_text(store.folder.name),
        writer=_text(plan.writer.name),
        verifier=_text((plan.verifier or plan.writer).name),
        segmenter=_text(plan.vision.segmenter),
        tiles=cells,
        concepts=concepts,
    )


def _picture(store: RunStore, row: PictureRow) -> Iterator[str]:
    results = {stage: store.stage(row.sha256, stage) for stage in STAGES}
    try:
        rgb = unchanged(row).rgb
    except PictureError as error:
        yield f'<article><p class="fault">{_text(str(error))}</p></article>'
        return
    wide, thumb = shrink(rgb, WIDE_PX), shrink(rgb, THUMB_PX)
    segmented, verified = results["segment"][1], results["verify"][1]
    regions: list[Region] = []
    if isinstance(verified, Verified):
        regions = sorted((*verified.accepted, *verified.rejected), key=lambda r: r.id)
    elif isinstance(segmented, Segmented):
        regions = list(segmented.regions)
    marked = mark_numbered(wide, {r.id: r.mask for r in regions}) if regions else wide
    states = "".join(f'<i class="{results[s][0]}" title="{s}: {results[s][0]}">{s}</i>' for s in STAGES)
    yield f'<article><div class="top"><figure>{_image(marked)}'
    yield f"<figcaption>{_text(Path(row.path).name)}<span>{row.width} x {row.height}</span></figcaption></figure>"
    yield f'<div class="side"><div class="stages">{states}</div>'
    described = results["describe"][1]
    if isinstance(described, Described):
        yield f'<p class="scene">{_text(described.scene)}</p>'
    yield "<ol>"
    for region in regions:
        verdict = region.verdict
        state = _ICON[None if verdict is None else verdict.accept]
        note = "" if verdict is None else _text(verdict.reason)
        seen = (
            f" Seen as: {_text(region.seen_as)}." if region.seen_as and region.seen_as != region.text else ""
        )
        refined = '<em class="tag">refined</em>' if region.origin == "refined" else ""
        yield f'<li value="{region.id}"><span class="mark {state}"></span>{_text(region.text)} {refined}'
        yield f"<small>{note}.{seen}</small></li>" if note else "</li>"
    yield "</ol>"
    drops = [d for stage in ("segment", "write") for d in getattr(results[stage][1], "dropped", ())]
    if drops:
        listed = "".join(
            f"<li>{_text(d.what)} <em>{_text(d.rule)}</em> {_text(d.detail)}</li>" for d in drops
        )
        yield f"<details><summary>{len(drops)} dropped by rule</summary><ul>{listed}</ul></details>"
    for _, stage, failure in store.failures(row.sha256):
        unit = f" ({_text(failure.unit)})" if failure.unit else ""
        yield f'<p class="fault">{stage}{unit}: {failure.error_class}. {_text(failure.reason)}</p>'
    yield "</div></div>"
    aligned, written = results["align"][1], results["write"][1]
    if isinstance(aligned, Aligned) and aligned.pairs:
        yield '<div class="pairs">'
        yield from (_pair(thumb, pair) for pair in aligned.pairs)
        yield "</div>"
    elif isinstance(written, Written) and not written.prompts:
        yield '<p class="scene">No prompt was kept for this picture.</p>'
    yield "</article>\n"


def _pair(thumb, pair: Pair) -> str:
    verdict, prompt = pair.verdict, pair.prompt
    state = _ICON[None if verdict is None else verdict.accept]
    reason = _text(verdict.reason) if verdict else "not verified"
    if verdict and len(verdict.votes) > 1:
        reason += f" ({sum(verdict.votes)} of {len(verdict.votes)} for it)"
    empty = '<em class="tag">nothing to find</em>' if not pair.mask else ""
    family = f"{prompt.family}{', ' + prompt.negative if prompt.negative else ''}".replace("_", " ")
    return (
        f'<section class="{state} pair" data-concept="{prompt.concept}" data-verdict="{state}">'
        f"{_image(_spotlight(thumb, pair.mask))}<div><h3>{_text(prompt.text)}</h3>"
        f'<p><i class="dot {prompt.concept}"></i>{prompt.concept}, {_text(family)} {empty}</p>'
        f'<small><span class="mark {state}"></span>{reason}</small></div></section>'
    )


def _spotlight(rgb, mask: Mask):
    """The mask in the picture's own colours, outlined; the rest greyed and darkened."""
    grey = rgb.mean(axis=2, keepdims=True) * 0.45 + rgb * 0.1
    if not mask:
        return grey.round().astype(np.uint8)
    inside = fit(mask, rgb.shape[:2])
    picture = np.where(inside[..., None], rgb, grey)
    picture[grown(inside, 2) & ~inside] = (255, 214, 64)
    return picture.round().astype(np.uint8)


def _image(rgb) -> str:
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, format="JPEG", quality=82)
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    return f'<img loading="lazy" alt="" src="data:image/jpeg;base64,{data}">'


def _text(text: str) -> str:
    """Escape what models and file names say."""
    return html.escape(text, quote=True)
