"""Ray Data: the same replies give the same results as the local run."""

from importlib.util import find_spec

import pytest

from askmask.engine.ray_backend import run_on_ray
from askmask.engine.settings import Settings
from askmask.engine.store import RunStore
from tests.engine.conftest import QUICK, run_engine


@pytest.mark.slow  # starts a Ray cluster on this machine
def test_ray_ends_like_the_local_run(tmp_path, oracle, flat):
    if find_spec("ray") is None:
        pytest.skip("needs the extra [ray]")
    import ray

    pictures = sorted((flat / "pictures").glob("*.png"))[:4]
    settings = Settings(concepts=("physics",))
    with oracle("verdict=.2,json=.2") as server:
        with run_engine(tmp_path / "local", server, pictures, settings=settings) as local:
            expected, calls = local.digest(), local.spent()[1]
        from askmask.engine.opening import ModelChoice
        from askmask.engine.pipeline import add_pictures
        from askmask.engine.runs import RunPlan, begin

        with RunStore(tmp_path / "ray", create=True) as store:
            choice = ModelChoice(model="oracle-1", base_url=server.address)
            begin(store, RunPlan(writer=choice, settings=settings))
            add_pictures(store, pictures)
            try:
                run_on_ray(store, QUICK.model_copy(update={"concurrency": 2}), workers=2)
            finally:
                ray.shutdown()
            assert store.digest() == expected
            assert store.spent()[1] == calls
