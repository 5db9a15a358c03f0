import pytest
from pydantic import ValidationError

from federation.errors import ConfigError
from federation.sampling import SamplingPlan
from federation.sampling_config import SamplingConfig


@pytest.mark.parametrize(
    ("given", "plan"),
    [
        ({}, SamplingPlan(10_000, tolerance=0.015)),
        ({"tolerance": 0.01, "ceiling": 500, "seed": 2}, SamplingPlan(500, seed=2, tolerance=0.01)),
        ({"samples": 300}, SamplingPlan(300)),
        ({"samples": "all"}, SamplingPlan(None)),
        ({"samples": 10_000, "replacement": True}, SamplingPlan(10_000, replacement=True)),
    ],
)
def test_a_configuration_gives_its_plan(given, plan):
    assert SamplingConfig(**given).sampling == plan


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"samples": 300, "tolerance": 0.01}, "tolerance has no effect where samples is 300"),
        ({"samples": "all", "ceiling": 5}, "ceiling has no effect where samples is 'all'"),
        ({"replacement": True}, "replacement needs a fixed number of draws"),
        ({"samples": "all", "replacement": True}, "replacement needs a fixed number of draws"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(given, message):
    with pytest.raises(ConfigError, match=message):
        SamplingConfig(**given)


@pytest.mark.parametrize(
    "given", [{"samples": "some"}, {"samples": 0}, {"tolerance": 0.6}, {"tolerance": 0}, {"ceiling": 0}]
)
def test_impossible_values_are_refused(given):
    with pytest.raises(ValidationError):
        SamplingConfig(**given)
