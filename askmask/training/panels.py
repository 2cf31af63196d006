"""Validation pictures: what is true (green, left) beside what the network answers (orange, right)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from askmask.imaging.lettering import font_of
from askmask.imaging.overlay import COLOURS, blend, contact_sheet, palette, to_image
from askmask.model.mini.net import Mini
from askmask.training.mini_scores import ValView, answer

TRUE, SAID = COLOURS[:2]
PER_VIEW = 4
CAPTION_PX = 14
_PALETTE = palette(256)


def side_by_side(rgb: np.ndarray, truth: np.ndarray, said: np.ndarray, caption: str) -> Image.Image:
    """Draw truth and answer, bool [H, W], over uint8 [H, W, 3], next to each other, a caption below."""
    halves = []
    for area, colour in ((truth, TRUE), (said, SAID)):
        canvas = rgb.astype(np.float32)
        blend(canvas, area, colour, 0.6)
        halves.append(canvas)
    tiles = to_image(np.concatenate(halves, 1))
    tile = Image.new("RGB", (tiles.width, tiles.height + CAPTION_PX), "white")
    tile.paste(tiles, (0, 0))
    pen, font = ImageDraw.Draw(tile), font_of(CAPTION_PX - 4)
    for x, word in ((0, "true"), (rgb.shape[1], "answer")):
        box = pen.textbbox((x + 2, 1), word, font=font)
        pen.rectangle((x, 0, box[2] + 2, box[3] + 1), fill="white")
        pen.text((x + 2, 1), word, font=font, fill="black")
    pen.text(
        (2, tiles.height), " ".join(caption.split())[: max(8, tiles.width // 6)], font=font, fill="black"
    )
    return tile


def sheet(tiles: Sequence[Image.Image], columns: int, path: Path) -> None:
    """Lay tiles out and write them as one PNG."""
    if tiles:
        path.parent.mkdir(parents=True, exist_ok=True)
        contact_sheet(tiles, columns).save(path)


def draw_answers(net: Mini, views: Sequence[ValView], path: Path, *, decode: bool) -> None:
    """Draw some prompts of some views."""
    tiles = []
    for view in views:
        masks, says = answer(net, view, decode=decode)
        step = max(1, len(view.asks) // PER_VIEW)
        for number in range(0, len(view.asks), step)[:PER_VIEW]:
            said = masks[number].numpy() & bool(says[number] > 0)
            tiles.append(side_by_side(view.rgb, view.truth[number], said, view.asks[number].text))
    sheet(tiles, PER_VIEW, path)


def draw_objects(pixels: Tensor, objects: Tensor, found: Sequence[Tensor], path: Path) -> None:
    """Draw true objects [B, h, w] and found ones, soft [K, h, w] each, as coloured regions."""
    tiles = []
    for row, masks in enumerate(found):
        rgb = ((pixels[row].permute(1, 2, 0) + 1) * 127.5).byte().numpy()[::2, ::2]
        truth = objects[row].numpy()
        true = np.where(((truth > 0) & (truth < 200))[..., None], _PALETTE[truth], rgb)
        best = masks.max(0) if len(masks) else None
        which = torch.zeros(truth.shape, dtype=torch.long) if best is None else best.indices + 1
        seen = np.zeros(truth.shape, bool) if best is None else (best.values > 0.5).numpy()
        said = np.where(seen[..., None], _PALETTE[which.numpy()], rgb)
        tiles.append(Image.fromarray(np.concatenate([rgb, true, said], 1).astype(np.uint8)))
    sheet(tiles, 2, path)
