"""A Caller for code that is not async: its event loop runs in a thread of its own, and any thread may ask."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

from pydantic import BaseModel

from askmask.vlm.caller import Answer, Caller
from askmask.vlm.request import Completion, Request

T = TypeVar("T", bound=BaseModel)
R = TypeVar("R")


class BlockingCaller:
    """Use as a context manager, or `close` it. `make` is called in the loop's thread and returns the Caller."""

    def __init__(self, make: Callable[[], Caller]):
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="askmask-vlm", daemon=True)
        self._thread.start()

        async def made() -> Caller:
            return make()

        try:
            self.caller = self._wait(made())
        except BaseException:
            self._end()
            raise

    def ask(self, request: Request, schema: type[T]) -> Answer[T]:
        """Return the reply as `schema`, as `Caller.ask` does."""
        return self._wait(self.caller.ask(request, schema))

    def complete(self, request: Request) -> tuple[str, Completion]:
        """Return the key and the raw reply, as `Caller.complete` does."""
        return self._wait(self.caller.complete(request))

    def start(self, work: Coroutine[Any, Any, R]) -> Future[R]:
        """Start any work of callers in the loop; cancelling what is returned cancels it there."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def close(self) -> None:
        """Let calls in flight end, close the client and the loop."""
        if self._thread.is_alive():
            self._wait(self.caller.close())
            self._end()

    def __enter__(self) -> BlockingCaller:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _wait(self, work: Coroutine[Any, Any, R]) -> R:
        future = self.start(work)
        try:
            return future.result()
        except BaseException:
            future.cancel()  # Ctrl-C while waiting ends the wait in the loop as well
            raise

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
