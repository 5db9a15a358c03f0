"""Learning from measured outcomes which source helps which target.

``LearnedRecommender.fit(study, setting)`` learns from the outcomes of a consortium; ``forecast(target)``
ranks the sources of a target with expected gain, interval, chance of harm and reasons: docs/recommender.md.
"""

from aggregator.recommender.forecast import NO_TRANSFER, Forecast
from aggregator.recommender.learned import LearnedRecommender

__all__ = ["NO_TRANSFER", "Forecast", "LearnedRecommender"]
