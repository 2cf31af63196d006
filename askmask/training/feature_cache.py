"""A frozen image encoder's features on disk: named by picture and weights, bounded, least recently used out."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from askmask.model.seams import Features
from askmask.runs.whole_files import whole_file

_OURS = re.compile(r"[0-9a-f]{32}\.safetensors")


class FeatureCache:
    """Features of single pictures. A file that was cut off by a kill is made again."""

    def __init__(self, folder: str | Path, *, weights: str, limit_gb: float):
        """`weights` is a hash of the encoder's weights: other weights have other files."""
        self.folder, self.weights, self.limit = Path(folder), weights, int(limit_gb * 2**30)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._size = sum(file.stat().st_size for file in self._files())

    def get(self, pixels: Tensor, encode: Callable[[Tensor], Features]) -> Features:
        """Return the features of one prepared picture [3, S, S], from disk or by `encode`."""
        key = hashlib.sha256(pixels.numpy().tobytes() + self.weights.encode()).hexdigest()[:32]
        file = self.folder / f"{key}.safetensors"
        if file.exists():
            try:
                stored = load_file(file)
                os.utime(file)
                return Features(tuple(stored[str(i)] for i in range(len(stored))))
            except SafetensorError:
                file.unlink()
        features = encode(pixels[None])
        with whole_file(file) as temporary:
            save_file({str(i): m.contiguous() for i, m in enumerate(features.maps)}, temporary)
        self._size += file.stat().st_size
        if self._size > self.limit:
            self._shrink(keep=file)
        return features

    def _files(self) -> list[Path]:
        """Return the cache's own files: weights that somebody keeps in the same folder are not ours to remove."""
        return [file for file in self.folder.glob("*.safetensors") if _OURS.fullmatch(file.name)]

    def _shrink(self, keep: Path) -> None:
        files = sorted(self._files(), key=lambda file: file.stat().st_mtime)
        self._size = sum(file.stat().st_size for file in files)
        for file in files:
            # A fifth below the limit, so that not every new picture has to clean up.
            if self._size <= 0.8 * self.limit or file == keep:
                continue
            self._size -= file.stat().st_size
            file.unlink(missing_ok=True)


def stack(features: list[Features]) -> Features:
    """Join single pictures to a batch."""
    return Features(tuple(torch.cat(maps) for maps in zip(*(one.maps for one in features), strict=True)))
