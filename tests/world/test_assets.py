"""assets.toml: every form builds, and a mistake in the table is named with the asset it stands in."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from askmask.errors import DataError
from askmask.world.assets import ASSETS, evaluate
from askmask.world.phrases import NOUNS


@pytest.mark.parametrize("name", ASSETS)
def test_a_form_stands_on_its_base_within_its_size_and_has_a_name(name):
    assert NOUNS[name]
    for seed in range(8):
        shape = ASSETS[name].build(np.random.default_rng(seed))
        points = np.concatenate([visual.vertices for visual in shape.visuals])
        assert points[:, 2].min() == pytest.approx(0, abs=0.007)
        assert points[:, 2].max() == pytest.approx(shape.size[2], abs=0.02)
        assert np.ptp(points[:, 1]) <= shape.size[1] + 0.03
        assert all(collider.volume > 0 for collider in (*shape.colliders, *shape.shell))


def test_meshes_face_outwards():
    for name in ("teapot", "hotplate", "pot", "spoon"):  # the ones whose meshes are mirrored, turned, joined
        for visual in ASSETS[name].build(np.random.default_rng(0)).visuals:
            a, b, c = (visual.vertices[visual.faces[:, k]] for k in range(3))
            assert np.einsum("ij,ij->i", a, np.cross(b, c)).sum() > 0, (name, visual.part)


def test_formulas_are_arithmetic_and_nothing_else():
    assert evaluate("r * 0.5 - -1, (2, cos(0)), r / 4,", {"r": 2}) == (2.0, (2, 1.0), 0.5)
    for bad in ("__import__('os')", "r.real", "[r]", "'r'", "r ** 2"):
        with pytest.raises((ValueError, LookupError)):
            evaluate(bad, {"r": 2})


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"sizes": {"r": "height"}}, "bowl.*height"),
        ({"seen": [["sphere", "body", 1]]}, "bowl.*sphere"),
        ({"felt": [["column", "r *"]]}, "bowl.*SyntaxError"),
    ],
)
def test_a_form_that_does_not_build_names_its_asset(change, told):
    bowl = ASSETS["bowl"]
    with pytest.raises(DataError, match=told):
        replace(bowl, form={**bowl.form, **change}).build(np.random.default_rng(0))


def test_words_no_table_knows_are_refused():
    for wrong in ({"materials": ("velvet",)}, {"colours": ("mauve",)}, {"upright": "maybe"}):
        with pytest.raises(DataError, match="bowl"):
            replace(ASSETS["bowl"], **wrong)
