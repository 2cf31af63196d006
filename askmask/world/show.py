"""Contact sheet of one seed: its pictures, and prompts with their masks and the facts behind them."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from askmask.conversation import CONCEPTS
from askmask.formats import dense
from askmask.imaging.lettering import font_of
from askmask.imaging.overlay import Colour, contact_sheet, paint, palette, to_image
from askmask.world.record import SceneRecord

GREEN, GREY = (40, 220, 90), (150, 150, 150)
PAPER, INK, FAINT = (252, 252, 250), (20, 20, 24), (105, 105, 112)
COLUMNS, LINE, GAP = 4, 13, 6


def sheet(found: SceneRecord, *, view: int = 0, prompts: int = 14) -> Image.Image:
    """Draw a scene's sheet: picture, things with their names, then prompts; dialogues follow in order."""
    shown, facts = found.views[view], found.facts
    seen = facts["views"][view]
    cells = [_picture(shown.rgb, [f"seed {facts['seed']}, {facts['layout']}", f"scene {facts['hash']}"])]
    cells.append(_things(shown, facts["objects"], seen))
    for prompt in seen["prompts"][:prompts]:
        cells.append(_prompt(shown, prompt, facts["objects"]))
    for number, dialogue in enumerate(seen["dialogues"][:2], 1):
        for k, prompt in enumerate(dialogue, 1):
            cells.append(_prompt(shown, prompt, facts["objects"], title=f"dialogue {number}, round {k}: "))
    return contact_sheet(cells, COLUMNS, gap=GAP, paper=PAPER)


def gallery(found: Sequence[SceneRecord]) -> Image.Image:
    """Draw one prompt of each scene, the concepts in turn; prompts that something answers come first."""
    cells = []
    for number, scene in enumerate(found):
        concept = CONCEPTS[number % len(CONCEPTS)]
        prompts = scene.facts["views"][0]["prompts"]
        ranked = sorted(
            prompts, key=lambda p: (p["negative"] is not None, p["concept"] != concept, p["hard"] is not True)
        )
        cells.append(_prompt(scene.views[0], ranked[0], scene.facts["objects"]))
    return contact_sheet(cells, COLUMNS, gap=GAP, paper=PAPER)


def _enlarged(pixels: np.ndarray, side: int = 256) -> Image.Image:
    picture = Image.fromarray(pixels.astype(np.uint8))
    return picture if picture.width >= side else picture.resize((side, side), Image.Resampling.NEAREST)


def _picture(rgb: np.ndarray, lines: Sequence[str], strong: int = 1) -> Image.Image:
    picture = _enlarged(rgb)
    cell = Image.new("RGB", (picture.width, picture.height + 6 * LINE), PAPER)
    cell.paste(picture, (0, 0))
    pen = ImageDraw.Draw(cell)
    for k, line in enumerate(lines[:5]):
        pen.text(
            (3, picture.height + 2 + k * LINE), line, fill=INK if k < strong else FAINT, font=font_of(11)
        )
    return cell


def overlay(rgb: np.ndarray, masks: Sequence[np.ndarray], colour: Colour = GREEN) -> np.ndarray:
    """Tint masks [H, W] on a picture [H, W, 3] and draw each one's outline."""
    canvas = rgb.astype(np.float32)
    for mask in masks:
        paint(canvas, mask, colour)
    return np.asarray(to_image(canvas))


def _things(view: Any, things: Sequence[Mapping[str, Any]], seen: Mapping[str, Any]) -> Image.Image:
    drawn = view.rgb.astype(float) * 0.35
    for thing, colour in zip(things, palette(len(things)), strict=True):
        drawn[view.objects == thing["id"]] = colour
    picture = _enlarged(drawn)
    scale = picture.width / view.size
    pen = ImageDraw.Draw(picture)
    for thing in things:
        facts = seen["objects"][str(thing["id"])]
        if "centre" in facts:
            x, y = facts["centre"]
            pen.text((x * scale - 3, y * scale - 6), str(thing["id"]), fill=(0, 0, 0), font=font_of(12))
    names = ", ".join(f"{t['id']} {t['colour']} {t['category']}" for t in things)
    return _picture(np.asarray(picture), textwrap.wrap(names, 44))


def _prompt(
    view: Any, prompt: Mapping[str, Any], things: Sequence[Mapping[str, Any]], title: str = ""
) -> Image.Image:
    masks = dense.answer_masks(prompt["answer"], view.objects, view.parts)
    drawn = overlay(view.rgb, [view.objects == n for n in prompt["ignore"]], GREY)
    drawn = overlay(drawn, masks)
    answer = ", ".join(f"{n} {things[n - 1]['category']}" for n in prompt["satisfying"]) or (
        "nothing" if not masks else ""
    )
    behind = ", ".join(f"{k}: {v}" for k, v in prompt["facts"].items())
    hard = " · shortcut fails" if prompt["hard"] else ""
    words = textwrap.wrap(title + prompt["prompt"], 42)[:2]
    lines = [
        *words,
        f"{prompt['concept']} / {prompt['family']}{hard}",
        *textwrap.wrap(f"{answer} ({behind})", 46)[:2],
    ]
    return _picture(drawn, lines, len(words))
