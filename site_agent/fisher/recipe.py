"""What a new space fixes about Fisher sketches, given its network."""

from dataclasses import dataclass

from federation.sketches.fisher_parameters import Estimator, FisherParameters, Granularity
from site_agent.extractors import Extractor
from site_agent.fisher.layers import PUBLISHED, LayerChoice, layout_of

_SCALE_BITS: dict[Estimator, int] = {"montecarlo": 40, "variational": 16}


@dataclass(frozen=True)
class FisherRecipe:
    """How Fisher information is estimated.

    Args:
        granularity: What is averaged, see `FisherParameters`.
        estimator: How it is estimated.
        layers: Which layers; None takes those that were published with the granularity.
        clip: Largest L2 norm of one image's numbers; 0 does not clip.
        head_decay: Weight decay of the linear head.
        seed: Seed of labels and noise.
    """

    granularity: Granularity = "filter"
    estimator: Estimator = "montecarlo"
    layers: LayerChoice | None = None
    clip: float = 0.0
    head_decay: float = 0.1
    seed: int = 0

    def parameters(self, extractor: Extractor) -> FisherParameters:
        """Return the parameters for a network.

        Raises:
            ExtractorError: If the network has no such layers.
            SpaceError: If the choices contradict each other.
        """
        choice = self.layers or PUBLISHED[self.granularity]
        size = extractor.identity.transform.image_size
        return FisherParameters(
            layout_of(extractor.differentiable, choice, self.granularity, size),
            self.granularity,
            self.estimator,
            _SCALE_BITS[self.estimator],
            self.clip,
            self.head_decay,
            self.seed,
        )
