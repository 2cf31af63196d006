"""Validation pictures: what the network answers beside what is true. Truth is drawn green, the answer orange."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from askmask.model.mini.net import Mini
from askmask.training.mini_scores import ValView, answer

TRUE, SAID = (0, 158, 115), (230, 159, 0)  # Okabe and Ito's green and orange
PER_VIEW = 4
_PALETTE = np.random.default_rng(7).integers(60, 255, (256, 3)).astype(np.uint8)


def side_by_side(rgb: np.ndarray, truth: np.ndarray, said: np.ndarray, caption: str) -> Image.Image:
    """Draw truth and answer, bool [H, W], over uint8 [H, W, 3], next to each other, a caption below."""
    tiles = np.concatenate([_tint(rgb, truth, TRUE), _tint(rgb, said, SAID)], 1)
    tile = Image.new("RGB", (tiles.shape[1], tiles.shape[0] + 14), "white")
    tile.paste(Image.fromarray(tiles), (0, 0))
    width = max(8, tiles.shape[1] // 6)
    ImageDraw.Draw(tile).text(
        (2, tiles.shape[0] + 1), caption[:width].encode("ascii", "replace").decode(), "black"
    )
    return tile


def _tint(rgb: np.ndarray, mask: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    out = rgb.astype(np.float32)
    out[mask] = 0.4 * out[mask] + 0.6 * np.array(colour, np.float32)
    return out.astype(np.uint8)


def sheet(tiles: Sequence[Image.Image], columns: int, path: Path) -> None:
    """Lay tiles of one size out and write them as one PNG."""
    if not tiles:
        return
    width, height = max(t.width for t in tiles), max(t.height for t in tiles)
    rows = -(-len(tiles) // columns)
    page = Image.new("RGB", (columns * width, rows * height), "white")
    for number, tile in enumerate(tiles):
        page.paste(tile, (number % columns * width, number // columns * height))
    path.parent.mkdir(parents=True, exist_ok=True)
    page.save(path)


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
