"""One folder of made-up sets, and one build of all of them, for all tests here."""

import pytest

from askmask.build.mrseg.run import build_mrseg
from tests.build.made import make_all


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """Return every source of the made-up sets, by name and split."""
    sources = make_all(tmp_path_factory.mktemp("made"))
    return {(s.partition(":")[0], s.rpartition("@")[2]): s for s in sources}


@pytest.fixture(scope="session")
def built(made, tmp_path_factory):
    """Return (folder, what was built) of everything."""
    out = tmp_path_factory.mktemp("built") / "out"
    return out, build_mrseg(list(made.values()), out, seed=7)
