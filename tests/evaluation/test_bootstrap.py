"""The interval of a mean over clusters."""

import numpy as np
import pytest

from askmask.evaluation.bootstrap import mean_interval


def test_items_of_one_cluster_are_drawn_together():
    random = np.random.default_rng(0)
    of_scene = random.normal(size=40)
    values = np.repeat(of_scene, 10).tolist()  # ten prompts of a scene that all score alike
    scenes = [str(scene) for scene in range(40) for _ in range(10)]
    mean, low, high = mean_interval(values, scenes)
    assert mean == pytest.approx(of_scene.mean()) and low < mean < high
    expected = 2 * 1.96 * of_scene.std() / np.sqrt(40)  # as if there were 40 values, not 400
    assert high - low == pytest.approx(expected, rel=0.15)
    apart = mean_interval(values, [str(item) for item in range(400)])
    assert apart[2] - apart[1] < 0.5 * (high - low)


def test_a_big_cluster_weighs_by_its_items():
    assert mean_interval([1.0, 1.0, 1.0, 0.0], ["a", "a", "a", "b"])[0] == 0.75
