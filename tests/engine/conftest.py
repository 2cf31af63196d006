"""Fixtures of the engine's tests: flat scenes with truth, an oracle on loopback, runs against it."""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager

import pytest

pytest.importorskip("pydantic", reason="the engine needs the extra [engine]")
pytest.importorskip("openai", reason="the engine needs the extra [engine]")

from askmask.engine.pipeline import add_pictures
from askmask.engine.runs import Limits, RunPlan, begin, work
from askmask.engine.settings import Settings
from askmask.engine.store import RunStore
from askmask.vlm.opening import ModelChoice
from askmask.world.oracle import Errors, Gallery, Oracle, read_truth
from askmask.world.oracle_server import OracleServer
from tests.engine.flatworld import write_flatworld

# The stated limit is out of reach; it keeps the search for an unstated one from taking a test's time.
QUICK = Limits(concurrency=8, first_wait_s=0.01, longest_wait_s=0.05, requests_per_minute=20_000)


@pytest.fixture(scope="session")
def flat(tmp_path_factory):
    """Six flat scenes: `flat / "truth"`, `flat / "pictures"`."""
    folder = tmp_path_factory.mktemp("flatworld")
    write_flatworld(folder, 6)
    return folder


@pytest.fixture(scope="session")
def gallery(flat):
    return Gallery(list(read_truth(flat / "truth")))


@contextmanager
def serving(gallery: Gallery, errors: str = "", **options):
    """An oracle with the given errors, in a thread."""
    server = OracleServer(Oracle(gallery, Errors.parse(errors), seed=options.pop("seed", 0)), **options)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def oracle(gallery):
    """`oracle("json=0.1")` as a context manager."""

    def make(errors: str = "", **options):
        return serving(gallery, errors, **options)

    return make


def run_engine(
    folder, server, pictures, *, settings: Settings | None = None, limits: Limits = QUICK, **model
) -> RunStore:
    """Begin or go on with a run against a server; the caller closes the store."""
    store = RunStore(folder, create=True)
    if store.meta("plan") is None:
        choice = ModelChoice(model="oracle-1", base_url=server.address, **model)
        begin(store, RunPlan(writer=choice, settings=settings or Settings()))
        add_pictures(store, sorted(pictures))
    asyncio.run(work(store, limits))
    return store
