"""Is this picture like those `mini` was trained on? A distance in feature statistics, with a measured limit.

Mahalanobis distance (Lee et al., "A simple unified framework for detecting out-of-distribution samples", 2018) of
the mean and spread of each channel of the stride-8 map. The limit is a quantile over unseen pictures of the domain.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from askmask.model.seams import Features

QUANTILE = 0.995
SHRINK = 0.1  # of the covariance towards its diagonal: there are hundreds of pictures for hundreds of numbers


class Domain(nn.Module):
    """Statistics of the training domain; all zero until `fit`, and then nothing is called unlike."""

    mean: Tensor  # [2C]
    whiten: Tensor  # [2C, 2C]
    limit: Tensor  # []

    def __init__(self, channels: int):
        super().__init__()
        width = 2 * channels
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("whiten", torch.zeros(width, width))
        self.register_buffer("limit", torch.zeros(()))

    def forward(self, features: Features) -> Tensor:
        """Return each picture's distance in limits: above 1, the picture is unlike the domain. [B]."""
        if not float(self.limit):
            return torch.zeros(len(features.maps[-1]), device=self.mean.device)
        return self._distance(statistics(features)) / self.limit

    def _distance(self, numbers: Tensor) -> Tensor:
        return ((numbers - self.mean) @ self.whiten).square().mean(1).sqrt()

    @torch.no_grad()
    def fit(self, train: Tensor, held_out: Tensor) -> float:
        """Learn from statistics [N, 2C] of domain pictures, and set the limit on others; return the limit."""
        self.mean.copy_(train.mean(0))
        centred = (train - self.mean).double()
        covariance = centred.T @ centred / len(train)
        diagonal = torch.diag(torch.diag(covariance) + 1e-6)
        values, vectors = torch.linalg.eigh((1 - SHRINK) * covariance + SHRINK * diagonal)
        self.whiten.copy_((vectors / values.clamp(min=1e-8).sqrt()).float())
        self.limit.copy_(self._distance(held_out).quantile(QUANTILE))
        return float(self.limit)


def statistics(features: Features) -> Tensor:
    """Return the mean and spread of each channel of the coarsest map, [B, 2C]."""
    cells = features.maps[-1].flatten(2)
    return torch.cat([cells.mean(2), cells.std(2)], 1)
