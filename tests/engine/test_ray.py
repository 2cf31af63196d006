"""Ray Data: what a worker does, without a cluster; and, where asked for, a real cluster on this machine."""

import json
import os
from importlib.util import find_spec

import pytest

from askmask.engine.pipeline import add_pictures
from askmask.engine.ray_backend import PictureWorker, _as_row, run_on_ray
from askmask.engine.runs import RunPlan, begin, plan_of
from askmask.engine.settings import Settings
from askmask.engine.store import RunStore
from askmask.vlm.opening import ModelChoice
from tests.engine.conftest import QUICK, run_engine

PHYSICS = Settings(concepts=("physics",))


@pytest.fixture
def pictures(flat):
    return sorted((flat / "pictures").glob("*.png"))[:2]


def begun(folder, server, pictures) -> RunStore:
    store = RunStore(folder, create=True)
    begin(store, RunPlan(writer=ModelChoice(model="oracle-1", base_url=server.address), settings=PHYSICS))
    add_pictures(store, pictures)
    return store


def test_workers_rows_make_the_store_of_a_local_run(tmp_path, oracle, pictures):
    with oracle("verdict=.2,json=.2") as server:
        with run_engine(tmp_path / "local", server, pictures, settings=PHYSICS) as local:
            expected, calls = local.digest(), local.spent()[1]
        with begun(tmp_path / "far", server, pictures) as store:
            limits = QUICK.to_dict()
            worker = PictureWorker(plan_of(store).to_dict(), limits, store.contents()["replies"])
            for row in list(store.pictures()):
                result = worker({"picture": [json.dumps(_as_row(row))]})
                assert json.loads(result["stopped"][0]) is None
                store.absorb(json.loads(result["rows"][0]))
            assert (store.digest(), store.spent()[1]) == (expected, calls)


def test_a_workers_budget_holds_over_its_batches(tmp_path, oracle, pictures):
    with oracle() as server, begun(tmp_path / "run", server, pictures) as store:
        limits = QUICK.model_copy(update={"max_calls": 9}).to_dict()
        worker = PictureWorker(plan_of(store).to_dict(), limits, [])
        stops = []
        for row in store.pictures():
            stops.append(json.loads(worker({"picture": [json.dumps(_as_row(row))]})["stopped"][0]))
        assert server.answered == 9 and all(is_budget for is_budget, _ in stops)


def test_a_cluster_ends_like_the_local_run(tmp_path, oracle, pictures):
    if find_spec("ray") is None or not os.environ.get("ASKMASK_TEST_RAY"):
        pytest.skip("starting a Ray cluster takes a minute: set ASKMASK_TEST_RAY=1, with the extra [ray]")
    import ray

    with oracle("verdict=.2,json=.2") as server:
        with run_engine(tmp_path / "local", server, pictures, settings=PHYSICS) as local:
            expected, calls = local.digest(), local.spent()[1]
        with begun(tmp_path / "ray", server, pictures) as store:
            try:
                run_on_ray(store, QUICK.model_copy(update={"concurrency": 2}), workers=2)
            finally:
                ray.shutdown()
            assert (store.digest(), store.spent()[1]) == (expected, calls)
