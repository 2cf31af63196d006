"""A run as one HTML page: each picture with its regions, prompts, masks and verdicts. Fetches nothing."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from askmask.conversation import CONCEPTS
from askmask.vlm.marked import mark_numbered
from askmask.engine.pictures import Picture
from askmask.engine.report import report_of
from askmask.engine.runs import plan_of
from askmask.engine.store import PictureRow, RunStore
from askmask.engine.values import STAGES, Aligned, Described, Pair, Region, Segmented, Verified, Written
from askmask.errors import PictureError, SettingError
from askmask.imaging.mask import Mask
from askmask.imaging.overlay import fit, grown
from askmask.runs.whole_files import open_whole
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
        (f"${report.spent_usd:.2f}" if report.spent_usd else f"{sum(report.calls.values())}", "spent")
        if report.spent_usd
        else (f"{sum(report.calls.values())}", "calls"),
    ]
    cells = "".join(f"<div><b>{_text(value)}</b><span>{_text(label)}</span></div>" for value, label in tiles)
    concepts = "".join(
        f'<label><input type="checkbox" checked value="{c}"><i class="dot {c}"></i>{c}</label>'
        for c in CONCEPTS
    )
    return f"""<!doctype html><html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline';
 script-src 'unsafe-inline'">
<title>{_TITLE}: {_text(store.folder.name)}</title><style>{_STYLE}</style></head><body>
<header><h1>{_text(store.folder.name)}</h1><p>written by <code>{_text(plan.writer.name)}</code>, verified by
<code>{_text((plan.verifier or plan.writer).name)}</code>, masks by {_text(plan.vision.segmenter)}</p>
<div class="tiles">{cells}</div>
<nav>{concepts}<span class="gap"></span>
<label><input type="checkbox" checked value="yes">accepted</label>
<label><input type="checkbox" checked value="no">declined</label></nav></header>
<script>{_SCRIPT}</script><main>"""


def _picture(store: RunStore, row: PictureRow) -> Iterator[str]:
    results = {stage: store.stage(row.sha256, stage) for stage in STAGES}
    try:
        rgb = Picture.read(row.path).rgb
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


_STYLE = """
:root{--ink:#1d2330;--soft:#697284;--line:#e3e6ec;--page:#f6f7f9;--card:#fff;--yes:#12805c;--no:#c2410c;--none:#8a93a5}
@media(prefers-color-scheme:dark){:root{--ink:#e8ebf2;--soft:#98a2b5;--line:#2b3242;--page:#12151c;--card:#1a1f2a;
--yes:#3ecf9a;--no:#ff8a4c}}
*{box-sizing:border-box}body{margin:0;background:var(--page);color:var(--ink);
font:15px/1.45 system-ui,-apple-system,"Segoe UI",sans-serif}
header,main{max-width:1240px;margin:0 auto;padding:0 20px}header{padding-top:28px}
h1{font-size:24px;margin:0}header p{margin:4px 0 16px;color:var(--soft)}
.tiles{display:flex;flex-wrap:wrap;gap:10px}.tiles div{background:var(--card);border:1px solid var(--line);
border-radius:10px;padding:10px 16px;min-width:120px}.tiles b{display:block;font-size:21px;
font-variant-numeric:tabular-nums}.tiles span{color:var(--soft);font-size:13px}
nav{position:sticky;top:0;display:flex;flex-wrap:wrap;gap:14px;padding:14px 0;align-items:center}
nav label{cursor:pointer}.gap{width:20px}.dot{display:inline-block;width:10px;height:10px;border-radius:50%;
margin-right:5px}.entities{background:#3b82f6}.spatial{background:#8b5cf6}.relations{background:#ec4899}
.affordances{background:#f59e0b}.physics{background:#10b981}
article{background:var(--card);border:1px solid var(--line);border-radius:14px;padding:18px;margin:0 0 20px}
.top{display:grid;grid-template-columns:minmax(240px,480px) 1fr;gap:22px}
@media(max-width:760px){.top{grid-template-columns:1fr}}
figure{margin:0}figure img{width:100%;border-radius:10px;display:block}
figcaption{display:flex;justify-content:space-between;gap:10px;color:var(--soft);font-size:13px;padding-top:6px;
overflow-wrap:anywhere}
.stages{display:flex;flex-wrap:wrap;gap:6px;margin-bottom:10px}.stages i{font-style:normal;font-size:12px;
padding:2px 9px;border-radius:99px;border:1px solid var(--line);color:var(--soft)}.stages .done{color:var(--yes);
border-color:var(--yes)}.stages .failed,.stages .quarantined,.stages .refused{color:var(--no);border-color:var(--no)}
.scene{color:var(--soft);margin:0 0 8px}ol{margin:0 0 8px;padding-left:26px}ol li{margin-bottom:5px}
small{display:block;color:var(--soft);font-size:13px}.mark{display:inline-block;width:9px;height:9px;border-radius:2px;
margin-right:6px;background:var(--none)}.mark.yes{background:var(--yes)}.mark.no{background:var(--no)}
.tag,details em{font-style:normal;font-size:12px;background:var(--page);border:1px solid var(--line);
border-radius:6px;padding:0 6px}
details{color:var(--soft);font-size:13px}.fault{color:var(--no);font-size:13px;margin:6px 0}
.pairs{display:grid;grid-template-columns:repeat(auto-fill,minmax(220px,1fr));gap:14px;margin-top:16px;
border-top:1px solid var(--line);padding-top:16px}
.pair{border:1px solid var(--line);border-radius:10px;overflow:hidden;border-top:3px solid var(--none)}
.pair.yes{border-top-color:var(--yes)}.pair.no{border-top-color:var(--no);opacity:.8}
.pair img{width:100%;display:block}.pair div{padding:9px 12px 11px}h3{font-size:15px;margin:0 0 3px;font-weight:600}
.pair p{margin:0 0 4px;font-size:13px;color:var(--soft)}.hidden{display:none}
"""
_SCRIPT = """
document.addEventListener('change',()=>{const on=new Set([...document.querySelectorAll('nav input:checked')]
.map(i=>i.value));on.add('none');for(const p of document.querySelectorAll('.pair'))
p.classList.toggle('hidden',!on.has(p.dataset.concept)||!on.has(p.dataset.verdict))});
"""
