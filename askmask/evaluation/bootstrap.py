"""Seeded bootstrap intervals over clusters of items (conversations, or single items)."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import numpy as np

Scores = dict[str, np.ndarray]


def cluster_sums(table: np.ndarray, clusters: Sequence[str]) -> np.ndarray:
    """Sum the terms [n, K] of each cluster -> [m, K], clusters in order of name."""
    _, index = np.unique(np.asarray(clusters, dtype=str), return_inverse=True)
    sums = np.zeros((int(index.max(initial=-1)) + 1, table.shape[1]))
    np.add.at(sums, index, table)
    return sums


def resampled_sums(sums: np.ndarray, *, resamples: int, seed: int) -> np.ndarray:
    """Draw m of m clusters with replacement, `resamples` times; return the sums [resamples, K].

    Chunks bound the memory to a few tens of megabytes whatever m is.
    """
    generator = np.random.default_rng(seed)
    clusters = len(sums)
    chunk = max(1, 2_000_000 // max(clusters, 1))
    drawn = []
    for start in range(0, resamples, chunk):
        rows = min(chunk, resamples - start)
        picks = generator.integers(clusters, size=(rows, clusters)) + np.arange(rows)[:, None] * clusters
        times = np.bincount(picks.ravel(), minlength=rows * clusters).reshape(rows, clusters)
        drawn.append(times @ sums)
    return np.concatenate(drawn)


def intervals(
    table: np.ndarray,
    clusters: Sequence[str],
    scores_of: Callable[[np.ndarray], Scores],
    *,
    resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> dict[str, list[float] | None]:
    """Return {score: [low, high]} of a percentile interval; None where too little is defined to say."""
    sums = cluster_sums(table, clusters)
    if not resamples or not len(sums):
        return {}
    return {
        name: percentile_interval(values, level)
        for name, values in scores_of(resampled_sums(sums, resamples=resamples, seed=seed)).items()
    }


def mean_interval(
    values: Sequence[float], clusters: Sequence[str], *, resamples: int = 1000, seed: int = 0
) -> tuple[float, float, float]:
    """Return the mean of at least one value and its 95 % interval over clusters: (mean, low, high)."""
    terms = np.array([[value, 1.0] for value in values])
    spread = intervals(
        terms, clusters, lambda sums: {"mean": sums[:, 0] / sums[:, 1]}, resamples=resamples, seed=seed
    )["mean"]
    assert spread is not None  # every resample has a mean
    return float(terms[:, 0].mean()), spread[0], spread[1]


def percentile_interval(values: np.ndarray, level: float = 0.95) -> list[float] | None:
    """Return [low, high] of the defined values [resamples]; None if fewer than half are defined."""
    if np.isfinite(values).mean() < 0.5:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        low, high = np.nanpercentile(values, [50 * (1 - level), 50 * (1 + level)])
    return [float(low), float(high)]
