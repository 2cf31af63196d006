"""The segmentation queue: bounded, batched, in one thread of its own, so that it and the VLM never wait in line.

Boxes of several pictures that are waiting together go to the segmenter as one batch if it can take one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from askmask.segmenters.segmenter import BatchedSegmenter, BoxXyxy, PromptableSegmenter, ScoredMask


@dataclass
class _Job:
    rgb: np.ndarray
    boxes: Sequence[BoxXyxy] | None  # None: everything
    result: asyncio.Future[list[ScoredMask]]


class SegmentationQueue:
    """Use as `async with SegmentationQueue(segmenter) as queue`; at most `waiting` jobs are held."""

    def __init__(self, segmenter: PromptableSegmenter, *, batch: int = 8, waiting: int = 32):
        self._segmenter, self._batch = segmenter, batch
        self._jobs: asyncio.Queue[_Job] = asyncio.Queue(maxsize=waiting)
        self._worker: asyncio.Task[None] | None = None
        self.batches = 0

    async def __aenter__(self) -> SegmentationQueue:
        self._worker = asyncio.create_task(self._work())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._worker:
            self._worker.cancel()
            await asyncio.gather(self._worker, return_exceptions=True)

    async def boxes(self, rgb: np.ndarray, boxes: Sequence[BoxXyxy]) -> list[ScoredMask]:
        """Return a scored mask for each box."""
        return await self._put(rgb, boxes) if boxes else []

    async def everything(self, rgb: np.ndarray) -> list[ScoredMask]:
        """Return the segmenter's masks of the whole picture."""
        return await self._put(rgb, None)

    async def _put(self, rgb: np.ndarray, boxes: Sequence[BoxXyxy] | None) -> list[ScoredMask]:
        result: asyncio.Future[list[ScoredMask]] = asyncio.get_running_loop().create_future()
        await self._jobs.put(_Job(rgb, boxes, result))
        return await result

    async def _work(self) -> None:
        while True:
            batch = [await self._jobs.get()]
            while len(batch) < self._batch and not self._jobs.empty():
                batch.append(self._jobs.get_nowait())
            self.batches += 1
            outcomes = await asyncio.to_thread(self._run, batch)
            for job, outcome in zip(batch, outcomes, strict=True):
                if job.result.done():
                    continue
                if isinstance(outcome, BaseException):
                    job.result.set_exception(outcome)
                else:
                    job.result.set_result(outcome)

    def _run(self, batch: list[_Job]) -> list[list[ScoredMask] | Exception]:
        outcomes: dict[int, list[ScoredMask] | Exception] = {}
        boxed = [job for job in batch if job.boxes is not None]
        if len(boxed) > 1 and isinstance(self._segmenter, BatchedSegmenter):
            try:
                results = self._segmenter.segment_batch([(job.rgb, job.boxes or ()) for job in boxed])
                outcomes = {id(job): result for job, result in zip(boxed, results, strict=True)}
            except Exception:
                outcomes = {}  # out of memory together, or one is bad: one by one below
        for job in batch:
            if id(job) in outcomes:
                continue
            try:
                if job.boxes is None:
                    outcomes[id(job)] = self._segmenter.everything(job.rgb)
                else:
                    outcomes[id(job)] = self._segmenter.segment_boxes(job.rgb, job.boxes)
            except Exception as error:  # handed to the one who asked
                outcomes[id(job)] = error
        return [outcomes[id(job)] for job in batch]
