"""Files on disk -> Examples: one module per source, with one real row in its docstring."""

from __future__ import annotations

from askmask.formats.catalogue import LOADERS, open_dataset

__all__ = ["LOADERS", "open_dataset"]
