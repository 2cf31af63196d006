"""What is taken away from a session: the picture, an overlay, masks as files, the conversation as one page."""

from __future__ import annotations

import base64
import html
import io
import json
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image

from askmask.conversation import Segment, without_masks
from askmask.imaging.files import Picture
from askmask.imaging.overlay import Colour, Layer, colour_for, draw, fit
from askmask.runs.json_text import json_text
from askmask.serving.journal import Moment, Standing

PAGE_TYPE = "text/html; charset=utf-8"
PNG_PIXELS = 1_000_000  # larger pictures are shown as JPEG, which is sent in a tenth of the time
EMBEDDED_SIDE = 1600  # px, of the picture in a page that is taken away
COLOURS_SIDE = 512  # px, enough to choose colours by


def picture_for_page(picture: Picture, most: int) -> tuple[bytes, str]:
    """Return an upright picture as a browser shows it, and its media type; its longer side at most `most` px."""
    image = _thumbnail(picture, most)
    buffer = io.BytesIO()
    if image.width * image.height <= PNG_PIXELS:
        image.save(buffer, format="PNG", compress_level=3)
        return buffer.getvalue(), "image/png"
    image.save(buffer, format="JPEG", quality=93, subsampling=0)
    return buffer.getvalue(), "image/jpeg"


def overlay_png(picture: Picture, now: Moment, rounds: set[str] | None) -> bytes:
    """Return the picture with the answers of rounds drawn on it; each round a colour and a line of the legend."""
    layers = []
    for round in _chosen(now, rounds):
        segments = _segments(round)
        note = "" if segments else without_masks(round.get("segments"), round.get("reply"))
        layers.append(Layer([s.mask for s in segments], title_of(round), note))
    buffer = io.BytesIO()
    draw(picture.rgb, layers).save(buffer, format="PNG")
    return buffer.getvalue()


def masks_zip(now: Moment, rounds: set[str] | None) -> bytes:
    """Return a ZIP of one PNG for each segment, 255 inside, and segments.json."""
    buffer, listed = io.BytesIO(), []
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as packed:
        for round in _chosen(now, rounds):
            for segment in _segments(round):
                name = f"{segment.id}.png"
                packed.writestr(name, segment.mask.to_png())
                row = {"file": name, "round": round["id"], "prompt": title_of(round)}
                listed.append(row | segment.to_dict() | {"box": segment.mask.box, "area": segment.mask.area})
        packed.writestr("segments.json", json_text(listed, indent=1))
    return buffer.getvalue()


def conversation_page(picture: Picture, stands: Standing) -> str:
    """Return a conversation as one HTML page: picture, masks as vector shapes, prompts and answers."""
    data, kind = picture_for_page(picture, EMBEDDED_SIDE)
    height, width = picture.size
    shapes, rows = [], []
    small = np.asarray(_thumbnail(picture, COLOURS_SIDE))
    colours: list[Colour] = []
    for round, said in zip(stands.moment.rounds, stands.moment.said, strict=True):
        chips = []
        for segment in _segments(round):
            colours.append(colour_for(small, fit(segment.mask, small.shape[:2]), colours))
            colour = "#{:02x}{:02x}{:02x}".format(*colours[-1])
            path = "".join(_path(loop) for loop in segment.mask.polygons())
            shapes.append(
                f'<path data-m="{_text(segment.id)}" d="{path}" fill="{colour}" stroke="{colour}"/>'
            )
            chips.append(
                f'<button data-m="{_text(segment.id)}"><i style="background:{colour}"></i>'
                f"{_text(segment.name or segment.phrase or segment.id)}</button>"
            )
        rows.append(_row(round, chips, said or {}))
    return _PAGE.format(
        title=_text(stands.head["name"]),
        model=_text(stands.head["model"]),
        width=width,
        height=height,
        picture=f"data:{kind};base64,{base64.b64encode(data).decode()}",
        shapes="".join(shapes),
        rows="".join(rows) or "<p>Nothing was asked yet.</p>",
        saved=json.dumps(dict(stands.moment.rest) | {"rounds": list(stands.moment.rounds)}).replace(
            "<", "\\u003c"
        ),
    )


def title_of(round: Mapping[str, Any]) -> str:
    """Return a round's prompt in words, also where it was made by marks."""
    prompt = round["prompt"]
    if isinstance(prompt, str):
        return prompt
    marks = [f"{len(prompt[k])} {k}" for k in ("points", "boxes", "masks") if prompt.get(k)]
    return prompt.get("text") or " and ".join(marks) or "(no words)"


def _thumbnail(picture: Picture, most: int) -> Image.Image:
    image = Image.fromarray(picture.rgb)
    if max(image.size) > most:
        image.thumbnail((most, most), Image.Resampling.LANCZOS)
    return image


def _row(round: Mapping[str, Any], chips: list[str], answer: Mapping[str, Any]) -> str:
    said = f"<p>{_text(round['reply'])}</p>" if round.get("reply") else ""
    if not chips and round.get("segments") is not None:
        said += '<p class="none">Nothing in the picture matches.</p>'
    notes = "".join(f'<p class="note">{_text(note)}</p>' for note in answer.get("notices", ()))
    return f"<li><b>{_text(title_of(round))}</b>{said}<div>{''.join(chips)}</div>{notes}</li>"


def _segments(round: Mapping[str, Any]) -> list[Segment]:
    return [Segment.from_dict(one) for one in round.get("segments") or ()]


def _chosen(now: Moment, rounds: set[str] | None) -> list[Mapping[str, Any]]:
    return [round for round in now.rounds if rounds is None or round["id"] in rounds]


def _path(loop: list[float]) -> str:
    """Write a loop along pixel edges as the steps that lead around it: half as long as its corners."""
    parts = [f"M{loop[0]:g} {loop[1]:g}"]
    for x0, y0, x1, y1 in zip(loop[::2], loop[1::2], loop[2::2], loop[3::2], strict=False):
        parts.append(f"h{x1 - x0:g}" if y0 == y1 else f"v{y1 - y0:g}")
    return f"{''.join(parts)}z"


def _text(text: Any) -> str:
    return html.escape(str(text))


_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title} - askmask</title>
<style>
:root {{ color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif }}
body {{ margin: 0 auto; max-width: 75rem; padding: 1rem; display: grid; gap: 1.5rem; grid-template-columns: 3fr 2fr }}
@media (max-width: 50rem) {{ body {{ grid-template-columns: 1fr }} }}
header {{ grid-column: 1 / -1 }} h1 {{ font-size: 1.2rem; margin: 0 }} header p {{ margin: 0; opacity: .7 }}
figure {{ margin: 0; position: sticky; top: 1rem; align-self: start }}
svg {{ width: 100%; height: auto; border-radius: .5rem; display: block }}
path {{ fill-rule: evenodd; fill-opacity: .45; stroke-width: 2; vector-effect: non-scaling-stroke }}
svg.lit path:not(.lit) {{ fill-opacity: .06; stroke-opacity: .2 }}
ol {{ list-style: none; padding: 0; margin: 0 }} li {{ border-top: 1px solid #8884; padding: .75rem 0 }}
li p {{ margin: .25rem 0 }} .none {{ font-style: italic }} .note {{ font-size: .9rem; opacity: .8 }}
button {{ font: inherit; border: 1px solid #8888; border-radius: 1rem; background: none; color: inherit;
  padding: .1rem .7rem; margin: .2rem .3rem 0 0 }}
button i {{ display: inline-block; width: .8em; height: .8em; border-radius: 50%; margin-right: .4em }}
</style>
<header><h1>{title}</h1><p>asked with askmask, model {model}</p></header>
<figure><svg viewBox="0 0 {width} {height}"><image href="{picture}" width="{width}" height="{height}"/>
{shapes}</svg></figure>
<main><ol>{rows}</ol></main>
<script type="application/json" id="conversation">{saved}</script>
<script>
const svg = document.querySelector("svg");
const light = (name) => {{
  svg.classList.toggle("lit", Boolean(name));
  for (const path of svg.querySelectorAll("path")) path.classList.toggle("lit", path.dataset.m === name);
}};
for (const one of document.querySelectorAll("[data-m]"))
  for (const [on, off] of [["mouseenter", "mouseleave"], ["focus", "blur"]]) {{
    one.addEventListener(on, () => light(one.dataset.m));
    one.addEventListener(off, () => light(""));
  }}
</script></html>
"""
