"""Contact sheet of one seed: its pictures, and prompts with their masks and the facts behind them."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from askmask.conversation import CONCEPTS
from askmask.formats import dense
from askmask.world.record import SceneRecord

GREEN, GREY = np.array([40, 220, 90]), np.array([150, 150, 150])
PAPER, INK, FAINT = (252, 252, 250), (20, 20, 24), (105, 105, 112)
COLUMNS, LINE = 4, 13
PALETTE = np.array(
    [
        [230, 80, 70],
        [70, 130, 230],
        [240, 190, 50],
        [90, 190, 100],
        [170, 90, 200],
        [80, 200, 200],
        [240, 130, 40],
        [230, 130, 190],
        [140, 100, 70],
        [120, 130, 240],
        [180, 200, 70],
    ]
)


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
    return _grid(cells)


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
    return _grid(cells)


def _font(size: int = 11) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    return ImageFont.load_default(size)


def _enlarged(pixels: np.ndarray, side: int = 256) -> Image.Image:
    picture = Image.fromarray(pixels.astype(np.uint8))
    return picture if picture.width >= side else picture.resize((side, side), Image.Resampling.NEAREST)


def _picture(rgb: np.ndarray, lines: Sequence[str]) -> Image.Image:
    picture = _enlarged(rgb)
    cell = Image.new("RGB", (picture.width, picture.height + 6 * LINE), PAPER)
    cell.paste(picture, (0, 0))
    pen = ImageDraw.Draw(cell)
    for k, line in enumerate(lines[:5]):
        pen.text((3, picture.height + 2 + k * LINE), line, fill=INK if k == 0 else FAINT, font=_font())
    return cell


def overlay(rgb: np.ndarray, masks: Sequence[np.ndarray], colour: np.ndarray = GREEN) -> np.ndarray:
    """Tint masks [H, W] on a picture [H, W, 3] and draw each one's outline."""
    drawn = rgb.astype(float)
    for mask in masks:
        if not mask.any():
            continue
        inner = mask.copy()
        inner[1:] &= mask[:-1]
        inner[:-1] &= mask[1:]
        inner[:, 1:] &= mask[:, :-1]
        inner[:, :-1] &= mask[:, 1:]
        drawn[mask] = 0.5 * drawn[mask] + 0.5 * colour
        drawn[mask & ~inner] = colour
    return drawn.astype(np.uint8)


def _things(view: Any, things: Sequence[Mapping[str, Any]], seen: Mapping[str, Any]) -> Image.Image:
    drawn = view.rgb.astype(float) * 0.35
    for n, thing in enumerate(things):
        drawn[view.objects == thing["id"]] = PALETTE[n % len(PALETTE)]
    picture = _enlarged(drawn)
    scale = picture.width / view.size
    pen = ImageDraw.Draw(picture)
    for thing in things:
        facts = seen["objects"][str(thing["id"])]
        if "centre" in facts:
            x, y = facts["centre"]
            pen.text((x * scale - 3, y * scale - 6), str(thing["id"]), fill=(0, 0, 0), font=_font(12))
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
    lines = textwrap.wrap(title + prompt["prompt"], 42)[:2]
    lines += [
        f"{prompt['concept']} / {prompt['family']}{hard}",
        *textwrap.wrap(f"{answer} ({behind})", 46)[:2],
    ]
    return _picture(drawn, lines)


def _grid(cells: Sequence[Image.Image]) -> Image.Image:
    width, height = cells[0].size
    rows = -(-len(cells) // COLUMNS)
    page = Image.new("RGB", (COLUMNS * (width + 6) + 6, rows * (height + 6) + 6), PAPER)
    for k, cell in enumerate(cells):
        page.paste(cell, (6 + k % COLUMNS * (width + 6), 6 + k // COLUMNS * (height + 6)))
    return page
