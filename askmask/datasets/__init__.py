"""Files on disk -> Examples: one module per source, each with one real row and its URL in the docstring."""

from __future__ import annotations

from askmask.datasets.catalogue import LOADERS, open_dataset

__all__ = ["LOADERS", "open_dataset"]
