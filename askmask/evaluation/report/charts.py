"""Charts as inline SVG: histogram, bars with intervals, reliability."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np


def histogram(values: Sequence[float], *, bins: int = 20, label: str = "IoU") -> str:
    """Draw how many items fall into each bin of [0, 1]."""
    counts, _ = np.histogram(np.clip(values, 0, 1), bins=bins, range=(0, 1))
    width, height, left, bottom = 640, 220, 44, 30
    top = max(int(counts.max(initial=0)), 1)
    step = (width - left - 8) / bins
    parts = [_frame(width, height, f"Histogram of {label}")]
    for share in (0, 0.5, 1):
        y = height - bottom - share * (height - bottom - 12)
        parts.append(f'<line class="grid" x1="{left}" x2="{width - 8}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(
            f'<text class="tick" x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{share * top:,.0f}</text>'
        )
    for index, count in enumerate(counts):
        bar = count / top * (height - bottom - 12)
        parts.append(
            f'<rect class="bar" x="{left + index * step + 1:.1f}" y="{height - bottom - bar:.1f}" '
            f'width="{step - 2:.1f}" height="{bar:.1f}" rx="2">'
            f"<title>{index / bins:.2f} to {(index + 1) / bins:.2f}: {count:,} items</title></rect>"
        )
    for share in (0, 0.25, 0.5, 0.75, 1):
        x = left + share * (width - left - 8)
        parts.append(
            f'<text class="tick" x="{x:.1f}" y="{height - 10}" text-anchor="middle">{share:g}</text>'
        )
    return "".join(parts) + "</svg>"


def bars(
    groups: Mapping[str, Mapping[str, Any]], *, score: str = "gIoU", overall: float | None = None
) -> str:
    """Draw one bar per group with its interval as a whisker, and the score of the whole set as a line."""
    rows = list(groups.items())
    left, row_height = 20 + 7.5 * max((len(name) for name, _ in rows), default=0), 30
    width = 364 + left
    height = len(rows) * row_height + 26
    span = width - left - 92
    parts = [_frame(width, height, f"{score} by group")]
    for share in (0, 0.25, 0.5, 0.75, 1):
        x = left + share * span
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="4" y2="{height - 22}"/>')
        parts.append(
            f'<text class="tick" x="{x:.1f}" y="{height - 6}" text-anchor="middle">{100 * share:g}</text>'
        )
    for index, (name, part) in enumerate(rows):
        y = index * row_height + 6
        value = part.get(score)
        parts.append(
            f'<text class="name" x="{left - 10}" y="{y + 15}" text-anchor="end">{escape(name)}</text>'
        )
        words = "undefined" if value is None else f"{100 * value:.1f}"
        if value is not None:
            parts.append(
                f'<rect class="bar" x="{left}" y="{y}" width="{value * span:.1f}" height="20" rx="3"/>'
            )
        interval = (part.get("intervals") or {}).get(score)
        end = value or 0
        if interval:
            low, high = (left + bound * span for bound in interval)
            end = max(end, interval[1])
            parts.append(
                f'<path class="whisker" d="M{low:.1f} {y + 10}H{high:.1f}'
                f'M{low:.1f} {y + 5}v10M{high:.1f} {y + 5}v10"/>'
            )
        parts.append(
            f'<text class="value" x="{left + end * span + 8:.1f}" y="{y + 15}">{words}'
            f'<tspan class="tick">  n {part["n"]:,}</tspan></text>'
        )
    if overall is not None:
        x = left + overall * span
        parts.append(
            f'<line class="overall" x1="{x:.1f}" x2="{x:.1f}" y1="2" y2="{height - 22}"><title>all: '
            f"{100 * overall:.1f}</title></line>"
        )
    return "".join(parts) + "</svg>"


def reliability(scores: Sequence[float], ious: Sequence[float], *, bins: int = 10) -> str:
    """Draw mean IoU against the model's confidence: on the diagonal, confidence says what to expect."""
    side, left, bottom = 300, 40, 30
    confidence, quality = np.asarray(scores, float), np.asarray(ious, float)
    inside = (confidence >= 0) & (confidence <= 1)
    confidence, quality = confidence[inside], quality[inside]
    parts = [_frame(side, side, "Mean IoU by confidence")]
    span = side - left - 12

    def place(x: float, y: float) -> tuple[float, float]:
        return left + x * span, side - bottom - y * (side - bottom - 12)

    (x0, y0), (x1, y1) = place(0, 0), place(1, 1)
    parts.append(f'<path class="grid" d="M{x0} {y0}H{x1}M{x0} {y0}V{y1}M{x0} {y0}L{x1} {y1}"/>')
    index = np.minimum((confidence * bins).astype(int), bins - 1)
    most = np.bincount(index, minlength=bins).max() if len(index) else 1
    for number in range(bins):
        here = index == number
        if here.any():
            x, y = place(float(confidence[here].mean()), float(quality[here].mean()))
            radius = 3 + 6 * (here.sum() / most) ** 0.5
            parts.append(
                f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}"><title>{here.sum():,} items, '
                f"confidence {confidence[here].mean():.2f}, IoU {quality[here].mean():.2f}</title></circle>"
            )
    for share in (0, 0.5, 1):
        x, y = place(share, share)
        parts.append(f'<text class="tick" x="{x:.1f}" y="{side - 10}" text-anchor="middle">{share:g}</text>')
        parts.append(f'<text class="tick" x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{share:g}</text>')
    return "".join(parts) + "</svg>"


def _frame(width: float, height: float, title: str) -> str:
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title)}" '
        f'style="max-width:{width}px" xmlns="http://www.w3.org/2000/svg">'
    )
