"""What is expected of transfer before anything was measured."""

import numpy as np
import pytest

from aggregator.recommender import LearnedRecommender
from aggregator.recommender.prior import LEVELS, gain_prior
from aggregator.study import SCENARIOS, Setting, Study, TaskFacts


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_every_scenario_has_a_prior_whose_quantiles_rise(scenario):
    before = gain_prior(Setting(scenario, "auroc"))
    assert len(before.residuals) == len(LEVELS)
    assert list(before.residuals) == sorted(before.residuals)


def test_several_parts_at_once_are_forecast_from_the_prior_alone():
    near = np.array([[np.nan, 1.0, 2.0], [1.0, np.nan, 2.0], [2.0, 1.0, np.nan]])
    tasks = ("a/x", "b/y", "c/z")
    study = Study(tasks, tasks, {}, {"js": near}, {}, {task: TaskFacts() for task in tasks})
    forecasts = LearnedRecommender.fit(study, Setting("combined", "auroc")).forecast("a/x")
    assert [each.source for each in forecasts if "/" in each.source] == ["b/y", "c/z"]
