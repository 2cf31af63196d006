"""key=value settings: what exists is set by type, what does not exist is refused with the nearest name."""

import itertools

import pytest

from askmask.errors import SettingError
from askmask.training.optimiser import Schedule
from askmask.training.recipes import RECIPES, mini_perception, phase_two
from askmask.training.settings import override, paths


def test_full_path_and_last_name_set_the_same():
    by_path = override(phase_two(), ["loop.schedule.lr=3e-5", "data.data=a,b", "data.weights=1,2"])
    assert by_path == override(phase_two(), ["lr=3e-5", "data.data=a,b", "weights=1,2"])
    assert by_path.loop.schedule.lr == 3e-5
    assert by_path.data.data == ("a", "b") and by_path.data.weights == (1.0, 2.0)


def test_data_is_enough_to_name_the_data():
    assert override(phase_two(), ["data=somewhere"]).data.data == ("somewhere",)


@pytest.mark.parametrize(
    ("pair", "said"),
    [
        ("stepz=10", "steps"),
        ("data.batchs=1", "data.batch"),
        ("seed=1", "loop.seed, data.seed"),
        ("steps=many", "steps needs int"),
        ("steps", "key=value"),
        ("bf16=perhaps", "bf16 needs bool"),
    ],
)
def test_what_is_wrong_is_said(pair, said):
    with pytest.raises(SettingError, match=said):
        override(phase_two(), [pair])


def test_none_empties_an_optional_setting():
    assert override(mini_perception(), ["start=runs/a", "start=none"]).start == ()


@pytest.mark.parametrize("name", RECIPES)
def test_every_setting_of_every_recipe_can_be_written_back(name):
    recipe = RECIPES[name]()
    for path, (_, value) in paths(recipe).items():
        text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
        assert override(recipe, [f"{path}={text}"]) == recipe, path


def test_schedule_warms_up_then_falls_to_its_floor():
    schedule = Schedule(lr=1e-3, min_lr=1e-5, warmup=0.1)
    rates = [schedule.at(step, 100) for step in range(100)]
    assert rates[0] == pytest.approx(1e-4) and rates[9] == pytest.approx(1e-3)
    assert all(a >= b for a, b in itertools.pairwise(rates[10:]))
    assert rates[-1] == pytest.approx(1e-5, rel=0.1) and schedule.at(1000, 100) == pytest.approx(1e-5)
